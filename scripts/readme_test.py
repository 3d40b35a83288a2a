"""Runs what README says one can type, and insists that nothing it says is left out.

A command counts as run if `.ci/run` runs it, by itself or as what another needs, if a test runs the script behind it,
or if it is run here: what changes files in a copy of the tree, what needs the local stack with that.
"""

import argparse
import filecmp
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import ROOT
from scripts.footage import footage
from scripts.local import stack
from scripts.shared import console, processes

START_SECONDS = 300
PROGRAMS = ("make", "python", "python3", "cargo", "unzip", "saw")
# What can't be run without an AWS account, and what takes half an hour. The lines that `saw` looks for are tested in
# tests/it/telemetry.rs.
ELSEWHERE = {"saw get", "make mutants"}
# In a copy of the tree, in this order. `doctoc` is a program for Node.js, which not everybody has.
IN_A_COPY = [
    "make help",
    "make sbox",
    "make stag",
    "make prod",
    "make event",
    *(f"python3 scripts/create_test_event.py -{letter}" for letter in "apnot"),
    "make fixlint",
    *(["make doctoc"] if shutil.which("npm") else []),
    "cargo test --no-default-features --lib",
    "make clean",
]
# Here, while `make local RECORDINGS=folder` runs.
WITH_THE_STACK = [
    "unzip -l dist/cameras-service-generate-clip.zip",
    "unzip -l dist/ffmpeg-layer.zip",
    "make clip FROM=2018-09-16T17:39:44.500Z TO=2018-09-16T17:40:44.500Z CLIP=first",
    "make plan",
    "make invoke",
]
LEFT_BY_CLIP = ["clip.mp4", "message.json", "report.html", "thumbnail_300.png"]


def main() -> None:
    """What `make test-readme` does."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--contents", action="store_true", help="only look whether its contents are its headings")
    given = console.parse(arguments)
    processes.end_on_signals()
    with console.one_line_errors():
        _check_contents((ROOT / "README.md").read_text())
        if given.contents:
            return
        commands = sorted(set(_commands((ROOT / "README.md").read_text())))
        run = _targets_of_ci() | {"make local", *map(_shape, IN_A_COPY), *map(_shape, WITH_THE_STACK)}
        run |= {"make doctoc"}  # see above
        left_out = [command for command in commands if _shape(command) not in run | ELSEWHERE and not _tested(command)]
        if left_out:
            raise RuntimeError(f"README's commands that nothing runs: {', '.join(left_out)}")
        console.say(f"{len(commands)} commands stand in README; these are run here:")
        _in_a_copy()
        with _local_stack():
            for command in WITH_THE_STACK:
                _run(command, ROOT)
        missing = [name for name in LEFT_BY_CLIP if not (ROOT / "dist/clips/first" / name).is_file()]
        if missing:
            raise RuntimeError(f"make clip left no {', '.join(missing)}")
    console.say("All of README's commands are run.")


def _commands(text: str) -> Iterator[str]:
    """Whatever looks like a command, in blocks and in lines, without its comment."""
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        command = re.sub(r"\s+#.*", "", line).strip()
        # `cargo lambda` alone is the name of a tool
        if command.split(" ")[0] in PROGRAMS and " " in command and command != "cargo lambda":
            yield command


def _shape(command: str) -> str:
    """The command without what it is given: program and target, or program and script."""
    words = shlex.split(command)
    return " ".join(words[:2] if words[0] != "cargo" else words)


def _targets_of_ci() -> set[str]:
    """The targets that CI makes, with those that they need."""
    rules = dict(re.findall(r"^([a-z-]+):([^#=\n]*)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"^make ([a-z-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    while more := {need for target in wanted for need in rules.get(target, "").split()} - wanted:
        wanted |= more
    # `installed` is `install` without its last word
    return {f"make {target}" for target in wanted | ({"install"} if "installed" in wanted else set())}


def _tested(command: str) -> bool:
    """Whether a test names the command, or runs the script behind a target."""
    program, what = shlex.split(command)[:2]
    behind = [command]
    if program == "make":
        rule = rf"^{re.escape(what)}:.*\n((?:\t.*\n)*)"
        recipe = re.search(rule, (ROOT / "Makefile").read_text(), re.MULTILINE)
        behind += [f'run("{script}"' for script in re.findall(r"python -m [\w.]+\.(\w+)", recipe[1] if recipe else "")]
    tests = [file for file in (ROOT / "tests").rglob("*") if file.suffix in (".rs", ".py")]
    return any(name in file.read_text() for file in tests for name in behind)


def _check_contents(text: str) -> None:
    """The table of contents names the headings, in order."""
    headings = re.findall(
        r"^## (.+)$", re.sub(r"^```\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    listed = re.findall(r"^ *- \[(.+)\]\(#.+\)$", text, re.MULTILINE)
    if listed != headings:
        raise RuntimeError(f"README's contents are not its headings: make doctoc ({listed} in place of {headings})")


def _in_a_copy() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [Path(name) for name in tracked.split("\0") if name and (ROOT / name).exists()]
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        copy = Path(folder) / "copy"
        for file in files:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, copy / file)
        subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)  # without, cargo mends nothing
        for made in (".venv", "target"):
            (copy / made).symlink_to(ROOT / made)
        for command in IN_A_COPY:
            _run(command, copy)
            if command in ("make sbox", "make stag", "make prod"):
                name = {"sbox": "sandbox", "stag": "staging", "prod": "prod"}[command.split()[1]]
                if not filecmp.cmp(copy / ".env", ROOT / f".env.sample_{name}", shallow=False):
                    raise RuntimeError(f"{command} did not copy its sample to .env")
        changed = [file for file in files if not filecmp.cmp(ROOT / file, copy / file, shallow=False)]
        if changed != [Path("events/event.json")]:
            raise RuntimeError(f"fixlint or doctoc found something to mend: {', '.join(map(str, changed))}")
        if (copy / "target").exists():
            raise RuntimeError("make clean left target")


@contextmanager
def _local_stack() -> Iterator[None]:
    """`make local RECORDINGS=folder`, as in another terminal."""
    command = ["make", "local", f"RECORDINGS={footage.demo_folder()}"]
    console.say(f"  {shlex.join(command)}")
    with tempfile.TemporaryFile() as output, processes.running(command, os.environ, output) as local:
        give_up = time.monotonic() + START_SECONDS
        while not stack.find():
            if local.poll() is not None or time.monotonic() > give_up:
                output.seek(0)
                raise RuntimeError(f"make local did not start: {output.read().decode(errors='replace')[-1000:]}")
            time.sleep(0.1)
        yield
        os.killpg(local.pid, signal.SIGINT)
        local.wait(timeout=60)


def _run(command: str, folder: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        shlex.split(command), cwd=folder, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command}: exit code {done.returncode}: {(done.stderr + done.stdout)[-2000:]}")
    console.say(f"  {command} ({time.monotonic() - started:.1f} s)")


if __name__ == "__main__":
    main()

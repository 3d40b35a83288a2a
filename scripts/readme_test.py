"""Runs the commands that stand in the documentation, and says of every other one why it does not run here.

The commands come from the code blocks and the lines of README.md, CONTRIBUTING.md and docs/operations.md, and from the
targets that `make help` lists. A command that is neither run nor listed in `NOT_RUN` fails the test.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts import ROOT
from scripts.footage import footage
from scripts.local import stack
from scripts.shared import console, processes

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/operations.md")
# What a command begins with. In blocks marked as shell every line is one.
PROGRAMS = ("make", "cargo", "python", "python3", "unzip", "saw")
SHELL = ("sh", "bash", "shell", "console")
# In a sentence these are names of tools.
NAMES = ("cargo lambda", "cargo deny", "cargo mutants")
START_SECONDS = 300
CLIP = ROOT / "dist" / "readme-test" / "clip.mp4"
LEFT_BY_CLIP = ["clip.mp4", "message.json", "report.html", "thumbnail_300.png"]

# Why a command does not run here, by the words it begins with. The longest match counts.
BY_CI = ".ci/run runs it"
AWS = "needs an AWS account; tests/deploy runs its script against a local AWS"
NOT_RUN = {
    **dict.fromkeys(
        ("make check", "make lint", "make test", "make test-browser", "make demo", "make test-readme"), BY_CI
    ),
    "make bench": "takes ten minutes; .ci/run runs it with QUICK=1",
    **dict.fromkeys(("make stack", "make deploy", "make rollback", "make redrive", "make doctor ENV=sandbox"), AWS),
    "make test-faults": "takes ten minutes; make test runs the same tests",
    "make mutants": "takes half an hour",
    "make conformance": "needs a folder of footage, and minutes for it",
    "saw": "reads logs in AWS",
    "python -m scripts.bench.isolation": "measures, and needs an idle machine",
    "python -m scripts.bench.encoded": "takes ten minutes; .ci/run runs a part of it with `make bench QUICK=1`",
    "python -m scripts.local.crowd": "takes ten minutes and a running local stack",
} | ({} if shutil.which("npm") else {"make doctoc": "needs npm"})

# What runs in any case, in this order. Commands of the documents that begin with the same two words run after each.
SPAN = "FROM=2018-09-16T17:39:44.500Z TO=2018-09-16T17:40:44.500Z"
HERE = (
    "make help",
    "make install",
    "make build",
    "unzip -l dist/cameras-service-generate-clip.zip",
    "unzip -l dist/ffmpeg-layer.zip",
    "cargo test --locked --workspace --lib",
    f'make cut {SPAN} FILES="a.mp4 b.mp4"',
)
# These change files, so they run in a copy of the tree.
IN_A_COPY = (
    "make sbox",
    "make stag",
    "make prod",
    "make event",
    *(f"python3 scripts/create_test_event.py -{letter}" for letter in "apnot"),
    "make fixlint",
    "make doctoc",
    "make clean",
)
# These need the local stack, which `LOCAL` runs.
LOCAL = "make local RECORDINGS=folder"
WITH_THE_STACK = (f"make clip {SPAN} CLIP=first", "make plan", "make invoke", "make doctor")


def main() -> None:
    """What `make test-readme` does."""
    console.parse(argparse.ArgumentParser(description=__doc__))
    processes.end_on_signals()
    with console.one_line_errors():
        documented = set(_targets())
        for name in DOCUMENTS:
            documented |= set(_commands((ROOT / name).read_text()))
        _account_for(documented)
        CLIP.parent.mkdir(parents=True, exist_ok=True)
        CLIP.unlink(missing_ok=True)
        for command in _to_run(HERE, documented):
            _run(command, ROOT)
        if not CLIP.is_file():
            raise RuntimeError(f"make cut did not write {CLIP}")
        _in_a_copy(_to_run(IN_A_COPY, documented))
        with _local_stack():
            for command in _to_run(WITH_THE_STACK, documented):
                _run(command, ROOT)
        missing = [name for name in LEFT_BY_CLIP if not (ROOT / "dist/clips/first" / name).is_file()]
        if missing:
            raise RuntimeError(f"make clip did not write {', '.join(missing)}")
    console.say("All other commands of the documentation ran.")


def _targets() -> Iterator[str]:
    for target in re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE):
        yield f"make {target}"


def _commands(text: str) -> Iterator[str]:
    """Finds what looks like a command, in code blocks and in lines, and drops its comment."""
    fence = r"^```(\w*)\n(.*?)^```"
    lines = [("", line) for line in re.findall(r"`([^`\n]+)`", re.sub(fence, "", text, flags=re.M | re.S))]
    for language, block in re.findall(fence, text, re.M | re.S):
        lines += [(language, line) for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    for language, line in lines:
        command = re.sub(r"(^|\s+)#.*", "", line).strip().removeprefix("$ ")
        is_output = language == "console" and not line.startswith("$ ")
        words = command.split()
        if len(words) < 2 or command in NAMES or is_output:
            continue
        if language in SHELL or words[0] in PROGRAMS:
            yield command


def _shape(command: str) -> str:
    """Returns the first two words, program and target or program and script, without the environment before them."""
    return " ".join(re.sub(r"^([A-Z_]+=\S* )+", "", command).split()[:2])


def _account_for(documented: set[str]) -> None:
    """Prints why commands do not run, and fails if a command has no reason for it."""
    ran = {_shape(command) for command in (*HERE, *IN_A_COPY, *WITH_THE_STACK, LOCAL)}
    unknown = []
    for command in sorted(documented):
        reason = _reason(command)
        if reason:
            console.say(f"  not run: {command} ({reason})")
        elif _shape(command) not in ran:
            unknown.append(command)
    if unknown:
        raise RuntimeError(f"the documentation has commands that nothing runs: {', '.join(unknown)}")
    by_ci = {_shape(line) for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")}
    if false := [command for command, reason in NOT_RUN.items() if reason == BY_CI and command not in by_ci]:
        raise RuntimeError(f".ci/run does not run {', '.join(false)}")


def _reason(command: str) -> str:
    words = shlex.split(command)
    beginnings = (" ".join(words[:count]) for count in range(len(words), 0, -1))
    return next((NOT_RUN[beginning] for beginning in beginnings if beginning in NOT_RUN), "")


def _to_run(table: Sequence[str], documented: set[str]) -> list[str]:
    """Lists the table's commands, each followed by the documented ones of its shape.

    A documented command that is only its shape, or that has "…" in place of an argument, counts as the table's.
    """
    commands = []
    for command in table:
        shape = _shape(command)
        alike = sorted(other for other in documented if _shape(other) == shape and other != shape and "…" not in other)
        commands += [each for each in (command, *alike) if not _reason(each)]
    return list(dict.fromkeys(commands))


def _filled_in(command: str) -> list[str]:
    """Splits a command, with the demo's recordings in place of made-up names."""
    words = shlex.split(command)
    for position, word in enumerate(words):
        if word.startswith("RECORDINGS="):
            words[position] = f"RECORDINGS={footage.demo_folder()}"
        elif word.startswith("FILES="):
            words[position] = f"FILES={shlex.join(map(str, sorted(footage.demo_folder().glob('*.mp4'))))}"
    if words[:2] == ["make", "cut"]:
        words = [*(word for word in words if not word.startswith("OUT=")), f"OUT={CLIP}"]
    return words


def _in_a_copy(commands: Sequence[str]) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [Path(name) for name in tracked.split("\0") if name and (ROOT / name).exists()]
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        copy = Path(folder) / "copy"
        for file in files:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, copy / file)
        subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)  # cargo fixes nothing outside a repository
        for made in (".venv", "target"):
            (copy / made).symlink_to(ROOT / made)
        for command in commands:
            _run(command, copy)
            if command in ("make sbox", "make stag", "make prod"):
                name = {"sbox": "sandbox", "stag": "staging", "prod": "prod"}[command.split()[1]]
                if not filecmp.cmp(copy / ".env", ROOT / f".env.sample_{name}", shallow=False):
                    raise RuntimeError(f"{command} did not copy its sample to .env")
        changed = [file for file in files if not filecmp.cmp(ROOT / file, copy / file, shallow=False)]
        if changed != [Path("events/event.json")]:
            raise RuntimeError(f"fixlint or doctoc changed files: {', '.join(map(str, changed))}")
        if (copy / "target").exists():
            raise RuntimeError("make clean left target")


@contextmanager
def _local_stack() -> Iterator[None]:
    """Runs the local stack, as a person does in another terminal."""
    command = _filled_in(LOCAL)
    console.say(f"  {LOCAL}")
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
    words = _filled_in(command)
    if "=" in words[0]:
        words.insert(0, "env")
    done = subprocess.run(words, cwd=folder, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: exit code {done.returncode}: {(done.stderr + done.stdout)[-2000:]}")
    console.say(f"  {command} ({time.monotonic() - started:.1f} s)")


if __name__ == "__main__":
    main()

"""Runs the function on `events/event.json` with `cargo lambda`.

The settings are those of the local stack if it runs, else those of `.env`.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from scripts import ROOT
from scripts.function.package import LAYER, NAME
from scripts.local import ministack, stack
from scripts.shared import console, processes

EVENT = ROOT / "events" / "event.json"
START_SECONDS = 60


def main() -> None:
    """Runs `make invoke`."""
    processes.end_on_signals()
    event, env_file = arguments(__doc__)
    console.say(f"running the function on {event.name} with {env_file.name}")
    build()
    sys.exit(_invoke(event, env_file))


def arguments(description: str | None) -> tuple[Path, Path]:
    """Parses the arguments of `make invoke` and `make plan`: the event, and the file of settings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--event", type=Path, default=EVENT, metavar="FILE")
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="settings in place of the local stack's or those of .env"
    )
    given = parser.parse_args()
    env_file = given.env_file or _env_file()
    if not given.event.is_file():
        console.fail(f"cannot read {given.event}: no such file: make event")
    return given.event, env_file


def build(*options: str) -> None:
    """Compiles the function first, so that cargo's progress shows and the function starts at once."""
    command = ["cargo", "build", "--locked", "--package", NAME, *options]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        console.fail("cannot compile the function: see above")


def _env_file() -> Path:
    described = stack.find()
    if described:
        return Path(described.env_file)
    if not (ROOT / ".env").is_file():
        console.fail(
            "expected a local stack or .env: run `make local` in another terminal, or `make sbox` (stag, prod)"
        )
    return ROOT / ".env"


def _invoke(event: Path, env_file: Path) -> int:
    port = ministack.free_port(9000)
    address = ["-A", "127.0.0.1", "-P", str(port)]
    # No layer is mounted here, so the ffmpeg of the layer must be on PATH.
    path = f"{LAYER / 'bin'}:{os.environ['PATH']}"
    watch = ["cargo", "lambda", "watch", "--quiet", "--ignore-changes", "--package", NAME]
    watch += ["--env-file", str(env_file), *address]
    os.chdir(ROOT)
    with processes.running(watch, os.environ | {"PATH": path}, sys.stderr.buffer) as watcher:
        give_up = time.monotonic() + START_SECONDS
        while not _answers(port):
            if watcher.poll() is not None or time.monotonic() > give_up:
                console.fail("cannot start cargo lambda watch")
            time.sleep(0.05)
        invoke = ["cargo", "lambda", "invoke", *address, "--data-file", str(event)]
        return subprocess.run(invoke, stdin=subprocess.DEVNULL, check=False).returncode


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()

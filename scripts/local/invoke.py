"""Runs the function on `events/event.json` with `cargo lambda`.

Against the local stack while that runs, else with `.env`.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from scripts import ROOT
from scripts.local import ministack, stack
from scripts.shared import console, processes

EVENT = ROOT / "events" / "event.json"
START_SECONDS = 60


def main() -> None:
    """What `make invoke` does."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--event", type=Path, default=EVENT, metavar="FILE")
    arguments.add_argument("--env-file", type=Path, metavar="FILE", help="not the local stack's, nor .env")
    given = arguments.parse_args()
    processes.end_on_signals()
    settings = given.env_file or env_file()
    if not given.event.is_file():
        console.fail(f"{given.event} is missing: make event")
    console.say(f"running the function on {given.event.name} with {settings.name}")
    # Here, so that cargo's own progress shows, and watching begins with a finished binary.
    if subprocess.run(["cargo", "build", "--locked"], cwd=ROOT, check=False).returncode != 0:
        console.fail("the function does not compile")
    sys.exit(_invoke(given.event, settings))


def env_file() -> Path:
    """The settings to run with: the local stack's while that runs, else `.env`."""
    described = stack.find()
    if described:
        return Path(described.env_file)
    if not (ROOT / ".env").is_file():
        console.fail(
            "neither a local stack nor .env: run `make local` in another terminal, or `make sbox` (stag, prod)"
        )
    return ROOT / ".env"


def _invoke(event: Path, settings: Path) -> int:
    port = ministack.free_port(9000)
    address = ["-A", "127.0.0.1", "-P", str(port)]
    # The function's own ffmpeg, where no layer is mounted.
    path = f"{ROOT / 'layers/ffmpeg/opt/bin'}:{os.environ['PATH']}"
    watch = ["cargo", "lambda", "watch", "--quiet", "--ignore-changes", "--env-file", str(settings), *address]
    os.chdir(ROOT)
    with processes.running(watch, os.environ | {"PATH": path}, sys.stderr.buffer) as watcher:
        give_up = time.monotonic() + START_SECONDS
        while not _answers(port):
            if watcher.poll() is not None or time.monotonic() > give_up:
                console.fail("cargo lambda watch did not start")
            time.sleep(0.05)
        invoke = ["cargo", "lambda", "invoke", *address, "--data-file", str(event)]
        return subprocess.run(invoke, stdin=subprocess.DEVNULL, check=False).returncode


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()

"""Tells what the function would do for `events/event.json`, without doing it.

It looks up and plans against the local stack while that runs, else with `.env`.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from scripts import ROOT
from scripts.local import invoke
from scripts.shared import console

BINARY = ROOT / "target/debug/cameras-service-generate-clip"


def main() -> None:
    """What `make plan` does."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--event", type=Path, default=invoke.EVENT, metavar="FILE")
    arguments.add_argument("--env-file", type=Path, metavar="FILE", help="not the local stack's, nor .env")
    given = arguments.parse_args()
    env_file = given.env_file or invoke.env_file()
    if not given.event.is_file():
        console.fail(f"{given.event} is missing: make event")
    if subprocess.run(["cargo", "build", "--locked", "--quiet"], cwd=ROOT, check=False).returncode != 0:
        console.fail("the function does not compile")
    environment = os.environ | _read(env_file) | {"LOG_LEVEL": "warn"}
    sys.exit(subprocess.run([BINARY, "plan", given.event], env=environment, check=False).returncode)


def _read(env_file: Path) -> dict[str, str]:
    lines = re.findall(r"^\s*([A-Z0-9_]+)=(.*?)\s*$", env_file.read_text(), re.MULTILINE)
    return {name: value.strip("\"'") for name, value in lines}


if __name__ == "__main__":
    main()

"""Prints what the function would do for `events/event.json`, without doing it.

The function plans with the settings of the local stack if it runs, else with those of `.env`.
"""

import os
import subprocess
import sys

from scripts import ROOT
from scripts.function.package import NAME
from scripts.local import invoke
from scripts.shared import console, env_file

BINARY = ROOT / "target/debug" / NAME


def main() -> None:
    """Runs `make plan`."""
    event, settings = invoke.arguments(__doc__)
    with console.one_line_errors():
        environment = os.environ | env_file.read(settings) | {"LOG_LEVEL": "warn"}
    invoke.build("--quiet")
    sys.exit(subprocess.run([BINARY, "plan", event], env=environment, check=False).returncode)


if __name__ == "__main__":
    main()

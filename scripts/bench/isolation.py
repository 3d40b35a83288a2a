"""Measures what it costs to start ffmpeg limited and isolated.

`ffmpeg -version` is started directly and through the launcher, in turn. A third run, of a launcher that has nothing to
start, shows how much of the difference is the start of the launcher itself.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.function import package
from scripts.shared import console

RUNS = 100
FFMPEG = package.LAYER / "bin/ffmpeg"
UNLIMITED_BYTES = 2**64 - 1
PROCESSOR_SECONDS = 60
DIRECT, ISOLATED, STARTS_NOTHING = "ffmpeg", "ffmpeg, limited and isolated", "a launcher that starts nothing"
# As the engine starts ffmpeg.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}


def main() -> None:
    """Measures, and prints the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", type=Path, default=package.BINARY, help="the release binary of the function")
    arguments.add_argument("--runs", type=int, default=RUNS)
    given = arguments.parse_args()
    with console.one_line_errors():
        for file in (given.binary, FFMPEG):
            if not file.is_file():
                raise RuntimeError(f"cannot find {file}: run `make build`")
        show(measure(given.binary, given.runs))


def measure(binary: Path, runs: int) -> dict[str, list[float]]:
    """Returns how many ms each run took, by what was started."""
    with tempfile.TemporaryDirectory(prefix="isolation-") as folder:
        # the folder of this file is opened to ffmpeg; with `-version` nothing is read or written
        version = [str(FFMPEG), "-version", f"file:{folder}/none.mp4"]
        launch = [str(binary), "launch-ffmpeg", str(UNLIMITED_BYTES)]
        commands = {
            DIRECT: version,
            ISOLATED: [*launch, str(PROCESSOR_SECONDS), *version],
            STARTS_NOTHING: [*launch, "no number"],
        }
        for what in (DIRECT, ISOLATED):  # which also reads the files from the disk
            subprocess.run(commands[what], check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        took: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(runs):
            for what, command in commands.items():
                took[what].append(_run(command))
    return took


def show(took: dict[str, list[float]]) -> None:
    """Prints the figures, and the difference that isolation makes."""
    for what, each in took.items():
        console.say(f"{what:32} {statistics.median(each):5.1f} ms ({min(each):.1f} to {max(each):.1f})")
    direct, isolated = (statistics.median(took[what]) for what in (DIRECT, ISOLATED))
    runs = min(map(len, took.values()))
    console.say(f"limits and isolation cost {isolated - direct:.1f} ms a run (medians of {runs})")


def _run(command: Sequence[str]) -> float:
    """Runs a command to its end, and returns how many ms that took."""
    quiet = subprocess.DEVNULL
    started = time.perf_counter()
    subprocess.run(command, check=False, env=ENVIRONMENT, stdin=quiet, stdout=quiet, stderr=quiet)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()

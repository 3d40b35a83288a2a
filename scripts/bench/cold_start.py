"""Measures how long the function takes to start, and its memory when idle.

Run alone, the script replaces `cold_start` in `dist/bench.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.function import package
from scripts.function.runtime_api import RuntimeApi, memory_mb
from scripts.shared import console, http_servers

RESULT = ROOT / "dist" / "bench.json"
RUNS = 15
EVICT_SECONDS = 5
START_SECONDS = 20
# The function responds to an event without records at once.
EMPTY_EVENT = {"Records": []}
# The function calls none of these.
SETTINGS = {
    "AWS_REGION": "us-west-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "CAM_SERVICES_URL": "http://127.0.0.1:9",
    "RECORDINGS_URL": "http://127.0.0.1:9",
    "CLIP_URL": "http://127.0.0.1:9",
    "S3_BUCKET_ORIGIN": "recordings",
    "S3_BUCKET_DESTINATION": "clips",
    "AWS_SNS_TOPIC": "arn:aws:sns:us-west-1:000000000000:topic",
    "AWS_SQS_QUEUE": "arn:aws:sqs:us-west-1:000000000000:queue",
    "AWS_SQS_QUEUE_URL": "http://127.0.0.1:9/000000000000/queue",
    "FFMPEG_PATH": str(ROOT / "layers/ffmpeg/opt/bin/ffmpeg"),  # the function tries it out
    "AWS_LAMBDA_LOG_FORMAT": "JSON",
}


@dataclass(frozen=True)
class Start:
    """One start: times since exec, and resident memory."""

    ready_ms: float
    responded_ms: float
    idle_mb: float


@dataclass(frozen=True)
class Figure:
    """A figure, measured at every start."""

    what: str
    unit: str
    values: Sequence[float]

    def as_json(self) -> dict:
        """Returns median and range."""
        return {
            "what": self.what,
            "unit": self.unit,
            "median": round(statistics.median(self.values), 2),
            "lowest": round(min(self.values), 2),
            "highest": round(max(self.values), 2),
            "runs": len(self.values),
        }


def main() -> None:
    """Measures and prints the figures, and writes them into `dist/bench.json`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--function-zip", type=Path, default=package.FUNCTION_ZIP, metavar="FILE")
    arguments.add_argument("--runs", type=int, default=RUNS)
    given = arguments.parse_args()
    with console.one_line_errors():
        measured = figures(given.function_zip, given.runs)
        show(measured)
        result = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
        result["cold_start"] = [figure.as_json() for figure in measured]
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


def figures(function_zip: Path = package.FUNCTION_ZIP, runs: int = RUNS) -> list[Figure]:
    """Starts the function `runs` times with its file in the page cache, and as often without."""
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        package.unpack(function_zip, Path(folder))
        bootstrap = Path(folder) / "bootstrap"
        _start(bootstrap)  # reads the file from disk
        warm = [_start(bootstrap) for _ in range(runs)]
        cold = []
        for _ in range(runs):
            _evict(bootstrap)
            cold.append(_start(bootstrap))
    return [
        Figure("exec to first /next, warm", "ms", [start.ready_ms for start in warm]),
        Figure("exec to first answer, warm", "ms", [start.responded_ms for start in warm]),
        Figure("exec to first /next, its file not in the page cache", "ms", [start.ready_ms for start in cold]),
        Figure("exec to first answer, its file not in the page cache", "ms", [start.responded_ms for start in cold]),
        Figure("resident when idle", "MB", [start.idle_mb for start in warm]),
    ]


def show(measured: Sequence[Figure]) -> None:
    """Prints the figures as a table."""
    console.say(f"starts of the function: median (least to most) of {len(measured[0].values)}")
    for figure in measured:
        spread = f"({min(figure.values):.1f} to {max(figure.values):.1f})"
        console.say(f"{figure.what:52} {statistics.median(figure.values):7.1f} {figure.unit} {spread}")


def _start(bootstrap: Path) -> Start:
    """Starts the function. The times include fork and exec."""
    with http_servers.serving(RuntimeApi()) as api:
        environment = api.environment | SETTINGS | {"CLIP_DOWNLOAD_DEST": str(bootstrap.parent)}
        api.events.put(json.dumps(EMPTY_EVENT).encode())
        started = time.perf_counter()
        # If this script is killed, the function loses its Runtime API and ends by itself.
        quiet = subprocess.DEVNULL
        process = subprocess.Popen([bootstrap], env=environment, stdout=quiet, stderr=quiet)
        try:
            ok, body, _handed_over, responded = api.responses.get(timeout=START_SECONDS)
            if not ok:
                raise RuntimeError(f"expected a response to an event without records, got an error: {body}")
            ready = api.requested.get()
            api.requested.get(timeout=START_SECONDS)  # the second request: the function is idle
            return Start((ready - started) * 1000, (responded - started) * 1000, memory_mb(process.pid, "VmRSS"))
        finally:
            process.kill()
            process.wait()


def _evict(file: Path) -> None:
    """Removes one file from the page cache, and leaves the files of other users of the machine in it."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", file]
    give_up = time.monotonic() + EVICT_SECONDS
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        while True:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            left = int(subprocess.run(command, capture_output=True, check=True).stdout or 0)
            if not left:
                return
            # The kernel keeps a page that a CPU has just used for a moment.
            if time.monotonic() > give_up:
                raise RuntimeError(
                    f"cannot evict {left:,} bytes of {file} from the page cache: is its folder in memory?"
                )
            time.sleep(0.01)


if __name__ == "__main__":
    main()

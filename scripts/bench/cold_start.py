"""Measures how the function starts: from exec to its first request for work, to its first answer, and what it holds.

`rows()` gives the figures; run alone, it adds them to `dist/bench.json` as `cold_start`.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.function import package
from scripts.function.runtime_api import RuntimeApi
from scripts.shared import console

RESULT = ROOT / "dist" / "bench.json"
RUNS = 15
FORGET_SECONDS = 5
START_SECONDS = 20
# An event without records: nothing to do but to answer.
TRIVIAL = {"Records": []}
# Nothing is called, so nothing need be there.
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
    "AWS_LAMBDA_LOG_FORMAT": "JSON",
}


@dataclass(frozen=True)
class Start:
    """One start."""

    ready_ms: float
    answered_ms: float
    idle_mb: float


@dataclass(frozen=True)
class Figure:
    """A figure, and what it was to be at most."""

    what: str
    unit: str
    values: list[float]
    most: float | None

    @property
    def median(self) -> float:
        """Of all starts."""
        return statistics.median(self.values)

    def as_json(self) -> dict:
        """All of it."""
        return {
            "what": self.what,
            "unit": self.unit,
            "median": round(self.median, 2),
            "lowest": round(min(self.values), 2),
            "highest": round(max(self.values), 2),
            "runs": len(self.values),
            "to_be_at_most": self.most,
            "reached": None if self.most is None else self.median <= self.most,
        }


def main() -> None:
    """What this script does when it is run alone."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--function-zip", type=Path, default=package.FUNCTION_ZIP, metavar="FILE")
    arguments.add_argument("--runs", type=int, default=RUNS)
    given = arguments.parse_args()
    with console.one_line_errors():
        figures = rows(given.function_zip, given.runs)
        show(figures)
        result = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
        result["cold_start"] = [figure.as_json() for figure in figures]
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


def rows(function_zip: Path = package.FUNCTION_ZIP, runs: int = RUNS) -> list[Figure]:
    """Starts the function over and over, with its file in memory and without."""
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        package.unpack(function_zip, Path(folder))
        bootstrap = Path(folder) / "bootstrap"
        _start(bootstrap)  # the first reads the file from disk
        warm = [_start(bootstrap) for _ in range(runs)]
        cold = []
        for _ in range(runs):
            _forget(bootstrap)
            cold.append(_start(bootstrap))
    return [
        Figure("exec to first /next, warm", "ms", [start.ready_ms for start in warm], 20),
        Figure("exec to first answer, warm", "ms", [start.answered_ms for start in warm], 40),
        Figure("exec to first /next, its file not in the page cache", "ms", [start.ready_ms for start in cold], 60),
        Figure(
            "exec to first answer, its file not in the page cache", "ms", [start.answered_ms for start in cold], None
        ),
        Figure("resident when idle", "MB", [start.idle_mb for start in warm], 20),
    ]


def show(figures: list[Figure]) -> None:
    """As a table."""
    for figure in figures:
        spread = f"({min(figure.values):.1f} to {max(figure.values):.1f})"
        verdict = "" if figure.most is None else "reached" if figure.median <= figure.most else "MISSED"
        most = "" if figure.most is None else f"at most {figure.most:g}"
        console.say(f"{figure.what:52} {figure.median:7.1f} {figure.unit} {spread:18} {most:10} {verdict}")


def _start(bootstrap: Path) -> Start:
    """From just before fork and exec, both of which count."""
    with RuntimeApi.serving() as api:
        environment = api.environment | SETTINGS | {"CLIP_DOWNLOAD_DEST": str(bootstrap.parent)}
        api.events.put(json.dumps(TRIVIAL).encode())
        started = time.perf_counter()
        # Should this script be killed, the function misses its Runtime API and ends by itself.
        quiet = subprocess.DEVNULL
        process = subprocess.Popen([bootstrap], env=environment, stdout=quiet, stderr=quiet)
        try:
            ok, answer, _handed_over, answered = api.answers.get(timeout=START_SECONDS)
            if not ok:
                raise RuntimeError(f"the function answered {answer}")
            ready = api.asked.get()
            api.asked.get(timeout=START_SECONDS)  # again, so it does nothing any more
            return Start((ready - started) * 1000, (answered - started) * 1000, _resident_mb(process.pid))
        finally:
            process.kill()
            process.wait()


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _forget(file: Path) -> None:
    """Drops a file from the page cache; whatever else is there stays, for others work on this machine."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", file]
    give_up = time.monotonic() + FORGET_SECONDS
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        while True:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            left = int(subprocess.run(command, capture_output=True, check=True).stdout or 0)
            if not left:
                return
            # a page that a CPU has just touched is let go a moment later
            if time.monotonic() > give_up:
                raise RuntimeError(f"{left:,} bytes of {file} stay in the page cache: its folder lies in memory?")
            time.sleep(0.01)


if __name__ == "__main__":
    main()

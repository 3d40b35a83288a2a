"""Measures the function against what it replaces and against the least that could be done; README says how to read it.

All is made in rounds, every case in every way once a round, so that what else the machine does falls on all alike. What
would disturb is measured in runs of its own: a proxy counts bytes, a program around ffmpeg looks at its memory.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.bench import cases, cold_start, report
from scripts.bench.cases import NAMED, NAMED_JPG, Case
from scripts.bench.report import Row
from scripts.bench.stand import Stand, running
from scripts.local.following import Request
from scripts.local.stack import UP_CAMERA
from scripts.shared import console, processes

WARM_UPS = 2
SEED = 20180916


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    cases: Sequence[Case]
    rounds: int
    by_reference: Sequence[Case]
    reference_rounds: int
    random_spans: int
    result: Path


FULL = Scale(cases.ALL, 5, (NAMED, NAMED_JPG), 3, 100, ROOT / "dist/bench.json")
# Shows that the benchmark works, not how fast anything is.
SHORT = Case(5, 1, 10, "png")
QUICK = Scale((NAMED, NAMED_JPG, SHORT), 1, (SHORT,), 1, 3, ROOT / "dist/bench-quick.json")


def main() -> None:
    """What `make bench` does."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a few runs of a few cases")
    scale = QUICK if console.parse(arguments).quick else FULL
    processes.end_on_signals()
    started = time.monotonic()
    with console.one_line_errors(), running(scale.cases) as stand:
        machine = report.machine()
        rows = {case: Row(case, stand.parts(case)) for case in scale.cases}
        _rounds(stand, scale, rows)
        _count(stand, rows)
        spans = {
            "random_60_s": _random_spans(stand, scale.random_spans, (60_000, 60_000)),
            "random_5_to_300_s": _random_spans(stand, scale.random_spans, (5_000, 300_000)),
        }
        result = report.result(machine, list(rows.values()), spans)
    starts = cold_start.rows()
    result["cold_start"] = [figure.as_json() for figure in starts]
    scale.result.write_text(json.dumps(result, indent=2) + "\n")
    report.show(result)
    console.say("\nfifteen starts, medians (least to most)")
    cold_start.show(starts)
    console.say(f"\nAll of it ({time.monotonic() - started:.0f} s) is in {scale.result.relative_to(ROOT)}")


def _rounds(stand: Stand, scale: Scale, rows: dict[Case, Row]) -> None:
    """Every case by *floor* and by the function, some by *reference*."""
    for case in (NAMED, NAMED_JPG) * WARM_UPS:
        stand.by_function(case)
    steps = [
        (case, way)
        for turn in range(scale.rounds)
        for case in scale.cases
        for way in ("reference", "floor", "function")
        if way != "reference" or (case in scale.by_reference and turn < scale.reference_rounds)
    ]
    progress = console.Progress("measuring")
    for done, (case, way) in enumerate(steps):
        progress.show(done / len(steps))
        if way == "function":
            rows[case].took(way, stand.by_function(case))
        else:
            rows[case].took(way, stand.by_hand(way, case))
    progress.show(1)


def _count(stand: Stand, rows: dict[Case, Row]) -> None:
    """Every case once more with all that counts in between; and its clip is looked at."""
    progress = console.Progress("counting")
    with stand.counting() as counted:
        for done, (case, row) in enumerate(rows.items()):
            progress.show(done / len(rows))
            row.counted = counted(case)
    progress.show(1)


def _random_spans(stand: Stand, count: int, lengths_ms: tuple[int, int]) -> list[float]:
    """Milliseconds for spans of random lengths anywhere in two recordings of ten minutes, the same spans each time."""
    chance = random.Random(SEED)
    first, last = stand.recorded
    progress = console.Progress(f"{count} random spans of {lengths_ms[0] // 1000} to {lengths_ms[1] // 1000} s")
    walls = []
    for number in range(count):
        progress.show(number / count)
        length = chance.randint(*lengths_ms)
        start = chance.randint(first, last - length)
        request = Request("", UP_CAMERA, start, start + length)
        walls.append(stand.by_function(NAMED, request).wall_ms)
    progress.show(1)
    return walls


if __name__ == "__main__":
    main()

"""Measures the function beside two baselines; docs/benchmark.md explains the figures.

The runs go in rounds, each with every case by every method, so that other load on the machine affects all alike.
Counting disturbs the timing, so it has runs of its own: a proxy counts bytes, and a wrapper of ffmpeg its memory.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.bench import cases, cold_start, encoded, results
from scripts.bench.cases import NAMED, NAMED_JPG, Case
from scripts.bench.results import Row
from scripts.bench.rig import Rig, running
from scripts.local.request_follower import Request
from scripts.local.stack import UP_CAMERA
from scripts.shared import console, processes

WARM_UPS = 2
ENCODED_ROUNDS = 3
SEED = 20180916


@dataclass(frozen=True)
class Scale:
    """Number of cases and runs, and the file of the result."""

    cases: Sequence[Case]
    rounds: int
    reference_cases: Sequence[Case]
    reference_rounds: int
    random_spans: int
    result: Path


FULL = Scale(cases.ALL, 5, (NAMED, NAMED_JPG), 3, 100, ROOT / "dist/bench.json")
# Shows that the benchmark works, not how fast anything is.
SHORT = Case(5, 1, 10, "png")
QUICK = Scale((NAMED, NAMED_JPG, SHORT), 1, (SHORT,), 1, 3, ROOT / "dist/bench-quick.json")


def main() -> None:
    """Runs `make bench`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="measure a few cases, a few times")
    scale = QUICK if console.parse(arguments).quick else FULL
    processes.end_on_signals()
    started = time.monotonic()
    with console.one_line_errors(), running(scale.cases) as rig:
        machine = results.machine()
        rows = {case: Row(case, rig.parts(case)) for case in scale.cases}
        _measure(rig, scale, rows)
        _count(rig, rows)
        spans = {
            "random_60_s": _random_spans(rig, scale.random_spans, (60_000, 60_000)),
            "random_5_to_300_s": _random_spans(rig, scale.random_spans, (5_000, 300_000)),
        }
        result = results.result(machine, list(rows.values()), spans)
    figures = cold_start.figures()
    result["cold_start"] = [figure.as_json() for figure in figures]
    quick = scale is QUICK
    result["encoded"] = encoded.quick() if quick else encoded.measured(encoded.SOURCES, ENCODED_ROUNDS)
    scale.result.write_text(json.dumps(result, indent=2) + "\n")
    results.show(result)
    console.say()
    cold_start.show(figures)
    encoded.show(result["encoded"])
    console.say(f"\nwrote {scale.result.relative_to(ROOT)} ({time.monotonic() - started:.0f} s)")


def _measure(rig: Rig, scale: Scale, rows: dict[Case, Row]) -> None:
    """Measures every case by *floor* and by the function, and some cases by *reference*."""
    for case in (NAMED, NAMED_JPG) * WARM_UPS:
        rig.by_function(case)
    steps = [
        (case, method)
        for turn in range(scale.rounds)
        for case in scale.cases
        for method in ("reference", "floor", "function")
        if method != "reference" or (case in scale.reference_cases and turn < scale.reference_rounds)
    ]
    progress = console.Progress("measuring")
    for done, (case, method) in enumerate(steps):
        progress.show(done / len(steps))
        run = rig.by_function(case) if method == "function" else rig.by_baseline(method, case)
        rows[case].add(method, run)
    progress.show(1)


def _count(rig: Rig, rows: dict[Case, Row]) -> None:
    """Runs every case once more with the counters, and checks its clip."""
    progress = console.Progress("counting")
    with rig.counting() as count:
        for done, (case, row) in enumerate(rows.items()):
            progress.show(done / len(rows))
            row.counts = count(case)
    progress.show(1)


def _random_spans(rig: Rig, count: int, lengths_ms: tuple[int, int]) -> list[float]:
    """Measures random spans in two recordings of ten minutes, the same spans each time. Returns milliseconds."""
    chance = random.Random(SEED)
    first, last = rig.recorded_ms
    progress = console.Progress(f"{count} random spans of {lengths_ms[0] // 1000} to {lengths_ms[1] // 1000} s")
    walls = []
    for number in range(count):
        progress.show(number / count)
        length = chance.randint(*lengths_ms)
        start = chance.randint(first, last - length)
        request = Request("", UP_CAMERA, start, start + length)
        walls.append(rig.by_function(NAMED, request).wall_ms)
    progress.show(1)
    return walls


if __name__ == "__main__":
    main()

"""Computes the figures of the benchmark, and prints them."""

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from scripts import ROOT
from scripts.bench.cases import NAMED, NAMED_JPG, Case, Part
from scripts.bench.rig import Counts, Run
from scripts.shared import console

# The figures of the summary, each with its conditions. "The clip" is the named case.
FIGURES = {
    "times_faster_than_reference": "time of reference / time of function, the clip with PNG",
    "times_faster_than_reference_jpg": "time of reference / time of function, the clip with JPEG",
    "times_floor": "time of function / time of floor, the clip with PNG",
    "times_floor_jpg": "time of function / time of floor, the clip with JPEG",
    "bytes_fetched_over_needed": "bytes fetched / bytes needed, the clip",
    "bytes_fetched_over_needed_5_s": "bytes fetched / bytes needed, highest of all clips of 5 s",
    "frames_encoded": "frames encoded, the clip",
    "frames_encoded_too_many": "frames encoded beyond the next key frame, highest of all cases",
    "peak_rss_mb": "peak memory of the function without ffmpeg in MB, highest of all cases",
    "sixty_over_ten_minutes": "time with recordings of 60 min / time with those of 10 min, 60 s across two, PNG",
    "span300_over_span20_without_upload": "time for 300 s / time for 20 s, without upload, across two of 10 min, PNG",
    "p50_ms": "median time in ms of random spans of 60 s",
    "p95_ms": "95th percentile in ms of the same",
    "p99_ms": "99th percentile in ms of the same",
    "p99_over_p50": "99th percentile / median of the same",
}


@dataclass
class Row:
    """One case: the parts of its clip, and the cost of every run by each method."""

    case: Case
    parts: Sequence[Part]
    runs: dict[str, list[Run]] = field(default_factory=dict)
    counts: Counts | None = None

    def add(self, method: str, run: Run) -> None:
        """Adds a run by *reference*, *floor* or *function*."""
        self.runs.setdefault(method, []).append(run)

    def wall_ms(self, method: str) -> float | None:
        """Returns the median time, or `None` if the case was not measured by this method."""
        runs = self.runs.get(method)
        return statistics.median(run.wall_ms for run in runs) if runs else None

    @property
    def needed_bytes(self) -> int:
        """Size of the clip's own samples in the recordings, and of the tables that locate them."""
        return sum(part.own_bytes + len(part.moov) for part in self.parts)

    @property
    def encoded_too_many(self) -> int:
        """Number of encoded frames beyond those between each cut and the next key frame."""
        return self.runs["function"][0].encoded - sum(part.before_key for part in self.parts)

    @property
    def without_upload_ms(self) -> float:
        """Median time of the function without its upload."""
        return statistics.median(run.wall_ms - run.stages_ms["upload"] for run in self.runs["function"])

    @property
    def stages_ms(self) -> dict[str, float]:
        """Median time of each stage, from the function's log. Some stages overlap."""
        runs = self.runs["function"]
        stages = dict.fromkeys(stage for run in runs for stage in run.stages_ms)
        return {stage: statistics.median(run.stages_ms.get(stage, 0) for run in runs) for stage in stages}

    def as_json(self) -> dict:
        """Returns all figures of the case."""
        function, counts = self.runs["function"], self.counts
        methods = {
            method: {"wall_ms": _spread([run.wall_ms for run in runs]), "cpu_ms": _spread([run.cpu_ms for run in runs])}
            for method, runs in self.runs.items()
        }
        return {
            "case": self.case.name,
            **asdict(self.case),
            **methods,
            "bytes_needed": self.needed_bytes,
            "bytes_fetched": counts.fetched_bytes,
            "bytes_fetched_over_needed": counts.fetched_bytes / self.needed_bytes,
            "frames_copied": function[0].copied,
            "frames_encoded": function[0].encoded,
            "frames_encoded_expected": sum(part.before_key for part in self.parts),
            "peak_rss_mb": max(run.peak_rss_mb for run in function),
            "ffmpeg_peak_rss_mb": counts.ffmpeg_peak_mb,
            "ffmpeg_runs": counts.ffmpeg_runs,
            "s3_requests": counts.requests,
            "stages_ms": self.stages_ms,
        }


def machine() -> dict:
    """Describes the machine, the commit and the time."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, check=False, capture_output=True, text=True)
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model[0].partition(": ")[2] if model else platform.machine(),
        "load_at_start": os.getloadavg()[0],
    }


def result(machine: Mapping[str, object], rows: Sequence[Row], spans: Mapping[str, Sequence[float]]) -> dict:
    """Returns the content of the result file."""
    random_spans = {name: _percentiles(walls) for name, walls in spans.items()}
    summary = _summary({row.case: row for row in rows}, random_spans["random_60_s"])
    return {
        "machine": {**machine, "load_at_end": os.getloadavg()[0]},
        "named_case": NAMED.name,
        "summary": summary,
        "random_spans": random_spans,
        "rows": [row.as_json() for row in rows],
    }


def _summary(rows: Mapping[Case, Row], random_spans: Mapping[str, float]) -> dict:
    """Returns `FIGURES`. A quick run does not measure all of them; the others are `None`."""
    named, jpg = rows[NAMED], rows[NAMED_JPG]
    hours = rows.get(Case(60, 2, 60, "png"))
    short, long = (rows.get(Case(seconds, 2, 10, "png")) for seconds in (20, 300))
    least = [row for case, row in rows.items() if case.seconds == 5]
    return {
        "times_faster_than_reference": _ratio(named.wall_ms("reference"), named.wall_ms("function")),
        "times_faster_than_reference_jpg": _ratio(jpg.wall_ms("reference"), jpg.wall_ms("function")),
        "times_floor": _ratio(named.wall_ms("function"), named.wall_ms("floor")),
        "times_floor_jpg": _ratio(jpg.wall_ms("function"), jpg.wall_ms("floor")),
        "bytes_fetched_over_needed": named.counts.fetched_bytes / named.needed_bytes,
        "bytes_fetched_over_needed_5_s": max(row.counts.fetched_bytes / row.needed_bytes for row in least),
        "frames_encoded": named.runs["function"][0].encoded,
        "frames_encoded_too_many": max(row.encoded_too_many for row in rows.values()),
        "peak_rss_mb": max(run.peak_rss_mb for row in rows.values() for run in row.runs["function"]),
        "sixty_over_ten_minutes": hours and _ratio(hours.wall_ms("function"), named.wall_ms("function")),
        "span300_over_span20_without_upload": long
        and short
        and _ratio(long.without_upload_ms, short.without_upload_ms),
        **{name: random_spans[name] for name in ("p50_ms", "p95_ms", "p99_ms")},
        "p99_over_p50": random_spans["p99_ms"] / random_spans["p50_ms"],
    }


def show(found: Mapping) -> None:
    """Prints the result as tables."""
    machine = found["machine"]
    console.say(f"\n{machine['cpu']}, {machine['cores']} cores, local stack; median (least to most) in ms")
    console.say(
        f"{'case':17}{'function':>20}{'CPU':>6}{'floor':>20}{'reference':>23}"
        f"{'fetched/needed':>16}{'encoded':>9}{'of':>4}{'copied':>8}{'RSS MB':>8}{'ffmpeg MB':>11}"
    )
    for row in found["rows"]:
        console.say(
            f"{row['case']:17}{_times(row['function']):>20}{row['function']['cpu_ms']['median']:>6.0f}"
            f"{_times(row['floor']):>20}{_times(row.get('reference')):>23}"
            f"{row['bytes_fetched_over_needed']:>16.3f}{row['frames_encoded']:>9}{row['frames_encoded_expected']:>4}"
            f"{row['frames_copied']:>8}{row['peak_rss_mb']:>8.0f}{row['ffmpeg_peak_rss_mb']:>11.0f}"
        )
    named = next(row for row in found["rows"] if row["case"] == found["named_case"])
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in named["stages_ms"].items())
    console.say(f"{named['case']}, median ms of each stage, some overlap: {stages}")
    for name, span in found["random_spans"].items():
        figures = ", ".join(f"{figure} {value:.0f}" for figure, value in span.items())
        console.say(f"{name.replace('_', ' ')}, anywhere in two recordings of 10 min, PNG: {figures}")
    console.say(f"\nThe clip: {named['case']}")
    for name, meaning in FIGURES.items():
        value = found["summary"][name]
        console.say(f"{name:36}{'not measured' if value is None else f'{value:.4g}':>13}  {meaning}")


def _times(method: Mapping[str, Mapping[str, float]] | None) -> str:
    if not method:
        return ""
    wall = method["wall_ms"]
    return f"{wall['median']:.0f} ({wall['min']:.0f} to {wall['max']:.0f})"


def _spread(values: Sequence[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": list(values)}


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if over is None or under is None else over / under


def _percentiles(values: Sequence[float]) -> dict:
    """Returns percentiles by nearest rank, so that each is a time that was measured."""
    ordered = sorted(values)
    ranks = {f"p{percent}_ms": max(1, -(-len(ordered) * percent // 100)) for percent in (50, 95, 99)}
    return {name: ordered[rank - 1] for name, rank in ranks.items()} | {"most_ms": ordered[-1], "spans": len(ordered)}

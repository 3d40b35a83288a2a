"""What the benchmark found: rows, summary, and the figures that were to be reached."""

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
from scripts.bench.stand import Counted, Run
from scripts.shared import console

MIB = 1 << 20


@dataclass
class Row:
    """One case: what it needs, and what every run of it took."""

    case: Case
    parts: Sequence[Part]
    runs: dict[str, list[Run]] = field(default_factory=dict)
    counted: Counted | None = None

    def took(self, way: str, run: Run) -> None:
        """Adds a run."""
        self.runs.setdefault(way, []).append(run)

    def wall_ms(self, way: str) -> float | None:
        """The median, if it was made in this way."""
        runs = self.runs.get(way)
        return statistics.median(run.wall_ms for run in runs) if runs else None

    @property
    def needed_bytes(self) -> int:
        """The clip's own samples in the recordings, and the tables that tell where they lie."""
        return sum(part.own_bytes + len(part.moov) for part in self.parts)

    @property
    def encoded_too_many(self) -> int:
        """Frames encoded beyond those between each cut and the next key frame."""
        return self.runs["function"][0].encoded - sum(part.before_key for part in self.parts)

    @property
    def without_upload_ms(self) -> float:
        """The median of the function's times, each less its own upload."""
        return statistics.median(run.wall_ms - run.stages_ms["upload"] for run in self.runs["function"])

    @property
    def stages_ms(self) -> dict[str, float]:
        """The median of what each stage took, as the function itself says; some run side by side."""
        runs = self.runs["function"]
        stages = dict.fromkeys(stage for run in runs for stage in run.stages_ms)
        return {stage: statistics.median(run.stages_ms.get(stage, 0) for run in runs) for stage in stages}

    def as_json(self) -> dict:
        """All of it."""
        function, counted = self.runs["function"], self.counted
        ways = {
            way: {"wall_ms": _spread([run.wall_ms for run in runs]), "cpu_ms": _spread([run.cpu_ms for run in runs])}
            for way, runs in self.runs.items()
        }
        return {
            "case": self.case.name,
            **asdict(self.case),
            **ways,
            "bytes_needed": self.needed_bytes,
            "bytes_fetched": counted.fetched_bytes,
            "bytes_fetched_over_needed": counted.fetched_bytes / self.needed_bytes,
            "frames_copied": function[0].copied,
            "frames_encoded": function[0].encoded,
            "frames_encoded_expected": sum(part.before_key for part in self.parts),
            "peak_rss_mb": max(run.peak_rss_mb for run in function),
            "ffmpeg_peak_rss_mb": counted.ffmpeg_peak_mb,
            "ffmpeg_runs": counted.ffmpeg_runs,
            "s3_requests": counted.requests,
            "stages_ms": self.stages_ms,
        }


def machine() -> dict:
    """Where and when it was measured."""
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
    """What goes into the file."""
    random_spans = {name: _percentiles(walls) for name, walls in spans.items()}
    summary = _summary({row.case: row for row in rows}, random_spans["random_60_s"])
    return {
        "machine": {**machine, "load_at_end": os.getloadavg()[0]},
        "named_case": NAMED.name,
        "summary": summary,
        "targets": targets(summary),
        "random_spans": random_spans,
        "rows": [row.as_json() for row in rows],
    }


def _summary(rows: Mapping[Case, Row], random_spans: Mapping[str, float]) -> dict:
    """The figures of the named case. What a quick run doesn't measure is null."""
    named, jpg = rows[NAMED], rows[NAMED_JPG]
    hours = rows.get(Case(60, 2, 60, "png"))
    short, long = (rows.get(Case(seconds, 2, 10, "png")) for seconds in (20, 300))
    least = [row for case, row in rows.items() if case.seconds == 5]
    return {
        "times_faster_than_reference": _ratio(named.wall_ms("reference"), named.wall_ms("function")),
        "times_faster_than_reference_jpg": _ratio(jpg.wall_ms("reference"), jpg.wall_ms("function")),
        "times_floor": _ratio(named.wall_ms("function"), named.wall_ms("floor")),
        "times_floor_jpg": _ratio(jpg.wall_ms("function"), jpg.wall_ms("floor")),
        "bytes_fetched_over_needed": named.counted.fetched_bytes / named.needed_bytes,
        "bytes_fetched_over_needed_5_s": max(row.counted.fetched_bytes / row.needed_bytes for row in least),
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


# What was to be reached: a figure of the summary, and a test of it.
AT_LEAST, AT_MOST = "at least", "at most"
TARGETS = (
    ("times_faster_than_reference", AT_LEAST, 60),
    ("times_faster_than_reference_jpg", AT_LEAST, 80),
    ("times_floor", AT_MOST, 1),
    ("bytes_fetched_over_needed", AT_MOST, 1.05),
    ("bytes_fetched_over_needed_5_s", AT_MOST, 1.4),
    ("frames_encoded_too_many", AT_MOST, 0),
    ("peak_rss_mb", AT_MOST, 48),
    ("sixty_over_ten_minutes", AT_MOST, 1.1),
    ("span300_over_span20_without_upload", AT_MOST, 2),
    ("p99_over_p50", AT_MOST, 2),
)


def targets(summary: Mapping[str, float | None]) -> list[dict]:
    """What was to be reached, and whether it was."""
    found = []
    for name, kind, limit in TARGETS:
        value = summary[name]
        reached = None if value is None else value >= limit if kind == AT_LEAST else value <= limit
        found.append({"figure": name, "value": value, kind.replace(" ", "_"): limit, "reached": reached})
    return found


def show(found: Mapping) -> None:
    """Prints it all."""
    console.say(f"\n{found['machine']['cpu']}, {found['machine']['cores']} cores; medians (least to most) in ms")
    console.say(
        f"{'case':17}{'function':>20}{'CPU':>6}{'floor':>20}{'reference':>23}"
        f"{'fetched/needed':>16}{'encoded':>9}{'of':>4}{'copied':>8}{'RSS MB':>8}{'ffmpeg MB':>11}"
    )
    for row in found["rows"]:
        console.say(
            f"{row['case']:17}{_shown(row['function']):>20}{row['function']['cpu_ms']['median']:>6.0f}"
            f"{_shown(row['floor']):>20}{_shown(row.get('reference')):>23}"
            f"{row['bytes_fetched_over_needed']:>16.3f}{row['frames_encoded']:>9}{row['frames_encoded_expected']:>4}"
            f"{row['frames_copied']:>8}{row['peak_rss_mb']:>8.0f}{row['ffmpeg_peak_rss_mb']:>11.0f}"
        )
    named = next(row for row in found["rows"] if row["case"] == found["named_case"])
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in named["stages_ms"].items())
    console.say(f"{named['case']} by stage, some side by side: {stages}")
    for name, span in found["random_spans"].items():
        figures = ", ".join(f"{figure} {value:.0f}" for figure, value in span.items())
        console.say(f"{name.replace('_', ' ')}: {figures}")
    console.say()
    for target in found["targets"]:
        kind = next(name for name in ("at_least", "at_most") if name in target)
        value = "not measured" if target["value"] is None else f"{target['value']:.3g}"
        verdict = {True: "reached", False: "MISSED", None: ""}[target["reached"]]
        console.say(f"{target['figure']:36}{value:>13}  {kind.replace('_', ' ')} {target[kind]:<5} {verdict}")


def _shown(way: Mapping[str, Mapping[str, float]] | None) -> str:
    if not way:
        return ""
    wall = way["wall_ms"]
    return f"{wall['median']:.0f} ({wall['min']:.0f} to {wall['max']:.0f})"


def _spread(values: Sequence[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": list(values)}


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if over is None or under is None else over / under


def _percentiles(values: Sequence[float]) -> dict:
    """Nearest rank: every one is a time that was measured."""
    ordered = sorted(values)
    ranks = {f"p{percent}_ms": max(1, -(-len(ordered) * percent // 100)) for percent in (50, 95, 99)}
    return {name: ordered[rank - 1] for name, rank in ranks.items()} | {"most_ms": ordered[-1], "spans": len(ordered)}

"""Writes the report of a clip from the documents that the function leaves in `TRACE_DIR`.

The report is one page that contains the clip and the thumbnails as data, so it works without a network.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.report import html, timeline

# The function writes the document after it has announced the clip.
DOCUMENT_SECONDS = 15
# What each kind of failure means for the request: `Kind` in src/error.rs.
FAILURE_KINDS = {
    "malformed": "the message cannot be understood, and a retry cannot change that",
    "permanent": "the other side refused, and a retry cannot change that",
    "transient": "a retry may succeed, so the queue delivers the message again",
    "not_found": "the object does not exist yet",
    "modified": "the object was replaced while it was read",
    "unusable_footage": "no clip can be made of this footage",
    "beyond_limits": "the function has too little time, memory or disk for this clip",
}
LEGEND = (
    ("recordings", "recordings", "var(--recording)"),
    ("wanted", "requested span", "var(--wanted);outline:1px solid var(--copy)"),
    ("copy", "copied bit for bit", "var(--copy)"),
    ("encode", "encoded", "var(--encode)"),
    ("held", "short gap: a frame is held", "repeating-linear-gradient(45deg,var(--quiet) 0 1px,transparent 1px 5px)"),
    ("gaps", "gap: no footage", "repeating-linear-gradient(45deg,var(--gap) 0 3px,transparent 3px 6px)"),
)


@dataclass(frozen=True)
class Media:
    """The files that the page contains: the clip, and the thumbnails by their width."""

    clip: Path | None = None
    thumbnails: Mapping[int, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Bar:
    """A bar of a chart. Start and width are in percent of the chart's width."""

    name: str
    start: float
    width: float
    kind: str
    figure: str
    description: str


def documents(traces: Path, clip_id: str) -> list[dict]:
    """Returns the documents of all tries of a clip, in order."""
    tries = [read(file) for file in traces.glob("[0-9]*.json")]
    return sorted((one for one in tries if one["request"]["clipId"] == clip_id), key=lambda one: one["startedMs"])


def read(file: Path) -> dict:
    """Reads a document."""
    return json.loads(file.read_text())


def wait_for_documents(traces: Path, clip_id: str, is_last: Callable[[dict], bool]) -> list[dict]:
    """Waits for a last document as wanted, and returns the documents of all tries."""
    give_up = time.monotonic() + DOCUMENT_SECONDS
    while not (found := documents(traces, clip_id)) or not is_last(found[-1]):
        if time.monotonic() > give_up:
            raise TimeoutError(f"expected a document of clip {clip_id} in {traces}, got none")
        time.sleep(0.05)
    return found


def write(tries: Sequence[dict], media: Media, target: Path) -> None:
    """Writes the page of a clip. It shows the last try, and the history of all."""
    last = tries[-1]
    page = html.render(
        {
            **last,
            "tries": tries,
            "media": media,
            "failure_kinds": FAILURE_KINDS,
            "timeline": timeline.draw(last),
            "legend": [(name, colour) for kind, name, colour in LEGEND if kind in _drawn_kinds(last)],
            "byte_bars": _byte_bars(last["bytes"]),
            "stage_bars": _stage_bars(last),
        }
    )
    unfinished = target.with_suffix(".new")
    unfinished.write_text(page, encoding="utf-8")
    unfinished.rename(target)


def _drawn_kinds(document: dict) -> set[str]:
    kinds = {"wanted", *(("recordings",) if document["parts"] else ())}
    kinds |= {segment["how"] for segment in document["segments"]}
    return kinds | {kind for kind in ("held", "gaps") if document[kind]}


def _byte_bars(read: dict) -> list[Bar]:
    whole = max(read["recordings"], read["fetched"], 1)
    rows = [
        ("recordings", read["recordings"], "recordings", "the whole size of the files"),
        ("fetched", read["fetched"], "", "sample tables and footage"),
        ("needed", read["needed"], "", "footage in clip and thumbnails"),
    ]
    return [
        Bar(
            name=name,
            start=0,
            width=100 * count / whole,
            kind=kind,
            figure=f"{html.size(count)} ({count / whole:.1%})",
            description=f"{name}: {count:,} bytes, {meaning}",
        )
        for name, count, kind, meaning in rows
    ]


def _stage_bars(document: dict) -> list[Bar]:
    whole = max(document["ms"], 0.001)
    return [
        Bar(
            name=run["stage"],
            start=100 * run["startMs"] / whole,
            width=100 * run["ms"] / whole,
            kind="" if run["ok"] else "failed",
            figure=html.duration(run["ms"]) + ("" if run["ok"] else " failed"),
            description=f"{run['stage']}: starts at {html.duration(run['startMs'])}, takes {html.duration(run['ms'])}",
        )
        for run in sorted(document["stages"], key=lambda run: run["startMs"])
    ]

"""Writes the report of a clip: one page that holds all it shows, made from the documents of `TRACE_DIR`.

Clip and thumbnails are in it as well, as data: one file can be opened, kept and sent, and works without a network.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

from scripts.report import pieces, timeline

PAGE = Path(__file__).with_name("report.html")
# A request is over before its document is there.
PATIENCE_SECONDS = 15
TONES = {"CLIP_AVAILABLE": ("good", "✓"), "CLIP_PENDING": ("wait", "…")}
MEANINGS = {
    "CLIP_PENDING": "Footage may still come: the message has been sent round again.",
    "CLIP_TOO_LONG": "The span is longer than <code>VIDEO_MAX_LEN</code>; nothing was looked up.",
    "CLIP_RETRY_TIMEOUT": "It was waited for, and nothing came.",
    "CLIP_OUT_OF_RANGE": "There is no footage, and it was asked for too far from the span.",
    "CLIP_NOT_AVAILABLE": "There is no footage.",
    "FATAL_ERROR": "Footage is there, but no clip can be made of it. In the end the dead-letter queue has the message.",
    "FAILED": "The record failed before anything could be said. The queue brings it back.",
}

# What a failure's kind means for the request: src/error.rs.
KINDS = {
    "IllFormed": "the message can't be understood and never will be",
    "Refused": "the other side said no for good",
    "Passing": "worth another try, so the queue brings it back",
    "Absent": "it is not there yet",
    "Changed": "it was replaced while it was read",
    "Unusable": "no clip can be made of it",
}
LEGEND = (
    ("recordings", "recordings", "var(--recording)"),
    ("wanted", "wanted", "var(--wanted);outline:1px solid var(--copy)"),
    ("copy", "copied bit for bit", "var(--copy)"),
    ("encode", "encoded", "var(--encode)"),
    ("held", "held over a hole", "repeating-linear-gradient(45deg,var(--quiet) 0 1px,transparent 1px 5px)"),
    ("gaps", "gap: missing", "repeating-linear-gradient(45deg,var(--hole) 0 3px,transparent 3px 6px)"),
)


@dataclass(frozen=True)
class Shown:
    """What the page shows beside the documents."""

    clip: Path | None = None
    thumbnails: Mapping[int, Path] = field(default_factory=dict)


def documents(traces: Path, clip_id: str) -> list[dict]:
    """All tries of a clip, in order."""
    tries = [read(file) for file in traces.glob("[0-9]*.json")]
    return sorted((one for one in tries if one["request"]["clipId"] == clip_id), key=lambda one: one["startedMs"])


def read(file: Path) -> dict:
    """A document."""
    return json.loads(file.read_text())


def await_documents(traces: Path, clip_id: str, over: Callable[[list[dict]], bool]) -> list[dict]:
    """The same, once they tell what is waited for."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not over(found := documents(traces, clip_id)):
        if time.monotonic() > give_up:
            raise TimeoutError(f"the function left no document of clip {clip_id} in {traces}")
        time.sleep(0.05)
    return found


def write(tries: Sequence[dict], shown: Shown, target: Path) -> None:
    """Writes the page of a clip. The last try is the one that is shown."""
    told = _told(tries, shown)
    unfinished = target.with_suffix(".new")
    unfinished.write_text(Template(PAGE.read_text()).substitute(told), encoding="utf-8")
    unfinished.rename(target)


def _told(tries: Sequence[dict], shown: Shown) -> dict[str, str]:
    last = tries[-1]
    status = last["status"]
    tone, sign = TONES.get(status, ("bad", "✕"))
    return {
        "title": escape(f"{last['request']['clipId']} · {status}"),
        "clip": escape(last["request"]["clipId"]),
        "status": escape(status),
        "tone": tone,
        "sign": sign,
        "summary": _summary(last),
        "failure": _failure(last["failure"]),
        "look": _look(shown, last),
        "request": _request(last["request"]),
        "timeline": _timeline(last),
        "bytes": _bytes(last["bytes"]),
        "stages": _stages(last),
        "messages": _messages(tries),
        "history": _history(tries),
        "document": json.dumps(last).replace("<", "\\u003c"),
    }


def _summary(document: dict) -> str:
    clip, read = document["clip"], document["bytes"]
    if document["mode"] == "stored":
        return f"The clip was stored already: announced again in {pieces.ms(document['ms'])}, nothing rendered."
    if document["status"] != "CLIP_AVAILABLE" or not clip:
        return MEANINGS.get(document["status"], "")
    share = (
        f" of {pieces.size(read['recordings'])} ({read['fetched'] / read['recordings']:.1%})"
        if read["recordings"]
        else ""
    )
    sound = {"copy": ", sound copied", "encode": ", sound encoded"}.get(document["sound"] or "", "")
    gaps = f" {pieces.count(len(document['gaps']), 'gap')} in the footage." if document["gaps"] else ""
    return (
        f"<strong>{clip['lengthUs'] / 1e6:.3f} s, {pieces.count(clip['frames'], 'frame')}</strong>:"
        f" {clip['copied']:,} copied, {clip['encoded']:,} encoded{sound}."
        f" Made in <strong>{pieces.ms(document['ms'])}</strong>;"
        f" read <strong>{pieces.size(read['fetched'])}</strong>{share}.{gaps}"
    )


def _failure(failure: dict | None) -> str:
    if not failure:
        return ""
    rows = [
        ("Stage", failure["stage"]),
        ("Object", failure["object"]),
        ("Error", failure["error"]),
        ("Kind", f"{failure['kind']}: {KINDS.get(failure['kind'], '')}"),
    ]
    told = "".join(f"<dt>{name}</dt><dd><code>{escape(value)}</code></dd>" for name, value in rows)
    return (
        '<section class="failure" role="alert" aria-labelledby="failed">'
        f'<h2 id="failed">Where and why it failed</h2><dl>{told}</dl></section>'
    )


def _look(shown: Shown, document: dict) -> str:
    if not shown.clip:
        return ""
    smallest = min(shown.thumbnails, default=None)
    poster = f' poster="{pieces.data(shown.thumbnails[smallest])}"' if smallest else ""
    asked = document["request"]
    what = f"Clip {asked['clipId']} of camera {asked['cameraId']}"
    video = (
        f'<video controls playsinline preload="auto" aria-label="{escape(what)}"{poster}'
        f' src="{pieces.data(shown.clip)}"></video>'
        f'<p class="quiet">{shown.clip.stat().st_size:,} bytes</p>'
    )
    pictures = "".join(
        f'<li><img src="{pieces.data(file)}" alt="Thumbnail {size} pixels wide: the frame at 25 % of the clip">'
        f'<span class="quiet">{size} px · {pieces.size(file.stat().st_size)}</span></li>'
        for size, file in sorted(shown.thumbnails.items())
    )
    return (
        '<section aria-labelledby="seen"><h2 id="seen">The clip and its thumbnails</h2>'
        f'<div class="look"><div>{video}</div><ul class="thumbnails">{pictures}</ul></div></section>'
    )


def _request(asked: dict) -> str:
    length = asked["endTimestampInMs"] - asked["startTimestampInMs"]
    rows = [
        ("Camera", escape(asked["cameraId"])),
        ("From", pieces.instant(asked["startTimestampInMs"])),
        ("To", pieces.instant(asked["endTimestampInMs"])),
        ("Length", f"{length / 1000:.3f} s"),
        ("Message sent", pieces.instant(asked["sentTimestamp"])),
        ("Try", str(len(asked["retryTimestamps"]) + 1)),
    ]
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _timeline(document: dict) -> str:
    segments = document["segments"]
    used = {"wanted", *(("recordings",) if document["parts"] else ()), *(one["how"] for one in segments)}
    used |= {name for name in ("held", "gaps") if document[name]}
    legend = "".join(
        f'<li><i style="background:{colour}"></i>{name}</li>' for kind, name, colour in LEGEND if kind in used
    )
    drawn = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Timeline, drawn to scale">'
        f'{timeline.draw(document)}</div><ul class="legend">{legend}</ul>'
    )
    if segments:
        drawn += pieces.table(
            "Segments of the clip, in order",
            ("In the clip", "Part", "Frames", "From", "To", "Recording", "Why encoded"),
            [_segment_row(document, index) for index in range(len(segments))],
            {2},
        )
    absent = [one["name"] for one in document["recordings"] if not one["shows"]]
    if absent:
        drawn += f"<p>Listed, but not in S3: <code>{escape(', '.join(absent))}</code></p>"
    return drawn


def _segment_row(document: dict, index: int) -> list[str]:
    segment = document["segments"][index]
    at = segment["inClip"]["startUs"] / 1e6
    return [
        f'<button type="button" data-seek="{at:.6f}" title="Show the clip at this time">{at:.3f} s</button>',
        timeline.role(document["segments"], index),
        f"{segment['frames']:,}",
        pieces.clock(segment["startUs"]),
        pieces.clock(segment["endUs"]),
        escape(document["recordings"][segment["recording"]]["name"]),
        escape(segment["why"] or ""),
    ]


def _bytes(read: dict) -> str:
    if not read["recordings"]:
        return f"<p>{pieces.count(read['fetched'], 'byte')}. No recording was opened.</p>"
    whole = max(read["recordings"], read["fetched"])
    rows = [
        ("recordings", read["recordings"], "recordings", "the files' whole size"),
        ("fetched", read["fetched"], "", "sample tables and footage"),
        ("needed", read["needed"], "", "footage in clip and thumbnails"),
    ]
    cells = [
        (
            name,
            0,
            100 * size / whole,
            kind,
            f"{pieces.size(size)} ({size / whole:.1%})",
            f"{name}: {size:,} bytes, {meaning}",
        )
        for name, size, kind, meaning in rows
    ]
    return pieces.bars("Of the recordings, to scale", cells)


def _stages(document: dict) -> str:
    whole = max(document["ms"], 0.001)
    cells = [
        (
            run["stage"],
            100 * run["startMs"] / whole,
            100 * run["ms"] / whole,
            "" if run["ok"] else "failed",
            pieces.ms(run["ms"]) + ("" if run["ok"] else " failed"),
            f"{run['stage']}: from {pieces.ms(run['startMs'])} on, for {pieces.ms(run['ms'])}",
        )
        for run in sorted(document["stages"], key=lambda run: run["startMs"])
    ]
    return pieces.bars(f"{pieces.ms(document['ms'])} in all; from left to right as time went by", cells)


def _messages(tries: Sequence[dict]) -> str:
    told = []
    for number, document in enumerate(tries, 1):
        of_try = f", try {number}" if len(tries) > 1 else ""
        told.append(pieces.details(f"in · SQS · the request{of_try}", document["request"]))
        for said in document["messages"]:
            what = said["content"].get("status", "the request, once more")
            what = f"out · {said['to']}{of_try} · {what} · after {pieces.ms(said['ms'])}"
            refused = f"<p class=bad>Refused: {escape(said['refused'])}</p>" if said["refused"] else ""
            told.append(pieces.details(what, said["content"], refused))
    return "".join(told)


def _history(tries: Sequence[dict]) -> str:
    lines = []
    for document in tries:
        failure = document["failure"]
        why = f": {escape(failure['stage'])}, {escape(failure['error'])}" if failure else ""
        lines.append(
            f"<li>{pieces.instant(document['startedMs'])}: <strong>{escape(document['status'])}</strong>"
            f" after {pieces.ms(document['ms'])}{why}</li>"
        )
    return f'<ol class="history">{"".join(lines)}</ol>'

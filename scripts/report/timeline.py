"""The timeline of a report, drawn to scale: the recordings around the wanted span, and below it the span by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from scripts.shared import instants

WIDTH = 1120
LEFT, RIGHT = 96, 12
ROW = 34
CHARACTER = 7.2  # how wide one is, about
STEPS_US = [step * 1_000 for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)] + [
    step * 1_000_000 for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
]
MOST_TICKS = 9


@dataclass(frozen=True)
class Scale:
    """Where on the drawing an instant stands."""

    start_us: int
    end_us: int

    @property
    def per_us(self) -> float:
        """Units of the drawing a microsecond."""
        return (WIDTH - LEFT - RIGHT) / (self.end_us - self.start_us)

    def x(self, at_us: float) -> float:
        """The place of an instant."""
        return LEFT + (at_us - self.start_us) * self.per_us

    def ticks(self) -> Iterator[int]:
        """Round instants, not too many."""
        length = self.end_us - self.start_us
        step = next((step for step in STEPS_US if length / step <= MOST_TICKS), 7 * 86_400_000_000)
        yield from range(-(-self.start_us // step) * step, self.end_us, step)


@dataclass
class Drawing:
    """Shapes, from the top down."""

    shapes: list[str] = field(default_factory=list)
    y: float = 0

    def add(self, shape: str) -> None:
        """Puts a shape on top of the others."""
        self.shapes.append(shape)

    def box(self, scale: Scale, stretch: dict, kind: str, told: str, height: float = ROW - 8) -> tuple[float, float]:
        """A stretch of time in this row. Returns its place and its width."""
        x = scale.x(stretch["startUs"])
        width = (stretch["endUs"] - stretch["startUs"]) * scale.per_us
        data = f'data-start-us="{stretch["startUs"]}" data-end-us="{stretch["endUs"]}"'
        self.add(
            f'<rect class="{kind}" x="{x:.3f}" y="{self.y:.1f}" width="{width:.3f}" height="{height}" {data}>'
            f"<title>{escape(told)}</title></rect>"
        )
        return x, width

    def text(self, x: float, text: str, kind: str = "", anchor: str = "start", dy: float = 18) -> None:
        """A text in this row."""
        self.add(f'<text x="{x:.1f}" y="{self.y + dy:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>')

    def name_row(self, name: str) -> None:
        """What a row shows, at its left."""
        self.text(0, name, "row")

    def axis(self, scale: Scale) -> None:
        """Round instants in UTC."""
        fine = scale.end_us - scale.start_us < MOST_TICKS * 1_000_000
        for at in scale.ticks():
            x = scale.x(at)
            self.add(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{self.y + 18}" y2="{self.y + 24}"/>')
            clock = instants.rfc_3339(at // 1000)[11:-1]
            if LEFT + 25 < x < WIDTH - 30:
                self.text(x, clock if fine else clock[:8], "small", "middle", 13)
        self.text(0, "UTC", "small", dy=13)
        self.y += 28


def draw(document: dict) -> str:
    """The timeline of a request as SVG."""
    asked = document["request"]
    span = {"startUs": asked["startTimestampInMs"] * 1000, "endUs": asked["endTimestampInMs"] * 1000}
    drawing = Drawing()
    around = _around([span, *(one["shows"] for one in document["recordings"] if one["shows"])], 0.015)
    near = _around([span], 0.02)
    if any(one["shows"] for one in document["recordings"]):
        _recordings(drawing, around, document["recordings"], span)
        _zoom(drawing, around, near)
    _span(drawing, near, document, span)
    height = drawing.y + 4
    told = f"{len(document['recordings'])} recordings, {len(document['parts'])} parts of the span shown, "
    told += f"{len(document['gaps'])} gaps, {len(document['segments'])} segments; the tables below say the same"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="drawn">'
        f'<title id="drawn">Timeline to scale: {told}</title>{_patterns()}{"".join(drawing.shapes)}</svg>'
    )


def role(segments: Sequence[dict], index: int) -> str:
    """What a segment is to the copied run of its recording: its head, its body or its tail."""

    def copied(other: int) -> bool:
        beside = 0 <= other < len(segments) and segments[other]["recording"] == segments[index]["recording"]
        return beside and segments[other]["how"] == "copy"

    if segments[index]["how"] == "copy":
        return "body"
    return "head" if copied(index + 1) else "tail" if copied(index - 1) else "encoded"


def _recordings(drawing: Drawing, scale: Scale, recordings: Sequence[dict], span: dict) -> None:
    top = drawing.y
    drawing.axis(scale)
    drawing.name_row("recordings")
    ends: list[int] = []
    for index, recording in enumerate(one for one in recordings if one["shows"]):
        shows = recording["shows"]
        lane = next((lane for lane, end in enumerate(ends) if end <= shows["startUs"]), len(ends))
        ends[lane : lane + 1] = [shows["endUs"]]
        first_row, drawing.y = drawing.y, drawing.y + lane * ROW
        seconds = (shows["endUs"] - shows["startUs"]) / 1e6
        told = f"{recording['name']}: {seconds:.3f} s, {recording['bytes']:,} bytes"
        x, width = drawing.box(scale, shows, f"recording{' odd' * (index % 2)}", told)
        if len(recording["name"]) * CHARACTER < width:
            drawing.text(x + 6, recording["name"], "on-recording")
        drawing.y = first_row
    drawing.y += ROW * len(ends)
    bottom, drawing.y = drawing.y, top + 26
    seconds = (span["endUs"] - span["startUs"]) / 1e6
    drawing.box(scale, span, "wanted", f"wanted: {seconds:.3f} s", bottom - top - 28)
    drawing.y = bottom


def _zoom(drawing: Drawing, outer: Scale, inner: Scale) -> None:
    """The wanted span opens up to the width of what follows."""
    y, below = drawing.y - 2, drawing.y + 26
    corners = [(outer.x(inner.start_us), y), (outer.x(inner.end_us), y), (WIDTH - RIGHT, below), (LEFT, below)]
    points = " ".join(f"{x:.1f},{at:.1f}" for x, at in corners)
    drawing.add(f'<polygon points="{points}" fill="var(--wanted)"/>')
    drawing.y = below


def _span(drawing: Drawing, scale: Scale, document: dict, span: dict) -> None:
    top = drawing.y
    drawing.axis(scale)
    drawing.name_row("wanted")
    seconds = (span["endUs"] - span["startUs"]) / 1e6
    x, _ = drawing.box(scale, span, "wanted", f"wanted: {seconds:.3f} s")
    drawing.text(x + 6, f"{seconds:.3f} s")
    drawing.y += ROW
    if document["parts"] or document["gaps"]:
        _footage(drawing, scale, document)
    if document["segments"]:
        _segments(drawing, scale, document["segments"])
    drawing.add(
        f'<line class="playhead" x1="0" x2="0" y1="{top + 22}" y2="{drawing.y - 2}" data-from="{LEFT}"'
        f' data-start="{scale.start_us}" data-per-us="{scale.per_us!r}"/>'
    )


def _footage(drawing: Drawing, scale: Scale, document: dict) -> None:
    drawing.name_row("footage")
    for part in document["parts"]:
        name = document["recordings"][part["recording"]]["name"]
        told = f"{name} shows {(part['endUs'] - part['startUs']) / 1e6:.3f} s of it"
        x, width = drawing.box(scale, part, f"recording{' odd' * (part['recording'] % 2)}", told)
        if len(name) * CHARACTER < width:
            drawing.text(x + 6, name, "on-recording")
    for kind, meaning in (("held", "a frame is held"), ("gap", "missing")):
        for hole in document["held" if kind == "held" else "gaps"]:
            told = f"{meaning} for {(hole['endUs'] - hole['startUs']) / 1e6:.3f} s"
            x, width = drawing.box(scale, hole, kind, told)
            if len(told) * CHARACTER < width:
                ground = f'x="{x + 3:.1f}" y="{drawing.y + 4}" width="{len(told) * CHARACTER:.0f}" height="18" rx="3"'
                drawing.add(f'<rect {ground} fill="var(--card)"/>')
                drawing.text(x + 6, told)
    drawing.y += ROW


def _segments(drawing: Drawing, scale: Scale, segments: Sequence[dict]) -> None:
    """The clip's segments. What has no room for its label gets it below, with a line."""
    drawing.name_row("clip")
    outside: list[tuple[float, str]] = []
    for index, segment in enumerate(segments):
        what = role(segments, index)
        label = f"{what} {segment['frames']:,} frame{'s' * (segment['frames'] != 1)}"
        how = "copied" if segment["how"] == "copy" else f"encoded: {segment['why']}"
        x, width = drawing.box(scale, segment, f"{segment['how']} joint", f"{label}, {how}")
        if len(label) * CHARACTER < width:
            drawing.text(x + 6, label, f"on-{segment['how']}")
        else:
            outside.append((x + width / 2, label))
    drawing.y += ROW - 8
    lanes: list[float] = []
    for middle, label in outside:
        width = len(label) * CHARACTER
        left = min(max(middle - width / 2, LEFT), WIDTH - RIGHT - width)
        lane = next((lane for lane, end in enumerate(lanes) if end + 8 < left), len(lanes))
        lanes[lane : lane + 1] = [left + width]
        below = drawing.y + 10 + 20 * lane
        drawing.add(f'<line class="leader" x1="{middle:.1f}" x2="{middle:.1f}" y1="{drawing.y}" y2="{below:.1f}"/>')
        drawing.text(left, label, dy=24 + 20 * lane)
    drawing.y += 12 + 20 * len(lanes)


def _around(stretches: Sequence[dict], margin: float) -> Scale:
    start = min(stretch["startUs"] for stretch in stretches)
    end = max(stretch["endUs"] for stretch in stretches)
    room = max(1, round((end - start) * margin))
    return Scale(start - room, end + room)


def _patterns() -> str:
    stripes = {"held": "var(--quiet)", "gap": "var(--hole)"}
    return "".join(
        f'<pattern id="{kind}" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<line x1="0" x2="0" y1="0" y2="8" stroke="{colour}" stroke-width="{3 if kind == "gap" else 1.5}"/></pattern>'
        for kind, colour in stripes.items()
    )

"""Draws the timeline of a report to scale: the recordings around the requested span, and below them the span."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from scripts.shared import instants

WIDTH = 1120
LEFT, RIGHT = 96, 12
ROW = 34
CHARACTER = 7.2  # approximate width of a character
STEPS_US = [step * 1_000 for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)] + [
    step * 1_000_000 for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
]
MAX_TICKS = 9


@dataclass(frozen=True)
class Scale:
    """Maps instants to horizontal positions."""

    start_us: int
    end_us: int

    @property
    def per_us(self) -> float:
        """Units of the drawing per microsecond."""
        return (WIDTH - LEFT - RIGHT) / (self.end_us - self.start_us)

    def x(self, at_us: float) -> float:
        """Returns the position of an instant."""
        return LEFT + (at_us - self.start_us) * self.per_us

    def ticks(self) -> Iterator[int]:
        """Yields at most `MAX_TICKS` round instants."""
        length = self.end_us - self.start_us
        step = next((step for step in STEPS_US if length / step <= MAX_TICKS), 7 * 86_400_000_000)
        yield from range(-(-self.start_us // step) * step, self.end_us, step)


@dataclass(frozen=True)
class Shape:
    """An SVG element."""

    tag: str
    attributes: dict[str, object]
    text: str = ""
    title: str = ""


@dataclass
class Drawing:
    """Shapes in rows. Later shapes cover earlier ones."""

    width: int = WIDTH
    height: float = 0
    shapes: list[Shape] = field(default_factory=list)
    y: float = 0  # top of the current row

    def add(self, tag: str, text: str = "", title: str = "", **attributes: object) -> None:
        """Adds a shape. An underscore in the name of an attribute stands for a hyphen, `class_` for `class`."""
        named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        self.shapes.append(Shape(tag, named, text, title))

    def box(self, scale: Scale, span: dict, kind: str, title: str, height: float = ROW - 8) -> tuple[float, float]:
        """Draws a span of time in the current row. Returns its position and width."""
        x, width = scale.x(span["startUs"]), (span["endUs"] - span["startUs"]) * scale.per_us
        self.add(
            "rect",
            title=title,
            class_=kind,
            x=f"{x:.3f}",
            y=f"{self.y:.1f}",
            width=f"{width:.3f}",
            height=height,
            data_start_us=span["startUs"],
            data_end_us=span["endUs"],
        )
        return x, width

    def text(self, x: float, text: str, kind: str = "", anchor: str = "start", dy: float = 18) -> None:
        """Writes a text into the current row."""
        self.add("text", text, x=f"{x:.1f}", y=f"{self.y + dy:.1f}", class_=kind, text_anchor=anchor)

    def vertical(self, kind: str, x: float, y1: float, y2: float) -> None:
        """Draws a vertical line."""
        self.add("line", class_=kind, x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{y1:.1f}", y2=f"{y2:.1f}")

    def name_row(self, name: str) -> None:
        """Writes the name of the current row at its left."""
        self.text(0, name, "row")

    def axis(self, scale: Scale) -> None:
        """Draws an axis with round instants in UTC, and starts a new row."""
        is_fine = scale.end_us - scale.start_us < MAX_TICKS * 1_000_000
        for at in scale.ticks():
            x = scale.x(at)
            self.vertical("tick", x, self.y + 18, self.y + 24)
            clock = instants.rfc_3339(at // 1000)[11:-1]
            if LEFT + 25 < x < WIDTH - 30:
                self.text(x, clock if is_fine else clock[:8], "small", "middle", 13)
        self.text(0, "UTC", "small", dy=13)
        self.y += 28


def draw(document: dict) -> Drawing:
    """Draws the timeline of a request."""
    request = document["request"]
    span = {"startUs": request["startTimestampInMs"] * 1000, "endUs": request["endTimestampInMs"] * 1000}
    drawing = Drawing()
    spans_with_footage = [one["shows"] for one in document["recordings"] if one["shows"]]
    near = _scale_around([span], 0.02)
    if spans_with_footage:
        around = _scale_around([span, *spans_with_footage], 0.015)
        _recordings(drawing, around, document["recordings"], span)
        _zoom(drawing, around, near)
    _span(drawing, near, document, span)
    drawing.height = drawing.y + 4
    return drawing


def role(segments: Sequence[dict], index: int) -> str:
    """Returns the role of a segment: `body` if copied, `head` or `tail` of a body, or `encoded`."""

    def is_body(other: int) -> bool:
        same = 0 <= other < len(segments) and segments[other]["recording"] == segments[index]["recording"]
        return same and segments[other]["how"] == "copy"

    if segments[index]["how"] == "copy":
        return "body"
    return "head" if is_body(index + 1) else "tail" if is_body(index - 1) else "encoded"


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
        title = f"{recording['name']}: {_seconds(shows)}, {recording['bytes']:,} bytes"
        x, width = drawing.box(scale, shows, f"recording{' odd' * (index % 2)}", title)
        if len(recording["name"]) * CHARACTER < width:
            drawing.text(x + 6, recording["name"], "on-recording")
        drawing.y = first_row
    drawing.y += ROW * len(ends)
    bottom, drawing.y = drawing.y, top + 26
    drawing.box(scale, span, "wanted", f"requested: {_seconds(span)}", bottom - top - 28)
    drawing.y = bottom


def _zoom(drawing: Drawing, outer: Scale, inner: Scale) -> None:
    """Draws how the requested span widens to the full width of the rows below."""
    y, below = drawing.y - 2, drawing.y + 26
    corners = [(outer.x(inner.start_us), y), (outer.x(inner.end_us), y), (WIDTH - RIGHT, below), (LEFT, below)]
    drawing.add("polygon", points=" ".join(f"{x:.1f},{at:.1f}" for x, at in corners), fill="var(--wanted)")
    drawing.y = below


def _span(drawing: Drawing, scale: Scale, document: dict, span: dict) -> None:
    top = drawing.y
    drawing.axis(scale)
    drawing.name_row("requested")
    x, _ = drawing.box(scale, span, "wanted", f"requested: {_seconds(span)}")
    drawing.text(x + 6, _seconds(span))
    drawing.y += ROW
    if document["parts"] or document["gaps"]:
        _footage(drawing, scale, document)
    if document["segments"]:
        _segments(drawing, scale, document["segments"])
    drawing.add(
        "line",
        class_="playhead",
        x1=0,
        x2=0,
        y1=f"{top + 22:.1f}",
        y2=f"{drawing.y - 2:.1f}",
        data_from=LEFT,
        data_start=scale.start_us,
        data_per_us=repr(scale.per_us),
    )


def _footage(drawing: Drawing, scale: Scale, document: dict) -> None:
    drawing.name_row("footage")
    for part in document["parts"]:
        name = document["recordings"][part["recording"]]["name"]
        kind = f"recording{' odd' * (part['recording'] % 2)}"
        x, width = drawing.box(scale, part, kind, f"{name} shows {_seconds(part)} of the span")
        if len(name) * CHARACTER < width:
            drawing.text(x + 6, name, "on-recording")
    for joint in document["joints"]:
        title = f"one film with the recording before, whatever its name says: it is {joint['offMs']:+.1f} ms off"
        at = {"startUs": joint["atUs"], "endUs": joint["atUs"]}
        drawing.box(scale, at, "film", title)
    for kind, meaning, gaps in (("held", "frame held", document["held"]), ("gap", "no footage", document["gaps"])):
        for gap in gaps:
            label = f"{meaning} for {_seconds(gap)}"
            x, width = drawing.box(scale, gap, kind, label)
            length = len(label) * CHARACTER
            if length < width:
                ground = {"x": f"{x + 3:.1f}", "y": drawing.y + 4, "width": f"{length:.0f}", "height": 18, "rx": 3}
                drawing.add("rect", **ground, fill="var(--card)")
                drawing.text(x + 6, label)
    drawing.y += ROW


def _segments(drawing: Drawing, scale: Scale, segments: Sequence[dict]) -> None:
    """Draws the segments of the clip. A label that does not fit into its segment stands below, with a leader line."""
    drawing.name_row("clip")
    outside: list[tuple[float, str]] = []
    for index, segment in enumerate(segments):
        label = f"{role(segments, index)} {segment['frames']:,} frame{'s' * (segment['frames'] != 1)}"
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
        drawing.vertical("leader", middle, drawing.y, drawing.y + 10 + 20 * lane)
        drawing.text(left, label, dy=24 + 20 * lane)
    drawing.y += 12 + 20 * len(lanes)


def _scale_around(spans: Sequence[dict], margin: float) -> Scale:
    start = min(span["startUs"] for span in spans)
    end = max(span["endUs"] for span in spans)
    padding = max(1, round((end - start) * margin))
    return Scale(start - padding, end + padding)


def _seconds(span: dict) -> str:
    return f"{(span['endUs'] - span['startUs']) / 1e6:.3f} s"

"""The small pieces that a report is made of."""

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from scripts.shared import instants

TYPES = {".mp4": "video/mp4", ".png": "image/png", ".jpg": "image/jpeg"}


def bars(caption: str, cells: Sequence[tuple[str, float, float, str, str, str]]) -> str:
    """Bars to scale: of each its name, its start and its width in percent, its kind, its figure, what it tells."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td title="{escape(told)}"><span class="track" aria-hidden="true">'
        f'<i class="{kind}" style="margin-left:{left:.3f}%;width:{width:.3f}%"></i></span></td>'
        f'<td class="number">{figure}</td></tr>'
        for name, left, width, kind, figure, told in cells
    )
    return f'<table class="bars"><caption>{caption}</caption><tbody>{rows}</tbody></table>'


def details(summary: str, content: dict, more: str = "") -> str:
    """What opens to show all of some JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(summary)}</summary>{more}<pre tabindex=0>{escape(text)}</pre></details>"


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[int]) -> str:
    """A table; the columns of numbers are aligned as such."""

    def kind(column: int) -> str:
        return ' class="number"' if column in numbers else ""

    head = "".join(f'<th scope="col"{kind(column)}>{name}</th>' for column, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(column)}>{cell}</td>" for column, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def instant(at_ms: int) -> str:
    """An instant in UTC, to which the page adds the local time."""
    text = instants.rfc_3339(at_ms)
    return f'<time datetime="{text}" data-local><span class="figure">{text[:10]} {text[11:-1]}</span> UTC</time>'


def clock(at_us: int) -> str:
    """An instant of the day in UTC."""
    return f'<span class="figure">{instants.rfc_3339(at_us // 1000)[11:-1]}</span>'


def data(file: Path) -> str:
    """A file as a URL that holds it."""
    return f"data:{TYPES[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"


def count(number: int, what: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def ms(duration: float) -> str:
    """A duration."""
    return f"{duration / 1000:.2f} s" if duration >= 1000 else f"{duration:.1f} ms"


def size(count: int) -> str:
    """A number of bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"

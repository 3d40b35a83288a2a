"""Renders the templates of a report. Every value is escaped, and a missing one is an error."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scripts.report import timeline
from scripts.shared import instants

TEMPLATES = Path(__file__).with_name("templates")
MEDIA_TYPES = {".mp4": "video/mp4", ".png": "image/png", ".jpg": "image/jpeg"}


def render(values: Mapping[str, object]) -> str:
    """Returns the page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {}  # the order of the keys stays
    environment.filters |= {
        "counted": counted,
        "data_url": data_url,
        "duration": duration,
        "pretty_json": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "rfc_3339": instants.rfc_3339,
        "role": timeline.role,
        "size": size,
        "time_of_day": lambda at_ms: instants.rfc_3339(at_ms)[11:-1],
    }
    return environment.get_template("report.html").render(values)


def data_url(file: Path) -> str:
    """Returns a URL that holds the whole file."""
    return f"data:{MEDIA_TYPES[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"


def counted(number: int, noun: str) -> str:
    """Formats a number with its noun: `1 frame`, `2 frames`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def duration(ms: float) -> str:
    """Formats milliseconds, as seconds from one second on."""
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.1f} ms"


def size(count: int) -> str:
    """Formats a number of bytes, in powers of 1000."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"

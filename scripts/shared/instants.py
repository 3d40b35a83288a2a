"""Instants as the scripts meet them: milliseconds since the epoch, RFC 3339, and the names of recordings."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LAST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")
# `alias.20180815T140019.mp4` (old) and `alias.stream.20181031T025200051.mp4` (new): the last part before `.mp4`.
RECORDING_NAME = re.compile(r"(?:.*\.)?(\d{8}T\d{6})(\d{0,6})\.mp4")


def parse(text: str) -> int:
    """Reads `2018-09-16T17:39:44.500Z` or milliseconds since the epoch."""
    if re.fullmatch(r"\d+", text):
        if int(text) > LAST:
            raise ValueError(f"{text} ms lies beyond the year 9999")
        return int(text)
    if not RFC_3339.fullmatch(text):
        raise ValueError(f"{text!r} is no time: write it like 2018-09-16T17:39:44.500Z or as ms since the epoch")
    try:
        return _milliseconds(datetime.fromisoformat(text))
    except ValueError as reason:
        raise ValueError(f"{text!r} is no time: {reason}") from None


def rfc_3339(instant_ms: int) -> str:
    """Writes `2018-09-16T17:39:44.500Z`."""
    return _moment(instant_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def compact(instant_ms: int) -> str:
    """Writes `20180916T173944500`, as recordings are named."""
    return f"{_moment(instant_ms):%Y%m%dT%H%M%S}{instant_ms % 1000:03d}"


def of_recording(name: str) -> int | None:
    """The instant of a recording's first frame, read from its name; none if the name holds none."""
    match = RECORDING_NAME.fullmatch(name)
    if not match:
        return None
    try:
        second = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return _milliseconds(second) + int(match[2].ljust(3, "0")[:3])


def _moment(instant_ms: int) -> datetime:
    return EPOCH + instant_ms * MILLISECOND


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND

"""Converts instants between milliseconds since the epoch, RFC 3339, and the names of recordings."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LAST_MS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
EXPECTED = "expected an instant such as 2018-09-16T17:39:44.500Z, or milliseconds since the epoch"

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")
# `alias.20180815T140019.mp4` (old) and `alias.stream.20181031T025200051.mp4` (new). The instant precedes `.mp4`.
RECORDING_NAME = re.compile(r"(?:.*\.)?(\d{8}T\d{6})(\d{0,6})\.mp4")


def parse(text: str) -> int:
    """Parses `2018-09-16T17:39:44.500Z` or milliseconds since the epoch."""
    if re.fullmatch(r"\d+", text):
        if int(text) > LAST_MS:
            raise ValueError(f"{EXPECTED} before the year 10000, got {text}")
        return int(text)
    if not RFC_3339.fullmatch(text):
        raise ValueError(f"{EXPECTED}, got {text!r}")
    try:
        return _milliseconds(datetime.fromisoformat(text))
    except ValueError as reason:
        raise ValueError(f"{EXPECTED}, got {text!r}: {reason}") from None


def rfc_3339(instant_ms: int) -> str:
    """Formats an instant as `2018-09-16T17:39:44.500Z`."""
    return _datetime(instant_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def compact(instant_ms: int) -> str:
    """Formats an instant as `20180916T173944500`, as in the names of recordings."""
    return f"{_datetime(instant_ms):%Y%m%dT%H%M%S}{instant_ms % 1000:03d}"


def of_recording(name: str) -> int | None:
    """Returns the instant of a recording's first frame, or `None` if the name holds no instant."""
    match = RECORDING_NAME.fullmatch(name)
    if not match:
        return None
    try:
        second = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return _milliseconds(second) + int(match[2].ljust(3, "0")[:3])


def _datetime(instant_ms: int) -> datetime:
    return EPOCH + instant_ms * MILLISECOND


def _milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // MILLISECOND

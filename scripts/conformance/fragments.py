"""Puts fragments one behind the other where their times overlap.

By the contract, a fragment that begins before the end of the one before goes on behind it. ffmpeg sorts the samples of
both by time, and decodes a mixture. So it gets a copy of the file with later times.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

Box = tuple[bytes, int, int]  # type, and where its content begins and ends


def one_behind_the_other(file: Path, copy: Path) -> Path:
    """Returns the file, or a copy that it writes if the times of fragments overlap."""
    content = bytearray(file.read_bytes())
    top = list(_boxes(content, 0, len(content)))
    durations = _default_durations(content, top)
    ends: dict[int, int] = {}
    changed = False
    for _, start, end in (box for box in top if box[0] == b"moof"):
        for _, *traf in (box for box in _boxes(content, start, end) if box[0] == b"traf"):
            boxes = list(_boxes(content, *traf))
            track, duration = _track(content, boxes, durations)
            for kind, at, _ in boxes:
                if kind == b"tfdt":
                    field = ">Q" if content[at] else ">I"
                    (time,) = struct.unpack_from(field, content, at + 4)
                    if time < ends.get(track, 0):
                        time, changed = ends[track], True
                        struct.pack_into(field, content, at + 4, time)
                    ends[track] = time
                elif kind == b"trun":
                    ends[track] = ends.get(track, 0) + _length(content, at, duration)
    if changed:
        copy.write_bytes(content)
    return copy if changed else file


def _boxes(content: bytes, start: int, end: int) -> Iterator[Box]:
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, start)
        header = 8
        if size == 1 and start + 16 <= end:
            (size,), header = struct.unpack_from(">Q", content, start + 8), 16
        size = size or end - start
        if size < header or start + size > end:
            return
        yield kind, start + header, start + size
        start += size


def _default_durations(content: bytes, top: list[Box]) -> dict[int, int]:
    """Returns the duration of a sample of each track where nothing else is said."""
    boxes = top
    for parent in (b"moov", b"mvex"):
        boxes = [inner for kind, *within in boxes if kind == parent for inner in _boxes(content, *within)]
    defaults = (struct.unpack_from(">III", content, at + 4) for kind, at, _ in boxes if kind == b"trex")
    return {track: duration for track, _, duration in defaults}


def _track(content: bytes, boxes: list[Box], durations: dict[int, int]) -> tuple[int, int]:
    """Returns the track of a fragment, and the duration of a sample where `trun` says nothing else."""
    at = next(at for kind, at, _ in boxes if kind == b"tfhd")
    flags, track = struct.unpack_from(">II", content, at)
    at += 8 + (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
    own = struct.unpack_from(">I", content, at)[0] if flags & 0x8 else None
    return track, durations.get(track, 0) if own is None else own


def _length(content: bytes, at: int, duration: int) -> int:
    """Returns the sum of the durations of the samples of `trun`."""
    flags, count = struct.unpack_from(">II", content, at)
    if not flags & 0x100:
        return count * duration
    at += 8 + (4 if flags & 0x1 else 0) + (4 if flags & 0x4 else 0)
    step = 4 * (flags >> 8 & 0xF).bit_count()
    return sum(struct.unpack_from(">I", content, at + step * sample)[0] for sample in range(count))

"""Puts raw H.264 and HEVC streams into MP4, each picture with the time at which it is shown.

A raw stream has no times, and ffmpeg invents only decode times. So the stream is put into MP4 with invented times
first. Then ffmpeg decodes that file; the order in which its frames come out tells the time of each sample, and the
tables of times are written anew.
"""

import itertools
import struct
from collections.abc import Sequence
from pathlib import Path

from scripts.conformance.programs import FFMPEG, FFPROBE, run

CONTAINERS = {"h264", "hevc"}  # ffmpeg's names
SUFFIXES = {".264", ".h264", ".avc", ".jsv", ".26l", ".jvt", ".bit", ".bits", ".265", ".h265", ".hevc"}
TICKS = 1_200_000  # a second
HALF_PICTURE = TICKS // 50  # 25 pictures a second
PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
# Offsets of durations in the boxes of version 0 that ffmpeg writes, and how many ticks their unit has.
DURATIONS = {b"mvhd": (16, TICKS // 1000), b"tkhd": (20, TICKS // 1000), b"mdhd": (16, 1)}


def put_into_mp4(stream: Path, file: Path, seconds: float) -> None:
    """Writes `file`. Raises `RuntimeError` if ffmpeg finds no pictures in the stream."""
    command = [*FFMPEG, "-y", "-r", "25", "-i", f"file:{stream}", "-map", "0:v:0", "-c", "copy"]
    command += ["-bsf:v", f"setts=dts=N*{2 * HALF_PICTURE}:pts=N*{2 * HALF_PICTURE}"]
    ran = run([*command, "-video_track_timescale", str(TICKS), f"file:{file}"], seconds)
    if ran.code or not file.is_file():
        raise RuntimeError(f"cannot put the stream into MP4: {ran.said}")
    positions = _positions(file, "packet=pos", seconds)
    # `strict`: the decoder takes the order from the parameter sets, and doesn't guess it from the first pictures.
    shown = dict.fromkeys(_positions(file, "frame=pkt_pos", seconds, "-strict", "strict"))
    rank = {position: number for number, position in enumerate(shown)}
    times, lengths = [], []
    for position in positions:
        if position in rank:
            times.append(2 * rank[position])
            lengths.append(2)
        else:
            # The second field of a frame comes half a picture after the first one, as does a picture that isn't shown.
            times.append(times[-1] + 1 if times else 0)
            lengths[-1:] = [1, 1] if lengths else [1]
    content = file.read_bytes()
    moov = content.rfind(b"moov") - 4
    file.write_bytes(content[:moov] + _rewritten(content[moov:], times, lengths))


def _positions(file: Path, entry: str, seconds: float, *options: str) -> list[int]:
    command = [*FFPROBE, *options, "-select_streams", "v:0", "-show_entries", entry, "-of", "csv=p=0", f"file:{file}"]
    lines = run(command, seconds).output.splitlines()
    return [int(line.split(",")[0]) for line in lines if line.split(",")[0].isdigit()]


def _rewritten(boxes: bytes, times: Sequence[int], lengths: Sequence[int]) -> bytes:
    """Returns boxes with other times. `times` and `lengths` are in half pictures, in decode order."""
    written, at = b"", 0
    while at < len(boxes):
        size, kind = struct.unpack_from(">I4s", boxes, at)
        body = boxes[at + 8 : at + size]
        at += size
        if kind in {b"edts", b"ctts"}:
            continue
        if kind in PARENTS:
            body = _rewritten(body, times, lengths)
        elif kind in DURATIONS:
            offset, unit = DURATIONS[kind]
            duration = struct.pack(">I", sum(lengths) * HALF_PICTURE // unit)
            body = body[:offset] + duration + body[offset + 4 :]
        elif kind == b"stts":
            body = _table(0, ">II", [length * HALF_PICTURE for length in lengths])
            decoded = itertools.accumulate(lengths, initial=0)
            offsets = [(time - start) * HALF_PICTURE for time, start in zip(times, decoded, strict=False)]
            written += _box(b"ctts", _table(1, ">Ii", offsets))  # version 1 has a sign
        written += _box(kind, body)
    return written


def _table(version: int, entry: str, values: Sequence[int]) -> bytes:
    head = struct.pack(">B3xI", version, len(values))
    return head + b"".join(struct.pack(entry, 1, value) for value in values)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body

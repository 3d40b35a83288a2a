"""Puts raw H.264 and HEVC streams into MP4, each picture with the time at which it is shown.

A raw stream has no times, and ffmpeg invents only decode times. So the stream is put into MP4 with invented times
first. Then ffmpeg decodes that file; the order in which its frames come out tells the time of each sample, and the
table `ctts` is rewritten.
"""

import struct
from pathlib import Path

from scripts.conformance.programs import FFMPEG, FFPROBE, run

CONTAINERS = {"h264", "hevc"}  # ffmpeg's names
SUFFIXES = {".264", ".h264", ".avc", ".jsv", ".26l", ".jvt", ".bit", ".bits", ".265", ".h265", ".hevc"}
HALF_PICTURE = 24_000  # ticks; with ffmpeg's 1,200,000 ticks a second, 25 pictures a second
# Every other picture is shown a tick late, so that no two samples share an entry of `ctts`.
INVENTED = f"setts=dts=N*{2 * HALF_PICTURE}:pts=N*{2 * HALF_PICTURE}+mod(N\\,2)"


def put_into_mp4(stream: Path, file: Path, seconds: float) -> None:
    """Writes `file`. Raises `RuntimeError` if ffmpeg finds no pictures in the stream."""
    command = [*FFMPEG, "-y", "-r", "25", "-i", f"file:{stream}", "-map", "0:v:0", "-c", "copy", "-bsf:v", INVENTED]
    command += ["-movflags", "negative_cts_offsets", "-video_track_timescale", "1200000", f"file:{file}"]
    ran = run(command, seconds)
    if ran.code or not file.is_file():
        raise RuntimeError(f"cannot put the stream into MP4: {ran.said}")
    positions = _positions(file, "packet=pos", seconds)
    # `strict`: the decoder takes the order from the parameter sets, and doesn't guess it from the first pictures.
    shown = _positions(file, "frame=pkt_pos", seconds, "-strict", "strict")
    rank = {position: 2 * number for number, position in reversed(list(enumerate(dict.fromkeys(shown))))}
    times, last = [], -1
    for position in positions:
        # The second field of a frame, or a picture that isn't shown, comes half a picture after the one before.
        last = rank.get(position, last + 1)
        times.append(last)
    _rewrite(file, [(time - 2 * number) * HALF_PICTURE for number, time in enumerate(times)])


def _positions(file: Path, entry: str, seconds: float, *options: str) -> list[int]:
    command = [*FFPROBE, *options, "-select_streams", "v:0", "-show_entries", entry, "-of", "csv=p=0", f"file:{file}"]
    lines = run(command, seconds).output.splitlines()
    return [int(line.split(",")[0]) for line in lines if line.split(",")[0].isdigit()]


def _rewrite(file: Path, offsets: list[int]) -> None:
    """Replaces the entries of `ctts`."""
    content = bytearray(file.read_bytes())
    at = content.rfind(b"ctts", content.rfind(b"moov"))
    if at < 0 and not any(offsets):
        return  # a single picture
    count = struct.unpack_from(">I", content, at + 8)[0] if at >= 0 else 0
    if count != len(offsets):
        raise RuntimeError(f"cannot put the stream into MP4: {len(offsets)} samples, but {count} entries in ctts")
    content[at + 4] = 1  # signed
    for number, offset in enumerate(offsets):
        struct.pack_into(">Ii", content, at + 12 + 8 * number, 1, offset)
    file.write_bytes(content)

"""The cases of the benchmark, and what each clip needs of the recordings, according to ffprobe.

The named case asks for the clip of the demo: 60 s across two recordings of 300 MB. Every case begins at the same
position within a group of pictures, so that cases differ only in what their names say.
"""

import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.footage import footage
from scripts.local.request_follower import Request
from scripts.local.stack import UP_CAMERA
from scripts.shared import instants

SPANS_SECONDS = (5, 20, 60, 300)
EXTENSIONS = ("png", "jpg")
# Start of the span before the start of the second recording, by length in seconds. For one recording: FROM_END_MS.
BEFORE_BOUNDARY_MS = {5: 2_500, 20: 10_500, 60: 32_500, 300: 150_500}
FROM_END_MS = 418_500
TEN_MINUTES_MS = 600_000


@dataclass(frozen=True)
class Recording:
    """A recording, and the time that it covers."""

    path: Path
    start_ms: int
    length_ms: int


@dataclass(frozen=True)
class Case:
    """A clip: its length in seconds, the number and the minutes of its recordings, the extension of its thumbnails."""

    seconds: int
    recordings: int
    minutes: int
    extension: str

    @property
    def name(self) -> str:
        """Name in the table."""
        return f"{self.seconds}s-{self.recordings}x{self.minutes}min-{self.extension}"

    def request(self, pair: Sequence[Recording], clip_id: str) -> Request:
        """Returns the request for the clip, of the two recordings with these minutes."""
        boundary = pair[1].start_ms
        before = BEFORE_BOUNDARY_MS[self.seconds] if self.recordings == 2 else FROM_END_MS
        return Request(clip_id, UP_CAMERA, boundary - before, boundary - before + self.seconds * 1000)


NAMED, NAMED_JPG = (Case(60, 2, 10, extension) for extension in EXTENSIONS)
ALL = tuple(Case(*values) for values in itertools.product(SPANS_SECONDS, (1, 2), (10, 60), EXTENSIONS))


@dataclass(frozen=True)
class Part:
    """The part of a clip that one recording shows, and its place in the file."""

    recording: Recording
    start_s: float  # since the first frame of the recording
    end_s: float
    frames: int
    own_bytes: int  # size of these frames
    before_key: int  # frames before the first key frame in the part
    moov: range
    decoded: range  # bytes from the key frame before the part to its end


def parts(request: Request, recordings: Sequence[Recording]) -> list[Part]:
    """Returns the parts of the clip of `request`."""
    return [
        _part(recording, max(request.start_ms, recording.start_ms), min(request.end_ms, end))
        for recording in recordings
        if request.start_ms < (end := recording.start_ms + recording.length_ms) and recording.start_ms < request.end_ms
    ]


def recordings_of(folder: Path) -> list[Recording]:
    """Returns the recordings in a folder, by name."""
    found = []
    for path in sorted(folder.glob("*.mp4")):
        start, length = instants.of_recording(path.name), footage.duration_ms(path)
        if start is None or length is None:
            raise RuntimeError(f"cannot use {path}: expected an instant in its name and a duration in its header")
        found.append(Recording(path, start, length))
    return found


def looped(originals: Sequence[Recording], start_ms: int) -> list[Recording]:
    """Loops each original six times, one result after the other from `start_ms` on. They are kept for later runs."""
    folder = originals[0].path.parent.with_suffix(".looped")
    folder.mkdir(exist_ok=True)
    for index, original in enumerate(originals):
        path = folder / f"test.{instants.compact(start_ms + index * 6 * original.length_ms)}.mp4"
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            command = ["ffmpeg", "-nostdin", "-y", "-v", "error", "-stream_loop", "5", "-i", f"file:{original.path}"]
            first_box = next(kind for kind, _ in _boxes(original.path) if kind in {b"moov", b"mdat"})
            command += ["-c", "copy", *(["-movflags", "+faststart"] if first_box == b"moov" else [])]
            subprocess.run([*command, "-f", "mp4", f"file:{unfinished}"], check=True)
            unfinished.rename(path)
    found = recordings_of(folder)
    if [recording.length_ms for recording in found] != [6 * original.length_ms for original in originals]:
        raise RuntimeError(f"expected six times the durations of the originals, got others: remove {folder}")
    return found


def count_frames(clip: Path) -> int:
    """Counts the frames of a clip by reading all of it."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-of", "csv=p=0"]
    command += ["-show_entries", "stream=nb_read_packets", f"file:{clip}"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().strip(","))


def _part(recording: Recording, start_ms: int, end_ms: int) -> Part:
    from_s, to_s = ((instant - recording.start_ms) / 1000 for instant in (start_ms, end_ms))
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "json"]
    command += ["-show_entries", "packet=pts,size,pos,flags:stream=time_base,start_pts"]
    # ffprobe starts at the key frame before the part. It reads a second more, because the exact end is checked below.
    command += ["-read_intervals", f"{from_s:.3f}%{to_s + 1:.3f}", f"file:{recording.path}"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    stream = answer["streams"][0]
    numerator, denominator = map(int, stream["time_base"].split("/"))

    def instant(packet: dict) -> int:
        """Returns the time since the first frame, in ms times the denominator of the time base, which is an integer."""
        return (packet["pts"] - stream["start_pts"]) * numerator * 1000

    first, last = ((limit - recording.start_ms) * denominator for limit in (start_ms, end_ms))
    packets = answer["packets"]
    own = [packet for packet in packets if first <= instant(packet) < last]
    keys = [packet for packet in packets if "K" in packet["flags"]]
    decode_start = max(int(packet["pos"]) for packet in keys if instant(packet) <= instant(own[0]))
    first_key = next((instant(packet) for packet in keys if instant(packet) >= instant(own[0])), last)
    return Part(
        recording=recording,
        start_s=from_s,
        end_s=to_s,
        frames=len(own),
        own_bytes=sum(int(packet["size"]) for packet in own),
        before_key=sum(instant(packet) < first_key for packet in own),
        moov=next(extent for kind, extent in _boxes(recording.path) if kind == b"moov"),
        decoded=range(decode_start, max(int(packet["pos"]) + int(packet["size"]) for packet in own)),
    )


def _boxes(path: Path) -> Iterator[tuple[bytes, range]]:
    """Yields type and extent of each top-level box of an MP4 file (ISO/IEC 14496-12, section 4.2)."""
    at, length = 0, path.stat().st_size
    with path.open("rb") as file:
        while at < length:
            file.seek(at)
            header = file.read(16)
            size = int.from_bytes(header[:4])
            size = {0: length - at, 1: int.from_bytes(header[8:])}.get(size, size)
            yield header[4:8], range(at, at + size)
            at += size

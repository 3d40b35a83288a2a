"""What the benchmark asks for, and what its clips need of the recordings: told by ffprobe, not by the function.

The named case is the demo's: 60 s across two recordings of 300 MB. All others begin in the same phase of a group of
pictures, so that they differ in nothing but what their names say.
"""

import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.footage import footage
from scripts.local.following import Request
from scripts.local.stack import UP_CAMERA
from scripts.shared import instants

SPANS_SECONDS = (5, 20, 60, 300)
EXTENSIONS = ("png", "jpg")
# Where the span begins: before the second recording's start, by the number of its seconds; else in the first one.
BEFORE_BOUNDARY_MS = {5: 2_500, 20: 10_500, 60: 32_500, 300: 150_500}
FROM_END_MS = 418_500
TEN_MINUTES_MS = 600_000


@dataclass(frozen=True)
class Recording:
    """A recording in the bucket."""

    path: Path
    start_ms: int
    length_ms: int


@dataclass(frozen=True)
class Case:
    """A clip that is made again and again."""

    seconds: int
    recordings: int
    minutes: int
    extension: str

    @property
    def name(self) -> str:
        """Names it in the table and in the clip's id."""
        return f"{self.seconds}s-{self.recordings}x{self.minutes}min-{self.extension}"

    def request(self, pair: Sequence[Recording], clip_id: str) -> Request:
        """The request for it, of the two recordings of this length."""
        boundary = pair[1].start_ms
        before = BEFORE_BOUNDARY_MS[self.seconds] if self.recordings == 2 else FROM_END_MS
        return Request(clip_id, UP_CAMERA, boundary - before, boundary - before + self.seconds * 1000)


NAMED, NAMED_JPG = (Case(60, 2, 10, extension) for extension in EXTENSIONS)
ALL = tuple(Case(*values) for values in itertools.product(SPANS_SECONDS, (1, 2), (10, 60), EXTENSIONS))


@dataclass(frozen=True)
class Part:
    """What a clip shows of one recording, and where that lies in the file."""

    recording: Recording
    start_s: float
    end_s: float
    frames: int
    own_bytes: int
    before_key: int
    moov: range
    decoded: range


def parts(request: Request, recordings: Sequence[Recording]) -> list[Part]:
    """What the clip of `request` is made of."""
    return [
        _part(recording, max(request.start_ms, recording.start_ms), min(request.end_ms, end))
        for recording in recordings
        if request.start_ms < (end := recording.start_ms + recording.length_ms) and recording.start_ms < request.end_ms
    ]


def recordings_of(folder: Path) -> list[Recording]:
    """The recordings in a folder, in the order of their names."""
    found = []
    for path in sorted(folder.glob("*.mp4")):
        start, length = instants.of_recording(path.name), footage.duration_ms(path)
        if start is None or length is None:
            raise RuntimeError(f"{path} is no recording")
        found.append(Recording(path, start, length))
    return found


def looped(originals: Sequence[Recording], start_ms: int) -> list[Recording]:
    """Each of `originals` six times over, one behind the other from `start_ms` on. Made once, kept beside them."""
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
        raise RuntimeError(f"ffmpeg did not loop as it should: remove {folder}")
    return found


def count_frames(clip: Path) -> int:
    """How many frames a clip holds, whatever its header says."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-of", "csv=p=0"]
    command += ["-show_entries", "stream=nb_read_packets", f"file:{clip}"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().strip(","))


def _part(recording: Recording, start_ms: int, end_ms: int) -> Part:
    from_s, to_s = ((instant - recording.start_ms) / 1000 for instant in (start_ms, end_ms))
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "json"]
    command += ["-show_entries", "packet=pts,size,pos,flags:stream=time_base,start_pts"]
    # It enters at the key frame before; a second more at the end, for frames count by their exact instants.
    command += ["-read_intervals", f"{from_s:.3f}%{to_s + 1:.3f}", f"file:{recording.path}"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    stream = answer["streams"][0]
    numerator, denominator = map(int, stream["time_base"].split("/"))

    def instant(packet: dict) -> int:
        """In ms times the time base's denominator, since the recording's first frame: whole."""
        return (packet["pts"] - stream["start_pts"]) * numerator * 1000

    first, last = ((limit - recording.start_ms) * denominator for limit in (start_ms, end_ms))
    packets = answer["packets"]
    own = [packet for packet in packets if first <= instant(packet) < last]
    keys = [packet for packet in packets if "K" in packet["flags"]]
    entry = max(int(packet["pos"]) for packet in keys if instant(packet) <= instant(own[0]))
    first_key = next((instant(packet) for packet in keys if instant(packet) >= instant(own[0])), last)
    return Part(
        recording=recording,
        start_s=from_s,
        end_s=to_s,
        frames=len(own),
        own_bytes=sum(int(packet["size"]) for packet in own),
        before_key=sum(instant(packet) < first_key for packet in own),
        moov=next(place for kind, place in _boxes(recording.path) if kind == b"moov"),
        decoded=range(entry, max(int(packet["pos"]) + int(packet["size"]) for packet in own)),
    )


def _boxes(path: Path) -> Iterator[tuple[bytes, range]]:
    """The boxes at the top of an MP4 file (ISO/IEC 14496-12, section 4.2): type and place."""
    at, length = 0, path.stat().st_size
    with path.open("rb") as file:
        while at < length:
            file.seek(at)
            header = file.read(16)
            size = int.from_bytes(header[:4])
            size = {0: length - at, 1: int.from_bytes(header[8:])}.get(size, size)
            yield header[4:8], range(at, at + size)
            at += size

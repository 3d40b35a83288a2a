"""Describes what a player shows of a file, according to Debian's ffmpeg: its frames, its shape and its sound."""

import itertools
import json
import mmap
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from scripts.conformance.programs import FFMPEG, FFPROBE, TIMED_OUT, run

PICTURES = "0:V:0"  # without cover pictures
NO_PICTURES = "no pictures"
CANNOT = "ffmpeg decodes no frame"
# Pictures as they are stored, cropped as the parameter sets say, even where a crop is bad for the alignment in memory.
DECODE = ("-noautorotate", "-flags", "unaligned")


@dataclass(frozen=True)
class Frame:
    """A frame that ffmpeg decodes."""

    number: int  # in the order in which ffmpeg puts them out
    time: Fraction  # seconds since the picture shown first
    digest: str


@dataclass(frozen=True)
class Shape:
    """The size of the stored picture, and how it is displayed."""

    width: int
    height: int
    aspect: float  # of the displayed picture
    orientation: tuple[int, ...]  # signs of the display matrix, without scale


@dataclass(frozen=True)
class Sound:
    """The sound of a part of a film: whether there is any, and its peak in dB."""

    track: str
    peak: float


@dataclass(frozen=True)
class Film:
    """A file that was decoded from its beginning to its end."""

    file: Path
    first: Fraction  # time stamp of the picture shown first, in seconds
    frames: Sequence[Frame]  # in the order of their times
    length: Fraction  # seconds from the first frame to the end of the last
    codec: str
    pixels: str
    shape: Shape
    sounds: Sequence[str]  # codecs of the sound tracks
    complaint: str  # of ffmpeg about the pictures, if any


def decode(file: Path, seconds: float) -> Film:
    """Decodes every frame. Raises `RuntimeError` if there is none."""
    streams = _probe(file, seconds, "-show_streams").get("streams", [])
    pictures = [
        each for each in streams if each.get("codec_type") == "video" and not each["disposition"].get("attached_pic")
    ]
    if not pictures:
        raise RuntimeError(NO_PICTURES)
    if _is_encrypted(file):
        raise RuntimeError("it is encrypted")
    command = [*FFMPEG, "-copyts", *DECODE, "-i", f"file:{file}", "-map", PICTURES, "-fps_mode", "passthrough"]
    command += ["-enc_time_base", "-1", "-c:v", "rawvideo", "-f", "framemd5", "pipe:1"]
    ran = run(command, seconds)
    if ran.code == TIMED_OUT:
        raise RuntimeError(f"not decoded after {seconds:.0f} s")
    ticks, unit = [], Fraction(1)
    for line in ran.output.splitlines():
        if line.startswith("#tb"):
            unit = Fraction(line.split()[-1])
        elif not line.startswith("#"):
            fields = [field.strip() for field in line.split(",")]
            ticks.append((int(fields[2]), fields[5]))
    if not ticks:
        raise RuntimeError(f"{CANNOT} ({pictures[0].get('codec_name')}): {ran.said}")
    packets = _packets(file, seconds)
    # The picture shown first counts even if it can't be decoded, as one that refers to pictures before it. What lies
    # before an edit has a negative time.
    first = min([tick * unit for tick, _ in ticks] + [time for time, _ in packets if time >= 0])
    frames = [Frame(number, tick * unit - first, digest) for number, (tick, digest) in enumerate(ticks)]
    frames.sort(key=lambda frame: frame.time)
    return Film(
        file=file,
        first=first,
        frames=frames,
        length=_end(packets, frames, first),
        codec=pictures[0].get("codec_name", "?"),
        pixels=pictures[0].get("pix_fmt", "?"),
        shape=_shape(pictures[0]),
        sounds=[each.get("codec_name", "?") for each in streams if each.get("codec_type") == "audio"],
        complaint=ran.said if ran.errors.strip() else "",
    )


def sizes(film: Film, seconds: float) -> list[str]:
    """Returns the sizes of all pictures of a film; a few change it in the middle."""
    told = _probe(film.file, seconds, "-select_streams", "V:0", "-show_entries", "frame=width,height")
    return sorted({f"{frame.get('width')}x{frame.get('height')}" for frame in told.get("frames", [])})


def sound(film: Film, start: Fraction, end: Fraction, seconds: float) -> Sound | None:
    """Decodes the sound between two times of a film. Returns that of the first track that has any."""
    for track, codec in enumerate(film.sounds):
        within = f"atrim=start={float(film.first + start):.6f}:end={float(film.first + end):.6f},volumedetect"
        command = [*FFMPEG[:-1], "info", "-copyts", "-vn", "-i", f"file:{film.file}", "-map", f"0:a:{track}"]
        ran = run([*command, "-af", within, "-f", "null", "-"], seconds)
        found = dict(line.split("] ")[-1].split(": ", 1) for line in ran.errors.splitlines() if "volumedetect" in line)
        if int(found.get("n_samples", 0)):
            return Sound(codec, float(found.get("max_volume", "-inf dB").split()[0]))
    return None


def container(file: Path, seconds: float) -> str:
    """Returns ffmpeg's name of the kind of the file, empty if it can't be told."""
    return _probe(file, seconds, "-show_format").get("format", {}).get("format_name", "")


def _is_encrypted(file: Path) -> bool:
    """Looks for the sample entry of encrypted pictures, and its box of the scheme. ffprobe doesn't tell."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"encv") >= 0 and content.find(b"sinf") >= 0


def _probe(file: Path, seconds: float, *what: str) -> dict:
    ran = run([*FFPROBE, "-of", "json", *what, f"file:{file}"], seconds)
    try:
        return json.loads(ran.output)
    except ValueError:
        return {}


def _packets(file: Path, seconds: float) -> list[tuple[Fraction, Fraction]]:
    """Returns time stamp and duration of each picture that the container shows, in seconds."""
    entries = "packet=pts,duration,flags:stream=time_base"
    told = _probe(file, seconds, "-select_streams", "V:0", "-show_entries", entries)
    unit = Fraction(told["streams"][0]["time_base"]) if told.get("streams") else Fraction(0)
    shown = [packet for packet in told.get("packets", []) if "pts" in packet and "D" not in packet.get("flags", "")]
    return [(packet["pts"] * unit, packet.get("duration", 0) * unit) for packet in shown]


def _end(packets: Sequence[tuple[Fraction, Fraction]], frames: Sequence[Frame], first: Fraction) -> Fraction:
    """Returns when the last picture ends. A duration that is no duration counts as the median of all."""
    distances = [after.time - before.time for before, after in itertools.pairwise(frames)]
    median = Fraction(statistics.median_low(distances)) if distances else Fraction(0)
    last, duration = max(packets, default=(first + frames[-1].time, median))
    if duration <= 0 or (median and duration > 2 * median):
        duration = median
    # The last picture is not the last frame where it is the second field of one, or can't be decoded.
    return max(last - first + duration, frames[-1].time + min(duration, median))


def _shape(stream: dict) -> Shape:
    width, height = stream.get("width", 0), stream.get("height", 0)
    across, _, down = stream.get("sample_aspect_ratio", "1:1").partition(":")
    aspect = width / max(height, 1)
    if int(across) and int(down):
        aspect *= int(across) / int(down)
    matrix = next((each["displaymatrix"] for each in stream.get("side_data_list", []) if "displaymatrix" in each), "")
    rows = [[int(value) for value in line.split(":")[1].split()] for line in matrix.splitlines() if ":" in line]
    (a, b), (c, d) = (rows[0][:2], rows[1][:2]) if len(rows) == 3 else ((1, 0), (0, 1))
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    orientation = (0, _sign(b), _sign(c), 0) if turned else (_sign(a), 0, 0, _sign(d))
    return Shape(width, height, 1 / aspect if turned and aspect else aspect, orientation)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)

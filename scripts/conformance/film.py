"""Describes what a player shows of a file, according to Debian's ffmpeg: its frames, its shape and its sound."""

import itertools
import json
import math
import mmap
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from scripts.conformance.programs import FFMPEG, FFPROBE, TIMED_OUT, Ran, run

PICTURES = "0:V:0"  # without cover pictures
NO_PICTURES = "no pictures"
SCALE_TOLERANCE = 0.01  # beyond which ffmpeg counts a scale as the shape of a pixel
CANNOT = "ffmpeg decodes no frame"
# Pictures as they are stored, cropped as the parameter sets say, even where a crop is bad for the alignment in memory.
# With several threads, damaged pictures come out differently from one run to the next.
DECODE = ("-noautorotate", "-flags", "unaligned", "-threads", "1")


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
    ran, unit, ticks = _hashed(file, DECODE, seconds)
    if not ticks:
        raise RuntimeError(f"{CANNOT} ({pictures[0].get('codec_name')}): {ran.said}")
    packets = _packets(file, seconds)
    ticks = _without_guesses(ticks, [time / unit for time, _ in packets])
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


def is_interlaced(film: Film, seconds: float) -> bool:
    """Tells whether any picture of a film consists of two fields."""
    told = _probe(film.file, seconds, "-select_streams", "V:0", "-show_entries", "frame=interlaced_frame")
    return any(frame.get("interlaced_frame") for frame in told.get("frames", []))


def unsettled(film: Film, seconds: float) -> set[int]:
    """Returns the numbers of the frames that ffmpeg decodes differently with two threads: they are damaged.

    What a decoder makes of them depends on what it has decoded before, so no picture of them is the right one.
    """
    _, _, others = _hashed(film.file, (*DECODE[:-1], "2"), seconds)
    digests = {frame.number: frame.digest for frame in film.frames}
    if len(others) != len(digests):
        return set()
    return {number for number, (_, digest) in enumerate(others) if digest != digests[number]}


def in_shape_of_most(film: Film, shown: Sequence[Frame], seconds: float) -> Film:
    """Returns the film in the shape that most of some frames have; of equals, that of the first."""
    told = _probe(
        film.file, seconds, "-select_streams", "V:0", "-show_entries", "frame=width,height,sample_aspect_ratio"
    )
    frames = [frame for frame in told.get("frames", []) if "width" in frame]
    if len(frames) != len(film.frames):
        return film
    shapes = Counter((frames[each.number]["width"], frames[each.number]["height"]) for each in shown)
    width, height = shapes.most_common(1)[0][0]
    if (width, height) == (film.shape.width, film.shape.height):
        return film
    # Where the shape of the pictures changes, that of a pixel is taken not to.
    stretch = film.shape.height / film.shape.width
    turned = film.shape.orientation[0] == 0
    across = (1 / film.shape.aspect if turned else film.shape.aspect) * stretch * width / height
    return replace(film, shape=replace(film.shape, width=width, height=height, aspect=1 / across if turned else across))


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


def _hashed(file: Path, options: Sequence[str], seconds: float) -> tuple[Ran, Fraction, list[tuple[int, str]]]:
    """Decodes every frame. Returns the seconds of a tick, and the time of each frame in ticks with a digest."""
    command = [*FFMPEG, "-copyts", *options, "-i", f"file:{file}", "-map", PICTURES, "-fps_mode", "passthrough"]
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
    return ran, unit, ticks


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
    """Returns time stamp and duration of each picture that the container shows, in seconds.

    A duration of 0 is none: ffmpeg takes them from the stream where that states a rate, also if it is not the table's.
    That of the last packet is what the others leave of the track's.
    """
    entries = "packet=pts,dts,duration,flags:stream=time_base,duration_ts"
    told = _probe(file, seconds, "-select_streams", "V:0", "-show_entries", entries)
    unit = Fraction(told["streams"][0]["time_base"]) if told.get("streams") else Fraction(0)
    packets = told.get("packets", [])
    steps = [
        b["dts"] - a["dts"] == a.get("duration") for a, b in itertools.pairwise(packets) if "dts" in a and "dts" in b
    ]
    is_of_table = 2 * sum(steps) >= len(steps)
    if len(packets) > 1 and packets[0].keys() & packets[-1].keys() >= {"dts"}:
        left = told["streams"][0].get("duration_ts", 0) - (packets[-1]["dts"] - packets[0]["dts"])
        packets[-1]["duration"] = max(left, 0)
    shown = [packet for packet in packets if "pts" in packet and "D" not in packet.get("flags", "")]
    return [
        (packet["pts"] * unit, packet.get("duration", 0) * unit if is_of_table else Fraction(0)) for packet in shown
    ]


def _without_guesses(ticks: Sequence[tuple[int, str]], packets: Sequence[Fraction]) -> list[tuple[int, str]]:
    """Puts frames back to the times in the container, where some are equal there.

    ffmpeg guesses other times then. Of frames at the same time, the later one is shown one tick on.
    """
    if len(set(packets)) == len(packets) or len(ticks) != len(packets):
        return list(ticks)
    times = [min(packets).__ceil__()]
    for time in sorted(packets)[1:]:
        times.append(max(int(time), times[-1] + 1))
    return [(time, digest) for time, (_, digest) in zip(times, ticks, strict=True)]


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
    # ffmpeg takes a matrix that scales for the shape of a pixel. The contract takes the scale out, as browsers do.
    across, down = math.hypot(a, c), math.hypot(b, d)
    if across and down and abs(across / down - 1) > SCALE_TOLERANCE:
        aspect *= down / across
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    orientation = (0, _sign(b), _sign(c), 0) if turned else (_sign(a), 0, 0, _sign(d))
    return Shape(width, height, 1 / aspect if turned and aspect else aspect, orientation)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)

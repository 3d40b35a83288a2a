"""Compares frames that are not identical, one at a time, so that those of any size fit into memory."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.conformance.film import DECODE, PICTURES, Film, Frame, is_interlaced
from scripts.conformance.programs import FFMPEG, reading

Planes = list[np.ndarray]
# Base 2 logarithm of the subsampling of chroma, horizontal and vertical.
SUBSAMPLED = {"420p": (1, 1), "422p": (1, 0), "440p": (0, 1), "411p": (2, 0), "410p": (2, 2), "444p": (0, 0)}
# A clip shows frames; of interlaced pictures it has those that this filter makes. Of the first and the last picture of
# a film, which lack a neighbour, versions 5.1 and 7.1 of ffmpeg make different frames.
DEINTERLACE = "bwdif=mode=send_frame:parity=auto:deint=interlaced,"
# A picture of another size than the first one is fitted into it with bars. The others stay as they are.
FIT = "scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:-1:-1,"


@dataclass(frozen=True)
class Likeness:
    """How alike a frame of the clip is to the right frame of the source, and to that frame's neighbours."""

    psnr: float  # in dB, of the plane that differs most
    nearer: int | None  # distance in frames of a neighbour that the frame is more alike


@dataclass(frozen=True)
class Layout:
    """The planes of a picture of 8 bits."""

    pixels: str
    sizes: Sequence[int]

    @classmethod
    def of(cls, film: Film) -> "Layout":
        """Returns the layout in which frames are compared: that of the clip, with 8 bits."""
        width, height = film.shape.width, film.shape.height
        pixels = re.sub(r"\d+(le|be)$", "", film.pixels)
        found = re.fullmatch(r"yuvj?(\d{3}p)", pixels)
        if found and found[1] in SUBSAMPLED:
            across, down = SUBSAMPLED[found[1]]
            chroma = ((width + (1 << across) - 1) >> across) * ((height + (1 << down) - 1) >> down)
            return cls(pixels, [width * height, chroma, chroma])
        return cls("gray", [width * height])


def compare(clip: Film, source: Film, first: int, frames: Sequence[Frame], seconds: float) -> Iterator[Likeness]:
    """Compares frames of the clip, from number `first`, with frames of the source. Both follow each other."""
    deinterlace = DEINTERLACE if is_interlaced(source, seconds) else ""
    layout = Layout.of(clip)
    place = {frame.number: index for index, frame in enumerate(source.frames)}
    begin, end = place[frames[0].number], place[frames[-1].number]
    window = source.frames[max(0, begin - 1) : end + 2]
    fit = FIT.format(width=source.shape.width, height=source.shape.height)
    if max(source.shape.width - clip.shape.width, source.shape.height - clip.shape.height) in {0, 1}:
        fit += f"crop={clip.shape.width}:{clip.shape.height}:0:0,"
    else:
        fit += f"scale={clip.shape.width}:{clip.shape.height},"
    numbers = [frame.number for frame in window]
    theirs = _in_order(_read(source.file, numbers, layout, deinterlace + fit, seconds), numbers)
    ours = _read(clip.file, [clip.frames[first + index].number for index in range(len(frames))], layout, "", seconds)
    before = next(theirs, None) if begin else None
    right = next(theirs, None)
    if right is None:
        return
    uncertain = {0, len(source.frames) - 1} if deinterlace else set()
    for index, (_, planes) in enumerate(ours, begin):
        after = next(theirs, None)
        neighbours = {-1: before, 1: after}
        yield _likeness(planes, right, {n: each for n, each in neighbours.items() if index + n not in uncertain})
        if after is None:
            return
        before, right = right, after


def _likeness(planes: Planes, right: Planes, neighbours: dict[int, Planes | None]) -> Likeness:
    error = _error(planes, right)
    nearer = None
    for distance, neighbour in neighbours.items():
        # The encoding's own error is the one to the frame that was encoded, whichever that is. Frames that differ by
        # less can't be told apart.
        if neighbour is not None and (own := _error(planes, neighbour)) < min(error, _error(neighbour, right)):
            error, nearer = own, distance
    worst = max(_error([ours], [theirs]) for ours, theirs in zip(planes, right, strict=True))
    return Likeness(99.0 if not worst else 10 * float(np.log10(255**2 / worst)), nearer)


def _error(some: Planes, other: Planes) -> float:
    """Returns the mean squared error of all planes together."""
    total = sum(
        float(np.square(np.subtract(a, b, dtype=np.int16).astype(np.int32)).sum(dtype=np.int64))
        for a, b in zip(some, other, strict=True)
    )
    return total / sum(plane.size for plane in some)


def _read(file: Path, numbers: Sequence[int], layout: Layout, fit: str, seconds: float) -> Iterator[tuple[int, Planes]]:
    """Decodes frames by their numbers. Yields them in the order of numbers."""
    first, last, wanted = min(numbers), max(numbers), set(numbers)
    chain = f"{fit}select='between(n,{first},{last})',format={layout.pixels}"
    command = [*FFMPEG, *DECODE, "-i", f"file:{file}", "-map", PICTURES, "-vf", chain]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    with reading(command, seconds) as output:
        for number in itertools.count(first):
            planes = [np.frombuffer(output.read(size), np.uint8) for size in layout.sizes]
            if number > last or planes[-1].size < layout.sizes[-1]:
                return
            if number in wanted:
                yield number, planes


def _in_order(read: Iterator[tuple[int, Planes]], numbers: Sequence[int]) -> Iterator[Planes]:
    """Yields frames in the order of `numbers`, and keeps those that come too early."""
    kept: dict[int, Planes] = {}
    for number in numbers:
        while number not in kept:
            found = next(read, None)
            if found is None:
                return
            kept[found[0]] = found[1]
        yield kept.pop(number)

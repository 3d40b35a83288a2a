"""Chooses the spans that are asked for, and says which frames of the source each clip must hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from scripts.conformance.film import Film, Frame
from scripts.shared import instants

START_US = instants.parse("2018-09-16T17:30:17.000Z") * 1000
MOST_SECONDS = 3
TINY_SECONDS = 1


@dataclass(frozen=True)
class Part:
    """A part of a clip: frames of the source, and the time of the source at which the part begins and ends."""

    frames: Sequence[Frame]
    start: Fraction
    end: Fraction
    offset: Fraction  # of the copy, since the start of the first one


@dataclass(frozen=True)
class Request:
    """A clip to ask for: a span, and the instants at which copies of the film begin, in microseconds."""

    name: str
    copies_us: Sequence[int]
    start_ms: int
    end_ms: int

    @property
    def files(self) -> list[str]:
        """Names of the copies, which hold their instants."""
        return [f"x.{instants.compact(us // 1000)}{us % 1000:03d}.mp4" for us in self.copies_us]

    def parts(self, film: Film) -> list[Part]:
        """Returns the frames that begin within the span, of each copy. A copy ends where the next one begins."""
        ends = [*self.copies_us[1:], max(self.end_ms * 1000, self.copies_us[-1])]
        parts = []
        for copy, end in zip(self.copies_us, ends, strict=True):
            start = Fraction(max(self.start_ms * 1000, copy) - copy, 1_000_000)
            until = Fraction(min(self.end_ms * 1000, end) - copy, 1_000_000)
            frames = [frame for frame in film.frames if start <= frame.time < until]
            if frames:
                parts.append(Part(frames, start, until, Fraction(copy - START_US, 1_000_000)))
        return parts


def inside(film: Film) -> Request:
    """Returns a span inside the film: its middle third, at most 3 s; of a tiny film, the whole."""
    start, end = Fraction(0), film.length
    if film.length >= TINY_SECONDS:
        start, end = film.length / 3, min(2 * film.length / 3, film.length / 3 + MOST_SECONDS)
    request = Request("inside", [START_US], _instant(start, 0), _instant(end, 0))
    if not request.parts(film):  # a film of few frames
        request = Request("inside", [START_US], _instant(Fraction(0), 0), _instant(film.length, 0))
    return request


def across(film: Film) -> Request:
    """Returns a span from the end of a film into its copy, which begins where the film ends."""
    second = math.ceil(film.length * 1_000_000)
    before, after = Fraction(0), film.length
    if film.length >= TINY_SECONDS:
        half = Fraction(MOST_SECONDS, 2)
        before, after = max(2 * film.length / 3, film.length - half), min(film.length / 3, half)
    copies = [START_US, START_US + second]
    return Request("across", copies, _instant(before, 0), _instant(after, second))


def _instant(time: Fraction, copy_us: int) -> int:
    """Returns the instant in milliseconds, made odd, unless it is the start of a copy."""
    if not time:
        return (START_US + copy_us) // 1000
    return math.ceil((START_US + copy_us + time * 1_000_000) / 1000) | 1

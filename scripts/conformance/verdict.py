"""Judges a clip by its source: every frame, their times, the shape, and the presence of sound."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from scripts.conformance import film as films
from scripts.conformance import pictures
from scripts.conformance.engine import Answer
from scripts.conformance.film import Film, Frame
from scripts.conformance.spans import START_US, Part, Request

LEAST_PSNR = 40.0
MOST_OFF = Fraction(2, 1000)  # seconds that a frame may come too early or too late
ASPECT_TOLERANCE = 0.01
LOUD, SILENT = -50.0, -70.0  # peaks in dB


@dataclass(frozen=True)
class Verdict:
    """A word for the table, and the reasons. The first reason names the kind of the fault."""

    word: str  # exact, encoded, missing, FATAL or WRONG
    reasons: Sequence[str] = ()
    detail: str = ""


def of_clip(clip: Film, source: Film, request: Request, answer: Answer, seconds: float) -> Verdict:
    """Compares a clip with its source."""
    parts = request.parts(source)
    wanted, missing = _without_gaps(parts, answer)
    faults = [*_shape_faults(clip, source), *_sound_faults(clip, source, parts, seconds)]
    if len(clip.frames) != len(wanted):
        faults.insert(0, f"{_more_or_fewer(clip, wanted)}: {len(clip.frames)} frames, expected {len(wanted)}")
        return Verdict("WRONG", faults, _which(clip, wanted))
    if not answer.gaps:
        faults += _time_faults(clip, wanted)
    psnr, frame_faults = _frame_faults(clip, source, parts, wanted, seconds)
    faults += frame_faults
    if faults:
        return Verdict("WRONG", faults)
    if missing:
        return Verdict("missing", [f"{missing} frames lie in what the engine calls a gap"])
    return Verdict("exact") if psnr is None else Verdict("encoded", detail=f"{psnr:.1f} dB")


def _without_gaps(parts: Sequence[Part], answer: Answer) -> tuple[list[tuple[Fraction, Frame]], int]:
    """Returns the frames that the clip must hold, with their times since the first copy, and how many it may lack."""
    wanted = [(part.offset + frame.time, frame) for part in parts for frame in part.frames]
    gaps = [[Fraction(us - START_US, 1_000_000) for us in gap] for gap in answer.gaps]
    kept = [each for each in wanted if not any(start <= each[0] < end for start, end in gaps)]
    return kept, len(wanted) - len(kept)


def _shape_faults(clip: Film, source: Film) -> list[str]:
    ours, theirs = clip.shape, source.shape
    faults = []
    if not (0 <= theirs.width - ours.width <= 1 and 0 <= theirs.height - ours.height <= 1):
        faults.append(f"size: {ours.width}x{ours.height}, expected {theirs.width}x{theirs.height}")
    tolerance = max(ASPECT_TOLERANCE, 1.5 / min(theirs.width, theirs.height))
    if abs(ours.aspect / theirs.aspect - 1) > tolerance:
        faults.append(f"shape: {ours.aspect:.3f}, expected {theirs.aspect:.3f}")
    if ours.orientation != theirs.orientation:
        faults.append(f"orientation: {ours.orientation}, expected {theirs.orientation}")
    return faults


def _sound_faults(clip: Film, source: Film, parts: Sequence[Part], seconds: float) -> list[str]:
    heard = [found for part in parts if (found := films.sound(source, part.start, part.end, seconds))]
    if not heard:
        return [f"sound: {clip.sounds[0]}, expected none"] if clip.sounds and not source.sounds else []
    if not clip.sounds:
        return [f"sound: none, expected {heard[0].track}"]
    ours = films.sound(clip, Fraction(0), clip.length, seconds)
    if ours is None:
        return ["sound: a track without samples"]
    if ours.peak < SILENT and max(each.peak for each in heard) > LOUD:
        return [f"sound: silence ({ours.peak} dB), expected a peak of {max(each.peak for each in heard)} dB"]
    return []


def _time_faults(clip: Film, wanted: Sequence[tuple[Fraction, Frame]]) -> list[str]:
    off = [
        (abs(ours.time - (time - wanted[0][0])), number)
        for number, (ours, (time, _)) in enumerate(zip(clip.frames, wanted, strict=True))
    ]
    most, number = max(off)
    return [f"times: frame {number} is {float(most) * 1000:.1f} ms off"] if most > MOST_OFF else []


def _frame_faults(
    clip: Film, source: Film, parts: Sequence[Part], wanted: Sequence[tuple[Fraction, Frame]], seconds: float
) -> tuple[float | None, list[str]]:
    """Returns the least PSNR of frames that are not identical, and what is wrong with them."""
    differ = [number for number, (_, frame) in enumerate(wanted) if clip.frames[number].digest != frame.digest]
    kept = {id(frame): number for number, (_, frame) in reversed(list(enumerate(wanted)))}
    least, faults, first = None, [], 0
    for part in parts:
        frames = [frame for frame in part.frames if id(frame) in kept]
        inner = [number for number in differ if first <= number < first + len(frames)]
        if inner:
            some = frames[inner[0] - first : inner[-1] - first + 1]
            likenesses = pictures.compare(clip, source, inner[0], some, seconds)
            for number, likeness in enumerate(likenesses, inner[0]):
                if number not in inner:
                    continue
                least = min(likeness.psnr, least or likeness.psnr)
                if likeness.nearer is not None:
                    faults.append(f"neighbour: frame {number} of {len(wanted)} is nearer to its {likeness.nearer:+}")
                elif likeness.psnr < LEAST_PSNR:
                    faults.append(f"picture: frame {number} of {len(wanted)} has {likeness.psnr:.1f} dB")
        first += len(frames)
    return least, faults


def _more_or_fewer(clip: Film, wanted: Sequence[tuple[Fraction, Frame]]) -> str:
    return "more frames" if len(clip.frames) > len(wanted) else "fewer frames"


def _which(clip: Film, wanted: Sequence[tuple[Fraction, Frame]]) -> str:
    """Says which frames are absent from the clip, as far as identical frames tell."""
    held = {frame.digest for frame in clip.frames}
    absent = [f"{float(time):.3f}" for time, frame in wanted if frame.digest not in held]
    return f"not found by digest, at seconds {', '.join(absent[:8])}{' ...' if len(absent) > 8 else ''}"

"""Judges a clip by its source: every frame, their times, the shape, and the presence of sound."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from scripts.conformance import film as films
from scripts.conformance import pictures
from scripts.conformance.engine import Answer
from scripts.conformance.film import Film
from scripts.conformance.pictures import Likeness
from scripts.conformance.spans import START_US, Part, Request

LEAST_PSNR = 40.0
# Of a clip that is encoded as a whole, within a cap of its bit rate, 40 dB are the average.
LEAST_PSNR_OF_WHOLE = 35.0
MOST_OFF = Fraction(2, 1000)  # seconds that a frame may come too early or too late
ASPECT_TOLERANCE = 0.01
LOUD, SILENT = -50.0, -70.0  # peaks in dB


@dataclass(frozen=True)
class Verdict:
    """A word for the table, and the reasons. The first reason names the kind of the fault."""

    word: str  # exact, encoded, missing, FATAL, WRONG or skipped
    reasons: Sequence[str] = ()  # of WRONG, each with its kind before a colon
    detail: str = ""


def of_clip(clip: Film, source: Film, request: Request, answer: Answer, seconds: float) -> Verdict:
    """Compares a clip with its source."""
    parts = request.parts(source)
    if _shape_faults(clip, source):
        source = films.in_shape_of_most(source, [frame for part in parts for frame in part.frames], seconds)
    kept = _without_gaps(parts, answer)
    wanted = [[part.offset + frame.time for frame in part.frames] for part in kept if part.frames]
    expected = sum(len(part.frames) for part in kept)
    missing = sum(len(part.frames) for part in parts) - expected
    faults = [*_shape_faults(clip, source), *_sound_faults(clip, source, parts, seconds)]
    if len(clip.frames) != expected:
        kind = "more frames" if len(clip.frames) > expected else "fewer frames"
        faults.insert(0, f"{kind}: {len(clip.frames)}, expected {expected}{_which(clip, kept)}")
        return Verdict("WRONG", faults)
    if not answer.gaps:
        faults += _time_faults(clip, wanted)
    psnr, frame_faults, damaged = _frame_faults(clip, source, kept, seconds)
    faults += frame_faults
    if faults:
        return Verdict("WRONG", faults)
    if missing:
        return Verdict("missing", [f"{missing} frames lie in what the engine calls a gap"])
    if psnr is None and not damaged:
        return Verdict("exact")
    details = [f"{psnr:.1f} dB"] if psnr is not None else []
    details += [f"({damaged} damaged frames are not compared)"] if damaged else []
    return Verdict("encoded", detail=" ".join(details))


def _without_gaps(parts: Sequence[Part], answer: Answer) -> list[Part]:
    """Leaves out the frames that lie in what the engine calls gaps."""
    gaps = [[Fraction(us - START_US, 1_000_000) for us in gap] for gap in answer.gaps]
    kept = []
    for part in parts:
        frames = [f for f in part.frames if not any(start <= part.offset + f.time < end for start, end in gaps)]
        kept.append(replace(part, frames=frames))
    return kept


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


def _time_faults(clip: Film, wanted: Sequence[Sequence[Fraction]]) -> list[str]:
    """Returns what is wrong with the times of frames, which are given for each part.

    A hole between two copies is closed: the second begins after the last frame of the first, at the latest by its name.
    Where the first ends is not told in the same way by container, edit list and decoder: its last frame may last as
    long as any other of its frames.
    """
    faults, first, longest = [], 0, Fraction(0)
    for times in wanted:
        ours = [frame.time for frame in clip.frames[first : first + len(times)]]
        late = ours[0] - (times[0] - wanted[0][0])
        held = ours[0] - clip.frames[first - 1].time if first else Fraction(0)
        if (late > MOST_OFF and held > longest + MOST_OFF) or (first and held <= 0):
            faults.append(f"times: the part from frame {first} on is {float(late) * 1000:.1f} ms late")
        off = [abs(time - ours[0] - (want - times[0])) for time, want in zip(ours, times, strict=True)]
        if max(off) > MOST_OFF:
            faults.append(f"times: frame {first + off.index(max(off))} is {float(max(off)) * 1000:.1f} ms off")
        first += len(times)
        longest = max((after - before for before, after in itertools.pairwise(times)), default=Fraction(0))
    return faults


def _frame_faults(
    clip: Film, source: Film, parts: Sequence[Part], seconds: float
) -> tuple[float | None, list[str], int]:
    """Returns the least PSNR of frames that are not identical, what is wrong with them, and how many are damaged."""
    compared, faults, first, skipped = [], [], 0, 0
    damaged: set[int] | None = None
    for part in parts:
        inexact = [
            number for number, frame in enumerate(part.frames) if clip.frames[first + number].digest != frame.digest
        ]
        if inexact:
            some = part.frames[inexact[0] : inexact[-1] + 1]
            likenesses = list(pictures.compare(clip, source, first + inexact[0], some, seconds))
            if len(likenesses) < len(some):
                faults.append(f"not compared: ffmpeg decoded {len(likenesses)} of {len(some)} frames again")
            for number, likeness in enumerate(likenesses, inexact[0]):
                if number not in inexact:
                    continue
                is_suspect = bool(_likeness_faults(first + number, likeness, LEAST_PSNR))
                if is_suspect and damaged is None:
                    damaged = films.unsettled(source, seconds)
                if is_suspect and part.frames[number].number in damaged:
                    skipped += 1
                    continue
                compared.append((first + number, likeness))
        first += len(part.frames)
    psnrs = [likeness.psnr for _, likeness in compared]
    is_whole = len(psnrs) + skipped == first and psnrs and statistics.mean(psnrs) >= LEAST_PSNR
    limit = LEAST_PSNR_OF_WHOLE if is_whole else LEAST_PSNR
    faults += [fault for number, likeness in compared for fault in _likeness_faults(number, likeness, limit)]
    if faults and len(sizes := films.sizes(source, seconds)) > 1:
        faults[0] += f" (the source has pictures of {', '.join(sizes)})"
    return min(psnrs, default=None), faults, skipped


def _likeness_faults(number: int, likeness: Likeness, limit: float) -> list[str]:
    if likeness.nearer is not None:
        return [f"neighbour: frame {number} is nearer to the one at {likeness.nearer:+}, {likeness.psnr:.1f} dB"]
    return [f"picture: frame {number} has {likeness.psnr:.1f} dB"] if likeness.psnr < limit else []


def _which(clip: Film, parts: Sequence[Part]) -> str:
    """Says which frames are absent from the clip, as far as identical frames tell."""
    held = {frame.digest for frame in clip.frames}
    absent = [f"{float(frame.time):.3f}" for part in parts for frame in part.frames if frame.digest not in held]
    if not absent:
        return ""
    return (
        f" (none is identical to those at {', '.join(absent[:6])}{' ...' if len(absent) > 6 else ''} s of the source)"
    )

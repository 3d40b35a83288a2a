"""Two other ways to make a clip, beside which the function is measured.

*reference* is what the function replaces. *floor* is the least work that gives any clip, exact or not. Both do one step
after the other, over plain HTTP. They run the function's ffmpeg wherever it has the parts they need, because it starts
and works faster than Debian's.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from scripts.bench.cases import Part
from scripts.local import local, ministack

SIZES = (300, 640, 1500, 3000)
CHUNK = 1 << 20


@dataclass(frozen=True)
class Job:
    """A clip to make, a folder to work in, and where to store the clip."""

    parts: Sequence[Part]
    extension: str
    aws_url: str
    folder: Path
    clip_id: str


def reference(job: Job) -> Path:
    """Downloads whole objects, decodes each from its start and encodes it, joins by copy; one ffmpeg per thumbnail."""
    segments = []
    for number, part in enumerate(job.parts):
        source, segment = job.folder / f"source-{number}.mp4", job.folder / f"segment-{number}.mp4"
        with _Connection(job.aws_url) as s3:
            s3.download(part.recording.path.name, None, source)
        length = ["-ss", f"{part.start_s:.3f}", "-t", f"{part.end_s - part.start_s:.3f}"]
        _run([str(local.FFMPEG)], ["-i", f"file:{source}", *length, "-c:v", "libx264", "-preset", "fast"], segment)
        segments.append(segment)
    clip = segments[0] if len(segments) == 1 else _joined(segments, [], job.folder)
    thumbnails = []
    for size in SIZES:
        thumbnail = job.folder / f"{size}.{job.extension}"
        _run([str(local.FFMPEG)], [*_quarter(job, clip), "-vf", f"scale={size}:-1", *_one_picture()], thumbnail)
        thumbnails.append(thumbnail)
    _upload(job, [clip, *thumbnails])
    return clip


def floor(job: Job) -> Path:
    """Downloads only the bytes it needs, copies from the key frame before the span; one ffmpeg for all thumbnails."""
    sources = []
    for number, part in enumerate(job.parts):
        source = job.folder / f"source-{number}.mp4"
        with source.open("wb") as file:
            file.truncate(part.recording.path.stat().st_size)
        with _Connection(job.aws_url) as s3:
            # The start of the file, where a reader finds the moov box; that box; the frames.
            for wanted in (range(64), part.moov, part.decoded):
                s3.download(part.recording.path.name, wanted, source)
        sources.append(source)
    if len(sources) == 1:
        clip, (part,) = job.folder / "clip.mp4", job.parts
        length = ["-ss", f"{part.start_s:.3f}", "-t", f"{part.end_s - part.start_s:.3f}"]
        _run([str(local.FFMPEG)], [*length, "-i", f"file:{sources[0]}", "-c", "copy"], clip)
    else:
        points = [f"inpoint {part.start_s:.3f}\noutpoint {part.end_s:.3f}" for part in job.parts]
        clip = _joined(sources, points, job.folder)
    thumbnails = [job.folder / f"{size}.{job.extension}" for size in SIZES]
    labels = [f"[{size}]" for size in SIZES]
    scales = [f"[s{size}]scale={size}:-1{label}" for size, label in zip(SIZES, labels, strict=True)]
    graph = f"split={len(SIZES)}{''.join(f'[s{size}]' for size in SIZES)};{';'.join(scales)}"
    outputs: list[str] = []
    for label, thumbnail in zip(labels, thumbnails, strict=True):
        outputs += ["-map", label, *_one_picture(), f"file:{thumbnail}"]
    last = Path(outputs.pop().removeprefix("file:"))
    _run([str(local.FFMPEG)], [*_quarter(job, clip), "-filter_complex", graph, *outputs], last)
    _upload(job, [clip, *thumbnails])
    return clip


BASELINES = {"reference": reference, "floor": floor}


def _joined(segments: Sequence[Path], points: Sequence[str], folder: Path) -> Path:
    """Joins by copy. This takes Debian's ffmpeg, because the function's lacks the concat demuxer."""
    listed, clip = folder / "segments.txt", folder / "clip.mp4"
    points = points or [""] * len(segments)
    lines = [f"file 'file:{segment}'\n{point}" for segment, point in zip(segments, points, strict=True)]
    listed.write_text("\n".join(["ffconcat version 1.0", *lines]))
    _run(["ffmpeg"], ["-f", "concat", "-safe", "0", "-i", f"file:{listed}", "-c", "copy"], clip)
    return clip


def _quarter(job: Job, clip: Path) -> list[str]:
    seconds = sum(part.end_s - part.start_s for part in job.parts)
    return ["-ss", f"{seconds / 4:.3f}", "-i", f"file:{clip}"]


def _one_picture() -> list[str]:
    return ["-frames:v", "1", "-update", "1", "-f", "image2"]


def _run(ffmpeg: Sequence[str], options: Sequence[str], target: Path) -> None:
    command = [*ffmpeg, "-nostdin", "-y", "-v", "quiet", *options, f"file:{target}"]
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    if not target.exists() or target.stat().st_size == 0:
        raise RuntimeError(f"cannot write {target.name}: no output of {' '.join(command)}")


def _upload(job: Job, files: Sequence[Path]) -> None:
    with _Connection(job.aws_url) as s3:
        for file in files:
            s3.upload(file, f"{job.clip_id}/{file.name}")


class _Connection:
    """A connection to S3, as fast as Python allows: without checksums, and straight to disk."""

    def __init__(self, aws_url: str) -> None:
        self._http = HTTPConnection(urlsplit(aws_url).netloc, blocksize=CHUNK)

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def download(self, name: str, wanted: range | None, target: Path) -> None:
        """Downloads an object, or a range of it to the same position in the file."""
        headers = {"Range": f"bytes={wanted.start}-{wanted.stop - 1}"} if wanted else {}
        path = f"/{ministack.RECORDINGS_BUCKET}/{ministack.RECORDINGS_PREFIX}/{name}"
        self._http.request("GET", path, headers=headers)
        answer = self._http.getresponse()
        if answer.status not in {200, 206}:
            raise RuntimeError(f"cannot download {name}: S3 answered {answer.status}")
        with target.open("r+b" if wanted else "wb") as file:
            file.seek(wanted.start if wanted else 0)
            shutil.copyfileobj(answer, file, CHUNK)

    def upload(self, file: Path, key: str) -> None:
        """Uploads a file to the bucket of the clips."""
        headers = {"Content-Length": str(file.stat().st_size)}
        with file.open("rb") as body:
            self._http.request("PUT", f"/{ministack.CLIPS_BUCKET}/{key}", body, headers)
        answer = self._http.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"cannot upload {key}: S3 answered {answer.status}")

"""Runs what the benchmark measures with: the local stack, the function for PNG and for JPEG, and the baselines."""

import math
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts import ROOT
from scripts.bench import baselines, cases, counting_proxy
from scripts.bench.cases import EXTENSIONS, Case, Part, Recording
from scripts.footage import footage, frame_number
from scripts.function import package, runtime_api
from scripts.function.runtime_api import Function, Response
from scripts.local import local, ministack
from scripts.local.request_follower import Request
from scripts.local.stack import Stack
from scripts.shared import console, env_file, instants

FOLDER = ROOT / "dist" / "bench"
LOOPED_START_MS = instants.parse("2018-09-17T17:00:17.000Z")
# Runs ffmpeg, and records its peak memory in KiB (getrusage(2)).
MEASURED_FFMPEG = """#!{python} -IS
import os, sys
pid = os.posix_spawn({ffmpeg!r}, [{ffmpeg!r}, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
with open({record!r}, "a") as record:
    record.write(f"{{usage.ru_maxrss}}\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Run:
    """The cost of one run. The fields with a default are the function's own."""

    wall_ms: float
    cpu_ms: float
    peak_rss_mb: float = 0.0
    copied: int = 0
    encoded: int = 0
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Counts:
    """The counters after one run."""

    fetched_bytes: int
    requests: int
    ffmpeg_peak_mb: float
    ffmpeg_runs: int


class Rig:
    """The running stack, its recordings and the functions."""

    def __init__(self, stack: Stack, scratch: Path, pairs: Mapping[int, Sequence[Recording]]) -> None:
        self._stack = stack
        self._scratch = scratch
        self._pairs = pairs  # two recordings, by their minutes
        self._s3 = stack.client("s3")
        package.unpack(package.FUNCTION_ZIP, scratch)
        self._bootstrap = scratch / "bootstrap"
        self._functions: dict[str, Function] = {}
        self._clips = 0

    @property
    def recorded_ms(self) -> tuple[int, int]:
        """Start and end of the recordings of ten minutes, in ms since the epoch."""
        first, second = self._pairs[10]
        return first.start_ms, second.start_ms + second.length_ms

    def parts(self, case: Case) -> list[Part]:
        """Returns the parts of a case's clip."""
        return cases.parts(self._request(case), self._pairs[case.minutes])

    @contextmanager
    def functions(self, purpose: str, changes: Mapping[str, str]) -> Iterator[dict[str, Function]]:
        """Runs the function once for PNG and once for JPEG, with changes to its usual settings."""
        usual = env_file.read(Path(self._stack.env_file))
        with ExitStack() as running:
            functions = {}
            for extension in EXTENSIONS:
                work = self._scratch / f"{purpose}-{extension}"
                work.mkdir()
                own = {"CLIP_DOWNLOAD_DEST": str(work), "THUMBNAIL_FORMAT": extension, "AWS_LAMBDA_LOG_FORMAT": "JSON"}
                log_file = FOLDER / f"function-{purpose}-{extension}.log"
                function = runtime_api.running(self._bootstrap, usual | own | changes, log_file)
                functions[extension] = running.enter_context(function)
            yield functions

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Runs the functions that are measured."""
        with self.functions("timing", {}) as self._functions:
            yield

    def by_function(self, case: Case, request: Request | None = None) -> Run:
        """Makes a clip with the function, and removes the clip."""
        request = replace(request or self._request(case), clip_id=self._next_clip())
        response = _response(self._functions[case.extension], request)
        self._remove_clips()
        line = next(line for line in response.log if line["message"] == "request finished")
        stages = {name.removesuffix("_ms"): ms for name, ms in line.items() if name.endswith("_ms")}
        return Run(response.wall_ms, response.cpu_ms, response.peak_rss_mb, line["copied"], line["encoded"], stages)

    def by_baseline(self, name: str, case: Case) -> Run:
        """Makes a clip with a baseline, and removes the clip."""
        parts = self.parts(case)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            job = baselines.Job(parts, case.extension, self._stack.aws_url, Path(folder), self._next_clip())
            started, cpu = time.perf_counter(), _own_cpu_ms()
            clip = baselines.BASELINES[name](job)
            run = Run((time.perf_counter() - started) * 1000, _own_cpu_ms() - cpu)
            frames, expected = cases.count_frames(clip), sum(part.frames for part in parts)
            if frames < expected - 2:
                raise RuntimeError(f"{name}, {case.name}: expected {expected} frames, got {frames}")
        self._remove_clips()
        return run

    @contextmanager
    def counting(self) -> Iterator[Callable[[Case], Counts]]:
        """Runs functions whose S3 is behind the counting proxy and whose ffmpeg records its memory."""
        record, ffmpeg = self._scratch / "ffmpeg.kib", self._scratch / "ffmpeg"
        ffmpeg.write_text(MEASURED_FFMPEG.format(python=sys.executable, ffmpeg=str(local.FFMPEG), record=str(record)))
        ffmpeg.chmod(0o755)
        with counting_proxy.counting(self._stack.aws_url) as (url, counter):
            changes = {"AWS_ENDPOINT_URL_S3": url, "FFMPEG_PATH": str(ffmpeg)}
            with self.functions("counting", changes) as functions:

                def count(case: Case) -> Counts:
                    counter.clear()
                    record.write_text("")
                    request = self._request(case, self._next_clip())
                    _response(functions[case.extension], request)
                    if case.extension == "png":  # the clip does not depend on the format of the thumbnails
                        self._check_clip(case, request)
                    self._remove_clips()
                    peaks = [int(line) / 1024 for line in record.read_text().split()]
                    return Counts(
                        fetched_bytes=counter.fetched(ministack.RECORDINGS_BUCKET),
                        requests=counter.requests,
                        ffmpeg_peak_mb=max(peaks),
                        ffmpeg_runs=len(peaks),
                    )

                yield count

    def _check_clip(self, case: Case, request: Request) -> None:
        """Reads the number of every frame, because the speed of a wrong clip means nothing."""
        clip = self._scratch / "checked.mp4"
        key = f"{request.camera_id}/{request.clip_id}.mp4"
        self._s3.download_file(ministack.CLIPS_BUCKET, key, str(clip))
        frames_of_original = 600 * footage.RATE
        expected = []
        for part in self.parts(case):
            first = math.ceil(part.start_s * footage.RATE)
            expected += [number % frames_of_original for number in range(first, first + part.frames)]
        if frame_number.read_all(clip) != expected:
            raise RuntimeError(f"{case.name}: expected the {len(expected)} frames of the request, got others")

    def _request(self, case: Case, clip_id: str = "") -> Request:
        return case.request(self._pairs[case.minutes], clip_id)

    def _next_clip(self) -> str:
        self._clips += 1
        return f"bench-{self._clips}"

    def _remove_clips(self) -> None:
        """Removes all clips, because the S3 of the stack keeps them in memory."""
        for entry in self._s3.list_objects_v2(Bucket=ministack.CLIPS_BUCKET).get("Contents", []):
            self._s3.delete_object(Bucket=ministack.CLIPS_BUCKET, Key=entry["Key"])


@contextmanager
def running(selected: Sequence[Case]) -> Iterator[Rig]:
    """Runs everything that these cases need until the context ends."""
    if not package.FUNCTION_ZIP.is_file():
        raise RuntimeError(f"cannot read {package.FUNCTION_ZIP}: no such file: make build")
    pairs = {10: cases.recordings_of(footage.demo_folder())[1:]}
    if any(case.minutes == 60 for case in selected):
        console.say("two recordings of an hour are made once, by looping those of ten minutes")
        pairs[60] = cases.looped(pairs[10], LOOPED_START_MS)
    shutil.rmtree(FOLDER, ignore_errors=True)
    recordings = tuple(recording.path for pair in pairs.values() for recording in pair)
    options = local.Options(FOLDER, FOLDER / "env", recordings, function_zip=None, any_port=True)
    with local.running(options) as stack, tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        console.say(f"the local stack is up, with {len(recordings)} recordings (log: {stack.log_file})")
        rig = Rig(stack, Path(scratch), pairs)
        with rig.timing():
            yield rig


def _response(function: Function, request: Request) -> Response:
    """Invokes the function with one record, and expects success."""
    sent = {"SentTimestamp": str(request.end_ms)}
    body = request.message_body()
    record = {"messageId": request.clip_id, "body": body, "attributes": sent, "eventSource": "aws:sqs"}
    response = function.invoke({"Records": [record]})
    if not response.ok or response.body["batchItemFailures"]:
        raise RuntimeError(f"expected a clip, got a failure: {response.body}; log: {response.log}")
    return response


def _own_cpu_ms() -> float:
    """Returns the CPU time of this process and of all children that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) * 1000

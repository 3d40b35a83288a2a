"""What the benchmark measures with: the local stack, the function for PNG and for JPEG, the ways by hand."""

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
from scripts.bench import cases, counting_proxy, ways
from scripts.bench.cases import EXTENSIONS, Case, Part, Recording
from scripts.footage import footage, frame_number
from scripts.function import package, runtime_api
from scripts.function.runtime_api import Answer, Function
from scripts.local import local, ministack
from scripts.local.following import Request
from scripts.local.stack import Stack
from scripts.shared import console, instants

FOLDER = ROOT / "dist" / "bench"
LOOPED_START_MS = instants.parse("2018-09-17T17:00:17.000Z")
# Runs ffmpeg, and notes its peak memory in KiB (getrusage(2)).
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
    """What one run took: milliseconds, and MB of the function's own memory."""

    wall_ms: float
    cpu_ms: float
    peak_rss_mb: float = 0.0
    copied: int = 0
    encoded: int = 0
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Counted:
    """What was counted in a run of its own."""

    fetched_bytes: int
    requests: int
    ffmpeg_peak_mb: float
    ffmpeg_runs: int


class Stand:
    """Everything that is needed, up and running."""

    def __init__(self, stack: Stack, scratch: Path, pairs: Mapping[int, Sequence[Recording]]) -> None:
        self._stack = stack
        self._scratch = scratch
        self._pairs = pairs
        self._s3 = stack.client("s3")
        package.unpack(local.FUNCTION_ZIP, scratch)
        self._bootstrap = scratch / "bootstrap"
        self._functions: dict[str, Function] = {}
        self._clips = 0

    @property
    def recorded(self) -> tuple[int, int]:
        """From when to when the recordings of ten minutes run, in ms."""
        first, second = self._pairs[10]
        return first.start_ms, second.start_ms + second.length_ms

    def parts(self, case: Case) -> list[Part]:
        """What the clip of `case` is made of."""
        return cases.parts(self._request(case), self._pairs[case.minutes])

    @contextmanager
    def functions(self, purpose: str, changes: Mapping[str, str]) -> Iterator[dict[str, Function]]:
        """The function once for PNG and once for JPEG, with some changes to its usual settings."""
        usual = dict(line.split("=", 1) for line in Path(self._stack.env_file).read_text().splitlines())
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
        """Keeps the functions that are measured running."""
        with self.functions("timing", {}) as self._functions:
            yield

    def by_function(self, case: Case, request: Request | None = None) -> Run:
        """Has the function make a clip, and removes it."""
        clip_id = self._next_clip()
        request = replace(request or self._request(case), clip_id=clip_id)
        answer = _answered(self._functions[case.extension], request)
        self._remove_clips()
        done = next(line for line in answer.log if line["message"] == "done")
        stages = {name.removesuffix("_ms"): ms for name, ms in done.items() if name.endswith("_ms")}
        return Run(answer.wall_ms, answer.cpu_ms, answer.peak_rss_mb, done["copied"], done["encoded"], stages)

    def by_hand(self, way: str, case: Case) -> Run:
        """Makes a clip without the function, and removes it."""
        parts = self.parts(case)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            job = ways.Job(parts, case.extension, self._stack.aws_url, Path(folder), self._next_clip())
            started, cpu = time.perf_counter(), _own_cpu_ms()
            clip = ways.WAYS[way](job)
            run = Run((time.perf_counter() - started) * 1000, _own_cpu_ms() - cpu)
            frames, wanted = cases.count_frames(clip), sum(part.frames for part in parts)
            if frames < wanted - 2:
                raise RuntimeError(f"{way} made {frames} of {wanted} frames of {case.name}")
        self._remove_clips()
        return run

    @contextmanager
    def counting(self) -> Iterator[Callable[[Case], Counted]]:
        """Runs functions whose S3 lies behind a proxy and whose ffmpeg is watched."""
        record, ffmpeg = self._scratch / "ffmpeg.kib", self._scratch / "ffmpeg"
        ffmpeg.write_text(MEASURED_FFMPEG.format(python=sys.executable, ffmpeg=str(local.FFMPEG), record=str(record)))
        ffmpeg.chmod(0o755)
        with counting_proxy.counting(self._stack.aws_url) as (url, count):
            changes = {"AWS_ENDPOINT_URL_S3": url, "FFMPEG_PATH": str(ffmpeg)}
            with self.functions("counting", changes) as functions:

                def counted(case: Case) -> Counted:
                    count.clear()
                    record.write_text("")
                    clip_id = self._next_clip()
                    request = self._request(case, clip_id)
                    _answered(functions[case.extension], request)
                    if case.extension == "png":  # the thumbnails' format makes no other clip
                        self._check_clip(case, request)
                    self._remove_clips()
                    peaks = [int(line) / 1024 for line in record.read_text().split()]
                    return Counted(
                        fetched_bytes=count.fetched(ministack.RECORDINGS_BUCKET),
                        requests=count.requests,
                        ffmpeg_peak_mb=max(peaks),
                        ffmpeg_runs=len(peaks),
                    )

                yield counted

    def _check_clip(self, case: Case, request: Request) -> None:
        """A clip that is made fast but wrong is worth nothing: every frame's number is read back."""
        clip = self._scratch / "checked.mp4"
        key = f"{request.camera_id}/{request.clip_id}.mp4"
        self._s3.download_file(ministack.CLIPS_BUCKET, key, str(clip))
        numbers_of_ten_minutes = 600 * footage.RATE
        wanted = []
        for part in self.parts(case):
            first = math.ceil(part.start_s * footage.RATE)
            wanted += [number % numbers_of_ten_minutes for number in range(first, first + part.frames)]
        if frame_number.read_all(clip) != wanted:
            raise RuntimeError(f"the clip of {case.name} does not show the {len(wanted)} frames that were asked for")

    def _request(self, case: Case, clip_id: str = "") -> Request:
        return case.request(self._pairs[case.minutes], clip_id)

    def _next_clip(self) -> str:
        self._clips += 1
        return f"bench-{self._clips}"

    def _remove_clips(self) -> None:
        """The stack's S3 keeps everything in memory."""
        for entry in self._s3.list_objects_v2(Bucket=ministack.CLIPS_BUCKET).get("Contents", []):
            self._s3.delete_object(Bucket=ministack.CLIPS_BUCKET, Key=entry["Key"])


@contextmanager
def running(wanted: Sequence[Case]) -> Iterator[Stand]:
    """Runs all that these cases need until the close."""
    if not local.FUNCTION_ZIP.is_file():
        raise RuntimeError(f"{local.FUNCTION_ZIP} is missing: make build")
    pairs = {10: cases.recordings_of(footage.demo_folder())[1:]}
    if any(case.minutes == 60 for case in wanted):
        console.say("two recordings of an hour are made by looping those of ten minutes, once")
        pairs[60] = cases.looped(pairs[10], LOOPED_START_MS)
    shutil.rmtree(FOLDER, ignore_errors=True)
    recordings = tuple(recording.path for pair in pairs.values() for recording in pair)
    options = local.Options(FOLDER, FOLDER / "env", recordings, function_zip=None, any_port=True)
    with local.running(options) as stack, tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        console.say(f"the local stack is up, with {len(recordings)} recordings (log: {stack.log_file})")
        stand = Stand(stack, Path(scratch), pairs)
        with stand.timing():
            yield stand


def _answered(function: Function, request: Request) -> Answer:
    """The answer to an event of one record, which must be a success."""
    sent = {"SentTimestamp": str(request.end_ms)}
    record = {"messageId": request.clip_id, "body": request.message(), "attributes": sent, "eventSource": "aws:sqs"}
    answer = function.answer({"Records": [record]})
    if not answer.ok or answer.body["batchItemFailures"]:
        raise RuntimeError(f"the function failed: {answer.body}; its log: {answer.log}")
    return answer


def _own_cpu_ms() -> float:
    """Of this process and of all children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) * 1000

"""Shows the whole system at work, and proves what it shows.

One clip of footage that is there, one that is awaited, one of a recording that is none; a report of each, opened in a
real browser.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts import ROOT
from scripts.browser import reports
from scripts.browser.reports import Page
from scripts.footage import footage, frame_number
from scripts.footage.footage import RATE, Recording
from scripts.local import local, ministack
from scripts.local.following import AVAILABLE, FATAL, PENDING, Following, Request, fetch
from scripts.local.stack import UP_CAMERA, Stack
from scripts.report import report
from scripts.report.report import Shown
from scripts.shared import console, instants, processes

FOLDER = ROOT / "dist" / "demo"
SIZES = [300, 640, 1500, 3000]
PATIENCE_SECONDS = 180


def main() -> None:
    """What `make demo` does."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--function-zip", type=Path, default=local.FUNCTION_ZIP, metavar="FILE")
    function_zip = console.parse(arguments).function_zip
    processes.end_on_signals()
    started = time.monotonic()
    with console.one_line_errors():
        _show(function_zip)
    console.say(f"\nAll of it is so ({time.monotonic() - started:.0f} s). Open dist/demo/report.html")


def _show(function_zip: Path) -> None:
    recordings = tuple(sorted(footage.demo_folder().glob("*.mp4")))
    trace = ROOT / "dist" / "demo-stack"
    options = local.Options(trace, trace / "env", recordings, function_zip, any_port=True)
    with local.running(options) as stack, tempfile.TemporaryDirectory() as scratch:
        console.say(f"the local stack is up, with {len(recordings)} recordings of ten minutes (log: {stack.log_file})")
        pages = [footage_there(stack), footage_awaited(stack, Path(scratch)), footage_broken(stack, Path(scratch))]
    console.say("\n4 of 4: the reports are opened in Chromium")
    reports.check(pages, lambda what: console.say(f"     right  {what}"))


def footage_there(stack: Stack) -> Page:
    """A message becomes a clip: 60 s across two recordings."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    request = Request("demo", UP_CAMERA, local.EXAMPLE_MS, local.EXAMPLE_MS + 60_000)
    following = _send(1, stack, request)
    following.until(lambda status: status != PENDING, PATIENCE_SECONDS, _tell)
    announced = following.announcement()
    _write("message.json", announced)
    _write("clips.json", following.puts)
    _check("the camera API was told once", _statuses(following) == [AVAILABLE], _statuses(following))
    _check("the subscriber received the same", [announced] == following.puts, announced)
    _check("thumbnail sizes", announced["thumbnail"]["sizes"] == SIZES, announced["thumbnail"]["sizes"])

    clip = FOLDER / "clip.mp4"
    fetch(announced, clip, _thumbnail)
    numbers = _check_frames(clip, footage.DEMO, request)
    for size in SIZES:
        width, height = _png_size(_thumbnail(size))
        right = width == size and abs(height - size * footage.HEIGHT / footage.WIDTH) <= 1
        _check(f"thumbnail of {width}x{height}", right, (width, height))
        shown = frame_number.read_all(_thumbnail(size))
        _check("  shows the frame at 25 %", shown == [numbers[len(numbers) // 4]], shown)
    thumbnails = {size: _thumbnail(size) for size in SIZES}
    return _report(stack, request, Shown(clip, thumbnails), FOLDER / "report.html")


def footage_awaited(stack: Stack, scratch: Path) -> Page:
    """A message that comes before its footage goes back to the queue until the footage is there."""
    recording = Recording((time.time_ns() // 1_000_000_000 - 40) * 1000, seconds=20)
    request = Request("demo-awaited", UP_CAMERA, recording.start_ms + 5_000, recording.start_ms + 15_000)
    following = _send(2, stack, request)
    following.until(lambda status: status == PENDING, PATIENCE_SECONDS, _tell)
    console.say(f"          now {recording.name} is drawn and put into the bucket")
    footage.draw([recording], scratch)
    ministack.put_recording(stack.aws_url, scratch / recording.name)
    following.until(lambda status: status != PENDING, PATIENCE_SECONDS, _tell)
    statuses = _statuses(following)
    _check("order of statuses", statuses == [PENDING] * (len(statuses) - 1) + [AVAILABLE], statuses)
    announced = following.announcement()
    _check("the subscriber received the last", announced == following.puts[-1], announced)
    thumbnails = {size: scratch / f"{size}.png" for size in SIZES}
    fetch(announced, scratch / "clip.mp4", thumbnails.__getitem__)
    _check_frames(scratch / "clip.mp4", [recording], request)
    return _report(stack, request, Shown(scratch / "clip.mp4", thumbnails), FOLDER / "report-awaited.html")


def footage_broken(stack: Stack, scratch: Path) -> Page:
    """A recording that is no MP4 file: said to be so, once a try, and nowhere called a clip."""
    start_ms = footage.DEMO[0].start_ms - 3_600_000
    broken = scratch / f"test.{instants.compact(start_ms)}.mp4"
    broken.write_text("This is no recording.\n")
    ministack.put_recording(stack.aws_url, broken)
    request = Request("demo-broken", UP_CAMERA, start_ms + 5_000, start_ms + 15_000)
    following = _send(3, stack, request)
    following.until(lambda status: status == FATAL, PATIENCE_SECONDS, _tell)
    page = _report(stack, request, Shown(), FOLDER / "report-broken.html")
    failure = page.document["failure"]
    _check(f"the report names stage and object: {failure['stage']}", broken.name in failure["object"], failure)
    return page


def _report(stack: Stack, request: Request, shown: Shown, target: Path) -> Page:
    """The report of a request that is over."""
    traces = Path(stack.traces)
    tries = report.await_documents(
        traces, request.clip_id, lambda tries: bool(tries) and tries[-1]["status"] != PENDING
    )
    report.write(tries, shown, target)
    frames = len(frame_number.read_all(shown.clip)) if shown.clip else 0
    planned = tries[-1]["clip"]["frames"] if tries[-1]["clip"] else 0
    _check(f"report of {planned} frames: {target.relative_to(ROOT)}", planned == frames, frames)
    return Page(target, tries[-1])


def _send(act: int, stack: Stack, request: Request) -> Following:
    console.say(
        f"\n{act} of 4: {instants.rfc_3339(request.start_ms)} to {instants.rfc_3339(request.end_ms)}: a message is sent"
    )
    return Following(stack, request)


def _check_frames(clip: Path, recordings: Sequence[Recording], request: Request) -> list[int]:
    """Every frame of the clip is the right one; the clip is as long as the span."""
    wanted = [number for recording in recordings for number in _frames(recording, request.start_ms, request.end_ms)]
    shown = frame_number.read_all(clip)
    first_wrong = next((at for at, pair in enumerate(zip(shown, wanted, strict=False)) if pair[0] != pair[1]), None)
    _check(f"clip of {len(shown)} frames, each the right one", shown == wanted, f"first wrong: {first_wrong}")
    length = footage.duration_ms(clip)
    _check(f"clip of {length} ms", length == request.end_ms - request.start_ms, length)
    return wanted


def _frames(recording: Recording, start_ms: int, end_ms: int) -> range:
    """The recording's frames with start <= instant < end."""

    def first_at(instant_ms: int) -> int:
        frames_up_to = -((recording.start_ms - instant_ms) * RATE // 1000)
        return min(max(frames_up_to, 0), recording.frames)

    return range(first_at(start_ms), first_at(end_ms))


def _statuses(following: Following) -> list[str]:
    return [metadata["status"] for metadata in following.puts]


def _thumbnail(size: int) -> Path:
    return FOLDER / f"thumbnail_{size}.png"


def _png_size(picture: Path) -> tuple[int, int]:
    header = picture.read_bytes()[:24]
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def _write(name: str, value: object) -> None:
    (FOLDER / name).write_text(json.dumps(value, indent=2) + "\n")


def _tell(status: str, elapsed: float) -> None:
    console.say(f"  {elapsed:5.1f} s  {status}")


def _check(what: str, holds: bool, found: object) -> None:
    if not holds:
        raise RuntimeError(f"{what}: not so, but {found}")
    console.say(f"     right  {what}")


if __name__ == "__main__":
    main()

"""Runs the whole system and checks its results.

It makes one clip of existing footage and one of footage that arrives later, and fails with a file that is not a
recording. The report of each opens in a real browser.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts import ROOT
from scripts.browser import download, reports
from scripts.browser.reports import Page
from scripts.footage import footage, frame_number
from scripts.footage.footage import RATE, Recording
from scripts.local import local, ministack
from scripts.local.request_follower import AVAILABLE, FATAL, PENDING, Request, RequestFollower, fetch
from scripts.local.stack import UP_CAMERA, Stack
from scripts.report import report
from scripts.report.report import Media
from scripts.shared import console, instants, processes

FOLDER = ROOT / "dist" / "demo"
SIZES = [300, 640, 1500, 3000]
TIMEOUT_SECONDS = 180


def main() -> None:
    """Runs `make demo`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--function-zip", type=Path, default=local.FUNCTION_ZIP, metavar="FILE")
    function_zip = console.parse(arguments).function_zip
    processes.end_on_signals()
    started = time.monotonic()
    with console.one_line_errors():
        _run(function_zip)
    console.say(f"\nEvery check passed ({time.monotonic() - started:.0f} s). Open dist/demo/report.html")


def _run(function_zip: Path) -> None:
    recordings = tuple(sorted(footage.demo_folder().glob("*.mp4")))
    trace = ROOT / "dist" / "demo-stack"
    options = local.Options(trace, trace / "env", recordings, function_zip, any_port=True)
    with local.running(options) as stack, tempfile.TemporaryDirectory() as scratch:
        console.say(f"the local stack is up, with {len(recordings)} recordings of ten minutes (log: {stack.log_file})")
        pages = [existing_footage(stack), later_footage(stack, Path(scratch)), broken_recording(stack, Path(scratch))]
    console.say("\n4 of 4: the reports open in Chromium")
    reports.check(pages, lambda what: console.say(f"     right  {what}"))


def existing_footage(stack: Stack) -> Page:
    """Makes a clip of 60 s across two recordings."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    request = Request("demo", UP_CAMERA, local.EXAMPLE_MS, local.EXAMPLE_MS + 60_000)
    follower = _send(1, stack, request)
    follower.wait_for(lambda status: status != PENDING, TIMEOUT_SECONDS)
    announced = follower.announcement()
    _write("message.json", announced)
    _write("clips.json", follower.puts)
    _check("the camera API received one status", follower.statuses == [AVAILABLE], follower.statuses)
    _check("the subscriber received the same metadata", [announced] == follower.puts, announced)
    _check("thumbnail sizes", announced["thumbnail"]["sizes"] == SIZES, announced["thumbnail"]["sizes"])

    clip = FOLDER / "clip.mp4"
    fetch(announced, clip, _thumbnail)
    numbers = _check_frames(clip, footage.DEMO, request)
    _check_date_and_name(announced["clip"]["url"], clip, footage.DEMO[0].start_ms + numbers[0] * 1000 // RATE)
    for size in SIZES:
        width, height = _png_size(_thumbnail(size))
        is_right = width == size and abs(height - size * footage.HEIGHT / footage.WIDTH) <= 1
        _check(f"thumbnail of {width}x{height}", is_right, (width, height))
        shown = frame_number.read_all(_thumbnail(size))
        _check("  it shows the frame at 25 %", shown == [numbers[len(numbers) // 4]], shown)
    thumbnails = {size: _thumbnail(size) for size in SIZES}
    return _report(stack, request, Media(clip, thumbnails), FOLDER / "report.html")


def later_footage(stack: Stack, scratch: Path) -> Page:
    """Makes a clip of footage that arrives after the message, which returns to the queue until then."""
    recording = Recording((time.time_ns() // 1_000_000_000 - 40) * 1000, seconds=20)
    request = Request("demo-awaited", UP_CAMERA, recording.start_ms + 5_000, recording.start_ms + 15_000)
    follower = _send(2, stack, request)
    follower.wait_for(lambda status: status == PENDING, TIMEOUT_SECONDS)
    console.say(f"            now {recording.name} is drawn and stored in the bucket")
    footage.draw([recording], scratch)
    ministack.put_recording(stack.aws_url, scratch / recording.name)
    follower.wait_for(lambda status: status != PENDING, TIMEOUT_SECONDS)
    statuses = follower.statuses
    _check("order of statuses", statuses == [PENDING] * (len(statuses) - 1) + [AVAILABLE], statuses)
    announced = follower.announcement()
    _check("the subscriber received the last metadata", announced == follower.puts[-1], announced)
    thumbnails = {size: scratch / f"{size}.png" for size in SIZES}
    fetch(announced, scratch / "clip.mp4", thumbnails.__getitem__)
    _check_frames(scratch / "clip.mp4", [recording], request)
    return _report(stack, request, Media(scratch / "clip.mp4", thumbnails), FOLDER / "report-awaited.html")


def broken_recording(stack: Stack, scratch: Path) -> Page:
    """Asks for a clip of a file that is not an MP4 file. The report says where and why that fails."""
    start_ms = footage.DEMO[0].start_ms - 3_600_000
    broken = scratch / f"test.{instants.compact(start_ms)}.mp4"
    broken.write_text("This is not a recording.\n")
    ministack.put_recording(stack.aws_url, broken)
    request = Request("demo-broken", UP_CAMERA, start_ms + 5_000, start_ms + 15_000)
    follower = _send(3, stack, request)
    follower.wait_for(lambda status: status == FATAL, TIMEOUT_SECONDS)
    page = _report(stack, request, Media(), FOLDER / "report-broken.html")
    failure = page.document["failure"]
    _check(f"the report names stage and object: {failure['stage']}", broken.name in failure["object"], failure)
    return page


def _report(stack: Stack, request: Request, media: Media, target: Path) -> Page:
    """Writes the report of a request after its end."""
    tries = report.wait_for_documents(
        Path(stack.traces), request.clip_id, lambda document: document["status"] != PENDING
    )
    report.write(tries, media, target)
    frames = len(frame_number.read_all(media.clip)) if media.clip else 0
    planned = tries[-1]["clip"]["frames"] if tries[-1]["clip"] else 0
    _check(f"report of {planned} frames: {target.relative_to(ROOT)}", planned == frames, frames)
    return Page(target, tries[-1])


def _send(number: int, stack: Stack, request: Request) -> RequestFollower:
    console.say(
        f"\n{number} of 4: a message asks for"
        f" {instants.rfc_3339(request.start_ms)} to {instants.rfc_3339(request.end_ms)}"
    )
    return RequestFollower(stack, request)


def _check_frames(clip: Path, recordings: Sequence[Recording], request: Request) -> list[int]:
    """Checks every frame of the clip, and its length. Returns the numbers of its frames."""
    expected = [number for recording in recordings for number in _frames(recording, request.start_ms, request.end_ms)]
    shown = frame_number.read_all(clip)
    first_wrong = next((at for at, pair in enumerate(zip(shown, expected, strict=False)) if pair[0] != pair[1]), None)
    _check(f"clip of {len(shown)} frames, each the right one", shown == expected, f"first wrong: {first_wrong}")
    length = footage.duration_ms(clip)
    _check(f"clip of {length} ms", length == request.end_ms - request.start_ms, length)
    return expected


def _check_date_and_name(url: str, clip: Path, taken_ms: int) -> None:
    """Checks what other programs say of the instant at which the first frame was taken."""
    command = ["mediainfo", "--Inform=General;%Encoded_Date%", str(clip)]
    date = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    second = instants.rfc_3339(taken_ms)[:19].replace("T", " ")
    _check(f"mediainfo says {date}", date in (f"UTC {second}", f"{second} UTC"), second)
    name = download.saved_name(url)
    _check(f"Chromium saves it as {name}", name == f"test-{instants.compact(taken_ms)}Z.mp4", name)


def _frames(recording: Recording, start_ms: int, end_ms: int) -> range:
    """Returns the numbers of the recording's frames with start <= instant < end."""

    def first_at(instant_ms: int) -> int:
        frames_up_to = -((recording.start_ms - instant_ms) * RATE // 1000)
        return min(max(frames_up_to, 0), recording.frames)

    return range(first_at(start_ms), first_at(end_ms))


def _thumbnail(size: int) -> Path:
    return FOLDER / f"thumbnail_{size}.png"


def _png_size(picture: Path) -> tuple[int, int]:
    header = picture.read_bytes()[:24]
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def _write(name: str, value: object) -> None:
    (FOLDER / name).write_text(json.dumps(value, indent=2) + "\n")


def _check(what: str, holds: bool, found: object) -> None:
    if not holds:
        raise RuntimeError(f"check failed: {what}: got {found}")
    console.say(f"     right  {what}")


if __name__ == "__main__":
    main()

"""Asks the running local stack for a clip, by a real message, and brings it to `dist/clips/`."""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from scripts import ROOT
from scripts.local import stack
from scripts.local.following import AVAILABLE, FATAL, PENDING, Following, Request, fetch
from scripts.report import report
from scripts.report.report import Shown
from scripts.shared import console, instants

# Waiting for footage ends after the retry limit; an encoder has its own time.
PATIENCE_SECONDS = 900 + 300


def main() -> None:
    """What `make clip` does."""
    request = _request(_arguments())
    described = stack.find()
    if not described:
        console.fail("no local stack is up: run `make local` in another terminal")
    console.say(
        f"asking for {request.clip_id}: {instants.rfc_3339(request.start_ms)}"
        f" to {instants.rfc_3339(request.end_ms)} of camera {request.camera_id}"
    )
    with console.one_line_errors():
        console.say(f"the function's log: {described.log_file}")
        following = Following(described, request)
        final = following.until(lambda status: status != PENDING, PATIENCE_SECONDS, _tell)
        folder = ROOT / "dist" / "clips" / request.clip_id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shown = Shown() if final["status"] == FATAL else _leave(following, folder)
        tries = report.await_documents(Path(described.traces), request.clip_id, _tells(final["status"], following))
        report.write(tries, shown, folder / "report.html")
        for file in sorted(folder.iterdir()):
            console.say(f"  {file.relative_to(ROOT)}  {file.stat().st_size:,} bytes")
        if final["status"] == FATAL:
            raise RuntimeError("no clip can be made of the footage: the report tells where and why")
    sys.exit(0 if final["status"] == AVAILABLE else 1)


def _leave(following: Following, folder: Path) -> Shown:
    announced = following.announcement()
    (folder / "message.json").write_text(json.dumps(announced, indent=2) + "\n")
    if announced["status"] != AVAILABLE:
        return Shown()
    extension = announced["thumbnail"]["key"].rpartition(".")[2]
    thumbnails = {size: folder / f"thumbnail_{size}.{extension}" for size in announced["thumbnail"]["sizes"]}
    fetch(announced, folder / "clip.mp4", thumbnails.__getitem__)
    return Shown(folder / "clip.mp4", thumbnails)


def _tells(status: str, following: Following) -> Callable[[list[dict]], bool]:
    """Whether the last of some documents tells of this request's end, not of an earlier one's for the same clip."""
    return lambda tries: bool(tries) and tries[-1]["status"] == status and tries[-1]["startedMs"] >= following.sent_ms


def _tell(status: str, elapsed: float) -> None:
    console.say(f"  {elapsed:6.1f} s  {status}")


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--from", dest="start", default="", metavar="TIME")
    arguments.add_argument("--to", dest="end", default="", metavar="TIME")
    arguments.add_argument("--clip", default="", metavar="ID")
    arguments.add_argument("--camera", default="", metavar="ID")
    return arguments.parse_args()


def _request(given: argparse.Namespace) -> Request:
    if not given.start or not given.end:
        console.fail("which span? make clip FROM=2018-09-16T17:39:44.500Z TO=2018-09-16T17:40:44.500Z")
    try:
        start_ms, end_ms = instants.parse(given.start), instants.parse(given.end)
    except ValueError as reason:
        console.fail(str(reason))
    if start_ms >= end_ms:
        console.fail(f"FROM ({given.start}) is not before TO ({given.end})")
    camera_id = given.camera or stack.UP_CAMERA
    clip_id = given.clip or f"{instants.compact(start_ms)}-{instants.compact(end_ms)}"
    for kind, name in (("CLIP", clip_id), ("CAMERA", camera_id)):
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
            console.fail(f"{kind}={name} is no id: 1 to 128 of A-Z a-z 0-9 _ -")
    return Request(clip_id, camera_id, start_ms, end_ms)


if __name__ == "__main__":
    main()

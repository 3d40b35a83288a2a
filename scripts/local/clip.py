"""Asks the running local stack for a clip, and downloads the clip to `dist/clips/`."""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

from scripts import ROOT
from scripts.local import stack
from scripts.local.request_follower import AVAILABLE, FATAL, PENDING, Request, RequestFollower, fetch
from scripts.report import report
from scripts.report.report import Media
from scripts.shared import console, instants

# The function waits for footage up to the retry limit, and encodes for at most 300 s after that.
TIMEOUT_SECONDS = 900 + 300


def main() -> None:
    """Runs `make clip`."""
    request = _request(_arguments())
    described = stack.find()
    if not described:
        console.fail("cannot find a local stack: run `make local` in another terminal")
    console.say(
        f"asking for {request.clip_id}: {instants.rfc_3339(request.start_ms)}"
        f" to {instants.rfc_3339(request.end_ms)} of camera {request.camera_id}"
    )
    with console.one_line_errors():
        console.say(f"log of the function: {described.log_file}")
        follower = RequestFollower(described, request)
        final = follower.wait_for(lambda status: status != PENDING, TIMEOUT_SECONDS)
        folder = ROOT / "dist" / "clips" / request.clip_id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        media = Media() if final["status"] == FATAL else _download(follower, folder)

        def is_last(document: dict) -> bool:
            """Whether the document is of this request's end, and not of an earlier request for the same clip."""
            return document["status"] == final["status"] and document["startedMs"] >= follower.sent_ms

        tries = report.wait_for_documents(Path(described.traces), request.clip_id, is_last)
        report.write(tries, media, folder / "report.html")
        for file in sorted(folder.iterdir()):
            console.say(f"  {file.relative_to(ROOT)}  {file.stat().st_size:,} bytes")
        if final["status"] == FATAL:
            raise RuntimeError("cannot make a clip of the footage: the report says where and why")
    sys.exit(0 if final["status"] == AVAILABLE else 1)


def _download(follower: RequestFollower, folder: Path) -> Media:
    announced = follower.announcement()
    (folder / "message.json").write_text(json.dumps(announced, indent=2) + "\n")
    if announced["status"] != AVAILABLE:
        return Media()
    extension = announced["thumbnail"]["key"].rpartition(".")[2]
    thumbnails = {size: folder / f"thumbnail_{size}.{extension}" for size in announced["thumbnail"]["sizes"]}
    fetch(announced, folder / "clip.mp4", thumbnails.__getitem__)
    return Media(folder / "clip.mp4", thumbnails)


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--from", dest="start", default="", metavar="TIME")
    arguments.add_argument("--to", dest="end", default="", metavar="TIME")
    arguments.add_argument("--clip", default="", metavar="ID")
    arguments.add_argument("--camera", default="", metavar="ID")
    return arguments.parse_args()


def _request(given: argparse.Namespace) -> Request:
    if not given.start or not given.end:
        console.fail("expected a span: make clip FROM=2018-09-16T17:39:44.500Z TO=2018-09-16T17:40:44.500Z")
    start_ms, end_ms = _instant("FROM", given.start), _instant("TO", given.end)
    if start_ms >= end_ms:
        console.fail(f"TO: expected an instant after FROM ({given.start}), got {given.end}")
    camera_id = given.camera or stack.UP_CAMERA
    clip_id = given.clip or f"{instants.compact(start_ms)}-{instants.compact(end_ms)}"
    for setting, name in (("CLIP", clip_id), ("CAMERA", camera_id)):
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
            console.fail(f"{setting}: expected 1 to 128 characters of A-Z a-z 0-9 _ -, got {name}")
    return Request(clip_id, camera_id, start_ms, end_ms)


def _instant(setting: str, text: str) -> int:
    try:
        return instants.parse(text)
    except ValueError as reason:
        console.fail(f"{setting}: {reason}")


if __name__ == "__main__":
    main()

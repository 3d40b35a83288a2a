"""Writes a report of every clip that the local stack makes, whoever asked for it."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.local.request_follower import fetch
from scripts.local.stack import Stack
from scripts.report import report
from scripts.report.report import Media
from scripts.shared import console

POLL_SECONDS = 0.25


@contextmanager
def watching(stack: Stack, folder: Path) -> Iterator[None]:
    """Writes `CLIP.html` into the folder after each try of a clip, until the context ends."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.glob("*.html"):
        page.unlink()
    closing = threading.Event()
    thread = threading.Thread(target=_watch, args=(stack, folder, closing))
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()


def _watch(stack: Stack, folder: Path, closing: threading.Event) -> None:
    seen: set[Path] = set()
    while not closing.wait(POLL_SECONDS):
        for file in sorted(set(Path(stack.traces).glob("[0-9]*.json")) - seen):
            seen.add(file)
            try:
                document = report.read(file)
                page = _write(stack, folder, document["request"]["clipId"])
                console.say(f"  {document['status']}  {page}")
            except (OSError, RuntimeError) as reason:
                console.say(f"  cannot write the report of {file.name}: {reason}")


def _write(stack: Stack, folder: Path, clip_id: str) -> Path:
    tries = report.documents(Path(stack.traces), clip_id)
    announced = next((sent["content"] for sent in tries[-1]["messages"] if sent["to"] == "SNS"), {})
    page = folder / f"{clip_id}.html"
    with tempfile.TemporaryDirectory() as scratch:
        media = Media()
        if "clip" in announced:
            extension = Path(announced["thumbnail"]["key"]).suffix
            sizes = announced["thumbnail"]["sizes"]
            media = Media(Path(scratch) / "clip.mp4", {size: Path(scratch) / f"{size}{extension}" for size in sizes})
            fetch(announced, media.clip, media.thumbnails.__getitem__)
        report.write(tries, media, page)
    return page

"""While the local stack runs: a report of every clip that is asked of it, whoever asked."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.local.following import fetch
from scripts.local.stack import Stack
from scripts.report import report
from scripts.report.report import Shown
from scripts.shared import console

POLL_SECONDS = 0.25


@contextmanager
def written(stack: Stack, folder: Path) -> Iterator[None]:
    """Writes `CLIP.html` into the folder whenever a try of a clip is over, until the close."""
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
                page = _write(stack, folder, report.read(file)["request"]["clipId"])
                console.say(f"  {report.read(file)['status']}  {page}")
            except (OSError, RuntimeError) as reason:
                console.say(f"  no report of {file.name}: {reason}")


def _write(stack: Stack, folder: Path, clip_id: str) -> Path:
    tries = report.documents(Path(stack.traces), clip_id)
    announced = next((said["content"] for said in tries[-1]["messages"] if said["to"] == "SNS"), {})
    page = folder / f"{clip_id}.html"
    with tempfile.TemporaryDirectory() as scratch:
        shown = Shown()
        if "clip" in announced:
            extension = Path(announced["thumbnail"]["key"]).suffix
            sizes = announced["thumbnail"]["sizes"]
            shown = Shown(Path(scratch) / "clip.mp4", {size: Path(scratch) / f"{size}{extension}" for size in sizes})
            fetch(announced, shown.clip, shown.thumbnails.__getitem__)
        report.write(tries, shown, page)
    return page

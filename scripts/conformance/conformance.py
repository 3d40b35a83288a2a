"""Asks the engine for clips of any footage, and holds every frame against a full decode by Debian's ffmpeg.

The folder is searched for MP4 files and for raw streams of H.264 and HEVC, which are put into MP4. Of each file, the
engine is asked for a span inside it, and for one across the file and a copy whose name says that it begins where the
file ends. A row of the table says of each clip:

    exact    every frame is identical to the source's
    encoded  every frame is identical or alike; the least PSNR is given
    missing  the clip lacks only what the engine calls a gap
    FATAL    the engine made no clip, for the reason given; in brackets, why ffmpeg shows no picture either
    WRONG    a frame, a time, the shape or the sound differs from the source's
    skipped  the file has no pictures

Everything about each clip is written to dist/conformance/results.json, with the command that repeats it.
"""

import argparse
import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts import ROOT
from scripts.conformance import film as films
from scripts.conformance import raw_streams, spans, verdict
from scripts.conformance.engine import Engine
from scripts.conformance.film import Film
from scripts.conformance.fragments import one_behind_the_other
from scripts.conformance.spans import START_US, Request
from scripts.conformance.verdict import Verdict
from scripts.shared import console, processes

FOLDER = ROOT / "dist" / "conformance"
MP4 = {".mp4", ".mov", ".m4v", ".qt", ".f4v", ".3gp", ".3g2"}
WORDS = ("exact", "encoded", "missing", "FATAL", "WRONG", "skipped")
# Numbers and names differ from file to file; what remains of a reason is its kind.
FILE = re.compile(r"\S*\.mp4: ")
NUMBER = re.compile(r"(?<![\w.])[-+]?(0x[0-9a-f]+|\d[\d.x:]*)(?!\w)")


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    file: str
    clip: str
    verdict: Verdict
    codec: str = ""
    complaint: str = ""
    command: str = ""

    @property
    def told(self) -> str:
        """The verdict in one line, with the first reason of each kind."""
        firsts = {reason.partition(":")[0]: reason for reason in reversed(self.verdict.reasons)}
        reasons = [*reversed(firsts.values())]
        if self.complaint and self.verdict.word in {"FATAL", "WRONG"}:
            reasons.append(f"(of the source, ffmpeg says: {self.complaint})")
        return " ".join(filter(None, [self.verdict.word, self.verdict.detail, "; ".join(reasons)]))

    @property
    def kinds(self) -> list[str]:
        """What groups the rows: the reasons without particulars."""
        if self.verdict.word != "WRONG":
            foreign = f" ({self.codec})" if self.codec not in {"", "h264", "hevc"} else ""
            kind = NUMBER.sub("N", FILE.sub("", "".join(self.verdict.reasons[:1])))
            return [f"{self.verdict.word}{foreign} {kind}"] if kind else []
        return sorted({f"WRONG {reason.partition(':')[0]}" for reason in self.verdict.reasons})


class Footage:
    """A folder of footage, and the engine that is asked for clips of it."""

    def __init__(self, folder: Path, clip_seconds: float, decode_seconds: float) -> None:
        self._folder = folder
        self._clip_seconds = clip_seconds
        self._seconds = decode_seconds
        self._engine = Engine()

    def files(self) -> list[Path]:
        """Returns the files that may hold footage."""
        suffixes = MP4 | raw_streams.SUFFIXES
        return sorted(file for file in self._folder.rglob("*") if file.is_file() and file.suffix.lower() in suffixes)

    def rows(self, file: Path) -> list[Row]:
        """Judges the clips of one file."""
        name = str(file.relative_to(self._folder))
        work = FOLDER / re.sub(r"[^\w.-]+", "_", name)
        work.mkdir(parents=True)
        try:
            source = self._in_mp4(file, work)
        except RuntimeError as reason:
            return [Row(name, "-", Verdict("skipped", [str(reason)]))]
        try:
            film = films.decode(one_behind_the_other(source, work / "in-order.mp4"), self._seconds)
        except RuntimeError as reason:
            if str(reason) == films.NO_PICTURES:
                return [Row(name, "-", Verdict("skipped", [str(reason)]))]
            # What the engine says of a file that can't be shown; its length is unknown.
            request = Request("any", [START_US], START_US // 1000, START_US // 1000 + 1001)
            return [self._row(name, request, file, str(reason), work)]
        return [self._row(name, request(film), source, film, work) for request in (spans.inside, spans.across)]

    def _in_mp4(self, file: Path, work: Path) -> Path:
        kind = films.container(file, self._seconds)
        if kind not in raw_streams.CONTAINERS:
            # A file that ffmpeg doesn't recognize may be MP4 that is damaged.
            if kind and "mp4" not in kind.split(","):
                raise RuntimeError(f"not MP4, but {kind}")
            return file
        muxed = work / f"{file.stem}.mp4"
        raw_streams.put_into_mp4(file, muxed, self._seconds)
        return muxed

    def _row(self, name: str, request: Request, source: Path, film: Film | str, work: Path) -> Row:
        folder = work / request.name
        folder.mkdir()
        for copy in request.files:
            (folder / copy).symlink_to(source.resolve())
        command = self._engine.command(request.files, request.start_ms, request.end_ms)
        answer = self._engine.cut(command, folder, self._clip_seconds)
        if answer.error:
            shows = f" [{film}]" if isinstance(film, str) else ""
            found = Verdict("FATAL", [answer.error + shows])
        elif isinstance(film, str):
            found = Verdict("WRONG", [f"no reference: {film}"])
        else:
            try:
                clip = films.decode(folder / "clip.mp4", self._seconds)
                found = verdict.of_clip(clip, film, request, answer, self._seconds)
            except RuntimeError as reason:
                found = Verdict("WRONG", [f"clip: {reason}"])
        if found.word in {"exact", "encoded"}:
            shutil.rmtree(folder)
        codec, complaint = ("", "") if isinstance(film, str) else (film.codec, film.complaint)
        return Row(name, request.name, found, codec, complaint, f"cd {folder} && {shlex.join(command)}")


def main() -> None:
    """Runs `make conformance`."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", help="folder of footage")
    arguments.add_argument("--seconds", type=float, default=120, help="time limit of each clip")
    arguments.add_argument("--decode-seconds", type=float, default=900, help="time limit of each full decode")
    arguments.add_argument("--workers", type=int, default=2, help="files that are looked at side by side")
    arguments.add_argument("--only", default="", help="part of the names of the files to look at")
    given = arguments.parse_args()
    processes.end_on_signals()
    if not given.folder or not Path(given.folder).is_dir():
        console.fail(f"FOOTAGE: expected a folder, got {given.folder!r}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with console.one_line_errors():
        footage = Footage(Path(given.folder), given.seconds, given.decode_seconds)
        files = [file for file in footage.files() if given.only in str(file)]
        rows = list(_judge(footage, files, given.workers))
    (FOLDER / "results.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    _summarize(rows)
    if wrong := sum(row.verdict.word == "WRONG" for row in rows):
        console.fail(f"{wrong} of {len(rows)} clips are wrong")


def _judge(footage: Footage, files: Sequence[Path], workers: int) -> Iterator[Row]:
    """Yields the rows in the order of files, and prints each."""
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number, rows in enumerate(pool.map(footage.rows, files), 1):
                for row in rows:
                    console.say(f"{number:4}/{len(files)} {row.file:60} {row.clip:7} {row.told}")
                    yield row
        finally:
            pool.shutdown(cancel_futures=True)


def _summarize(rows: Sequence[Row]) -> None:
    """Prints the number of clips by verdict, and by kind of reason with the files."""
    counts = {word: sum(row.verdict.word == word for row in rows) for word in WORDS}
    console.say(f"\n{len(rows)} clips: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count))
    kinds = sorted((kind, f"{row.file} ({row.clip})") for row in rows for kind in row.kinds)
    for kind, group in itertools.groupby(kinds, key=lambda each: each[0]):
        names = [name for _, name in group]
        console.say(f"{len(names):5}  {kind}")
        for name in names:
            console.say(f"         {name}")


if __name__ == "__main__":
    main()

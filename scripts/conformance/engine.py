"""Asks the engine for clips, with its example program `cut`."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.conformance.programs import TIMED_OUT, run
from scripts.shared import instants

BUILD = ["cargo", "build", "--locked", "-p", "exact-cut", "--example", "cut", "--message-format", "json"]
BUILD_SECONDS = 1800
LAYER_FFMPEG = ROOT / "layers/ffmpeg/opt/bin/ffmpeg"
COUNTS = re.compile(r"^(\d+) frames are copied, (\d+) are encoded$", re.MULTILINE)
GAP = re.compile(r"^  (\S+) no recording shows (\d+)\.(\d{3}) s$", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What the engine said about a clip."""

    error: str = ""
    copied: int = 0
    encoded: int = 0
    gaps: Sequence[tuple[int, int]] = ()  # instants in microseconds


class Engine:
    """The engine, built."""

    def __init__(self) -> None:
        ran = run(BUILD, BUILD_SECONDS, ROOT)
        built = [json.loads(line) for line in ran.output.splitlines() if line.startswith("{")]
        programs = [each["executable"] for each in built if each.get("executable")]
        if ran.code or not programs:
            raise RuntimeError(f"cannot build the engine:\n{ran.errors}")
        self._program = programs[0]

    def command(self, files: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        """Returns the command that cuts a clip out of the files of a folder. It must run in that folder."""
        span = ["--from", instants.rfc_3339(start_ms), "--to", instants.rfc_3339(end_ms), "--out", "clip.mp4"]
        return [self._program, "--ffmpeg", str(LAYER_FFMPEG), *span, *files]

    def cut(self, command: Sequence[str], folder: Path, seconds: float) -> Answer:
        """Runs the command."""
        ran = run(command, seconds, folder)
        if ran.code == TIMED_OUT:
            return Answer(error=f"not done after {seconds:.0f} s")
        if ran.code:
            errors = [line.removeprefix("error: ") for line in ran.errors.splitlines() if line.startswith("error: ")]
            return Answer(error=" ".join(errors) or ran.said)
        counts = COUNTS.search(ran.output)
        gaps = []
        for start, whole, fraction in GAP.findall(ran.output):
            start_us = instants.parse(start) * 1000
            gaps.append((start_us, start_us + int(whole) * 1_000_000 + int(fraction) * 1000))
        return Answer("", int(counts[1]), int(counts[2]), gaps) if counts else Answer(error="no counts of frames")

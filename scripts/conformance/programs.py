"""Runs other programs, each within a time limit."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TIMED_OUT = 124  # exit code of timeout(1)
# Debian's programs, whatever stands before them in PATH.
FFMPEG = ("/usr/bin/ffmpeg", "-nostdin", "-v", "error")
FFPROBE = ("/usr/bin/ffprobe", "-v", "error")


@dataclass(frozen=True)
class Ran:
    """What a program wrote, and how it ended."""

    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """The first line of the errors."""
        return next((line.strip() for line in self.errors.splitlines() if line.strip()), f"exit code {self.code}")


def run(command: Sequence[str | Path], seconds: float, folder: Path | None = None) -> Ran:
    """Runs a program to its end. After the time limit, the program and all that it started are ended."""
    ran = subprocess.run(
        _limited(command, seconds), cwd=folder, check=False, stdin=subprocess.DEVNULL, capture_output=True
    )
    return Ran(ran.returncode, ran.stdout.decode(errors="replace"), ran.stderr.decode(errors="replace"))


@contextmanager
def reading(command: Sequence[str | Path], seconds: float) -> Iterator[IO[bytes]]:
    """Runs a program while its output is read."""
    with subprocess.Popen(
        _limited(command, seconds), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process.stdout
        finally:
            process.terminate()  # timeout(1) passes it on
            process.stdout.close()


def _limited(command: Sequence[str | Path], seconds: float) -> list[str]:
    return ["setpriv", "--pdeathsig", "TERM", "timeout", "-k", "5", f"{seconds:.0f}", *map(str, command)]

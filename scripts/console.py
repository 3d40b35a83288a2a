"""What the scripts say: one error line, one progress line."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


def fail(message: str) -> NoReturn:
    """Ends the script with one clear line."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What goes wrong in the world, and what a script finds wrong, ends it with one line; a bug shows its traceback."""
    try:
        yield
    except (OSError, RuntimeError) as reason:
        fail(str(reason))


def say(message: str = "") -> None:
    """Prints at once, also into a pipe."""
    print(message, flush=True)


class Progress:
    """How far a long step is: one updating line on a terminal, a line every ten percent elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._shown = -1

    def show(self, share: float) -> None:
        """Takes the part that is done, 0 to 1."""
        percent = min(100, int(share * 100))
        step = 1 if sys.stdout.isatty() else 10
        if percent // step == self._shown:
            return
        self._shown = percent // step
        seconds = time.monotonic() - self._started
        line = f"{self._what}: {percent:3d} % ({seconds:.0f} s)"
        if sys.stdout.isatty():
            print(f"\r{line}", end="\n" if percent == 100 else "", flush=True)
        else:
            say(line)

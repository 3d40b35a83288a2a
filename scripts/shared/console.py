"""What the scripts say: one error line, one progress line, and nothing but errors with `-q`."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_quiet = False


def parse(arguments: argparse.ArgumentParser) -> argparse.Namespace:
    """Reads a long command's arguments, with `-q` among them."""
    global _quiet  # noqa: PLW0603 - there is one screen
    arguments.add_argument("-q", "--quiet", action="store_true", help="say only what goes wrong")
    given = arguments.parse_args()
    _quiet = given.quiet
    return given


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
    if not _quiet:
        print(message, flush=True)


class Progress:
    """How far a long step is, in one updating line; a pipe has no use for it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._shown = -1

    def show(self, share: float) -> None:
        """Takes the part that is done, 0 to 1."""
        percent = min(100, int(share * 100))
        if _quiet or not sys.stdout.isatty() or percent == self._shown:
            return
        self._shown = percent
        seconds = time.monotonic() - self._started
        print(f"\r{self._what}: {percent:3d} % ({seconds:.0f} s)", end="\n" if percent == 100 else "", flush=True)

"""Prints the scripts' messages. An error takes one line, and with `-q` only errors are printed."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_quiet = False


def parse(arguments: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses the arguments of a long command, and adds `-q` to them."""
    global _quiet  # noqa: PLW0603 - there is one screen
    arguments.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    given = arguments.parse_args()
    _quiet = given.quiet
    return given


def fail(message: str) -> NoReturn:
    """Ends the script with a one-line error."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns an `OSError` or a `RuntimeError` into a one-line error. Other exceptions are bugs and show a traceback."""
    try:
        yield
    except (OSError, RuntimeError) as reason:
        fail(str(reason))


def say(message: str = "") -> None:
    """Prints a line and flushes it, so that a pipe receives it at once."""
    if not _quiet:
        print(message, flush=True)


class Progress:
    """The progress of a long step, in one line that is rewritten. Nothing is printed into a pipe."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._printed = -1

    def show(self, share: float) -> None:
        """Prints how much is done, from 0 to 1."""
        percent = min(100, int(share * 100))
        if _quiet or not sys.stdout.isatty() or percent == self._printed:
            return
        self._printed = percent
        seconds = time.monotonic() - self._started
        print(f"\r{self._what}: {percent:3d} % ({seconds:.0f} s)", end="\n" if percent == 100 else "", flush=True)

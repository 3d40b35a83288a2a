"""Starts other programs so that none of them outlives the script."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

GRACE_SECONDS = 3


def end_on_signals() -> None:
    """Turns SIGINT and SIGTERM into a `SystemExit`, so that every `finally` runs."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)


def wait_for_signal() -> None:
    """Sleeps until somebody wants this script to end."""
    with suppress(SystemExit):
        signal.pause()


@contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str] | None = None, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program in a session of its own, and ends it with all that it started at the close.

    Should this script be killed, the kernel ends the program.
    """
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end_family(process)


def _end_family(leader: subprocess.Popen[bytes]) -> None:
    family = _family({leader.pid})
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, kind)
        give_up = time.monotonic() + GRACE_SECONDS
        while leader.poll() is None or family:
            if time.monotonic() > give_up:
                break
            time.sleep(0.02)
            family = _family(family)


def _family(known: set[int]) -> set[int]:
    """Those of the known processes that live, with all that they started.

    Neither process groups nor sessions tell: programs start others in groups and sessions of their own.
    """
    processes = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything but ends with the last ")": state, parent, group, session.
            state, parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            processes[int(stat.parent.name)] = {int(parent), int(session)}
    found = known & processes.keys()
    while more := {pid for pid, elders in processes.items() if elders & (found | known)} - found:
        found |= more
    return found

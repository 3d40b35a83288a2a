"""Starts other programs in such a way that they end with the script."""

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
    """Turns SIGINT, SIGTERM and SIGHUP into a `SystemExit`, so that every `finally` runs."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)


def wait_for_signal() -> None:
    """Sleeps until a signal ends the script."""
    with suppress(SystemExit):
        signal.pause()


@contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str] | None = None, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program until the context ends, then ends it and every process that it started.

    The program gets a session of its own. If the script is killed, the kernel ends the program.
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
    """Returns the known processes that still run, with every process that they started.

    Process groups and sessions do not suffice: programs start others in groups and sessions of their own.
    """
    processes = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name may hold any character, but ")" ends it. Then follow state, parent, group and session.
            state, parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            processes[int(stat.parent.name)] = {int(parent), int(session)}
    found = known & processes.keys()
    while more := {pid for pid, elders in processes.items() if elders & (found | known)} - found:
        found |= more
    return found

"""Runs the function's own binary behind an implementation of Lambda's Runtime API.

The API records exactly when it hands an event over and when the response arrives, and what the invocation cost.
"""

import json
import os
import queue
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

from scripts.shared import http_servers, processes
from scripts.shared.http_servers import QuietHandler

START_SECONDS = 20
RESPONSE_SECONDS = 600
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Response:
    """The function's response to an event, and what the invocation cost."""

    ok: bool
    body: object
    wall_ms: float
    cpu_ms: float
    peak_rss_mb: float
    log: list[dict]


class Function:
    """The running function. It handles one event at a time, as on Lambda."""

    def __init__(self, api: "RuntimeApi", pid: int, log_file: Path) -> None:
        self._api = api
        self._pid = pid
        self._log_file = log_file

    def invoke(self, event: object) -> Response:
        """Hands an event over and waits for the response."""
        log_start = self._log_file.stat().st_size
        # Resets the peak of the resident memory, and nothing else (proc(5), clear_refs).
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")
        cpu = self._cpu_ms()
        self._api.events.put(json.dumps(event).encode())
        try:
            ok, body, handed_over, responded = self._api.responses.get(timeout=RESPONSE_SECONDS)
        except queue.Empty:
            raise TimeoutError(
                f"expected a response within {RESPONSE_SECONDS} s, got none: see {self._log_file}"
            ) from None
        return Response(
            ok=ok,
            body=body,
            wall_ms=(responded - handed_over) * 1000,
            cpu_ms=self._cpu_ms() - cpu,
            peak_rss_mb=memory_mb(self._pid, "VmHWM"),
            log=self._log_since(log_start),
        )

    def _cpu_ms(self) -> float:
        """Returns the user and system time of the function and of all children that it waited for."""
        after_name = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:15])) * 1000 / CLOCK_TICKS

    def _log_since(self, position: int) -> list[dict]:
        with self._log_file.open("rb") as file:
            file.seek(position)
            lines = file.read().splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{")]


@contextmanager
def running(bootstrap: Path, environment: Mapping[str, str], log_file: Path) -> Iterator[Function]:
    """Runs the function until the context ends."""
    with (
        http_servers.serving(RuntimeApi()) as api,
        log_file.open("wb") as log,
        processes.running([str(bootstrap)], api.environment | environment, log) as process,
    ):
        give_up = time.monotonic() + START_SECONDS
        while not api.requested.qsize():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"cannot start the function: see {log_file}")
            time.sleep(0.01)
        yield Function(api, process.pid, log_file)


class RuntimeApi(ThreadingHTTPServer):
    """The part of https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html that one function needs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[bytes] = queue.Queue()
        # Success, body, and the times (`perf_counter`) of the event and of its response.
        self.responses: queue.Queue[tuple[bool, object, float, float]] = queue.Queue()
        # The times at which the function requested an event.
        self.requested: queue.Queue[float] = queue.Queue()
        self.handed_over = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """The variables that Lambda itself sets."""
        return {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048",
            "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
            "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        }


class _Handler(QuietHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        """Hands over the next event."""
        self.server.requested.put(time.perf_counter())
        event = self.server.events.get()
        self.send_response(HTTPStatus.OK)
        for name, value in {
            "Lambda-Runtime-Aws-Request-Id": "00000000-0000-0000-0000-000000000000",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 900_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-west-1:000000000000:function:bench",
            "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
            "Content-Type": "application/json",
            "Content-Length": str(len(event)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(event)
        self.server.handed_over = time.perf_counter()
        self.wfile.flush()

    def do_POST(self) -> None:
        """Takes a response or an error."""
        body = self.read_body()
        responded = time.perf_counter()
        self.send_response(HTTPStatus.ACCEPTED)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        ok = self.path.endswith("/response")
        self.server.responses.put((ok, json.loads(body or b"null"), self.server.handed_over, responded))


def memory_mb(pid: int, field: str) -> float:
    """Returns a memory figure of a process in MiB, by its name in `/proc/PID/status`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024

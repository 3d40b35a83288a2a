"""The function's own binary behind a Lambda Runtime API of ours.

So it is known to the microsecond when an event is handed over and when its answer is there, and what it cost.
"""

import json
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from scripts.shared import processes

START_SECONDS = 20
ANSWER_SECONDS = 600
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Answer:
    """What came of one event."""

    ok: bool
    body: object
    wall_ms: float
    cpu_ms: float
    peak_rss_mb: float
    log: list[dict]


class Function:
    """The running function. One event at a time, as Lambda has it."""

    def __init__(self, api: "RuntimeApi", pid: int, log_file: Path) -> None:
        self._api = api
        self._proc = Path(f"/proc/{pid}")
        self._log_file = log_file

    def answer(self, event: object) -> Answer:
        """Hands `event` over and waits for the answer."""
        logged = self._log_file.stat().st_size
        # Only the peak starts anew; the kernel takes 5 for just that (proc(5), clear_refs).
        (self._proc / "clear_refs").write_text("5")
        cpu = self._cpu_ms()
        self._api.events.put(json.dumps(event).encode())
        try:
            ok, body, handed_over, answered = self._api.answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS} s: see {self._log_file}") from None
        return Answer(
            ok=ok,
            body=body,
            wall_ms=(answered - handed_over) * 1000,
            cpu_ms=self._cpu_ms() - cpu,
            peak_rss_mb=self._peak_rss_mb(),
            log=self._log_since(logged),
        )

    def _cpu_ms(self) -> float:
        """Of the function and of all children it has waited for, user and system."""
        after_name = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:15])) * 1000 / CLOCK_TICKS

    def _peak_rss_mb(self) -> float:
        status = (self._proc / "status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def _log_since(self, position: int) -> list[dict]:
        with self._log_file.open("rb") as file:
            file.seek(position)
            lines = file.read().splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{")]


@contextmanager
def running(bootstrap: Path, environment: Mapping[str, str], log_file: Path) -> Iterator[Function]:
    """Runs the function until the close."""
    with (
        RuntimeApi.serving() as api,
        log_file.open("wb") as log,
        processes.running([str(bootstrap)], api.environment | environment, log) as process,
    ):
        give_up = time.monotonic() + START_SECONDS
        while not api.asked.qsize():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the function did not start: see {log_file}")
            time.sleep(0.01)
        yield Function(api, process.pid, log_file)


class RuntimeApi(ThreadingHTTPServer):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, as far as one function needs it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[bytes] = queue.Queue()
        self.answers: queue.Queue[tuple[bool, object, float, float]] = queue.Queue()
        # When it asked for work, each time.
        self.asked: queue.Queue[float] = queue.Queue()
        self.handed_over = 0.0

    @classmethod
    @contextmanager
    def serving(cls) -> Iterator["RuntimeApi"]:
        """Serves until the close."""
        with cls() as api:
            threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            try:
                yield api
            finally:
                api.shutdown()

    @property
    def environment(self) -> dict[str, str]:
        """What Lambda sets for a function."""
        return {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048",
            "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
            "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        }


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """The function asks for the next event."""
        self.server.asked.put(time.perf_counter())
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
        """The function answers, or says why it can't."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answered = time.perf_counter()
        self.send_response(HTTPStatus.ACCEPTED)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        ok = self.path.endswith("/response")
        self.server.answers.put((ok, json.loads(body or b"null"), self.server.handed_over, answered))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not worth a line each."""

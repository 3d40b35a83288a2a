"""A proxy in front of S3 that counts what passes: so what the function fetched is known from outside."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CHUNK = 256 << 10


@dataclass
class Count:
    """What has passed: requests, and by path the bytes of answers to GET, without their headers."""

    requests: int = 0
    _got: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Begins anew."""
        with self._lock:
            self.requests = 0
            self._got.clear()

    def add(self, method: str, path: str, answered_bytes: int) -> None:
        """Adds a request."""
        with self._lock:
            self.requests += 1
            if method == "GET":
                self._got[path] += answered_bytes

    def fetched(self, bucket: str) -> int:
        """Bytes of objects of `bucket` that were sent to whoever asked."""
        with self._lock:
            return sum(count for path, count in self._got.items() if path.startswith(f"/{bucket}/"))


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.count = Count()


@contextmanager
def counting(upstream: str) -> Iterator[tuple[str, Count]]:
    """Passes everything on to `upstream` until the close: tells the proxy's URL, and counts."""
    with _Proxy(upstream) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}", proxy.count
        finally:
            proxy.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._upstream = HTTPConnection(self.server.upstream, blocksize=CHUNK)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def _pass_on(self) -> None:
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            # What was expected has been answered already.
            if name.lower() != "expect":
                self._upstream.putheader(name, value)
        self._upstream.endheaders()
        left = int(self.headers.get("Content-Length", 0))
        while left and (chunk := self.rfile.read(min(left, CHUNK))):
            self._upstream.send(chunk)
            left -= len(chunk)
        answer = self._upstream.getresponse()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.end_headers()
        sent = 0
        try:
            while chunk := answer.read(CHUNK):
                sent += len(chunk)
                self.wfile.write(chunk)
        finally:
            self.server.count.add(self.command, self.path, sent)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not worth a line each."""

"""Runs a proxy in front of S3 that counts requests and bytes, so that the function's own figures are not needed."""

import collections
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

from scripts.shared import http_servers
from scripts.shared.http_servers import QuietHandler

CHUNK = 256 << 10


@dataclass
class Counter:
    """The number of requests, and the bytes of the bodies that GET returned, by path."""

    requests: int = 0
    _bytes: collections.Counter[str] = field(default_factory=collections.Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Starts again from 0."""
        with self._lock:
            self.requests = 0
            self._bytes.clear()

    def add(self, method: str, path: str, body_bytes: int) -> None:
        """Counts a request."""
        with self._lock:
            self.requests += 1
            if method == "GET":
                self._bytes[path] += body_bytes

    def fetched(self, bucket: str) -> int:
        """Returns the bytes that GET returned of a bucket's objects."""
        with self._lock:
            return sum(count for path, count in self._bytes.items() if path.startswith(f"/{bucket}/"))


class _Proxy(ThreadingHTTPServer):
    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.counter = Counter()


@contextmanager
def counting(upstream: str) -> Iterator[tuple[str, Counter]]:
    """Forwards everything to `upstream` until the context ends. Yields the URL of the proxy, and the counter."""
    with http_servers.serving(_Proxy(upstream)) as proxy:
        yield f"http://127.0.0.1:{proxy.server_port}", proxy.counter


class _Handler(QuietHandler):
    server: _Proxy
    wbufsize = 0  # large bodies pass through without a copy

    def setup(self) -> None:
        super().setup()
        self._upstream = HTTPConnection(self.server.upstream, blocksize=CHUNK)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def _forward(self) -> None:
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            # The server has answered `Expect: 100-continue` already.
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
            self.server.counter.add(self.command, self.path, sent)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

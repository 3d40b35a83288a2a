"""Runs Debian's Chromium without a window, and a server for the files that it opens."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

from scripts.shared import http_servers

CHROMIUM, DRIVER = "chromium", "chromedriver"
# Chromium plays without a click, and sends nothing of its own over the network.
SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # root and containers cannot use it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
CHUNK = 1 << 20


@contextmanager
def running() -> Iterator[WebDriver]:
    """Runs Chromium with a new profile until the context ends, and keeps its console."""
    paths = [shutil.which(program) for program in (CHROMIUM, DRIVER)]
    if None in paths:
        raise RuntimeError(f"cannot start a browser: {CHROMIUM} or {DRIVER} is missing: make install")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = paths[0]
        for switch in (*SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service(paths[1]))
        try:
            yield driver
        finally:
            driver.quit()


@contextmanager
def serving(folder: Path, page: Path) -> Iterator[str]:
    """Serves a page and the files of a folder, with byte ranges for seeking. Yields the URL of the page."""
    handler = partial(_Handler, directory=str(folder), page=page)
    with http_servers.serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/{page.name}"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: object, page: Path, **more: object) -> None:
        self._page = page
        super().__init__(*arguments, **more)

    def handle(self) -> None:
        """Handles the requests of a connection. The browser breaks it when it needs no more bytes."""
        with suppress(ConnectionError):
            super().handle()

    def translate_path(self, path: str) -> str:
        """Returns the file of a path."""
        return str(self._page) if path == f"/{self._page.name}" else super().translate_path(path)

    def do_GET(self) -> None:
        """Sends a file, or one range of it (RFC 9110, section 14)."""
        path = Path(self.translate_path(self.path))
        requested = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not requested or not path.is_file():
            super().do_GET()
            return
        length = path.stat().st_size
        first, last = int(requested[1]), min(int(requested[2] or length), length - 1)
        if first > last:
            self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{length}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            left = last - first + 1
            while left and (part := file.read(min(left, CHUNK))):
                self.wfile.write(part)
                left -= len(part)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Prints nothing."""

"""A camera API whose answers can be held back, so that a test controls what is in progress."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

from scripts.shared import http_servers, instants
from scripts.shared.http_servers import QuietHandler

CAMERA = "1111111111111"
RECORDING = "test.20180916T173017000.mp4"
START_MS = 1_537_119_017_000
TIMEOUT_SECONDS = 60
# The self-check asks for this camera, and is never held back.
SELF_CHECK = "self-check"


@dataclass
class CameraApi:
    """Records the metadata that it receives, and holds its answers while `gate` is not set."""

    url: str = ""
    # Name, start and end of each recording, by camera.
    cameras: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    puts: list[dict] = field(default_factory=list)
    received: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, clip: str, wanted: Callable[[str], bool] = bool) -> dict:
        """Waits for the metadata of a clip with a wanted status."""

        def found() -> dict | None:
            return next((put for put in self.puts if put["clipId"] == clip and wanted(put["status"])), None)

        with self.received:
            put = self.received.wait_for(found, TIMEOUT_SECONDS)
        assert put, f"expected metadata of clip {clip}, got {self.puts}"
        return put


@contextmanager
def serving() -> Iterator[CameraApi]:
    api = CameraApi(cameras={CAMERA: [(RECORDING, START_MS, START_MS + 5000)]})
    api.gate.set()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            *_, kind, camera = urlsplit(self.path).path.split("/")
            if camera != SELF_CHECK:
                api.asked.set()
                api.gate.wait(TIMEOUT_SECONDS)
            if camera not in api.cameras:
                return self.send_json(HTTPStatus.NOT_FOUND, {})
            if kind == "cameras":
                return self.send_json(HTTPStatus.OK, {"alias": camera})
            listed = [
                {
                    "recordingUrl": f"https://rewinds.test/{name}",
                    "startDate": instants.rfc_3339(start),
                    "endDate": instants.rfc_3339(end),
                }
                for name, start, end in api.cameras[camera]
            ]
            return self.send_json(HTTPStatus.OK, listed)

        def do_PUT(self) -> None:
            put = json.loads(self.read_body())
            with api.received:
                api.puts.append(put)
                api.received.notify_all()
            self.send_json(HTTPStatus.OK, {})

    with http_servers.serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        yield api
        api.gate.set()

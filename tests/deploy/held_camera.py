"""A camera API whose answers can be held back, so that a test knows what is under way."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from scripts.shared import instants

CAMERA = "1111111111111"
RECORDING = "test.20180916T173017000.mp4"
START_MS = 1_537_119_017_000
PATIENCE_SECONDS = 60


@dataclass
class CameraApi:
    """Remembers what it is told, and holds its answers while its gate is shut."""

    url: str = ""
    # By camera: each recording's name, and from when to when it is said to last.
    cameras: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    puts: list[dict] = field(default_factory=list)
    told: threading.Condition = field(default_factory=threading.Condition)

    def until(self, clip: str, wanted: Callable[[str], bool] = bool) -> dict:
        """What is told of a clip, once its status is a wanted one."""

        def found() -> dict | None:
            return next((put for put in self.puts if put["clipId"] == clip and wanted(put["status"])), None)

        with self.told:
            put = self.told.wait_for(found, PATIENCE_SECONDS)
        assert put, f"nothing came of clip {clip}; the camera API was told {self.puts}"
        return put


@contextmanager
def serving() -> Iterator[CameraApi]:
    api = CameraApi(cameras={CAMERA: [(RECORDING, START_MS, START_MS + 5000)]})
    api.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.asked.set()
            api.gate.wait(PATIENCE_SECONDS)
            *_, kind, camera = urlsplit(self.path).path.split("/")
            if camera not in api.cameras:
                return self.answer({}, 404)
            if kind == "cameras":
                return self.answer({"alias": camera})
            listed = [
                {
                    "recordingUrl": f"https://rewinds.test/{name}",
                    "startDate": instants.rfc_3339(start),
                    "endDate": instants.rfc_3339(end),
                }
                for name, start, end in api.cameras[camera]
            ]
            return self.answer(listed)

        def do_PUT(self) -> None:
            put = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with api.told:
                api.puts.append(put)
                api.told.notify_all()
            self.answer({})

        def answer(self, value: object, status: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield api
    api.gate.set()
    server.shutdown()
    server.server_close()

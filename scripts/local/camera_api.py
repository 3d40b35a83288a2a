"""The camera API, for one machine: what cameras there are, what they recorded, what became of clips.

Recordings are whatever lies in the bucket at the moment of the question. A clip's metadata is kept each time it is
PUT, in order. The paths in the URLs it tells lead to the stored files, as a content delivery network's would.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from scripts.local.stack import DOWN_CAMERA, UP_CAMERA
from scripts.shared import instants

ALIASES = {UP_CAMERA: "test", DOWN_CAMERA: "test_down"}
# S3 object metadata that tells a recording's length; without it, the usual length is taken.
DURATION_METADATA = "duration-ms"
USUAL_DURATION_MS = 600_000


@dataclass
class Footage:
    """The recordings in the bucket."""

    s3: Any
    bucket: str
    prefix: str
    _durations: dict[str, int] = field(default_factory=dict)

    def spans(self) -> list[tuple[int, int, str]]:
        """Start, end and name of every recording, newest first."""
        found = []
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/"):
            for entry in page.get("Contents", []):
                name = entry["Key"].rpartition("/")[2]
                start = instants.of_recording(name)
                if start is not None:
                    found.append((start, start + self._duration(entry["Key"], entry["ETag"]), name))
        return sorted(found, reverse=True)

    def _duration(self, key: str, etag: str) -> int:
        version = key + etag
        if version not in self._durations:
            metadata = self.s3.head_object(Bucket=self.bucket, Key=key)["Metadata"]
            self._durations[version] = int(metadata.get(DURATION_METADATA, USUAL_DURATION_MS))
        return self._durations[version]


class CameraApi(ThreadingHTTPServer):
    """The server, with all that it remembers."""

    daemon_threads = True

    def __init__(self, port: int, footage: Footage, s3_url: str, clips_bucket: str, history_file: Path) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.footage = footage
        self.recordings_url = f"{s3_url}/{footage.bucket}/{footage.prefix}"
        self.clips_url = f"{s3_url}/{clips_bucket}"
        self._history_file = history_file
        self._clips: dict[str, list[dict]] = {}
        self._lock = threading.Lock()

    def keep(self, clip_id: str, metadata: dict) -> None:
        """Remembers what is said of a clip."""
        with self._lock:
            self._clips.setdefault(clip_id, []).append(metadata)
            with self._history_file.open("a") as file:
                file.write(json.dumps(metadata) + "\n")

    def history(self, clip_id: str) -> list[dict]:
        """All that was said of a clip, in order."""
        with self._lock:
            return list(self._clips.get(clip_id, []))


@contextmanager
def serving(server: CameraApi) -> Iterator[CameraApi]:
    """Serves on a thread of its own until the close."""
    with server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: CameraApi
    protocol_version = "HTTP/1.1"
    # An answer leaves at once and whole: in two parts the second would wait 40 ms for the first's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        match unquote(url.path).strip("/").split("/"):
            case ["cameras", "recording", alias]:
                self._answer_recordings(alias, parse_qs(url.query))
            case ["cameras", "clips", clip_id, "history"]:
                self._answer(HTTPStatus.OK, self.server.history(clip_id))
            case ["cameras", "clips", clip_id]:
                self._answer_if_any(self.server.history(clip_id)[-1:])
            case ["cameras", camera_id]:
                self._answer_if_any([_camera(camera_id)] if camera_id in ALIASES else [])
            case [alias, name] if alias in ALIASES.values():
                self._redirect(f"{self.server.recordings_url}/{quote(name)}")
            case [camera_id, name]:
                self._redirect(f"{self.server.clips_url}/{quote(camera_id)}/{quote(name)}")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, {"message": "no such thing"})

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match unquote(urlsplit(self.path).path).strip("/").split("/"):
            case ["cameras", "clips", clip_id]:
                metadata = _json_object(body)
                if metadata is None:
                    self._answer(HTTPStatus.BAD_REQUEST, {"message": "the body is no JSON object"})
                    return
                self.server.keep(clip_id, metadata)
                self._answer(HTTPStatus.OK, metadata)
            case _:
                self._answer(HTTPStatus.NOT_FOUND, {"message": "no such thing"})

    def _answer_recordings(self, alias: str, query: dict[str, list[str]]) -> None:
        if alias not in ALIASES.values():
            self._answer(HTTPStatus.NOT_FOUND, {"message": "no such camera"})
            return
        try:
            start, end = int(query["startDate"][0]), int(query["endDate"][0])
        except (KeyError, ValueError):
            self._answer(HTTPStatus.BAD_REQUEST, {"message": "startDate and endDate are wanted, in ms"})
            return
        partial = query.get("allowPartialMatch") == ["true"]
        spans = self.server.footage.spans() if alias == ALIASES[UP_CAMERA] else []
        matches = [
            self._recording(alias, *span)
            for span in spans
            if (span[0] < end and start < span[1] if partial else span[0] <= start and end <= span[1])
        ]
        self._answer(HTTPStatus.OK, matches)

    def _recording(self, alias: str, start: int, end: int, name: str) -> dict[str, str]:
        url = f"{self.server.url}/{alias}/{quote(name.removesuffix('.mp4'))}"
        return {
            "startDate": instants.rfc_3339(start),
            "endDate": instants.rfc_3339(end),
            "thumbLargeUrl": f"{url}_full.jpg",
            "recordingUrl": f"{url}.mp4",
            "thumbSmallUrl": f"{url}_small.jpg",
            "alias": alias,
        }

    def _redirect(self, url: str) -> None:
        self.send_response(HTTPStatus.TEMPORARY_REDIRECT)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer_if_any(self, values: list[Any]) -> None:
        if values:
            self._answer(HTTPStatus.OK, values[0])
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"message": "no such thing"})

    def _answer(self, status: HTTPStatus, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not worth a line each."""


def _camera(camera_id: str) -> dict[str, str | bool]:
    return {"cameraId": camera_id, "alias": ALIASES[camera_id], "isDown": camera_id == DOWN_CAMERA}


def _json_object(body: bytes) -> dict | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

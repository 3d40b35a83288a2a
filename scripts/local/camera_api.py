"""Serves the camera API on this machine: cameras, their recordings, and the metadata of clips.

The recordings are the objects in the bucket at the time of the request. All metadata that is PUT for a clip is kept,
in order. The URLs in the answers redirect to the stored files, in place of a content delivery network.
"""

import json
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from scripts.local.stack import DOWN_CAMERA, UP_CAMERA
from scripts.shared import instants
from scripts.shared.http_servers import QuietHandler

ALIASES = {UP_CAMERA: "test", DOWN_CAMERA: "test_down"}
# S3 object metadata that holds the duration of a recording.
DURATION_METADATA = "duration-ms"
DEFAULT_DURATION_MS = 600_000


@dataclass
class Footage:
    """The recordings in the bucket."""

    s3: Any
    bucket: str
    prefix: str
    _durations: dict[str, int] = field(default_factory=dict)

    def spans(self) -> list[tuple[int, int, str]]:
        """Returns start, end and name of every recording, newest first."""
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
            self._durations[version] = int(metadata.get(DURATION_METADATA, DEFAULT_DURATION_MS))
        return self._durations[version]


class CameraApi(ThreadingHTTPServer):
    """The server and the metadata that it received."""

    def __init__(self, port: int, footage: Footage, s3_url: str, clips_bucket: str, history_file: Path) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.footage = footage
        self.recordings_url = f"{s3_url}/{footage.bucket}/{footage.prefix}"
        self.clips_url = f"{s3_url}/{clips_bucket}"
        self._history_file = history_file
        self._clips: dict[str, list[dict]] = {}
        self._lock = threading.Lock()

    def record(self, clip_id: str, metadata: dict) -> None:
        """Keeps the metadata of a clip."""
        with self._lock:
            self._clips.setdefault(clip_id, []).append(metadata)
            with self._history_file.open("a") as file:
                file.write(json.dumps(metadata) + "\n")

    def history(self, clip_id: str) -> list[dict]:
        """Returns all metadata of a clip, in order."""
        with self._lock:
            return list(self._clips.get(clip_id, []))


class _Handler(QuietHandler):
    server: CameraApi

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        match unquote(url.path).strip("/").split("/"):
            case ["cameras", "recording", alias]:
                self._answer_recordings(alias, parse_qs(url.query))
            case ["cameras", "clips", clip_id, "history"]:
                self.send_json(HTTPStatus.OK, self.server.history(clip_id))
            case ["cameras", "clips", clip_id]:
                self._answer_if_any(self.server.history(clip_id)[-1:])
            case ["cameras", camera_id]:
                self._answer_if_any([_camera(camera_id)] if camera_id in ALIASES else [])
            case [alias, name] if alias in ALIASES.values():
                self._redirect(f"{self.server.recordings_url}/{quote(name)}")
            case [camera_id, name]:
                self._redirect(f"{self.server.clips_url}/{quote(camera_id)}/{quote(name)}")
            case _:
                self.send_json(HTTPStatus.NOT_FOUND, {"message": "not found"})

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        body = self.read_body()
        match unquote(urlsplit(self.path).path).strip("/").split("/"):
            case ["cameras", "clips", clip_id]:
                metadata = _json_object(body)
                if metadata is None:
                    self.send_json(HTTPStatus.BAD_REQUEST, {"message": "expected a JSON object"})
                    return
                self.server.record(clip_id, metadata)
                self.send_json(HTTPStatus.OK, metadata)
            case _:
                self.send_json(HTTPStatus.NOT_FOUND, {"message": "not found"})

    def _answer_recordings(self, alias: str, query: dict[str, list[str]]) -> None:
        if alias not in ALIASES.values():
            self.send_json(HTTPStatus.NOT_FOUND, {"message": "unknown camera"})
            return
        try:
            start, end = int(query["startDate"][0]), int(query["endDate"][0])
        except (KeyError, ValueError):
            self.send_json(HTTPStatus.BAD_REQUEST, {"message": "expected startDate and endDate in ms"})
            return
        partial = query.get("allowPartialMatch") == ["true"]
        spans = self.server.footage.spans() if alias == ALIASES[UP_CAMERA] else []
        matches = [
            self._recording(alias, *span)
            for span in spans
            if (span[0] < end and start < span[1] if partial else span[0] <= start and end <= span[1])
        ]
        self.send_json(HTTPStatus.OK, matches)

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
            self.send_json(HTTPStatus.OK, values[0])
        else:
            self.send_json(HTTPStatus.NOT_FOUND, {"message": "not found"})


def _camera(camera_id: str) -> dict[str, str | bool]:
    return {"cameraId": camera_id, "alias": ALIASES[camera_id], "isDown": camera_id == DOWN_CAMERA}


def _json_object(body: bytes) -> dict | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

"""What these tests run against: the packages as built, a ministack of their own, and a camera API that can be held."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import instants
import local_aws
import package
import pytest
import stack
from stack import ROOT

CAMERA = "1111111111111"
RECORDING = "test.20180916T173017000.mp4"
START_MS = 1_537_119_017_000
PATIENCE_SECONDS = 60
FFMPEG = ROOT / "layers/ffmpeg/opt/bin/ffmpeg"


@pytest.fixture(scope="session")
def packages() -> None:
    for file in (package.FUNCTION_ZIP, package.LAYER_ZIP):
        assert file.is_file(), f"{file} is missing: make build"


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five seconds of a small picture."""
    file = tmp_path_factory.mktemp("recording") / RECORDING
    source = "testsrc=size=192x108:rate=25:duration=5"
    encode = ["-c:v", "libx264", "-g", "25", "-pix_fmt", "yuv420p"]
    draw = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, *encode, str(file)]
    subprocess.run(draw, check=True)
    return file.read_bytes()


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


@pytest.fixture
def camera_api() -> Iterator[CameraApi]:
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


@dataclass
class Cloud:
    """AWS on this machine, and a person at work with it."""

    url: str
    folder: Path
    log_file: Path

    def client(self, service: str) -> Any:  # noqa: ANN401
        return stack.client(self.url, service)

    def run(self, script: str, *arguments: str, succeeds: bool = True, **variables: str) -> str:
        """What a script says, on both of its outputs."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": stack.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": stack.ACCESS_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / script), *arguments],
            env=environment | variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == succeeds, (
            f"{script} {' '.join(arguments)} ended with {done.returncode}:\n{said}"
        )
        return said

    def write_env_file(self, variables: Mapping[str, str]) -> str:
        file = self.folder / f"env-{time.monotonic_ns()}"
        file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        return str(file)


@pytest.fixture
def cloud(packages: None, tmp_path: Path) -> Iterator[Cloud]:
    log_file = tmp_path / "ministack.log"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with local_aws.ministack(local_aws.free_port(0), scratch, log_file) as url:
        yield Cloud(url, tmp_path, log_file)

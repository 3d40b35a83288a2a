"""Fixtures: the packages as built, a ministack for each test, and a camera API whose answers can be held back."""

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import held_camera
from cloud import Cloud
from held_camera import RECORDING, CameraApi
from scripts.function import package
from scripts.local import ministack
from system import System


@pytest.fixture(scope="session")
def packages() -> None:
    for file in (package.FUNCTION_ZIP, package.LAYER_ZIP):
        assert file.is_file(), f"cannot read {file}: no such file: make build"


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording of five seconds with a small picture."""
    file = tmp_path_factory.mktemp("recording") / RECORDING
    source = "testsrc=size=192x108:rate=25:duration=5"
    encode = ["-c:v", "libx264", "-g", "25", "-pix_fmt", "yuv420p"]
    draw = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, *encode, str(file)]
    subprocess.run(draw, check=True)
    return file.read_bytes()


@pytest.fixture
def camera_api() -> Iterator[CameraApi]:
    with held_camera.serving() as api:
        yield api


@pytest.fixture
def cloud(packages: None, tmp_path: Path) -> Iterator[Cloud]:
    log_file = tmp_path / "ministack.log"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with ministack.running(ministack.free_port(0), scratch, log_file) as url:
        yield Cloud(url, tmp_path, log_file)


@pytest.fixture
def system(cloud: Cloud, camera_api: CameraApi, recording: bytes) -> System:
    return System(cloud, camera_api, recording)


@pytest.fixture
def other_function(packages: None, tmp_path: Path) -> SimpleNamespace:
    """A package whose code differs by a few bytes after its end."""
    with zipfile.ZipFile(package.FUNCTION_ZIP) as zipped:
        (tmp_path / "bootstrap").write_bytes(zipped.read("bootstrap") + b"another")
    (tmp_path / "bootstrap").chmod(0o755)
    other = tmp_path / package.FUNCTION_ZIP.name
    package.pack(other, {"bootstrap": tmp_path / "bootstrap"}, 1 << 30)
    return SimpleNamespace(zip=other, sha256=package.sha256(other))

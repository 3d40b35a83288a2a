"""What these tests run against: the packages as built, a ministack of their own, and a camera API that can be held."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import local_aws
import package
import pytest

import held_camera
from cloud import Cloud
from held_camera import RECORDING, CameraApi
from system import System


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


@pytest.fixture
def camera_api() -> Iterator[CameraApi]:
    with held_camera.serving() as api:
        yield api


@pytest.fixture
def cloud(packages: None, tmp_path: Path) -> Iterator[Cloud]:
    log_file = tmp_path / "ministack.log"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with local_aws.ministack(local_aws.free_port(0), scratch, log_file) as url:
        yield Cloud(url, tmp_path, log_file)


@pytest.fixture
def system(cloud: Cloud, camera_api: CameraApi, recording: bytes) -> System:
    return System(cloud, camera_api, recording)

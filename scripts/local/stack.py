"""Describes the local stack in one file, so that the other scripts and the tests find its parts."""

import fcntl
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import boto3

from scripts import ROOT

FOLDER = ROOT / "dist" / "local"
REGION = "us-west-1"
ACCESS_KEY = "local"

UP_CAMERA = "1111111111111"
DOWN_CAMERA = "2222222222222"


@dataclass(frozen=True)
class Stack:
    """The addresses, names and files of a local stack."""

    aws_url: str
    camera_api_url: str
    recordings_bucket: str
    recordings_prefix: str
    clips_bucket: str
    queue_url: str
    queue_arn: str
    dead_letter_queue_url: str
    topic_arn: str
    subscriber_queue_url: str
    function: str
    env_file: str
    log_file: str
    traces: str

    def client(self, service: str) -> Any:  # noqa: ANN401
        """Returns a client of the local AWS."""
        return client(self.aws_url, service)

    def save(self, folder: Path) -> None:
        """Writes `stack.json`, which appears whole or not at all."""
        unfinished = folder / "stack.json.new"
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        unfinished.rename(folder / "stack.json")


def client(aws_url: str, service: str) -> Any:  # noqa: ANN401
    """Returns a client of the local AWS at this URL. It ignores the user's own AWS settings."""
    session = boto3.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=ACCESS_KEY, region_name=REGION, profile_name=None
    )
    return session.client(service, endpoint_url=aws_url)


def lock(folder: Path) -> IO[str] | None:
    """Reserves the folder for a stack, or returns `None` if a stack uses it. Closing the file releases the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def find() -> Stack | None:
    """Returns the stack that `make local` runs, or `None` if it does not run."""
    free = lock(FOLDER)
    if free:
        free.close()
        return None
    description = FOLDER / "stack.json"
    return Stack(**json.loads(description.read_text())) if description.exists() else None

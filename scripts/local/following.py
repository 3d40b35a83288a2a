"""Asks the stack for a clip and follows the request to its end."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.local.stack import Stack
from scripts.shared import instants

AVAILABLE = "CLIP_AVAILABLE"
PENDING = "CLIP_PENDING"
FATAL = "FATAL_ERROR"
POLL_SECONDS = 0.1
# An announcement follows the PUT at once.
ANNOUNCEMENT_SECONDS = 15


@dataclass(frozen=True)
class Request:
    """What a user asks for."""

    clip_id: str
    camera_id: str
    start_ms: int
    end_ms: int

    def message(self) -> str:
        """The body of the message that asks for it."""
        return json.dumps(
            {
                "clipId": self.clip_id,
                "cameraId": self.camera_id,
                "startTimestampInMs": self.start_ms,
                "endTimestampInMs": self.end_ms,
                "retryTimestamps": [],
            }
        )


class Following:
    """One request on its way. Sends the message when made."""

    def __init__(self, stack: Stack, request: Request) -> None:
        self._stack = stack
        self._request = request
        self._earlier = len(self._history())
        self._told = 0
        self._sqs = stack.client("sqs")
        self._sent_at, self._sent_at_second = time.monotonic(), int(time.time())
        self._sqs.send_message(QueueUrl=stack.queue_url, MessageBody=request.message())

    @property
    def puts(self) -> list[dict]:
        """What the camera API was told since the message was sent, in order."""
        return self._history()[self._earlier :]

    @property
    def sent_ms(self) -> int:
        """The second in which the message was sent, ms since the epoch."""
        return self._sent_at_second * 1000

    @property
    def elapsed(self) -> float:
        """Seconds since the message was sent."""
        return time.monotonic() - self._sent_at

    def until(self, wanted: Callable[[str], bool], seconds: float, tell: Callable[[str, float], None]) -> dict:
        """Waits for metadata with a wanted status, telling of every new status on the way."""
        while self.elapsed < seconds:
            for metadata in self.puts[self._told :]:
                self._told += 1
                tell(metadata["status"], self.elapsed)
                if wanted(metadata["status"]):
                    return metadata
            time.sleep(POLL_SECONDS)
        raise TimeoutError(
            f"nothing came of clip {self._request.clip_id} within {seconds} s: see {self._stack.log_file}"
        )

    def announcement(self) -> dict:
        """What the topic's subscriber receives of this request. Other clips' messages stay in its queue."""
        give_up = time.monotonic() + ANNOUNCEMENT_SECONDS
        queue = self._stack.subscriber_queue_url
        while time.monotonic() < give_up:
            answer = self._sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=1
            )
            for message in answer.get("Messages", []):
                notification = json.loads(message["Body"])
                announced = json.loads(notification["Message"])
                if announced["clipId"] == self._request.clip_id:
                    self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                    # Whole seconds: an announcement of an earlier request for the same clip may still lie there.
                    if instants.parse(notification["Timestamp"]) // 1000 >= self._sent_at_second:
                        return announced
        raise TimeoutError(f"clip {self._request.clip_id} was not announced: see {self._stack.log_file}")

    def _history(self) -> list[dict]:
        url = f"{self._stack.camera_api_url}/cameras/clips/{self._request.clip_id}/history"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)


def fetch(metadata: dict, clip: Path, thumbnail: Callable[[int], Path]) -> None:
    """Downloads what metadata of an available clip names, by its URLs."""
    _download(metadata["clip"]["url"], clip)
    for size in metadata["thumbnail"]["sizes"]:
        _download(metadata["thumbnail"]["url"].replace("{size}", str(size)), thumbnail(size))


def _download(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=60) as answer:
        target.write_bytes(answer.read())

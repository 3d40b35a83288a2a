"""Asks the local stack for a clip and follows the request to its end."""

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.local.stack import Stack
from scripts.shared import console, instants

AVAILABLE = "CLIP_AVAILABLE"
PENDING = "CLIP_PENDING"
FATAL = "FATAL_ERROR"
POLL_SECONDS = 0.1
# The function announces a clip right after the PUT.
ANNOUNCEMENT_SECONDS = 15


@dataclass(frozen=True)
class Request:
    """A request for a clip."""

    clip_id: str
    camera_id: str
    start_ms: int
    end_ms: int

    def message_body(self) -> str:
        """Returns the body of the message that carries the request."""
        return json.dumps(
            {
                "clipId": self.clip_id,
                "cameraId": self.camera_id,
                "startTimestampInMs": self.start_ms,
                "endTimestampInMs": self.end_ms,
                "retryTimestamps": [],
            }
        )


class RequestFollower:
    """Sends the message of one request, and follows what becomes of it."""

    def __init__(self, stack: Stack, request: Request) -> None:
        self._stack = stack
        self._request = request
        self._earlier_puts = len(self._history())
        self._printed_puts = 0
        self._sqs = stack.client("sqs")
        self._sent_at, self._sent_at_second = time.monotonic(), int(time.time())
        self._sqs.send_message(QueueUrl=stack.queue_url, MessageBody=request.message_body())

    @property
    def puts(self) -> list[dict]:
        """Metadata that the camera API received since the message was sent, in order."""
        return self._history()[self._earlier_puts :]

    @property
    def statuses(self) -> list[str]:
        """Status of each PUT, in order."""
        return [metadata["status"] for metadata in self.puts]

    @property
    def sent_ms(self) -> int:
        """Second in which the message was sent, in ms since the epoch."""
        return self._sent_at_second * 1000

    @property
    def elapsed(self) -> float:
        """Seconds since the message was sent."""
        return time.monotonic() - self._sent_at

    def wait_for(self, wanted: Callable[[str], bool], seconds: float) -> dict:
        """Waits for metadata with a wanted status, and prints each status on the way."""
        while self.elapsed < seconds:
            for metadata in self.puts[self._printed_puts :]:
                self._printed_puts += 1
                console.say(f"  {self.elapsed:6.1f} s  {metadata['status']}")
                if wanted(metadata["status"]):
                    return metadata
            time.sleep(POLL_SECONDS)
        raise TimeoutError(
            f"expected a result for clip {self._request.clip_id} within {seconds} s, got none:"
            f" see {self._stack.log_file}"
        )

    def announcement(self) -> dict:
        """Returns what the topic's subscriber receives of this request. Messages of other clips stay in the queue."""
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
                    # The queue may still hold the announcement of an earlier request for the same clip.
                    if instants.parse(notification["Timestamp"]) // 1000 >= self._sent_at_second:
                        return announced
        raise TimeoutError(
            f"expected an announcement of clip {self._request.clip_id}, got none: see {self._stack.log_file}"
        )

    def _history(self) -> list[dict]:
        url = f"{self._stack.camera_api_url}/cameras/clips/{self._request.clip_id}/history"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)


def fetch(metadata: dict, clip: Path, thumbnail: Callable[[int], Path]) -> None:
    """Downloads the clip and the thumbnails of an available clip, from the URLs in its metadata."""
    _download(metadata["clip"]["url"], clip)
    for size in metadata["thumbnail"]["sizes"]:
        _download(metadata["thumbnail"]["url"].replace("{size}", str(size)), thumbnail(size))


def _download(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=60) as answer:
        target.write_bytes(answer.read())

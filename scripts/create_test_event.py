#!/usr/bin/env python3
"""Writes `events/event.json`, an SQS event that leads the function to a chosen status.

The event works with `cargo lambda invoke`, and its record works as a message in a queue. It counts as sent now.
"""

import argparse
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path

# --- global variables -----------------------------------------------------------------------------------------------
# A camera that is up, and a camera that is down, which has no recordings.
UP_CAMERA_ID = "1111111111111"
DOWN_CAMERA_ID = "2222222222222"

# A span that the first camera recorded: 2018-09-16 from 17:39:44.500 to 17:40:44.500 UTC, across two recordings.
RECORDED_START_MS = 1537119584500
CLIP_MS = 60_000

# Defaults of SQS_RETRY_LIMIT, OUT_OF_RANGE_LIMIT and VIDEO_MAX_LEN.
RETRY_LIMIT_MS = 900_000
OUT_OF_RANGE_LIMIT_MS = 259_200_000
VIDEO_MAX_MS = 300_000

EVENT_FILE = Path(__file__).resolve().parent.parent / "events" / "event.json"
# --------------------------------------------------------------------------------------------------------------------

# A camera, and start and end of the requested span in ms.
RequestedSpan = tuple[str, int, int]


def clip_available(_now: int) -> RequestedSpan:
    """Existing footage, which the function serves at any age."""
    return UP_CAMERA_ID, RECORDED_START_MS, RECORDED_START_MS + CLIP_MS


def clip_pending(now: int) -> RequestedSpan:
    """Footage of the last minute, which does not exist yet; the function waits for it."""
    return UP_CAMERA_ID, now - CLIP_MS, now


def clip_not_available(now: int) -> RequestedSpan:
    """No footage, too old for the function to wait, too young to be out of range."""
    start = now - (RETRY_LIMIT_MS + OUT_OF_RANGE_LIMIT_MS) // 2
    return DOWN_CAMERA_ID, start, start + CLIP_MS


def clip_out_of_range(now: int) -> RequestedSpan:
    """No footage, from a time whose recordings are removed by now."""
    start = now - 2 * OUT_OF_RANGE_LIMIT_MS
    return DOWN_CAMERA_ID, start, start + CLIP_MS


def clip_too_long(_now: int) -> RequestedSpan:
    """A span one millisecond longer than the limit."""
    return UP_CAMERA_ID, RECORDED_START_MS, RECORDED_START_MS + VIDEO_MAX_MS + 1


def event(choose: Callable[[int], RequestedSpan], now: int) -> dict:
    """Returns the SQS event of a message sent now, in the form of the committed sample."""
    camera_id, start, end = choose(now)
    body = json.dumps(
        {
            "clipId": f"{choose.__name__}-{now}",
            "retryTimestamps": [],
            "cameraId": camera_id,
            "startTimestampInMs": start,
            "endTimestampInMs": end,
        }
    )
    record = {
        "body": body,
        "receiptHandle": "MessageReceiptHandle",
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSourceARN": "arn:aws:sqs:us-west-1:123456789012:MyQueue",
        "eventSource": "aws:sqs",
        "awsRegion": "us-west-1",
        "messageId": str(uuid.uuid4()),
        "attributes": {
            "ApproximateFirstReceiveTimestamp": str(now + 1),
            "SenderId": "123456789012",
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(now),
        },
        "messageAttributes": {"SentTimestamp": str(now)},
    }
    return {"Records": [record]}


def main() -> None:
    """Writes the event for one status, by default CLIP_AVAILABLE."""
    arguments = argparse.ArgumentParser(description=__doc__)
    statuses = arguments.add_mutually_exclusive_group()
    for choose in (clip_available, clip_pending, clip_not_available, clip_out_of_range, clip_too_long):
        long_name = choose.__name__
        letter = long_name.removeprefix("clip_")[0]
        statuses.add_argument(
            f"-{letter}", f"--{long_name}", dest="choose", action="store_const", const=choose, help=choose.__doc__
        )
    arguments.add_argument("--output", type=Path, default=EVENT_FILE, metavar="FILE")
    given = arguments.parse_args()
    choose = given.choose or clip_available
    given.output.parent.mkdir(exist_ok=True)
    given.output.write_text(json.dumps(event(choose, time.time_ns() // 1_000_000), indent=2) + "\n")
    print(f"{given.output.name}: {choose.__name__.upper()}")


if __name__ == "__main__":
    main()

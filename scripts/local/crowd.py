"""Sends many requests to the running local stack at once, and measures when they are announced.

With fewer clips than messages, each clip is asked for again and again: it is rendered once, and announced each time.
"""

import argparse
import json
import random
import statistics
import time
from collections import deque

from scripts.local import stack
from scripts.local.request_follower import Request
from scripts.local.stack import Stack
from scripts.shared import console, instants

# The minute from this instant on lies in the demo's recordings.
FIRST_MS = instants.parse("2018-09-16T17:32:00.000Z")
BATCH = 10
SEED = 1
TIMEOUT_SECONDS = 3600


def main() -> None:
    """Sends the requests, and prints what they took."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("messages", type=int, help="number of requests")
    arguments.add_argument("--clips", type=int, default=0, help="number of different clips; by default one a message")
    arguments.add_argument("--seconds", type=int, default=10, help="length of each span")
    given = arguments.parse_args()
    with console.one_line_errors():
        described = stack.find()
        if not described:
            raise RuntimeError("cannot find a local stack: run `make local` in another terminal")
        clips = _requests(given.clips or given.messages, given.seconds)
        requests = [clips[number % len(clips)] for number in range(given.messages)]
        began = time.monotonic()
        sent = _send(described, requests)
        console.say(f"sent {len(requests)} requests in {time.monotonic() - began:.1f} s")
        waits = _wait(described, sent)
        seconds = time.monotonic() - began
        last = sorted(waits)[int((len(waits) - 1) * 0.99)]
        console.say(
            f"announced {len(waits)} in {seconds:.1f} s: {len(waits) / seconds:.2f} clips a second;"
            f" a user waits {statistics.median(waits):.1f} s (median), {last:.1f} s (99th percentile)"
        )


def _requests(count: int, seconds: int) -> list[Request]:
    """Returns requests for spans at random instants of the first recording."""
    instant = random.Random(SEED)
    starts = [FIRST_MS + instant.randrange(240_000) for _ in range(count)]
    run = time.time_ns() // 1_000_000
    return [
        Request(f"crowd-{run}-{number}", stack.UP_CAMERA, start, start + seconds * 1000)
        for number, start in enumerate(starts)
    ]


def _send(described: Stack, requests: list[Request]) -> dict[str, deque[float]]:
    """Sends the requests. Returns when each was sent, by its clip."""
    sqs = described.client("sqs")
    sent: dict[str, deque[float]] = {each.clip_id: deque() for each in requests}
    for first in range(0, len(requests), BATCH):
        batch = requests[first : first + BATCH]
        entries = [{"Id": str(number), "MessageBody": each.message_body()} for number, each in enumerate(batch)]
        sqs.send_message_batch(QueueUrl=described.queue_url, Entries=entries)
        for each in batch:
            sent[each.clip_id].append(time.monotonic())
    return sent


def _wait(described: Stack, sent: dict[str, deque[float]]) -> list[float]:
    """Waits for the announcement of each request. Returns how long each took."""
    sqs, waits = described.client("sqs"), []
    expected = sum(map(len, sent.values()))
    queue = {"QueueUrl": described.subscriber_queue_url}
    give_up = time.monotonic() + TIMEOUT_SECONDS
    while len(waits) < expected:
        if time.monotonic() > give_up:
            raise TimeoutError(f"expected {expected} announcements, got {len(waits)}: see {described.log_file}")
        messages = sqs.receive_message(**queue, MaxNumberOfMessages=BATCH, WaitTimeSeconds=1).get("Messages", [])
        for message in messages:
            announced = json.loads(json.loads(message["Body"])["Message"])
            began = sent.get(announced["clipId"])
            if began and announced["status"] != "CLIP_AVAILABLE":
                raise RuntimeError(f"expected a clip, got {announced['status']}: see {described.log_file}")
            if began:
                waits.append(time.monotonic() - began.popleft())
            sqs.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])
    return waits


if __name__ == "__main__":
    main()

"""Lists the messages that failed for good, each with its reason, and sends chosen ones or all back to the queue."""

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scripts.deploy import target
from scripts.deploy.lambda_function import LambdaFunction
from scripts.deploy.target import Target
from scripts.shared import console, instants

# Long enough to look up the reasons of some hundred messages; nobody else sees them until then.
HIDDEN_SECONDS = 120
# An empty answer to a long poll means that the queue is empty.
LONG_POLL_SECONDS = 2


@dataclass(frozen=True)
class DeadLetter:
    """A message in the dead-letter queue."""

    id: str
    receipt: str
    text: str
    sent_ms: int
    received: int

    @property
    def request(self) -> dict | None:
        """What it asks for, if it can be read: JSON, or as Python writes a dictionary."""
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                value = read(self.text)
                return value if isinstance(value, dict) else None
        return None

    def again(self) -> str:
        """The same request as a message of today, with the instant at which it was first sent."""
        request = self.request or {}
        return json.dumps(request | {"retryTimestamps": [*(request.get("retryTimestamps") or []), str(self.sent_ms)]})


def main() -> None:
    """What `make redrive` does."""
    arguments = target.arguments(__doc__)
    arguments.add_argument("--clips", default="", metavar="IDS", help="sends these clips' messages back")
    arguments.add_argument("--messages", default="", metavar="IDS", help="sends these messages back")
    arguments.add_argument("--all", default="", help="sends all of them back")
    given = arguments.parse_args()
    with target.one_line_errors():
        chosen = {*given.clips.replace(",", " ").split(), *given.messages.replace(",", " ").split()}
        _redrive(target.find(given), chosen, bool(given.all), bool(given.yes))


def _redrive(to: Target, chosen: set[str], everything: bool, yes: bool) -> None:
    sqs = to.client("sqs")
    queue_url, dead_letters_url = _queues(to, sqs)
    letters = list(_received(sqs, dead_letters_url))
    try:
        for letter in letters:
            _show(to, letter)
        if not letters:
            console.say(f"no dead letters in {to.name}")
        wanted = [each for each in letters if everything or {each.id, (each.request or {}).get("clipId")} & chosen]
        if wanted:
            to.confirm(f"send {len(wanted)} of {len(letters)} messages back", yes)
        for letter in list(wanted):
            if letter.request is None:
                console.say(f"left where it is, for it is no request: {letter.id}")
                continue
            # In this order a message is at worst there twice, never lost.
            sqs.send_message(QueueUrl=queue_url, MessageBody=letter.again())
            sqs.delete_message(QueueUrl=dead_letters_url, ReceiptHandle=letter.receipt)
            letters.remove(letter)
            console.say(f"sent back: {letter.id}")
    finally:
        for letter in letters:
            sqs.change_message_visibility(QueueUrl=dead_letters_url, ReceiptHandle=letter.receipt, VisibilityTimeout=0)
    if letters and not wanted:
        console.say(f"none sent back: CLIPS=id,id MESSAGES=id,id or ALL=1 (make redrive ENV={to.environment} ALL=1)")


def _queues(to: Target, sqs: Any) -> tuple[str, str]:  # noqa: ANN401
    """The URLs of the queue that triggers the function, and of the one that takes what fails for good."""
    function = LambdaFunction(to.client("lambda"), to.name)
    function.serving()
    for trigger in function.triggers():
        url = _url(sqs, trigger["EventSourceArn"])
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
        if "RedrivePolicy" in attributes:
            return url, _url(sqs, json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"])
    raise RuntimeError(f"no queue with a dead-letter queue triggers {to.name}")


def _url(sqs: Any, arn: str) -> str:  # noqa: ANN401
    *_, account, name = arn.split(":")
    return sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]


def _received(sqs: Any, url: str) -> Iterator[DeadLetter]:  # noqa: ANN401
    """All messages in the queue, once each. They stay in it."""
    seen = set()
    while True:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=LONG_POLL_SECONDS,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )
        new = [each for each in answer.get("Messages", []) if each["MessageId"] not in seen]
        if not new:
            return
        for message in new:
            seen.add(message["MessageId"])
            attributes = message["Attributes"]
            yield DeadLetter(
                message["MessageId"],
                message["ReceiptHandle"],
                message["Body"],
                int(attributes["SentTimestamp"]),
                int(attributes["ApproximateReceiveCount"]),
            )


def _show(to: Target, letter: DeadLetter) -> None:
    clip = (letter.request or {}).get("clipId", "no clip")
    console.say(f"{letter.id}  {clip}  sent {instants.rfc_3339(letter.sent_ms)}")
    console.say(f"  {_reason(to, letter)}")


def _reason(to: Target, letter: DeadLetter) -> str:
    """What the function last logged of it as a failure."""
    logs = to.client("logs")
    try:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{to.name}", startTime=letter.sent_ms, filterPattern=f'"{letter.id}"'
        )
        lines = [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return "reason unknown: there is no log"
    for line in reversed(lines):
        try:
            logged = json.loads(line)
        except ValueError:
            return line  # the function logs text, not JSON
        if "error" in logged:
            return ": ".join(filter(None, (logged.get("object"), logged["error"])))
    return "reason unknown: the log tells nothing of it any more"


if __name__ == "__main__":
    main()

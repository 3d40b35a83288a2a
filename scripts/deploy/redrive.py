"""Lists the messages in the dead-letter queue with their reasons, and sends chosen ones or all back to the queue."""

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scripts.deploy.environment import Environment, argument_parser, find_environment, one_line_aws_errors
from scripts.deploy.lambda_function import LambdaFunction
from scripts.shared import console, instants

# Messages stay invisible to others this long, which is enough to look up the reasons of some hundred messages.
HIDDEN_SECONDS = 120
# If a long poll returns nothing, the queue is empty.
LONG_POLL_SECONDS = 2


@dataclass(frozen=True)
class DeadLetter:
    """A message in the dead-letter queue."""

    id: str
    receipt: str
    text: str
    sent_ms: int
    received: int
    attributes: dict[str, dict]

    @property
    def request(self) -> dict | None:
        """The request in the body, as JSON or as a Python literal, or `None` if the body is neither."""
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                value = read(self.text)
                return value if isinstance(value, dict) else None
        return None

    def new_body(self) -> str:
        """Returns a body with the same request, and the time of this message among its retries."""
        request = self.request or {}
        return json.dumps(request | {"retryTimestamps": [*(request.get("retryTimestamps") or []), str(self.sent_ms)]})


def main() -> None:
    """Runs `make redrive`."""
    arguments = argument_parser(__doc__)
    arguments.add_argument("--clips", default="", metavar="IDS", help="send back the messages of these clips")
    arguments.add_argument("--messages", default="", metavar="IDS", help="send back these messages")
    arguments.add_argument("--all", default="", help="send back all messages")
    given = arguments.parse_args()
    with one_line_aws_errors():
        chosen = {*given.clips.replace(",", " ").split(), *given.messages.replace(",", " ").split()}
        _redrive(find_environment(given), chosen, bool(given.all), bool(given.yes))


def _redrive(environment: Environment, chosen: set[str], everything: bool, yes: bool) -> None:
    sqs = environment.client("sqs")
    queue_url, dead_letters_url = _queues(environment, sqs)
    letters = list(_received(sqs, dead_letters_url))
    try:
        for letter in letters:
            _show(environment, letter)
        if not letters:
            console.say(f"no dead letters of {environment.name}")
        selected = [each for each in letters if everything or {each.id, (each.request or {}).get("clipId")} & chosen]
        if selected:
            environment.confirm(f"send {len(selected)} of {len(letters)} messages back", yes)
        for letter in list(selected):
            if letter.request is None:
                console.say(f"not sent back, because its body is not a request: {letter.id}")
                continue
            # In this order, an interruption can duplicate a message but never lose it.
            sqs.send_message(QueueUrl=queue_url, MessageBody=letter.new_body(), MessageAttributes=letter.attributes)
            sqs.delete_message(QueueUrl=dead_letters_url, ReceiptHandle=letter.receipt)
            letters.remove(letter)
            console.say(f"sent back: {letter.id}")
    finally:
        for letter in letters:
            sqs.change_message_visibility(QueueUrl=dead_letters_url, ReceiptHandle=letter.receipt, VisibilityTimeout=0)
    if letters and not selected:
        console.say(f"none sent back: CLIPS=id,id MESSAGES=id,id or ALL=1 (make redrive ENV={environment.label} ALL=1)")


def _queues(environment: Environment, sqs: Any) -> tuple[str, str]:  # noqa: ANN401
    """Returns the URLs of the queue that triggers the function, and of its dead-letter queue."""
    function = LambdaFunction(environment.client("lambda"), environment.name)
    function.live()  # raises an error if the function does not exist
    for trigger in function.triggers():
        url = _url(sqs, trigger["EventSourceArn"])
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
        if "RedrivePolicy" in attributes:
            return url, _url(sqs, json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"])
    raise RuntimeError(f"cannot find a queue that triggers {environment.name} and has a dead-letter queue")


def _url(sqs: Any, arn: str) -> str:  # noqa: ANN401
    *_, account, name = arn.split(":")
    return sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]


def _received(sqs: Any, url: str) -> Iterator[DeadLetter]:  # noqa: ANN401
    """Yields every message in the queue once. They stay in the queue."""
    seen = set()
    while True:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=LONG_POLL_SECONDS,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            MessageAttributeNames=["All"],
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
                {name: _sent(attribute) for name, attribute in message.get("MessageAttributes", {}).items()},
            )


def _sent(attribute: dict) -> dict:
    """Returns a received attribute as SQS takes it: without the empty lists of kinds that SQS does not have yet."""
    return {name: value for name, value in attribute.items() if name in {"DataType", "StringValue", "BinaryValue"}}


def _show(environment: Environment, letter: DeadLetter) -> None:
    clip = (letter.request or {}).get("clipId", "no clip")
    console.say(f"{letter.id}  {clip}  sent {instants.rfc_3339(letter.sent_ms)}")
    console.say(f"  {_reason(environment, letter)}")


def _reason(environment: Environment, letter: DeadLetter) -> str:
    """Returns the last failure that the function logged for the message."""
    logs = environment.client("logs")
    try:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{environment.name}", startTime=letter.sent_ms, filterPattern=f'"{letter.id}"'
        )
        lines = [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return "reason unknown: the function has no log"
    for line in reversed(lines):
        try:
            logged = json.loads(line)
        except ValueError:
            return line  # the log is text, not JSON
        if "error" in logged:
            return ": ".join(filter(None, (logged.get("object"), logged["error"])))
    return "reason unknown: the log no longer contains it"


if __name__ == "__main__":
    main()

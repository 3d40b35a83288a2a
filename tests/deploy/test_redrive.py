"""Messages in the dead-letter queue."""

import json
import re

from system import System


def test_sends_back_a_message_that_became_a_dead_letter_after_eight_tries(system: System) -> None:
    system.deploy(CLIP_URL="https://clips.test/")
    sqs = system.cloud.client("sqs")
    # The stack waits half an hour between tries, which is too long for a test. The number of tries stays.
    sqs.set_queue_attributes(QueueUrl=system.outputs["QueueUrl"], Attributes={"VisibilityTimeout": "0"})
    system.ask("lost", camera="9", earlier=["1537119020000"])
    [dead] = _receive(sqs, system.outputs["DeadLettersUrl"])
    assert dead["Attributes"]["ApproximateReceiveCount"] == "9", "eight tries, and this read"
    sqs.change_message_visibility(
        QueueUrl=system.outputs["DeadLettersUrl"], ReceiptHandle=dead["ReceiptHandle"], VisibilityTimeout=0
    )

    listed = system.cloud.run("redrive")
    assert f"{dead['MessageId']}  lost  sent " in listed
    assert re.search(r"/cameras/9: \S", listed), "the reason"
    assert "none sent back" in listed
    not_chosen = system.cloud.run("redrive", "--clips", "another")
    assert "none sent back" in not_chosen
    assert "not sent back" not in not_chosen

    # Without the trigger, the message stays in the queue.
    [trigger] = system.cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    system.cloud.client("lambda").update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    assert f"sent back: {dead['MessageId']}" in system.cloud.run("redrive", "--clips", "lost")
    [again] = _receive(sqs, system.outputs["QueueUrl"])
    sent = dead["Attributes"]["SentTimestamp"]
    assert json.loads(again["Body"]) == json.loads(dead["Body"]) | {"retryTimestamps": ["1537119020000", sent]}
    assert "no dead letters" in system.cloud.run("redrive")


def test_sends_back_python_literals_and_keeps_bodies_that_are_not_requests(system: System) -> None:
    sqs = system.cloud.client("sqs")
    attributes = {
        "origin": {"DataType": "String", "StringValue": "test"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    for body in ("not a request", "{'clipId': 'it\\'s', 'retryTimestamps': None}"):
        sqs.send_message(QueueUrl=system.outputs["DeadLettersUrl"], MessageBody=body, MessageAttributes=attributes)
    [trigger] = system.cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    system.cloud.client("lambda").update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    output = system.cloud.run("redrive", "--all", "1")
    assert "not sent back, because its body is not a request" in output
    [again] = _receive(sqs, system.outputs["QueueUrl"])
    body = json.loads(again["Body"])
    assert body["clipId"] == "it's"
    assert len(body["retryTimestamps"]) == 1
    assert again["MessageAttributes"] == attributes
    [left] = _receive(sqs, system.outputs["DeadLettersUrl"])
    assert left["Body"] == "not a request"


def _receive(sqs: object, url: str) -> list[dict]:
    for _ in range(15):
        found = sqs.receive_message(
            QueueUrl=url,
            WaitTimeSeconds=2,
            VisibilityTimeout=60,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        if found.get("Messages"):
            return found["Messages"]
    raise AssertionError(f"expected a message in {url}, got none")

"""What becomes of messages that fail for good."""

import json

from system import System


def test_a_message_that_fails_is_retried_and_ends_as_a_dead_letter_that_can_be_sent_back(system: System) -> None:
    system.deploy(CLIP_URL="https://clips.test/")
    sqs = system.cloud.client("sqs")
    # The stack's half an hour between tries would be long for a test; their number is the stack's.
    sqs.set_queue_attributes(QueueUrl=system.outputs["QueueUrl"], Attributes={"VisibilityTimeout": "0"})
    system.ask("lost", camera="9", earlier=["1537119020000"])
    [dead] = _receive(sqs, system.outputs["DeadLettersUrl"])
    assert dead["Attributes"]["ApproximateReceiveCount"] == "6", "five tries, and this look at it"
    sqs.change_message_visibility(
        QueueUrl=system.outputs["DeadLettersUrl"], ReceiptHandle=dead["ReceiptHandle"], VisibilityTimeout=0
    )

    listed = system.cloud.run("redrive")
    assert f"{dead['MessageId']}  lost  sent " in listed
    assert "/cameras/9: no such camera" in listed, "the reason"
    assert "none sent back" in listed
    assert "left" not in system.cloud.run("redrive", "--clips", "another"), "not chosen"

    # Now nothing takes it, so that it can be seen.
    [trigger] = system.cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    system.cloud.client("lambda").update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    assert f"sent back: {dead['MessageId']}" in system.cloud.run("redrive", "--clips", "lost")
    [again] = _receive(sqs, system.outputs["QueueUrl"])
    sent = dead["Attributes"]["SentTimestamp"]
    assert json.loads(again["Body"]) == json.loads(dead["Body"]) | {"retryTimestamps": ["1537119020000", sent]}
    assert "no dead letters" in system.cloud.run("redrive")


def test_redrive_leaves_what_is_no_request_and_reads_what_python_wrote(system: System) -> None:
    sqs = system.cloud.client("sqs")
    for body in ("no request", "{'clipId': 'it\\'s', 'retryTimestamps': None}"):
        sqs.send_message(QueueUrl=system.outputs["DeadLettersUrl"], MessageBody=body)
    [trigger] = system.cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    system.cloud.client("lambda").update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    said = system.cloud.run("redrive", "--all", "1")
    assert "left where it is, for it is no request" in said
    [again] = _receive(sqs, system.outputs["QueueUrl"])
    body = json.loads(again["Body"])
    assert body["clipId"] == "it's"
    assert len(body["retryTimestamps"]) == 1
    [left] = _receive(sqs, system.outputs["DeadLettersUrl"])
    assert left["Body"] == "no request"


def _receive(sqs: object, url: str) -> list[dict]:
    for _ in range(15):
        found = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=2, VisibilityTimeout=60, MessageSystemAttributeNames=["All"]
        )
        if found.get("Messages"):
            return found["Messages"]
    raise AssertionError(f"nothing came to {url}")

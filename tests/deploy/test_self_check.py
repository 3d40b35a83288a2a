"""The self-check of what serves, and of a queue that does not fit."""

import re

from system import NAME, System


def test_the_doctor_tells_what_works_and_what_does_not(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    output = system.cloud.run("doctor", "--env", "sandbox")
    rows = dict(re.findall(r"^  (\S.*?)  +(works|fails|can't be told) +\d+ ms", output, re.MULTILINE))
    untried = {"right to publish", "right to send messages", "metadata"}
    assert {thing for thing, outcome in rows.items() if outcome == "can't be told"} == untried, output
    assert {outcome for thing, outcome in rows.items() if thing not in untried} == {"works"}, output
    assert f"{NAME} (version 2): nothing fails" in output
    assert not system.camera_api.puts, "it announces nothing"

    system.cloud.client("sns").delete_topic(TopicArn=system.outputs["TopicArn"])
    output = system.cloud.run("doctor", "--env", "sandbox", succeeds=False)
    assert re.search(r"^  topic +fails +\d+ ms +arn:aws:sns:", output, re.MULTILINE), output
    assert f"error: {NAME} (version 2) fails its self-check: topic" in output


def test_a_queue_that_shows_messages_again_too_early_is_refused(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    before = system.live()
    attributes = {"VisibilityTimeout": "899"}
    system.cloud.client("sqs").set_queue_attributes(QueueUrl=system.outputs["QueueUrl"], Attributes=attributes)
    output = system.deploy(succeeds=False, THUMBNAIL_SIZES="64 32")
    expected = "VisibilityTimeout of .*: expected at least the timeout of the function \\(900 s\\), got 899 s"
    assert re.search(f"^error: {expected}$", output, re.MULTILINE), output
    assert system.live() == before
    output = system.cloud.run("doctor", "--env", "sandbox", succeeds=False)
    assert re.search(r"^  queue +fails +\d+ ms +VisibilityTimeout: expected at least", output, re.MULTILINE), output

"""Shows what an update of a stack changes, before anything changes."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.deploy.environment import Environment
from scripts.shared import console

POLL_SECONDS = 2
TIMEOUT_SECONDS = 300
# How CloudFormation calls an update that changes nothing.
NOTHING = ("didn't contain changes", "No updates are to be performed")
# When a change reaches the live version of the function.
EFFECTS = {
    "AWS::IAM::Role": "at once, for the live version too",
    "AWS::SQS::Queue": "at once, for the live version too",
    "AWS::Lambda::EventSourceMapping": "at once, for the live version too",
    "AWS::Lambda::Function": "with the next `make deploy`, which publishes a version",
}


def prepare(environment: Environment, request: Mapping[str, Any]) -> str | None:
    """Prepares an update and prints its changes. Returns the ARN of the change set, or `None` if nothing changes."""
    cloudformation = environment.client("cloudformation")
    name = f"update-{time.time_ns()}"
    created = cloudformation.create_change_set(ChangeSetName=name, ChangeSetType="UPDATE", **request)
    described = _wait(environment, cloudformation, created["Id"])
    if described["Status"] == "FAILED":
        cloudformation.delete_change_set(ChangeSetName=created["Id"])
        reason = described.get("StatusReason", "no reason given")
        if any(text in reason for text in NOTHING):
            return None
        raise RuntimeError(f"cannot prepare the update of {environment.name}: {reason}")
    for line in lines(described["Changes"]):
        console.say(line)
    return created["Id"]


def lines(changes: list[dict]) -> Iterator[str]:
    """Describes each change: what, of which resource, which properties, and when it takes effect."""
    for change in sorted((each["ResourceChange"] for each in changes), key=lambda each: each["LogicalResourceId"]):
        targets = [each.get("Target", {}) for each in change.get("Details", [])]
        properties = sorted({each.get("Name") or each.get("Attribute", "") for each in targets} - {""})
        replaced = change.get("Replacement", "False") != "False" and change["Action"] == "Modify"
        words = [
            f"  {change['Action'].lower():7} {change['LogicalResourceId']} ({change['ResourceType']})",
            f": {', '.join(properties)}" if properties else "",
            f"; replaced: {change['Replacement'].lower()}" if replaced else "",
            f"; {EFFECTS[change['ResourceType']]}" if change["ResourceType"] in EFFECTS else "",
        ]
        yield "".join(words)


def _wait(environment: Environment, cloudformation: Any, change_set: str) -> dict:  # noqa: ANN401
    give_up = time.monotonic() + TIMEOUT_SECONDS
    while True:
        described = cloudformation.describe_change_set(ChangeSetName=change_set)
        if described["Status"] in {"CREATE_COMPLETE", "FAILED"}:
            break
        if time.monotonic() > give_up:
            raise RuntimeError(f"cannot prepare the update of {environment.name} within {TIMEOUT_SECONDS} s")
        time.sleep(0.1 if environment.is_local else POLL_SECONDS)
    changes = list(described.get("Changes", []))
    while "NextToken" in described:
        token = described["NextToken"]
        described = cloudformation.describe_change_set(ChangeSetName=change_set, NextToken=token)
        changes += described.get("Changes", [])
    return described | {"Changes": changes}

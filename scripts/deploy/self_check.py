"""Asks a version of the function to check itself, and prints its table."""

import json
from dataclasses import dataclass

from scripts.deploy.lambda_function import LambdaFunction
from scripts.shared import console

EVENT = {"selfCheck": True}


@dataclass(frozen=True)
class Check:
    """What became of one thing that the function needs."""

    thing: str
    outcome: str  # works, fails, or can't be told
    ms: int
    missing: str


def run(function: LambdaFunction, version: str) -> list[Check]:
    """Runs the self-check of a version, prints its table, and returns what fails."""
    response = function.invoke(version, EVENT)
    if response.failed:
        reason = json.loads(response.payload).get("errorMessage", response.payload)
        if "no list of Records" in reason or "KeyError" in response.payload:
            raise RuntimeError(f"cannot check version {version}: it has no self-check")
        raise RuntimeError(f"cannot check version {version}: {reason}\n{response.log}")
    try:
        checks = [Check(**row) for row in json.loads(response.payload)["selfCheck"]]
    except (ValueError, TypeError, KeyError):
        raise RuntimeError(f"cannot check version {version}: it has no self-check") from None
    for line in table(checks):
        console.say(line)
    return [check for check in checks if check.outcome == "fails"]


def table(checks: list[Check]) -> list[str]:
    """Returns the lines of a table for a terminal."""
    things = max(len(check.thing) for check in checks)
    outcomes = max(len(check.outcome) for check in checks)
    return [
        f"  {check.thing:{things}}  {check.outcome:{outcomes}}  {check.ms:5} ms  {check.missing}".rstrip()
        for check in checks
    ]

"""Creates or updates the CloudFormation stack of an environment from `cloudformation.yaml`."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from scripts import ROOT
from scripts.deploy import changes
from scripts.deploy.environment import (
    Environment,
    argument_parser,
    find_environment,
    one_line_aws_errors,
    read_variables,
    refuse_placeholders,
    upload,
)
from scripts.function import package
from scripts.shared import console

TEMPLATE = Path(__file__).with_name("cloudformation.yaml")
# Default of the template's parameters for packages.
NO_PACKAGE = "none"
POLL_SECONDS = 2
TIMEOUT_SECONDS = 1800

# Parameters of the template, and the variables that hold their values.
FROM_VARIABLES = {
    "CamServicesUrl": "CAM_SERVICES_URL",
    "RecordingsUrl": "RECORDINGS_URL",
    "ClipUrl": "CLIP_URL",
    "RecordingsBucket": "S3_BUCKET_ORIGIN",
    "RecordingsFolder": "S3_BUCKET_ORIGIN_DIR",
    "ClipsBucket": "S3_BUCKET_DESTINATION",
}
# AWS advises this multiple of the function's timeout for the visibility of messages.
VISIBILITY_IN_TIMEOUTS = 6
# Share of the timeout above which an invocation counts as slow.
SLOW_PERCENT = 80


def main() -> None:
    """Runs `make stack`."""
    arguments = argument_parser(__doc__)
    arguments.add_argument("--env-file", default="", metavar="FILE", help="settings of a new stack; .env by default")
    arguments.add_argument("--arch", choices=package.MACHINES, default="x86_64")
    arguments.add_argument("--alarm-topic", metavar="ARN", help="topic that receives the alarms")
    arguments.add_argument("--cdn-distribution", metavar="ARN", help="distribution that serves the clips")
    arguments.add_argument("--memory", metavar="MB", help="memory of the function")
    arguments.add_argument("--timeout", metavar="SECONDS", help="timeout of the function")
    arguments.add_argument("--tmp", metavar="MB", help="size of the function's disk")
    arguments.add_argument("--concurrency", metavar="NUMBER", help="invocations at once")
    arguments.add_argument("--no-build", action="store_true", help="use the packages in dist")
    given = arguments.parse_args()
    with one_line_aws_errors():
        settings = Path(given.env_file or ROOT / ".env")
        _create_or_update(find_environment(given, settings if settings.exists() else None), settings, given)


def _create_or_update(environment: Environment, settings: Path, given: argparse.Namespace) -> None:
    chosen = {
        name: value
        for name, value in (("AlarmTopic", given.alarm_topic), ("CdnDistribution", given.cdn_distribution))
        if value
    } | _size(given)
    existing = environment.stack()
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in (existing or {}).get("Parameters", [])}
    if given.env_file or not existing:
        chosen |= _from_variables(environment, settings)
    if not existing:
        chosen["OwnRecordingsBucket"] = "false" if _exists(environment, chosen["RecordingsBucket"]) else "true"
    if not existing:
        environment.confirm("create the stack", bool(given.yes))
    # A stack lacks its function if its creation was interrupted.
    without_function = parameters.get("FunctionKey", NO_PACKAGE) == NO_PACKAGE
    if without_function and not given.no_build:
        package.make(given.arch)
    if existing:
        _update(environment, chosen, bool(given.yes))
    else:
        _create(environment, chosen)
    if without_function:
        # Creating the function belongs to what was confirmed.
        _update(environment, _packages(environment) | {"Architecture": given.arch}, yes=True)
    _print_outputs(environment)


def _size(given: argparse.Namespace) -> dict[str, str]:
    """Returns the parameters of the function's size, with those that follow from its timeout."""
    named = (("MemorySize", given.memory), ("TmpSize", given.tmp), ("MaximumConcurrency", given.concurrency))
    chosen = {name: value for name, value in named if value}
    if given.timeout:
        if not given.timeout.isdigit():
            raise RuntimeError(f"TIMEOUT: expected 1 to 900 seconds, got {given.timeout}")
        timeout = int(given.timeout)
        chosen |= {
            "Timeout": str(timeout),
            "VisibilityTimeout": str(timeout * VISIBILITY_IN_TIMEOUTS),
            "SlowMilliseconds": str(timeout * 10 * SLOW_PERCENT),
        }
    return chosen


def _from_variables(environment: Environment, settings: Path) -> dict[str, str]:
    variables = read_variables(settings)
    if not environment.is_local:
        refuse_placeholders(variables, ("CAM_SERVICES_URL", "RECORDINGS_URL", "CLIP_URL"))
    optional = {"S3_BUCKET_ORIGIN_DIR"}
    missing = [name for name in FROM_VARIABLES.values() if not variables.get(name) and name not in optional]
    if missing:
        raise RuntimeError(f"{settings}: expected values for {', '.join(missing)}, got none")
    found = {parameter: variables.get(name, "") for parameter, name in FROM_VARIABLES.items()}
    found["RecordingsFolder"] = found["RecordingsFolder"].strip("/")
    return found


def _exists(environment: Environment, bucket: str) -> bool:
    """Whether the bucket exists, in this account or in another."""
    try:
        environment.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        return error.response["Error"]["Code"] != "404"
    console.say(f"the bucket {bucket} exists already; the stack does not change it")
    return True


def _create(environment: Environment, chosen: dict[str, str]) -> None:
    """Creates everything that needs no package, including the bucket for the packages."""
    console.say(f"creating the stack {environment.name} in {environment.region}")
    cloudformation = environment.client("cloudformation")
    # If the creation fails, resources with a DeletionPolicy of Retain are removed too.
    request = _request(environment, chosen) | {"RetainExceptOnCreate": True}
    try:
        _follow(environment, lambda: cloudformation.create_stack(**request), "CREATE_COMPLETE")
    except RuntimeError:
        # The resources are removed already. Without the record of the stack, the next try can create it.
        if (environment.stack() or {}).get("StackStatus") == "ROLLBACK_COMPLETE":
            cloudformation.delete_stack(StackName=environment.name)
        raise


def _packages(environment: Environment) -> dict[str, str]:
    """Uploads the packages to the code bucket. Returns the template's parameters for them."""
    bucket = environment.outputs()["CodeBucket"]
    return {
        "FunctionKey": upload(environment, bucket, package.FUNCTION_ZIP),
        "LayerKey": upload(environment, bucket, package.LAYER_ZIP),
    }


def _update(environment: Environment, chosen: dict[str, str], yes: bool) -> None:
    change_set = changes.prepare(environment, _request(environment, chosen))
    if not change_set:
        console.say("nothing to change")
        return
    cloudformation = environment.client("cloudformation")
    try:
        environment.confirm("update the stack", yes)
    except RuntimeError:
        cloudformation.delete_change_set(ChangeSetName=change_set)
        raise
    stack_id = environment.stack()["StackId"]

    def execute() -> dict:
        cloudformation.execute_change_set(ChangeSetName=change_set)
        return {"StackId": stack_id}

    _follow(environment, execute, "UPDATE_COMPLETE")


def _request(environment: Environment, chosen: dict[str, str]) -> dict[str, Any]:
    """Returns a request with the template and the chosen parameters. All other parameters keep their values."""
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in sorted(chosen.items())]
    kept = {each["ParameterKey"] for each in (environment.stack() or {}).get("Parameters", [])} - chosen.keys()
    parameters += [{"ParameterKey": name, "UsePreviousValue": True} for name in sorted(kept)]
    return {
        "StackName": environment.name,
        "TemplateBody": TEMPLATE.read_text(),
        "Parameters": parameters,
        "Capabilities": ["CAPABILITY_IAM"],
    }


def _follow(environment: Environment, start: Callable[[], dict], expected: str) -> None:
    """Prints every finished resource, then raises the first failure if the stack's status is not `expected`."""
    cloudformation = environment.client("cloudformation")
    earlier = environment.stack()
    seen = {event["EventId"] for event in _events(cloudformation, earlier["StackId"])} if earlier else set()
    stack_id = start()["StackId"]
    reason, status, give_up = "", "", time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < give_up:
        # The status is read before the events, so that the last events are not missed.
        status = cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]
        for event in _events(cloudformation, stack_id):
            if event["EventId"] in seen or event["ResourceStatus"].endswith("_IN_PROGRESS"):
                continue
            seen.add(event["EventId"])
            console.say(f"  {event['ResourceStatus'].lower().replace('_', ' '):16} {event['LogicalResourceId']}")
            if event["ResourceStatus"].endswith("_FAILED"):
                why = event.get("ResourceStatusReason", "no reason given")
                reason = reason or f"{event['LogicalResourceId']}: {why}"
        if not status.endswith("_IN_PROGRESS"):
            break
        time.sleep(0.1 if environment.is_local else POLL_SECONDS)
    if status != expected:
        raise RuntimeError(f"the stack: expected {expected}, got {status}: {reason or 'see its events in the console'}")


def _events(cloudformation: Any, stack_id: str) -> list[dict]:  # noqa: ANN401
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return [event for page in pages for event in page["StackEvents"]][::-1]


def _print_outputs(environment: Environment) -> None:
    outputs = environment.outputs()
    console.say(f"""The stack {environment.name} is up. These variables of its function can go into an ENV_FILE:
  S3_BUCKET_ORIGIN={outputs["RecordingsBucket"]}
  S3_BUCKET_DESTINATION={outputs["ClipsBucket"]}
  AWS_SNS_TOPIC={outputs["TopicArn"]}
  AWS_SQS_QUEUE={outputs["QueueArn"]}
  AWS_SQS_QUEUE_URL={outputs["QueueUrl"]}
The live version of an existing function is unchanged: `make deploy ENV={environment.label}` applies new settings.""")
    if not outputs["Alarms"].startswith("arn:"):
        console.say(f"warning: the alarms notify nobody: make stack ENV={environment.label} ALARM_TOPIC=arn")


if __name__ == "__main__":
    main()

"""Creates or updates an environment's CloudFormation stack, from `cloudformation.yaml`."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from scripts import ROOT
from scripts.deploy import target
from scripts.deploy.target import Target
from scripts.function import package
from scripts.shared import console

TEMPLATE = Path(__file__).with_name("cloudformation.yaml")
# A parameter of the template: no package yet.
NO_PACKAGE = "none"
POLL_SECONDS = 2
PATIENCE_SECONDS = 1800

# Parameters of the template, and the variables they are taken from.
FROM_VARIABLES = {
    "CamServicesUrl": "CAM_SERVICES_URL",
    "RecordingsUrl": "RECORDINGS_URL",
    "ClipUrl": "CLIP_URL",
    "RecordingsBucket": "S3_BUCKET_ORIGIN",
    "RecordingsFolder": "S3_BUCKET_ORIGIN_DIR",
    "ClipsBucket": "S3_BUCKET_DESTINATION",
}


def main() -> None:
    """What `make stack` does."""
    arguments = target.arguments(__doc__)
    arguments.add_argument("--env-file", default="", metavar="FILE", help="what a new stack is made of; .env")
    arguments.add_argument("--arch", choices=package.MACHINES, default="x86_64")
    arguments.add_argument("--alarm-topic", metavar="ARN", help="the topic that alarms go to")
    arguments.add_argument("--cdn-distribution", metavar="ARN", help="the distribution that serves the clips")
    arguments.add_argument("--no-build", action="store_true", help="takes the packages that are in dist")
    given = arguments.parse_args()
    with target.one_line_errors():
        env_file = Path(given.env_file or ROOT / ".env")
        _create_or_update(target.find(given, env_file if env_file.exists() else None), env_file, given)


def _create_or_update(to: Target, env_file: Path, given: argparse.Namespace) -> None:
    chosen = {
        name: value
        for name, value in (("AlarmTopic", given.alarm_topic), ("CdnDistribution", given.cdn_distribution))
        if value
    }
    existing = to.stack()
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in (existing or {}).get("Parameters", [])}
    if given.env_file or not existing:
        chosen |= _from_variables(to, env_file)
    if not existing:
        chosen["OwnRecordingsBucket"] = "false" if _exists(to, chosen["RecordingsBucket"]) else "true"
    to.confirm("update the stack" if existing else "create the stack", bool(given.yes))
    # A stack without its function is one whose making was broken off.
    without_function = parameters.get("FunctionKey", NO_PACKAGE) == NO_PACKAGE
    if without_function and not given.no_build:
        package.make(given.arch)
    if existing:
        _update(to, chosen)
    else:
        _create(to, chosen)
    if without_function:
        _update(to, _packages(to) | {"Architecture": given.arch})
    _tell(to)


def _from_variables(to: Target, env_file: Path) -> dict[str, str]:
    variables = target.read_variables(env_file)
    if not to.local:
        target.refuse_placeholders(variables, ("CAM_SERVICES_URL", "RECORDINGS_URL", "CLIP_URL"))
    optional = {"S3_BUCKET_ORIGIN_DIR"}
    missing = [name for name in FROM_VARIABLES.values() if not variables.get(name) and name not in optional]
    if missing:
        raise RuntimeError(f"missing in {env_file}: {', '.join(missing)}")
    found = {parameter: variables.get(name, "") for parameter, name in FROM_VARIABLES.items()}
    found["RecordingsFolder"] = found["RecordingsFolder"].strip("/")
    return found


def _exists(to: Target, bucket: str) -> bool:
    """Whether there is such a bucket, ours to look into or not."""
    try:
        to.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        return error.response["Error"]["Code"] != "404"
    console.say(f"the bucket {bucket} is there already; the stack will leave it as it is")
    return True


def _create(to: Target, chosen: dict[str, str]) -> None:
    """All that needs no package, the bucket for packages among it."""
    console.say(f"creating the stack {to.name} in {to.region}")
    cloudformation = to.client("cloudformation")
    try:
        _follow(to, lambda: cloudformation.create_stack(**_request(to, chosen)), "CREATE_COMPLETE")
    except RuntimeError:
        # What was made is gone again; so that the next try finds nothing, its record goes, too.
        if (to.stack() or {}).get("StackStatus") == "ROLLBACK_COMPLETE":
            cloudformation.delete_stack(StackName=to.name)
        raise


def _packages(to: Target) -> dict[str, str]:
    """The template's parameters for the packages, which are put into the code bucket."""
    bucket = to.outputs()["CodeBucket"]
    return {
        "FunctionKey": target.upload(to, bucket, package.FUNCTION_ZIP),
        "LayerKey": target.upload(to, bucket, package.LAYER_ZIP),
    }


def _update(to: Target, chosen: dict[str, str]) -> None:
    update = to.client("cloudformation").update_stack
    try:
        _follow(to, lambda: update(**_request(to, chosen)), "UPDATE_COMPLETE")
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
        console.say("nothing to change")


def _request(to: Target, chosen: dict[str, str]) -> dict[str, Any]:
    """The template with these parameters; those that are not chosen stay as they are."""
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in sorted(chosen.items())]
    kept = {each["ParameterKey"] for each in (to.stack() or {}).get("Parameters", [])} - chosen.keys()
    parameters += [{"ParameterKey": name, "UsePreviousValue": True} for name in sorted(kept)]
    return {
        "StackName": to.name,
        "TemplateBody": TEMPLATE.read_text(),
        "Parameters": parameters,
        "Capabilities": ["CAPABILITY_IAM"],
        # What outlives the stack later on does not outlive a failure to make it.
        "RetainExceptOnCreate": True,
    }


def _follow(to: Target, start: Callable[[], dict], wanted: str) -> None:
    """Tells of every resource that is done, until the stack is; raises with the first reason if it isn't as wanted."""
    cloudformation = to.client("cloudformation")
    earlier = to.stack()
    seen = {event["EventId"] for event in _events(cloudformation, earlier["StackId"])} if earlier else set()
    stack_id = start()["StackId"]
    reason, status, give_up = "", "", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        # Asked before its events, so that none comes after the last look at them.
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
        time.sleep(0.1 if to.local else POLL_SECONDS)
    if status != wanted:
        raise RuntimeError(f"the stack ended in {status}: {reason or 'its events in the console tell more'}")


def _events(cloudformation: Any, stack_id: str) -> list[dict]:  # noqa: ANN401
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return [event for page in pages for event in page["StackEvents"]][::-1]


def _tell(to: Target) -> None:
    outputs = to.outputs()
    console.say(f"""The stack {to.name} is up. What it gave the function, as lines of an ENV_FILE:
  S3_BUCKET_ORIGIN={outputs["RecordingsBucket"]}
  S3_BUCKET_DESTINATION={outputs["ClipsBucket"]}
  AWS_SNS_TOPIC={outputs["TopicArn"]}
  AWS_SQS_QUEUE={outputs["QueueArn"]}
  AWS_SQS_QUEUE_URL={outputs["QueueUrl"]}
What serves has not changed, if it was there before: `make deploy ENV={to.environment}` takes up new settings.""")


if __name__ == "__main__":
    main()

"""Deploys the function. The new version becomes live last, and only if its self-check finds nothing that fails."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.deploy import self_check
from scripts.deploy.environment import (
    AWS_ERRORS,
    REGION,
    Environment,
    argument_parser,
    find_environment,
    one_line_aws_errors,
    read_variables,
    refuse_placeholders,
    upload,
)
from scripts.deploy.lambda_function import LambdaFunction, Release
from scripts.function import package, runtime_api
from scripts.shared import console

# Lambda sets these itself and refuses them. In the file, the region only selects where to deploy.
RESERVED = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class Options:
    """Packages and settings of a deployment."""

    arch: str
    env_file: Path | None
    event: Path | None
    code_bucket: str
    function_zip: Path
    build: bool
    yes: bool


def main() -> None:
    """Runs `make deploy`."""
    arguments = argument_parser(__doc__)
    arguments.add_argument("--env-file", default="", metavar="FILE", help="new variables; without a file they stay")
    arguments.add_argument("--event", default="", metavar="FILE", help="test event, in place of the self-check")
    arguments.add_argument("--code-bucket", default="", metavar="NAME", help="bucket in place of the stack's")
    arguments.add_argument("--arch", choices=package.MACHINES, default="x86_64")
    arguments.add_argument("--function-zip", type=Path, default=package.FUNCTION_ZIP, metavar="FILE")
    arguments.add_argument("--no-build", action="store_true", help="use the packages in dist")
    given = arguments.parse_args()
    with one_line_aws_errors():
        options = Options(
            given.arch,
            Path(given.env_file) if given.env_file else None,
            Path(given.event) if given.event else None,
            given.code_bucket,
            given.function_zip,
            not given.no_build,
            bool(given.yes),
        )
        deploy(find_environment(given, options.env_file), options)


def deploy(environment: Environment, options: Options) -> None:
    """Deploys. Nothing changes before the first upload."""
    started = time.monotonic()
    function = LambdaFunction(environment.client("lambda"), environment.name)
    live = function.live()
    variables = _variables(environment, options.env_file, live)
    bucket = options.code_bucket or environment.outputs().get("CodeBucket")
    if not bucket:
        hint = f"`make stack ENV={environment.label}` creates one, CODE_BUCKET=name selects one"
        raise RuntimeError(f"cannot find a bucket for packages: {hint}")
    triggers = function.triggers()
    for trigger in triggers:
        _warn_about(trigger)
    variables |= _from_triggers(environment, triggers, function.timeout_seconds())
    environment.confirm("deploy", options.yes)
    if options.build:
        package.make(options.arch)
    _check_start(options.function_zip, variables)
    try:
        function.allow_loops()
    except AWS_ERRORS as error:
        console.say(f"warning: Lambda may cut requests that wait for footage for more than 16 rounds: {error}")

    try:
        code_key = upload(environment, bucket, options.function_zip)
        layer = _layer(environment, function, bucket, options.arch)
        before = function.ensure_alias(live)
        release = Release(bucket, code_key, package.sha256(options.function_zip), layer, options.arch, variables)
        version = function.publish(release)
        if version != before:
            console.say(f"version {version} is published; testing it")
            _test(function, version, options.event)
            function.make_live(version)
    except (RuntimeError, *AWS_ERRORS) as error:
        raise RuntimeError(f"cannot deploy {environment.name}, whose live version is unchanged: {error}") from error
    if version == before:
        console.say(f"nothing to deploy: version {version} of {environment.name} stays live")
    else:
        seconds = time.monotonic() - started
        console.say(f"{environment.name}: version {version} is live, in place of {before} ({seconds:.0f} s)")
        console.say(f"to undo this: make rollback ENV={environment.label}")


def _variables(environment: Environment, env_file: Path | None, live: dict) -> dict[str, str]:
    """Returns the variables of the file, or of the live version."""
    if env_file:
        variables = {name: value for name, value in read_variables(env_file).items() if name not in RESERVED}
    else:
        variables = live.get("Environment", {}).get("Variables", {})
    if not environment.is_local:
        refuse_placeholders(variables)
    return variables


def _from_triggers(environment: Environment, triggers: Sequence[Mapping], timeout: int) -> dict[str, str]:
    """Returns what the function must know of its triggers and of their queues.

    Refuses a queue that shows a message again while an invocation may still work on it, as AWS refuses such a trigger.
    """
    queues = [each for each in triggers if ":sqs:" in each.get("EventSourceArn", "")]
    if not queues:
        return {}
    reports = all("ReportBatchItemFailures" in each.get("FunctionResponseTypes", []) for each in queues)
    variables = {"REPORT_BATCH_ITEM_FAILURES": str(reports)}
    try:
        attributes = [_queue_attributes(environment, each["EventSourceArn"]) for each in queues]
    except AWS_ERRORS as error:
        console.say(f"warning: cannot read the attributes of a queue, so SQS_MAX_RECEIVES stays as it is: {error}")
        return variables
    for queue, each in zip(queues, attributes, strict=True):
        visibility = int(each.get("VisibilityTimeout", timeout))
        if visibility < timeout:
            raise RuntimeError(
                f"VisibilityTimeout of {queue['EventSourceArn']}: expected at least the timeout of the function"
                f" ({timeout} s), got {visibility} s"
            )
    receives = [int(json.loads(each.get("RedrivePolicy", "{}")).get("maxReceiveCount", 0)) for each in attributes]
    # With several queues, a message counts as lost as early as in the one that delivers it the fewest times.
    return variables | {"SQS_MAX_RECEIVES": str(min((each for each in receives if each), default=0))}


def _queue_attributes(environment: Environment, queue_arn: str) -> dict[str, str]:
    *_, account, name = queue_arn.split(":")
    sqs = environment.client("sqs")
    url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
    names = ["RedrivePolicy", "VisibilityTimeout"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names).get("Attributes", {})


def _warn_about(trigger: Mapping) -> None:
    if trigger["BatchSize"] > 1 and "ReportBatchItemFailures" not in trigger.get("FunctionResponseTypes", []):
        console.say(
            f"warning: the trigger {trigger['UUID']} has batches of {trigger['BatchSize']} without"
            " ReportBatchItemFailures: one failure fails a whole invocation. To correct this: aws lambda"
            f" update-event-source-mapping --uuid {trigger['UUID']} --function-response-types ReportBatchItemFailures"
        )


def _check_start(function_zip: Path, variables: Mapping[str, str]) -> None:
    """Starts the binary on this machine with these variables. It names all that are missing or invalid."""
    with tempfile.TemporaryDirectory(prefix="deploy-") as scratch:
        package.unpack(function_zip, Path(scratch))
        log_file = Path(scratch) / "log"
        local = {"CLIP_DOWNLOAD_DEST": scratch, "AWS_REGION": REGION, "AWS_LAMBDA_LOG_FORMAT": "JSON"}
        local["FFMPEG_PATH"] = str(ROOT / "layers/ffmpeg/opt/bin/ffmpeg")  # no layer is mounted here
        try:
            with runtime_api.running(Path(scratch) / "bootstrap", {**variables, **local}, log_file):
                pass
        except RuntimeError:
            log = [json.loads(line) for line in log_file.read_text().splitlines() if line.startswith("{")]
            reasons = [line["error"] for line in log if "error" in line]
            raise RuntimeError(f"cannot start the function: {(reasons or ['it logged no error'])[-1]}") from None


def _layer(environment: Environment, function: LambdaFunction, bucket: str, arch: str) -> str:
    """Returns the layer version with the content of the package, published if it does not exist yet."""
    arn = function.layer_with(package.sha256(package.LAYER_ZIP))
    if arn:
        console.say(f"the layer exists already: {arn}")
        return arn
    arn = function.publish_layer(bucket, upload(environment, bucket, package.LAYER_ZIP), arch)
    console.say(f"the layer is published: {arn}")
    return arn


def _test(function: LambdaFunction, version: str, event: Path | None) -> None:
    """Runs the self-check of a version, or sends a test event to it."""
    if not event:
        if failures := self_check.run(function, version):
            things = ", ".join(check.thing for check in failures)
            raise RuntimeError(f"version {version} fails its self-check: {things}")
        return
    response = function.invoke(version, json.loads(event.read_text()))
    failures = response.payload if response.failed else (json.loads(response.payload) or {}).get("batchItemFailures")
    if failures:
        raise RuntimeError(f"version {version} failed the test event: {failures}\n{response.log}")


if __name__ == "__main__":
    main()

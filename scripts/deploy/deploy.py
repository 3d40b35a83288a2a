"""Deploys the function: what serves changes last, and only once the new version has answered a test event."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts import create_test_event
from scripts.deploy import target
from scripts.deploy.lambda_function import LambdaFunction, Release
from scripts.deploy.target import AWS_ERRORS, Target
from scripts.function import package, runtime_api
from scripts.shared import console

# Lambda sets these itself, and refuses them; the region only says where to deploy to.
RESERVED = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class Options:
    """How to deploy."""

    arch: str
    env_file: Path | None
    event: Path | None
    code_bucket: str
    function_zip: Path
    build: bool
    yes: bool


def main() -> None:
    """What `make deploy` does."""
    arguments = target.arguments(__doc__)
    arguments.add_argument("--env-file", default="", metavar="FILE", help="the variables from now on; else they stay")
    arguments.add_argument("--event", default="", metavar="FILE", help="the test event; else a clip that is too long")
    arguments.add_argument("--code-bucket", default="", metavar="NAME", help="not the stack's")
    arguments.add_argument("--arch", choices=package.MACHINES, default="x86_64")
    arguments.add_argument("--function-zip", type=Path, default=package.FUNCTION_ZIP, metavar="FILE")
    arguments.add_argument("--no-build", action="store_true", help="takes the packages that are in dist")
    given = arguments.parse_args()
    with target.one_line_errors():
        options = Options(
            given.arch,
            Path(given.env_file) if given.env_file else None,
            Path(given.event) if given.event else None,
            given.code_bucket,
            given.function_zip,
            not given.no_build,
            bool(given.yes),
        )
        deploy(target.find(given, options.env_file), options)


def deploy(to: Target, options: Options) -> None:
    """The story of a deployment. Up to the first upload nothing is changed."""
    started = time.monotonic()
    function = LambdaFunction(to.client("lambda"), to.name)
    serving = function.serving()
    variables = _variables(to, options.env_file, serving)
    bucket = options.code_bucket or to.outputs().get("CodeBucket")
    if not bucket:
        raise RuntimeError(f"no bucket for packages: `make stack ENV={to.environment}` makes one, or CODE_BUCKET=name")
    for trigger in function.triggers():
        _point_out(trigger)
    to.confirm("deploy", options.yes)
    if options.build:
        package.make(options.arch)
    _check_start(options.function_zip, variables)

    try:
        code_key = target.upload(to, bucket, options.function_zip)
        layer = _layer(to, function, bucket, options.arch)
        before = function.alias_of(serving)
        release = Release(bucket, code_key, package.sha256(options.function_zip), layer, options.arch, variables)
        version = function.publish(release)
        if version != before:
            console.say(f"version {version} is published; a test event goes to it")
            _test(function, version, options.event, variables)
            function.serve(version)
    except (RuntimeError, *AWS_ERRORS) as error:
        raise RuntimeError(
            f"{error} -- not deployed: {to.name} serves as before; mend this, then deploy again"
        ) from error
    if version == before:
        console.say(f"nothing has changed: {to.name} goes on with version {version}")
    else:
        console.say(f"{to.name} serves version {version}, after {before} ({time.monotonic() - started:.0f} s)")
        console.say(f"the way back: make rollback ENV={to.environment}")


def _variables(to: Target, env_file: Path | None, serving: dict) -> dict[str, str]:
    """The file's, or those that serve now."""
    if env_file:
        variables = {name: value for name, value in target.read_variables(env_file).items() if name not in RESERVED}
    else:
        variables = serving.get("Environment", {}).get("Variables", {})
    if not to.local:
        target.refuse_placeholders(variables)
    return variables


def _point_out(trigger: Mapping) -> None:
    if trigger["BatchSize"] > 1 and "ReportBatchItemFailures" not in trigger.get("FunctionResponseTypes", []):
        console.say(
            f"warning: the trigger {trigger['UUID']} has batches of {trigger['BatchSize']} without"
            " ReportBatchItemFailures: one bad message brings back all of its batch. Mend it with: aws lambda"
            f" update-event-source-mapping --uuid {trigger['UUID']} --function-response-types ReportBatchItemFailures"
        )


def _check_start(function_zip: Path, variables: Mapping[str, str]) -> None:
    """Starts the very binary with these variables, here: it names all that are missing or bad."""
    with tempfile.TemporaryDirectory(prefix="deploy-") as scratch:
        package.unpack(function_zip, Path(scratch))
        log_file = Path(scratch) / "log"
        there = {"CLIP_DOWNLOAD_DEST": scratch, "AWS_REGION": target.REGION, "AWS_LAMBDA_LOG_FORMAT": "JSON"}
        try:
            with runtime_api.running(Path(scratch) / "bootstrap", {**variables, **there}, log_file):
                pass
        except RuntimeError:
            said = [json.loads(line) for line in log_file.read_text().splitlines() if line.startswith("{")]
            reasons = [line["error"] for line in said if "error" in line]
            raise RuntimeError(f"the function does not start: {(reasons or ['it says nothing'])[-1]}") from None


def _layer(to: Target, function: LambdaFunction, bucket: str, arch: str) -> str:
    """The layer with our bytes, published if there is none yet."""
    arn = function.layer_with(package.sha256(package.LAYER_ZIP))
    if arn:
        console.say(f"the layer is there already: {arn}")
        return arn
    arn = function.publish_layer(bucket, target.upload(to, bucket, package.LAYER_ZIP), arch)
    console.say(f"the layer is published: {arn}")
    return arn


def _test(function: LambdaFunction, version: str, event: Path | None, variables: Mapping[str, str]) -> None:
    """A clip that is too long needs no footage, but proves the start, the camera API, the topic and the role."""
    if event:
        payload = json.loads(event.read_text())
    else:
        longest_ms = int(variables.get("VIDEO_MAX_LEN") or 300) * 1000

        def deploy_test(now: int) -> create_test_event.Wish:
            return create_test_event.UP_CAMERA_ID, now - longest_ms - 1, now

        payload = create_test_event.event(deploy_test, time.time_ns() // 1_000_000)
    answer = function.invoke(version, payload)
    failures = (json.loads(answer.payload) or {}).get("batchItemFailures") if not answer.failed else answer.payload
    if failures:
        raise RuntimeError(f"version {version} failed the test event: {failures}\n{answer.log}")


if __name__ == "__main__":
    main()

"""Failures during a deployment, which leave the live version unchanged."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from scripts.deploy import deploy
from scripts.deploy.environment import find_environment
from scripts.local import stack
from scripts.local.stack import REGION
from system import System

# All calls to AWS of a deployment after its first change, in order.
CALLS = [
    "s3.PutObject",
    "lambda.ListLayerVersions",
    "lambda.GetLayerVersion",
    "lambda.GetAlias",
    "lambda.UpdateFunctionCode",
    "lambda.GetFunction",
    "lambda.UpdateFunctionConfiguration",
    "lambda.PublishVersion",
    "lambda.Invoke",
    "lambda.UpdateAlias",
]


def refuse(**_: object) -> tuple[SimpleNamespace, dict]:
    """Answers in place of AWS, as for a user without the permission."""
    return SimpleNamespace(status_code=403), {"Error": {"Code": "AccessDeniedException", "Message": "not you"}}


def test_leaves_the_live_version_unchanged_if_any_call_is_refused(
    system: System, other_function: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    before = system.live()
    variables = Path(system.cloud.write_env_file(system.variables | {"THUMBNAIL_SIZES": "64 32"}))
    monkeypatch.setenv("AWS_ENDPOINT_URL", system.cloud.url)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(stack.ACCESS_KEY, stack.ACCESS_KEY, region_name=REGION))
    events = boto3.DEFAULT_SESSION.events
    environment = find_environment(SimpleNamespace(env="sandbox", function_name=""))
    options = deploy.Options("x86_64", variables, None, "", other_function.zip, build=False, yes=False)

    calls: list[str] = []

    def note(model: Any, **_: object) -> None:  # noqa: ANN401
        calls.append(f"{model.service_model.service_name}.{model.name}")

    events.register("before-call", note)
    for call in CALLS:
        events.register(f"before-call.{call}", refuse)
        with pytest.raises(
            RuntimeError, match=r"cannot deploy .*, whose live version is unchanged: .*AccessDenied.*not you"
        ):
            deploy.deploy(environment, options)
        events.unregister(f"before-call.{call}", refuse)
        assert system.live() == before, f"with {call} refused"
    system.ask("meanwhile")
    assert system.served("meanwhile")["thumbnail"]["sizes"] == [64]

    deploy.deploy(environment, options)
    assert system.live()["CodeSha256"] == other_function.sha256
    reads = {
        "lambda.GetFunctionConfiguration",
        "cloudformation.DescribeStacks",
        "lambda.ListEventSourceMappings",
        "lambda.GetFunctionRecursionConfig",
        "sqs.GetQueueUrl",
        "sqs.GetQueueAttributes",
    }
    assert set(calls) - reads == set(CALLS), "each was refused once"

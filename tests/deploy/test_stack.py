"""Making and changing stacks, and what is refused before anything is changed."""

import re

import pytest

from cloud import Cloud
from scripts import ROOT
from scripts.deploy import create_stack
from scripts.local.stack import REGION
from system import NAME, System


@pytest.mark.parametrize("script", ["deploy", "rollback", "redrive", "create_stack"])
def test_what_cannot_be_meant_is_one_clear_line_and_changes_nothing(cloud: Cloud, script: str) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    nothing = {
        "deploy": "there is no function",
        "rollback": "there is no function",
        "redrive": "there is no function",
        "create_stack": "ENV_FILE=",
    }
    for arguments, variables, complaint in [
        (["--env", "live"], {}, "error: ENV=live is unknown: sandbox, staging or prod"),
        ([], nobody, "error: no AWS credentials"),
        ([], {}, f"error: {nothing[script]}"),
    ]:
        options = ["--env-file", "/nowhere"] if script == "create_stack" and not arguments else []
        said = cloud.run(script, *arguments, *options, succeeds=False, **variables)
        assert said.startswith(complaint), said
        assert len(said.strip().splitlines()) == 1, said
    assert cloud.client("cloudformation").list_stacks()["StackSummaries"] == []


def test_addresses_of_a_sample_are_refused_but_on_this_machine(system: System) -> None:
    # Another name of this machine, which these scripts don't know to be one.
    elsewhere = {"AWS_ENDPOINT_URL": system.cloud.url.replace("127.0.0.1", "0.0.0.0")}
    before = system.live()
    for sample in sorted(ROOT.glob(".env.sample_*")):
        said = system.cloud.run("deploy", "--no-build", "--env-file", str(sample), succeeds=False, **elsewhere)
        made_up = "CAM_SERVICES_URL, RECORDINGS_URL, CLIP_URL, AWS_SNS_TOPIC, AWS_SQS_QUEUE, AWS_SQS_QUEUE_URL"
        assert said == f"error: still a sample's placeholder: {made_up}\n"
    assert system.live() == before
    stack = ["--no-build", "--function-name", "another", "--env-file", str(ROOT / ".env.sample_staging")]
    said = system.cloud.run("create_stack", *stack, succeeds=False, **elsewhere)
    assert said == "error: still a sample's placeholder: CAM_SERVICES_URL, RECORDINGS_URL, CLIP_URL\n"
    system.deploy(THUMBNAIL_SIZES="64")


def test_a_stack_is_updated_where_it_differs_and_leaves_alone_what_serves(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64 48")
    before = system.live()
    assert "nothing to change" in system.cloud.run("create_stack")
    topic = system.outputs["TopicArn"]
    said = system.cloud.run("create_stack", "--alarm-topic", topic)
    assert "update complete" in said
    assert "DeadLettersAlarm" in said
    alarms = system.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert [alarm["AlarmActions"] for alarm in alarms] == [[topic]] * 4
    assert system.live() == before
    system.ask("after")
    assert system.served("after")["thumbnail"]["sizes"] == [64, 48]
    # A bucket that is there already stays somebody else's.
    s3 = system.cloud.client("s3")
    s3.create_bucket(Bucket="theirs", CreateBucketConfiguration={"LocationConstraint": REGION})
    variables = system.variables | {"S3_BUCKET_ORIGIN": "theirs", "S3_BUCKET_DESTINATION": "clips-2"}
    staging = ["--no-build", "--env", "staging", "--env-file", system.cloud.write_env_file(variables)]
    assert "the bucket theirs is there already" in system.cloud.run("create_stack", *staging, "--arch", "arm64")
    functions = system.cloud.client("lambda")
    made = functions.get_function_configuration(FunctionName="cameras-service-generate-clip-staging")
    assert made["Architectures"] == ["arm64"]


def test_a_stack_that_cannot_be_made_says_why_and_leaves_nothing(system: System) -> None:
    variables = system.variables | {"S3_BUCKET_ORIGIN": "other-recordings"}  # but the same clips
    staging = ["--no-build", "--env", "staging", "--env-file", system.cloud.write_env_file(variables)]
    said = system.cloud.run("create_stack", *staging, succeeds=False)
    assert re.search(r"^error: the stack ended in ROLLBACK_COMPLETE: \S+: \S", said, re.MULTILINE), said
    stacks = system.cloud.client("cloudformation").describe_stacks()["Stacks"]
    assert [each["StackName"] for each in stacks] == [NAME]
    # The next try finds nothing in its way.
    variables |= {"S3_BUCKET_DESTINATION": "other-clips"}
    staging = ["--no-build", "--env", "staging", "--env-file", system.cloud.write_env_file(variables)]
    assert "cameras-service-generate-clip-staging is up" in system.cloud.run("create_stack", *staging)


def test_prod_is_changed_only_by_somebody_who_says_so(system: System) -> None:
    variables = system.variables | {"S3_BUCKET_ORIGIN": "prod-recordings", "S3_BUCKET_DESTINATION": "prod-clips"}
    stack = ["--no-build", "--env", "production", "--env-file", system.cloud.write_env_file(variables)]
    said = system.cloud.run("create_stack", *stack, succeeds=False)
    assert said == "error: prod is changed only by somebody who says so: YES=1 to create the stack\n"
    assert "cameras-service-generate-clip-prod is up" in system.cloud.run("create_stack", *stack, "--yes", "1")
    deploy = ["--no-build", "--env", "prod"]
    said = system.cloud.run("deploy", *deploy, succeeds=False)
    assert said == "error: prod is changed only by somebody who says so: YES=1 to deploy\n"


def test_making_a_stack_goes_on_where_it_was_broken_off(system: System) -> None:
    variables = system.variables | {"S3_BUCKET_ORIGIN": "other-recordings", "S3_BUCKET_DESTINATION": "other-clips"}
    parameters = {parameter: variables[name] for parameter, name in create_stack.FROM_VARIABLES.items()}
    parameters["RecordingsFolder"] = "live"
    staging = "cameras-service-generate-clip-staging"
    cloudformation = system.cloud.client("cloudformation")
    cloudformation.create_stack(
        StackName=staging,
        TemplateBody=create_stack.TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=staging, WaiterConfig={"Delay": 0.1})
    functions = system.cloud.client("lambda")
    assert staging not in [each["FunctionName"] for each in functions.list_functions()["Functions"]]
    assert f"{staging} is up" in system.cloud.run("create_stack", "--no-build", "--env", "staging")
    assert functions.get_alias(FunctionName=staging, Name="live")["FunctionVersion"] == "1"

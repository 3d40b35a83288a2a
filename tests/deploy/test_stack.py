"""Creating and updating stacks, and arguments that are rejected before any change."""

import re

import pytest

from cloud import Cloud
from scripts import ROOT
from scripts.deploy import create_stack
from scripts.local.stack import REGION
from system import NAME, System


@pytest.mark.parametrize("script", ["deploy", "rollback", "redrive", "doctor", "create_stack"])
def test_rejects_invalid_arguments_with_one_line_and_changes_nothing(cloud: Cloud, script: str) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    missing = {
        "deploy": "cannot find the function",
        "rollback": "cannot find the function",
        "redrive": "cannot find the function",
        "doctor": "cannot find the function",
        "create_stack": "ENV_FILE: cannot read /nowhere: no such file",
    }
    for arguments, variables, complaint in [
        (["--env", "live"], {}, "error: ENV: expected sandbox, staging or prod, got live"),
        ([], nobody, "error: cannot find AWS credentials"),
        ([], {}, f"error: {missing[script]}"),
    ]:
        # Without an environment, the doctor asks the local stack.
        options = {"create_stack": ["--env-file", "/nowhere"], "doctor": ["--env", "sandbox"]}.get(script, [])
        options = [] if arguments else options
        output = cloud.run(script, *arguments, *options, succeeds=False, **variables)
        assert output.startswith(complaint), output
        assert len(output.strip().splitlines()) == 1, output
    assert cloud.client("cloudformation").list_stacks()["StackSummaries"] == []


def test_rejects_the_addresses_of_a_sample_except_on_this_machine(system: System) -> None:
    # Another address of this machine, which the scripts do not count as local.
    elsewhere = {"AWS_ENDPOINT_URL": system.cloud.url.replace("127.0.0.1", "0.0.0.0")}
    before = system.live()
    for sample in sorted(ROOT.glob(".env.sample_*")):
        output = system.cloud.run("deploy", "--no-build", "--env-file", str(sample), succeeds=False, **elsewhere)
        placeholders = "CAM_SERVICES_URL, RECORDINGS_URL, CLIP_URL, AWS_SNS_TOPIC, AWS_SQS_QUEUE, AWS_SQS_QUEUE_URL"
        assert output == f"error: expected real addresses, got the placeholders of a sample: {placeholders}\n"
    assert system.live() == before
    stack = ["--no-build", "--function-name", "another", "--env-file", str(ROOT / ".env.sample_staging")]
    output = system.cloud.run("create_stack", *stack, succeeds=False, **elsewhere)
    placeholders = "CAM_SERVICES_URL, RECORDINGS_URL, CLIP_URL"
    assert output == f"error: expected real addresses, got the placeholders of a sample: {placeholders}\n"
    system.deploy(THUMBNAIL_SIZES="64")


def test_updates_a_stack_and_leaves_the_live_version_unchanged(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64 48")
    before = system.live()
    assert "nothing to change" in system.cloud.run("create_stack")
    topic = system.outputs["TopicArn"]
    assert "warning: the alarms notify nobody: make stack ENV=sandbox ALARM_TOPIC=arn" in system.cloud.run(
        "create_stack"
    )
    output = system.cloud.run("create_stack", "--alarm-topic", topic)
    assert "  modify  DeadLettersAlarm (AWS::CloudWatch::Alarm): AlarmActions" in output
    assert output.index("  modify  ") < output.index("update complete"), "what changes is shown first"
    assert "notify nobody" not in output
    alarms = system.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert [alarm["AlarmActions"] for alarm in alarms] == [[topic]] * 11
    assert system.live() == before
    system.ask("after")
    assert system.served("after")["thumbnail"]["sizes"] == [64, 48]
    # The stack does not take over an existing bucket.
    s3 = system.cloud.client("s3")
    s3.create_bucket(Bucket="theirs", CreateBucketConfiguration={"LocationConstraint": REGION})
    variables = system.variables | {"S3_BUCKET_ORIGIN": "theirs", "S3_BUCKET_DESTINATION": "clips-2"}
    staging = ["--no-build", "--env", "staging", "--env-file", system.cloud.write_env_file(variables)]
    assert "the bucket theirs exists already" in system.cloud.run("create_stack", *staging, "--arch", "arm64")
    functions = system.cloud.client("lambda")
    made = functions.get_function_configuration(FunctionName="cameras-service-generate-clip-staging")
    assert made["Architectures"] == ["arm64"]


def test_explains_why_a_stack_cannot_be_created_and_leaves_nothing(system: System) -> None:
    variables = system.variables | {"S3_BUCKET_ORIGIN": "other-recordings"}  # but the same clips
    staging = ["--no-build", "--env", "staging", "--env-file", system.cloud.write_env_file(variables)]
    output = system.cloud.run("create_stack", *staging, succeeds=False)
    assert re.search(
        r"^error: the stack: expected CREATE_COMPLETE, got ROLLBACK_COMPLETE: \S+: \S", output, re.MULTILINE
    ), output
    stacks = system.cloud.client("cloudformation").describe_stacks()["Stacks"]
    assert [each["StackName"] for each in stacks] == [NAME]
    # Nothing remains that the next try could conflict with.
    variables |= {"S3_BUCKET_DESTINATION": "other-clips"}
    staging = ["--no-build", "--env", "staging", "--env-file", system.cloud.write_env_file(variables)]
    assert "cameras-service-generate-clip-staging is up" in system.cloud.run("create_stack", *staging)


def test_changes_prod_only_with_a_confirmation(system: System) -> None:
    variables = system.variables | {"S3_BUCKET_ORIGIN": "prod-recordings", "S3_BUCKET_DESTINATION": "prod-clips"}
    stack = ["--no-build", "--env", "production", "--env-file", system.cloud.write_env_file(variables)]
    output = system.cloud.run("create_stack", *stack, succeeds=False)
    assert output == "error: cannot create the stack in prod without a confirmation: set YES=1\n"
    assert "cameras-service-generate-clip-prod is up" in system.cloud.run("create_stack", *stack, "--yes", "1")
    deploy = ["--no-build", "--env", "prod"]
    output = system.cloud.run("deploy", *deploy, succeeds=False)
    assert output == "error: cannot deploy in prod without a confirmation: set YES=1\n"


def test_completes_a_stack_whose_creation_was_interrupted(system: System) -> None:
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


def test_shows_when_a_change_takes_effect_and_sizes_the_queue_by_the_timeout(system: System) -> None:
    before = system.live()
    output = system.cloud.run("create_stack", "--timeout", "600", "--memory", "3008")
    modified = dict(re.findall(r"^  modify  (\w+) (.*)$", output, re.MULTILINE))
    assert modified["Queue"] == "(AWS::SQS::Queue): VisibilityTimeout; at once, for the live version too"
    # ministack also names what refers to other resources.
    assert re.search(r": .*MemorySize.*Timeout; with the next `make deploy`, which publishes", modified["Function"])
    assert modified["SlowAlarm"].startswith("(AWS::CloudWatch::Alarm): Threshold")
    queue = {"QueueUrl": system.outputs["QueueUrl"], "AttributeNames": ["VisibilityTimeout"]}
    assert system.cloud.client("sqs").get_queue_attributes(**queue)["Attributes"] == {"VisibilityTimeout": "3600"}
    assert system.live() == before
    system.deploy(THUMBNAIL_SIZES="64")
    assert (system.live()["Timeout"], system.live()["MemorySize"]) == (600, 3008)
    output = system.cloud.run("create_stack", "--timeout", "soon", succeeds=False)
    assert output == "error: TIMEOUT: expected 1 to 900 seconds, got soon\n"


def test_changes_a_stack_of_prod_only_with_a_confirmation_of_what_is_shown(system: System) -> None:
    variables = system.variables | {"S3_BUCKET_ORIGIN": "prod-recordings", "S3_BUCKET_DESTINATION": "prod-clips"}
    env_file = system.cloud.write_env_file(variables)
    prod = ["--no-build", "--env", "prod"]
    system.cloud.run("create_stack", *prod, "--env-file", env_file, "--yes", "1")
    output = system.cloud.run("create_stack", *prod, "--memory", "3008", succeeds=False)
    assert "  modify  Function (AWS::Lambda::Function): MemorySize" in output
    assert "error: cannot update the stack in prod without a confirmation: set YES=1" in output
    [described] = system.cloud.client("cloudformation").describe_stacks(StackName=NAME.replace("sandbox", "prod"))[
        "Stacks"
    ]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in described["Parameters"]}
    assert parameters["MemorySize"] == "2048"
    assert system.cloud.client("cloudformation").list_change_sets(StackName=described["StackId"])["Summaries"] == []

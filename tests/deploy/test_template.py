"""What the stack is made of."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cfnlint.decode
import pytest

from scripts import ROOT
from scripts.deploy.create_stack import TEMPLATE

RESOURCES: dict[str, dict[str, Any]] = cfnlint.decode.decode(str(TEMPLATE))[0]["Resources"]


def of_type(kind: str) -> dict[str, dict]:
    return {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == kind}


def test_cfn_lint_has_nothing_to_say() -> None:
    lint = [str(Path(sys.executable).parent / "cfn-lint"), str(TEMPLATE)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", of_type("AWS::S3::Bucket"))
def test_buckets_are_encrypted_private_tls_only_and_rid_of_aborted_uploads(name: str) -> None:
    bucket = RESOURCES[name]["Properties"]
    [encryption] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    private = bucket["PublicAccessBlockConfiguration"]
    assert len(private) == 4
    assert all(private.values())
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert any(rule["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in rule for rule in rules)
    assert RESOURCES[name]["DeletionPolicy"] == "Retain"
    [policy] = [each for each in of_type("AWS::S3::BucketPolicy").values() if each["Bucket"] == {"Ref": name}]
    tls = policy["PolicyDocument"]["Statement"][0]
    assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert tls["Resource"] == [{"Fn::GetAtt": [name, "Arn"]}, {"Fn::Sub": f"${{{name}.Arn}}/*"}]


def test_a_message_stays_hidden_while_it_may_be_worked_on_and_is_kept_longer_once_it_is_dead() -> None:
    queue, dead = (RESOURCES[name]["Properties"] for name in ("Queue", "DeadLetters"))
    assert queue["VisibilityTimeout"] >= 6 * RESOURCES["Function"]["Properties"]["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    assert dead["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
    assert not any(name.get("FifoQueue") for name in (queue, dead))


def test_the_function() -> None:
    function = RESOURCES["Function"]["Properties"]
    assert (function["Runtime"], function["Handler"]) == ("provided.al2023", "bootstrap")
    assert 128 <= function["MemorySize"] <= 10_240
    assert 512 <= function["EphemeralStorage"]["Size"] <= 10_240
    assert function["Timeout"] <= 900
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": "Log"}}
    assert function["Layers"] == [{"Ref": "Ffmpeg"}]
    assert function["Architectures"] == [{"Ref": "Architecture"}]
    assert RESOURCES["Log"]["Properties"]["RetentionInDays"] == 30


def test_the_trigger_invokes_what_serves_and_takes_partial_failures() -> None:
    trigger = RESOURCES["Trigger"]["Properties"]
    assert trigger["FunctionName"] == {"Ref": "Live"}
    assert 1 <= trigger["BatchSize"] <= 10
    assert trigger["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert trigger["ScalingConfig"]["MaximumConcurrency"] >= 2


def test_alarms_watch_dead_letters_age_errors_and_fatal_errors_and_the_dashboard_shows_them() -> None:
    watched = {
        "ApproximateNumberOfMessagesVisible": "DeadLetters",
        "ApproximateAgeOfOldestMessage": "Queue",
        "Errors": "",
        "Requests": "",
    }
    alarms = {each["MetricName"]: each for each in of_type("AWS::CloudWatch::Alarm").values()}
    assert alarms.keys() == watched.keys()
    for metric, queue in watched.items():
        if queue:
            [dimension] = alarms[metric]["Dimensions"]
            assert dimension["Value"] == {"Fn::GetAtt": [queue, "QueueName"]}
    # The metric is the function's own; tests/it/telemetry.rs reads it as CloudWatch does.
    fatal = alarms["Requests"]
    assert f'"{fatal["Namespace"]}"' in (ROOT / "src/telemetry.rs").read_text()
    assert {"Name": "Status", "Value": "FATAL_ERROR"} in fatal["Dimensions"]
    [dashboard] = of_type("AWS::CloudWatch::Dashboard").values()
    assert all(metric in dashboard["DashboardBody"]["Fn::Sub"] for metric in watched)


def test_the_dashboard_shows_the_metrics_that_the_function_writes() -> None:
    [dashboard] = of_type("AWS::CloudWatch::Dashboard").values()
    body = json.loads(re.sub(r"\$\{[^}]*\}", "x", dashboard["DashboardBody"]["Fn::Sub"]))
    metrics = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
    shown = {metric[1] for metric in metrics if metric[0] == "CamerasServiceGenerateClip"}
    # README's table of metrics: tests/it/telemetry.rs reads them as CloudWatch does
    rows = re.findall(r"^\| (`.*`) \| (?:Count|Milliseconds|Bytes) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    written = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert shown <= written
    # of the stages those that take time
    assert {name for name in written - shown if not name.endswith("Duration")} == set()
    statuses = {metric[5] for metric in metrics if metric[1] == "Requests" and len(metric) > 5}
    assert statuses >= set(re.findall(r"=> \"([A-Z_]+)\",", (ROOT / "src/verdict.rs").read_text())) | {"FAILED"}


def test_the_role_may_do_what_the_code_does_on_one_thing_each() -> None:
    [role] = of_type("AWS::IAM::Role").values()
    assert "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    allowed = []
    for statement in policy["PolicyDocument"]["Statement"]:
        actions, resource = statement["Action"], statement["Resource"]
        assert statement["Effect"] == "Allow"
        assert not isinstance(resource, list), "one thing each"
        for text in re.findall(r"'([^']*\*[^']*)'", str([actions, resource])):
            if text.endswith(":log-group:/aws/lambda/${AWS::StackName}:*"):
                continue  # the streams of one group
            assert text.startswith("arn:${AWS::Partition}:s3:::${"), (
                f"{text}: a star stands for objects of a bucket only"
            )
            assert text.endswith("/*")
        allowed += [actions] if isinstance(actions, str) else actions
    assert sorted(allowed) == [
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:GetObject",  # of recordings
        "s3:GetObject",  # HEAD of clips
        "s3:ListBucket",
        "s3:ListBucket",
        "s3:PutObject",
        "sns:Publish",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    ]

"""The CloudFormation template."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cfnlint.decode
import pytest

from scripts import ROOT
from scripts.deploy import create_stack, self_check
from scripts.deploy.create_stack import TEMPLATE

DECODED: dict[str, dict[str, Any]] = cfnlint.decode.decode(str(TEMPLATE))[0]
RESOURCES: dict[str, dict[str, Any]] = DECODED["Resources"]


def default(parameter: str) -> int:
    return DECODED["Parameters"][parameter]["Default"]


def of_type(kind: str) -> dict[str, dict]:
    return {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == kind}


def test_passes_cfn_lint() -> None:
    lint = [str(Path(sys.executable).parent / "cfn-lint"), str(TEMPLATE)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", of_type("AWS::S3::Bucket"))
def test_buckets_are_encrypted_private_tls_only_and_remove_aborted_uploads(name: str) -> None:
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


def test_hides_a_message_while_the_function_works_on_it_and_keeps_dead_letters_longer() -> None:
    queue, dead = (RESOURCES[name]["Properties"] for name in ("Queue", "DeadLetters"))
    assert queue["VisibilityTimeout"] == {"Ref": "VisibilityTimeout"}
    assert default("VisibilityTimeout") == create_stack.VISIBILITY_IN_TIMEOUTS * default("Timeout")
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 8
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    assert dead["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
    assert not any(name.get("FifoQueue") for name in (queue, dead))


def test_configures_the_function() -> None:
    function = RESOURCES["Function"]["Properties"]
    assert (function["Runtime"], function["Handler"]) == ("provided.al2023", "bootstrap")
    assert function["MemorySize"] == {"Ref": "MemorySize"}
    assert function["EphemeralStorage"] == {"Size": {"Ref": "TmpSize"}}
    assert function["Timeout"] == {"Ref": "Timeout"}
    # src/sizing.rs says that these are enough for the longest clip.
    assert (default("MemorySize"), default("TmpSize"), default("Timeout")) == (2048, 2048, 900)
    assert function["TracingConfig"] == {"Mode": {"Ref": "Tracing"}}
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": "Log"}}
    assert function["Layers"] == [{"Ref": "Ffmpeg"}]
    assert function["Architectures"] == [{"Ref": "Architecture"}]
    assert RESOURCES["Log"]["Properties"]["RetentionInDays"] == 30


def test_lambda_does_not_cut_the_loop_of_waiting_requests() -> None:
    # ministack ignores this property. Lambda stops loops after about 16 rounds (AWS Lambda Developer Guide, "Use Lambda
    # recursive loop detection to prevent infinite loops").
    assert RESOURCES["Function"]["Properties"]["RecursiveLoop"] == "Allow"


def test_the_function_knows_its_queue_and_its_trigger() -> None:
    variables = RESOURCES["Function"]["Properties"]["Environment"]["Variables"]
    queue, trigger = RESOURCES["Queue"]["Properties"], RESOURCES["Trigger"]["Properties"]
    assert variables["SQS_MAX_RECEIVES"] == str(queue["RedrivePolicy"]["maxReceiveCount"])
    reports = trigger["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert variables["REPORT_BATCH_ITEM_FAILURES"] == str(reports)


def test_the_trigger_invokes_the_live_version_and_accepts_partial_failures() -> None:
    trigger = RESOURCES["Trigger"]["Properties"]
    assert trigger["FunctionName"] == {"Ref": "Live"}
    assert 1 <= trigger["BatchSize"] <= 10
    assert trigger["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert trigger["ScalingConfig"]["MaximumConcurrency"] == {"Ref": "MaximumConcurrency"}
    assert default("MaximumConcurrency") == 10


def test_the_live_version_checks_itself_every_quarter_of_an_hour() -> None:
    [rule] = of_type("AWS::Events::Rule").values()
    [target] = rule["Targets"]
    assert (rule["ScheduleExpression"], target["Arn"]) == ("rate(15 minutes)", {"Ref": "Live"})
    assert json.loads(target["Input"]) == self_check.EVENT
    # A fault that passes, which one check meets, raises no alarm.
    alarm = of_type("AWS::CloudWatch::Alarm")["SelfCheckAlarm"]
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (15 * 60, 2)
    [permission] = of_type("AWS::Lambda::Permission").values()
    assert (permission["FunctionName"], permission["Principal"]) == ({"Ref": "Live"}, "events.amazonaws.com")


def test_alarms_watch_what_their_metrics_name() -> None:
    # The dimension of each metric, and what it names.
    queues = {"ApproximateNumberOfMessagesVisible": "DeadLetters", "ApproximateAgeOfOldestMessage": "Queue"}
    of_lambda = {"Errors", "Throttles", "Duration", "RecursiveInvocationsDropped"}
    own = {"Failures", "Requests", "MetadataRefused", "Tries", "SelfCheckFailures"}
    alarms = {each["MetricName"]: each for each in of_type("AWS::CloudWatch::Alarm").values()}
    assert alarms.keys() == queues.keys() | of_lambda | own
    for metric, alarm in alarms.items():
        names = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
        if metric in queues:
            expected = {"QueueName": {"Fn::GetAtt": [queues[metric], "QueueName"]}}
        elif metric in of_lambda:
            expected = {"FunctionName": {"Ref": "AWS::StackName"}}
        else:
            expected = {"Function": {"Ref": "AWS::StackName"}} | (
                {"Status": "FATAL_ERROR"} if metric == "Requests" else {}
            )
        assert names == expected, metric
        assert alarm["AlarmActions"] == {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
        assert alarm["TreatMissingData"] == "notBreaching"
    # The function writes these metrics itself; tests/it/telemetry.rs reads them as CloudWatch does.
    source = "".join(file.read_text() for file in ROOT.glob("src/telemetry/*.rs"))
    for metric in own:
        assert alarms[metric]["Namespace"] == "CamerasServiceGenerateClip"
        assert f'"{metric}"' in source
    assert alarms["Duration"]["Threshold"] == {"Ref": "SlowMilliseconds"}
    assert default("SlowMilliseconds") == default("Timeout") * 10 * create_stack.SLOW_PERCENT
    [dashboard] = of_type("AWS::CloudWatch::Dashboard").values()
    assert all(metric in dashboard["DashboardBody"]["Fn::Sub"] for metric in alarms)


def test_the_documentation_says_what_each_alarm_means_and_what_to_do() -> None:
    documentation = (ROOT / "docs/operations.md").read_text()
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        rows = [line for line in documentation.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(rows) == 1, name
        condition, meaning, action = (cell.strip() for cell in rows[0].strip("| ").split(" | ")[1:])
        assert condition, name
        assert meaning, name
        assert action, name
        queries = [query for query in re.findall(r"\| \*\*([^*]+)\*\*", documentation) if f"*{query}*" in action]
        assert queries or "No log" in action, f"{name}: expected the name of a query, or that there is no log"
        assert alarm["AlarmDescription"], name


def test_the_dashboard_shows_the_metrics_that_the_function_writes() -> None:
    [dashboard] = of_type("AWS::CloudWatch::Dashboard").values()
    body = json.loads(re.sub(r"\$\{[^}]*\}", "x", dashboard["DashboardBody"]["Fn::Sub"]))
    metrics = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
    shown = {metric[1] for metric in metrics if metric[0] == "CamerasServiceGenerateClip"}
    # The documentation has a table of the metrics; tests/it/telemetry.rs reads them as CloudWatch does.
    documentation = "".join(file.read_text() for file in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
    rows = re.findall(r"^\| (`.*`) \| (?:Count|Milliseconds|Bytes) \|", documentation, re.MULTILINE)
    written = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert shown <= written
    # The dashboard leaves out the shortest stages.
    assert {name for name in written - shown if not name.endswith("Duration")} == set()
    statuses = {metric[5] for metric in metrics if metric[1] == "Requests" and len(metric) > 5}
    contract = (ROOT / "src/contract/status.rs").read_text().partition("#[cfg(test)]")[0]
    documented = set(re.findall(r'"([A-Z_]{5,})"', contract))
    assert len(documented) == 7
    assert statuses >= documented | {"FAILED"}


def test_the_role_allows_only_the_calls_of_the_code_on_single_resources() -> None:
    [role] = of_type("AWS::IAM::Role").values()
    assert "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    allowed = []
    for statement in policy["PolicyDocument"]["Statement"]:
        actions, resource = statement["Action"], statement["Resource"]
        assert statement["Effect"] == "Allow"
        assert not isinstance(resource, list), "one resource each"
        for text in re.findall(r"'([^']*\*[^']*)'", str([actions, resource])):
            if text.endswith(":log-group:/aws/lambda/${AWS::StackName}:*"):
                continue  # the streams of one group
            if statement["Sid"] == "Trace":
                continue  # X-Ray has no resources
            assert text.startswith("arn:${AWS::Partition}:s3:::${"), (
                f"{text}: only the objects of a bucket may be a star"
            )
            assert text.endswith("/*")
        allowed += [actions] if isinstance(actions, str) else actions
    assert sorted(allowed) == [
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:DeleteObject",  # of the self-check
        "s3:GetObject",  # of recordings
        "s3:GetObject",  # HEAD of clips
        "s3:GetObjectVersion",  # of recordings that are put anew
        "s3:ListBucket",
        "s3:ListBucket",
        "s3:PutObject",
        "sns:GetTopicAttributes",  # by the self-check
        "sns:Publish",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    ]

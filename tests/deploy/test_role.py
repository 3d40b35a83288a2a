"""The role's policy on a server that checks signatures and policies: it allows every scenario and nothing more."""

import ast
import json
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from held_camera import CAMERA, RECORDING, START_MS, CameraApi
from scripts import ROOT
from scripts.create_test_event import CLIP_MS, OUT_OF_RANGE_LIMIT_MS, RETRY_LIMIT_MS
from scripts.deploy.create_stack import TEMPLATE
from scripts.function import package, runtime_api
from scripts.local import ministack
from scripts.local.stack import REGION
from scripts.shared import processes
from system import FFMPEG, NAME

MISSING, DOWN, BROKEN = "2", "3", "4"
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Scenario:
    """A request, its last status, and what becomes of its message."""

    status: str
    camera: str
    start: int
    end: int
    retries: list[int] = field(default_factory=list)
    outcome: str = "done"

    def body(self, clip: str) -> dict:
        return {
            "clipId": clip,
            "cameraId": self.camera,
            "startTimestampInMs": self.start,
            "endTimestampInMs": self.end,
            "retryTimestamps": self.retries,
        }


def scenarios(now: int) -> dict[str, Scenario]:
    """Returns a scenario for each line of the status table."""
    young, old = now - CLIP_MS, now - 2 * OUT_OF_RANGE_LIMIT_MS
    middle = now - (RETRY_LIMIT_MS + OUT_OF_RANGE_LIMIT_MS) // 2
    return {
        "too long": Scenario("CLIP_TOO_LONG", CAMERA, START_MS, START_MS + 300_001),
        "whole": Scenario("CLIP_AVAILABLE", CAMERA, START_MS + 1000, START_MS + 2000),
        "missing object": Scenario("CLIP_PENDING", MISSING, young, now, outcome="sent back"),
        "not yet": Scenario("CLIP_PENDING", DOWN, young, now, outcome="sent back"),
        "with a gap": Scenario("CLIP_AVAILABLE", CAMERA, START_MS + 4000, START_MS + 7000),
        "retry timeout": Scenario("CLIP_RETRY_TIMEOUT", DOWN, middle, middle + CLIP_MS, [middle + CLIP_MS]),
        "out of range": Scenario("CLIP_OUT_OF_RANGE", DOWN, old, old + CLIP_MS),
        "nothing": Scenario("CLIP_NOT_AVAILABLE", DOWN, middle, middle + CLIP_MS),
        "broken": Scenario("FATAL_ERROR", BROKEN, START_MS, START_MS + 1000, outcome="failed"),
    }


class Aws:
    """The stack without its function, which runs on this machine with the credentials of the role."""

    def __init__(self, url: str, camera_api: CameraApi, recording: bytes) -> None:
        self.url, self.camera_api = url, camera_api
        anybody = boto3.Session("nobody", "knows", region_name=REGION)
        parameters = {
            "CamServicesUrl": camera_api.url,
            "RecordingsUrl": camera_api.url,
            "ClipUrl": "https://clips.test",
            "RecordingsBucket": "recordings",
            "RecordingsFolder": "live",
            "ClipsBucket": "clips",
        }
        cloudformation = anybody.client("cloudformation", endpoint_url=url)
        cloudformation.create_stack(
            StackName=NAME,
            TemplateBody=TEMPLATE.read_text(),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        [described] = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
        s3 = anybody.client("s3", endpoint_url=url)
        for bucket in ("recordings", "clips"):
            s3.delete_bucket_policy(Bucket=bucket)  # requires TLS, which this server does not support
        s3.put_object(Bucket="recordings", Key=f"live/{RECORDING}", Body=recording)
        s3.put_object(Bucket="recordings", Key="live/broken.20180916T173017000.mp4", Body=b"<html>not found</html>")
        self.admin = self._administrator(anybody)
        # From now on the server checks signatures and policies.
        plain = {"Content-Type": "text/plain"}
        reset = urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", plain)
        urllib.request.urlopen(reset, timeout=10).close()

        self.iam = self.admin.client("iam", endpoint_url=url)
        self.role_name = self.outputs["RoleArn"].rpartition("/")[2]
        policy = self.iam.get_role_policy(RoleName=self.role_name, PolicyName="function")["PolicyDocument"]
        # This server stores a stack's policy as a Python literal, which it cannot read.
        self.statements = ast.literal_eval(policy)["Statement"]
        self.allow(self.statements)
        # The administrator assumes the role here. On AWS only Lambda may.
        administrator = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [administrator]})
        self.iam.update_assume_role_policy(RoleName=self.role_name, PolicyDocument=trust)
        assumed = self.admin.client("sts", endpoint_url=url).assume_role(
            RoleArn=self.outputs["RoleArn"], RoleSessionName="function"
        )["Credentials"]
        self.credentials = {
            "AWS_ACCESS_KEY_ID": assumed["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": assumed["SecretAccessKey"],
            "AWS_SESSION_TOKEN": assumed["SessionToken"],
        }
        self.role = boto3.Session(*self.credentials.values(), region_name=REGION)

    def _administrator(self, anybody: boto3.Session) -> boto3.Session:
        iam = anybody.client("iam", endpoint_url=self.url)
        iam.create_user(UserName="administrator")
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_user_policy(UserName="administrator", PolicyName="all", PolicyDocument=json.dumps(everything))
        key = iam.create_access_key(UserName="administrator")["AccessKey"]
        return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)

    def environment(self, scratch: Path) -> dict[str, str]:
        return {
            **self.credentials,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "CAM_SERVICES_URL": self.camera_api.url,
            "RECORDINGS_URL": self.camera_api.url,
            "CLIP_URL": "https://clips.test",
            "S3_BUCKET_ORIGIN": "recordings",
            "S3_BUCKET_ORIGIN_DIR": "live",
            "S3_BUCKET_DESTINATION": "clips",
            "AWS_SNS_TOPIC": self.outputs["TopicArn"],
            "AWS_SQS_QUEUE": self.outputs["QueueArn"],
            "AWS_SQS_QUEUE_URL": self.outputs["QueueUrl"],
            "CLIP_DOWNLOAD_DEST": str(scratch),
            "FFMPEG_PATH": str(FFMPEG),
            "THUMBNAIL_SIZES": "64",
            "SQS_TIMEOUT": "0",
        }

    def allow(self, statements: list[dict]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.iam.put_role_policy(RoleName=self.role_name, PolicyName="function", PolicyDocument=document)

    def handle(self, function: runtime_api.Function, scenario: Scenario, clip: str = "") -> str:
        """Takes a message through the queue and the function into the log, as Lambda does. Returns the outcome."""
        clip = clip or f"c{uuid.uuid4().hex}"
        queue = {"QueueUrl": self.outputs["QueueUrl"]}
        admin, sqs, logs = (
            self.admin.client("sqs", endpoint_url=self.url),
            self.role.client("sqs", endpoint_url=self.url),
            self.role.client("logs", endpoint_url=self.url),
        )
        admin.send_message(**queue, MessageBody=json.dumps(scenario.body(clip)))
        message = None
        try:
            sqs.get_queue_attributes(**queue, AttributeNames=["All"])
            [message] = sqs.receive_message(**queue, MessageSystemAttributeNames=["All"])["Messages"]
            record = {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "eventSourceARN": self.outputs["QueueArn"],
            }
            response = function.invoke({"Records": [record]})
            if response.ok:
                sqs.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])
            stream = {"logGroupName": f"/aws/lambda/{NAME}", "logStreamName": message["MessageId"]}
            logs.create_log_stream(**stream)
            event = {"timestamp": time.time_ns() // 1_000_000, "message": json.dumps(response.body)}
            logs.put_log_events(**stream, logEvents=[event])
        except sqs.exceptions.ClientError as error:
            return f"{error.operation_name} answered {error.response['ResponseMetadata']['HTTPStatusCode']}"
        finally:
            if message:  # a failed message would come back
                admin.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])
            back = admin.receive_message(**queue, MaxNumberOfMessages=10).get("Messages", [])
            for message in back:
                admin.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])
        statuses = [put["status"] for put in self.camera_api.puts if put["clipId"] == clip]
        outcome = "sent back" if back else "done" if response.ok else "failed"
        return f"{statuses[-1] if statuses else 'no status'}, {outcome}"


@pytest.fixture
def aws(packages: None, tmp_path: Path, camera_api: CameraApi, recording: bytes) -> Iterator[Aws]:
    now = time.time_ns() // 1_000_000
    camera_api.cameras |= {
        MISSING: [
            (f"missing.{time.strftime('%Y%m%dT%H%M%S', time.gmtime((now - HOUR_MS) // 1000))}.mp4", now - HOUR_MS, now)
        ],
        DOWN: [],
        BROKEN: [("broken.20180916T173017000.mp4", START_MS, START_MS + 5000)],
    }
    port = ministack.free_port(0)
    log_file = tmp_path / "moto.log"
    command = [sys.executable, str(ROOT / "tests/deploy/strict_moto.py"), "-H", "127.0.0.1", "-p", str(port)]
    environment = {"PATH": "/usr/bin:/bin", "INITIAL_NO_AUTH_ACTION_COUNT": "1000000"}
    with log_file.open("wb") as log, processes.running(command, environment, log) as process:
        ministack.wait_for(f"http://127.0.0.1:{port}/moto-api/", process, log_file)
        yield Aws(f"http://127.0.0.1:{port}", camera_api, recording)


def test_the_role_allows_every_scenario_and_needs_each_statement(aws: Aws, tmp_path: Path) -> None:
    package.unpack(package.FUNCTION_ZIP, tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    statements = aws.statements
    table = scenarios(time.time_ns() // 1_000_000)
    expected = {name: f"{scenario.status}, {scenario.outcome}" for name, scenario in table.items()}
    with runtime_api.running(tmp_path / "bootstrap", aws.environment(scratch), tmp_path / "log") as function:
        outcomes = {name: aws.handle(function, scenario) for name, scenario in table.items()}
        assert outcomes == expected, f"with the whole policy; see {tmp_path / 'log'}"

        # A scenario that fails without the statement, and its outcome.
        breaks = {
            "ReadRecordings": ("whole", "no status, failed"),
            "ListRecordings": ("missing object", "no status, failed"),
            "StoreClips": ("whole", "no status, failed"),
            "ListClips": ("nothing", "CLIP_NOT_AVAILABLE, done"),  # but see the warning
            "Announce": ("too long", "CLIP_TOO_LONG, failed"),
            "SendBack": ("not yet", "CLIP_PENDING, failed"),
            "Hide": ("broken", "FATAL_ERROR, failed"),
            # No request needs these.
            "LookTopicUp": ("too long", "CLIP_TOO_LONG, done"),
            "RemoveSelfCheck": ("too long", "CLIP_TOO_LONG, done"),
            "Poll": ("nothing", "GetQueueAttributes answered 403"),
            "Log": ("nothing", "CreateLogStream answered 403"),
            "Trace": ("too long", "CLIP_TOO_LONG, done"),  # Lambda itself sends traces
        }
        assert [each["Sid"] for each in statements] == list(breaks)
        for sid, (name, outcome) in breaks.items():
            aws.allow([each for each in statements if each["Sid"] != sid])
            assert aws.handle(function, table[name]) == outcome, f"without {sid}; see {tmp_path / 'log'}"
            # nothing else depends on the right to hide messages
            warned = "visibility of messages not changed" in (tmp_path / "log").read_text()
            before_hide = {"ReadRecordings", "ListRecordings", "StoreClips", "ListClips", "Announce", "SendBack"}
            assert warned == (sid not in before_hide), f"without {sid}; see {tmp_path / 'log'}"
            if sid == "ListClips":
                assert "stored clips not recognized" in (tmp_path / "log").read_text()
        aws.allow(statements)
        assert aws.handle(function, table["whole"]) == expected["whole"], "with all statements again"


def test_a_role_that_may_only_put_makes_the_clip_at_each_delivery(aws: Aws, tmp_path: Path) -> None:
    package.unpack(package.FUNCTION_ZIP, tmp_path)
    scratch, log = tmp_path / "scratch", tmp_path / "log"
    scratch.mkdir()
    put_only = [
        {**each, "Action": "s3:PutObject"} if each["Sid"] == "StoreClips" else each
        for each in aws.statements
        if each["Sid"] != "ListClips"
    ]
    whole = scenarios(time.time_ns() // 1_000_000)["whole"]
    with runtime_api.running(tmp_path / "bootstrap", aws.environment(scratch), log) as function:
        aws.allow(put_only)
        outcomes = [aws.handle(function, whole, "again") for _ in range(2)]
        assert outcomes == ["CLIP_AVAILABLE, done"] * 2, f"see {log}"
        assert log.read_text().count("stored clips not recognized") == 1, "one warning a process"
        assert 'mode="stored"' not in log.read_text(), "each delivery renders"
        aws.allow(aws.statements)
        assert aws.handle(function, whole, "again") == "CLIP_AVAILABLE, done", f"see {log}"
        assert log.read_text().count('mode="stored"') == 1, "with the right to look, the clip is recognized"


def test_the_self_check_tells_each_missing_right_that_can_be_told(aws: Aws, tmp_path: Path) -> None:
    package.unpack(package.FUNCTION_ZIP, tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    untried = {"right to publish", "right to send messages", "metadata"}
    # What each missing statement changes. A right that serving does not need is told apart from one that it needs.
    fails, unknown = "fails", "can't be told"
    changes = {
        "ReadRecordings": {"recordings: look-up": fails, "recordings: read": fails},
        "ListRecordings": {"recordings: look-up": fails, "recordings: read": unknown},
        "StoreClips": {"clips: store": fails, "clips: look-up": unknown},
        "ListClips": {"clips: look-up": unknown},
        "Announce": {},
        "SendBack": {},
        "Hide": {},
        "LookTopicUp": {"topic": unknown},
        "RemoveSelfCheck": {"clips: remove": unknown},
        "Poll": {"queue": unknown},
        "Log": {},
        "Trace": {},
    }
    assert [each["Sid"] for each in aws.statements] == list(changes)
    with runtime_api.running(tmp_path / "bootstrap", aws.environment(scratch), tmp_path / "log") as function:
        for sid, changed in {"": {}, **changes}.items():
            aws.allow([each for each in aws.statements if each["Sid"] != sid])
            response = function.invoke({"selfCheck": True})
            assert response.ok, response.body
            outcomes = {row["thing"]: row["outcome"] for row in response.body["selfCheck"]}
            expected = {thing: "can't be told" if thing in untried else "works" for thing in outcomes} | changed
            assert outcomes == expected, f"without {sid or 'nothing'}: {response.body}"
            stays = aws.admin.client("s3", endpoint_url=aws.url).list_objects_v2(Bucket="clips", Prefix=".self-check")
            assert stays["KeyCount"] == (sid == "RemoveSelfCheck"), f"without {sid or 'nothing'}: {stays}"
            said = {row["thing"]: row["missing"] for row in response.body["selfCheck"]}["clips: remove"] or ""
            assert ("s3://clips/.self-check stays" in said) == (sid == "RemoveSelfCheck"), said
    assert not aws.camera_api.puts


def test_the_server_rejects_wrong_signatures(aws: Aws) -> None:
    wrong: dict[str, Any] = {
        "aws_secret_access_key": "another",
        "aws_access_key_id": aws.credentials["AWS_ACCESS_KEY_ID"],
    }
    s3 = boto3.client("s3", endpoint_url=aws.url, region_name=REGION, **wrong)
    with pytest.raises(s3.exceptions.ClientError, match=r"SignatureDoesNotMatch|InvalidAccessKeyId"):
        s3.list_objects_v2(Bucket="clips")

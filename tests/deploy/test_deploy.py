"""From a stack to clips on ministack, by the scripts that a person runs, with the real packages."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import package
import pytest
from stack import REGION

from conftest import CAMERA, FFMPEG, RECORDING, START_MS, CameraApi, Cloud

NAME = "cameras-service-generate-clip-sandbox"


class System:
    """The stack in a sandbox, with a recording in it."""

    def __init__(self, cloud: Cloud, camera_api: CameraApi, recording: bytes) -> None:
        self.cloud, self.camera_api = cloud, camera_api
        variables = {
            "CAM_SERVICES_URL": camera_api.url,
            "RECORDINGS_URL": camera_api.url,
            "CLIP_URL": "https://clips.test",
            "S3_BUCKET_ORIGIN": "recordings",
            "S3_BUCKET_ORIGIN_DIR": "/live/",
            "S3_BUCKET_DESTINATION": "clips",
        }
        self.said = cloud.run("create_stack.py", "--no-build", "--env-file", cloud.write_env_file(variables))
        [described] = cloud.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
        cloud.client("s3").put_object(Bucket="recordings", Key=f"live/{RECORDING}", Body=recording)
        scratch = cloud.folder / "function"
        scratch.mkdir()
        self.variables = {
            **variables,
            "AWS_SNS_TOPIC": self.outputs["TopicArn"],
            "AWS_SQS_QUEUE": self.outputs["QueueArn"],
            "AWS_SQS_QUEUE_URL": self.outputs["QueueUrl"],
            "CLIP_DOWNLOAD_DEST": str(scratch),
            "FFMPEG_PATH": str(FFMPEG),  # here no layer is mounted
            "THUMBNAIL_SIZES": "64",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",  # here Lambda doesn't tell
        }

    def deploy(self, *arguments: str, succeeds: bool = True, **changes: str) -> str:
        """Deploys with other variables than before, if any are given."""
        if changes:
            self.variables |= changes
        env_file = ["--env-file", self.cloud.write_env_file(self.variables)] if changes else []
        return self.cloud.run("deploy.py", "--no-build", *env_file, *arguments, succeeds=succeeds)

    def ask(self, clip: str, camera: str = CAMERA, earlier: list[str] | None = None) -> None:
        body = {
            "clipId": clip,
            "cameraId": camera,
            "startTimestampInMs": START_MS + 1000,
            "endTimestampInMs": START_MS + 3000,
            "retryTimestamps": earlier or [],
        }
        sqs = self.cloud.client("sqs")
        sqs.send_message(QueueUrl=self.outputs["QueueUrl"], MessageBody=json.dumps(body))

    def served(self, clip: str) -> dict:
        return self.camera_api.until(clip, lambda status: status == "CLIP_AVAILABLE")

    def live(self) -> dict:
        functions = self.cloud.client("lambda")
        live = functions.get_function_configuration(FunctionName=NAME, Qualifier="live")
        return {name: value for name, value in live.items() if name != "ResponseMetadata"}


@pytest.fixture
def system(cloud: Cloud, camera_api: CameraApi, recording: bytes) -> System:
    return System(cloud, camera_api, recording)


@pytest.fixture
def other_function(packages: None, tmp_path: Path) -> SimpleNamespace:
    """A package with other code: the same, but for a few bytes behind its end."""
    with zipfile.ZipFile(package.FUNCTION_ZIP) as zipped:
        (tmp_path / "bootstrap").write_bytes(zipped.read("bootstrap") + b"another")
    (tmp_path / "bootstrap").chmod(0o755)
    other = tmp_path / package.FUNCTION_ZIP.name
    package.pack(other, {"bootstrap": tmp_path / "bootstrap"}, 1 << 30)
    return SimpleNamespace(zip=other, sha256=package.sha256(other))


def test_a_message_to_the_stacks_queue_becomes_a_clip(system: System) -> None:
    said = system.deploy(CLIP_URL="https://clips.test/")
    assert "serves version 2, after 1" in said
    live = system.live()
    assert live["CodeSha256"] == package.sha256(package.FUNCTION_ZIP)
    assert [layer["Arn"].rsplit(":", 1)[1] for layer in live["Layers"]] == ["1"], "its bytes were there already"
    assert (live["MemorySize"], live["Timeout"], live["Runtime"]) == (2048, 300, "provided.al2023")
    system.ask("first")
    assert system.served("first")["bucket"] == "clips"
    s3 = system.cloud.client("s3")
    stored = s3.list_objects_v2(Bucket="clips", Prefix=f"{CAMERA}/")["Contents"]
    assert [each["Key"] for each in stored] == [f"{CAMERA}/first.mp4", f"{CAMERA}/first_64.png"]
    [code, layer] = [each["Key"] for each in s3.list_objects_v2(Bucket=system.outputs["CodeBucket"])["Contents"]]
    assert code.startswith("cameras-service-generate-clip/0.1.0-")
    assert layer.startswith("ffmpeg-layer/0.1.0-")


def test_a_message_that_fails_is_retried_and_ends_as_a_dead_letter_that_can_be_sent_back(system: System) -> None:
    system.deploy(CLIP_URL="https://clips.test/")
    sqs = system.cloud.client("sqs")
    # The stack's half an hour between tries would be long for a test; their number is the stack's.
    sqs.set_queue_attributes(QueueUrl=system.outputs["QueueUrl"], Attributes={"VisibilityTimeout": "0"})
    system.ask("lost", camera="9", earlier=["1537119020000"])
    [dead] = _receive(sqs, system.outputs["DeadLettersUrl"])
    assert dead["Attributes"]["ApproximateReceiveCount"] == "6", "five tries, and this look at it"
    sqs.change_message_visibility(
        QueueUrl=system.outputs["DeadLettersUrl"], ReceiptHandle=dead["ReceiptHandle"], VisibilityTimeout=0
    )

    listed = system.cloud.run("redrive.py")
    assert f"{dead['MessageId']}  lost  sent " in listed
    assert "/cameras/9: no such camera" in listed, "the reason"
    assert "none sent back" in listed
    assert "left" not in system.cloud.run("redrive.py", "--clips", "another"), "not chosen"

    # Now nothing takes it, so that it can be seen.
    [trigger] = system.cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    system.cloud.client("lambda").update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    assert f"sent back: {dead['MessageId']}" in system.cloud.run("redrive.py", "--clips", "lost")
    [again] = _receive(sqs, system.outputs["QueueUrl"])
    sent = dead["Attributes"]["SentTimestamp"]
    assert json.loads(again["Body"]) == json.loads(dead["Body"]) | {"retryTimestamps": ["1537119020000", sent]}
    assert "no dead letters" in system.cloud.run("redrive.py")


def test_redrive_leaves_what_is_no_request_and_reads_what_python_wrote(system: System) -> None:
    sqs = system.cloud.client("sqs")
    for body in ("no request", "{'clipId': 'it\\'s', 'retryTimestamps': None}"):
        sqs.send_message(QueueUrl=system.outputs["DeadLettersUrl"], MessageBody=body)
    [trigger] = system.cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    system.cloud.client("lambda").update_event_source_mapping(UUID=trigger["UUID"], Enabled=False)
    said = system.cloud.run("redrive.py", "--all", "1")
    assert "left where it is, for it is no request" in said
    [again] = _receive(sqs, system.outputs["QueueUrl"])
    body = json.loads(again["Body"])
    assert body["clipId"] == "it's"
    assert len(body["retryTimestamps"]) == 1
    [left] = _receive(sqs, system.outputs["DeadLettersUrl"])
    assert left["Body"] == "no request"


def test_a_deployment_lets_what_is_in_flight_end_and_can_be_taken_back(
    system: System, other_function: SimpleNamespace
) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    first = system.live()
    system.camera_api.asked.clear()
    system.camera_api.gate.clear()
    system.ask("in-flight")
    assert system.camera_api.asked.wait(30), "the function has begun with it"

    # The test event asks for no footage, so it passes the gate.
    said = system.deploy("--function-zip", str(other_function.zip), THUMBNAIL_SIZES="64 32")
    assert "serves version 3, after 2" in said
    assert system.live()["CodeSha256"] == other_function.sha256 != first["CodeSha256"]
    system.camera_api.gate.set()
    assert system.served("in-flight")["thumbnail"]["sizes"] == [64], "by the version that had begun with it"
    system.ask("next")
    assert system.served("next")["thumbnail"]["sizes"] == [64, 32], "by the new version"

    assert "serves version 2 again, in place of 3" in system.cloud.run("rollback.py")
    assert system.live()["CodeSha256"] == first["CodeSha256"]
    system.ask("last")
    assert system.served("last")["thumbnail"]["sizes"] == [64]
    told = [put["clipId"] for put in system.camera_api.puts]
    assert [clip for clip in told if not clip.startswith("deploy_test-")] == ["in-flight", "next", "last"], "once each"
    # Version 3 may serve once more, and back from there goes to 2; from 2 to 1; and 1 is the first.
    assert "serves version 3 again" in system.cloud.run("rollback.py", "--version", "3")
    for version in (2, 1):
        assert f"serves version {version} again" in system.cloud.run("rollback.py")
    assert "is the first" in system.cloud.run("rollback.py", succeeds=False)


def test_a_version_that_fails_the_test_event_never_serves(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    before = system.live()
    said = system.deploy(succeeds=False, AWS_SNS_TOPIC=f"arn:aws:sns:{REGION}:000000000000:gone")
    assert "version 3 failed the test event" in said
    assert "not deployed: cameras-service-generate-clip-sandbox serves as before" in said
    assert system.live() == before
    said = system.deploy(AWS_SNS_TOPIC=system.outputs["TopicArn"])
    assert "serves version 4, after 2" in said
    assert "serves version 2 again, in place of 4" in system.cloud.run("rollback.py")


def test_variables_stay_unless_a_file_is_given_and_bad_ones_change_nothing(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64 48")
    before = system.live()
    assert "nothing has changed" in system.deploy()
    assert system.live()["Environment"]["Variables"]["THUMBNAIL_SIZES"] == "64 48"
    for changes, complaint in [
        ({"CAM_SERVICES_URL": "", "SQS_TIMEOUT": "901"}, "CAM_SERVICES_URL is missing; SQS_TIMEOUT is more than"),
        ({"CAM_SERVICES_URL": system.camera_api.url, "SQS_TIMEOUT": "0", "TRIM_MODE": "x"}, "TRIM_MODE is neither"),
    ]:
        said = system.deploy(succeeds=False, **changes)
        assert complaint in said
        assert len(said.strip().splitlines()) == 1
    assert system.live() == before
    published = system.cloud.client("lambda").list_versions_by_function(FunctionName=NAME)["Versions"]
    assert [each["Version"] for each in published] == ["$LATEST", "1", "2"]


@pytest.mark.parametrize("script", ["deploy.py", "rollback.py", "redrive.py", "create_stack.py"])
def test_what_cannot_be_meant_is_one_clear_line_and_changes_nothing(cloud: Cloud, script: str) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    nothing = {
        "deploy.py": "there is no function",
        "rollback.py": "there is no function",
        "redrive.py": "there is no stack",
        "create_stack.py": "ENV_FILE=",
    }
    for arguments, variables, complaint in [
        (["--env", "live"], {}, "error: ENV=live is unknown: sandbox, staging or prod"),
        ([], nobody, "error: no AWS credentials"),
        ([], {}, f"error: {nothing[script]}"),
    ]:
        options = ["--env-file", "/nowhere"] if script == "create_stack.py" and not arguments else []
        said = cloud.run(script, *arguments, *options, succeeds=False, **variables)
        assert said.startswith(complaint), said
        assert len(said.strip().splitlines()) == 1, said
    assert cloud.client("cloudformation").list_stacks()["StackSummaries"] == []


def _receive(sqs: object, url: str) -> list[dict]:
    for _ in range(15):
        found = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=2, VisibilityTimeout=60, MessageSystemAttributeNames=["All"]
        )
        if found.get("Messages"):
            return found["Messages"]
    raise AssertionError(f"nothing came to {url}")

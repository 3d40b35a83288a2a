"""From a stack to clips on ministack, by the scripts that a person runs, with the real packages."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

from held_camera import CAMERA, START_MS
from scripts.function import package
from scripts.local.stack import REGION
from system import NAME, System, body


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


def test_the_test_event_may_be_ones_own(system: System, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    for clip, camera, succeeds in (("nowhere", "9", False), ("tested", CAMERA, True)):
        record = {"messageId": "a", "body": body(clip, camera), "attributes": {"SentTimestamp": str(START_MS)}}
        event.write_text(json.dumps({"Records": [record]}))
        said = system.deploy("--event", str(event), succeeds=succeeds, THUMBNAIL_SIZES="64")
    assert "serves version 2, after 1" in said
    assert [put["clipId"] for put in system.camera_api.puts] == ["tested"]


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

    assert "serves version 2, in place of 3" in system.cloud.run("rollback")
    assert system.live()["CodeSha256"] == first["CodeSha256"]
    system.ask("last")
    assert system.served("last")["thumbnail"]["sizes"] == [64]
    told = [put["clipId"] for put in system.camera_api.puts]
    assert [clip for clip in told if not clip.startswith("deploy_test-")] == ["in-flight", "next", "last"], "once each"
    # Any version may serve again, and is the next to be gone back from.
    assert "serves version 3, in place of 2" in system.cloud.run("rollback", "--version", "3")
    for version in (2, 1):
        assert f"serves version {version}, in place of" in system.cloud.run("rollback")
    assert "nothing served before version 1" in system.cloud.run("rollback", succeeds=False)


def test_a_version_that_fails_the_test_event_never_serves(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    before = system.live()
    said = system.deploy(succeeds=False, AWS_SNS_TOPIC=f"arn:aws:sns:{REGION}:000000000000:gone")
    assert "version 3 failed the test event" in said
    assert "not deployed: cameras-service-generate-clip-sandbox serves as before" in said
    assert system.live() == before
    said = system.deploy(AWS_SNS_TOPIC=system.outputs["TopicArn"])
    assert "serves version 4, after 2" in said
    assert "serves version 2, in place of 4" in system.cloud.run("rollback")


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


def test_the_function_that_is_there_already_serves_until_the_new_one_does_and_can_come_back(
    system: System, tmp_path: Path
) -> None:
    """The Python function, with a trigger such as nobody should have."""
    functions, sqs = system.cloud.client("lambda"), system.cloud.client("sqs")
    old = tmp_path / "old.zip"
    code = "import urllib.request as u, json, os\ndef handle(event, _):\n    for each in event['Records']:\n"
    code += "        put = json.dumps({'clipId': json.loads(each['body'])['clipId'], 'status': 'OLD'}).encode()\n"
    code += "        u.urlopen(u.Request(os.environ['CAM_SERVICES_URL'], put, method='PUT')).close()\n"
    with zipfile.ZipFile(old, "w") as zipped:
        zipped.writestr("main.py", code)
    [trigger] = functions.list_event_source_mappings()["EventSourceMappings"]
    functions.delete_event_source_mapping(UUID=trigger["UUID"])
    made = functions.create_function(
        FunctionName="old",
        Runtime="python3.12",
        Handler="main.handle",
        Role=system.outputs["RoleArn"],
        Code={"ZipFile": old.read_bytes()},
        Timeout=60,
        MemorySize=1024,
        Environment={"Variables": {"CAM_SERVICES_URL": system.camera_api.url}},
    )
    trigger = functions.create_event_source_mapping(
        FunctionName="old", EventSourceArn=system.outputs["QueueArn"], BatchSize=10
    )
    system.ask("one")
    system.camera_api.until("one", lambda status: status == "OLD")

    to_old = ["--function-name", "old"]
    said = system.deploy(*to_old, succeeds=False)
    assert "no bucket for packages" in said
    to_old += ["--code-bucket", system.outputs["CodeBucket"]]
    said = system.deploy(*to_old, succeeds=False)
    assert "the function does not start: bad environment: " in said
    assert "CLIP_URL is missing; S3_BUCKET_ORIGIN is missing" in said
    assert f"warning: the trigger {trigger['UUID']} has batches of 10 without ReportBatchItemFailures" in said
    assert functions.get_function_configuration(FunctionName="old")["CodeSha256"] == made["CodeSha256"]

    said = system.deploy(*to_old, THUMBNAIL_SIZES="64")
    assert "what serves now is version 1, alias live" in said
    assert "the layer is published: " in said, "this function had none"
    assert "old serves version 2, after 1" in said
    assert "the layer is there already: " in system.deploy(*to_old), "and now it has"
    system.ask("two")
    system.served("two")
    assert "serves version 1, in place of 2" in system.cloud.run("rollback", "--function-name", "old")
    system.ask("three")
    system.camera_api.until("three", lambda status: status == "OLD")
    attributes = sqs.get_queue_attributes(QueueUrl=system.outputs["DeadLettersUrl"], AttributeNames=["All"])
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"

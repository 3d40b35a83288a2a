"""Deployments on ministack with the real packages, up to the finished clips."""

import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

from held_camera import CAMERA, START_MS
from scripts.function import package
from scripts.local.stack import REGION
from system import NAME, System, body


def test_makes_a_clip_of_a_message_in_the_queue(system: System) -> None:
    output = system.deploy(CLIP_URL="https://clips.test/")
    assert "version 2 is live, in place of 1" in output
    live = system.live()
    assert live["CodeSha256"] == package.sha256(package.FUNCTION_ZIP)
    assert [layer["Arn"].rsplit(":", 1)[1] for layer in live["Layers"]] == ["1"], (
        "a layer with its content exists already"
    )
    assert (live["MemorySize"], live["Timeout"], live["Runtime"]) == (2048, 900, "provided.al2023")
    known = live["Environment"]["Variables"]
    assert (known["SQS_MAX_RECEIVES"], known["REPORT_BATCH_ITEM_FAILURES"]) == ("8", "True")
    assert not system.camera_api.puts, "the self-check of the deployment announces nothing"
    assert re.search(r"^  ffmpeg +works +\d+ ms$", output, re.MULTILINE), output
    system.ask("first")
    assert system.served("first")["bucket"] == "clips"
    s3 = system.cloud.client("s3")
    stored = s3.list_objects_v2(Bucket="clips", Prefix=f"{CAMERA}/")["Contents"]
    assert [each["Key"] for each in stored] == [f"{CAMERA}/first.mp4", f"{CAMERA}/first_64.png"]
    [code, layer] = [each["Key"] for each in s3.list_objects_v2(Bucket=system.outputs["CodeBucket"])["Contents"]]
    assert code.startswith("cameras-service-generate-clip/0.1.0-")
    assert layer.startswith("ffmpeg-layer/0.1.0-")


def test_accepts_a_test_event_of_the_user(system: System, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    for clip, camera, succeeds in (("nowhere", "9", False), ("tested", CAMERA, True)):
        record = {"messageId": "a", "body": body(clip, camera), "attributes": {"SentTimestamp": str(START_MS)}}
        event.write_text(json.dumps({"Records": [record]}))
        output = system.deploy("--event", str(event), succeeds=succeeds, THUMBNAIL_SIZES="64")
    assert "version 2 is live, in place of 1" in output
    told = [(put["clipId"], put["status"]) for put in system.camera_api.puts]
    assert told == [("nowhere", "FATAL_ERROR"), ("tested", "CLIP_AVAILABLE")]


def test_lets_requests_in_progress_end_and_rolls_back(system: System, other_function: SimpleNamespace) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    first = system.live()
    system.camera_api.asked.clear()
    system.camera_api.gate.clear()
    system.ask("in-flight")
    assert system.camera_api.asked.wait(30), "the function works on it"

    # The gate does not hold the self-check.
    output = system.deploy("--function-zip", str(other_function.zip), THUMBNAIL_SIZES="64 32")
    assert "version 3 is live, in place of 2" in output
    assert system.live()["CodeSha256"] == other_function.sha256 != first["CodeSha256"]
    system.camera_api.gate.set()
    assert system.served("in-flight")["thumbnail"]["sizes"] == [64], "by the version that received it"
    system.ask("next")
    assert system.served("next")["thumbnail"]["sizes"] == [64, 32], "by the new version"

    assert "version 2 is live, in place of 3" in system.cloud.run("rollback")
    assert system.live()["CodeSha256"] == first["CodeSha256"]
    system.ask("last")
    assert system.served("last")["thumbnail"]["sizes"] == [64]
    clips = [put["clipId"] for put in system.camera_api.puts]
    assert clips == ["in-flight", "next", "last"], "once each"
    # Any version can become live again, and a rollback returns from it.
    assert "version 3 is live, in place of 2" in system.cloud.run("rollback", "--version", "3")
    for version in (2, 1):
        assert f"version {version} is live, in place of" in system.cloud.run("rollback")
    assert "no version was live before 1" in system.cloud.run("rollback", succeeds=False)


def test_never_makes_a_version_live_that_fails_its_self_check(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64")
    before = system.live()
    output = system.deploy(succeeds=False, AWS_SNS_TOPIC=f"arn:aws:sns:{REGION}:000000000000:gone")
    assert "version 3 fails its self-check: topic" in output
    assert re.search(r"^  topic +fails +\d+ ms +arn:aws:sns:.*:gone: answered 404", output, re.MULTILINE), output
    assert "cannot deploy cameras-service-generate-clip-sandbox, whose live version is unchanged: " in output
    assert system.live() == before
    output = system.deploy(AWS_SNS_TOPIC=system.outputs["TopicArn"])
    assert "version 4 is live, in place of 2" in output
    assert "version 2 is live, in place of 4" in system.cloud.run("rollback")


def test_keeps_the_variables_without_a_file_and_rejects_invalid_ones(system: System) -> None:
    system.deploy(THUMBNAIL_SIZES="64 48")
    before = system.live()
    assert "nothing to deploy" in system.deploy()
    assert system.live()["Environment"]["Variables"]["THUMBNAIL_SIZES"] == "64 48"
    for changes, invalid in [
        ({"CAM_SERVICES_URL": "", "SQS_TIMEOUT": "901"}, ["CAM_SERVICES_URL", "SQS_TIMEOUT"]),
        ({"CAM_SERVICES_URL": system.camera_api.url, "SQS_TIMEOUT": "0", "TRIM_MODE": "x"}, ["TRIM_MODE"]),
    ]:
        output = system.deploy(succeeds=False, **changes)
        assert re.findall(r"\b(CAM_SERVICES_URL|SQS_TIMEOUT|TRIM_MODE)\b", output) == invalid
        assert len(output.strip().splitlines()) == 1
    assert system.live() == before
    published = system.cloud.client("lambda").list_versions_by_function(FunctionName=NAME)["Versions"]
    assert [each["Version"] for each in published] == ["$LATEST", "1", "2"]


def test_replaces_an_existing_function_and_rolls_back_to_it(system: System, tmp_path: Path) -> None:
    """The existing function is written in Python, and its trigger does not report failures of single messages."""
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
    system.camera_api.wait_for("one", lambda status: status == "OLD")

    to_old = ["--function-name", "old"]
    output = system.deploy(*to_old, succeeds=False)
    assert "cannot find a bucket for packages" in output
    to_old += ["--code-bucket", system.outputs["CodeBucket"]]
    output = system.deploy(*to_old, succeeds=False)
    assert "cannot start the function: " in output
    assert re.search(r"\bCLIP_URL\b.*\bS3_BUCKET_ORIGIN\b", output)
    assert f"warning: the trigger {trigger['UUID']} has batches of 10 without ReportBatchItemFailures" in output
    assert functions.get_function_configuration(FunctionName="old")["CodeSha256"] == made["CodeSha256"]

    assert functions.get_function_recursion_config(FunctionName="old")["RecursiveLoop"] == "Terminate"
    output = system.deploy(*to_old, THUMBNAIL_SIZES="64")
    assert "Lambda no longer cuts loops of this function" in output
    assert "the live version is now version 1, alias live" in output
    assert "the layer is published: " in output, "this function had none"
    assert "old: version 2 is live, in place of 1" in output
    assert "the layer exists already: " in system.deploy(*to_old), "and now it has"
    known = functions.get_function_configuration(FunctionName="old", Qualifier="live")["Environment"]["Variables"]
    assert (known["SQS_MAX_RECEIVES"], known["REPORT_BATCH_ITEM_FAILURES"]) == ("8", "False")
    assert functions.get_function_recursion_config(FunctionName="old")["RecursiveLoop"] == "Allow"
    system.ask("two")
    system.served("two")
    assert "version 1 is live, in place of 2" in system.cloud.run("rollback", "--function-name", "old")
    system.ask("three")
    system.camera_api.wait_for("three", lambda status: status == "OLD")
    attributes = sqs.get_queue_attributes(QueueUrl=system.outputs["DeadLettersUrl"], AttributeNames=["All"])
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"

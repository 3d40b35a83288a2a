"""Runs the whole system on this machine: a local AWS with the function in it, and a camera API."""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.footage import footage
from scripts.function.package import FUNCTION_ZIP, LAYER
from scripts.local import camera_api, ministack, report_watcher, stack
from scripts.local.stack import Stack
from scripts.shared import console, env_file, http_servers, instants, processes

FFMPEG = LAYER / "bin/ffmpeg"
AWS_PORT, CAMERA_API_PORT = 4566, 4567
RETRY_SECONDS = 3
# The minute from this instant on lies across two recordings of the demo.
EXAMPLE_MS = instants.parse("2018-09-16T17:39:44.500Z")


@dataclass(frozen=True)
class Options:
    """Parts and files of a local stack."""

    folder: Path = stack.FOLDER
    env_file: Path = ROOT / ".env.local"
    recordings: tuple[Path, ...] = ()
    function_zip: Path | None = FUNCTION_ZIP
    any_port: bool = False


@contextmanager
def running(options: Options) -> Iterator[Stack]:
    """Runs the stack until the context ends, and then removes everything but its logs."""
    lock = stack.lock(options.folder)
    if not lock:
        console.fail(f"cannot start a local stack: one is running already, see {options.folder / 'stack.json'}")
    with ExitStack() as parts:
        parts.enter_context(lock)
        scratch = Path(
            parts.enter_context(tempfile.TemporaryDirectory(prefix="local-stack-", ignore_cleanup_errors=True))
        )
        log_file = options.folder / "ministack.log"
        aws_port = ministack.free_port(0 if options.any_port else AWS_PORT)
        aws_url = parts.enter_context(ministack.running(aws_port, scratch, log_file))
        ministack.create_buckets(aws_url)
        api = parts.enter_context(http_servers.serving(_camera_api(options, aws_url)))
        described = _describe(options, aws_url, api.url, log_file)
        shutil.rmtree(described.traces, ignore_errors=True)
        environment = _function_environment(described, scratch / "function")
        if options.function_zip:
            ministack.create_function(aws_url, options.function_zip, environment, described.queue_arn)
        progress = console.Progress(f"storing {len(options.recordings)} recordings in the bucket")
        for number, recording in enumerate(options.recordings, 1):
            ministack.put_recording(aws_url, recording)
            progress.show(number / len(options.recordings))
        # Others find the stack by these files, which appear last and go first.
        parts.callback(options.env_file.unlink, missing_ok=True)
        environment = _function_environment(described, scratch / "invoked")
        env_file.write(options.env_file, environment | _set_by_lambda(aws_url))
        parts.callback((options.folder / "stack.json").unlink, missing_ok=True)
        described.save(options.folder)
        yield described


def _camera_api(options: Options, aws_url: str) -> camera_api.CameraApi:
    port = ministack.free_port(0 if options.any_port else CAMERA_API_PORT)
    recordings = camera_api.Footage(
        stack.client(aws_url, "s3"), ministack.RECORDINGS_BUCKET, ministack.RECORDINGS_PREFIX
    )
    history_file = options.folder / "clips.jsonl"
    history_file.unlink(missing_ok=True)
    return camera_api.CameraApi(port, recordings, aws_url, ministack.CLIPS_BUCKET, history_file)


def _describe(options: Options, aws_url: str, camera_api_url: str, log_file: Path) -> Stack:
    queue_url, queue_arn, dead_letter_queue_url = ministack.create_queue(aws_url)
    topic_arn, subscriber_queue_url = ministack.create_topic(aws_url)
    return Stack(
        aws_url=aws_url,
        camera_api_url=camera_api_url,
        recordings_bucket=ministack.RECORDINGS_BUCKET,
        recordings_prefix=ministack.RECORDINGS_PREFIX,
        clips_bucket=ministack.CLIPS_BUCKET,
        queue_url=queue_url,
        queue_arn=queue_arn,
        dead_letter_queue_url=dead_letter_queue_url,
        topic_arn=topic_arn,
        subscriber_queue_url=subscriber_queue_url,
        function=ministack.FUNCTION,
        env_file=str(options.env_file),
        log_file=str(log_file),
        traces=str(options.folder / "traces"),
    )


def _function_environment(described: Stack, scratch: Path) -> dict[str, str]:
    scratch.mkdir()
    return {
        "CLIP_DOWNLOAD_DEST": str(scratch),
        "CAM_SERVICES_URL": described.camera_api_url,
        "RECORDINGS_URL": described.camera_api_url,
        "CLIP_URL": described.camera_api_url,
        "S3_BUCKET_ORIGIN": described.recordings_bucket,
        "S3_BUCKET_ORIGIN_DIR": described.recordings_prefix,
        "S3_BUCKET_DESTINATION": described.clips_bucket,
        "AWS_SNS_TOPIC": described.topic_arn,
        "AWS_SQS_QUEUE": described.queue_arn,
        "AWS_SQS_QUEUE_URL": described.queue_url,
        "SQS_TIMEOUT": str(RETRY_SECONDS),
        "SQS_MAX_RECEIVES": str(ministack.TRIES),
        "REPORT_BATCH_ITEM_FAILURES": "True",
        "FFMPEG_PATH": str(FFMPEG),
        "TRACE_DIR": described.traces,
    }


def _set_by_lambda(aws_url: str) -> dict[str, str]:
    """Returns the variables that Lambda itself sets, and `cargo lambda` does not."""
    return {
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_REGION": stack.REGION,
        "AWS_ACCESS_KEY_ID": stack.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": stack.ACCESS_KEY,
    }


def _recordings(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        console.fail(f"RECORDINGS: expected a folder, got {folder}")
    files = sorted(folder.glob("*.mp4"))
    named = tuple(file for file in files if instants.of_recording(file.name) is not None)
    for file in sorted(set(files) - set(named)):
        console.say(f"recording skipped: {file.name} has no instant such as 20180916T172017000 in its name")
    if not named:
        console.fail(f"RECORDINGS: expected names such as test.20180916T172017000.mp4, got none in {folder}")
    return named


def _example(own_recordings: bool, recordings: tuple[Path, ...]) -> str:
    """Returns a command for a span with footage, in the user's recordings or in the demo's."""
    start = (instants.of_recording(recordings[0].name) or 0) if own_recordings else EXAMPLE_MS
    end = start + (5_000 if own_recordings else 60_000)
    return f"make clip FROM={instants.rfc_3339(start)} TO={instants.rfc_3339(end)}"


def _print(described: Stack, recordings: int, example: str, seconds: float) -> None:
    console.say(f"""The local stack is up ({seconds:.1f} s).
  AWS          {described.aws_url} (region {stack.REGION})
  camera API   {described.camera_api_url} (camera {stack.UP_CAMERA} is up, {stack.DOWN_CAMERA} is down)
  recordings   s3://{described.recordings_bucket}/{described.recordings_prefix}/ ({recordings} stored)
  clips        s3://{described.clips_bucket}/
  queue        {described.queue_url}
  dead letters {described.dead_letter_queue_url}
  subscriber   {described.subscriber_queue_url} (of {described.topic_arn})
  environment  {described.env_file}
  log          {described.log_file}
  reports      {Path(described.traces).with_name("reports")}/
Ctrl-C stops it. In another terminal:
  {example}""")


def main() -> None:
    """Runs `make local`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--recordings", type=Path, metavar="FOLDER", help="serve these files in place of the demo's")
    arguments.add_argument("--no-recordings", action="store_true", help="start with an empty bucket")
    arguments.add_argument("--function-zip", type=Path, default=FUNCTION_ZIP, metavar="FILE")
    arguments.add_argument("--no-function", action="store_true", help="leave out the function and its trigger")
    arguments.add_argument("--folder", type=Path, default=stack.FOLDER, help="folder of stack.json and the logs")
    arguments.add_argument("--env-file", type=Path, default=ROOT / ".env.local", metavar="FILE")
    arguments.add_argument("--any-port", action="store_true", help="use free ports in place of the usual ones")
    given = arguments.parse_args()

    processes.end_on_signals()
    with console.one_line_errors():
        _serve(given)


def _serve(given: argparse.Namespace) -> None:
    if given.no_recordings:
        recordings: tuple[Path, ...] = ()
    else:
        recordings = _recordings(given.recordings or footage.demo_folder())
    function_zip = None if given.no_function else given.function_zip
    if function_zip and not function_zip.is_file():
        console.fail(f"cannot read {function_zip}: no such file: make build")
    options = Options(given.folder.resolve(), given.env_file.resolve(), recordings, function_zip, given.any_port)
    started = time.monotonic()
    with running(options) as described:
        example = _example(given.recordings is not None, recordings)
        _print(described, len(recordings), example, time.monotonic() - started)
        with report_watcher.watching(described, options.folder / "reports"):
            processes.wait_for_signal()
        console.say("stopping")


if __name__ == "__main__":
    main()

"""Runs ministack, an AWS on this machine, and creates the buckets, queues, topic and function of the system in it."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

from scripts import ROOT
from scripts.footage import footage
from scripts.local import camera_api
from scripts.local.stack import ACCESS_KEY, REGION, client
from scripts.shared import processes

RECORDINGS_BUCKET = "camera-recordings-local"
RECORDINGS_PREFIX = "recordings"
CLIPS_BUCKET = "cameras-service-clips-cdn-local"
QUEUE = "cameras-service-generate-clip-local"
FUNCTION = "cameras-service-generate-clip-local"
TOPIC = "cameras-service-clips-local"

# As in the stack on AWS.
FUNCTION_SECONDS = 900
VISIBILITY_SECONDS = 5400
TRIES = 8
MEMORY_MB = 2048
START_SECONDS = 20


def free_port(wanted: int) -> int:
    """Returns the wanted port, or any free one if the wanted port is in use or 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port(0)
        return probe.getsockname()[1]


@contextmanager
def running(port: int, scratch: Path, log_file: Path) -> Iterator[str]:
    """Runs ministack and yields its URL. At the end, ends it and the functions that it started."""
    url = f"http://127.0.0.1:{port}"
    # Functions inherit these variables, so the user's own settings must not be among them.
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        # Without this, ministack searches for containers to remove.
        "DOCKER_HOST": f"unix://{scratch}/no-docker",
    }
    command = [str(ROOT / ".venv/bin/ministack")]
    with log_file.open("wb") as log, processes.running(command, env, log) as process:
        wait_for(f"{url}/_ministack/health", process, log_file)
        yield url


def wait_for(url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    """Waits until a server that was just started answers at this URL."""
    give_up = time.monotonic() + START_SECONDS
    while not _healthy(url):
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"cannot start {process.args[-1]}: see {log_file}")
        time.sleep(0.05)


def create_buckets(aws_url: str) -> None:
    """Creates the bucket of the recordings and the bucket of the clips."""
    s3 = client(aws_url, "s3")
    for bucket in (RECORDINGS_BUCKET, CLIPS_BUCKET):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})


def create_queue(aws_url: str) -> tuple[str, str, str]:
    """Creates the queue that triggers the function. Returns its URL and ARN, and the URL of its dead-letter queue."""
    sqs = client(aws_url, "sqs")
    dead_letter_url, dead_letter_arn = _queue(sqs, f"{QUEUE}-dead-letter", {})
    redrive = {"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": TRIES}
    attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": json.dumps(redrive)}
    return *_queue(sqs, QUEUE, attributes), dead_letter_url


def create_topic(aws_url: str) -> tuple[str, str]:
    """Creates the topic of the announcements. Returns its ARN, and the URL of a queue that subscribes to it."""
    sns = client(aws_url, "sns")
    topic_arn = sns.create_topic(Name=TOPIC)["TopicArn"]
    subscriber_url, subscriber_arn = _queue(client(aws_url, "sqs"), f"{TOPIC}-subscriber", {})
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=subscriber_arn)
    return topic_arn, subscriber_url


def create_function(aws_url: str, code: Path, environment: Mapping[str, str], queue_arn: str) -> None:
    """Creates the function, and has every message in the queue invoke it."""
    functions = client(aws_url, "lambda")
    functions.create_function(
        FunctionName=FUNCTION,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role="arn:aws:iam::000000000000:role/local",
        Code={"ZipFile": code.read_bytes()},
        Timeout=FUNCTION_SECONDS,
        MemorySize=MEMORY_MB,
        Environment={"Variables": dict(environment)},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=FUNCTION, WaiterConfig={"Delay": 0.1})
    # One at a time: these functions are processes that share a scratch folder, which never happens on AWS.
    functions.put_function_concurrency(FunctionName=FUNCTION, ReservedConcurrentExecutions=1)
    functions.create_event_source_mapping(
        FunctionName=FUNCTION,
        EventSourceArn=queue_arn,
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )


def put_recording(aws_url: str, recording: Path) -> None:
    """Stores a recording, with its duration as metadata for the camera API.

    The upload is not signed, because an SDK would first read hundreds of megabytes to sign them.
    """
    duration = footage.duration_ms(recording)
    with recording.open("rb") as file:
        connection = HTTPConnection(urlsplit(aws_url).netloc, blocksize=1 << 20)
        headers = {"Content-Type": "video/mp4", "Content-Length": str(recording.stat().st_size)}
        if duration:
            headers[f"x-amz-meta-{camera_api.DURATION_METADATA}"] = str(duration)
        path = f"/{RECORDINGS_BUCKET}/{RECORDINGS_PREFIX}/{quote(recording.name)}"
        connection.request("PUT", path, file, headers)
        status = connection.getresponse().status
        connection.close()
    if status != 200:
        raise RuntimeError(f"cannot store {recording.name}: S3 answered {status}")


def _queue(sqs: object, name: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    url = sqs.create_queue(QueueName=name, Attributes=dict(attributes))["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False

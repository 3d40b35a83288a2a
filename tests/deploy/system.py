"""Creates the sandbox stack on ministack, with a recording in it."""

import json
from collections.abc import Sequence

from cloud import Cloud
from held_camera import CAMERA, RECORDING, START_MS, CameraApi
from scripts import ROOT

FFMPEG = ROOT / "layers/ffmpeg/opt/bin/ffmpeg"
NAME = "cameras-service-generate-clip-sandbox"


def body(clip: str, camera: str = CAMERA, earlier: Sequence[str] = ()) -> str:
    """Returns a message body that asks for two seconds of the recording."""
    return json.dumps(
        {
            "clipId": clip,
            "cameraId": camera,
            "startTimestampInMs": START_MS + 1000,
            "endTimestampInMs": START_MS + 3000,
            "retryTimestamps": list(earlier),
        }
    )


class System:
    """The sandbox stack and its variables."""

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
        cloud.run("create_stack", "--no-build", "--env-file", cloud.write_env_file(variables))
        [described] = cloud.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
        # CloudFormation makes a number of a parameter. ministack keeps the text, at which its poller fails.
        functions = cloud.client("lambda")
        [trigger] = functions.list_event_source_mappings()["EventSourceMappings"]
        functions.update_event_source_mapping(UUID=trigger["UUID"], ScalingConfig={"MaximumConcurrency": 10})
        cloud.client("s3").put_object(Bucket="recordings", Key=f"live/{RECORDING}", Body=recording)
        scratch = cloud.folder / "function"
        scratch.mkdir()
        self.variables = {
            **variables,
            "AWS_SNS_TOPIC": self.outputs["TopicArn"],
            "AWS_SQS_QUEUE": self.outputs["QueueArn"],
            "AWS_SQS_QUEUE_URL": self.outputs["QueueUrl"],
            "CLIP_DOWNLOAD_DEST": str(scratch),
            "FFMPEG_PATH": str(FFMPEG),  # no layer is mounted here
            "THUMBNAIL_SIZES": "64",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",  # Lambda sets this, ministack does not
        }

    def deploy(self, *arguments: str, succeeds: bool = True, **changes: str) -> str:
        """Deploys, with changed variables if any are given."""
        if changes:
            self.variables |= changes
        env_file = ["--env-file", self.cloud.write_env_file(self.variables)] if changes else []
        return self.cloud.run("deploy", "--no-build", *env_file, *arguments, succeeds=succeeds)

    def ask(self, clip: str, camera: str = CAMERA, earlier: list[str] | None = None) -> None:
        sqs = self.cloud.client("sqs")
        sqs.send_message(QueueUrl=self.outputs["QueueUrl"], MessageBody=body(clip, camera, earlier or []))

    def served(self, clip: str) -> dict:
        return self.camera_api.wait_for(clip, lambda status: status == "CLIP_AVAILABLE")

    def live(self) -> dict:
        functions = self.cloud.client("lambda")
        live = functions.get_function_configuration(FunctionName=NAME, Qualifier="live")
        return {name: value for name, value in live.items() if name != "ResponseMetadata"}

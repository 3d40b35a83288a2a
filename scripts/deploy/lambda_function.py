"""Manages a function on Lambda: its versions, its layer, and the alias that names the live version."""

import base64
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scripts.deploy.environment import ALIAS
from scripts.shared import console

# The description of the alias lists the versions that were live before, latest first. A rollback follows the list.
BEFORE = "before: "
MAX_BEFORE = 20
MOVE_SECONDS = 300


@dataclass(frozen=True)
class Release:
    """Code, layer and settings of a version."""

    bucket: str
    key: str
    sha256: str
    layer_arn: str
    arch: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Response:
    """The response of an invocation, and the end of its log."""

    payload: str
    failed: bool
    log: str


class LambdaFunction:
    """A function by its name."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401
        self._client = client
        self._name = name

    def live(self) -> dict:
        """Returns the configuration of the live version, or of the function itself if it has no alias."""
        for qualifier in ({"Qualifier": ALIAS}, {}):
            try:
                return self._client.get_function_configuration(FunctionName=self._name, **qualifier)
            except self._client.exceptions.ResourceNotFoundException:
                continue
        raise RuntimeError(
            f"cannot find the function {self._name}: `make stack` creates it, FUNCTION_NAME=name selects another"
        )

    def timeout_seconds(self) -> int:
        """Returns the timeout that the next version will have."""
        return self._client.get_function_configuration(FunctionName=self._name).get("Timeout", 3)

    def triggers(self) -> list[dict]:
        """Returns the triggers that invoke the function or its alias."""
        found = {}
        for name in (self._name, f"{self._name}:{ALIAS}"):
            with suppress(self._client.exceptions.ResourceNotFoundException):
                pages = self._client.get_paginator("list_event_source_mappings").paginate(FunctionName=name)
                found |= {each["UUID"]: each for page in pages for each in page["EventSourceMappings"]}
        return list(found.values())

    def allow_loops(self) -> None:
        """Lets waiting requests come back by the queue. Lambda would cut such a loop after about 16 rounds."""
        name = {"FunctionName": self._name}
        if self._client.get_function_recursion_config(**name)["RecursiveLoop"] != "Allow":
            self._client.put_function_recursion_config(**name, RecursiveLoop="Allow")
            console.say("Lambda no longer cuts loops of this function: a request that waits comes back by the queue")

    def ensure_alias(self, live: dict) -> str:
        """Returns the live version. A function without an alias gets one, and its triggers move to the alias."""
        try:
            return self._client.get_alias(FunctionName=self._name, Name=ALIAS)["FunctionVersion"]
        except self._client.exceptions.ResourceNotFoundException:
            pass
        version = self._client.publish_version(
            FunctionName=self._name, CodeSha256=live["CodeSha256"], Description="live before the first deploy"
        )["Version"]
        alias = self._client.create_alias(FunctionName=self._name, Name=ALIAS, FunctionVersion=version)["AliasArn"]
        console.say(f"the live version is now version {version}, alias {ALIAS}")
        for trigger in self.triggers():
            if trigger["FunctionArn"].endswith(f":{self._name}"):
                self._move(trigger["UUID"], alias)
                console.say(f"the trigger {trigger['UUID']} now invokes the alias")
        return version

    def _move(self, trigger: str, alias: str) -> None:
        """Moves a trigger to the alias, and waits because until then it would invoke any new code."""
        self._client.update_event_source_mapping(UUID=trigger, FunctionName=alias)
        give_up = time.monotonic() + MOVE_SECONDS
        while self._client.get_event_source_mapping(UUID=trigger)["State"] not in {"Enabled", "Disabled"}:
            if time.monotonic() > give_up:
                raise RuntimeError(f"cannot move the trigger {trigger} to {alias} within {MOVE_SECONDS} s")
            time.sleep(1)

    def publish(self, release: Release) -> str:
        """Publishes a version of the release. The live version does not change."""
        found = self._client.get_function_configuration(FunctionName=self._name)
        code = {"CodeSha256": release.sha256, "Architectures": [release.arch]}
        if not code.items() <= found.items():
            self._client.update_function_code(
                FunctionName=self._name, S3Bucket=release.bucket, S3Key=release.key, Architectures=[release.arch]
            )
            self._wait_updated()
        settings = {
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Environment": {"Variables": dict(release.variables)},
        }
        layers = [layer["Arn"] for layer in found.get("Layers", [])]
        if not settings.items() <= found.items() or layers != [release.layer_arn]:
            self._client.update_function_configuration(FunctionName=self._name, Layers=[release.layer_arn], **settings)
            self._wait_updated()
        version = self._client.publish_version(
            FunctionName=self._name, CodeSha256=release.sha256, Description=release.key
        )["Version"]
        self._client.get_waiter("published_version_active").wait(FunctionName=self._name, Qualifier=version)
        return version

    def invoke(self, version: str, event: object) -> Response:
        """Invokes a version with an event."""
        answer = self._client.invoke(
            FunctionName=self._name, Qualifier=version, Payload=json.dumps(event).encode(), LogType="Tail"
        )
        log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
        return Response(answer["Payload"].read().decode(), "FunctionError" in answer, log)

    def make_live(self, version: str) -> None:
        """Makes a version live, and records the one before."""
        live, *before = self.history()
        self._switch(version, [live, *before])

    def roll_back(self) -> str | None:
        """Makes the previous version live. Returns it, or `None` if there is none."""
        _live, *before = self.history()
        if not before:
            return None
        self._switch(before[0], before[1:])
        return before[0]

    def history(self) -> list[str]:
        """Returns the live version, and those that were live before, latest first."""
        alias = self._client.get_alias(FunctionName=self._name, Name=ALIAS)
        described = alias.get("Description", "")
        before = described.removeprefix(BEFORE).split() if described.startswith(BEFORE) else []
        return [alias["FunctionVersion"], *before]

    def _switch(self, version: str, before: list[str]) -> None:
        described = BEFORE + " ".join(before[:MAX_BEFORE])
        self._client.update_alias(FunctionName=self._name, Name=ALIAS, FunctionVersion=version, Description=described)

    def layer_with(self, sha256: str) -> str | None:
        """Returns the layer version with this content, or `None`."""
        pages = self._client.get_paginator("list_layer_versions").paginate(LayerName=self._layer)
        for version in (each for page in pages for each in page["LayerVersions"]):
            content = self._client.get_layer_version(LayerName=self._layer, VersionNumber=version["Version"])
            if content["Content"]["CodeSha256"] == sha256:
                return version["LayerVersionArn"]
        return None

    def publish_layer(self, bucket: str, key: str, arch: str) -> str:
        """Publishes a version of the layer. Returns its ARN."""
        return self._client.publish_layer_version(
            LayerName=self._layer,
            Description="ffmpeg as /opt/bin/ffmpeg",
            LicenseInfo="GPL-2.0-or-later",
            CompatibleRuntimes=["provided.al2023"],
            CompatibleArchitectures=[arch],
            Content={"S3Bucket": bucket, "S3Key": key},
        )["LayerVersionArn"]

    @property
    def _layer(self) -> str:
        return f"{self._name}-ffmpeg"

    def _wait_updated(self) -> None:
        self._client.get_waiter("function_updated_v2").wait(FunctionName=self._name)

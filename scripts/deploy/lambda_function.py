"""A function on Lambda, its versions and layers, and the alias that names the version that serves."""

import base64
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scripts.deploy.target import ALIAS
from scripts.shared import console

# The alias's description tells the versions that served before, the last one first: the way back.
BEFORE = "before: "
REMEMBERED = 20
MOVE_SECONDS = 300


@dataclass(frozen=True)
class Release:
    """What a version is made of."""

    bucket: str
    key: str
    sha256: str
    layer_arn: str
    arch: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What an invocation answered, and the end of its log."""

    payload: str
    failed: bool
    log: str


class LambdaFunction:
    """One function."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401
        self._client = client
        self._name = name

    def serving(self) -> dict:
        """The configuration that serves: the alias's, or without one the function's own."""
        for qualifier in ({"Qualifier": ALIAS}, {}):
            try:
                return self._client.get_function_configuration(FunctionName=self._name, **qualifier)
            except self._client.exceptions.ResourceNotFoundException:
                continue
        raise RuntimeError(f"there is no function {self._name}: `make stack` makes one, FUNCTION_NAME= names another")

    def triggers(self) -> list[dict]:
        """What invokes it, by whichever of its names."""
        found = {}
        for name in (self._name, f"{self._name}:{ALIAS}"):
            with suppress(self._client.exceptions.ResourceNotFoundException):
                pages = self._client.get_paginator("list_event_source_mappings").paginate(FunctionName=name)
                found |= {each["UUID"]: each for page in pages for each in page["EventSourceMappings"]}
        return list(found.values())

    def alias_of(self, serving: dict) -> str:
        """The version that serves. A function that has no alias yet gets one, and its triggers are moved to it."""
        try:
            return self._client.get_alias(FunctionName=self._name, Name=ALIAS)["FunctionVersion"]
        except self._client.exceptions.ResourceNotFoundException:
            pass
        version = self._client.publish_version(
            FunctionName=self._name, CodeSha256=serving["CodeSha256"], Description="what served before the first deploy"
        )["Version"]
        alias = self._client.create_alias(FunctionName=self._name, Name=ALIAS, FunctionVersion=version)["AliasArn"]
        console.say(f"what serves now is version {version}, alias {ALIAS}")
        for trigger in self.triggers():
            if trigger["FunctionArn"].endswith(f":{self._name}"):
                self._move(trigger["UUID"], alias)
                console.say(f"the trigger {trigger['UUID']} invokes the alias from now on")
        return version

    def _move(self, trigger: str, alias: str) -> None:
        """Has a trigger invoke the alias. Until that is so, it must not find new code under the function's own name."""
        self._client.update_event_source_mapping(UUID=trigger, FunctionName=alias)
        give_up = time.monotonic() + MOVE_SECONDS
        while self._client.get_event_source_mapping(UUID=trigger)["State"] not in {"Enabled", "Disabled"}:
            if time.monotonic() > give_up:
                raise RuntimeError(f"the trigger {trigger} is still being moved to {alias}")
            time.sleep(1)

    def publish(self, release: Release) -> str:
        """Makes a version of it. What serves is not touched: that is a version of its own."""
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

    def invoke(self, version: str, event: object) -> Answer:
        """What a version answers to an event."""
        answer = self._client.invoke(
            FunctionName=self._name, Qualifier=version, Payload=json.dumps(event).encode(), LogType="Tail"
        )
        log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
        return Answer(answer["Payload"].read().decode(), "FunctionError" in answer, log)

    def serve(self, version: str) -> None:
        """Switches what serves, and remembers what did."""
        serving, *before = self.history()
        self._switch(version, [serving, *before])

    def go_back(self) -> str | None:
        """Switches to the version that served before and tells it, if there is one."""
        _serving, *before = self.history()
        if not before:
            return None
        self._switch(before[0], before[1:])
        return before[0]

    def history(self) -> list[str]:
        """The version that serves, and those that served before, the last one first."""
        alias = self._client.get_alias(FunctionName=self._name, Name=ALIAS)
        described = alias.get("Description", "")
        before = described.removeprefix(BEFORE).split() if described.startswith(BEFORE) else []
        return [alias["FunctionVersion"], *before]

    def _switch(self, version: str, before: list[str]) -> None:
        described = BEFORE + " ".join(before[:REMEMBERED])
        self._client.update_alias(FunctionName=self._name, Name=ALIAS, FunctionVersion=version, Description=described)

    def layer_with(self, sha256: str) -> str | None:
        """The layer version that has these bytes."""
        pages = self._client.get_paginator("list_layer_versions").paginate(LayerName=self._layer)
        for version in (each for page in pages for each in page["LayerVersions"]):
            content = self._client.get_layer_version(LayerName=self._layer, VersionNumber=version["Version"])
            if content["Content"]["CodeSha256"] == sha256:
                return version["LayerVersionArn"]
        return None

    def publish_layer(self, bucket: str, key: str, arch: str) -> str:
        """A new version of the layer."""
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

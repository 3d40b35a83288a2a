"""Which environment on AWS is meant, and by whose credentials: what deploying, rolling back and redriving share."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from scripts import ROOT
from scripts.function import package
from scripts.shared import console

ENVIRONMENTS = {"sandbox": "sandbox", "staging": "staging", "prod": "prod", "production": "prod"}
NAME = "cameras-service-generate-clip"
REGION = "us-west-1"
# What serves is what this alias of the function names; the trigger invokes it.
ALIAS = "live"
# An invocation lasts 300 s by our own stack, and up to 900 s.
ANSWER_SECONDS = 910
# In the samples these are made up; everything else there may be meant.
ADDRESSES = ("CAM_SERVICES_URL", "RECORDINGS_URL", "CLIP_URL", "AWS_SNS_TOPIC", "AWS_SQS_QUEUE", "AWS_SQS_QUEUE_URL")


# Whatever AWS refuses, or what keeps one from asking it.
AWS_ERRORS = (Boto3Error, BotoCoreError, ClientError)


@dataclass(frozen=True)
class Target:
    """One environment's function and stack, which bear the same name."""

    environment: str
    name: str
    account: str
    region: str
    # On this machine, where nothing is lost and the samples' addresses do no harm.
    local: bool

    def client(self, service: str) -> Any:  # noqa: ANN401
        """A client for a service, as patient as an invocation may last."""
        return boto3.client(service, region_name=self.region, config=Config(read_timeout=ANSWER_SECONDS))

    def outputs(self) -> dict[str, str]:
        """What its stack tells of itself; empty if there is no stack."""
        stack = self.stack()
        return {output["OutputKey"]: output["OutputValue"] for output in (stack or {}).get("Outputs", [])}

    def stack(self) -> dict | None:
        """Its stack, if there is one."""
        try:
            return self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def confirm(self, what: str, yes: bool) -> None:
        """Asks before production is changed."""
        if self.environment != "prod" or yes:
            return
        if not sys.stdin.isatty():
            raise RuntimeError(f"prod is changed only by somebody who says so: YES=1 to {what}")
        if input(f"{what} in prod ({self.name}, account {self.account})? Type prod: ").strip() != "prod":
            raise RuntimeError("nothing changed")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all of these scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--env", default="sandbox", metavar="|".join(ENVIRONMENTS))
    parser.add_argument("--function-name", default="", metavar="NAME", help=f"not {NAME}-ENV")
    parser.add_argument("--yes", default="", help="changes prod without asking")
    return parser


def find(given: argparse.Namespace, env_file: Path | None = None) -> Target:
    """What is meant, once it is known and somebody may change it."""
    environment = ENVIRONMENTS.get(given.env)
    if not environment:
        raise RuntimeError(f"ENV={given.env} is unknown: sandbox, staging or prod")
    named = read_variables(env_file).get("AWS_REGION") if env_file else None
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or named or REGION
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname
    account = boto3.client("sts", region_name=region).get_caller_identity()["Account"]
    name = given.function_name or f"{NAME}-{environment}"
    return Target(environment, name, account, region, host in {"127.0.0.1", "localhost", "::1"})


def upload(to: Target, bucket: str, file: Path) -> str:
    """Puts a package into the code bucket, under a key that no other one has, and tells it."""
    key = package.key(file)
    console.say(f"uploading {file.name} to s3://{bucket}/{key}")
    to.client("s3").upload_file(str(file), bucket, key)
    return key


@contextmanager
def one_line_errors() -> Iterator[None]:
    """As the console's, and what AWS answers is one line too."""
    with console.one_line_errors():
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError):
            raise RuntimeError("no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its like") from None
        except AWS_ERRORS as error:
            raise RuntimeError(re.sub(r"\s+", " ", str(error))) from None


def read_variables(env_file: Path) -> dict[str, str]:
    """The variables of a file such as `.env`."""
    if not env_file.is_file():
        raise RuntimeError(f"ENV_FILE={env_file} is missing: `make sbox` (stag, prod) copies a sample to .env")
    variables = {}
    for line in env_file.read_text().splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            variables[name.strip()] = value.strip().strip("\"'")
    return variables


def refuse_placeholders(variables: Mapping[str, str], names: tuple[str, ...] = ADDRESSES) -> None:
    """Ends with one line if an address is still a sample's."""
    samples = [read_variables(file) for file in sorted(ROOT.glob(".env.sample_*"))]
    made_up = [name for name in names if name in variables and variables[name] in {each.get(name) for each in samples}]
    if made_up:
        raise RuntimeError(f"still a sample's placeholder: {', '.join(made_up)}")

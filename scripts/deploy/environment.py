"""Finds the environment on AWS that a script works on, and its settings."""

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
from scripts.shared import console, env_file

ENVIRONMENTS = {"sandbox": "sandbox", "staging": "staging", "prod": "prod", "production": "prod"}
REGION = "us-west-1"
# The trigger invokes this alias of the function, which names the live version.
ALIAS = "live"
# An invocation takes at most 900 s.
READ_TIMEOUT_SECONDS = 910
# The samples have invented values for these.
ADDRESSES = ("CAM_SERVICES_URL", "RECORDINGS_URL", "CLIP_URL", "AWS_SNS_TOPIC", "AWS_SQS_QUEUE", "AWS_SQS_QUEUE_URL")
# Errors of AWS, and of a request that does not reach it.
AWS_ERRORS = (Boto3Error, BotoCoreError, ClientError)


@dataclass(frozen=True)
class Environment:
    """An environment. Its function and its stack have the same name."""

    label: str  # sandbox, staging or prod
    name: str
    account: str
    region: str
    is_local: bool  # AWS is simulated on this machine, where invented addresses do no harm

    def client(self, service: str) -> Any:  # noqa: ANN401
        """Returns a client of a service that waits as long as an invocation can take."""
        return boto3.client(service, region_name=self.region, config=Config(read_timeout=READ_TIMEOUT_SECONDS))

    def outputs(self) -> dict[str, str]:
        """Returns the outputs of the stack, or nothing if the stack does not exist."""
        stack = self.stack()
        return {output["OutputKey"]: output["OutputValue"] for output in (stack or {}).get("Outputs", [])}

    def stack(self) -> dict | None:
        """Returns the stack, or `None` if it does not exist."""
        try:
            return self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def confirm(self, what: str, yes: bool) -> None:
        """Asks for a confirmation before production changes."""
        if self.label != "prod" or yes:
            return
        if not sys.stdin.isatty():
            raise RuntimeError(f"cannot {what} in prod without a confirmation: set YES=1")
        if input(f"{what} in prod ({self.name}, account {self.account})? Type prod: ").strip() != "prod":
            raise RuntimeError(f"cannot {what} in prod: not confirmed, nothing changed")


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the options that all these scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--env", default="sandbox", metavar="|".join(ENVIRONMENTS))
    parser.add_argument("--function-name", default="", metavar="NAME", help=f"name in place of {package.NAME}-ENV")
    parser.add_argument("--yes", default="", help="change prod without asking")
    return parser


def find_environment(given: argparse.Namespace, settings: Path | None = None) -> Environment:
    """Returns the environment of the arguments, after a call to AWS with the user's credentials."""
    label = ENVIRONMENTS.get(given.env)
    if not label:
        raise RuntimeError(f"ENV: expected sandbox, staging or prod, got {given.env}")
    in_file = read_variables(settings).get("AWS_REGION") if settings else None
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or in_file or REGION
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname
    account = boto3.client("sts", region_name=region).get_caller_identity()["Account"]
    name = given.function_name or f"{package.NAME}-{label}"
    return Environment(label, name, account, region, host in {"127.0.0.1", "localhost", "::1"})


def upload(environment: Environment, bucket: str, file: Path) -> str:
    """Uploads a package to the code bucket under a unique key. Returns the key."""
    key = package.key(file)
    console.say(f"uploading {file.name} to s3://{bucket}/{key}")
    environment.client("s3").upload_file(str(file), bucket, key)
    return key


@contextmanager
def one_line_aws_errors() -> Iterator[None]:
    """Turns errors, those of AWS too, into one line."""
    with console.one_line_errors():
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError):
            raise RuntimeError(
                "cannot find AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        except AWS_ERRORS as error:
            raise RuntimeError(re.sub(r"\s+", " ", str(error))) from None


def read_variables(settings: Path) -> dict[str, str]:
    """Returns the variables of a file such as `.env`."""
    try:
        return env_file.read(settings)
    except FileNotFoundError as reason:
        raise RuntimeError(f"ENV_FILE: {reason}; `make sbox` (stag, prod) copies a sample to .env") from None


def refuse_placeholders(variables: Mapping[str, str], names: tuple[str, ...] = ADDRESSES) -> None:
    """Raises an error if an address still has the value of a sample."""
    samples = [env_file.read(file) for file in sorted(ROOT.glob(".env.sample_*"))]
    unchanged = [
        name for name in names if name in variables and variables[name] in {each.get(name) for each in samples}
    ]
    if unchanged:
        raise RuntimeError(f"expected real addresses, got the placeholders of a sample: {', '.join(unchanged)}")

"""Runs the deployment scripts against AWS on this machine, which ministack simulates."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import ROOT
from scripts.local import stack
from scripts.shared import env_file


@dataclass
class Cloud:
    """AWS on this machine, and a user's settings."""

    url: str
    folder: Path
    log_file: Path

    def client(self, service: str) -> Any:  # noqa: ANN401
        return stack.client(self.url, service)

    def run(self, script: str, *arguments: str, succeeds: bool = True, **variables: str) -> str:
        """Runs a script, and returns its stdout and stderr."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": stack.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": stack.ACCESS_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        done = subprocess.run(
            [sys.executable, "-m", f"scripts.deploy.{script}", *arguments],
            env=environment | variables,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == succeeds, (
            f"{script} {' '.join(arguments)} ended with {done.returncode}:\n{output}"
        )
        return output

    def write_env_file(self, variables: Mapping[str, str]) -> str:
        file = self.folder / f"env-{time.monotonic_ns()}"
        env_file.write(file, variables)
        return str(file)

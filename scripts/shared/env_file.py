"""Reads and writes files of variables, such as `.env`."""

from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values


def read(file: Path) -> dict[str, str]:
    """Returns the variables of a file. Values are literal: `$NAME` in a value is not replaced."""
    if not file.is_file():
        raise FileNotFoundError(f"cannot read {file}: no such file")
    return {name: value for name, value in dotenv_values(file, interpolate=False).items() if value is not None}


def write(file: Path, variables: Mapping[str, str]) -> None:
    """Writes one `NAME=value` line for each variable."""
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

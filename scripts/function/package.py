"""Builds the function and its layer, and packages each into a zip in `dist/`.

The same source always gives the same bytes.
"""

import argparse
import base64
import hashlib
import os
import platform
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts import ROOT
from scripts.shared import console

NAME = "cameras-service-generate-clip"
FUNCTION_ZIP = ROOT / "dist" / f"{NAME}.zip"
LAYER_ZIP = ROOT / "dist" / "ffmpeg-layer.zip"
BINARY = ROOT / "target/lambda" / NAME / "bootstrap"
LAYER = ROOT / "layers/ffmpeg/opt"

# What `uname -m` prints, by Lambda's names of the architectures.
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
# Small packages start sooner.
MAX_FUNCTION_BYTES, MAX_LAYER_BYTES = 6_000_000, 5_000_000
# Version and libraries of Amazon Linux 2023, on which `provided.al2023` runs.
GLIBC = (2, 34)
LIBRARIES = {"libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# The earliest date that a zip can hold. The dates of the files differ from build to build.
DATE = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    """Runs `make build`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--arch", choices=MACHINES, default="x86_64")
    given = console.parse(arguments)
    with console.one_line_errors():
        make(given.arch, ["-q"] if given.quiet else [])


def make(arch: str, quiet: Sequence[str] = ()) -> None:
    """Builds and packages the function and the layer."""
    build(arch, quiet)
    check_binary(BINARY)
    pack(FUNCTION_ZIP, {"bootstrap": BINARY}, MAX_FUNCTION_BYTES)
    pack(LAYER_ZIP, dict(_layer()), MAX_LAYER_BYTES)


def build(arch: str, quiet: Sequence[str]) -> None:
    """Builds the release binary and ffmpeg. It does not cross-compile: `arch` must be this machine's."""
    if platform.machine() != MACHINES[arch]:
        raise RuntimeError(f"ARCH: expected the architecture of this machine ({platform.machine()}), got {arch}")
    ffmpeg = subprocess.run([LAYER.parent / "build.sh", *quiet], env=os.environ | {"ARCH": arch}, check=False)
    if ffmpeg.returncode != 0:
        raise RuntimeError("cannot build ffmpeg: see above")
    command = ["cargo", "lambda", "build", "--locked", "--package", NAME, "--release", "--compiler", "cargo", *quiet]
    if arch == "arm64":
        command.append("--arm64")
    # The messages of panics name source files. Without this, the binary depends on the folder of the crates.
    cargo_home = os.environ.get("CARGO_HOME", Path.home() / ".cargo")
    environment = os.environ | {"RUSTFLAGS": f"--remap-path-prefix={cargo_home}=/cargo"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
        raise RuntimeError("cannot build the function: see above")


def check_binary(binary: Path) -> None:
    """Raises an error if the binary cannot start on Amazon Linux 2023."""
    tables = _readelf("--dynamic", "--version-info", binary)
    needed = set(re.findall(r"\(NEEDED\).*\[(.+?)\]", tables))
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"\bGLIBC_([0-9.]+)", tables)}
    if not versions:
        raise RuntimeError(f"{binary}: expected a binary that links glibc dynamically, got another")
    if unknown := needed - LIBRARIES:
        raise RuntimeError(f"{binary}: expected libraries of provided.al2023, got {', '.join(sorted(unknown))}")
    if max(versions) > GLIBC:
        expected, found = (".".join(map(str, version)) for version in (GLIBC, max(versions)))
        raise RuntimeError(
            f"{binary}: expected glibc {expected} of provided.al2023 or older, got {found}:"
            " build on an older system, such as Debian 12"
        )


def pack(target: Path, files: dict[str, Path], max_bytes: int) -> None:
    """Writes a zip of at most `max_bytes`. It depends only on the bytes and modes of its files."""
    target.parent.mkdir(exist_ok=True)
    unfinished = target.with_suffix(".new")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system = 3  # Unix, so that the mode below counts
            entry.external_attr = (0o100755 if file.stat().st_mode & 0o100 else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, file.read_bytes())
    size = unfinished.stat().st_size
    if size > max_bytes:
        unfinished.unlink()
        raise RuntimeError(f"{target.name}: expected at most {max_bytes:,} bytes, got {size:,}")
    unfinished.rename(target)
    console.say(f"{target.parent.name}/{target.name}  {size:,} bytes")


def unpack(zipped: Path, folder: Path) -> None:
    """Unpacks a zip, with the modes of its files."""
    with zipfile.ZipFile(zipped) as content:
        for entry in content.infolist():
            Path(content.extract(entry, folder)).chmod(entry.external_attr >> 16 & 0o777)


def sha256(file: Path) -> str:
    """Returns the SHA-256 of a file as Lambda writes it, in base64."""
    return base64.b64encode(hashlib.sha256(file.read_bytes()).digest()).decode()


def key(file: Path) -> str:
    """Returns the key of a package in the code bucket, which is unique for each version, commit and content."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    return f"{file.stem}/{'-'.join(filter(None, (version, commit, digest)))}.zip"


def _layer() -> Iterator[tuple[str, Path]]:
    for file in LAYER.rglob("*"):
        if file.is_file():
            yield str(file.relative_to(LAYER)), file


def _readelf(*arguments: str | Path) -> str:
    command = ["readelf", "--wide", *map(str, arguments)]
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout


if __name__ == "__main__":
    main()

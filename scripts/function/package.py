"""Builds the function and packs it and its layer into `dist/`: two zips, the same bytes for the same source."""

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

FUNCTION_ZIP = ROOT / "dist" / "cameras-service-generate-clip.zip"
LAYER_ZIP = ROOT / "dist" / "ffmpeg-layer.zip"
BINARY = ROOT / "target/lambda/cameras-service-generate-clip/bootstrap"
LAYER = ROOT / "layers/ffmpeg/opt"

# By the names Lambda has for architectures, what `uname -m` says there.
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
# Small packages start sooner: what each may weigh, zipped.
MOST_FUNCTION_BYTES, MOST_LAYER_BYTES = 6_000_000, 4_000_000
# What Amazon Linux 2023 has, which `provided.al2023` is.
GLIBC = (2, 34)
LIBRARIES = {"libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# The earliest date that a zip can hold; a build's own would differ each time.
DATE = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    """What `make build` does."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--arch", choices=MACHINES, default="x86_64")
    given = console.parse(arguments)
    with console.one_line_errors():
        make(given.arch, ["-q"] if given.quiet else [])


def make(arch: str, quiet: Sequence[str] = ()) -> None:
    """Both packages, from what the source is now."""
    build(arch, quiet)
    check_binary(BINARY)
    pack(FUNCTION_ZIP, {"bootstrap": BINARY}, MOST_FUNCTION_BYTES)
    pack(LAYER_ZIP, dict(_layer()), MOST_LAYER_BYTES)


def build(arch: str, quiet: Sequence[str]) -> None:
    """The release binary and ffmpeg, for this machine's own architecture: another asks for a machine of that kind."""
    if platform.machine() != MACHINES[arch]:
        raise RuntimeError(f"ARCH={arch} can be built on such a machine only; this one is {platform.machine()}")
    if (
        subprocess.run([LAYER.parent / "build.sh", *quiet], env=os.environ | {"ARCH": arch}, check=False).returncode
        != 0
    ):
        raise RuntimeError("ffmpeg does not build: see above")
    command = ["cargo", "lambda", "build", "--locked", "--release", "--compiler", "cargo", *quiet]
    if arch == "arm64":
        command.append("--arm64")
    # Else messages of panics in other crates name the folder they were fetched to, and no two machines' binaries agree.
    cargo_home = os.environ.get("CARGO_HOME", Path.home() / ".cargo")
    environment = os.environ | {"RUSTFLAGS": f"--remap-path-prefix={cargo_home}=/cargo"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
        raise RuntimeError("the function does not build: see above")


def check_binary(binary: Path) -> None:
    """Refuses what would not start on Amazon Linux 2023."""
    tables = _readelf("--dynamic", "--version-info", binary)
    needed = set(re.findall(r"\(NEEDED\).*\[(.+?)\]", tables))
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"\bGLIBC_([0-9.]+)", tables)}
    if not versions:
        raise RuntimeError(f"{binary} is not linked with glibc: has something changed in the build?")
    if unknown := needed - LIBRARIES:
        raise RuntimeError(f"{binary} needs {', '.join(sorted(unknown))}, which provided.al2023 may lack")
    if max(versions) > GLIBC:
        have, need = (".".join(map(str, version)) for version in (GLIBC, max(versions)))
        raise RuntimeError(
            f"{binary} needs glibc {need}, but provided.al2023 has {have}: build on an older system, such as Debian 12"
        )


def pack(target: Path, files: dict[str, Path], most_bytes: int) -> None:
    """Writes a zip that depends on its files' bytes and modes alone, if it is small enough."""
    target.parent.mkdir(exist_ok=True)
    unfinished = target.with_suffix(".new")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system = 3  # Unix: the mode below is one
            entry.external_attr = (0o100755 if file.stat().st_mode & 0o100 else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, file.read_bytes())
    size = unfinished.stat().st_size
    if size > most_bytes:
        unfinished.unlink()
        raise RuntimeError(f"{target.name} would have {size:,} bytes; {most_bytes:,} are the most")
    unfinished.rename(target)
    console.say(f"{target.parent.name}/{target.name}  {size:,} bytes")


def unpack(zipped: Path, folder: Path) -> None:
    """Unpacks, modes included."""
    with zipfile.ZipFile(zipped) as content:
        for entry in content.infolist():
            Path(content.extract(entry, folder)).chmod(entry.external_attr >> 16 & 0o777)


def sha256(file: Path) -> str:
    """As Lambda tells it of a package."""
    return base64.b64encode(hashlib.sha256(file.read_bytes()).digest()).decode()


def key(file: Path) -> str:
    """Where a package lies in the code bucket: by version, commit and bytes, so that none replaces another."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
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

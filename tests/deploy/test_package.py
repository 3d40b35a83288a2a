"""The content of the packages, and binaries that the build rejects."""

import os
import platform
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from scripts import ROOT
from scripts.function import package

pytestmark = pytest.mark.usefixtures("packages")


def test_packages_only_the_bootstrap_of_the_function() -> None:
    with zipfile.ZipFile(package.FUNCTION_ZIP) as zipped:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in zipped.infolist()}
    assert modes == {"bootstrap": 0o755}


def test_the_documentation_lists_the_content_of_the_packages() -> None:
    documentation = "".join(file.read_text() for file in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))])
    for file in (package.FUNCTION_ZIP, package.LAYER_ZIP):
        shown = re.search(rf"\$ unzip -l dist/{file.name}.*?\n((?:.+\n)+?)\n?(?:\$|```)", documentation)
        assert shown, f"the documentation does not list {file.name}"
        listed = [line.split()[-1] for line in shown[1].splitlines()]
        assert listed == zipfile.ZipFile(file).namelist(), file.name


def test_packages_ffmpeg_with_its_licence_and_sources(tmp_path: Path) -> None:
    package.unpack(package.LAYER_ZIP, tmp_path)
    output = subprocess.run([tmp_path / "bin/ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    about = tmp_path / "share/ffmpeg"
    assert output == (about / "VERSION").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in (about / "licences/COPYING.GPLv2").read_text()
    assert "ffmpeg_" in (about / "SOURCE").read_text()


def test_packages_the_same_files_to_the_same_bytes_whatever_their_dates(tmp_path: Path) -> None:
    zips = []
    for day in (1, 2):
        file = tmp_path / f"bootstrap-{day}"
        file.write_bytes(b"\x7fELF" * 1000)
        file.chmod(0o700 | day)
        os.utime(file, (day * 86_400, day * 86_400))
        zips.append(tmp_path / f"{day}.zip")
        package.pack(zips[-1], {"bootstrap": file, "a/b": Path(__file__)}, 1 << 20)
    assert zips[0].read_bytes() == zips[1].read_bytes()
    assert package.sha256(zips[0]) == package.sha256(zips[1])
    assert package.key(zips[0]).split("-")[-1] == package.key(zips[1]).split("-")[-1]


def test_rejects_a_package_that_is_too_large_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "noise"
    file.write_bytes(os.urandom(2000))
    with pytest.raises(RuntimeError, match=r"large\.zip: expected at most 2,000 bytes, got "):
        package.pack(tmp_path / "dist/large.zip", {"noise": file}, 2000)
    assert list((tmp_path / "dist").iterdir()) == []


def test_rejects_the_architecture_of_another_machine_before_the_build() -> None:
    here = platform.machine()
    other = next(arch for arch, machine in package.MACHINES.items() if machine != here)
    with pytest.raises(RuntimeError, match=rf"ARCH: expected the architecture of this machine \({here}\), got {other}"):
        package.make(other)


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        # arc4random came with glibc 2.36
        ("#include <stdlib.h>\nint main() { return arc4random() == 7; }", [], "expected glibc 2.34 .*, got 2.36"),
        (
            "#include <zlib.h>\nint main() { return zlibVersion()[0]; }",
            ["-lz"],
            "expected libraries of provided.al2023, got libz.so.1",
        ),
        ("int main() { return 0; }", ["-static"], "expected a binary that links glibc dynamically"),
        ("#include <stdlib.h>\nint main() { return rand() == 7; }", [], None),
    ],
)
def test_rejects_a_binary_that_cannot_start_on_lambda(
    tmp_path: Path, source: str, options: list[str], error: str | None
) -> None:
    (tmp_path / "main.c").write_text(source)
    binary = tmp_path / "main"
    if "-lz" in options:
        # A stand-in for zlib, so that its headers need not be installed.
        (tmp_path / "zlib.h").write_text("const char *zlibVersion(void);")
        (tmp_path / "z.c").write_text('const char *zlibVersion(void) { return "1"; }')
        shared = ["gcc", "-shared", "-Wl,-soname,libz.so.1", "-o", tmp_path / "libz.so", tmp_path / "z.c"]
        subprocess.run(shared, check=True)
        options = [f"-I{tmp_path}", f"-L{tmp_path}", *options]
    include = [option for option in options if option.startswith("-I")]
    others = [option for option in options if not option.startswith("-I")]
    subprocess.run(["gcc", *include, "-o", binary, tmp_path / "main.c", *others], check=True)
    if error:
        with pytest.raises(RuntimeError, match=error):
            package.check_binary(binary)
    else:
        package.check_binary(binary)

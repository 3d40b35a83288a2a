"""Measures clips that must be encoded, and one out of fragments, beside ffmpeg with input seek and its defaults.

The engine runs on local files (`examples/cut.rs`), in turn with ffmpeg (x264 medium, CRF 23), both with our ffmpeg and
two threads. Other load on the machine affects both, so ratios are told. The estimate of the engine is held against its
time.
"""

import argparse
import math
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts import ROOT
from scripts.footage import footage
from scripts.shared import console

FFMPEG = ROOT / "layers/ffmpeg/opt/bin/ffmpeg"
CUT = ROOT / "target/release/examples/cut"
START = "20180916T172017000"
START_MS = 1_537_118_417_000
LOOPED_SECONDS = 12
QUICK_SECONDS = 5


@dataclass(frozen=True)
class Source:
    """A kind of recording, and how long a clip of it is. It begins at a frame inside a group of pictures."""

    name: str
    seconds: int
    encoder: tuple[str, ...]
    from_s: float = 1.117
    recorded_seconds: int | None = None  # no longer than the clip needs
    muxer: tuple[str, ...] = ()


X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1")
X265_PARAMS = ("-x265-params", "keyint=60:min-keyint=60:log-level=error")
SOURCES = (
    Source("HEVC 720p, 60 s", 60, (*X265, "-b:v", "2M", *X265_PARAMS)),
    Source("HEVC 1080p, 60 s", 60, ("-s", "1920x1080", *X265, "-b:v", "4M", *X265_PARAMS)),
    Source(
        "H.264 open GOP 720p, 20 s",
        20,
        (
            *("-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-g", "60", "-bf", "3"),
            *("-x264-params", "open-gop=1:scenecut=0"),
        ),
    ),
    Source(
        "H.264 of 1 s fragments, 60 s",
        60,
        ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "4M", "-g", "30", "-bf", "2", "-sc_threshold", "0"),
        from_s=271.117,
        recorded_seconds=600,
        muxer=("-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
    ),
)


def main() -> None:
    """Measures all sources and prints a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    options = console.parse(arguments)
    with console.one_line_errors():
        show(measured(SOURCES, options.rounds))


def quick() -> list[dict]:
    """Measures a short clip once: this shows that it works, not how fast anything is."""
    return measured([replace(SOURCES[2], name=f"H.264 open GOP 720p, {QUICK_SECONDS} s", seconds=QUICK_SECONDS)], 1)


def measured(sources: Sequence[Source], rounds: int) -> list[dict]:
    """Returns what each source costs the engine and ffmpeg."""
    build = ["cargo", "build", "--locked", "--release", "-p", "exact-cut", "--example", "cut", "--quiet"]
    # linked in a minute less; the work is done by ffmpeg
    quickly = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    subprocess.run(build, cwd=ROOT, env=os.environ | quickly, check=True)
    rows = []
    progress = console.Progress("measuring clips that are encoded")
    with tempfile.TemporaryDirectory() as scratch:
        for done, source in enumerate(sources):
            progress.show(done / len(sources))
            rows.append(_measure(source, _recording(source, Path(scratch)), Path(scratch), rounds))
    progress.show(1)
    return rows


def show(rows: Sequence[dict]) -> None:
    """Prints the figures as a table."""
    console.say(
        f"\n{'encoded as a whole':28}{'engine':>9}{'ffmpeg':>9}{'ratio':>7}{'estimate/measured':>19}"
        f"{'Mbit/s: source':>16}{'engine':>8}{'ffmpeg':>8}{'dB: mean':>10}{'least':>7}"
    )
    for row in rows:
        console.say(
            f"{row['name']:28}{row['engine_s']:>7.1f} s{row['ffmpeg_s']:>7.1f} s{row['engine_over_ffmpeg']:>7.2f}"
            f"{row['estimate_over_measured']:>19.2f}{row['source_mbit_s']:>16.2f}{row['clip_mbit_s']:>8.2f}"
            f"{row['ffmpeg_mbit_s']:>8.2f}{row['psnr_mean']:>10.1f}{row['psnr_least']:>7.1f}"
        )


def _recording(source: Source, folder: Path) -> Path:
    """Draws some seconds of the demo's footage, and loops them."""
    name = re.sub(r"\W+", "-", source.name)
    target = folder / f"{name}.{START}.mp4"
    drawn = footage.Recording(footage.DEMO[0].start_ms, LOOPED_SECONDS)
    short = folder / f"short-{name}.mp4"
    footage.draw_with(drawn, source.encoder, short)
    seconds = source.recorded_seconds or source.seconds + 3 + LOOPED_SECONDS
    loops = str(seconds // LOOPED_SECONDS - 1)
    loop = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-stream_loop", loops, "-i", f"file:{short}", "-c", "copy"]
    subprocess.run([*loop, *source.muxer, f"file:{target}"], check=True)
    return target


def _measure(source: Source, recording: Path, scratch: Path, rounds: int) -> dict:
    clip, plain = scratch / "clip.mp4", scratch / "plain.mp4"
    from_ms = START_MS + round(source.from_s * 1000)
    to_ms = from_ms + source.seconds * 1000
    cut = [str(CUT), "--from", str(from_ms), "--to", str(to_ms)]
    cut += ["--out", str(clip), "--ffmpeg", str(FFMPEG), str(recording)]
    # what a person would type: seek in the input, encode at the defaults
    encode = [str(FFMPEG), "-nostdin", "-v", "error", "-y", "-ss", str(source.from_s), "-t", str(source.seconds)]
    encode += ["-i", f"file:{recording}", "-c:v", "libx264", "-threads", "2", f"file:{plain}"]
    engine_s, ffmpeg_s, estimate_ms = [], [], 0.0
    for _ in range(rounds):
        seconds, told = _timed(cut)
        engine_s.append(seconds)
        estimate_ms = float(re.search(r"estimated to take (\d+) ms", told).group(1))
        ffmpeg_s.append(_timed(encode)[0])
    engine = statistics.median(engine_s)
    psnr = _psnr(recording, source, clip)
    return {
        "name": source.name,
        "engine_s": round(engine, 2),
        "ffmpeg_s": round(statistics.median(ffmpeg_s), 2),
        "engine_over_ffmpeg": round(statistics.median(a / b for a, b in zip(engine_s, ffmpeg_s, strict=True)), 2),
        "estimate_over_measured": round(estimate_ms / 1000 / engine, 2),
        "source_mbit_s": _mbit_s(recording, source.recorded_seconds or source.seconds + source.from_s),
        "clip_mbit_s": _mbit_s(clip, source.seconds),
        "ffmpeg_mbit_s": _mbit_s(plain, source.seconds),
        "psnr_mean": round(statistics.mean(psnr), 1),
        "psnr_least": round(min(psnr), 1),
    }


def _psnr(recording: Path, source: Source, clip: Path) -> list[float]:
    """Returns the dB of each frame of the clip, of the plane that differs most; 100 of an equal one."""
    first, expected = math.ceil(source.from_s * footage.RATE), source.seconds * footage.RATE
    end = first + expected
    graph = (
        f"[0:v]trim=start_frame={first}:end_frame={end},settb=1/{footage.RATE},setpts=N[source];"
        f"[1:v]settb=1/{footage.RATE},setpts=N[clip];[source][clip]psnr=stats_file=-"
    )
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", f"file:{recording}", "-i", f"file:{clip}"]
    command += ["-filter_complex", graph, "-f", "null", "-"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    frames = [[float(value) for value in re.findall(r"psnr_[yuv]:(\S+)", line)] for line in told.splitlines()]
    if len(frames) != expected:
        raise RuntimeError(f"{recording.name}: expected {expected} frames in the clip, got {len(frames)}")
    return [min(*planes, 100.0) for planes in frames]


def _timed(command: list[str]) -> tuple[float, str]:
    started = time.monotonic()
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.monotonic() - started, told


def _mbit_s(video: Path, fallback_s: float) -> float:
    seconds = (footage.duration_ms(video) or fallback_s * 1000) / 1000
    return round(video.stat().st_size * 8 / seconds / 1e6, 2)


if __name__ == "__main__":
    main()

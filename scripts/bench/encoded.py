"""Measures clips that must be encoded, and one out of fragments, beside ffmpeg with input seek and its defaults.

The engine runs on local files (`examples/cut.rs`), in turn with ffmpeg (x264 medium, CRF 23), both with our ffmpeg and
two threads. Other load on the machine affects both, so ratios are told. The estimate of the engine is held against its
time.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.footage import footage
from scripts.shared import console

FFMPEG = ROOT / "layers/ffmpeg/opt/bin/ffmpeg"
RESULT = ROOT / "dist/bench-encoded.json"
START = "20180916T172017000"
START_MS = 1_537_118_417_000
LOOPED_SECONDS = 12


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
SOURCES = (
    Source("hevc-720p-2-mbit", 60, (*X265, "-b:v", "2M", "-x265-params", "keyint=60:min-keyint=60:log-level=error")),
    Source(
        "h264-open-gop-3-mbit",
        20,
        (
            *("-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-g", "60", "-bf", "3"),
            *("-x264-params", "open-gop=1:scenecut=0"),
        ),
    ),
    Source(
        "h264-1-s-fragments-4-mbit",
        60,
        ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "4M", "-g", "30", "-bf", "2", "-sc_threshold", "0"),
        from_s=271.117,
        recorded_seconds=600,
        muxer=("-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
    ),
)


def main() -> None:
    """Measures all sources, prints a table, and writes `dist/bench-encoded.json`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    arguments.add_argument("--footage", type=Path, help="folder with recordings that were drawn before")
    options = console.parse(arguments)
    build = ["cargo", "build", "--locked", "--release", "-p", "exact-cut", "--example", "cut"]
    subprocess.run(build, cwd=ROOT, check=True)
    with console.one_line_errors(), tempfile.TemporaryDirectory() as scratch:
        folder = options.footage or Path(scratch)
        rows = [_measure(source, _recording(source, folder), Path(scratch), options.rounds) for source in SOURCES]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"load_at_start": os.getloadavg()[0], "rows": rows}, indent=2))
    for row in rows:
        console.say(json.dumps(row))


def _recording(source: Source, folder: Path) -> Path:
    """Draws some seconds of the demo's footage, and loops them."""
    target = folder / f"{source.name}.{START}.mp4"
    if target.exists():
        return target
    drawn = footage.Recording(footage.DEMO[0].start_ms, LOOPED_SECONDS)
    short = folder / f"short-{source.name}.mp4"
    footage.draw_with(drawn, source.encoder, short)
    seconds = source.recorded_seconds or source.seconds + 3 + LOOPED_SECONDS
    loops = str(seconds // LOOPED_SECONDS - 1)
    loop = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-stream_loop", loops, "-i", f"file:{short}", "-c", "copy"]
    subprocess.run([*loop, *source.muxer, f"file:{target}"], check=True)
    return target


def _measure(source: Source, recording: Path, scratch: Path, rounds: int) -> dict[str, float | str]:
    clip, plain = scratch / "clip.mp4", scratch / "plain.mp4"
    from_ms = START_MS + round(source.from_s * 1000)
    to_ms = from_ms + source.seconds * 1000
    cut = [str(ROOT / "target/release/examples/cut"), "--from", str(from_ms), "--to", str(to_ms)]
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
    return {
        "name": source.name,
        "engine_s": round(engine, 2),
        "ffmpeg_s": round(statistics.median(ffmpeg_s), 2),
        "engine_over_ffmpeg": round(statistics.median(a / b for a, b in zip(engine_s, ffmpeg_s, strict=True)), 2),
        "estimate_over_measured": round(estimate_ms / 1000 / engine, 2),
        "source_mbit_s": _mbit_s(recording, source.recorded_seconds or source.seconds + source.from_s),
        "clip_mbit_s": _mbit_s(clip, source.seconds),
        "ffmpeg_mbit_s": _mbit_s(plain, source.seconds),
    }


def _timed(command: list[str]) -> tuple[float, str]:
    started = time.monotonic()
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.monotonic() - started, told


def _mbit_s(video: Path, fallback_s: float) -> float:
    seconds = (footage.duration_ms(video) or fallback_s * 1000) / 1000
    return round(video.stat().st_size * 8 / seconds / 1e6, 2)


if __name__ == "__main__":
    main()

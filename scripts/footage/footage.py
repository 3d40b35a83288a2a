"""Draws recordings such as a surf camera makes. Each frame shows its UTC time and its number.

The script draws the three recordings of the demo once, and keeps them in the user's cache.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.footage import frame_number
from scripts.shared import console, instants, processes

WIDTH, HEIGHT, RATE = 1280, 720, 30
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf"
LOOP_SECONDS = 2

# A sky over rolling waves, drawn small and once, then looped: the period of every term divides the loop.
WAVES = (
    "geq=lum='if(lt(Y,60),150+Y*0.9,"
    "62+0.55*(Y-60)+(10+0.16*(Y-60))*sin(700/(Y-38)+PI*T+1.4*sin(X/34+4*Y/180+PI*T))"
    "+7*sin(X/9+Y/5-2*PI*T))'"
    ":cb='if(lt(Y,60),150-Y*0.25,152-0.06*(Y-60))':cr='if(lt(Y,60),112+Y*0.25,104-0.05*(Y-60))'"
)
# With grain, the encoder spends as many bits as on the picture of a camera.
GRAIN = "noise=c0s=9:c0f=t:all_seed=7"

# High profile at little CPU time per frame; closed GOPs of equal length, no B-frames.
ENCODER = [
    *("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-x264-params", "8x8dct=1"),
    *("-bf", "0", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0"),
    *("-b:v", "4M", "-maxrate", "5M", "-bufsize", "8M", "-pix_fmt", "yuv420p"),
]


@dataclass(frozen=True)
class Recording:
    """A recording to draw."""

    start_ms: int
    seconds: int
    index_first: bool = True

    @property
    def name(self) -> str:
        """File name, which holds the instant of the first frame."""
        return f"test.{instants.compact(self.start_ms)}.mp4"

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.seconds * RATE


DEMO = (
    Recording(instants.parse("2018-09-16T17:20:17.000Z"), 600),
    Recording(instants.parse("2018-09-16T17:30:17.000Z"), 600, index_first=False),
    Recording(instants.parse("2018-09-16T17:40:17.000Z"), 600),
)


def demo_folder() -> Path:
    """Returns the folder with the recordings of the demo, and draws them if they do not exist yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cameras-service-generate-clip"
    recipe = json.dumps([_command(recording, Path(recording.name)) for recording in DEMO])
    folder = cache / f"recordings-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix="drawing-") as scratch:
                unfinished = Path(scratch) / "recordings"
                unfinished.mkdir()
                draw(DEMO, unfinished)
                unfinished.rename(folder)
    return folder


def draw(recordings: Sequence[Recording], folder: Path) -> None:
    """Draws all recordings at the same time, and checks each."""
    if not shutil.which("ffmpeg") or not Path(FONT).exists():
        raise RuntimeError(f"cannot draw recordings: ffmpeg or {FONT} is missing: make install")
    progress = console.Progress(f"drawing {len(recordings)} recording{'s' * (len(recordings) > 1)}")
    total = sum(recording.frames for recording in recordings)
    with ExitStack() as stack:
        reports = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = []
        for recording in recordings:
            report = reports / recording.name
            command = [*_command(recording, folder / recording.name), "-progress", str(report)]
            running.append(stack.enter_context(processes.running(command)))
        while any(process.poll() is None for process in running):
            progress.show(0.99 * sum(map(_frames_done, reports.iterdir())) / total)
            time.sleep(0.05)
        for recording, process in zip(recordings, running, strict=True):
            _check(recording, folder / recording.name, process.returncode)
    progress.show(1)


def draw_with(recording: Recording, encoder: Sequence[str], target: Path) -> None:
    """Draws one recording with another encoder."""
    command = _command(recording, target)
    at = command.index("-frames:v") + 2
    subprocess.run([*command[:at], *encoder, "-pix_fmt", "yuv420p", command[-1]], check=True)


def duration_ms(video: Path) -> int | None:
    """Returns the duration of a video, or `None` if ffprobe does not find one."""
    answer = _probe(video, "format=duration")
    return round(float(answer["format"]["duration"]) * 1000) if "duration" in answer.get("format", {}) else None


def _command(recording: Recording, target: Path) -> list[str]:
    loop = f"loop=-1:{LOOP_SECONDS * RATE}:0,setpts=N/({RATE}*TB)"
    picture = (
        f"nullsrc=s=320x180:r={RATE}:d={LOOP_SECONDS},format=yuv444p,{WAVES},"
        f"scale={WIDTH}:{HEIGHT}:flags=bicubic,format=yuv420p,{GRAIN},{loop}"
    )
    numbers = frame_number.filter_chain(RATE, WIDTH)
    graph = f"{picture}[picture];{numbers}[number];[picture][number]overlay=0:0,{_clock(recording.start_ms)}"
    command = ["ffmpeg", "-nostdin", "-y", "-v", "error", "-filter_threads", "1", "-filter_complex", graph]
    # Without a second rate, ffmpeg 7 gives the last frame no duration.
    command += ["-r", str(RATE), "-frames:v", str(recording.frames), *ENCODER]
    command += ["-movflags", "+faststart"] if recording.index_first else []
    return [*command, f"file:{target}"]


def _clock(start_ms: int) -> str:
    """Returns the filter that draws date and time, rounded to a millisecond.

    The format `hms` is not used, because ffmpeg 5 and 7 treat its 24 hours differently.
    """
    # Half a millisecond more, because ffmpeg truncates the second but rounds the millisecond.
    second = rf"%{{pts\:gmtime\:{start_ms / 1000:.3f}5\:%F %T}}"
    millisecond = rf"%{{eif\:mod(round(t*1000)+{start_ms % 1000}\,1000)\:d\:3}}"
    return (
        f"drawtext=fontfile={FONT}:fontsize=56:fontcolor=white:borderw=3:bordercolor=black@0.6"
        f":x=(w-tw)/2:y=h*0.46:text='{second}.{millisecond} UTC'"
    )


def _frames_done(report: Path) -> int:
    frames = re.findall(r"^frame=(\d+)", report.read_text(), re.MULTILINE)
    return int(frames[-1]) if frames else 0


def _check(recording: Recording, target: Path, exit_code: int | None) -> None:
    """Checks the file itself, because ffmpeg may leave an incomplete file and still return 0."""
    streams = _probe(target, "stream=nb_frames").get("streams", [{}])
    whole = duration_ms(target) == recording.seconds * 1000 and streams[0].get("nb_frames") == str(recording.frames)
    if exit_code != 0 or not whole:
        raise RuntimeError(
            f"cannot draw {recording.name}: ffmpeg ended with exit code {exit_code} and an incomplete file"
        )


def _probe(video: Path, entries: str) -> dict:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", entries, f"file:{video}"]
    return json.loads(subprocess.run(command, check=False, capture_output=True, text=True).stdout or "{}")


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    console.parse(argparse.ArgumentParser(description=__doc__))
    processes.end_on_signals()
    with console.one_line_errors():
        console.say(str(demo_folder()))

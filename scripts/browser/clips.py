"""Plays clips in Chromium, and reads from a canvas which frames it shows.

Each clip `NAME.mp4` has a file `NAME.json` that describes what the clip must show:

    frames    numbers of its frames, in display order
    times_ms  start of each frame, since the start of the clip
    end_ms    end of the last frame
    joints    indices of the first frames after a joint
    size      width and height as stored
    rotation  clockwise rotation for display, in degrees
    blocks    position of the number in the stored picture: x and y of the top left corner of the first block, its side
              `block`, and the number of blocks `bits`

The test seeks to the start, to both sides of every joint and to the end, then plays the whole clip at high speed.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from selenium.webdriver.remote.webdriver import WebDriver

from scripts import ROOT
from scripts.browser import chromium
from scripts.shared import console, processes

PAGE = Path(__file__).with_name("clips.html")
SCRIPT_SECONDS = 120
SIDE_BY_SIDE = 4
# Rotates a point of a picture of width and height 1 clockwise, by degrees.
ROTATIONS = {
    0: lambda x, y: (x, y),
    90: lambda x, y: (1 - y, x),
    180: lambda x, y: (1 - x, 1 - y),
    270: lambda x, y: (y, 1 - x),
}


@dataclass(frozen=True)
class Clip:
    """A clip, and the description of what it must show."""

    name: str
    expected: dict

    @property
    def sought(self) -> list[int]:
        """Indices of the frames to seek: the first, those around joints, and the last."""
        count = len(self.expected["frames"])
        around = {frame for joint in self.expected["joints"] if joint for frame in (joint - 1, joint)}
        return sorted({0, count - 1} | around)

    def for_page(self) -> dict:
        """Returns what `watch` in clips.html takes."""
        ends = [*self.expected["times_ms"][1:], self.expected["end_ms"]]
        (width, height), blocks = self.expected["size"], self.expected["blocks"]
        middles = [
            (blocks["x"] + (n + 0.5) * blocks["block"], blocks["y"] + 0.5 * blocks["block"])
            for n in range(blocks["bits"])
        ]
        rotate = ROTATIONS[self.expected["rotation"]]
        return {
            "url": f"{quote(self.name)}.mp4",
            # As fractions of the displayed picture, whatever the shape of its pixels.
            "points": [rotate(x / width, y / height) for x, y in middles],
            "seeks": [(self.expected["times_ms"][frame] + ends[frame]) / 2000 for frame in self.sought],
            "upright": (height > width) != (self.expected["rotation"] in {90, 270}),
        }

    def faults(self, seen: dict) -> list[str]:
        """Returns the differences between what the page saw and what the clip must show."""
        frames, times = self.expected["frames"], self.expected["times_ms"]
        faults = [seen["error"]] if seen["error"] else []
        for frame, shown in zip(self.sought, seen["sought"], strict=False):
            if shown != frames[frame]:
                where = " (first after a joint)" if frame in self.expected["joints"] else ""
                faults.append(f"frame {frame}{where} at {times[frame]:.1f} ms: expected {frames[frame]}, got {shown}")
        # Not every frame reaches the screen during playback, but those that do must come in order.
        last = 0
        for shown in seen["played"]:
            if shown not in frames[last:]:
                faults.append(f"playing, after frame {last} at {times[last]:.1f} ms ({frames[last]}): got {shown}")
                break
            last = frames.index(shown, last)
        return faults


def main() -> None:
    """Runs `make test-browser`."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", type=Path, default=ROOT / "dist" / "zoo", help="folder of the clips")
    folder = arguments.parse_args().folder
    processes.end_on_signals()
    clips = [Clip(file.stem, json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
    if not clips:
        console.fail(f"expected clips in {folder}, got none: make test writes them")
    with console.one_line_errors(), chromium.serving(folder, PAGE) as url, chromium.running() as driver:
        driver.get(url)
        driver.set_script_timeout(SCRIPT_SECONDS)
        wrong = 0
        for at in range(0, len(clips), SIDE_BY_SIDE):
            some = clips[at : at + SIDE_BY_SIDE]
            wrong += sum(map(_is_wrong, some, _watch(some, driver)))
        _check_detection(clips[0], driver)
        browser = f"in Chromium {driver.capabilities['browserVersion']}"
    if wrong:
        console.fail(f"{wrong} of {len(clips)} clips are wrong {browser}")
    console.say(f"{len(clips)} clips are right {browser}")


def _is_wrong(clip: Clip, seen: dict) -> bool:
    faults = clip.faults(seen)
    frames = len(clip.expected["frames"])
    counts = f"{len(seen['sought'])} frames sought, {len(seen['played'])} of {frames} seen during playback"
    console.say(f"{clip.name}: {'WRONG' if faults else 'right'}, {counts}")
    for fault in faults:
        console.say(f"    {fault}")
    return bool(faults)


def _check_detection(clip: Clip, driver: WebDriver) -> None:
    """Checks that this test detects errors: with other expected numbers, every sought frame must be wrong."""
    others = Clip(clip.name, clip.expected | {"frames": [number + 1 for number in clip.expected["frames"]]})
    (seen,) = _watch([others], driver)
    if len(others.faults(seen)) < len(others.sought):
        raise RuntimeError(f"{clip.name}: expected every frame to differ from other numbers, got fewer")


def _watch(clips: Sequence[Clip], driver: WebDriver) -> list[dict]:
    script = "Promise.all(arguments[0].map(watch)).then(arguments[1])"
    return driver.execute_async_script(script, [clip.for_page() for clip in clips])


if __name__ == "__main__":
    main()

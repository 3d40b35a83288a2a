"""Plays clips in Chromium, and reads off a canvas which frames it shows.

Beside each clip `NAME.mp4` lies `NAME.json`, which says what it must show:

    frames    the numbers that stand in its frames, in the order in which they are shown
    times_ms  when each is shown, from the clip's start
    end_ms    when the last one's time is over
    joints    which of them are the first after a joint
    size      width and height as stored
    rotation  by how many degrees it is turned clockwise to be displayed
    blocks    where the number stands in the stored picture: x and y of the top left corner of the first block, block,
              which is its side, and bits, how many there are, one beside the other

Of every clip it seeks the start, both sides of every joint and the end, then plays all of it, fast.
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
# Where a point of a picture of width and height 1 lies after so many degrees clockwise.
TURNED = {
    0: lambda x, y: (x, y),
    90: lambda x, y: (1 - y, x),
    180: lambda x, y: (1 - x, 1 - y),
    270: lambda x, y: (y, 1 - x),
}


@dataclass(frozen=True)
class Clip:
    """A clip, and what it must show."""

    name: str
    told: dict

    @property
    def wanted(self) -> list[int]:
        """Which frames are sought: the first, those around joints, the last."""
        count = len(self.told["frames"])
        around = {frame for joint in self.told["joints"] if joint for frame in (joint - 1, joint)}
        return sorted({0, count - 1} | around)

    def for_page(self) -> dict:
        """What the page is told."""
        ends = [*self.told["times_ms"][1:], self.told["end_ms"]]
        (width, height), blocks = self.told["size"], self.told["blocks"]
        middles = [
            (blocks["x"] + (n + 0.5) * blocks["block"], blocks["y"] + 0.5 * blocks["block"])
            for n in range(blocks["bits"])
        ]
        turn = TURNED[self.told["rotation"]]
        return {
            "url": f"{quote(self.name)}.mp4",
            # In parts of the picture as it is displayed, however its pixels are stretched for that.
            "points": [turn(x / width, y / height) for x, y in middles],
            "seeks": [(self.told["times_ms"][frame] + ends[frame]) / 2000 for frame in self.wanted],
            "upright": (height > width) != (self.told["rotation"] in {90, 270}),
        }

    def faults(self, seen: dict) -> list[str]:
        """What is wrong with what the page saw."""
        frames, times = self.told["frames"], self.told["times_ms"]
        faults = [seen["error"]] if seen["error"] else []
        for frame, shown in zip(self.wanted, seen["sought"], strict=False):
            if shown != frames[frame]:
                where = " (first after a joint)" if frame in self.told["joints"] else ""
                faults.append(f"frame {frame}{where} at {times[frame]:.1f} ms: wanted {frames[frame]}, seen {shown}")
        # While it plays some frames are never on screen, but those that are come in their order.
        last = 0
        for shown in seen["played"]:
            if shown not in frames[last:]:
                faults.append(f"playing, after frame {last} at {times[last]:.1f} ms ({frames[last]}): seen {shown}")
                break
            last = frames.index(shown, last)
        return faults


def main() -> None:
    """What `make test-browser` does."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", type=Path, default=ROOT / "dist" / "zoo", help="where the clips are")
    folder = arguments.parse_args().folder
    processes.end_on_signals()
    clips = [Clip(file.stem, json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
    if not clips:
        console.fail(f"no clips are in {folder}: make test leaves them there")
    with console.one_line_errors(), chromium.serving(folder, PAGE) as url, chromium.running() as driver:
        driver.get(url)
        driver.set_script_timeout(SCRIPT_SECONDS)
        wrong = 0
        for at in range(0, len(clips), SIDE_BY_SIDE):
            some = clips[at : at + SIDE_BY_SIDE]
            wrong += sum(map(_is_wrong, some, _watch(some, driver)))
        _check_that_it_sees(clips[0], driver)
        which = f"in Chromium {driver.capabilities['browserVersion']}"
    if wrong:
        console.fail(f"{wrong} of {len(clips)} clips are wrong {which}")
    console.say(f"{len(clips)} clips are right {which}")


def _is_wrong(clip: Clip, seen: dict) -> bool:
    faults = clip.faults(seen)
    told = f"{len(seen['sought'])} frames sought, {len(seen['played'])} of {len(clip.told['frames'])} seen in passing"
    console.say(f"{clip.name}: {'WRONG' if faults else 'right'}, {told}")
    for fault in faults:
        console.say(f"    {fault}")
    return bool(faults)


def _check_that_it_sees(clip: Clip, driver: WebDriver) -> None:
    """Told of frames that aren't there, it must find every one of them wrong."""
    others = Clip(clip.name, clip.told | {"frames": [number + 1 for number in clip.told["frames"]]})
    (seen,) = _watch([others], driver)
    if len(others.faults(seen)) < len(others.wanted):
        raise RuntimeError(f"{clip.name} passes for a clip of other frames: this test sees nothing")


def _watch(clips: Sequence[Clip], driver: WebDriver) -> list[dict]:
    script = "Promise.all(arguments[0].map(watch)).then(arguments[1])"
    return driver.execute_async_script(script, [clip.for_page() for clip in clips])


if __name__ == "__main__":
    main()

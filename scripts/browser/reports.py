"""Opens reports in Chromium, and checks their figures, their drawings and their player against the documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.webdriver.remote.webdriver import WebDriver

from scripts.browser import chromium

SCRIPT_SECONDS = 60
# The rectangles of the timeline: what each stands for, and where it is drawn.
BOXES = """
return [...document.querySelectorAll("svg rect[data-start-us]")].map((box) => ({
  kind: box.getAttribute("class"), title: box.textContent, x: box.getBBox().x, width: box.getBBox().width,
  startUs: Number(box.dataset.startUs), endUs: Number(box.dataset.endUs),
}));
"""
PLAY = """
const done = arguments[1], video = document.querySelector("video");
const until = (event) => new Promise((resolve) => video.addEventListener(event, resolve, { once: true }));
(async () => {
  const button = document.querySelectorAll("button[data-seek]")[arguments[0]];
  const sought = until("seeked");
  button.focus();
  button.click();
  await sought;
  const at = video.currentTime;
  video.muted = true;
  video.playbackRate = 8;
  await video.play();
  await until("ended");
  const { width, height } = video.getBoundingClientRect();
  done({
    at, wanted: Number(button.dataset.seek), ended: video.currentTime, length: video.duration, size: [width, height],
    playhead: getComputedStyle(document.querySelector(".playhead")).visibility,
    focused: document.activeElement === button,
  });
})().catch((reason) => done({ error: String(reason) }));
"""
NAMELESS = """
const unnamed = (element) => !(element.getAttribute("aria-label") || element.textContent.trim() || element.alt);
return [...document.querySelectorAll("button, a, img, video, summary, [role=region], th")]
  .filter(unnamed).map((element) => element.outerHTML.slice(0, 80));
"""


@dataclass(frozen=True)
class Page:
    """A report, and the document that it must show."""

    file: Path
    document: dict


def check(pages: Sequence[Page], say: Callable[[str], None]) -> None:
    """Checks all pages, and says which are right. Raises an error for the first that is not."""
    with chromium.running() as driver:
        driver.set_script_timeout(SCRIPT_SECONDS)
        for page in pages:
            _check(page, driver)
            say(f"{page.file.name}: in light and dark, no errors, figures as in the run, {_played(page)}")


def _check(page: Page, driver: WebDriver) -> None:
    for scheme in ("dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        driver.get(page.file.as_uri())
        _holds(page, f"messages on the console ({scheme})", driver.get_log("browser"), [])
        faint = driver.execute_script(_CONTRAST)
        _holds(page, f"texts with low contrast ({scheme})", faint, [])
    _holds(page, "elements without a name", driver.execute_script(NAMELESS), [])
    text = driver.execute_script("return document.body.innerText")
    _holds(page, "the status is shown", page.document["status"] in text, True)
    failure = page.document["failure"]
    for word in failure.values() if failure else ():
        _holds(page, "every field of the failure is shown", word in text, True)
    _check_timeline(page, driver.execute_script(BOXES))
    if page.document["clip"]:
        _check_playing(page, driver)


def _check_timeline(page: Page, boxes: list[dict]) -> None:
    """Checks that the drawing has exactly the spans of the document, each to scale and with its frames."""
    document = page.document
    request = document["request"]
    span = [request["startTimestampInMs"] * 1000, request["endTimestampInMs"] * 1000]
    drawn = {
        kind: [box for box in boxes if box["kind"].split()[0] == kind] for kind in ("copy", "encode", "held", "gap")
    }
    expected = {
        "copy": [one for one in document["segments"] if one["how"] == "copy"],
        "encode": [one for one in document["segments"] if one["how"] == "encode"],
        "held": document["held"],
        "gap": document["gaps"],
    }
    for kind, spans in expected.items():
        _holds(page, f"spans of kind {kind}", [_ends(box) for box in drawn[kind]], [_ends(one) for one in spans])
    for kind in ("copy", "encode"):
        for box, segment in zip(drawn[kind], expected[kind], strict=True):
            _holds(
                page,
                f"the title says {segment['frames']} frames",
                f" {segment['frames']:,} frame" in box["title"],
                True,
            )
    requested = [box for box in boxes if box["kind"] == "wanted"]
    is_drawn_twice = any(one["shows"] for one in document["recordings"])
    _holds(page, "the requested span", [_ends(box) for box in requested], [span] * (2 if is_drawn_twice else 1))
    # The last drawing of the span has the scale of everything below it.
    per_us = requested[-1]["width"] / (span[1] - span[0])
    for box in (box for boxes in drawn.values() for box in boxes):
        x = requested[-1]["x"] + (box["startUs"] - span[0]) * per_us
        off = max(abs(box["x"] - x), abs(box["width"] - (box["endUs"] - box["startUs"]) * per_us))
        _holds(page, f"to scale: {box['title']}", off < 0.02, True)


def _check_playing(page: Page, driver: WebDriver) -> None:
    last = len(page.document["segments"]) - 1
    seen = driver.execute_async_script(PLAY, last)
    _holds(page, "error of the player", seen.get("error"), None)
    length = page.document["clip"]["lengthUs"] / 1e6
    _holds(page, f"the video lasts {length} s", abs(seen["length"] - length) < 0.002, True)
    _holds(page, "the video plays to its end", abs(seen["ended"] - length) < 0.1, True)
    _holds(page, "a button seeks to its segment", abs(seen["at"] - seen["wanted"]) < 0.001, True)
    _holds(page, "the button keeps the focus", seen["focused"], True)
    _holds(page, "visibility of the playhead", seen["playhead"], "visible")
    _holds(page, "the video has a size", min(seen["size"]) > 100, True)


def _ends(span: dict) -> list[int]:
    return [span["startUs"], span["endUs"]]


def _played(page: Page) -> str:
    return "played to its end" if page.document["clip"] else "nothing to play"


def _holds(page: Page, what: str, found: Any, expected: Any) -> None:  # noqa: ANN401
    if found != expected:
        raise RuntimeError(f"{page.file}: {what}: expected {expected}, got {found}")


# Texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3).
_CONTRAST = """
const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
const linear = (part) => (part /= 255, part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
    if (a === 1 && r !== undefined) return [r, g, b];
  }
  return [255, 255, 255];
};
const faint = [];
for (const element of document.querySelectorAll("body *:not(svg, svg *, script, style)")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (!own) continue;
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faint.push(element.textContent.slice(0, 40) + ": " + ratio.toFixed(2));
}
return faint;
"""

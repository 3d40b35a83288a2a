"""Saves a file in Chromium, as a viewer of a clip does, and tells under which name it was saved."""

import tempfile
import time
from pathlib import Path

from scripts.browser import chromium

TIMEOUT_SECONDS = 30
# A link from a page of the same origin: only then a browser saves what it could also show.
SAVE = """
const link = document.createElement("a");
link.href = location.href;
link.download = "";
document.documentElement.append(link);
link.click();
"""


def saved_name(url: str) -> str:
    """Returns the name under which Chromium saves the file of a URL."""
    with tempfile.TemporaryDirectory() as folder, chromium.running() as driver:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": folder})
        driver.get(url)
        driver.execute_script(SAVE)
        until = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < until:
            names = [file.name for file in Path(folder).iterdir() if file.suffix != ".crdownload"]
            if names:
                return names[0]
            time.sleep(0.1)
    raise RuntimeError(f"cannot save {url} in a browser: nothing was saved within {TIMEOUT_SECONDS} s")

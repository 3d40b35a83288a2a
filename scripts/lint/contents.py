"""Checks that the table of contents of each Markdown file lists the headings of the file, in order."""

import re
import sys
from pathlib import Path

MARKER = "<!-- START doctoc"


def main() -> None:
    """Checks the files in the arguments, except those without a table of contents."""
    stale = [name for name in sys.argv[1:] if _is_stale(Path(name).read_text())]
    if stale:
        sys.exit(f"error: the table of contents differs from the headings in {', '.join(stale)}: make doctoc")


def _is_stale(text: str) -> bool:
    if MARKER not in text:
        return False
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^## (.+)$", without_code, re.MULTILINE)
    listed = re.findall(r"^ *- \[(.+)\]\(#.+\)$", text, re.MULTILINE)
    return listed != headings


if __name__ == "__main__":
    main()

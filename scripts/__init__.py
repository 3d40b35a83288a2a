"""What the Makefile runs, and what that is made of: a folder for each topic."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

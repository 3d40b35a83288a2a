"""The programs that the Makefile runs, one folder for each topic."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

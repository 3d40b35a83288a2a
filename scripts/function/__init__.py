"""Builds and packs the function, and runs it behind a Runtime API."""

"""Builds and packages the function, and runs it behind a Runtime API."""

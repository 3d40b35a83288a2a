"""Checks clips and reports in Chromium."""

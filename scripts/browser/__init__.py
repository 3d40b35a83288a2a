"""Chromium, and what is looked at in it: the camera zoo's clips, reports."""

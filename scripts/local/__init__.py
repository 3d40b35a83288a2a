"""Runs the whole system on this machine, and asks it for clips."""

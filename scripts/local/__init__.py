"""The whole system on this machine, and ways to ask it for clips."""

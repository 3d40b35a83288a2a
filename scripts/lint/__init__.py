"""Checks what no ready-made linter checks."""

"""Holds clips of any footage against a full decode of their source."""

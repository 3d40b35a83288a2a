"""Measures the function beside what it replaces."""

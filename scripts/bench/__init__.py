"""Measures the function beside its baselines."""

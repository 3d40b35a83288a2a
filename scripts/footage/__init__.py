"""Draws recordings with numbered frames, and reads the numbers back."""

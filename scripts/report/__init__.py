"""Writes the report of a clip, an HTML page that shows how the clip was made."""

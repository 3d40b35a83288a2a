"""The page that shows what was done for a clip."""

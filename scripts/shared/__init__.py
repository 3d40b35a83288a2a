"""What all scripts use."""

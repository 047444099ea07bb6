"""Whether a difference between results means something."""

"""From scores to rankings."""

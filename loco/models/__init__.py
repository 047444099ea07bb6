"""What a model must offer, and how one is found by name."""

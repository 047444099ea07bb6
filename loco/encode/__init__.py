"""Texts to vectors: strategies, batches, and a store that survives."""

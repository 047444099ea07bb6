"""Embeddings behind vendors' services: what is the same for all of them, and one thin module a vendor."""

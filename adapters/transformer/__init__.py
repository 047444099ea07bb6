"""Encoders from Hugging Face checkpoints, run on this machine: sentence-transformers models and plain transformers."""

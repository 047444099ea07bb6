"""Late interaction: a vector for each token, from checkpoints of sentence-transformers, PyLate and ColBERT itself."""

"""Long-context retrieval evaluation on LoCoV1."""

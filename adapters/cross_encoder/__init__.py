"""Cross-encoders: transformers that read a query together with a document and give one score."""

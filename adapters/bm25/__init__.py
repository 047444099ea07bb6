"""BM25, twice: exactly as Lucene ranks (``bm25``), and through rank-bm25 as the slow reference (``bm25-rank``)."""

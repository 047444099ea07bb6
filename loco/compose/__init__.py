"""Models made of models: rankings fused, and the top of a ranking reranked by one that reads query and document as one.

``names`` reads what a user writes, ``card`` is the card of what comes of it, ``ranker`` ranks, ``fusion`` has the
formulas, ``pairs`` scores queries with documents.
"""

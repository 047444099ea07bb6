"""Needle in a haystack: how well a model finds a passage in a long document, by where the passage stands.

For each query, a document is made of its gold passage among passages that have nothing to do with it. The documents of
all queries with the gold passage at the same position form one pool. :mod:`loco.needle.haystacks` says which documents
these are, :mod:`loco.needle.measuring` what a model makes of them.
"""

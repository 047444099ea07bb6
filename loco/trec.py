"""TREC's text formats, which separate by white space."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from loco.rank.ranking import Hit


def trec_id(identifier: str) -> str:
    """An id with its white space and ``%`` percent-encoded, so that it is one column."""
    return re.sub(r"[%\s]", lambda found: quote(found.group()), identifier)


def trec_run(hits: Mapping[str, Sequence[Hit]], tag: str) -> bytes:
    """A ranking in TREC's six columns, gzipped (without a time stamp: the same ranking gives the same bytes).

    The format separates by white space, so white space and ``%`` in ids are percent-encoded.
    """
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        for query, documents in hits.items():
            for rank, hit in enumerate(documents, start=1):
                line = f"{trec_id(query)} Q0 {trec_id(hit.document)} {rank} {hit.score:.9g} {trec_id(tag)}\n"
                stream.write(line.encode())
    return buffer.getvalue()

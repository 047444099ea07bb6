"""TREC's run files, which separate by white space."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from loco.rank.ranking import Hit

_SEPARATING = re.compile(r"[%\s]")


def trec_id(identifier: str) -> str:
    """An id with its white space and ``%`` percent-encoded, so that it is one column."""
    return _SEPARATING.sub(lambda found: quote(found.group()), identifier)


def trec_run(hits: Mapping[str, Sequence[Hit]], tag: str) -> bytes:
    """A ranking in TREC's six columns, gzipped (without a time stamp: the same ranking gives the same bytes)."""
    end = f" {trec_id(tag)}\n"
    names = {hit.document: trec_id(hit.document) for documents in hits.values() for hit in documents}
    lines = []
    for query, documents in hits.items():
        start = f"{trec_id(query)} Q0 "
        lines += [f"{start}{names[d]} {rank} {score:.9g}{end}" for rank, (d, score) in enumerate(documents, start=1)]
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        stream.write("".join(lines).encode())
    return buffer.getvalue()

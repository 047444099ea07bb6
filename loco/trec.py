"""TREC's run files, which separate by white space: written, and read from strangers."""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from loco.errors import LocoError

if TYPE_CHECKING:
    from loco.rank.ranking import Hit

_SEPARATING = re.compile(r"[%\s]")

# What no ranking of ours comes near, so that a small file cannot unpack into a large one.
_MOST_ROWS = 20_000_000
_MOST_BYTES = 2**30
_LONGEST_LINE = 100_000  # bytes; ids are names, and no longer than that


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


def read_run(
    path: Path, queries: Collection[str] | None = None, most: int = _MOST_ROWS
) -> dict[str, list[tuple[str, float]]]:
    """The documents and scores of each query of a gzipped TREC run, in the order of the file.

    Queries and documents go by their names in the file (:func:`trec_id`). Only ``queries`` are kept where they are
    given; ``most`` is how many lines there may be. The file is unpacked line by line, and no further than these limits.
    Raises LocoError for a file that is no such run: damaged, a line without six columns, a score that is not finite.
    """
    wanted = None if queries is None else {query.encode() for query in queries}
    found: dict[str, list[tuple[str, float]]] = {}
    rows = size = 0
    try:
        with gzip.open(path) as stream:
            while line := stream.readline(_LONGEST_LINE):
                rows, size = rows + 1, size + len(line)
                if rows > most or size > _MOST_BYTES:
                    raise LocoError(f"{path} unpacks into more than its ranking can hold, {most:,} lines.")
                name, rest = line.split(None, 1)
                if wanted is not None and name not in wanted:
                    continue
                _, document, _, score, _ = rest.split()
                found.setdefault(name.decode(), []).append((document.decode(), _finite(score)))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise LocoError(f"{path} is not a gzipped TREC run.") from error
    return found


def _finite(score: bytes) -> float:
    value = float(score)
    if not math.isfinite(value):
        raise ValueError(f"{value} is no score")
    return value

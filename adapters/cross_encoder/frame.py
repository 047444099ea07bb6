"""What a tokenizer puts around a query and a document that are read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loco.errors import LocoError
from loco.models.protocols import Pair, TokenIds

_PROBES = (("word", "another two words"), ("quite another sentence", "end"))

# Each part of an input: special tokens before, the query, special tokens between, the document, special tokens after.
_PARTS = 5


@dataclass(frozen=True, eq=False)
class Frame:
    """Special tokens around a pair, and the type of each part's tokens, none where the model has no token types."""

    prefix: TokenIds
    between: TokenIds
    suffix: TokenIds
    types: tuple[int, ...] | None

    @property
    def tokens(self) -> int:
        """How many special tokens there are."""
        return len(self.prefix) + len(self.between) + len(self.suffix)

    def ids(self, pair: Pair) -> TokenIds:
        """What the model reads."""
        parts = (self.prefix, pair.query, self.between, pair.document, self.suffix)
        return np.concatenate(parts, dtype=np.int32)

    def token_types(self, pair: Pair) -> TokenIds | None:
        """The type of each of these tokens."""
        if self.types is None:
            return None
        lengths = [len(part) for part in (self.prefix, pair.query, self.between, pair.document, self.suffix)]
        return np.repeat(np.array(self.types, dtype=np.int32), lengths)

    def state(self) -> list[object]:
        """All that it is, for a fingerprint."""
        return [self.prefix.tolist(), self.between.tolist(), self.suffix.tolist(), self.types]


def frame_of(tokenizer: Any, bare: Sequence[tuple[TokenIds, TokenIds]], name: str) -> Frame:
    """The frame of a transformers tokenizer; ``bare`` are the ids of :data:`PROBES` without special tokens.

    Raises LocoError for a tokenizer that does more to a pair than put special tokens around its texts.
    """
    found: Frame | None = None
    for (query, document), (first, second) in zip(_PROBES, bare, strict=True):
        made = tokenizer(query, document, truncation=False, padding=False, verbose=False)
        ids = np.array(made["input_ids"], dtype=np.int32)
        frame = _fitting(ids, made.get("token_type_ids"), first, second)
        if frame is None or (found is not None and frame.state() != found.state()):
            raise LocoError(
                f"The tokenizer of {name} does not put its special tokens around a query and a document, so texts "
                "cannot be cut to fit. Take another model."
            )
        found = frame
    if found is None:
        raise TypeError("there are probes")
    return found


def probes() -> tuple[list[str], list[str]]:
    """The queries and the documents that :func:`frame_of` needs the ids of."""
    return [query for query, _ in _PROBES], [document for _, document in _PROBES]


def _fitting(ids: TokenIds, types: Sequence[int] | None, first: TokenIds, second: TokenIds) -> Frame | None:
    """The frame that makes ``ids`` of two texts, and one type of each part; None where there is none."""
    special = len(ids) - len(first) - len(second)
    for before in range(special + 1):
        for between in range(special - before + 1):
            ends = np.cumsum([before, len(first), between, len(second)])
            parts = np.split(ids, ends)
            if not (np.array_equal(parts[1], first) and np.array_equal(parts[3], second)):
                continue
            if types is None:
                return Frame(parts[0], parts[2], parts[4], None)
            kinds = [sorted(set(part.tolist())) or [0] for part in np.split(np.array(types), ends)]
            if all(len(kind) == 1 for kind in kinds):
                return Frame(parts[0], parts[2], parts[4], tuple(int(kind[0]) for kind in kinds))
    return None

"""Tokens of vendors whose tokenizer is not at hand: an estimate on the safe side.

Vendors' tokenizers are tables that their clients download. What is cut here must be cut the same way everywhere and
must not be too long for the vendor, so the estimate needs nothing and counts rather too many than too few:

- a word in lower case counts as the tokens that bert-base-uncased makes of it, whose vocabulary is smaller than any
  vendor's, and one more if those are several;
- each capital letter counts one more, up to a token a letter;
- each digit and each other ASCII character counts 1; a blank before a word belongs to the word, a run of other white
  space counts 1 for every four characters and every line break;
- of any other script, each byte in UTF-8 counts 1: no tokenizer that works on bytes makes more.

Whether it falls short of a vendor's count can be seen in every result, where both stand (docs/api-models.md).
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from loco.models.protocols import Span
from loco.tokens.reference import reference_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PARTS = re.compile(r"(?P<word> ?[A-Za-z]+)|(?P<ascii> ?[!-~])|(?P<other> ?\S)|(?P<space>\s+?(?= ?\S)|\s+)")
_LONGEST_WORD = 30  # letters; a longer one is no word, and counts a token a letter
_MOST_KEPT = 200_000
_SPACES_A_TOKEN = 4


class Estimate:
    """From a text to the (start, stop) of each token it is taken to have."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> list[Span]:
        """The spans of the tokens; none for a text of nothing but white space."""
        spans: list[Span] = []
        if not text.strip():
            return spans
        for part in _PARTS.finditer(text):
            kind, span, piece = part.lastgroup, part.span(), part[0]
            if kind == "word":
                _cut(spans, span, self._tokens(piece))
            elif kind == "ascii":
                spans.append(span)
            elif kind == "other":
                spans += [span] * len(piece.lstrip(" ").encode("utf-8", "surrogatepass"))
            else:
                breaks = piece.count("\n")
                _cut(spans, span, breaks + -(-(len(piece) - breaks) // _SPACES_A_TOKEN))
        return spans

    def _tokens(self, word: str) -> int:
        count = self._known.get(word)
        if count is None:
            count = _tokens(word.lstrip(" "))
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[word] = count
        return count


def _tokens(word: str) -> int:
    if len(word) > _LONGEST_WORD:
        return len(word)
    pieces = len(_reference().encode(word, add_special_tokens=False).tokens)
    capitals = sum(letter.isupper() for letter in word)
    return min(len(word), pieces + (pieces > 1) + capitals)


@cache
def _reference() -> Tokenizer:
    return reference_tokenizer()


def _cut(spans: list[Span], span: Span, pieces: int) -> None:
    """Add ``pieces`` spans that together are ``span``."""
    if pieces == 1:
        spans.append(span)
        return
    start, stop = span
    spans += pairwise(start + (stop - start) * place // pieces for place in range(pieces + 1))

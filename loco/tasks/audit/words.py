"""Texts to words: one fixed segmentation for lengths, shingles and the search for verbatim queries."""

from __future__ import annotations

from collections.abc import Sequence

import regex

REFERENCE_TOKENIZER = "default word segments of Unicode UAX #29, white space left out"

# Under the flag w, \b is the default word boundary of UAX #29 instead of a change between \w and \W.
_SEGMENT = regex.compile(r"(?ws)\S.*?\b")


def segments(text: str) -> list[str]:
    """The reference tokens of a text: words, numbers, ideographs and signs, case folded."""
    found: list[str] = _SEGMENT.findall(text.casefold())
    return found


def words_of(tokens: Sequence[str]) -> list[str]:
    """Those reference tokens that begin with a letter or a digit."""
    return [token for token in tokens if token[0].isalnum()]


def normalised(text: str) -> str:
    """A text with every run of white space made one blank, and none at the ends."""
    return " ".join(text.split())

"""Texts to words: one fixed segmentation for shingles and the search for verbatim queries."""

from __future__ import annotations

from collections.abc import Sequence

import regex

# Under the flag w, \b is the default word boundary of UAX #29 instead of a change between \w and \W.
_SEGMENT = regex.compile(r"(?ws)\S.*?\b")


def segments(text: str) -> list[str]:
    """The default word segments of Unicode UAX #29, case folded, without white space: words, ideographs, signs."""
    found: list[str] = _SEGMENT.findall(text.casefold())
    return found


def words_of(found: Sequence[str]) -> list[str]:
    """Those segments that begin with a letter or a digit."""
    return [segment for segment in found if segment[0].isalnum()]


def normalised(text: str) -> str:
    """A text with every run of white space made one blank, and none at the ends."""
    return " ".join(text.split())

"""Lucene's EnglishAnalyzer: a text in, the terms it is indexed under out.

The same chain as Lucene 9.9.1's, in its order: words (:mod:`.words`), possessive, lower case, stop words, stems
(:mod:`.porter`).
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from .porter import stem
from .words import LONGEST, words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

STOP_WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not"),
        *("of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was"),
        *("will", "with"),
    )
)
"""The 33 words of Lucene's ENGLISH_STOP_WORDS_SET."""

_POSSESSIVES = ("'s", "'S", "\u2019s", "\u2019S", "\uff07s", "\uff07S")
_CHUNKS = re.compile("[\\S\u202f]+")
_REMEMBERED = 1 << 19


def analyze(text: str) -> list[str]:
    """The terms of ``text`` in their order, repeated ones repeated."""
    return [stem(form) for form in map(_form, words(text)) if form]


def _form(word: str) -> str:
    """A word without its possessive and in lower case, or nothing for a stop word."""
    if word.endswith(_POSSESSIVES):
        word = word[:-2]
    form = word.lower()
    if not form.isascii():
        # Java's Character.toLowerCase sees one character at a time: no final sigma, and the dotted I loses its dot.
        form = word.replace("\u0130", "i").replace("\u03a3", "\u03c3").lower()
    return "" if form in STOP_WORDS else form


class TermIds:
    """Texts to arrays of term ids, for the many texts of one collection.

    No word spans white space (U+202F joins words and is none here), so a text falls into chunks that can be analysed
    one by one, and a language has few of them: each chunk is segmented once, each word form stemmed once, and the rest
    of the work is looking chunks up.

    ``vocabulary`` maps every term met so far to its id; ids count up from 0 in the order of appearance.
    """

    def __init__(self) -> None:
        self.vocabulary: dict[str, int] = {}
        self._ids_of = _Chunks(self.vocabulary).__getitem__

    def __call__(self, text: str) -> npt.NDArray[np.int32]:
        """The ids of the terms that ``analyze(text)`` names, in the same order."""
        import numpy as np

        chunks = _CHUNKS.findall(text) if "\u202f" in text else text.split()
        return np.fromiter(chain.from_iterable(map(self._ids_of, chunks)), dtype=np.int32)


class _Chunks(dict[str, tuple[int, ...]]):
    """Chunk -> the ids of its terms. Filled by looking up; emptied when it grows beyond what pays."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        self._vocabulary = vocabulary
        self._ids: dict[str, int] = {}  # by word form

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        found = []
        for word in words(chunk):
            if form := _form(word):
                number = self._ids.get(form)
                if number is None:
                    number = self._ids[form] = self._vocabulary.setdefault(stem(form), len(self._vocabulary))
                found.append(number)
        ids = tuple(found)
        if len(chunk) <= LONGEST:  # longer ones are seldom met again
            if len(self) >= _REMEMBERED:
                self.clear()
                self._ids.clear()
            self[chunk] = ids
        return ids

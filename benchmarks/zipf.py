"""Texts made from a seed: pseudo-words drawn by Zipf's law, so that vocabulary and repetition resemble real prose."""

from __future__ import annotations

import numpy as np

WORD_FORMS = 60_000
_SYLLABLES = [consonant + vowel for consonant in "bcdfghklmnprstvw" for vowel in "aeiou"]
_ENDINGS = ["", "", "", "s", "ed", "ing", "ation", "ly", "ment", "'s", ",", "."]


def texts_of(count: int, words: int, seed: int) -> list[str]:
    """``count`` texts of ``words`` words each, drawn by ``seed`` from a vocabulary that is always the same."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 5, WORD_FORMS)
    forms = np.array(
        [
            "".join(generator.choice(_SYLLABLES, length)) + _ENDINGS[generator.integers(len(_ENDINGS))]
            for length in lengths.tolist()
        ]
    )
    generator = np.random.default_rng(seed)
    weights = 1 / (np.arange(WORD_FORMS) + 2.7)
    return [" ".join(forms[generator.choice(WORD_FORMS, words, p=weights / weights.sum())]) for _ in range(count)]

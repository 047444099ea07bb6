"""The Porter stemmer, with the two changes Martin Porter made after publishing it: what Lucene's PorterStemFilter runs.

M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, pages 130 to 137; the changes (-bli and -logi
in step 2, words of one or two letters left alone) are described at https://tartarus.org/martin/PorterStemmer. Frozen
by its author. NLTK's ``PorterStemmer(mode="MARTIN_EXTENSIONS")`` gives the same stems, and the tests hold this one to
it; it is not used here because it takes about seven times as long for a word, and more than a second to import.
"""

from __future__ import annotations

import re
from struct import iter_unpack

# A word as Porter sees it: [C](VC){m}[V], where y is a consonant at the start and after a vowel. Every character that
# is none of aeiouy is a consonant, digits and other alphabets included.
_START = "(?:y|(?!y))[^aeiouy]*"
_VC = "[aeiouy][aeiou]*[^aeiou][^aeiouy]*"
_has_vowel = re.compile(f"{_START}[aeiouy]").match
_measure_above_0 = re.compile(f"{_START}{_VC}").match
_measure_above_1 = re.compile(f"{_START}{_VC}{_VC}").match
_measure_is_1 = re.compile(f"{_START}{_VC}(?:[aeiouy][aeiou]*)?$").match

# Steps 2, 3 and 4 as (suffix, replacement), by their last two letters. Of two suffixes that both fit the longer one
# stands first, and decides alone.
_STEP_2 = {
    "al": (("ational", "ate"), ("tional", "tion")),
    "ci": (("enci", "ence"), ("anci", "ance")),
    "er": (("izer", "ize"),),
    "gi": (("logi", "log"),),
    "li": (("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous")),
    "on": (("ization", "ize"), ("ation", "ate")),
    "or": (("ator", "ate"),),
    "sm": (("alism", "al"),),
    "ss": (("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous")),
    "ti": (("aliti", "al"), ("iviti", "ive"), ("biliti", "ble")),
}
_STEP_3 = {
    "al": (("ical", "ic"),),
    "ss": (("ness", ""),),
    "te": (("icate", "ic"),),
    "ti": (("iciti", "ic"),),
    "ul": (("ful", ""),),
    "ve": (("ative", ""),),
    "ze": (("alize", "al"),),
}
_STEP_4 = {
    "al": ("al",),
    "ce": ("ance", "ence"),
    "er": ("er",),
    "ic": ("ic",),
    "le": ("able", "ible"),
    "nt": ("ant", "ement", "ment", "ent"),
    "on": ("ion",),
    "ou": ("ou",),
    "sm": ("ism",),
    "te": ("ate",),
    "ti": ("iti",),
    "us": ("ous",),
    "ve": ("ive",),
    "ze": ("ize",),
}


def stem(word: str) -> str:
    """The stem of a lower-case word.

    Lucene's stemmer counts letters in Java's UTF-16 strings, so a character beyond U+FFFF is two consonants here too.
    """
    if not word.isascii() and max(word) > "\uffff":
        units = "".join(chr(unit) for (unit,) in iter_unpack("<H", word.encode("utf-16-le")))
        return _stem(units).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    return _stem(word)


def _stem(word: str) -> str:
    if len(word) <= 2:
        return word
    word = _without_inflection(word)

    for suffix, replacement in _STEP_2.get(word[-2:], ()):
        if word.endswith(suffix):
            if _measure_above_0(rest := word[: -len(suffix)]):
                word = rest + replacement
            break
    for suffix, replacement in _STEP_3.get(word[-2:], ()):
        if word.endswith(suffix):
            if _measure_above_0(rest := word[: -len(suffix)]):
                word = rest + replacement
            break
    for suffix in _STEP_4.get(word[-2:], ()):
        if word.endswith(suffix):
            if _measure_above_1(rest := word[: -len(suffix)]) and (suffix != "ion" or rest[-1] in "st"):
                word = rest
            break

    # Step 5
    if word[-1] == "e":
        rest = word[:-1]
        if _measure_above_1(rest) or (_measure_is_1(rest) and not _ends_cvc(rest)):
            word = rest
    if word[-2:] == "ll" and _measure_above_1(word):
        word = word[:-1]
    return word


def _without_inflection(word: str) -> str:
    """Step 1: plurals, -ed and -ing, and a final y."""
    if word[-1] == "s":
        if word.endswith(("sses", "ies")):
            word = word[:-2]
        elif word[-2] != "s":
            word = word[:-1]

    if word[-1] in "dg" and word.endswith(("ed", "ing")):
        if word.endswith("eed"):
            return word[:-1] if _measure_above_0(word[:-3]) else word
        rest = word[:-2] if word[-1] == "d" else word[:-3]
        if not _has_vowel(rest):
            return word
        word = rest
        if word.endswith(("at", "bl", "iz")):
            word += "e"
        elif word[-1] == word[-2:-1] and _is_consonant(word, len(word) - 1):
            if word[-1] not in "lsz":
                word = word[:-1]
        elif _measure_is_1(word) and _ends_cvc(word):
            word += "e"

    if word[-1] == "y" and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    return word


def _is_consonant(word: str, place: int) -> bool:
    start = place
    while start and word[start] == "y":
        start -= 1
    # Along a run of y the two kinds take turns, beginning after a letter whose kind is plain or with a leading y.
    return (word[start] not in "aeiou") == ((place - start) % 2 == 0)


def _ends_cvc(word: str) -> bool:
    """Whether the word ends consonant, vowel, consonant, the last one not w, x or y."""
    last = len(word) - 1
    return (
        last >= 2
        and word[last] not in "wxy"
        and _is_consonant(word, last)
        and not _is_consonant(word, last - 1)
        and _is_consonant(word, last - 2)
    )

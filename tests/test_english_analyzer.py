"""The English analyzer against what Lucene 9.9.1's EnglishAnalyzer returned for the same texts."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco_adapters.bm25.analyzer import STOP_WORDS, TermIds, analyze
from loco_adapters.bm25.porter import stem
from loco_adapters.bm25.unicode_classes import OTHER, RANGES, CharacterClasses
from loco_adapters.bm25.words import LONGEST, _words_by_class, words

# Text -> terms, joined by " | ", all recorded from Lucene.
LUCENE = {
    "possessives": (
        "The dog's bone, the dogs' bones and THE DOG\u2019S bone\uff07s",
        "dog | bone | dog | bone | dog | bone",
    ),
    "a possessive without its word": ("it's 'S s' \u2019s", "s | s | s"),
    "numbers": ("pi is 3.14 or 1,000.5 but not 1,a or a,1 nor 5;6;", "pi | 3.14 | 1,000.5 | 1 | 1 | nor | 5;6"),
    "signs between letters": (
        "AT&T can't join U.S.A. or a:b:c and e.g. http://www.example.com/a_b?x=1",
        "t | can't | join | u.s.a | a:b:c | e.g | http | www.example.com | a_b | x | 1",
    ),
    "underscores": (
        "snake_case __init__ _ __ ___x 1_000_000 a_.b",
        "snake_cas | __init__ | ___x | 1_000_000 | a_ | b",
    ),
    "hyphens": ("state-of-the-art re-run x/y", "state | art | re | run | x | y"),
    "full stops": (
        "foo.bar foo..bar .foo foo. 3.x x.3 v1.2.3 1.a2",
        "foo.bar | foo | bar | foo | foo | 3 | x | x | 3 | v1.2.3 | 1 | a2",
    ),
    "accents": ("\xe5ngstr\xf6m na\xefve caf\xe9 caf\xe9s", "\xe5ngstr\xf6m | na\xefv | caf\xe9 | caf\xe9"),
    "case by character: dotted I, sigma, sharp s, title case": (
        "\u0130stanbul \u039f\u0394\u039f\u03a3 \u03a3\u0391\u03a3 Stra\xdfe \u01c5",
        "istanbul | \u03bf\u03b4\u03bf\u03c3 | \u03c3\u03b1\u03c3 | stra\xdfe | \u01c6",
    ),
    "Han one by one, Hiragana one by one, Katakana in runs": (
        "\u6771\u4eac\u30bf\u30ef\u30fc \u3072\u3089 \uff76\uff80\uff76\uff85",
        "\u6771 | \u4eac | \u30bf\u30ef\u30fc | \u3072 | \u3089 | \uff76\uff80\uff76\uff85",
    ),
    "Hangul": ("\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8", "\ud55c\uad6d\uc5b4 | \ud14d\uc2a4\ud2b8"),
    "Thai in runs": (
        "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e44\u0e17\u0e221",
        "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 | \u0e44\u0e17\u0e22 | 1",
    ),
    "Hebrew quotation marks": (
        "\u05e6\u05d4\"\u05dc \u05d2'\u05d9\u05e8 \u05d6' '\u05d6 \u05d0\"\u05d1\"\u05d2",
        "\u05e6\u05d4\"\u05dc | \u05d2'\u05d9\u05e8 | \u05d6' | \u05d6 | \u05d0\"\u05d1 | \u05d2",
    ),
    "emoji": (
        "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fdx"
        " \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
        "\U0001f600 | \U0001f468\u200d\U0001f469\u200d\U0001f467 | \U0001f44d\U0001f3fd | x"
        " | \U0001f1e9\U0001f1ea | \U0001f1eb\U0001f1f7",
    ),
    "signs that are emoji": (
        "1\ufe0f\u20e3 #\ufe0f\u20e3 \xa92020 \u2605 \u2610done \u2122",
        "1\ufe0f\u20e3 | #\ufe0f\u20e3 | \xa9 | 2020 | \u2605 | \u2610 | done | \u2122",
    ),
    "letters that are emoji": (
        "\u2139 \u2139a \u2139\u200d\u2764 \u24c2\ufe0fx",
        "\u2139 | \u2139a | \u2139\u200d\u2764 | \u24dc\ufe0fx",
    ),
    "a narrow no-break space joins, a no-break space parts": (
        "1\u202f000 km\u202fh a\xa0b",
        "1\u202f000 | km\u202fh | b",
    ),
    "soft hyphen, joiner, zero-width space, byte order mark, combining accent": (
        "soft\xadhyphen zero\u200dwidth non\u200bjoiner \ufeffbom e\u0301t",
        "soft\xadhyphen | zero\u200dwidth | non | joiner | bom | e\u0301t",
    ),
    "white space of all kinds": ("x\u2028y\x85z\x1fw\u3000v", "x | y | z | w | v"),
    "letters beyond U+FFFF count twice for the stemmer": (
        "\U0001d431s \U0001d431\U0001d432s \U0001f600s",
        "\U0001d431 | \U0001d431\U0001d432 | \U0001f600 | s",
    ),
    "digits and numbers of other kinds": (
        "\u0661\u0662\u0663\u066b\u0664 \uff13.\uff11\uff14 \u2177 \xbd x\xb2",
        "\u0661\u0662\u0663\u066b\u0664 | \uff13.\uff11\uff14 | \u2177 | x",
    ),
    "apostrophes": (
        "K\u0301x's don\u2019t l'avion l\u2019avion O'Neil's rock'n'roll",
        "k\u0301x | don\u2019t | l'avion | l\u2019avion | o'neil | rock'n'rol",
    ),
    "middle dots": ("a\xb7b a\u2027b \xb7x", "a\xb7b | a\u2027b | x"),
    "nothing": ("", ""),
    "nothing but stop words and signs": ("The, and: -- \u2014 (if) \u2026 _ \u0301", ""),
}

# Pieces that meet in odd ways, and any character at all.
ODD = st.sampled_from(
    [
        *("a", "B", "s", "running", "the", "1", "23", "_", ".", ",", ";", ":", "'", '"', "-", "#", "'s", "\u2019S"),
        *(" ", "\n", "\t", "\x1c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u202f", "\u3000"),
        *("\u0301", "\xad", "\u200d", "\ufe0e", "\ufe0f", "\u20e3", "\u05d0", "\u05d1", "\u30ab", "\u6f22", "\u3042"),
        *("\u0e01", "\u0e31", "\u2764", "\u2139", "\U0001f600", "\U0001f3fd", "\U0001f1e9", "\U0001d431", "\u0130"),
    ]
)
TEXTS = st.lists(st.one_of(ODD, st.characters(exclude_categories=["Cs"]), st.just("x" * 200))).map("".join)


@pytest.mark.parametrize(("text", "terms"), LUCENE.values(), ids=LUCENE)
def test_terms_are_lucenes(text: str, terms: str) -> None:
    assert " | ".join(analyze(text)) == terms


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("x" * 255, [255]),
        ("x" * 256, [255, 1]),
        ("x" * 600, [255, 255, 90]),
        ("a" * 254 + ".b", [254, 1]),
        ("a" * 255 + "'s", [255, 1]),
        ("a" * 253 + "'s", [255]),
        ("ab." * 100, [254, 44]),
        ("_" * 300 + "a" + "_" * 300, [255]),
        ("a" + "_" * 600 + "\xe9", [255, 255]),
        ("\u200d" * 300 + "\u2764", [255]),
        ("\U0001d431" * 300, [127, 127, 46]),
        ("x" + "\U0001d431" * 300, [128, 127, 46]),
    ],
)
def test_a_word_of_more_than_255_utf16_units_is_split_where_lucene_splits_it(text: str, lengths: list[int]) -> None:
    assert list(map(len, words(text))) == lengths


def test_the_stop_words_are_33_and_found_in_any_case() -> None:
    assert len(STOP_WORDS) == 33
    assert analyze(" ".join(STOP_WORDS).upper()) == []


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=3))
def test_looking_chunks_up_gives_what_analysing_the_whole_text_gives(texts: list[str]) -> None:
    term_ids = TermIds()
    found = [term_ids(text) for text in texts]
    terms = list(term_ids.vocabulary)
    assert list(term_ids.vocabulary.values()) == list(range(len(terms)))
    assert [[terms[i] for i in ids] for ids in found] == [analyze(text) for text in texts]


def test_forgetting_what_was_looked_up_changes_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "one two three one two three ones twos threes four"
    expected = TermIds()(text).tolist()
    monkeypatch.setattr("loco_adapters.bm25.analyzer._REMEMBERED", 2)
    assert TermIds()(text).tolist() == expected


@settings(deadline=None)
@given(TEXTS)
def test_words_are_pieces_of_the_text_in_order_and_none_is_too_long(text: str) -> None:
    at = 0
    for word in words(text):
        assert 0 < len(word.encode("utf-16-le")) // 2 <= LONGEST
        at = text.index(word, at) + len(word)


@settings(deadline=None)
@given(st.text(st.sampled_from("aB19_.,;:'\"-#* \n"), min_size=1))
def test_the_short_cut_for_ascii_finds_the_same_words(text: str) -> None:
    assert words(text) == _words_by_class(text)


def test_no_word_spans_what_python_splits_at_but_for_the_narrow_no_break_space() -> None:
    classes = CharacterClasses()
    spaces = [code for code in range(sys.maxunicode + 1) if chr(code).isspace()]
    assert [code for code in spaces if classes[code] != OTHER] == [0x202F]


def test_the_classes_of_characters_agree_with_pythons_unicode_data() -> None:
    classes = CharacterClasses()
    assert set(RANGES) == {classes[code] for code in range(sys.maxunicode + 1)} - {OTHER}
    old = unicodedata.ucd_3_2_0
    for code in range(0x10000):
        category, name = old.category(chr(code)), old.name(chr(code), "")
        if category in ("Lu", "Ll", "Lt") and "CIRCLED" not in name:
            assert classes[code] in "Lp", name
        if category == "Nd" and unicodedata.category(chr(code)) == "Nd":
            assert classes[code] == "N", name
        if category in ("Cn", "Cs", "Co") and unicodedata.category(chr(code)) == category:
            assert classes[code] == OTHER, hex(code)
        if name.startswith(("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER")):
            assert classes[code] == "I", name
        if name.startswith("KATAKANA LETTER"):
            assert classes[code] == "K", name
        if name.startswith("HEBREW LETTER") and category == "Lo":
            assert classes[code] == "H", name
        if name.startswith("HANGUL SYLLABLE"):
            assert classes[code] == "L", name


SUFFIXES = (
    *(
        "ational",
        "tional",
        "enci",
        "anci",
        "izer",
        "bli",
        "abli",
        "alli",
        "entli",
        "eli",
        "ousli",
        "ization",
        "ation",
        "ator",
    ),
    *("alism", "iveness", "fulness", "ousness", "aliti"),
    *("iviti", "biliti", "logi", "icate", "ative", "alize", "iciti", "ical", "ful", "ness", "al", "ance", "ence", "er"),
    *("ic", "able", "ible", "ant", "ement", "ment", "ent", "sion", "tion"),
    *("ou", "ism", "ate", "iti", "ous", "ive", "ize", "s", "es", "ies", "sses", "eed", "ed", "ing"),
    *("y", "yed", "ll", "e", "ss", "at", "bl", "iz"),
)


@pytest.fixture(scope="module")
def nltk_stem() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer

    return partial(PorterStemmer(mode=PorterStemmer.MARTIN_EXTENSIONS).stem, to_lowercase=False)


@settings(deadline=None)
@given(st.text("aeiouybdlstzwx1\u00e9", max_size=7), st.lists(st.sampled_from(SUFFIXES), max_size=4))
def test_stems_are_those_of_nltks_porter_stemmer_with_martins_extensions(
    nltk_stem: Callable[[str], str], start: str, suffixes: list[str]
) -> None:
    word = start + "".join(suffixes)
    assert stem(word) == nltk_stem(word)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("", ""),
        ("s", "s"),
        ("is", "is"),
        ("ies", "i"),
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("agreed", "agre"),
        ("feed", "feed"),
        ("sing", "sing"),
        ("hopping", "hop"),
        ("falling", "fall"),
        ("filing", "file"),
        ("happy", "happi"),
        ("sky", "sky"),
        ("relational", "relat"),
        ("possibly", "possibl"),
        ("archaeology", "archaeolog"),
        ("generalizations", "gener"),
        ("adoption", "adopt"),
        ("controll", "control"),
        ("yyyy", "yyyi"),
        ("1990s", "1990"),
    ],
)
def test_stems_known_from_the_paper_and_its_author(word: str, expected: str) -> None:
    assert stem(word) == expected

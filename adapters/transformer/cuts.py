# ruff: noqa: RUF001  # the probe has letters of many alphabets
"""Where a text may be cut so that its parts have the tokens of the whole: at a plain space between letters or digits.

That holds only for a tokenizer that splits there and looks no further; :func:`way_to_cut` finds out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import tokenizers

from loco.models.protocols import TokenIds

Encode = Callable[[list[str]], list[TokenIds]]
"""What makes ids of texts, without special tokens."""

# Letters and digits that no normaliser drops, moves or joins with a space. Between two of them a text may be cut.
_WORD = "0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0391-\u03a9\u03b1-\u03c9\u0410-\u044f"
CUT = re.compile(f" (?=[{_WORD}])(?<=[{_WORD}] )")  # the space comes first: that is what re finds fast

# Texts to try a tokenizer on, written out for eyes; what eyes cannot see is escaped.
_WORDS = ("word", "Word", "WORD", "x", "été", "жук", "σοφός", "7", "12345")
PROBE = (
    "The quick brown fox's 3 dogs didn't jump, they'll say, over 12345 lazy cats. “Don’t” — it costs $4.50 (or "
    "3,99 €)!  Two  spaces\nnew line\tand\ttabs \n \n  indented by two\r\n\r\ncafé naïve cafe\u0301 Ångström "
    "A\u030angstro\u0308m привет мир Ελλάδα σοφός and 漢字 and かな mixed漢with 한국어 words ไทย हिन्दी العربية עברית "
    "and more \U0001f469\u200d\U0001f469\u200d\U0001f467 faces \U0001f1eb\U0001f1f7 flags ﬁne ① ½ x² e.g. U.S.A. "
    "http://example.com/a_b?c=d&e=f or a@b.c #tag C++ on x86 in 3D the 4th time I'm sure we've seen HELLO hello "
    "Hello of the in the to be it is as well as internationalization pneumonoultramicroscopicsilicovolcanoconiosis "
    "1234567890 0x1F 10 000 000 à la carte \u2581 a \u2581b Ġ c \ufeff d\u00a0e f"
)

_LOCAL_NORMALIZERS = frozenset(
    ("BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents")
)
_LOCAL_PRE_TOKENIZERS = frozenset(
    (
        *("BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "Metaspace", "Punctuation", "Split"),
        *("Whitespace", "WhitespaceSplit"),
    )
)
_MODELS = frozenset(("BPE", "Unigram", "WordLevel", "WordPiece"))
_SPACES = " \u2581"  # a space, and what sentencepiece writes for it
_BLANKS = re.compile(r"(?:(?: |\\[snrt]|\[(?: |\\[snrt])+\])(?:[+*]|\{\d*,?\d*\})?)+")  # matches nothing but spaces


def way_to_cut(backend: tokenizers.Tokenizer, encode: Encode) -> Literal["keep", "drop"] | None:
    """How a text is cut at a plain space between two letters or digits so that its tokens stay the same.

    "keep" leaves the space to what follows. "drop" leaves it out: with a normaliser that puts a space before every
    text, it comes back. None means that the tokens may change, or cannot be seen not to.

    They stay the same if nothing in the tokenizer reaches over the cut: normaliser, added tokens and pre-tokenizer see
    only what is near, and the model gets nothing in one piece that lies on both sides, or has no token for it. That
    much is read off its parts. A probe then has the last word, since patterns and settings are many.
    """
    made_of = json.loads(backend.to_str())
    normalizers = list(_flat(made_of["normalizer"], "normalizers"))
    pre_tokenizers = list(_flat(made_of["pre_tokenizer"], "pretokenizers"))
    drop = any(part["type"] == "Prepend" for part in normalizers)
    local = (
        all(map(_is_local, normalizers))
        and all(part["type"] in _LOCAL_PRE_TOKENIZERS for part in pre_tokenizers)
        and all(_stays_on_one_side(backend, token, drop) for token in backend.get_added_tokens_decoder().values())
        and made_of["model"]["type"] in _MODELS
        and not made_of["model"].get("dropout")
    )
    if not local or not (_splits(backend) or _merges_no_space(backend, made_of["model"])):
        return None
    return ("drop" if drop else "keep") if _probe_stays_the_same(backend, encode, drop) else None


def _flat(part: Any, inner: str) -> Iterator[dict[str, Any]]:
    """A normaliser or pre-tokenizer, or those that it is a sequence of."""
    if part is None:
        return
    if part["type"] == "Sequence":
        for each in part[inner]:
            yield from _flat(each, inner)
    else:
        yield part


def _is_local(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] == "Strip":
        return not normalizer["strip_left"]  # what ends a segment is no space
    if normalizer["type"] == "Prepend":
        return bool(normalizer["prepend"] in _SPACES)
    if normalizer["type"] == "Replace":
        pattern = normalizer["pattern"]
        if "Regex" in pattern:
            return _BLANKS.fullmatch(pattern["Regex"]) is not None
        return not pattern["String"].strip(_SPACES) or not re.search(f"[{_WORD}\\s{_SPACES}]", pattern["String"])
    return normalizer["type"] in _LOCAL_NORMALIZERS


def _stays_on_one_side(backend: tokenizers.Tokenizer, token: tokenizers.AddedToken, drop: bool) -> bool:
    """Whether an added token is found in a text exactly if it is found on one side of a cut."""
    reaching = [f"[{_WORD}][{_SPACES}]"]
    if drop:  # neither the space itself, nor what would leave it to begin or end a piece of text
        reaching += [rf"^[{_SPACES}](?:[{_WORD}]|\Z)", f"^[{_WORD}]", rf"[{_WORD}]\Z"]
    if token.rstrip:
        reaching.append(rf"[{_WORD}]\Z")
    if token.single_word:
        reaching.append(f"^[{_SPACES}]")
    forms = [token.content]
    if token.normalized and backend.normalizer is not None:
        forms.append(backend.normalizer.normalize_str(token.content))
    return not any(re.search("|".join(reaching), form) for form in forms)


def _splits(backend: tokenizers.Tokenizer) -> bool:
    """Whether the pre-tokenizer splits at every cut of the probe."""
    if backend.pre_tokenizer is None:
        return False
    text = PROBE if backend.normalizer is None else backend.normalizer.normalize_str(PROBE)
    borders = {border for _, span in backend.pre_tokenizer.pre_tokenize_str(text) for border in span}
    cuts = re.finditer(f"(?<=[{_WORD}])[{_SPACES}](?=[{_WORD}])", text)
    return all(not borders.isdisjoint((cut.start(), cut.end())) for cut in cuts)


def _merges_no_space(backend: tokenizers.Tokenizer, model: dict[str, Any]) -> bool:
    """Whether a byte-pair model has the space as a token, and no token in which one follows a letter or digit."""
    inside = re.compile(f"[{_WORD}][{_SPACES}]")
    vocabulary = backend.get_vocab(with_added_tokens=False)
    known = any(space in vocabulary for space in _SPACES)
    return model["type"] == "BPE" and known and not any(map(inside.search, vocabulary))


def _probe_stays_the_same(backend: tokenizers.Tokenizer, encode: Encode, drop: bool) -> bool:
    pairs = " ".join(f"{first} {second}" for first in _WORDS for second in _WORDS)
    added = [token.content for token in backend.get_added_tokens_decoder().values()]
    marked = " ".join(f"a{token}b {token} c d {token}e f{token} g h" for token in added[:8] + added[-8:])
    for text in (PROBE, pairs, marked):
        cuts = [space.start() for space in CUT.finditer(text)]
        starts, stops = [0, *(cut + drop for cut in cuts)], [*cuts, len(text)]
        pieces = [text[start:stop] for start, stop in zip(starts, stops, strict=True)]
        halves = [half for cut in cuts for half in (text[:cut], text[cut + drop :])]
        whole, *parts = encode([text, *pieces, *halves])
        joined = np.concatenate(parts[: len(pieces)])
        halved = parts[len(pieces) :]
        if not np.array_equal(whole, joined) or not all(
            np.array_equal(whole, np.concatenate(both)) for both in zip(halved[::2], halved[1::2], strict=True)
        ):
            return False
    return True

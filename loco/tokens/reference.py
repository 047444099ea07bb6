"""The reference tokenizer: WordPiece as bert-base-uncased has it, from a vocabulary that comes with loco.

``bert_base_uncased.txt.gz`` is ``vocab.txt`` of https://huggingface.co/google-bert/bert-base-uncased, compressed and
otherwise unchanged: 30,522 tokens, a line each, the line's number (from 0) being the id. Licence: Apache-2.0.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME: Final = "bert-base-uncased"

_VOCABULARY = "bert_base_uncased.txt.gz"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LONGEST_WORD = 100  # characters; a longer one is [UNK]
# Words that are kept with their number of tokens: none longer than so many characters, and not more than so many words.
_LONGEST_KEPT = 40
_MOST_KEPT = 300_000
_AT_ONCE = 1 << 18  # characters; an encoding takes some hundred bytes a token


@cache
def vocabulary() -> dict[str, int]:
    """Token -> id. Not to be changed."""
    content = gzip.decompress(files("loco.tokens").joinpath(_VOCABULARY).read_bytes()).decode("utf-8")
    return {token: number for number, token in enumerate(content.removesuffix("\n").split("\n"))}


def reference_tokenizer() -> Tokenizer:
    """A new tokenizer, configured as bert-base-uncased: ids as that model reads them, without truncation or padding.

    ``encode(text)`` puts [CLS] and [SEP] around the tokens, ``encode(text, add_special_tokens=False)`` does not.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    ids = vocabulary()
    tokenizer = Tokenizer(
        models.WordPiece(
            ids,
            unk_token="[UNK]",  # noqa: S106
            continuing_subword_prefix="##",
            max_input_chars_per_word=_LONGEST_WORD,
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    return tokenizer


def token_counter() -> Callable[[str], int]:
    """How many reference tokens a text has, special tokens not counted: exactly as many as the tokenizer makes.

    The tokenizer looks at nothing beyond a word, so most words are given to it only once, however often they stand in
    the texts that one counter counts.
    """
    return _Words().count


def count_tokens(texts: Iterable[str]) -> Iterator[int]:
    """The reference tokens of each text, by one counter."""
    return map(token_counter(), texts)


@cache
def _counting() -> Tokenizer:
    """The tokenizer that counts, which nobody else gets to change."""
    return reference_tokenizer()


class _Words:
    """Words with their numbers of tokens, as they have come up so far."""

    def __init__(self) -> None:
        self._tokenizer = _counting()
        self._known: dict[str, int] = {}

    def count(self, text: str) -> int:
        # Only what the tokenizer takes for white space in every case: it drops other controls, joining what they part.
        words = text.replace("\n", " ").replace("\t", " ").replace("\r", " ").split(" ")
        unheard = set(words).difference(self._known)
        long = {word for word in unheard if len(word) > _LONGEST_KEPT}
        new = list(unheard - long)
        if len(self._known) + len(new) > _MOST_KEPT:
            self._known.clear()
            new = list(set(words) - long)
        self._known.update(zip(new, self._count(new), strict=True))
        if not long:
            return sum(map(self._known.__getitem__, words))
        others = [word for word in words if word in long]
        known = sum(self._known[word] for word in words if word not in long)
        return known + sum(self._count(others))

    def _count(self, words: Sequence[str]) -> Iterator[int]:
        for batch in _batched(words):
            for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                yield len(encoding)


def _batched(words: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for word in words:
        batch.append(word)
        characters += len(word)
        if characters >= _AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch

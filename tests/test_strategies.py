"""Strategies: names that stand for values, and what they make of a text."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from encoders import WordEncoder
from hypothesis import assume, given
from hypothesis import strategies as st

from loco.encode.strategies import (
    KINDS,
    Chunk,
    ChunkMax,
    LateChunk,
    Room,
    Strategy,
    Truncate,
    parse,
    pieces,
    split_names,
)
from loco.errors import LocoError

ROOM = Room(tokens=10, overhead=2)


def words(count: int) -> str:
    return " ".join(f"w{i}" for i in range(count))


def content(strategy: Strategy, count: int) -> list[list[int]]:
    """The ids of each input, without prompt and special tokens."""
    (text,) = WordEncoder().tokenize([words(count)], "document")
    return [np.asarray(one.content)[1:-1].tolist() for one in strategy.cut(text, ROOM)]


@given(st.sampled_from(sorted(KINDS)), st.integers(3, 12), st.integers(0, 11))
def test_a_strategys_name_is_read_back_as_the_same_strategy(kind: str, size: int, overlap: int) -> None:
    assume(overlap < size)
    settings = {"full": "", "truncate": f"({size})"}.get(kind, f"({size}, overlap={overlap})")
    strategy = parse(kind + settings, 12)
    assert strategy.name == kind + settings
    assert parse(strategy.name, 12) == strategy


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("truncate", "truncate(512)"),
        ("chunk", "chunk(512, overlap=0)"),
        ("chunk(128)", "chunk(128, overlap=0)"),
        ("chunk(size=128,overlap=16)", "chunk(128, overlap=16)"),
        (" chunk-max ( overlap = 16 ) ", "chunk-max(512, overlap=16)"),
        ("late-chunk", "late-chunk(256, overlap=0)"),
    ],
)
def test_what_is_left_out_is_filled_in(said: str, name: str) -> None:
    assert parse(said, 512).name == name


@pytest.mark.parametrize(
    "said",
    [
        "chunky",
        "chunk(",
        "chunk(0)",
        "chunk(513)",
        "chunk(a)",
        "chunk(8, overlap=8)",
        "chunk(8, 1, 2)",
        "chunk(-8)",
        "chunk(8, size=8)",
        "truncate(8, overlap=1)",
        "full(8)",
        "chunk(8, stride=2)",
        "",
        "chunk(99999999999)",
        "chunk(٣)",
    ],
)
def test_what_is_no_strategy_is_told_in_one_line(said: str) -> None:
    with pytest.raises(LocoError) as caught:
        parse(said, 512)
    assert "\n" not in str(caught.value)


def test_a_list_of_strategies_is_split_at_the_commas_between_them() -> None:
    assert split_names("truncate, chunk(256, overlap=32),chunk-max") == [
        "truncate",
        "chunk(256, overlap=32)",
        "chunk-max",
    ]


@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 39))
def test_pieces_cover_everything_in_order_and_overlap_as_told(tokens: int, size: int, overlap: int) -> None:
    assume(overlap < size)
    spans = list(pieces(tokens, size, overlap))
    assert sorted({i for start, stop in spans for i in range(start, stop)}) == list(range(tokens))
    assert all(stop - start == size for start, stop in spans[:-1])
    for (_, stop), (start, _) in itertools.pairwise(spans):
        assert stop - start == overlap
    assert not any(a <= c and d <= b for a, b in spans for c, d in spans if (a, b) != (c, d))


@given(st.integers(0, 60), st.integers(3, 12))
def test_truncation_is_the_first_piece(tokens: int, size: int) -> None:
    assert content(Truncate(size), tokens) == content(Chunk(size), tokens)[:1]


@given(st.integers(0, 60), st.integers(3, 12), st.integers(0, 8))
def test_late_chunks_are_the_pieces_of_chunk(tokens: int, size: int, overlap: int) -> None:
    assume(overlap < size - ROOM.overhead)
    (text,) = WordEncoder().tokenize([words(tokens)], "document")
    inputs = LateChunk(size, overlap).cut(text, ROOM)
    late = []
    for one in inputs:
        ids = np.asarray(one.content)
        assert one.tokens <= ROOM.tokens + ROOM.overhead
        assert len(one.spans) != 1, "a piece alone in its window is read as chunk reads it"
        found = one.spans or ((0, len(ids)),)
        assert (found[0][0], found[-1][1]) == (0, len(ids))
        spans = [[max(first, 1), min(last, len(ids) - 1)] for first, last in found]
        late += [ids[first:last].tolist() for first, last in spans]
    assert late == content(ChunkMax(size, overlap), tokens)


@given(st.integers(1, 60), st.integers(3, 12), st.integers(0, 8))
def test_a_window_of_late_chunks_ends_only_where_the_next_piece_does_not_fit(
    tokens: int, size: int, overlap: int
) -> None:
    assume(overlap < size - ROOM.overhead)
    (text,) = WordEncoder().tokenize([words(tokens)], "document")
    inputs = LateChunk(size, overlap).cut(text, ROOM)
    assert (len(inputs) == 1) == (tokens <= ROOM.tokens)
    spans = list(pieces(tokens, size - ROOM.overhead, overlap))
    for one in inputs[:-1]:
        window, spans = spans[: one.vectors], spans[one.vectors :]
        assert spans[0][1] - window[0][0] > ROOM.tokens


def test_a_text_without_tokens_makes_no_input() -> None:
    assert [content(parse(kind, 12), 0) for kind in sorted(KINDS) if kind != "full"] == [[], [], [], []]


def test_a_size_that_prompt_and_special_tokens_fill_is_refused() -> None:
    with pytest.raises(LocoError, match="no room for text"):
        content(Chunk(2), 5)


def test_an_overlap_that_prompt_and_special_tokens_make_too_large_is_refused() -> None:
    with pytest.raises(LocoError, match="never ends"):
        content(Chunk(5, overlap=4), 30)

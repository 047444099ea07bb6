"""hash-512: what its vectors are, that they are the same everywhere, and that no real text is without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from loco.encode.strategies import Chunk, Room, Truncate
from loco.models.protocols import Encoder, Input
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32
from loco_adapters import model_cards
from loco_adapters.hashing import HashingEncoder

CARD = next(card for card in model_cards() if card.name == "hash-512")
ENCODER = HashingEncoder(CARD, Runtime())

# The SHA-256 of the bits of three vectors. A change here is a change of the card's revision.
PINNED = "ce464c32"
PRINT_PINNED = """
import hashlib
from test_hashing import ENCODER, vectors
texts = ["The budget of the remote control", "to be or not to be", "\\u00dcber 1,000 films " * 90]
print(hashlib.sha256(vectors(texts).astype("<f4").tobytes()).hexdigest()[:8])
"""


def vectors(texts: Sequence[str]) -> Float32:
    """One vector a text, shape (texts, dim)."""
    whole = [words.input(0, words.tokens) for words in ENCODER.tokenize(texts, "document")]
    return np.concatenate(ENCODER.encode(whole))


def changed(**parameters: int) -> HashingEncoder:
    return HashingEncoder(CARD.model_copy(update={"parameters": {**CARD.parameters, **parameters}}), Runtime())


def test_it_is_an_encoder_as_its_card_says() -> None:
    assert isinstance(ENCODER, Encoder)
    assert ENCODER.traits.max_tokens == CARD.max_tokens == 512
    assert ENCODER.traits.dim == 512
    assert ENCODER.overhead("query") == ENCODER.overhead("document") == 0
    assert "late-chunk" not in CARD.strategies
    assert not ENCODER.traits.spans


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_vectors_are_the_same_bits_in_every_process(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parent)}
    printed = subprocess.run(
        [sys.executable, "-c", PRINT_PINNED], env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == PINNED


def test_words_are_runs_of_letters_and_digits_of_any_script_in_lower_case() -> None:
    (words,) = ENCODER.tokenize(["Don't  PANIC: \u00dcber 3,5 \u0424\u0438\u043b\u044c\u043c!\n\ud800"], "query")
    assert list(words.words) == ["don", "t", "panic", "\u00fcber", "3", "5", "\u0444\u0438\u043b\u044c\u043c"]
    piece = words.input(2, 4)
    assert (piece.content, piece.tokens, piece.role) == ("panic \u00fcber", 2, "query")


@given(st.text(), st.integers(1, 20))
def test_a_limit_keeps_exactly_the_first_words(text: str, limit: int) -> None:
    (whole,) = ENCODER.tokenize([text], "document")
    (limited,) = ENCODER.tokenize([text], "document", limit=limit)
    assert list(limited.words) == list(whole.words)[:limit]
    assert limited.tokens == min(limit, whole.tokens)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_every_text_with_a_word_has_a_vector_of_length_one(texts: list[str]) -> None:
    for words in ENCODER.tokenize(texts, "document"):
        for piece in Chunk(4).cut(words, Room(4, 0)):
            (vector,) = ENCODER.encode([piece])
            assert vector.shape == (1, 512)
            assert vector.dtype == np.float32
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@given(st.lists(st.sampled_from(sorted(ENGLISH_STOP_WORDS)), min_size=1, max_size=30))
def test_a_piece_of_nothing_but_stop_words_keeps_them(words: list[str]) -> None:
    assert np.linalg.norm(vectors([" ".join(words)])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("text", ["", " \n\t", "--- * * * ---", "\u200b"])
def test_a_text_without_words_has_no_tokens_and_so_no_input(text: str) -> None:
    (words,) = ENCODER.tokenize([text], "document")
    assert words.tokens == 0
    assert Truncate(512).cut(words, Room(512, 0)) == []


@given(st.lists(st.text("abc \u00e9", max_size=40), min_size=2, max_size=6))
def test_a_vector_depends_on_nothing_else_in_the_batch(texts: list[str]) -> None:
    together = vectors(texts)
    for place, text in enumerate(texts):
        np.testing.assert_array_equal(together[place], vectors([text])[0])


@given(st.lists(st.sampled_from(["budget", "remote", "lunch", "control"]), min_size=1), st.randoms())
def test_order_of_words_does_not_matter(words: list[str], random: Random) -> None:
    shuffled = list(words)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(vectors([" ".join(words)]), vectors([" ".join(shuffled)]))


def test_stop_words_are_tokens_but_change_no_vector() -> None:
    texts = ["the budget of the remote control", "budget remote control"]
    assert [words.tokens for words in ENCODER.tokenize(texts, "document")] == [6, 3]
    first, second = vectors(texts)
    np.testing.assert_array_equal(first, second)


def weights(text: str) -> Mapping[str, float]:
    return {word: 1 + np.log(count) for word, count in Counter(text.split()).items()}


def cosine(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    dot = sum(weight * second.get(word, 0) for word, weight in first.items())
    return float(dot / np.sqrt(sum(w * w for w in first.values()) * sum(w * w for w in second.values())))


def test_cosines_are_those_of_the_bags_of_words_up_to_what_512_dimensions_allow() -> None:
    random = np.random.default_rng(1)
    vocabulary = [f"w{number}" for number in range(400)]
    texts = [" ".join(random.choice(vocabulary[at : at + 150], 200)) for at in range(0, 250, 10)]
    found = vectors(texts) @ vectors(texts).T
    wanted = np.array([[cosine(weights(a), weights(b)) for b in texts] for a in texts])
    # A projection to d dimensions errs by (1 - cosine**2) / sqrt(d) at one standard deviation, at most.
    errors = (found - wanted)[np.triu_indices(len(texts), 1)]
    assert abs(errors).max() < 5 / np.sqrt(512)
    assert 0.2 / np.sqrt(512) < errors.std() < 1.2 / np.sqrt(512)


def test_every_bucket_has_an_entry_in_every_block_so_no_word_vanishes() -> None:
    words = [f"w{number}" for number in range(3000)]
    entries = np.count_nonzero(vectors(words).reshape(len(words), 16, 32), axis=2)
    assert (entries == 1).all()


@pytest.mark.parametrize("change", [{"seed": 7}, {"dim": 256}, {"buckets": 4096}])
def test_each_setting_changes_vectors_and_fingerprint(change: dict[str, int]) -> None:
    other = changed(**change)
    piece = Input("budget remote control", 3, "query")
    assert other.traits.fingerprint != ENCODER.traits.fingerprint
    assert not np.array_equal(other.encode([piece])[0], ENCODER.encode([piece])[0])
    assert changed().traits.fingerprint == ENCODER.traits.fingerprint


def test_spans_are_refused() -> None:
    (words,) = ENCODER.tokenize(["a budget"], "document")
    with pytest.raises(ValueError, match="spans"):
        words.input(0, 2, spans=[(0, 1)])


def test_a_user_sets_the_batch() -> None:
    assert HashingEncoder(CARD, Runtime(batch_tokens=99)).traits.batch_tokens == 99

"""MaxSim ranks exactly as a plain loop over all pairs of rows, whatever the blocks, in bounded memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco.rank import maxsim as module
from loco.rank import nearest
from loco.rank.maxsim import best_by_maxsim
from loco.rank.nearest import Blocks, VectorError, Vectors
from loco.rank.ranking import Float32, Hit, Integers, Pool
from loco.trec import trec_id

IDS = ["d%09", "d 9", "d9", "d10", "dé", "d中", "D", "a", "a ", "b", "z%", "z", "0", "00", "1"]


def plain(queries: Vectors, documents: Vectors, ids: list[str], k: int) -> list[list[Hit]]:
    """What ``best_by_maxsim`` promises, as two loops over pairs of rows."""
    ranked = []
    for q in range(len(queries.starts) - 1):
        ours = queries.matrix[queries.starts[q] : queries.starts[q + 1]].astype(np.float64)
        hits = []
        for d in range(len(documents.starts) - 1):
            theirs = documents.matrix[documents.starts[d] : documents.starts[d + 1]].astype(np.float64)
            if len(ours) and len(theirs):
                greatest = np.array([max((one * other).sum() for other in theirs) for one in ours])
                hits.append(Hit(ids[d], float(np.float32(greatest.sum()))))
        ranked.append(sorted(hits, key=lambda hit: (hit.score, trec_id(hit.document)), reverse=True)[:k])
    return ranked


def found(queries: Blocks, documents: Blocks, ids: list[str], k: int) -> list[list[Hit]]:
    names = [f"q{i}" for i in range(len(queries.starts) - 1)]
    hits = best_by_maxsim(names, queries, documents, Pool(ids), k)
    assert list(hits) == names
    return list(hits.values())


def normal(seed: int, rows: int, dim: int) -> Float32:
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def dealt(matrix: Float32, counts: list[int]) -> Vectors:
    return Vectors(matrix, np.concatenate([[0], np.cumsum(counts)]).astype(np.intp))


@st.composite
def texts(draw: st.DrawFn, dim: int, most: int) -> Vectors:
    """Few different rows, so that there are many ties, of lengths from 1e-12 to 1e12, some texts without any."""
    size = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    counts = rng.integers(0, 6, size).tolist()
    rows = normal(draw(st.integers(0, 3)), 4, dim)
    if draw(st.booleans()):
        rows *= rng.choice([0, 1e-12, 0.5, 1.0, 3.0, 1e12], (4, 1)).astype(np.float32)
    return dealt(rows[rng.integers(0, 4, sum(counts))], counts)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Vectors, Vectors, list[str]]:
    dim = draw(st.sampled_from([1, 2, 7, 130]))
    documents = draw(texts(dim, len(IDS)))
    return draw(texts(dim, 4)), documents, draw(st.permutations(IDS))[: len(documents.starts) - 1]


sizes = st.integers(1, 20)


@settings(max_examples=100)
@given(searches(), sizes, st.integers(0, 3), sizes, sizes, sizes, st.integers(1, 4000))
def test_hits_are_those_of_two_loops_whatever_the_blocks(
    search: tuple[Vectors, Vectors, list[str]], k: int, spare: int, piece: int, at_once: int, rows: int, block: int
) -> None:
    queries, documents, ids = search
    promised = plain(queries, documents, ids, k)
    assert found(queries, documents, ids, k) == promised
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_SPARE", spare)
        patch.setattr(module, "_PIECE", piece)
        patch.setattr(module, "_LEAST_PIECE", min(piece, 3))
        patch.setattr(module, "_BLOCK_TEXTS", at_once)
        patch.setattr(module, "_BLOCK_BYTES", block)
        patch.setattr(module, "_PAIR_BYTES", block)
        patch.setattr(module, "_QUERY_ROWS", rows)
        assert found(queries, documents, ids, k) == promised


@pytest.mark.parametrize("dim", [3, 128])
def test_equal_documents_tie_exactly_wherever_they_stand(dim: int) -> None:
    counts = [1, 700, 37, 5, 37, 513, 37, 2, 1030, 37]
    documents = dealt(normal(1, sum(counts), dim), counts)
    twin = normal(2, 37, dim)
    for place in np.flatnonzero(np.array(counts) == 37):
        documents.matrix[documents.starts[place] : documents.starts[place + 1]] = twin
    queries = dealt(normal(3, 101, dim), [1, 33, 67])
    for hits in found(queries, documents, [str(i) for i in range(10)], 10):
        scores = {hit.document: hit.score for hit in hits}
        assert len({scores[name] for name in "2469"}) == 1
        order = [hit.document for hit in hits if hit.document in "2469"]
        assert order == list("9642")


def test_thousands_of_ties_at_the_last_place_fall_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_SPARE", 10)
    twin = normal(1, 3, 16)
    documents = dealt(np.tile(twin, (3000, 1)), [3] * 3000)
    names = [f"{i:04}" for i in range(3000)]
    (hits,) = found(dealt(normal(2, 5, 16), [5]), documents, names, 7)
    assert [hit.document for hit in hits] == names[:-8:-1]
    assert len({hit.score for hit in hits}) == 1


def test_near_ties_that_a_float32_product_cannot_tell_apart_are_ranked_by_their_scores() -> None:
    rng = np.random.default_rng(0)
    base = normal(1, 8, 64)
    rows = np.repeat(base[None], 60, axis=0)
    rows[:, :, -1] = (base[:, -1] + rng.integers(-40, 40, (60, 8)) * 2.0**-22).astype(np.float32)
    documents, queries = dealt(rows.reshape(-1, 64), [8] * 60), dealt(normal(2, 12, 64), [12])
    names = [f"{i:02}" for i in range(60)]
    promised = plain(queries, documents, names, 10)
    assert len({hit.score for hit in promised[0]}) > 1
    assert found(queries, documents, names, 10) == promised


def test_a_row_of_a_query_that_is_nothing_beside_another_one_still_finds_its_greatest() -> None:
    step = 2.0**-22  # what the least float32 is once the first row has length 1
    queries = dealt(np.array([[2.0**126, 0, 0], [0, 1.4 * step, 1.6 * step]], np.float32), [2])
    documents = dealt(np.array([[0, 2.0**30, 0], [0, 0, 0.8 * 2.0**30]], np.float32), [2])
    assert found(queries, documents, ["a"], 1) == plain(queries, documents, ["a"], 1)


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_row_that_is_no_number_names_its_text(role: str, wrong: float) -> None:
    texts = {"query": dealt(normal(1, 6, 5), [2, 3, 1]), "document": dealt(normal(2, 9, 5), [4, 0, 5])}
    texts[role].matrix[4, 2] = wrong
    with pytest.raises(VectorError) as caught:
        found(texts["query"], texts["document"], list("abc"), 2)
    assert (caught.value.role, caught.value.text) == (role, {"query": 1, "document": 2}[role])


def test_a_score_too_large_for_float32_is_an_error_naming_the_document() -> None:
    queries, documents = dealt(np.full((2, 3), 1e38, np.float32), [2]), dealt(normal(1, 4, 3), [2, 2])
    documents.matrix[3] = 1e5
    with pytest.raises(VectorError, match="document number 1 has a score too large"):
        found(queries, documents, ["a", "b"], 1)


def test_nothing_to_find_and_nothing_to_find_it_by() -> None:
    nothing, something = dealt(normal(1, 0, 4), [0, 0]), dealt(normal(1, 3, 4), [1, 2])
    assert found(something, nothing, ["a", "b"], 3) == [[], []]
    assert found(nothing, something, ["a", "b"], 3) == [[], []]
    assert best_by_maxsim([], dealt(normal(1, 0, 4), []), something, Pool(["a", "b"]), 3) == {}


def test_texts_that_do_not_fit_together_are_refused() -> None:
    vectors = dealt(normal(1, 4, 3), [2, 2])
    with pytest.raises(ValueError, match="as many"):
        best_by_maxsim(["q"], vectors, vectors, Pool(["a", "b"]), 1)
    with pytest.raises(ValueError, match="dimensions"):
        best_by_maxsim(["q", "r"], vectors, dealt(normal(1, 4, 4), [2, 2]), Pool(["a", "b"]), 1)
    with pytest.raises(ValueError, match="at least 1"):
        best_by_maxsim(["q", "r"], vectors, vectors, Pool(["a", "b"]), 0)


@dataclass
class Made:
    """Documents that are nowhere: each block is made when it is read."""

    starts: Integers
    dim: int = 32

    def block(self, start: int, stop: int) -> Float32:
        return normal(start, stop - start, self.dim)


def test_memory_does_not_grow_with_the_documents() -> None:
    queries = dealt(normal(1, 320, 32), [32] * 10)

    def peak(documents: int) -> int:
        made, names = Made(np.arange(documents + 1) * 256), [str(i) for i in range(documents)]
        tracemalloc.start()
        found(queries, made, names, 10)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(300), peak(900)  # of 32 KB each
    assert many < 40e6
    assert many - few < 2e6

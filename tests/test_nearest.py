"""The nearest documents are exactly those of a plain loop, in bounded memory, compressed or not."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.models.protocols import Similarity
from loco.rank import nearest as module
from loco.rank.compression import Binary, Compressed, Int8, compress, cut
from loco.rank.nearest import Rows, VectorError, Vectors, nearest
from loco.rank.ranking import Hit, Pool
from loco.trec import trec_id

SIMILARITIES: list[Similarity] = ["cosine", "dot"]
similarities = st.sampled_from(SIMILARITIES)
IDS = ["d%09", "d 9", "d9", "d10", "d\u00e9", "d\u4e2d", "D", "a", "a ", "b", "z%", "z", "0", "00", "1"]


def plain(queries: Vectors, documents: Vectors, ids: list[str], k: int, similarity: Similarity) -> list[list[Hit]]:
    """What ``nearest`` promises, as one loop over all pairs."""
    ranked = []
    for q in range(len(queries.starts) - 1):
        hits = []
        for d in range(len(documents.starts) - 1):
            pairs = [
                (a.astype(np.float64), b.astype(np.float64))
                for a in queries.matrix[queries.starts[q] : queries.starts[q + 1]]
                for b in documents.matrix[documents.starts[d] : documents.starts[d + 1]]
            ]
            scores = [(a * b).sum() for a, b in pairs]
            if similarity == "cosine":
                lengths = [np.sqrt((a * a).sum()) * np.sqrt((b * b).sum()) for a, b in pairs]
                scores = [score / length for score, length in zip(scores, lengths, strict=True)]
            if scores:
                hits.append(Hit(ids[d], float(np.float32(max(scores)))))
        ranked.append(sorted(hits, key=lambda hit: (hit.score, trec_id(hit.document)), reverse=True)[:k])
    return ranked


def found(queries: Vectors, documents: Rows, ids: list[str], k: int, similarity: Similarity) -> list[list[Hit]]:
    names = [f"q{i}" for i in range(len(queries.starts) - 1)]
    hits = nearest(names, queries, documents, Pool(ids), k, similarity)
    assert list(hits) == names
    return list(hits.values())


def normal(seed: int, rows: int, dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def dealt(matrix: np.ndarray, counts: list[int]) -> Vectors:
    return Vectors(matrix, np.concatenate([[0], np.cumsum(counts)]).astype(np.intp))


@st.composite
def texts(draw: st.DrawFn, dim: int, most: int, pooled: bool) -> Vectors:
    """Few different rows, so that there are many ties, of lengths from 1e-12 to 1e12, some texts without any."""
    size = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    counts = [1] * size if pooled else rng.integers(0, 4, size).tolist()
    rows = normal(draw(st.integers(0, 3)), 4, dim)
    rows *= rng.choice([1e-12, 0.5, 1.0, 1.0, 3.0, 1e12], (4, 1)).astype(np.float32)
    return dealt(rows[rng.integers(0, 4, sum(counts))], counts)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Vectors, Vectors, list[str]]:
    dim, pooled = draw(st.sampled_from([1, 2, 7, 130])), draw(st.booleans())
    documents = draw(texts(dim, len(IDS), pooled))
    return draw(texts(dim, 4, pooled)), documents, draw(st.permutations(IDS))[: len(documents.starts) - 1]


def shrunk(patch: pytest.MonkeyPatch, spare: int, block: int, piece: int, queries: int) -> None:
    patch.setattr(module, "_SPARE", spare)
    patch.setattr(module, "_BLOCK_BYTES", block)
    patch.setattr(module, "_PIECE_BYTES", piece)
    patch.setattr(module, "_QUERY_ROWS", queries)


@settings(max_examples=300)
@given(searches(), st.integers(1, 20), similarities, st.integers(0, 3), st.integers(1, 4000), st.integers(1, 4000))
def test_hits_are_those_of_a_plain_loop_whatever_the_blocks(
    search: tuple[Vectors, Vectors, list[str]], k: int, similarity: Similarity, spare: int, block: int, piece: int
) -> None:
    queries, documents, ids = search
    expected = plain(queries, documents, ids, k, similarity)
    actual = found(queries, documents, ids, k, similarity)
    assert [[hit.score for hit in hits] for hits in actual] == [[hit.score for hit in hits] for hits in expected]
    assert actual == expected
    with pytest.MonkeyPatch.context() as patch:
        shrunk(patch, spare - k, block, piece, queries=1 + block % 5)
        assert found(queries, documents, ids, k, similarity) == expected


@given(searches(), similarities, st.randoms(use_true_random=False))
def test_the_order_of_the_documents_does_not_matter(
    search: tuple[Vectors, Vectors, list[str]], similarity: Similarity, random: np.random.Generator
) -> None:
    queries, documents, ids = search
    order = list(range(len(ids)))
    random.shuffle(order)
    parts = [documents.matrix[documents.starts[i] : documents.starts[i + 1]] for i in order]
    shuffled = dealt(np.concatenate(parts), [len(part) for part in parts])
    assert found(queries, shuffled, [ids[i] for i in order], 4, similarity) == found(
        queries, documents, ids, 4, similarity
    )


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dim", [3, 384, 1000])
def test_equal_vectors_have_equal_scores_wherever_they_stand(similarity: Similarity, dim: int) -> None:
    documents = normal(1, 67, dim)
    documents[::2] = documents[0]
    hits = found(
        Vectors.one_each(normal(2, 3, dim)), Vectors.one_each(documents), [f"{i:02}" for i in range(67)], 67, similarity
    )
    for query in hits:
        assert len({hit.score for hit in query if int(hit.document) % 2 == 0}) == 1
        assert len({hit.score for hit in query}) == 34


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("rows", [1, 2])
def test_thousands_of_ties_at_the_last_place_fall_by_id(similarity: Similarity, rows: int) -> None:
    size, dim = 6000, 24
    documents = np.repeat(normal(1, 1, dim), size * rows, axis=0)
    documents[70 * rows : 71 * rows] *= -1  # the worst document for the first query, the best for the second
    ids = [str(i) for i in np.random.default_rng(3).permutation(size)]
    vectors = dealt(documents, [rows] * size)
    queries = Vectors.one_each(np.concatenate([documents[:1], -documents[:1]]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", 4 * dim * 500)
        alike, opposite = found(queries, vectors, ids, 50, similarity)
    tied = sorted((i for n, i in enumerate(ids) if n != 70), reverse=True)
    assert len({hit.score for hit in alike}) == 1
    assert [hit.document for hit in alike] == tied[:50]
    assert [hit.document for hit in opposite] == [ids[70], *tied[:49]]


def test_near_ties_that_a_float32_product_cannot_tell_apart_are_ranked_by_their_scores() -> None:
    rng = np.random.default_rng(5)
    documents = normal(4, 1, 1024) + rng.uniform(-3e-7, 3e-7, (1500, 1024)).astype(np.float32)
    queries = Vectors.one_each(normal(6, 3, 1024))
    for vectors in (Vectors.one_each(documents), dealt(documents, [20] * 75)):
        ids = [str(i) for i in range(len(vectors.starts) - 1)]
        for similarity in SIMILARITIES:
            assert found(queries, vectors, ids, 10, similarity) == plain(queries, vectors, ids, 10, similarity)


def test_dot_products_below_the_smallest_float32_tie() -> None:
    documents, queries = (Vectors.one_each(normal(n, n, 8) * np.float32(1e-22)) for n in (300, 40))
    ids = [str(i) for i in range(300)]
    expected = plain(queries, documents, ids, 20, "dot")
    assert any(len({hit.score for hit in hits}) < 20 for hits in expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPARE", 0)
        patch.setattr(module, "_BLOCK_BYTES", 100)
        assert found(queries, documents, ids, 20, "dot") == expected


@pytest.mark.parametrize("scales", [(1e-38, 1e-30), (1e17, 1e18), (1e-30, 1e18), (1e-44, 1e-44)])
def test_huge_and_tiny_vectors_are_ranked_exactly(scales: tuple[float, float]) -> None:
    rng = np.random.default_rng(7)
    length = rng.choice(np.array([*scales, 1.0, 1.0]), (300, 1)).astype(np.float32)
    documents = Vectors.one_each(rng.standard_normal((300, 16), dtype=np.float32) * length + np.float32(1e-44))
    queries = dealt(rng.standard_normal((12, 16), dtype=np.float32) * length[:12], [1, 2, 3, 1, 2, 3])
    ids = [str(i) for i in range(300)]
    for similarity in SIMILARITIES:
        assert found(queries, documents, ids, 20, similarity) == plain(queries, documents, ids, 20, similarity)


def test_a_dot_product_too_large_for_float32_is_an_error_naming_the_document() -> None:
    documents = Vectors.one_each(np.array([[1.0], [3e38], [2.0]], dtype=np.float32))
    with pytest.raises(VectorError, match=r"document number 1 .* too large") as caught:
        nearest(["q"], Vectors.one_each(np.full((1, 1), 10, np.float32)), documents, Pool(["a", "b", "c"]), 2, "dot")
    assert (caught.value.role, caught.value.text) == ("document", 1)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("role", ["query", "document"])
def test_a_row_that_is_no_number_names_its_text(
    similarity: Similarity, strange: float, role: Literal["query", "document"]
) -> None:
    good, bad = (dealt(normal(1, 9, 5), [2, 0, 3, 0, 4]) for _ in range(2))
    bad.matrix[4, 1] = strange
    queries, documents = (bad, good) if role == "query" else (good, bad)
    with pytest.raises(VectorError, match=f"{role} number 2 holds") as caught:
        found(queries, documents, list("abcde"), 3, similarity)
    assert (caught.value.role, caught.value.text) == (role, 2)


@pytest.mark.parametrize("role", ["query", "document"])
def test_a_row_of_zeros_has_no_cosine_but_a_dot_product(role: str) -> None:
    good, bad = (dealt(normal(1, 4, 5), [1, 0, 0, 3]) for _ in range(2))
    bad.matrix[2] = 0
    queries, documents = (bad, good) if role == "query" else (good, bad)
    with pytest.raises(VectorError, match=f"{role} number 3 is zero"):
        found(queries, documents, list("abcd"), 3, "cosine")
    assert found(queries, documents, list("abcd"), 3, "dot") == plain(queries, documents, list("abcd"), 3, "dot")


def test_no_documents_with_rows_means_no_hits() -> None:
    empty = dealt(np.empty((0, 3), np.float32), [0, 0])
    assert found(Vectors.one_each(normal(1, 2, 3)), empty, ["a", "b"], 5, "cosine") == [[], []]
    assert found(empty, Vectors.one_each(normal(1, 2, 3)), ["a", "b"], 5, "cosine") == [[], []]


def test_a_read_only_memory_map_is_searched_as_it_lies(tmp_path: Path) -> None:
    documents = normal(1, 400, 32)
    np.save(tmp_path / "d.npy", documents)
    mapped = Vectors.one_each(np.load(tmp_path / "d.npy", mmap_mode="r"))
    queries, ids = Vectors.one_each(normal(2, 5, 32)), [str(i) for i in range(400)]
    assert found(queries, mapped, ids, 9, "cosine") == found(queries, Vectors.one_each(documents), ids, 9, "cosine")


def test_vectors_that_do_not_fit_together_are_refused() -> None:
    matrix = normal(1, 4, 3)
    for wrong in (matrix.astype(np.float64), np.asfortranarray(matrix), matrix[0]):
        with pytest.raises(ValueError, match="contiguous"):
            Vectors(wrong, np.arange(5))
    for starts in ([0, 3], [1, 4], [0, 3, 2, 4], []):
        with pytest.raises(ValueError, match="starts must rise"):
            Vectors(matrix, np.array(starts, dtype=np.intp))
    vectors = Vectors.one_each(matrix)
    with pytest.raises(ValueError, match="as many"):
        nearest(["q"] * 4, vectors, vectors, Pool(["a"]), 1, "dot")
    with pytest.raises(ValueError, match="dimensions"):
        nearest(["q"] * 4, vectors, Vectors.one_each(normal(1, 1, 4)), Pool(["a"]), 1, "dot")
    with pytest.raises(ValueError, match="at least 1"):
        nearest(["q"] * 4, vectors, vectors, Pool(list("abcd")), 0, "dot")


def peak_of(queries: Vectors, documents: Rows, ids: Pool) -> int:
    names = [str(i) for i in range(len(queries.starts) - 1)]
    tracemalloc.start()
    nearest(names, queries, documents, ids, 10, "cosine")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_beside_the_documents_does_not_grow_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4 << 20)
    matrix, queries = normal(1, 80_000, 64), Vectors.one_each(normal(2, 200, 64))
    pools = {n: Pool([str(i) for i in range(n)]) for n in (20_000, 80_000)}
    small, large = (peak_of(queries, Vectors.one_each(matrix[:n]), pool) for n, pool in pools.items())
    # Beside 16 bytes a row of bookkeeping: queries x documents would be 48 MB more, a copy of the documents 15 MB.
    assert small < 25e6
    assert large - small < 3e6
    packed = compress(Vectors.one_each(matrix), "int8", "cosine")
    assert peak_of(queries, packed, pools[80_000]) < large + 5e6


def test_compressing_takes_little_beside_the_codes() -> None:
    vectors = Vectors.one_each(normal(1, 200_000, 64))
    for form in ("int8", "binary"):
        tracemalloc.start()
        codes = compress(vectors, form, "cosine").codes  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak - codes.nbytes < 40e6


@given(st.integers(0, 5), st.integers(1, 40), st.integers(1, 20), st.sampled_from([1e-3, 1.0, 1e6]))
def test_int8_is_off_by_half_a_step_of_its_dimension_at_most(seed: int, rows: int, dim: int, scale: float) -> None:
    matrix = normal(seed, rows, dim) * np.float32(scale) * np.arange(dim, dtype=np.float32)
    packed = Int8.of(Vectors.one_each(matrix), "dot")
    span = matrix.max(axis=0).astype(np.float64) - matrix.min(axis=0)
    rounding = 2.0**-22 * np.abs(matrix).max(axis=0)
    error = np.abs(packed.block(0, rows).astype(np.float64) - matrix)
    assert (error <= span / 255 / 2 + rounding).all()
    assert packed.bytes_per_row == dim


@given(st.integers(0, 5), st.integers(1, 40), st.integers(1, 20), similarities)
def test_binary_keeps_the_sign_of_each_number(seed: int, rows: int, dim: int, similarity: Similarity) -> None:
    matrix = normal(seed, rows, dim)
    matrix[0, 0] = 0.0 if dim > 1 else -1.0
    packed = Binary.of(Vectors.one_each(matrix), similarity)
    signs = np.where(matrix > 0, 1, -1) / np.sqrt(dim)
    np.testing.assert_allclose(packed.block(0, rows), signs, rtol=1e-7)
    assert packed.bytes_per_row == packed.codes[0].nbytes == -(-dim // 8)
    queries = normal(9, 3, dim)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    for query, hits in zip(
        queries, found(Vectors.one_each(queries), packed, [str(i) for i in range(rows)], rows, similarity), strict=True
    ):
        for hit in hits:
            assert hit.score == pytest.approx(float(query @ signs[int(hit.document)]), abs=1e-6)


@given(searches(), similarities, st.sampled_from(["int8", "binary"]), st.integers(1, 20))
def test_compressed_documents_rank_as_what_they_decode_to(
    search: tuple[Vectors, Vectors, list[str]], similarity: Similarity, form: Literal["int8", "binary"], k: int
) -> None:
    queries, documents, ids = search
    packed = compress(documents, form, similarity)
    decoded = Vectors(packed.block(0, len(documents.matrix)), documents.starts)
    assert found(queries, packed, ids, k, similarity) == plain(queries, decoded, ids, k, similarity)


def test_cosine_compresses_directions() -> None:
    matrix = normal(1, 50, 12)
    longer = matrix * np.random.default_rng(2).uniform(0.1, 9, (50, 1)).astype(np.float32)
    one, other = (Int8.of(Vectors.one_each(m), "cosine").block(0, 50) for m in (matrix, longer))
    np.testing.assert_allclose(one, other, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(other, axis=1), 1, atol=0.02)


@pytest.mark.parametrize("kind", [Int8, Binary])
def test_what_cannot_be_compared_is_not_compressed(kind: type[Compressed]) -> None:
    vectors = dealt(normal(1, 4, 5), [1, 0, 3])
    vectors.matrix[2] = 0
    with pytest.raises(VectorError, match="document number 2 is zero"):
        kind.of(vectors, "cosine")  # type: ignore[attr-defined]
    vectors.matrix[2, 3] = np.nan
    with pytest.raises(VectorError, match="document number 2 holds"):
        kind.of(vectors, "dot")  # type: ignore[attr-defined]


def test_no_documents_at_all_can_be_compressed() -> None:
    empty = dealt(np.empty((0, 3), np.float32), [0])
    for form in ("int8", "binary"):
        assert compress(empty, form, "dot").block(0, 0).shape == (0, 3)  # type: ignore[arg-type]


def test_cutting_keeps_the_first_numbers_at_unit_length_if_asked() -> None:
    matrix = normal(1, 30, 8)
    matrix[3] = 0
    np.testing.assert_array_equal(cut(matrix, 5), matrix[:, :5])
    head = cut(matrix, 5, normalise=True)
    norms = np.linalg.norm(head, axis=1)
    np.testing.assert_allclose(np.delete(norms, 3), 1, rtol=1e-6)
    assert norms[3] == 0
    np.testing.assert_allclose(head[0] * np.linalg.norm(matrix[0, :5]), matrix[0, :5], rtol=1e-5)
    ids = [str(i) for i in range(29)]
    queries, view = Vectors.one_each(matrix[:2, :5].copy()), np.delete(matrix, 3, axis=0)
    short = Vectors.one_each(cut(view, 5))
    assert found(queries, short, ids, 9, "dot") == plain(queries, short, ids, 9, "dot")


@pytest.mark.parametrize("dim", [0, -1, 9])
def test_cutting_to_a_length_that_is_not_there_is_refused(dim: int) -> None:
    with pytest.raises(LocoError, match="Choose between 1 and 8"):
        cut(normal(1, 2, 8), dim)

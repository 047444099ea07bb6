"""The order of a ranking is trec_eval's order."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from loco.rank.ranking import Pool
from loco.trec import trec_id

IDS = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=1000), min_size=1, max_size=4), unique=True)


@st.composite
def scored_pools(draw: st.DrawFn) -> tuple[list[str], np.ndarray]:
    ids = draw(st.lists(st.sampled_from([f"d{n}" for n in range(40)]), min_size=1, max_size=25, unique=True))
    scores = draw(
        st.lists(st.sampled_from([-1.0, 0.0, 0.25, 1.0, 1.0 + 1e-9, 2.0]), min_size=len(ids), max_size=len(ids))
    )
    return ids, np.array(scores)


@given(scored_pools(), st.integers(1, 30))
def test_the_top_k_is_the_head_of_the_full_order(pool: tuple[list[str], np.ndarray], k: int) -> None:
    ids, scores = pool
    order = sorted(range(len(ids)), key=lambda i: (float(np.float32(scores[i])), ids[i]), reverse=True)
    assert [hit.document for hit in Pool(ids).top(scores, k)] == [ids[i] for i in order[:k]]


@given(scored_pools())
def test_ties_fall_as_trec_eval_orders_them(pool: tuple[list[str], np.ndarray]) -> None:
    """With only the document at our rank r relevant, trec_eval's reciprocal rank is 1/r, whatever ties there are."""
    ids, scores = pool
    run = {"q": {i: float(s) for i, s in zip(ids, scores.tolist(), strict=True)}}
    for rank, hit in enumerate(Pool(ids).top(scores, len(ids)), start=1):
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {hit.document: 1}}, {"recip_rank"})
        assert evaluator.evaluate(run)["q"]["recip_rank"] == pytest.approx(1 / rank)


@given(IDS.filter(bool))
def test_ids_of_any_kind_tie_as_trec_eval_orders_them_in_a_run_file(ids: list[str]) -> None:
    top = Pool(ids).top(np.zeros(len(ids)), 1)[0]
    evaluator = pytrec_eval.RelevanceEvaluator({"q": {trec_id(top.document): 1}}, {"recip_rank"})
    assert evaluator.evaluate({"q": dict.fromkeys(map(trec_id, ids), 0.0)})["q"]["recip_rank"] == 1


def test_only_documents_above_the_floor_are_returned() -> None:
    hits = Pool(["a", "b", "c"]).top(np.array([0.0, 0.5, -1.0]), 3, above=0.0)
    assert [(hit.document, hit.score) for hit in hits] == [("b", 0.5)]


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_an_error_naming_the_document(strange: float) -> None:
    with pytest.raises(ValueError, match="'b'"):
        Pool(["a", "b"]).top(np.array([0.0, strange]), 2)

"""The figures are trec_eval's, over every query, with honest intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco.rank.ranking import Hit, Pool
from loco.score import bootstrap
from loco.score.metrics import MEASURES, score


def hits(*documents: str) -> list[Hit]:
    return [Hit(document, float(len(documents) - place)) for place, document in enumerate(documents)]


def test_one_relevant_document_at_rank_three() -> None:
    means = score({"q": {"c": 1}}, {"q": hits("a", "b", "c", "d")}).means
    assert means["ndcg@10"] == pytest.approx(1 / math.log2(4))
    assert means["ndcg@1"] == 0
    assert means["ndcg@3"] == means["ndcg@5"] == means["ndcg@100"] == means["ndcg@10"]
    assert means["mrr@10"] == means["map@100"] == pytest.approx(1 / 3)
    assert means["recall@10"] == means["recall@100"] == 1


def test_several_relevant_documents_against_values_worked_out_by_hand() -> None:
    """Relevant at ranks 1, 3 and one never found: DCG = 1 + 1/2, ideal = 1 + 1/log2(3) + 1/2."""
    means = score({"q": {"a": 1, "c": 1, "z": 1}}, {"q": hits("a", "b", "c", "d")}).means
    assert means["ndcg@10"] == pytest.approx(1.5 / (1 + 1 / math.log2(3) + 0.5))
    assert means["map@100"] == pytest.approx((1 + 2 / 3) / 3)
    assert means["recall@10"] == pytest.approx(2 / 3)
    assert means["mrr@10"] == 1


def test_grades_count_linearly_as_in_trec_eval() -> None:
    means = score({"q": {"a": 1, "b": 2}}, {"q": hits("a", "b")}).means
    ideal = 2 + 1 / math.log2(3)
    assert means["ndcg@10"] == pytest.approx((1 + 2 / math.log2(3)) / ideal)


def test_a_query_without_hits_counts_zero() -> None:
    qrels = {"found": {"a": 1}, "missing": {"a": 1}, "empty": {"a": 1}}
    scores = score(qrels, {"found": hits("a"), "empty": []})
    assert scores.per_query["ndcg@10"] == {"found": 1.0, "missing": 0.0, "empty": 0.0}
    assert scores.means["ndcg@10"] == pytest.approx(1 / 3)


def test_nothing_found_at_all_is_zero_and_no_crash() -> None:
    assert set(score({"q": {"a": 1}}, {}).means.values()) == {0.0}


def test_reciprocal_rank_stops_at_ten() -> None:
    documents = [f"d{n:02}" for n in range(12)]
    at_ten = score({"q": {"d09": 1}}, {"q": hits(*documents)}).means
    at_eleven = score({"q": {"d10": 1}}, {"q": hits(*documents)}).means
    assert at_ten["mrr@10"] == pytest.approx(0.1)
    assert at_eleven["mrr@10"] == 0
    assert at_eleven["map@100"] == pytest.approx(1 / 11)


def test_tied_documents_are_scored_in_trec_evals_order() -> None:
    """Equal scores: the larger id comes first, so 'b' is at rank 1 and 'a' at rank 2."""
    tied = {"q": [Hit("a", 1.0), Hit("b", 1.0)]}
    assert score({"q": {"b": 1}}, tied).means["ndcg@1"] == 1
    assert score({"q": {"a": 1}}, tied).means["ndcg@1"] == 0


def test_ties_fall_as_in_the_run_file_where_ids_are_encoded() -> None:
    """As a plain text "c!" comes after "c d", in a run file before it: "c%20d" > "c!" does not hold, % > ! does."""
    tied = {"q": [Hit("c d", 1.0), Hit("c!", 1.0)]}
    assert score({"q": {"c d": 1}}, tied).means["ndcg@1"] == 1
    assert [hit.document for hit in Pool(["c d", "c!"]).top(np.ones(2), 2)] == ["c d", "c!"]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 3), min_size=1), st.permutations("abcdefgh"))
def test_every_measure_stays_between_zero_and_one(grades: dict[str, int], order: list[str]) -> None:
    means = score({"q": grades}, {"q": hits(*order)}).means
    assert set(means) == set(MEASURES)
    assert all(0 <= value <= 1 for value in means.values())


def test_the_interval_matches_the_binomial_it_comes_from() -> None:
    """The mean of n zeros and ones resampled is binomial: the interval's ends are its 2.5 % and 97.5 % points."""
    values = np.repeat([[1.0], [0.0]], [120, 80], axis=0)
    low, high = bootstrap.intervals(values)
    spread = 1.96 * math.sqrt(0.6 * 0.4 / 200)
    assert low[0] == pytest.approx(0.6 - spread, abs=0.006)
    assert high[0] == pytest.approx(0.6 + spread, abs=0.006)


def test_intervals_are_reproducible_and_shared_by_all_measures() -> None:
    column = np.random.default_rng(0).random((50, 1))
    low, high = bootstrap.intervals(np.hstack([column, column]))
    assert low[0] == low[1] < column.mean() < high[0] == high[1]
    assert bootstrap.intervals(column)[0][0] == pytest.approx(low[0], abs=1e-12)


def test_equal_values_have_an_interval_without_width() -> None:
    low, high = bootstrap.intervals(np.full((30, 1), 0.63))
    assert low[0] == pytest.approx(0.63)
    assert high[0] == pytest.approx(0.63)

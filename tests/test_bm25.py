"""BM25: Lucene's numbers on real data, the formula on small ones, and the slow reference."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.registry import load_model, model_card
from loco.phases import recording
from loco.rank.ranking import Hit
from loco.tasks.card import task_card
from loco.tasks.data import Provenance, TaskData, Texts
from loco_adapters import model_cards
from loco_adapters.bm25.analyzer import TermIds
from loco_adapters.bm25.index import LuceneIndex, one_byte_lengths
from loco_adapters.bm25.lucene import LuceneBM25
from loco_adapters.bm25.okapi import OkapiBM25

CARDS = {card.name: card for card in model_cards()}
K1, B = 1.2, 0.75


def task_of(documents: Mapping[str, str], queries: Mapping[str, str]) -> TaskData:
    first = next(iter(documents))
    return TaskData(
        card=task_card("qmsum"),
        variant="mini",
        provenance=Provenance(builder="test", builder_version=1, source="made by hand", source_revision=""),
        queries=Texts.of(queries.items(), "query"),
        documents=Texts.of(documents.items(), "document"),
        qrels={query: {first: 1} for query in queries},
    )


def ranked(model: str, documents: Mapping[str, str], query: str, k: int = 100) -> list[Hit]:
    return list(load_model(CARDS[model]).rank(task_of(documents, {"q": query}), k).hits.get("q", ()))


# --- Lucene's own rankings of the real qmsum -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lucene(shared: Path) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """Variant -> query -> Lucene's top 20."""
    path = shared / "facts" / "lucene-qmsum.json"
    runs: dict[str, dict[str, list[tuple[str, float]]]] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return runs


@pytest.fixture(scope="module")
def qmsum(shared: Path) -> dict[str, TaskData]:
    """Variant -> the task, put together by hand as the ``what`` of lucene-qmsum.json says."""
    path = shared / "data" / "scrolls" / "qmsum" / "validation.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    queries = Texts(tuple(f"q{i}" for i in range(len(rows))), tuple(row["output"] for row in rows))
    inputs = [row["input"] for row in rows]
    transcripts = [text.split("\n\n", 1)[1] for text in inputs]
    distinct = {text: f"t{j}" for j, text in enumerate(dict.fromkeys(transcripts))}
    made = Provenance(builder="test", builder_version=1, source="qmsum", source_revision="")
    paper = Texts(tuple(f"d{i}" for i in range(len(rows))), tuple(inputs))
    release = Texts(tuple(distinct.values()), tuple(distinct))
    card = task_card("qmsum")
    return {
        "paper": TaskData(card, "paper", made, queries, paper, {f"q{i}": {f"d{i}": 1} for i in range(len(rows))}),
        "release": TaskData(
            card, "release", made, queries, release, {f"q{i}": {distinct[t]: 1} for i, t in enumerate(transcripts)}
        ),
    }


@pytest.mark.parametrize(("variant", "documents", "ndcg"), [("paper", 272, 0.594667), ("release", 35, 0.910323)])
def test_qmsum_is_ranked_and_scored_as_lucene_does(
    qmsum: dict[str, TaskData],
    lucene: dict[str, dict[str, list[tuple[str, float]]]],
    variant: str,
    documents: int,
    ndcg: float,
) -> None:
    task = qmsum[variant]
    assert (len(task.queries), len(task.documents)) == (272, documents)
    model = LuceneBM25(CARDS["bm25"])
    everything = model.rank(task, documents).hits
    place = {document: i for i, document in enumerate(task.documents.ids)}
    for query, expected in lucene[variant].items():
        # Lucene lets the document indexed first win an exact tie. Nothing but that may differ from its ranking.
        ours = sorted(everything[query], key=lambda hit: (-hit.score, place[hit.document]))[:10]
        assert [hit.document for hit in ours] == [document for document, _ in expected[:10]], query
        assert [hit.score for hit in ours] == pytest.approx([score for _, score in expected[:10]], abs=1e-4), query

    best = model.rank(task, 10).hits
    assert best == {query: hits[:10] for query, hits in everything.items()}
    run = {query: {hit.document: hit.score for hit in hits} for query, hits in best.items()}
    values = pytrec_eval.RelevanceEvaluator(task.qrels, {"ndcg_cut.10"}).evaluate(run)
    mean = sum(value["ndcg_cut_10"] for value in values.values()) / len(task.queries)
    assert mean == pytest.approx(ndcg, abs=5e-4)


# --- The formula -----------------------------------------------------------------------------------------------------


def test_document_lengths_are_rounded_as_one_byte_holds_them() -> None:
    lengths = np.arange(2_000)
    rounded = one_byte_lengths(lengths)
    assert rounded[:42].tolist() == [*range(41), 40]
    assert sorted(set(rounded[41:].tolist()))[:20] == [
        *(40, 42, 44, 46, 48, 50, 52, 54),
        *(56, 60, 64, 68, 72, 76, 80, 84),
        *(88, 96, 104, 112),
    ]
    assert one_byte_lengths(np.array([8_000, 10_000, 123_456])).tolist() == [7704, 9240, 122904]
    assert (rounded <= lengths).all()
    assert (rounded >= lengths * 8 / 9).all()


def by_the_book(documents: Sequence[Sequence[str]], query: Sequence[str]) -> list[float]:
    """Lucene's BM25, term by term and document by document."""
    filled = [document for document in documents if document]
    mean = sum(map(len, filled)) / len(filled) if filled else 1.0
    scores = []
    for document in documents:
        frequencies = Counter(document)
        norm = K1 * (1 - B + B * float(one_byte_lengths(np.array([len(document)]))[0]) / mean)
        score = 0.0
        for term in query:
            df = sum(term in other for other in documents)
            if frequencies[term]:
                idf = math.log(1 + (len(filled) - df + 0.5) / (df + 0.5))
                score += idf * frequencies[term] / (frequencies[term] + norm)
        scores.append(score)
    return scores


TERMS = st.sampled_from([f"w{i}" for i in range(12)])


@settings(deadline=None)
@given(
    documents=st.lists(st.one_of(st.lists(TERMS, max_size=6), st.lists(TERMS, max_size=90)), min_size=1, max_size=8),
    queries=st.lists(st.lists(st.one_of(TERMS, st.just("unknown")), max_size=12), min_size=1, max_size=4),
)
def test_scores_are_those_of_the_formula_and_bm25s_reads_the_same_from_the_index(
    documents: list[list[str]], queries: list[list[str]]
) -> None:
    term_ids = TermIds()
    ids = [term_ids(" ".join(document)) for document in documents]
    vocabulary = dict(term_ids.vocabulary)
    index = LuceneIndex(K1, B)
    index.index((ids, vocabulary), create_empty_token=False)
    asked = [term_ids(" ".join(query)) for query in queries]
    scores = index.scores_of(asked)
    assert scores.shape == (len(queries), len(documents))
    for query, query_ids, row in zip(queries, asked, scores, strict=True):
        assert row == pytest.approx(by_the_book(documents, query), rel=1e-5)
        if vocabulary:
            known = query_ids[query_ids < len(vocabulary)]
            assert row == pytest.approx(index.get_scores_from_ids(known), rel=1e-5)


def test_documents_with_the_same_terms_tie_and_the_larger_id_comes_first() -> None:
    documents = {"d1": "red blue", "d10": "Blue, reds!", "d9": "blue\u2019s red", "d2": "red red", "d3": "green"}
    hits = ranked("bm25", documents, "blue red")
    assert [hit.document for hit in hits] == ["d9", "d10", "d1", "d2"]
    assert len({hit.score for hit in hits[:3]}) == 1
    assert [hit.document for hit in ranked("bm25", documents, "blue red", k=2)] == ["d9", "d10"]


def test_a_repeated_query_term_counts_as_often_as_it_stands_there() -> None:
    documents = {"d1": "apple apple pear", "d2": "pear plum"}
    (once,) = ranked("bm25", documents, "apple")
    (thrice,) = ranked("bm25", documents, "apple apples Apple's")
    assert thrice.score == pytest.approx(3 * once.score)


def test_empty_documents_change_no_score() -> None:
    documents = {"d1": "apple pear", "d2": "pear plum plum"}
    padded = {**documents, "e1": "", "e2": "the of", "e3": " \n "}
    assert ranked("bm25", padded, "apple plum") == ranked("bm25", documents, "apple plum")


# --- Both models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["bm25", "bm25-rank"])
@pytest.mark.parametrize(
    ("documents", "query"),
    [
        ({"d1": "apple", "d2": "pear"}, "cherry"),
        ({"d1": "apple", "d2": "pear"}, ""),
        ({"d1": "apple", "d2": "pear"}, "the and of"),
        ({"d1": "", "d2": ""}, "apple"),
        ({"d1": "the", "d2": "..."}, ""),
    ],
)
def test_a_query_that_shares_no_term_with_any_document_has_no_hits(
    model: str, documents: dict[str, str], query: str
) -> None:
    assert ranked(model, documents, query) == []


@pytest.mark.parametrize("model", ["bm25", "bm25-rank"])
def test_odd_characters_are_found_again(model: str) -> None:
    documents = {
        "emoji": "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
        "han": "\u6771\u4eac",
        "joined": "1\u202f000",
        "nul": "a\x00nul",
        "long": "y" * 300,
        "none": "\u0301\u200d\ufe0f",
    }
    for query, document in {
        "\U0001f600": "emoji",
        "\u4eac": "han",
        "1\u202f000": "joined",
        "nul": "nul",
        "y" * 255: "long",
    }.items():
        assert [hit.document for hit in ranked(model, documents, query)] == [document]


@pytest.mark.parametrize("model", ["bm25", "bm25-rank"])
def test_every_term_is_seen_and_the_phases_are_named(model: str) -> None:
    task = task_of({"d1": "The dog's bones", "d2": "", "d3": "one two"}, {"q1": "dogs dogs", "q2": "the"})
    with recording() as phases:
        ranking = load_model(CARDS[model]).rank(task, 10)
    documents, queries = ranking.coverage.documents, ranking.coverage.queries
    assert (documents.texts, documents.tokens, documents.tokens_seen, documents.texts_cut) == (3, 4, 4, 0)
    assert (queries.texts, queries.tokens, queries.tokens_seen, queries.texts_cut) == (2, 2, 2, 0)
    assert list(phases) == ["index", "search"]


def test_queries_come_out_the_same_whether_searched_at_once_or_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = {f"d{i}": f"apple {'pear ' * i} plum{i}" for i in range(5)}
    task = task_of(documents, {f"q{i}": f"pear plum{i}" for i in range(5)})
    at_once = LuceneBM25(CARDS["bm25"]).rank(task, 3).hits
    monkeypatch.setattr("loco_adapters.bm25.lucene._SCORES_AT_ONCE", 1)
    assert LuceneBM25(CARDS["bm25"]).rank(task, 3).hits == at_once
    assert list(at_once) == list(task.queries.ids)


def test_the_parameters_of_the_card_are_used() -> None:
    documents = {"short": "apple", "long": "apple apple " + "filler " * 30}
    flat = CARDS["bm25"].model_copy(update={"parameters": {"k1": 1.2, "b": 0.0}})
    best = [LuceneBM25(card).rank(task_of(documents, {"q": "apple"}), 1).hits["q"] for card in (CARDS["bm25"], flat)]
    assert [hits[0].document for hits in best] == ["short", "long"]


# --- The slow reference ----------------------------------------------------------------------------------------------


def test_rank_bm25_scores_with_its_own_formula_over_lucenes_terms() -> None:
    documents = {"d1": "the dog's bones", "d2": "a cat", "d3": "cats and mice", "d4": "birds"}
    (hit,) = ranked("bm25-rank", documents, "Dogs!")
    idf = math.log(4 - 1 + 0.5) - math.log(1 + 0.5)
    mean = (2 + 1 + 2 + 1) / 4
    assert hit.document == "d1"
    assert hit.score == pytest.approx(idf * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 2 / mean)))


def test_rank_bm25_returns_what_shares_a_term_even_at_a_score_of_zero_or_less() -> None:
    half = ranked("bm25-rank", {"d1": "apple", "d2": "apple", "d3": "pear", "d4": "plum"}, "apple")
    assert [(hit.document, hit.score) for hit in half] == [("d2", 0.0), ("d1", 0.0)]
    everywhere = ranked("bm25-rank", {"d1": "apple", "d2": "apple"}, "apple")
    assert [hit.document for hit in everywhere] == ["d2", "d1"]
    assert everywhere[0].score < 0


def test_a_missing_rank_bm25_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rank_bm25", None)
    with pytest.raises(LocoError, match=r"needs the package rank-bm25. Run: pip install 'loco-bench\[rank-bm25\]'$"):
        OkapiBM25(CARDS["bm25-rank"])


# --- The cards -------------------------------------------------------------------------------------------------------


def test_both_models_are_found_by_name_and_can_be_loaded() -> None:
    for name, factory in {"bm25": LuceneBM25, "bm25-rank": OkapiBM25}.items():
        card = model_card(name)
        assert isinstance(card, ModelCard)
        assert (card.family, card.strategies, card.trained_on_loco) == ("bm25", ("full",), False)
        assert isinstance(load_model(card), factory)


def test_reading_the_cards_imports_nothing_heavy() -> None:
    code = "import sys, loco_adapters; loco_adapters.model_cards(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"numpy", "scipy", "bm25s", "nltk", "rank_bm25"} & set(done.stdout.split())

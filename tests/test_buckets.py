"""Figures by the length of the relevant document and by what was cut of it: right, or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from checkpoints import minilm
from conftest import CHECKOUT
from encoders import WordEncoder
from hypothesis import given
from hypothesis import strategies as st
from tasks import model_card, small_task

from loco.buckets import buckets_of
from loco.errors import LocoError
from loco.evaluation import Options, evaluate_tasks
from loco.models.card import ModelCard
from loco.models.registry import model_card as registered
from loco.rank.ranking import Coverage, Hit, Ranking, TextCoverage
from loco.report.buckets import print_buckets
from loco.results import Buckets, Result, read_result
from loco.score.buckets import CUT_BUCKETS, LENGTH_BUCKETS, bucket_means, cut_bucket, length_bucket, longest
from loco.tasks.data import TaskData, write_task


def task_of(lengths: Mapping[str, int], qrels: Mapping[str, Mapping[str, int]] | None = None) -> TaskData:
    """A document of so many words for each id, and for each a query of its own unless told otherwise."""
    documents = {name: " ".join([name, *["word"] * (length - 1)]) for name, length in lengths.items()}
    qrels = qrels or {f"q-{name}": {name: 1} for name in lengths}
    return small_task({query: next(iter(grades)) for query, grades in qrels.items()}, documents, qrels)


def evaluated(
    task: TaskData, folder: Path, card: ModelCard, strategies: Sequence[str] | None = None
) -> dict[str, Result]:
    write_task(task, folder / "data")
    options = Options(strategies, cache=folder / "cache")
    done = evaluate_tasks(card, ["qmsum"], "mini", options, "", data=folder / "data", out=folder / "results")
    return {one.result.strategy: one.result for one in done}


def buckets(result: Result) -> Buckets:
    assert result.measurement is not None
    assert result.measurement.buckets is not None
    return result.measurement.buckets


# --- Bounds and means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (0, "under 2k"),
        (2047, "under 2k"),
        (2048, "2k to 8k"),
        (8191, "2k to 8k"),
        (8192, "8k to 32k"),
        (32767, "8k to 32k"),
        (32768, "32k and over"),
        (10**7, "32k and over"),
    ],
)
def test_a_length_falls_into_the_bucket_that_its_bounds_say(tokens: int, name: str) -> None:
    assert length_bucket(tokens) == name


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_share_cut_falls_into_the_bucket_that_its_bounds_say(first: int, second: int) -> None:
    tokens, seen = max(first, second), min(first, second)
    share = Fraction(tokens - seen, tokens) if tokens else Fraction(0)
    low, high = {
        "none": (Fraction(-1), Fraction(0)),
        "up to 50 %": (Fraction(0), Fraction(1, 2)),
        "50 to 90 %": (Fraction(1, 2), Fraction(9, 10)),
        "over 90 %": (Fraction(9, 10), Fraction(1)),
    }[cut_bucket(tokens, seen)]
    assert low < share <= high


def test_the_ends_of_a_share_belong_to_the_lower_bucket() -> None:
    assert [cut_bucket(10, seen) for seen in (10, 9, 5, 4, 1, 0)] == [
        "none",
        "up to 50 %",
        "up to 50 %",
        "50 to 90 %",
        "50 to 90 %",
        "over 90 %",
    ]
    assert cut_bucket(0, 0) == "none"


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.floats(0, 1), st.sampled_from("abc")), min_size=1))
def test_the_buckets_share_out_all_queries_and_their_mean(scored: dict[str, tuple[float, str]]) -> None:
    values = {query: value for query, (value, _) in scored.items()}
    means = bucket_means(values, {query: name for query, (_, name) in scored.items()}, "abcd")
    assert list(means) == sorted({name for _, name in scored.values()})
    assert sum(one.queries for one in means.values()) == len(values)
    assert sum(one.queries * one.mean for one in means.values()) == pytest.approx(sum(values.values()))
    for one in means.values():
        assert (one.low is None) == (one.high is None) == (one.queries == 1)
        if one.low is not None and one.high is not None:
            assert one.low - 1e-6 <= one.mean <= one.high + 1e-6  # a result is told in millionths


def test_of_several_relevant_documents_the_longest_counts_and_of_equal_ones_the_greatest_id() -> None:
    assert longest(["a", "b", "c"], {"a": 3, "b": 9, "c": 9}) == "c"
    assert longest(["c", "a"], {"a": 9, "c": 3}) == "a"


# --- From an evaluation to a result ----------------------------------------------------------------------------------


def test_an_encoder_under_strategies_says_what_each_cut_of_each_relevant_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window of 12 with 2 special tokens has room for 10."""
    encoder = WordEncoder(window=12)
    monkeypatch.setattr("loco.compose.ranker.load_model", lambda *_: encoder)
    asked = {f"q-{name}": {name: 1} for name in ("ten", "eleven", "forty", "many")} | {"q-again": {"ten": 1}}
    task = task_of({"ten": 10, "eleven": 11, "forty": 40, "many": 3000, "unasked": 500}, asked)
    found = evaluated(task, tmp_path, encoder.card, ["truncate", "chunk", "chunk-max", "late-chunk"])
    truncated = buckets(found["truncate(12)"])
    assert {name: (one.tokens, one.tokens_seen) for name, one in truncated.cut.items()} == {
        "eleven": (11, 10),
        "forty": (40, 10),
        "many": (3000, 10),
    }
    assert truncated.by_cut is not None
    assert {name: one.queries for name, one in truncated.by_cut.items()} == {
        "none": 2,
        "up to 50 %": 1,
        "50 to 90 %": 1,
        "over 90 %": 1,
    }
    assert {name: one.queries for name, one in truncated.by_length.items()} == {"under 2k": 4, "2k to 8k": 1}
    for strategy in set(found) - {"truncate(12)"}:
        whole = buckets(found[strategy])
        assert whole.cut == {}
        assert whole.by_cut is not None
        (one,) = whole.by_cut.items()
        total = found[strategy].metrics["ndcg@10"]
        assert (one[0], one[1].queries) == ("none", 5)
        assert (one[1].value, one[1].low, one[1].high) == (total.value, total.low, total.high)


def test_each_bucket_has_the_mean_of_its_own_queries(tmp_path: Path) -> None:
    """hash-512 reads every word of both; the long document hides the query's only word among others."""
    task = small_task(
        {"q1": "apple", "q2": "pear", "q3": "plum"},
        {"d1": "apple", "d2": " ".join(f"pear{i}" for i in range(1200)), "d3": "plum plum", "d4": "pear"},
        {"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d3": 1}},
    )
    result = evaluated(task, tmp_path, registered("hash-512"))["truncate(512)"]
    assert result.measurement is not None
    per_query, own = result.measurement.per_query, buckets(result)
    assert own.by_length["under 2k"].value == pytest.approx((per_query["q1"] + per_query["q3"]) / 2, abs=1e-6)
    assert own.by_length["2k to 8k"].value == pytest.approx(per_query["q2"], abs=1e-6)
    assert per_query["q2"] < per_query["q1"] == 1
    assert own.by_length["2k to 8k"].low is None  # of one query there is no interval
    assert own.cut["d2"].model_dump() == {"tokens": 1200, "tokens_seen": 512}


def test_bm25_cuts_nothing(tmp_path: Path) -> None:
    own = buckets(evaluated(task_of({"a": 9, "b": 9000}), tmp_path, registered("bm25"))["full"])
    assert own.cut == {}
    assert own.by_cut is not None
    assert {name: one.queries for name, one in own.by_cut.items()} == {"none": 2}
    assert {name: one.queries for name, one in own.by_length.items()} == {"under 2k": 1, "8k to 32k": 1}


def test_the_real_minilm_counts_the_reference_tokens_and_cuts_what_does_not_fit(tmp_path: Path) -> None:
    """Its tokenizer is the reference tokenizer: both ways to count must agree."""
    task = small_task()
    result = evaluated(task, tmp_path, registered(str(minilm())), ["truncate(8)"])["truncate(8)"]
    kept = json.loads((tmp_path / "data" / "mini" / "qmsum" / "reference_tokens.json").read_text())["tokens"]
    assert {name: one.tokens for name, one in buckets(result).cut.items()} == kept
    assert {one.tokens_seen for one in buckets(result).cut.values()} == {8 - 2}


@dataclass
class Told:
    """A retriever that says of the documents what it is told to."""

    card: ModelCard
    documents: TextCoverage | None

    def rank(self, task: TaskData, k: int) -> Ranking:
        hits = {query: [Hit(task.documents.ids[0], 1.0)] for query in task.queries.ids}
        none = TextCoverage(0, 0, 0, 0)
        return Ranking(hits, None if self.documents is None else Coverage(none, self.documents))


@pytest.mark.parametrize("documents", [None, TextCoverage(3, 1, 30, 20)])
def test_where_nobody_can_tell_what_was_cut_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: TextCoverage | None, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Told(model_card("told", "tests:none"), documents)
    monkeypatch.setattr("loco.compose.ranker.load_model", lambda *_: model)
    result = evaluated(small_task(), tmp_path, model.card)["full"]
    assert (buckets(result).by_cut, buckets(result).cut) == (None, {})
    assert buckets(result).by_length["under 2k"].queries == 2
    print_buckets([result])
    assert "how much was cut is not known" in capsys.readouterr().out


@pytest.mark.parametrize("by_text", [[(1, 1)] * 2, [(1, 2), (1, 1), (1, 1)], [(1, -1), (1, 1), (1, 1)]])
def test_a_coverage_that_cannot_be_true_is_refused(by_text: list[tuple[int, int]]) -> None:
    seen = TextCoverage(3, 1, 3, 3, by_text=by_text)
    with pytest.raises(LocoError, match=r"task 'qmsum'.*cannot be true\. The adapter has a bug"):
        buckets_of(small_task(), {"q1": 1.0, "q2": 0.0}, {"d1": 5, "d2": 5}, Coverage(seen, seen))


def test_a_query_counts_once_by_its_longest_relevant_document_even_where_a_shorter_one_is_cut() -> None:
    """As it may be: the model's tokens are not the reference tokens."""
    task = small_task(qrels={"q1": {"d1": 1, "d2": 1, "d3": 0}, "q2": {"d3": 1}})
    seen = TextCoverage(3, 1, 0, 0, by_text=[(100, 10), (20, 20), (5, 5)])
    found = buckets_of(task, {"q1": 0.25, "q2": 0.5}, {"d1": 10, "d2": 2048, "d3": 1}, Coverage(seen, seen))
    assert {name: (one.queries, one.value) for name, one in found.by_length.items()} == {
        "under 2k": (1, 0.5),
        "2k to 8k": (1, 0.25),
    }
    assert found.by_cut is not None
    assert {name: one.queries for name, one in found.by_cut.items()} == {"none": 2}
    assert set(found.cut) == {"d1"}


# --- Result files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    task = task_of({"short": 300, "long": 3000, "longer": 9000})
    evaluated(task, tmp_path, registered("hash-512"))
    (path,) = (tmp_path / "results").rglob("*.json")
    return path


def changed(path: Path, **changes: Any) -> Path:
    """The result with some fields of its buckets replaced; a dotted name is written with double underscores."""
    content = json.loads(path.read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        target = content["measurement"]["buckets"]
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(content))
    return path


def test_buckets_stand_in_the_file_shortest_first(result_file: Path) -> None:
    found = buckets(read_result(result_file))
    assert found.tokenizer == "bert-base-uncased"
    assert list(found.by_length) == ["under 2k", "2k to 8k", "8k to 32k"]
    assert set(found.by_length) < set(LENGTH_BUCKETS)
    assert list(found.by_cut or ()) == ["none", "50 to 90 %", "over 90 %"]
    assert set(found.by_cut or ()) < set(CUT_BUCKETS)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"by_length__under 2k__queries": 2}, "the buckets by length hold 4 queries of 3"),
        ({"by_length__under 2k__value": 0.25}, "the buckets by length average"),
        ({"by_cut__none__queries": 2}, "the buckets by share cut hold 4 queries of 3"),
        ({"by_cut__none__queries": 0}, "greater than or equal to 1"),
        ({"by_length": {}}, "at least 1 item"),
        ({"by_length__under 3k": {"queries": 1, "value": 1.0}}, "by_length"),
        ({"by_cut": None}, "not known what was cut"),
        ({"cut": {}}, "no document is called cut"),
        ({"cut__long__tokens_seen": 3000}, "called cut of which every token was seen"),
    ],
)
def test_buckets_that_cannot_be_true_are_refused(result_file: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocoError, match=complaint):
        read_result(changed(result_file, **changes))


def test_a_result_from_before_there_were_buckets_is_still_read_and_shown(
    result_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(result_file.read_text())
    del content["measurement"]["buckets"]
    result_file.write_text(json.dumps(content))
    result = read_result(result_file)
    assert result.measurement is not None
    assert result.measurement.buckets is None
    print_buckets([result])
    assert "1 result was measured before lengths were told" in capsys.readouterr().out


def test_the_table_has_a_line_for_each_bucket_that_holds_a_query(
    result_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_buckets([read_result(result_file)])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "By the relevant document, in tokens of bert-base-uncased"
    assert [line.rsplit(" ", 2)[0] for line in lines[2:]] == [
        "qmsum under 2k",
        "2k to 8k",
        "8k to 32k",
        "not cut",
        "50 to 90 % cut",
        "over 90 % cut",
    ]
    assert not [line for line in lines if "measured before" in line]


def test_reported_results_have_no_buckets_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((CHECKOUT / "results").rglob("qmsum.json"))
    measured = read_result(files[0])
    reported = measured.model_copy(update={"origin": "reported", "source": "a paper", "measurement": None})
    print_buckets([reported])
    assert capsys.readouterr().out == ""

"""What is trained on: pairs, negatives, batches, and never a test row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import small_task

from loco.errors import LocoError
from loco.models.registry import load_model, model_card
from loco.tasks.data import TaskData, write_task
from loco.training.card import TRAINING_CARD, TrainingCard, described, training_card
from loco.training.leaks import leaks
from loco.training.options import Finetuning, Pretraining
from loco.training.pairs import batches_without_answers, order, triples


def made_task(
    queries: Mapping[str, str], documents: Mapping[str, str], qrels: Mapping[str, Iterable[str]], name: str = "qmsum"
) -> TaskData:
    grades = {query: dict.fromkeys(relevant, 1) for query, relevant in qrels.items()}
    return replace(small_task(queries, documents, grades, name), split="train")


def numbered(queries: int, documents: int, name: str = "qmsum") -> TaskData:
    """Query i is about document i."""
    return made_task(
        {f"q{i}": f"{name} question {i}" for i in range(queries)},
        {f"d{i}": f"{name} answer {i}" for i in range(documents)},
        {f"q{i}": [f"d{i}"] for i in range(queries)},
        name,
    )


@settings(max_examples=30)
@given(queries=st.integers(1, 6), documents=st.integers(2, 12), negatives=st.integers(1, 12), seed=st.integers(0, 9))
def test_negatives_are_of_the_same_task_never_relevant_and_never_twice(
    queries: int, documents: int, negatives: int, seed: int
) -> None:
    tasks = [numbered(min(queries, documents), documents), numbered(1, 3, "gov_report")]
    made = triples(tasks, negatives, None, seed)
    for query in range(len(made.queries)):
        rows = made.rows[made.rows[:, 0] == query]
        kind, number = made.queries[query].split(" question ")
        texts = [made.documents[place] for place in rows[:, 2]]
        assert {made.documents[place] for place in rows[:, 1]} == {f"{kind} answer {number}"}
        assert f"{kind} answer {number}" not in texts
        assert all(text.startswith(kind) for text in texts)
        assert len(set(texts)) == len(texts) == min(negatives, (documents if kind == "qmsum" else 3) - 1)


def test_every_relevant_document_gets_its_own_negatives_and_its_copies_are_none() -> None:
    task = made_task(
        {"q": "which"}, {"a": "right one", "b": "right two", "copy": " right  one\n", "c": "wrong"}, {"q": ["a", "b"]}
    )
    made = triples([task], 5, None, 0)
    pairs = {(made.documents[positive], made.documents[negative]) for _, positive, negative in made.rows.tolist()}
    assert pairs == {("right one", "wrong"), ("right two", "wrong")}
    assert "1 negatives a pair instead of 5" in made.notes[0]


def test_a_task_without_anything_irrelevant_is_refused() -> None:
    task = made_task({"q": "which"}, {"a": "one", "b": "two"}, {"q": ["a", "b"]})
    with pytest.raises(LocoError, match=r"qmsum\.train has no document that is not relevant to query 'q'"):
        triples([task], 5, None, 0)


def test_what_answers_a_query_of_the_same_text_is_no_negative() -> None:
    documents = {f"d{i}": f"meeting {i}" for i in range(5)}
    asked = {"q0": "Summarize the meeting.", "q1": "Summarize  the meeting.", "q2": "Who came?"}
    made = triples([made_task(asked, documents, {"q0": ["d0"], "q1": ["d1"], "q2": ["d2"]})], 9, None, 0)
    negatives = [{int(row[2]) for row in made.rows if row[0] == query} for query in range(3)]
    assert negatives == [{2, 3, 4}, {2, 3, 4}, {0, 1, 3, 4}]
    assert made.relevant[0] == made.relevant[1] == frozenset({0, 1})


def test_a_cap_draws_queries_by_the_seed_and_the_same_ones_whatever_stands_beside() -> None:
    task, other = numbered(40, 40), numbered(40, 40, "gov_report")
    alone = triples([task], 2, 5, 1)
    assert len(alone.queries) == 5
    assert alone.counts == (5,)
    beside = triples([task, other], 2, 5, 1)
    assert beside.queries[:5] == alone.queries
    np.testing.assert_array_equal(beside.rows[:10], alone.rows)
    assert triples([task], 2, 5, 2).queries != alone.queries


def test_a_task_made_twice_over_gives_negatives_of_its_own_folder_alone() -> None:
    one, other = numbered(3, 6), made_task({"q0": "new"}, {f"d{i}": f"more {i}" for i in range(6)}, {"q0": ["d0"]})
    made = triples([one, other], 5, None, 0)
    assert made.counts == (3, 1)
    rows = made.rows[made.rows[:, 0] == 3]
    assert {made.documents[place] for place in rows[:, 2]} == {f"more {i}" for i in range(1, 6)}


def test_hard_negatives_are_what_bm25_ranks_highest() -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven"]
    task = made_task(
        {"q": "red cat sleeps"},
        {
            "right": "red cat sleeps here",
            "near": "a red cat sleeps too",
            "half": "the cat is black",
            **{word: f"nothing {word}" for word in words},
        },
        {"q": ["right"]},
    )
    bm25 = load_model(model_card("bm25"))
    hard: Any = bm25
    made = triples([task], 3, None, 0, hard=hard)
    texts = [made.documents[place] for place in made.rows[:, 2]]
    assert texts[:2] == ["a red cat sleeps too", "the cat is black"]
    assert texts[2].startswith("nothing")  # nothing else shares a word, so the rest is drawn


@settings(max_examples=30)
@given(st.data())
def test_a_batch_holds_no_answer_to_another_of_its_queries(data: st.DataObject) -> None:
    documents = data.draw(st.integers(3, 8))
    relevant = data.draw(
        st.lists(st.sets(st.integers(0, documents - 1), min_size=1, max_size=2), min_size=1, max_size=6)
    )
    task = made_task(
        {f"q{i}": f"question {i}" for i in range(len(relevant))},
        {f"d{i}": f"answer {i}" for i in range(documents)},
        {f"q{i}": [f"d{place}" for place in places] for i, places in enumerate(relevant)},
    )
    made = triples([task], 2, None, 3)
    batches = list(batches_without_answers(made, 3, 0, 4))
    assert sorted(row for batch in batches for row in batch) == list(range(len(made.rows)))
    for batch in batches:
        assert 1 <= len(batch) <= 4
        rows = made.rows[batch]
        assert len(set(rows[:, 0])) == len(batch)
        shown = rows[:, 1:].ravel().tolist()
        assert len(set(shown)) == len(shown)
        for row in rows:
            others = {int(made.groups[place]) for other in rows if other is not row for place in other[1:]}
            assert not others & made.relevant[row[0]] or {int(made.groups[row[1]])} >= others & made.relevant[row[0]]


def test_an_order_is_a_permutation_of_its_own_for_each_epoch() -> None:
    first, second = order(7, 0, 50), order(7, 1, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first.tolist() != second.tolist()
    assert order(7, 0, 50).tolist() == first.tolist()


# --- never a test row


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_task(small_task(), tmp_path)
    return tmp_path


def test_a_query_that_is_tested_is_found_in_any_task_white_space_aside(data: Path) -> None:
    write_task(small_task({"q9": "another task's question"}, qrels={"q9": {"d1": 1}}, name="gov_report"), data)
    train = made_task(
        {"a": "  another task's\nquestion", "b": "new"},
        {"x": "text one", "y": "Nobody  said anything of substance."},
        {"a": ["x"], "b": ["y"]},
    )
    found = leaks([train], data)
    assert found.queries == {(0, "a")}
    assert "query 'a' of qmsum.train is query 'q9' of gov_report" in found.told
    assert found.documents == 1
    made = triples([train], 1, None, 0, found.queries)
    assert list(made.queries) == ["new"]


def test_a_query_that_is_tested_in_another_variant_is_found_too(data: Path) -> None:
    tested = small_task({"q9": "asked elsewhere"}, qrels={"q9": {"d1": 1}})
    write_task(replace(tested, variant="release"), data)
    found = leaks([made_task({"a": "asked elsewhere"}, {"x": "text one", "y": "two"}, {"a": ["x"]})], data)
    assert found.queries == {(0, "a")}
    assert found.told.endswith("is query 'q9' of qmsum (release)")


def test_nothing_shared_is_nothing_found(data: Path) -> None:
    found = leaks([numbered(3, 4)], data)
    assert (found.queries, found.documents) == (frozenset(), 0)


def test_without_the_test_split_nobody_can_tell(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match=r"Nobody can tell whether test rows are trained on.*loco build-data qmsum"):
        leaks([numbered(3, 4)], tmp_path)


# --- options and cards


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": "hinge"}, "--loss hinge is unknown"),
        ({"negatives_from": "colbert"}, "--negatives-from colbert is unknown"),
        ({"lr": float("nan")}, "--lr nan is no learning rate"),
        ({"lr": 0.0}, "--lr 0.0 is no learning rate"),
        ({"batch": 0}, "--batch 0 is too small"),
        ({"max_queries": 0}, "--max-queries 0 is too small"),
        ({"seed": 2**40}, "--seed"),
        ({"dtype": "float16"}, "--dtype float16 is unknown"),
    ],
)
def test_options_that_cannot_be_are_told_in_a_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(LocoError, match=said):
        Finetuning(**wrong)


def test_shares_outside_their_range_are_told_in_a_line() -> None:
    with pytest.raises(LocoError, match=r"--variable 1\.5 is no share"):
        Pretraining(steps=1, variable=1.5)
    with pytest.raises(LocoError, match=r"--masked 0\.0 masks nothing"):
        Pretraining(steps=1, masked=0.0)


def test_what_only_changes_how_a_run_is_computed_does_not_make_it_another() -> None:
    assert Finetuning(micro_batch=8, save_every=3, device="cpu").deciding == Finetuning().deciding
    assert Finetuning(seed=1).deciding != Finetuning().deciding


def card(**fields: Any) -> TrainingCard:
    about = {"schema_version": 1, "made_by": "loco train", "trained_on_loco": True, "start": "x@1", "settings": {}}
    about |= {"identity": "0" * 64, "steps": 3, "loss": 0.5, "version": "0", "command": "loco train"}
    return TrainingCard.model_validate(about | fields)


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = card(start_card=card(made_by="loco pretrain", trained_on_loco=False))
    (tmp_path / TRAINING_CARD).write_text(written.model_dump_json())
    assert training_card(tmp_path) == written
    (tmp_path / "model.safetensors").touch()
    assert training_card(tmp_path / "model.safetensors") == written
    assert training_card(tmp_path / "nothing") is None
    assert described(None) == ""


@pytest.mark.parametrize("content", ["", "{", '{"made_by": "loco train"}', "[" * 100_000, "x" * (1 << 20) + "x"])
def test_a_damaged_card_is_told_and_never_taken_for_none(content: str, tmp_path: Path) -> None:
    (tmp_path / TRAINING_CARD).write_text(content)
    with pytest.raises(LocoError, match=r"loco\.json is .*get the folder again"):
        training_card(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"tool": "another", "version": 3}'])
def test_a_file_of_that_name_from_another_tool_is_no_card(content: str, tmp_path: Path) -> None:
    (tmp_path / TRAINING_CARD).write_text(content)
    assert training_card(tmp_path) is None

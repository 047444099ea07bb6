"""What a review of training has found: each of these was wrong once."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about what the libraries do among themselves while they are imported
    import torch

    from loco.training import masked as pretraining
    from loco.training import retrieval, trainer
    from loco_adapters.m2bert import M2BertForMaskedLM

from tasks import small_task
from tiny_training import (
    SHAPE,
    WINDOW,
    after_step,
    corpus,
    corpus_text,
    ctrl_c,
    curve,
    pretrained,
    tasks_in,
    train_task,
    tuned,
    untrained,
    weights,
)

from loco.errors import LocoError
from loco.tasks.data import TaskData, write_task
from loco.training.card import described
from loco.training.corpora import corpora
from loco.training.leaks import leaks
from loco.training.options import Finetuning
from loco.training.pairs import batches_without_answers, triples
from loco.training.run import TrainingInterrupted
from loco_adapters.m2bert.configuration import M2BertConfig

_SUBNORMAL = torch.tensor(1e-39)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def model(home: Path) -> Path:
    return untrained(home / "tiny")


@pytest.fixture(scope="module")
def data(home: Path) -> Path:
    return tasks_in(home / "data")


def split(queries: dict[str, str], documents: dict[str, str], answers: dict[str, str]) -> TaskData:
    return replace(small_task(queries, documents, {q: {d: 1} for q, d in answers.items()}), split="train")


# --- pads


def test_a_model_that_reads_no_pads_reads_none_while_it_is_pretrained() -> None:
    shape = {**SHAPE, "pad_to_window": False, "initializer_range": 0.2}
    torch.manual_seed(3)
    masked_model = M2BertForMaskedLM(M2BertConfig(vocab_size=64, **shape))
    ids = np.array([2, *range(10, 20), 3])
    sample = {"input_ids": ids, "labels": np.where(ids % 3 == 0, ids, -100)}
    filled = pretraining.collated([sample], WINDOW, 0)
    alone = {name: torch.from_numpy(value)[None] for name, value in sample.items()}
    losses = []
    for batch in (filled, alone):
        masked_model.zero_grad()
        loss: Any = masked_model(**batch).loss
        loss.backward()
        losses.append(
            (float(loss.detach()), masked_model.bert.encoder.layer[0].attention.in_linear.weight.grad.clone())
        )
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    torch.testing.assert_close(losses[0][1], losses[1][1], rtol=1e-3, atol=1e-6)


# --- never a test row


def test_equal_ids_in_two_folders_are_two_queries() -> None:
    one = split({"q": "tested"}, {"a": "one", "b": "two"}, {"q": "a"})
    other = split({"q": "fresh"}, {"a": "three", "b": "four"}, {"q": "a"})
    made = triples([one, other], 1, None, 0, frozenset({(0, "q")}))
    assert made.queries == ["fresh"]
    assert made.counts == (0, 1)


def test_a_tested_query_is_found_in_another_case_and_encoding(tmp_path: Path) -> None:
    write_task(small_task({"t": "Where is the caf\u00e9?"}, qrels={"t": {"d1": 1}}), tmp_path)
    asked = {"a": "where is the CAFE\u0301?", "b": "where is the cafe"}
    found = leaks([split(asked, {"x": "one", "y": "two"}, {"a": "x", "b": "y"})], tmp_path)
    assert found.queries == {(0, "a")}


def test_a_test_split_built_after_a_run_was_stopped_is_looked_at(
    home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tasks_in(home / "grows")
    tuned(model, where, home / "grown", drop_overlap=True, max_steps=1)
    after_step(monkeypatch, 2, ctrl_c)
    with pytest.raises(TrainingInterrupted):
        tuned(model, where, home / "growing", drop_overlap=True)
    monkeypatch.undo()
    write_task(small_task({"t": "remote question 101"}, qrels={"t": {"d1": 1}}, name="2wikimqa"), where)
    with pytest.raises(LocoError, match=r"its left out was \[\], not \[\[0, 'q1'\]\]"):
        tuned(model, where, home / "growing", drop_overlap=True)
    with pytest.raises(LocoError, match="made by another command or from other data"):
        tuned(model, where, home / "grown", drop_overlap=True, max_steps=1)


# --- batches


def test_what_answers_a_query_of_the_same_text_in_another_split_is_wrong_for_neither() -> None:
    one = split({"q": "Summarize it."}, {f"d{i}": f"html {i}" for i in range(4)}, {"q": "d0"})
    other = split({"q": "Summarize  it."}, {f"d{i}": f"plain {i}" for i in range(4)}, {"q": "d0"})
    made = triples([one, other], 0, None, 0)
    assert made.relevant[0] == made.relevant[1] == {made.groups[0], made.groups[4]}
    assert not any(len(batch) > 1 for batch in batches_without_answers(made, 0, 0, 2))
    shared = split({"q": "Summarize it."}, {"a": "html 1", "b": "plain 0", "c": "else"}, {"q": "a"})
    rows = triples([other, shared], 3, None, 0).rows
    assert [row[2] for row in rows.tolist() if row[0] == 1] == [6]  # neither its own answer nor the other split's


def test_a_batch_of_one_pair_alone_is_no_step(home: Path, model: Path) -> None:
    where = home / "lone"
    write_task(small_task(), where)
    write_task(train_task(queries=5), where)
    made = tuned(model, where, home / "pairs", loss="ranking", negatives=0, batch=2, micro_batch=2, epochs=1)
    assert made.card.steps == 2  # of five pairs
    write_task(train_task(queries=1), where)
    with pytest.raises(LocoError, match="No two queries go into a batch together"):
        tuned(model, where, home / "one-pair", loss="ranking", negatives=0)


def test_a_run_of_one_step_learns(home: Path, model: Path, data: Path) -> None:
    made = tuned(model, data, home / "one-step", max_steps=1, epochs=1).folder
    before = {name.removeprefix("bert."): value for name, value in weights(model).items()}
    assert any(not torch.equal(value, before[name]) for name, value in weights(made).items() if name in before)


@pytest.mark.parametrize("loss", ["ranking", "orthogonal"])
def test_several_processes_share_every_batch_the_short_ones_too(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.data_loader import BatchSamplerShard

    monkeypatch.setenv("WORLD_SIZE", "2")
    made = triples([train_task(queries=5, documents=14)], 1, None, 3)
    chosen = Finetuning(loss=loss, batch=4, micro_batch=2)
    examples = retrieval.Examples(made, loss, {})
    batches: Any = retrieval.Batches(examples, made, chosen, 2)
    one, other = (list(BatchSamplerShard(batches, 2, rank, even_batches=False)) for rank in range(2))
    assert list(map(len, one)) == list(map(len, other))
    assert len(one) == retrieval.steps_of(examples, made, chosen)
    assert [part for both in zip(one, other, strict=True) for part in both] == list(batches)
    whole = [len(batch) // 2 * 2 for batch in batches_without_answers(made, 42, 0, 4)]
    assert sum(map(len, batches)) == (sum(whole) if loss == "ranking" else len(examples))


# --- cards and corpora


def test_pretraining_on_a_train_split_is_training_on_loco(home: Path, data: Path) -> None:
    made = pretrained(data / "mini" / "qmsum.train", home / "on-loco", steps=1, vocabulary=80).card
    assert made.trained_on_loco
    (only,) = made.trained_on
    assert (only.task, only.split, only.queries, only.documents) == ("qmsum", "train", 6, 8)
    assert described(made) == "; pretrained by loco on qmsum (mini)"
    again = pretrained(data / "mini" / "qmsum.train" / "documents.parquet", home / "part", steps=1, vocabulary=80).card
    assert (again.trained_on[0].queries, again.trained_on[0].documents) == (0, 8)


def test_a_task_from_two_folders_is_named_once(home: Path, model: Path, data: Path) -> None:
    made = tuned(model, data, home / "twice", max_steps=1, train_data=(data, data)).card
    assert described(made) == "; trained by loco on qmsum (mini)"


def test_only_files_are_read_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "book.txt").mkdir()
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (only,) = corpora([str(tmp_path)])[0].shards
    assert only.name == str(tmp_path / "a.txt")
    with pytest.raises(LocoError, match="There is no corpus"):
        corpora(["x" * 5000 + "=2"])


def test_what_is_made_is_never_read_as_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(corpus_text())
    with pytest.raises(LocoError, match="would lie in"):
        pretrained(tmp_path, tmp_path / "made", steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_start_may_be_a_file_and_a_window_of_0_is_none(home: Path) -> None:
    whole = pretrained(corpus(home), home / "whole", steps=1).folder
    more = pretrained(
        corpus(home), home / "more", shape=None, vocabulary=None, start=whole / "model.safetensors", steps=1
    )
    assert more.card.start_card is not None
    with pytest.raises(LocoError, match="max_position_embeddings is 0"):
        pretrained(corpus(home), home / "none", window=0, steps=1)


def test_a_curve_of_several_steps_a_line_is_the_same_after_a_stop(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_LINES", 2)  # as runs of more than 2,000 steps have it
    whole = pretrained(corpus(home), home / "lines").folder
    assert [step for step, _ in curve(whole)] == [3, 6]
    after_step(monkeypatch, 4, ctrl_c)
    with pytest.raises(TrainingInterrupted):
        pretrained(corpus(home), home / "cut-lines")
    monkeypatch.undo()
    monkeypatch.setattr(trainer, "_LINES", 2)
    assert curve(pretrained(corpus(home), home / "cut-lines").folder) == curve(whole)


def test_a_document_that_stands_in_a_pool_twice_is_one_negative() -> None:
    twice = split({"q": "which"}, {"a": "right", "b": "wrong", "c": "wrong ", "d": "other"}, {"q": "a"})
    for seed in range(5):
        rows = triples([twice], 2, None, seed).rows
        assert sorted(rows[:, 2].tolist()) == [1, 3]


def test_vectors_of_models_that_pad_are_known_by_what_they_were() -> None:
    from loco_adapters.m2bert.encoder import _shape

    assert "pad_to_window" not in _shape(M2BertConfig())
    assert '"pad_to_window": false' in _shape(M2BertConfig(pad_to_window=False))


def test_training_takes_subnormal_numbers_for_zero_and_leaves_no_trace_of_it(
    home: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take a processor some hundred times as long; what runs in the process afterwards computes as before."""
    seen = []
    after_step(monkeypatch, 1, lambda: seen.append(float(_SUBNORMAL * 2)))
    pretrained(corpus(home), home / "flushed-pretraining", steps=1)
    tuned(model, data, home / "flushed-tuning", max_steps=1)
    assert seen == [0.0, 0.0]
    assert float(_SUBNORMAL * 2) > 0

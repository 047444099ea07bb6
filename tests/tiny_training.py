"""A tiny M2-BERT, tasks for it, and runs of both kinds of training; models this small lose by a second thread."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import small_task

from loco.tasks.data import TaskData, write_task
from loco.training import trainer
from loco.training.card import training_card
from loco.training.corpora import corpora
from loco.training.finetune import train
from loco.training.options import Finetuning, Pretraining
from loco.training.pretrain import pretrain
from loco.training.run import Outcome
from loco.training.vocabulary import train_wordpiece
from loco_adapters.m2bert.training import M2BertFamily

torch.set_num_threads(1)
gc.freeze()  # accelerate collects garbage as each run begins, through all that the libraries have made by now

WINDOW = 24
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "max_position_embeddings": WINDOW,
    "hyena_filter_order": 8,
    "hidden_dropout_prob": 0.0,
}
WORDS = ("budget", "remote", "control", "meeting", "monday", "lunch", "euros", "fifty", "next", "agreed", "price")


def text(number: int, words: int = 30) -> str:
    """A text of its own for each number."""
    return " ".join(WORDS[(number * 7 + at * (number % 5 + 1)) % len(WORDS)] for at in range(words)) + f" no {number}"


@cache
def corpus_text() -> str:
    return "".join(json.dumps({"text": text(number)}) + "\n" for number in range(60))


def after_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do something each time that a step is over, before training looks at what it has been told."""
    before = trainer._Watch.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **about: Any) -> None:
        if state.global_step == step:
            act()
        before(self, args, state, control, **about)

    monkeypatch.setattr(trainer._Watch, "on_step_end", on_step_end)


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def corpus(folder: Path) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text(corpus_text())
    return path


def untrained(folder: Path) -> Path:
    """A folder with a tiny masked language model, as ``loco pretrain`` leaves it, and a vocabulary of its own."""
    folder.mkdir(parents=True)
    train_wordpiece(corpora([str(corpus(folder))]), 120, folder / "words.json")
    family = M2BertFamily()
    tokenizer = family.tokenizer(folder / "words.json")
    # Weights large enough for texts to differ before anything is learnt.
    model = family.fresh({**SHAPE, "hidden_dropout_prob": 0.1, "initializer_range": 0.15}, len(tokenizer), 1)
    family.save_masked(model, tokenizer, folder)
    return folder


def train_task(name: str = "qmsum", queries: int = 6, documents: int = 8, first: int = 100) -> TaskData:
    task = small_task(
        {f"q{i}": f"{WORDS[i]} question {first + i}" for i in range(queries)},
        {f"d{i}": text(first + i) for i in range(documents)},
        {f"q{i}": {f"d{i}": 1} for i in range(queries)},
        name,
    )
    return replace(task, split="train")


def tasks_in(folder: Path) -> Path:
    """A data folder with a test split of one task and its train split."""
    write_task(small_task(), folder)
    write_task(train_task(), folder)
    return folder


def tuned(model: Path, data: Path, out: Path, **changes: Any) -> Outcome:
    """``loco train`` in 2 epochs of 6 steps of 8 pairs."""
    options = {name: changes.pop(name) for name in list(changes) if name in Finetuning.__dataclass_fields__}
    chosen = Finetuning(
        **{"batch": 8, "micro_batch": 8, "negatives": 4, "epochs": 2, "lr": 1e-3, "device": "cpu", **options}
    )
    return train(str(model), ["qmsum"], "mini", out, chosen, data=data, **changes)


def pretrained(source: Path, out: Path, **changes: Any) -> Outcome:
    """``loco pretrain`` in 6 steps of 4 samples."""
    options = {name: changes.pop(name) for name in list(changes) if name in Pretraining.__dataclass_fields__}
    chosen = Pretraining(**{"steps": 6, "batch": 4, "micro_batch": 4, "lr": 1e-3, "device": "cpu", **options})
    about: dict[str, Any] = {"shape": SHAPE, "vocabulary": 120, **changes}
    return pretrain([str(source)], out, chosen, **about)


def curve(folder: Path) -> list[tuple[int, float]]:
    """The steps and losses of a run, as they stand in its file."""
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    card, its = training_card(one), training_card(other)
    assert card is not None
    assert its is not None
    assert card.identity == its.identity

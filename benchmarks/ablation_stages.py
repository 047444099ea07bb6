"""The stages of an ablation, run: data, vocabulary, pretraining, fine-tuning, and what is measured of the result.

A stage's folder is named by a hash of all that it is made of, so that tables share what they have in common, and a
stage that is finished is not run again. Beside it stands a record of what it took.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from ablation_plan import Data, Stage, Table

from loco.evaluation import evaluate
from loco.files import write_atomically
from loco.score.metrics import PRIMARY
from loco.tasks.build import build_data
from loco.tasks.builders.mini import VERSION
from loco.tasks.data import Split, TaskData, Variant, read_manifest, read_task
from loco.training.corpora import corpora
from loco.training.finetune import train
from loco.training.options import Finetuning
from loco.training.pairs import Triples, number_of, triples
from loco.training.pretrain import FAMILY, pretrain
from loco.training.run import Outcome
from loco.training.samples import Marks, Mixture, masked
from loco.training.vocabulary import train_wordpiece

VARIANT: Variant = "mini"
HELD_OUT_SAMPLES = 128
HELD_OUT_SHARE = 0.15  # of the tokens to be predicted, as the paper measures
HELD_OUT_SEED = 0  # the same samples for every arm and seed

_DEPTH = 10


@dataclass(frozen=True)
class Cost:
    """What a stage took: wall seconds (None where a kill has lost them), and what its model read in training.

    ``texts`` are queries and documents; ``tokens`` those of pretraining samples without padding, ``positions`` with it.
    """

    seconds: float | None = 0.0
    texts: int = 0
    tokens: int = 0
    positions: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            None if self.seconds is None or other.seconds is None else self.seconds + other.seconds,
            self.texts + other.texts,
            self.tokens + other.tokens,
            self.positions + other.positions,
        )


class Bench:
    """Data and stages below a folder."""

    def __init__(self, out: Path, data: Data, command: str) -> None:
        self._command = command
        self._data = data
        self._described = {"mini": VERSION, **data.model_dump(mode="json")}
        self._root = out / f"data-{_hashed(self._described)}"
        self._stages, self._results, self._cache = out / "stages", out / "results", out / "embeddings"
        self._tests, self._passages = self._root / "test", self._root / "passages.jsonl"
        self._held_out, self._tokenizer = self._root / "held-out.jsonl", self._root / "tokenizer.json"

    @property
    def _trains(self) -> list[Path]:
        return [self._root / "train" / str(seed) for seed in self._data.train]

    def prepare(self) -> None:
        """Generate the tasks, and write their passages and a vocabulary made of them; what is there is kept."""
        for task in self._data.tasks:
            _built(task, "test", None, self._tests)
            for seed, folder in zip(self._data.train, self._trains, strict=True):
                _built(task, "train", seed, folder)
            _built(task, "train", self._data.held_out, self._root / "held-out")
        self._write_passages(self._passages, self._trains)
        self._write_passages(self._held_out, [self._root / "held-out"])
        if not self._tokenizer.is_file():
            _say(f"Making a vocabulary of {self._data.vocabulary:,} words.")
            train_wordpiece(corpora([str(self._passages)]), self._data.vocabulary, self._tokenizer)

    def made(self, table: Table, model: str, seed: int) -> tuple[Path, Cost]:
        """The folder of a model, and what its stages together took; those that are not there yet are run.

        The seconds are also those of its teacher's stages, what was read is that of its own.
        """
        folders: dict[str, Path] = {}
        costs: dict[str, Cost] = {}
        for name in table.chain(model):
            stage = table.stages[name]
            folder = self._stages / f"{name}-{seed}-{_hashed(self._recipe(table, name, seed))}"
            folders[name] = folder
            start = None if stage.start is None else folders[stage.start]
            with _recording(folder) as record:
                if stage.do == "pretrain":
                    outcome = self._pretrained(table, stage, seed, start, folder)
                else:
                    outcome = self._trained(table, stage, seed, folders, folder)
                if record.cost.texts + record.cost.tokens == 0:
                    record.cost = replace(self._read(table, stage, seed, outcome), seconds=record.cost.seconds)
            if not outcome.reused:
                _say(f"{table.name}, seed {seed}: made '{name}'.")
            costs[name] = record.cost
        own = sum((costs[name] for name in table.line(model)), Cost())
        return folders[model], replace(own, seconds=sum(costs.values(), Cost()).seconds)

    def figures(self, table: Table, folder: Path) -> dict[str, float]:
        """What is measured of a model: nDCG@10 by task, or the share of masked tokens that it predicts."""
        if table.measure == "accuracy":
            return {"held-out texts": self._accuracy(folder)}
        return {
            task: evaluate(str(folder), task, VARIANT, data=self._tests, out=self._results, cache=self._cache)
            .metrics[PRIMARY]
            .value
            for task in self._data.tasks
        }

    def chance(self, table: Table) -> dict[str, float]:
        """The same for what has learnt nothing: documents in a random order; always the most frequent word."""
        if table.measure == "accuracy":
            wanted = [
                label for _, labels in self._masked(self._window(table)) for label in labels.tolist() if label > 0
            ]
            return {"held-out texts": max(map(wanted.count, set(wanted))) / len(wanted)}
        return {task: expected_at_random(read_task(self._tests, VARIANT, task)) for task in self._data.tasks}

    def _recipe(self, table: Table, name: str, seed: int) -> dict[str, Any]:
        """All that decides a stage's model."""
        stage = table.stages[name]
        pretrains = stage.do == "pretrain"
        chosen = table.pretraining(stage, seed) if pretrains else table.finetuning(stage, seed)
        return {
            "do": stage.do,
            "data": self._described,
            "shape": table.shared.shape,
            "settings": chosen.deciding,
            "window": stage.window,
            "features": stage.features,
            "start": None if stage.start is None else self._recipe(table, stage.start, seed),
            "teacher": None if stage.teacher is None else self._recipe(table, stage.teacher, seed),
        }

    def _pretrained(self, table: Table, stage: Stage, seed: int, start: Path | None, folder: Path) -> Outcome:
        return pretrain(
            [str(self._passages)],
            folder,
            table.pretraining(stage, seed),
            shape=table.shared.shape if start is None else None,
            start=start,
            window=stage.window,
            features=stage.features,
            tokenizer=self._tokenizer if start is None else None,
            command=self._command,
        )

    def _trained(self, table: Table, stage: Stage, seed: int, folders: dict[str, Path], folder: Path) -> Outcome:
        return train(
            str(folders[stage.start or ""]),
            self._data.tasks,
            VARIANT,
            folder,
            table.finetuning(stage, seed),
            data=self._tests,
            train_data=self._trains,
            teacher=None if stage.teacher is None else str(folders[stage.teacher]),
            cache=self._cache,
            command=self._command,
        )

    def _read(self, table: Table, stage: Stage, seed: int, outcome: Outcome) -> Cost:
        """What a model has read in a stage."""
        steps = outcome.card.steps
        if stage.do == "train":
            trains = [read_task(folder, VARIANT, task, "train") for folder in self._trains for task in self._data.tasks]
            return Cost(texts=texts_read(trains, table.finetuning(stage, seed), steps))
        chosen = table.pretraining(stage, seed)
        window = int(outcome.card.settings["window"] or 0)
        words, marks = self._words()
        mixture = Mixture(corpora([str(self._passages)]), words, marks, window, chosen.variable, chosen.seed)
        samples = steps * chosen.batch
        return Cost(tokens=sum(len(mixture.next()[1]) for _ in range(samples)), positions=samples * window)

    def _accuracy(self, folder: Path) -> float:
        import torch

        from loco.training.families import masked_family
        from loco.training.masked import collated

        model: Any = masked_family(FAMILY).pretrained(folder, None, "tiled", allow_pickle=False).eval()
        window = model.config.max_position_embeddings
        right = predicted = 0
        with torch.inference_mode():
            for shown, labels in self._masked(window):
                batch = collated([{"input_ids": shown, "labels": labels}], window, 0)
                counted = batch["labels"] > 0
                best = model(batch["input_ids"]).logits[counted].argmax(-1)
                right += int((best == batch["labels"][counted]).sum())
                predicted += int(counted.sum())
        return right / predicted

    def _masked(self, window: int) -> Iterator[tuple[Any, Any]]:
        """Samples of texts that nothing was trained on, each filling the window: what is shown, and the labels."""
        words, marks = self._words()
        mixture = Mixture(corpora([str(self._held_out)]), words, marks, window, 0.0, HELD_OUT_SEED)
        for _ in range(HELD_OUT_SAMPLES):
            number, ids = mixture.next()
            yield masked(ids, HELD_OUT_SHARE, marks, [HELD_OUT_SEED, number_of("held out"), number])

    def _window(self, table: Table) -> int:
        """The window that all arms of a table have in the end."""
        return table.stages[table.arms[0].model].window or 0

    def _words(self) -> tuple[Any, Marks]:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._tokenizer))
        known = tokenizer.get_vocab()
        marks = Marks(known["[CLS]"], known["[SEP]"], known["[PAD]"], known["[MASK]"], len(known))
        return lambda text: tokenizer.encode(text, add_special_tokens=False).ids, marks

    def _write_passages(self, path: Path, folders: list[Path]) -> None:
        """The queries and the paragraphs of the documents of some train splits, each a text of its own."""
        if path.is_file():
            return
        lines = []
        for folder in folders:
            for task in self._data.tasks:
                read = read_task(folder, VARIANT, task, "train")
                for text in (*read.documents.texts, *read.queries.texts):
                    lines += [json.dumps({"text": part}) for part in text.split("\n\n") if part.strip()]
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def texts_read(trains: Sequence[TaskData], chosen: Finetuning, steps: int) -> int:
    """How many queries and documents go through a model in the first ``steps`` steps of fine-tuning.

    Some batches are smaller than asked for: at the end of an epoch, and where few rows are left that go together.
    """
    from loco.training.retrieval import Batches, Examples, Prototypes

    rows = triples(trains, chosen.negatives, chosen.max_queries, chosen.seed)
    shown: Triples | Prototypes = rows
    if chosen.loss == "prototype":
        documents = {rows.documents[place] for place in np.unique(rows.rows[:, 1:])}
        texts = [*documents, *set(rows.queries)]
        shown = Prototypes(texts, np.empty((len(texts), 0), dtype=np.float32))
    examples = Examples(shown, chosen.loss, {})
    batches = Batches(examples, shown, chosen, chosen.batch)
    sizes: list[int] = []
    for epoch in count():
        batches.set_epoch(epoch)
        sizes += map(len, batches)
        if len(sizes) >= steps:
            break
    return sum(sizes[:steps]) * texts_in_a_row(chosen)


def texts_in_a_row(chosen: Finetuning) -> int:
    """How many texts an example of fine-tuning has."""
    if chosen.loss == "prototype":
        return 1
    return 3 if chosen.loss == "ranking" and chosen.negatives else 2


def expected_at_random(task: TaskData) -> float:
    """The mean over the queries of what nDCG@10 is on average over all orders of a task's documents."""
    gains = [1 / log2(place + 2) for place in range(_DEPTH)]
    documents = len(task.documents)
    found = []
    for query in task.queries.ids:
        relevant = sum(grade > 0 for grade in task.qrels[query].values())
        found.append(relevant / documents * sum(gains[:documents]) / sum(gains[:relevant]))
    return sum(found) / len(found)


class _Record:
    """What a stage took, over all the times that it was begun. One that is begun says so, for a kill to show."""

    def __init__(self, folder: Path) -> None:
        self._path = folder.with_name(f"{folder.name}.json")
        self.written = self._path.is_file()
        said = json.loads(self._path.read_text()) if self.written else {"begun": folder.exists()}
        self._lost = said.pop("begun")
        self.cost = Cost(**said)

    def begin(self) -> None:
        self._write(begun=True)

    def end(self, seconds: float) -> None:
        known = None if self._lost or self.cost.seconds is None else self.cost.seconds + seconds
        self.cost = replace(self.cost, seconds=known)
        self._write(begun=False)

    def _write(self, *, begun: bool) -> None:
        write_atomically(self._path, json.dumps({"begun": begun, **asdict(self.cost)}).encode())


@contextmanager
def _recording(folder: Path) -> Iterator[_Record]:
    """The record of a stage, to whose seconds those within are added; that of a finished stage stays as it stands."""
    record = _Record(folder)
    if folder.exists() and record.written:
        yield record
        return
    record.begin()
    start = time.perf_counter()
    try:
        yield record
    finally:
        record.end(time.perf_counter() - start)


def _built(task: str, split: Split, seed: int | None, folder: Path) -> None:
    if read_manifest(folder, VARIANT, task, split) is None:
        build_data(task, VARIANT, split=split, seed=seed, out=folder)


def _hashed(described: Any) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

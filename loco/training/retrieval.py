"""Fine-tuning for retrieval: pairs of texts, three losses, sentence-transformers' trainer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    CosineSimilarityLoss,
    MSELoss,
    MultipleNegativesRankingLoss,
)
from torch.utils.data import DataLoader, Dataset

from loco.errors import LocoError
from loco.rank.ranking import Float32
from loco.training.options import Finetuning
from loco.training.pairs import Triples, batches_without_answers, order
from loco.training.run import Work, processes
from loco.training.trainer import WholeTrainer, arguments, bfloat16


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Texts, with their prompts, and what the teacher makes of each: shape (texts, dim)."""

    texts: Sequence[str]
    vectors: Float32


class Examples(Dataset[dict[str, Any]]):
    """What a loss is shown, by number; texts are looked up when they are needed, as they are long."""

    def __init__(self, made: Triples | Prototypes, loss: str, prompts: Mapping[str, str]) -> None:
        self._made, self._loss = made, loss
        self._query, self._document = prompts.get("query") or "", prompts.get("document") or ""

    def __len__(self) -> int:
        if isinstance(self._made, Prototypes):
            return len(self._made.texts)
        return len(self._made.rows) * (2 if self._loss == "orthogonal" else 1)

    def __getitem__(self, number: int) -> dict[str, Any]:
        made = self._made
        if isinstance(made, Prototypes):
            return {"text": made.texts[number], "label": made.vectors[number]}
        # Each negative makes a pair of its own and one with the positive, so that both weigh the same; SPEC 4.4.
        row, negative_pair = divmod(number, 2) if self._loss == "orthogonal" else (number, 0)
        query, *documents = made.rows[row].tolist()
        asked = {"query": self._query + made.queries[query]}
        texts = [self._document + made.documents[document] for document in documents]
        if self._loss == "orthogonal":
            return {**asked, "document": texts[negative_pair], "label": 1.0 - negative_pair}
        return {**asked, **dict(zip(("positive", "negative"), texts, strict=False))}


class Batches:
    """The batches of an epoch, as numbers of examples: the same for an epoch and a seed, wherever training goes on.

    Processes take turns at them and get as many each; examples too many for that are left out.
    """

    def __init__(self, examples: Examples, made: Triples | Prototypes, chosen: Finetuning, size: int) -> None:
        self.batch_size, self.drop_last = None, False  # had they a size, accelerate would pass over shorter ones
        self._size, self._seed, self._epoch = size, chosen.seed, 0
        self._examples = len(examples)
        self.count = self._examples // processes() * processes()
        self._fixed: list[list[list[int]]] | None = None
        if isinstance(made, Triples) and chosen.loss == "ranking":  # what goes together does not depend on the epoch
            found = batches_without_answers(made, chosen.seed, 0, chosen.batch, chosen.one_task)
            self._fixed = [parts for batch in found if (parts := _parts(batch, processes()))]
            if not self._fixed:
                raise LocoError(
                    "No two queries go into a batch together, so there is nothing to tell their documents from: take"
                    " --negatives 1 or more."
                )

    def __len__(self) -> int:
        if self._fixed is None:
            return math.ceil(self.count / (self._size * processes())) * processes()
        return sum(map(len, self._fixed))

    def __iter__(self) -> Iterator[list[int]]:
        if self._fixed is not None:
            for place in order(self._seed, self._epoch, len(self._fixed)):
                yield from self._fixed[place]
            return
        numbers = order(self._seed, self._epoch, self._examples)[: self.count].tolist()
        together = self._size * processes()
        for start in range(0, self.count, together):
            yield from _parts(numbers[start : start + together], processes())

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next."""
        self._epoch = epoch


def _parts(batch: list[int], parts: int) -> list[list[int]]:
    """A batch in as many equal parts as there are processes; rows too many are left out."""
    each = len(batch) // parts
    return [batch[start : start + each] for start in range(0, each * parts, each)] if each else []


class RetrievalTrainer(WholeTrainer, SentenceTransformerTrainer):
    """sentence-transformers' trainer over :class:`Examples`."""

    examples: Examples
    batches: Batches
    batch: int

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No card of the library's: it would ask the hub about the model, and loco writes its own."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The examples in their batches, read by the model's own tokenizer."""
        self.accelerator.even_batches = False
        loader = DataLoader(self.examples, batch_sampler=self.batches, collate_fn=self._collated)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def _collated(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {}
        for column in rows[0]:
            values = [row[column] for row in rows]
            if column == "label":
                batch["label"] = torch.as_tensor(np.array(values, dtype=np.float32))
            else:
                read = self.model.preprocess(values)
                batch |= {f"{column}_{name}": value for name, value in read.items()}
        return batch

    def share(self, inputs: Mapping[str, Any]) -> float:
        """See :meth:`WholeTrainer.share`; a loss that compares whole batches comes in one."""
        if self.args.gradient_accumulation_steps == 1:
            return 1.0
        per_epoch = math.ceil(self.batches.count / self.batch)
        start = self.state.global_step % per_epoch * self.batch
        here = next(value for name, value in inputs.items() if name.endswith("input_ids"))
        return len(here) * int(self.args.world_size) / min(self.batch, self.batches.count - start)


def steps_of(examples: Examples, made: Triples | Prototypes, chosen: Finetuning) -> int:
    """How many steps a run takes."""
    per_epoch = len(Batches(examples, made, chosen, max(1, chosen.batch // processes()))) // processes()
    return min(per_epoch * chosen.epochs, chosen.max_steps or per_epoch * chosen.epochs)


def trainer(
    model: SentenceTransformer,
    made: Triples | Prototypes,
    examples: Examples,
    chosen: Finetuning,
    work: Work,
    steps: int,
    micro_batch: int,
) -> RetrievalTrainer:
    """A trainer of a model, for micro-batches of a size."""
    together = chosen.loss == "ranking"  # its batch is one, whatever micro-batches it is computed in
    size = max(1, chosen.batch // processes()) if together else micro_batch

    def ranking() -> Any:
        """The same loss with what one pass over a batch needs in memory, or less of it and a second pass."""
        if size <= micro_batch:
            return MultipleNegativesRankingLoss(model, gather_across_devices=processes() > 1)
        return CachedMultipleNegativesRankingLoss(
            model, mini_batch_size=micro_batch, gather_across_devices=processes() > 1
        )

    losses: dict[str, Any] = {
        "orthogonal": lambda: CosineSimilarityLoss(model),
        "ranking": ranking,
        "prototype": lambda: MSELoss(model),
    }
    settings = arguments(
        SentenceTransformerTrainingArguments,
        work,
        micro_batch=size,
        batch=chosen.batch,
        steps=steps,
        max_steps=steps,
        learning_rate=chosen.lr,
        warmup_steps=min(math.ceil(chosen.warm_up * steps), steps - 1),  # whose first is made with a rate of 0
        weight_decay=chosen.weight_decay,
        max_grad_norm=chosen.clip,
        seed=chosen.seed,
        save_steps=chosen.save_every,
        device=chosen.device,
        use_cpu=chosen.device == "cpu",
        bf16=bfloat16(chosen.dtype, chosen.device),
    )
    if chosen.gradient_checkpointing:
        transformer: Any = model[0]
        transformer.auto_model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    made_trainer = RetrievalTrainer(model=model, args=settings, loss=losses[chosen.loss]())
    made_trainer.examples, made_trainer.batch = examples, chosen.batch
    made_trainer.batches = Batches(examples, made, chosen, size)
    return made_trainer

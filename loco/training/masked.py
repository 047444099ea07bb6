"""Pretraining by masked tokens: samples that go on where they were, AdamW as the published code had it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset
from transformers import PreTrainedModel, TrainingArguments

from loco.errors import LocoError
from loco.files import write_atomically
from loco.training.options import Pretraining
from loco.training.pairs import number_of
from loco.training.run import Work
from loco.training.samples import IGNORED, Ids, Marks, Mixture, State, masked, padded
from loco.training.trainer import WholeTrainer, arguments, bfloat16

DATA = "data.json"

_LOWEST = 0.02  # of the highest learning rate, where it ends; SPEC 4.3

Sample = dict[str, Ids]


class Samples(IterableDataset[Sample]):
    """A mixture without end, masked. It keeps where it stood after each step, so that whoever asks for more samples
    than are trained on loses none.
    """

    def __init__(self, mixture: Mixture, marks: Marks, chosen: Pretraining) -> None:
        self._mixture, self._marks, self._chosen = mixture, marks, chosen
        self._states: dict[int, State] = {}

    def __iter__(self) -> Iterator[Sample]:
        while True:
            number, ids = self._mixture.next()
            if (number + 1) % self._chosen.batch == 0:
                self._states[number + 1] = self._mixture.state
            shown, labels = masked(
                ids, self._chosen.masked, self._marks, [self._chosen.seed, number_of("mask"), number]
            )
            yield {"input_ids": shown, "labels": labels}

    def state_after(self, samples: int) -> State:
        """Where the mixture stood after so many samples, a whole number of steps; earlier ones are forgotten."""
        for earlier in [known for known in self._states if known < samples]:
            del self._states[earlier]
        return self._states[samples]


class MaskedTrainer(WholeTrainer):
    """transformers' Trainer for samples of masked tokens, whose every prediction weighs the same in a step."""

    chosen: Pretraining
    samples: Samples
    evaluation: Sequence[Sample] = ()
    window: int
    pad: int
    _predicted = 1

    def save_more(self, folder: Path) -> None:
        """Where the samples stand."""
        state = self.samples.state_after(self.state.global_step * self.chosen.batch)
        write_atomically(folder / DATA, json.dumps(state).encode())

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The micro-batches of a step; how many tokens are to be predicted in it is noted."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        predicted = torch.tensor([sum(_predicted(batch) for batch in batches)], device=device)
        self._predicted = max(1, int(self.accelerator.gather(predicted).sum()))
        return batches, count

    def share(self, inputs: Mapping[str, Any]) -> float:
        """See :meth:`WholeTrainer.share`."""
        return _predicted(inputs) * int(self.args.world_size) / self._predicted

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over all weights alike, with a decay of p *= 1 - decay * lr / highest lr, as the published code has it:
        torch's own decays by decay * lr.
        """
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(
                self.model.parameters(),
                lr=self.chosen.lr,
                betas=self.chosen.betas,
                eps=self.chosen.epsilon,
                weight_decay=self.chosen.weight_decay / self.chosen.lr,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """A learning rate that rises, then falls to a fiftieth of its height."""
        if self.lr_scheduler is None:
            chosen = self.chosen
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.create_optimizer(),
                lambda step: learning_rate(step, num_training_steps, chosen.warm_up),
            )
        return self.lr_scheduler

    @torch.no_grad()
    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """The mean loss over all masked tokens of the samples held out."""
        model = self.model
        was = model.training
        model.eval()
        model.training = True  # of the model alone, not of its parts: logits for masked tokens only, and no dropout
        loss, count = 0.0, 0
        try:
            for sample in self.evaluation:
                batch = self._prepare_inputs(collated([sample], self.window, self.pad))
                predicted = _predicted(batch)
                with self.compute_loss_context_manager(), self.accelerator.autocast():
                    loss += float(model(**batch).loss) * predicted
                count += predicted
        finally:
            model.train(was)
        metrics = {"eval_loss": loss / max(1, count)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def learning_rate(step: int, steps: int, warm_up: float) -> float:
    """The share of the highest learning rate that a step is made with."""
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return max(_LOWEST, 1 - (1 - _LOWEST) * (step - rising + 1) / max(1, steps - rising))


def trainer(
    model: PreTrainedModel,
    samples: Samples,
    evaluation: Sequence[Sample],
    chosen: Pretraining,
    work: Work,
    window: int,
    pad: int,
    micro_batch: int,
) -> MaskedTrainer:
    """A trainer of a model, for micro-batches of a size."""
    settings = arguments(
        TrainingArguments,
        work,
        micro_batch=micro_batch,
        batch=chosen.batch,
        steps=chosen.steps,
        max_steps=chosen.steps,
        learning_rate=chosen.lr,
        max_grad_norm=chosen.clip,
        seed=chosen.seed,
        save_steps=chosen.save_every,
        eval_strategy="steps" if evaluation else "no",
        eval_steps=chosen.save_every,
        ignore_data_skip=True,  # the samples begin where they are to go on
        device=chosen.device,
        use_cpu=chosen.device == "cpu",
        bf16=bfloat16(chosen.dtype, chosen.device),
    )
    if chosen.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    made = MaskedTrainer(
        model=model,
        args=settings,
        train_dataset=samples,
        eval_dataset=list(evaluation) or None,
        data_collator=partial(collated, window=window, pad=pad),
    )
    made.chosen, made.samples, made.evaluation, made.window, made.pad = chosen, samples, evaluation, window, pad
    return made


def position(work: Work) -> State | None:
    """Where the samples of a run go on, None at its beginning. Raises LocoError for a damaged checkpoint."""
    newest = work.newest()
    if newest is None:
        return None
    try:
        state: State = json.loads((newest / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LocoError(f"{newest / DATA} is damaged. Remove the folder {work.folder} to begin anew.") from error
    return state


def _predicted(batch: Mapping[str, Any]) -> int:
    """How many tokens of a batch are to be predicted: those that the model's loss counts."""
    return int((batch["labels"] > 0).sum())


def collated(rows: Sequence[Sample], window: int, pad: int) -> dict[str, torch.Tensor]:
    """Samples filled up to the window, each tensor of shape (samples, window); the mask says what is no filling."""
    values = {"input_ids": pad, "attention_mask": 0, "labels": IGNORED}
    shown = [{**row, "attention_mask": np.ones_like(row["input_ids"])} for row in rows]
    return {
        name: torch.from_numpy(padded([row[name] for row in shown], window, value)) for name, value in values.items()
    }

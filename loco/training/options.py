"""What a user decides about a training run, with the paper's values (arXiv 2402.07440) as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from loco.errors import LocoError

Loss = Literal["orthogonal", "ranking", "prototype"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
NegativesFrom = Literal["random", "bm25"]
DTYPES = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")

_LARGEST_SEED = 2**32 - 1  # NumPy's and the Trainer's
# What changes how a run is computed and not what comes out, rounding aside: it may differ when a run goes on.
_HOW = ("micro_batch", "save_every", "gradient_checkpointing", "device")


@dataclass(frozen=True)
class Finetuning:
    """How to fine-tune for retrieval.

    - ``loss``: "orthogonal" is the mean squared error of a pair's cosine against 1 or 0; "ranking" cross entropy of 20
      times the cosines over all documents of a batch; "prototype" the mean squared error against a teacher's vectors.
    - ``batch``: examples a step. Pairs and texts are accumulated from micro-batches; documents of a ranking batch are
      compared with each other, however small its micro-batches.
    - ``micro_batch``: examples that go through the model at once.
    - ``negatives``: for each query and relevant document, ``negatives_from`` where. 0, for "ranking" alone, leaves the
      documents of the other queries of a batch.
    - ``one_task``: whether all of a "ranking" batch comes from one train split, whose documents are hard to tell apart.
    - ``max_queries``: of a task, drawn at random; None for all.
    - ``epochs``, ``max_steps``: how long; the fewer steps hold.
    - ``lr``, ``warm_up``, ``weight_decay``, ``clip``: AdamW under a learning rate that rises over that share of the
      steps and falls to 0; gradients are brought to length ``clip`` where they are longer.
    - ``dtype``: "auto" is bfloat16 on GPUs that have it, else float32.
    """

    loss: Loss = "orthogonal"
    batch: int = 32
    micro_batch: int = 1
    negatives: int = 32
    negatives_from: NegativesFrom = "random"
    one_task: bool = False
    max_queries: int | None = None
    epochs: int = 1
    max_steps: int | None = None
    lr: float = 5e-6
    warm_up: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 42
    save_every: int = 100
    gradient_checkpointing: bool = False
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        _check_choices(self, loss=LOSSES, negatives_from=get_args(NegativesFrom), dtype=DTYPES, device=DEVICES)
        _check_sizes(self, "batch", "micro_batch", "epochs", "save_every")
        if self.loss != "ranking" or self.negatives:
            _check_sizes(self, "negatives")
        if self.one_task and self.loss != "ranking":
            raise LocoError("--one-task is for --loss ranking, whose batches count: leave it out.")
        for name in ("max_queries", "max_steps"):
            if getattr(self, name) is not None:
                _check_sizes(self, name)
        _check_rate(self.lr)
        _check_seed(self.seed)

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides the weights."""
        return _deciding(self)


@dataclass(frozen=True)
class Pretraining:
    """How to pretrain by predicting masked tokens.

    - ``steps``, ``batch``, ``micro_batch``: samples a step, and how many of them at once.
    - ``variable``: the share of samples that are a document as it is, cut to the window; the others are documents one
      after the other, filling the window.
    - ``masked``, ``masked_in_evaluation``: shares of the tokens to be predicted.
    - ``lr``, ``warm_up``, ``weight_decay``, ``clip``, ``betas``, ``epsilon``: AdamW, all weights alike, under a
      learning rate that rises over that share of the steps and falls to 0.02 of its height. The decay of a step is
      ``weight_decay`` times the learning rate's share of its height, as in the published code.
    """

    steps: int
    batch: int = 256
    micro_batch: int = 1
    variable: float = 0.3
    masked: float = 0.30
    masked_in_evaluation: float = 0.15
    lr: float = 5e-4
    warm_up: float = 0.06
    weight_decay: float = 1e-5
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    seed: int = 17
    save_every: int = 100
    gradient_checkpointing: bool = False
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        _check_choices(self, dtype=DTYPES, device=DEVICES)
        _check_sizes(self, "steps", "batch", "micro_batch", "save_every")
        if not 0 <= self.variable <= 1:
            raise LocoError(f"--variable {self.variable} is no share: give one from 0 to 1.")
        for name in ("masked", "masked_in_evaluation"):
            if not 0 < getattr(self, name) <= 1:
                raise LocoError(f"--masked {getattr(self, name)} masks nothing: give a share above 0, up to 1.")
        _check_rate(self.lr)
        _check_seed(self.seed)

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides the weights."""
        return _deciding(self)


def _deciding(chosen: Any) -> dict[str, Any]:
    said = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__ if name not in _HOW}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def _check_choices(chosen: Any, **choices: tuple[str, ...]) -> None:
    for name, known in choices.items():
        if getattr(chosen, name) not in known:
            option = "--" + name.replace("_", "-")
            raise LocoError(f"{option} {getattr(chosen, name)} is unknown. Choose one of: {', '.join(known)}.")


def _check_sizes(chosen: Any, *names: str) -> None:
    for name in names:
        if getattr(chosen, name) < 1:
            raise LocoError(f"--{name.replace('_', '-')} {getattr(chosen, name)} is too small: give 1 or more.")


def _check_rate(lr: float) -> None:
    if not (math.isfinite(lr) and lr > 0):
        raise LocoError(f"--lr {lr} is no learning rate: give a number above 0.")


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= _LARGEST_SEED:
        raise LocoError(f"--seed {seed} is no whole number from 0 to {_LARGEST_SEED}: choose another.")

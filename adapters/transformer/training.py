"""Transformers with a pooling, as something to train (:class:`loco.training.families.SentenceFamily`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.runtime import Runtime

from .checkpoint import obtain
from .loading import load_modules
from .settings import parameters_of


class TransformerFamily:
    """Transformers with a pooling, as the adapter loads them."""

    def start(self, card: ModelCard, runtime: Runtime, seed: int) -> SentenceTransformer:
        """See :meth:`loco.training.families.SentenceFamily.start`. Such a checkpoint lacks nothing."""
        parameters = parameters_of(card)
        checkpoint = obtain(card, parameters, runtime)
        if checkpoint.runs_code:
            raise LocoError(f"{card.name} runs on Python code of its own, which would not be in the folder it becomes.")
        loaded: list[Any] = load_modules(checkpoint, parameters, torch.float32)
        model = SentenceTransformer(
            modules=loaded,
            device="cpu",
            prompts=dict[str, str](parameters.prompts.items()),
            similarity_fn_name=parameters.similarity,
            truncate_dim=checkpoint.configs.truncate_dim,
        )
        model.max_seq_length = card.max_tokens
        return model

    def save(self, model: SentenceTransformer, folder: Path) -> None:
        """See :meth:`loco.training.families.SentenceFamily.save`."""
        model.save_pretrained(str(folder), create_model_card=False)


def family() -> TransformerFamily:
    """The family (the entry point ``loco.training``)."""
    return TransformerFamily()

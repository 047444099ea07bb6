"""Transformers as encoders: batches of token ids through modules of sentence-transformers.

The transformer runs in the precision asked for; pooling and everything after it run in float32.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import EncoderTraits, Input, Role
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32

from .checkpoint import Checkpoint, obtain
from .devices import devices_of, dtype_of, fitting
from .loading import load_modules
from .replicas import Replicas
from .settings import Parameters, parameters_of
from .tokens import TokenizedText, Tokenizer

# Padded tokens in a batch. A core is fastest with about 1,024 (MiniLM), which its caches hold; GPUs need many to be
# busy, and a batch that does not fit is halved.
BATCH_TOKENS = {"cpu": 1024}
BATCH_TOKENS_ON_GPU = 65_536


class TransformerEncoder:
    """An encoder (:class:`loco.models.protocols.Encoder`) made of modules of sentence-transformers.

    ``modules`` are a transformer on the CPU, a pooling, and any number of others; each device gets a copy. A single CPU
    computes a batch on each core, all with the same modules: cores that share a batch wait for each other at every
    layer.
    """

    def __init__(
        self,
        card: ModelCard,
        parameters: Parameters,
        checkpoint: Checkpoint,
        modules: Sequence[torch.nn.Module],
        devices: Sequence[torch.device],
        batch_tokens: int | None,
    ) -> None:
        transformer, pooling, *_ = modules
        self.card = card
        self._tokenizer = Tokenizer(transformer.tokenizer, parameters.prompts)
        self._padding = usable(self._tokenizer.pad_id, transformer)
        self._window = card.max_tokens if parameters.padding == "window" else None
        self._always_masked = checkpoint.runs_code  # not all code that comes with checkpoints can do without
        self._cut = checkpoint.configs.truncate_dim
        kind = devices[0].type
        self._replicas = Replicas(torch.nn.ModuleList(modules), devices, core_each=True)
        self._name, self._dim = checkpoint.configs.name, 0
        probe = self.tokenize(["a probe"], "document")[0]
        self._dim = self.encode([probe.input(0, probe.tokens)])[0].shape[1]
        self.traits = EncoderTraits(
            fingerprint=self._fingerprint(parameters, checkpoint, modules),
            dim=self._dim,
            max_tokens=card.max_tokens,
            similarity=parameters.similarity,
            dtype=str(next(transformer.parameters()).dtype).removeprefix("torch."),
            device=kind,
            padding=parameters.padding,
            unit_length=type(modules[-1]).__name__ == "Normalize" and self._cut is None,
            spans=pooling.pooling_mode == "mean",
            batch_tokens=batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS_ON_GPU),
            concurrency=self._replicas.count,
        )

    def overhead(self, role: Role) -> int:
        """How many tokens of the window the prompt and the special tokens of a role take."""
        return self._tokenizer.overhead(role)

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> Sequence[TokenizedText]:
        """The tokens of each text, or its first ``limit`` ones."""
        return self._tokenizer.tokenize(texts, role, limit)

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """For each input its vectors, shape (vectors, dim): of the whole, or of each of its spans.

        Computes on whichever device is free. Raises MemoryError for a batch that does not fit on it.
        """
        vectors = self._replicas.compute(lambda modules, device: self._forward(modules, device, inputs))
        if self._dim and vectors.shape[1] != self._dim:
            raise LocoError(
                f"{self._name} gave vectors of {vectors.shape[1]} dimensions after some of {self._dim}. "
                "Its code is not fit for a benchmark: take another model."
            )
        ends = np.cumsum([each.vectors for each in inputs])
        return [part.copy() for part in np.split(vectors, ends[:-1])]

    def _forward(self, modules: torch.nn.ModuleList, device: torch.device, inputs: Sequence[Input]) -> Float32:
        """The vectors of a batch, one below the other."""
        transformer, pooling, *tail = modules
        features = self._features(inputs, device)
        shape = features["input_ids"].shape
        features = transformer(features)
        tokens = features["token_embeddings"] = features["token_embeddings"].float()
        if tokens.shape[:2] != shape:
            raise LocoError(f"{self._name} does not give a vector for each token, as loco needs. Take another model.")
        if not all(each.spans for each in inputs):
            pooled = pooling(features)["sentence_embedding"]
        rows = [
            torch.stack([tokens[place, start:stop].mean(dim=0) for start, stop in each.spans])
            if each.spans
            else pooled[place : place + 1]
            for place, each in enumerate(inputs)
        ]
        ends = {"sentence_embedding": torch.cat(rows)}
        for module in tail:
            ends = module(ends)
        vectors: Float32 = ends["sentence_embedding"][:, : self._cut].float().cpu().numpy()
        return vectors

    def _features(self, inputs: Sequence[Input], device: torch.device) -> dict[str, torch.Tensor]:
        """Token ids, shape (inputs, longest), and a mask if there is something to mask."""
        lengths = np.array([len(each.content) for each in inputs])
        width = max(lengths.max(), self._window or 0)
        ids = np.full((len(inputs), width), self._padding, dtype=np.int64)
        for row, each in zip(ids, inputs, strict=True):
            row[: len(each.content)] = each.content
        features = {"input_ids": torch.from_numpy(ids).to(device)}
        if self._always_masked or (lengths < width).any():
            mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
            features["attention_mask"] = torch.from_numpy(mask).to(device)
        return features

    def _fingerprint(self, parameters: Parameters, checkpoint: Checkpoint, modules: Sequence[torch.nn.Module]) -> str:
        parts = {
            "contents": checkpoint.contents,
            "code": code_of(modules) if checkpoint.runs_code else "",
            "tokenizer": self._tokenizer.fingerprint(),
            "pooling": parameters.pooling,
            "normalise": parameters.normalise,
            "prompts": parameters.prompts,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def transformer_encoder(card: ModelCard, runtime: Runtime) -> TransformerEncoder:
    """The encoder of a card, ready to run.

    Raises LocoError for a card, a device or a checkpoint that it cannot be, and where the model finds no memory.
    """
    parameters = parameters_of(card)
    devices = devices_of(runtime)
    dtype = dtype_of(runtime, devices[0])
    checkpoint = obtain(card, parameters, runtime)
    if checkpoint.configs.late:
        raise LocoError(f"{checkpoint.configs.name} makes a vector of each token, not one of a text. Mend the card.")
    limit = checkpoint.configs.max_tokens
    if card.max_tokens is None:
        raise LocoError(f"The card of model '{card.name}' says no max_tokens. Mend the card.")
    if limit is not None and limit < card.max_tokens:
        raise LocoError(
            f"The card of model '{card.name}' says a window of {card.max_tokens} tokens, and its checkpoint takes "
            f"{limit}. Mend the card."
        )
    modules = load_modules(checkpoint, parameters, dtype)
    _check_tail(checkpoint.configs.name, parameters, modules)
    with fitting(checkpoint.configs.name, devices[0], dtype):
        return TransformerEncoder(card, parameters, checkpoint, modules, devices, runtime.batch_tokens)


def _check_tail(name: str, parameters: Parameters, modules: Sequence[torch.nn.Module]) -> None:
    """Raise LocoError for modules that do not turn the vector of one text into another, whatever stands around it."""
    _, pooling, *tail = modules
    if not pooling.include_prompt and any(parameters.prompts.values()):
        raise LocoError(f"{name} leaves the prompt out when it pools, which loco does not do. Take another model.")
    for module in tail:
        if getattr(module, "module_input_name", "sentence_embedding") != "sentence_embedding":
            raise LocoError(f"{name} changes token vectors after pooling, which has no effect. Take another model.")


def usable(pad_id: int, transformer: torch.nn.Module) -> int:
    """An id to fill batches with: some tokenizers have a padding token that the model has no vector for."""
    model: Any = getattr(transformer, "model", None)
    rows = getattr(model.get_input_embeddings(), "num_embeddings", pad_id + 1) if model is not None else pad_id + 1
    return pad_id if 0 <= pad_id < rows else 0


def code_of(modules: Sequence[torch.nn.Module]) -> str:
    """A hash over the Python files that come with a checkpoint and define its modules, wherever they came from."""
    inner = (getattr(modules[0], "model", None), *modules)
    sources = {getattr(sys.modules.get(type(module).__module__), "__file__", None) for module in inner}
    foreign = {Path(source).parent for source in sources if source and "transformers_modules" in source}
    digest = hashlib.sha256()
    for path in sorted(path for folder in foreign for path in folder.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()

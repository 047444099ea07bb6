"""Cross-encoders of sentence-transformers as rerankers: batches of pairs of token ids, one score each.

Scores are what the classifier gives, before any activation: sigmoid and the like keep an order, and in float32 make
ties of what is far from 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder as Loaded

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import Pair, RerankerTraits, Role, TokenIds
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32

from ..transformer.checkpoint import Checkpoint, obtain
from ..transformer.devices import devices_of, dtype_of, fitting
from ..transformer.loading import check_weights, loading
from ..transformer.model import code_of
from ..transformer.replicas import Replicas
from ..transformer.tokens import Tokenizer
from .configs import read_configs
from .frame import frame_of, probes
from .settings import parameters_of

# Padded tokens in a batch: as for other transformers, what the caches of a core hold, and much on a GPU.
_BATCH_TOKENS = {"cpu": 1024}
_BATCH_TOKENS_ON_GPU = 65_536


class CrossEncoder:
    """A reranker (:class:`loco.models.protocols.Reranker`) made of a transformer with a classifier, on the CPU; each
    device gets a copy.
    """

    def __init__(
        self,
        card: ModelCard,
        checkpoint: Checkpoint,
        transformer: torch.nn.Module,
        devices: Sequence[torch.device],
        batch_tokens: int | None,
    ) -> None:
        self.card = card
        self._name = checkpoint.configs.name
        self._tokenizer = Tokenizer(transformer.tokenizer, {})
        bare = list(zip(*(self.token_ids(texts, "document") for texts in probes()), strict=True))
        self._frame = frame_of(transformer.tokenizer, bare, self._name)
        model: Any = transformer.model
        padding = getattr(model.config, "pad_token_id", None)
        self._padding = self._tokenizer.pad_id if padding is None else int(padding)
        kind = devices[0].type
        dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        self._replicas = Replicas(transformer, devices, core_each=True)
        self.traits = RerankerTraits(
            fingerprint=self._fingerprint(checkpoint, transformer),
            max_tokens=card.max_tokens or 0,
            overhead=self._frame.tokens,
            dtype=dtype,
            device=kind,
            batch_tokens=batch_tokens or _BATCH_TOKENS.get(kind, _BATCH_TOKENS_ON_GPU),
            concurrency=self._replicas.count,
        )
        self._probe([Pair(*ids) for ids in bare])

    def token_ids(self, texts: Sequence[str], role: Role) -> list[TokenIds]:
        """The token ids of each text, to its end, without special tokens."""
        return [text.ids for text in self._tokenizer.tokenize(texts, role)]

    def score(self, pairs: Sequence[Pair]) -> Float32:
        """The classifier's number for each pair, shape (pairs,).

        Computes on whichever device is free. Raises MemoryError for a batch that does not fit on it.
        """
        return self._replicas.compute(lambda transformer, device: self._forward(transformer, device, pairs))

    def _forward(self, transformer: torch.nn.Module, device: torch.device, pairs: Sequence[Pair]) -> Float32:
        contents = [self._frame.ids(pair) for pair in pairs]
        types = [self._frame.token_types(pair) for pair in pairs]
        lengths = np.array([len(content) for content in contents])
        features = {
            "input_ids": _filled(contents, self._padding),
            "attention_mask": torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)),
        }
        known = [one for one in types if one is not None]
        if known:
            features["token_type_ids"] = _filled(known, 0)
        found = transformer({name: values.to(device) for name, values in features.items()})["scores"]
        if found.shape != (len(pairs), 1):
            raise LocoError(f"{self._name} does not give one score a pair, as loco needs. Take another model.")
        scores: Float32 = found[:, 0].float().cpu().numpy()
        return scores

    def _probe(self, pairs: Sequence[Pair]) -> None:
        """Raise LocoError for a model that cannot read pairs of different lengths at once."""
        try:
            self.score(pairs)
        except (LocoError, MemoryError):
            raise
        except Exception as error:  # of many kinds, from code of many authors
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise LocoError(f"{self._name} cannot score pairs: {reason}. Take another model.") from error

    def _fingerprint(self, checkpoint: Checkpoint, transformer: torch.nn.Module) -> str:
        parts = {
            "contents": checkpoint.contents,
            "code": code_of([transformer]) if checkpoint.runs_code else "",
            "tokenizer": self._tokenizer.fingerprint(),
            "frame": self._frame.state(),
            "padding": self._padding,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cross_encoder(card: ModelCard, runtime: Runtime) -> CrossEncoder:
    """The reranker of a card, ready to run.

    Raises LocoError for a card, a device or a checkpoint that it cannot be, and where the model finds no memory.
    """
    parameters = parameters_of(card)
    devices = devices_of(runtime)
    dtype = dtype_of(runtime, devices[0])
    checkpoint = obtain(card, parameters, runtime, read_configs)
    configs = checkpoint.configs
    limit = configs.max_tokens
    if card.max_tokens is None or (limit is not None and limit < card.max_tokens):
        raise LocoError(
            f"The card of model '{card.name}' says a window of {card.max_tokens} tokens, and its checkpoint takes "
            f"{limit}. Mend the card."
        )
    with loading(configs.name) as reports:
        loaded = Loaded(
            str(configs.folder),
            device="cpu",
            local_files_only=not checkpoint.runs_code,
            trust_remote_code=checkpoint.runs_code,
            model_kwargs={"dtype": dtype, "use_safetensors": None if checkpoint.pickled else True},
            processor_kwargs=dict(configs.frame),
        ).eval()
    check_weights(configs.name, {key for report in reports for key in report["missing_keys"]})
    with fitting(configs.name, devices[0], dtype):
        return CrossEncoder(card, checkpoint, loaded[0], devices, runtime.batch_tokens)


def _filled(rows: Sequence[TokenIds], filler: int) -> torch.Tensor:
    """Rows of different lengths as one tensor, filled up to the longest."""
    filled = np.full((len(rows), max(map(len, rows))), filler, dtype=np.int64)
    for row, values in zip(filled, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(filled)

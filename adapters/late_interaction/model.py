"""Late interaction models as encoders: batches of token ids to a vector for each token that counts.

The transformer runs in the precision asked for; the projection and everything after it run in float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import EncoderTraits, Input, Role, TokenIds
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32

from ..transformer.checkpoint import Checkpoint, obtain
from ..transformer.devices import devices_of, dtype_of, fitting
from ..transformer.loading import check_complete, check_output, loading, weights_in
from ..transformer.model import BATCH_TOKENS, BATCH_TOKENS_ON_GPU, code_of, usable
from ..transformer.replicas import Replicas
from ..transformer.tokens import Tokenizer
from .settings import LateParameters, late_parameters_of
from .tokens import BagText, Scoring

_TOKENS = "token_embeddings"
_WEIGHTS = "model.safetensors"


class LateEncoder:
    """An encoder (:class:`loco.models.protocols.Encoder`) of token vectors.

    ``model`` is on the CPU; each device gets a copy of its modules.
    """

    def __init__(
        self,
        card: ModelCard,
        parameters: LateParameters,
        checkpoint: Checkpoint,
        model: MultiVectorEncoder,
        devices: Sequence[torch.device],
        batch_tokens: int | None,
    ) -> None:
        transformer, *others = list(model)
        self.card, self._name = card, checkpoint.configs.name
        prompts = prompts_of(model)
        self._tokenizer = Tokenizer(transformer.tokenizer, prompts)
        self._padding = usable(self._tokenizer.pad_id, transformer)
        (mask,) = [module for module in others if isinstance(module, MultiVectorMask)]
        tail = [module for module in others if module is not mask]
        self._scoring = _scoring(transformer, mask, self._padding)
        if self._scoring.least > parameters.query_tokens:
            raise LocoError(
                f"{self._name} expands queries to {self._scoring.least} tokens, and the card of model '{card.name}' "
                f"says a query window of {parameters.query_tokens}. Mend the card."
            )
        kind = devices[0].type
        self._replicas = Replicas(torch.nn.ModuleList([transformer, *tail]), devices, core_each=True)
        probe = self.tokenize(["a probe"], "document")[0].input(0, 1)
        dim = self._replicas.compute(lambda modules, device: self._forward(modules, device, [probe])).shape[1]
        self.traits = EncoderTraits(
            fingerprint=self._fingerprint(checkpoint, prompts, mask, list(model)),
            dim=dim,
            max_tokens=card.max_tokens,
            similarity="dot",
            dtype=str(next(transformer.parameters()).dtype).removeprefix("torch."),
            device=kind,
            unit_length=type(others[-1]).__name__ == "Normalize",
            token_vectors=True,
            query_tokens=parameters.query_tokens,
            document_tokens=parameters.document_tokens,
            batch_tokens=batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS_ON_GPU),
            concurrency=self._replicas.count,
        )

    def overhead(self, role: Role) -> int:
        """How many tokens of the window the prompt and the special tokens of a role take."""
        return self._tokenizer.overhead(role)

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> list[BagText]:
        """The tokens of each text, or its first ``limit`` ones."""
        return [BagText(text, role, self._scoring) for text in self._tokenizer.tokenize(texts, role, limit)]

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """For each input the vectors of its tokens that count, shape (vectors, dim).

        Computes on whichever device is free. Raises MemoryError for a batch that does not fit on it.
        """
        vectors = self._replicas.compute(lambda modules, device: self._forward(modules, device, inputs))
        ends = np.cumsum([each.vectors for each in inputs])
        return [part.copy() for part in np.split(vectors, ends[:-1])]

    def _forward(self, modules: torch.nn.ModuleList, device: torch.device, inputs: Sequence[Input]) -> Float32:
        """The vectors of a batch, one below the other."""
        transformer, *tail = modules
        read = [_ids(each) for each in inputs]
        fed = [self._scoring.expanded(ids, each.role) for ids, each in zip(read, inputs, strict=True)]
        width = max(map(len, fed))
        ids = np.full((len(inputs), width), self._padding, dtype=np.int64)
        seen = np.zeros((len(inputs), width), dtype=np.int64)
        counted = np.zeros((len(inputs), width), dtype=bool)
        for row, (each, alone, whole_one) in enumerate(zip(inputs, read, fed, strict=True)):
            ids[row, : len(whole_one)] = whole_one
            seen[row, : len(whole_one) if self._scoring.attend else len(alone)] = 1
            counted[row, : len(whole_one)] = self._scoring.counted(alone, each.role)
        features = {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(seen).to(device)}
        features = transformer(features)
        if features[_TOKENS].shape[:2] != ids.shape:
            raise LocoError(f"{self._name} does not give a vector for each token, as loco needs. Take another model.")
        ends = {_TOKENS: features[_TOKENS][torch.from_numpy(counted).to(device)].float()}
        for module in tail:
            ends = module(ends)
        vectors: Float32 = ends[_TOKENS].float().cpu().numpy()
        return vectors

    def _fingerprint(
        self, checkpoint: Checkpoint, prompts: Mapping[Role, str], mask: MultiVectorMask, modules: Sequence[Any]
    ) -> str:
        scoring = self._scoring
        parts = {
            "contents": checkpoint.contents,
            "code": code_of(modules) if checkpoint.runs_code else "",
            "tokenizer": self._tokenizer.fingerprint(),
            "prompts": dict(prompts),
            "expansion": [scoring.least, scoring.expansion, scoring.attend],
            "mask": [mask.skiplist_words, mask.skiplist_tasks, mask.keep_only_token_ids],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def late_encoder(card: ModelCard, runtime: Runtime) -> LateEncoder:
    """The encoder of a card, ready to run.

    Raises LocoError for a card, a device or a checkpoint that it cannot be, and where the model finds no memory.
    """
    parameters = late_parameters_of(card)
    devices = devices_of(runtime)
    dtype = dtype_of(runtime, devices[0])
    checkpoint = obtain(card, parameters, runtime)
    configs = checkpoint.configs
    if not configs.late:
        raise LocoError(
            f"{configs.name} makes one vector of a text, so it is no model of late interaction. Mend the card."
        )
    window = max(parameters.document_tokens, parameters.query_tokens)
    if card.max_tokens != window:
        raise LocoError(
            f"The card of model '{card.name}' must say max_tokens = {window}, its wider window. Mend the card."
        )
    if configs.positions is not None and configs.positions < window:
        raise LocoError(
            f"The card of model '{card.name}' says a window of {window} tokens, and its checkpoint takes "
            f"{configs.positions}. Mend the card."
        )
    model = _loaded(checkpoint, dtype)
    with fitting(configs.name, devices[0], dtype):
        return LateEncoder(card, parameters, checkpoint, model, devices, runtime.batch_tokens)


def prompts_of(model: MultiVectorEncoder) -> dict[Role, str]:
    """What stands in front of a query and of a document, as ``encode_query`` and ``encode_document`` choose it."""
    prompts: Mapping[str, str | None] = model.prompts
    document = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), None)
    return {"query": prompts.get("query") or "", "document": document or ""}


def _loaded(checkpoint: Checkpoint, dtype: torch.dtype) -> MultiVectorEncoder:
    """A checkpoint on the CPU: the transformer in ``dtype``, all other modules in float32.

    Raises LocoError for a checkpoint that is damaged, lacks weights, or has modules that work on anything but tokens.
    """
    configs = checkpoint.configs
    name = configs.name
    if configs.stanford and not checkpoint.pickled and not (configs.folder / _WEIGHTS).is_file():
        # sentence-transformers would take the projection from a pickle beside the parts.
        raise LocoError(f"{name} has its weights in parts: save it in one file, {_WEIGHTS}.")
    with loading(name) as reports:
        model = _model(checkpoint, dtype)
        if dtype != torch.float32:  # sentence-transformers has taken all modules to that precision
            exact = list(_model(checkpoint, torch.float32))
            for place in range(1, len(exact)):
                model[place] = exact[place]
    check_complete(name, reports)
    transformer, *others = list(model)
    check_output(name, transformer)
    ends = (getattr(one, f"module_{end}_name", None) or _TOKENS for one in others for end in ("input", "output"))
    if any(end != _TOKENS for end in ends) or not any(isinstance(one, Dense) for one in others):
        raise LocoError(f"{name} has no projection of its token vectors, so loco cannot run it. Save it again.")
    if sum(isinstance(one, MultiVectorMask) for one in others) != 1:
        raise LocoError(
            f"{name} does not say which tokens count (one MultiVectorMask), so loco cannot run it. Mend it."
        )
    _check_tokens(name, transformer, others)
    return model.eval()


def _check_tokens(name: str, transformer: Any, others: Sequence[Any]) -> None:
    """Raise LocoError where tokens are named in a way that sentence-transformers takes, and trips over later."""
    kept = [one for module in others for one in getattr(module, "keep_only_token_ids", None) or ()]
    if not all(type(one) is int and 0 <= one < 2**31 for one in kept):
        raise LocoError(f"{name}: keep_only_token_ids holds something that is no token's id. Mend it.")
    token = (transformer.query_expansion or {}).get("token")
    if not isinstance(token, str | None):
        raise LocoError(f"{name} expands queries by {token!r}, which is no token. Mend it.")


def _model(checkpoint: Checkpoint, dtype: torch.dtype) -> MultiVectorEncoder:
    configs = checkpoint.configs
    try:
        return MultiVectorEncoder(
            str(configs.folder),
            device="cpu",
            local_files_only=not checkpoint.runs_code,
            trust_remote_code=checkpoint.runs_code,
            model_kwargs=weights_in(checkpoint, dtype),
            processor_kwargs=dict(configs.frame),
        )
    except KeyError as error:
        if error.args != ("linear.weight",):
            raise
        raise LocoError(
            f"{configs.name} lacks its projection, linear.weight, which every ColBERT has. Download or save it again."
        ) from error


def _scoring(transformer: Any, mask: MultiVectorMask, padding: int) -> Scoring:
    """How queries are expanded, and which tokens count; without expansion every query is long enough."""
    expansion = transformer.query_expansion
    if expansion is None:
        return Scoring(mask, 0, padding, False)
    tokenizer = transformer.tokenizer
    token = expansion["token"]
    chosen = tokenizer.convert_tokens_to_ids(token) if token is not None else tokenizer.mask_token_id
    if chosen is None:
        chosen = tokenizer.eos_token_id
    return Scoring(
        mask, int(expansion["length"]), padding if chosen is None else int(chosen), bool(expansion["attend"])
    )


def _ids(one: Input) -> TokenIds:
    if isinstance(one.content, str):
        raise TypeError("an input of a late interaction model is token ids")
    return one.content

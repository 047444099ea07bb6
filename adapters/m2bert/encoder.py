"""M2-BERT as an encoder of loco: token ids, padded to the window if the model is, to the pooled output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import EncoderTraits, Input, Role, Span
from loco.models.protocols import TokenizedText as AnyTokenizedText
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32
from loco.tasks.sources.files import hashed
from loco.tokens.reference import reference_tokenizer

from ..transformer.devices import devices_of, dtype_of, fitting
from ..transformer.hub import fetched
from ..transformer.replicas import Replicas
from ..transformer.tokens import TokenizedText, Tokenizer
from .checkpoint import load_model, weight_file
from .configuration import M2BertConfig
from .modeling import M2BertModel
from .settings import Parameters, parameters_of

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"

# Padded tokens in a batch. On a CPU more documents at once bring nothing beyond this; GPUs need many to be busy, and a
# batch that does not fit is halved.
_BATCH_TOKENS = 4096
_BATCH_TOKENS_ON_GPU = 65_536


class M2BertEncoder:
    """An encoder (:class:`loco.models.protocols.Encoder`), the same for queries and documents.

    All cores of a CPU share a batch: at long windows one document's memory is as much as a machine has.
    """

    def __init__(
        self,
        card: ModelCard,
        parameters: Parameters,
        model: M2BertModel,
        tokenizer: PreTrainedTokenizerFast,
        contents: str,
        devices: Sequence[torch.device],
        batch_tokens: int | None,
    ) -> None:
        config = cast(M2BertConfig, model.config)
        self.card = card
        self._tokenizer = Tokenizer(tokenizer, {})
        self._window = config.max_position_embeddings
        self._given_up = int(parameters.cut == "hard" and _closes(self._tokenizer))
        self._padding = config.pad_token_id or 0
        self._replicas = Replicas(model, devices, core_each=False)
        kind = devices[0].type
        parts = {"contents": contents, "tokenizer": self._tokenizer.fingerprint(), "cut": parameters.cut}
        self.traits = EncoderTraits(
            fingerprint=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
            dim=config.hidden_size,
            max_tokens=self._window,
            similarity=parameters.similarity,
            dtype=str(model.dtype).removeprefix("torch."),
            device=kind,
            padding=parameters.padding,
            batch_tokens=batch_tokens or (_BATCH_TOKENS if kind == "cpu" else _BATCH_TOKENS_ON_GPU),
            concurrency=self._replicas.count,
        )

    def overhead(self, role: Role) -> int:
        """How many tokens of the window special tokens take from a text: [CLS], and [SEP] unless it may be cut off."""
        return self._tokenizer.overhead(role) - self._given_up

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> Sequence[AnyTokenizedText]:
        """The tokens of each text, or its first ``limit`` ones."""
        tokenized = self._tokenizer.tokenize(texts, role, limit)
        if not self._given_up:
            return tokenized
        return [_HardCut(text, self._window, limit is None or text.tokens < limit) for text in tokenized]

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """For each input its vector, shape (1, H). Raises MemoryError for a batch that does not fit."""
        width = self._window if self.traits.padding == "window" else max(len(each.content) for each in inputs)
        ids = np.full((len(inputs), width), self._padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, seen, each in zip(ids, mask, inputs, strict=True):
            row[: len(each.content)] = each.content
            seen[: len(each.content)] = 1

        def forward(model: M2BertModel, device: torch.device) -> Float32:
            embedded = model.embed(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
            vectors: Float32 = embedded.float().cpu().numpy()
            return vectors

        return [vector[None] for vector in self._replicas.compute(forward)]


def _closes(tokenizer: Tokenizer) -> bool:
    """Whether a special token, as [SEP], stands behind a text."""
    (text,) = tokenizer.tokenize(["word"], "document")
    return bool(text.input(0, text.tokens).content[-1] != text.ids[-1])


@dataclass(frozen=True, eq=False)
class _HardCut:
    """A text whose closing special token stands at its very end alone, and only if the window has room for it.

    ``whole`` says that the text is known to end where its tokens do.
    """

    text: TokenizedText
    window: int
    whole: bool

    @property
    def tokens(self) -> int:
        return self.text.tokens

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        framed = self.text.input(start, stop, spans)
        ends = self.whole and stop >= self.text.tokens
        content = framed.content[: self.window] if ends else framed.content[:-1]
        return Input(content, len(content), framed.role, framed.spans)


def m2bert_encoder(card: ModelCard, runtime: Runtime) -> M2BertEncoder:
    """The encoder of a card, ready to run.

    Raises LocoError for a card, a device or a checkpoint that it cannot be, and where the model finds no memory.
    """
    parameters = parameters_of(card)
    if card.max_tokens is None:
        raise LocoError(f"The card of model '{card.name}' says no max_tokens. Mend the card.")
    devices = devices_of(runtime)
    dtype = dtype_of(runtime, devices[0])
    with fitting(card.name, devices[0], dtype):
        source = source_of(card, parameters)
        model = _model(card, parameters, card.max_tokens, source, runtime)
        config = cast(M2BertConfig, model.config)
        contents = f"{hashed(weight_file(source)) if parameters.init is None else card.revision} {_shape(config)}"
        tokenizer = _tokenizer(card, parameters, source, config.vocab_size)
        cast(torch.nn.Module, model).to(dtype)
        return M2BertEncoder(card, parameters, model, tokenizer, contents, devices, runtime.batch_tokens)


def _model(card: ModelCard, parameters: Parameters, window: int, source: Path, runtime: Runtime) -> M2BertModel:
    """The model on the CPU in single precision. Raises LocoError for weights that are not those of the card."""
    if parameters.init is not None:
        return _random(M2BertConfig(max_position_embeddings=window), parameters.seed or 0)
    model = load_model(source, config_for(parameters, window, source), allow_pickle=runtime.allow_pickle)
    found = cast(M2BertConfig, model.config).max_position_embeddings
    if found != window:
        raise LocoError(
            f"{source} is for a window of {found} tokens, and {card.name} has {window}: take the matching model."
        )
    expected = "window" if cast(M2BertConfig, model.config).pad_to_window else "longest"
    if parameters.padding != expected:
        raise LocoError(
            f"{source} has padding '{expected}', and {card.name} '{parameters.padding}': take the matching model."
        )
    return model


def config_for(parameters: Parameters, window: int, source: Path) -> M2BertConfig | None:
    """What the weights at a source are to be read by; None for what says so itself."""
    described = parameters.config == "own" or (source.is_dir() and (source / CONFIG).is_file())
    return None if described else M2BertConfig(max_position_embeddings=window)


def source_of(card: ModelCard, parameters: Parameters) -> Path:
    """The file or folder on this machine with the weights, downloaded now at the latest; none for random ones."""
    if card.checkpoint is not None:
        return Path(card.checkpoint).expanduser()
    if parameters.bundled is not None:
        return Path(__file__).with_name(parameters.bundled)
    if parameters.hub is None or parameters.weights is None:
        return Path()
    own = {CONFIG: parameters.config, TOKENIZER: parameters.tokenizer}
    names = [parameters.weights, *(name for name, whose in own.items() if whose == "own")]
    return fetched(parameters.hub, card.revision, names) / parameters.weights


def _shape(config: M2BertConfig) -> str:
    """All of a configuration that decides a vector. What came later is left out where it says what was always so:
    vectors that are stored and recorded stay what they are known by.
    """
    said = config.to_dict()
    if config.pad_to_window:
        del said["pad_to_window"]
    return json.dumps({name: said[name] for name in sorted(M2BertConfig.__annotations__) if name in said})


def _random(config: M2BertConfig, seed: int) -> M2BertModel:
    """Weights as the reference starts training with, drawn from a seed without touching anybody else's drawing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = M2BertModel(config)
    model.train(False)
    return model


def bert_tokenizer(file: Path | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer in a ``tokenizer.json``, or bert-base-uncased's. Raises LocoError for a file that is none."""
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    special |= {"cls_token": "[CLS]", "mask_token": "[MASK]"}
    if file is None:
        return PreTrainedTokenizerFast(tokenizer_object=reference_tokenizer(), **special)
    try:
        return PreTrainedTokenizerFast(tokenizer_file=str(file), **special)
    except Exception as error:  # the library has no kind of its own for a file it cannot read
        raise LocoError(f"{file} is no tokenizer: get the checkpoint again.") from error


def _tokenizer(card: ModelCard, parameters: Parameters, source: Path, words: int) -> PreTrainedTokenizerFast:
    """The card's tokenizer. Raises LocoError where it makes ids that the model has no vector for."""
    home = source if source.is_dir() else source.parent
    tokenizer = bert_tokenizer(home / TOKENIZER if parameters.tokenizer == "own" else None)
    if len(tokenizer) > words:
        raise LocoError(
            f"{card.name} has vectors for {words:,} words, and its tokenizer knows {len(tokenizer):,}: "
            "the two do not belong together."
        )
    return tokenizer

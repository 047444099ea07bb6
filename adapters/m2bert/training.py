"""M2-BERTs as something to train (:class:`loco.training.families.SentenceFamily` and ``MaskedFamily``)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco.training.families import Features

from .checkpoint import load_either, load_masked_lm
from .configuration import M2BertConfig, options
from .encoder import TOKENIZER, bert_tokenizer, config_for, source_of
from .modeling import M2BertForMaskedLM, M2BertModel
from .sentence import modules
from .settings import parameters_of
from .warm_start import extend

_GENERAL = {"use_cache", "torch_dtype"}  # what else transformers writes into a config.json
_MULTIPLE = 8  # a table of words of so many rows is faster on GPUs, and is what the reference has


class M2BertFamily:
    """Encoders for retrieval, padded to the window as the adapter does, and masked language models."""

    def start(self, card: ModelCard, runtime: Runtime, seed: int) -> SentenceTransformer:
        """See :meth:`loco.training.families.SentenceFamily.start`. A pooler that a pretrained model lacks is drawn."""
        parameters = parameters_of(card)
        if parameters.init is not None:
            raise LocoError(f"{card.name} has random weights: make some to start from with loco pretrain.")
        source = source_of(card, parameters)
        config = config_for(parameters, card.max_tokens or 0, source)
        loaded = load_either(source, config, allow_pickle=runtime.allow_pickle)
        model = loaded if isinstance(loaded, M2BertModel) else _with_pooler(loaded, seed)
        described = cast(M2BertConfig, model.config)
        described.hidden_dropout_prob = 0.0  # as the paper fine-tunes; SPEC 4.4
        if card.max_tokens != described.max_position_embeddings:
            window = described.max_position_embeddings
            raise LocoError(f"{source} is for a window of {window} tokens, and {card.name} has {card.max_tokens}.")
        own = (source if source.is_dir() else source.parent) / TOKENIZER
        tokenizer = bert_tokenizer(own if parameters.tokenizer == "own" else None)
        _check_words(tokenizer, described.vocab_size, str(source))
        with tempfile.TemporaryDirectory() as folder:
            _write(model, tokenizer, Path(folder))
            return SentenceTransformer(modules=modules(Path(folder)), device="cpu", similarity_fn_name="cosine")

    def save(self, model: SentenceTransformer, folder: Path) -> None:
        """See :meth:`loco.training.families.SentenceFamily.save`."""
        transformer: Any = model[0]
        _write(transformer.auto_model, transformer.tokenizer, folder)

    def tokenizer(self, source: Path | None) -> PreTrainedTokenizerFast:
        """See :meth:`loco.training.families.MaskedFamily.tokenizer`: bert-base-uncased's without a source."""
        if source is None:
            return bert_tokenizer()
        file = source / TOKENIZER if source.is_dir() else source
        if not file.is_file():
            raise LocoError(f"There is no {TOKENIZER} at {source}: name the folder or the file that has one.")
        tokenizer = bert_tokenizer(file)
        if missing := [
            token for token in tokenizer.all_special_tokens if tokenizer.convert_tokens_to_ids(token) is None
        ]:
            raise LocoError(f"{file} has no {missing[0]}, which masking needs. Take a tokenizer as BERT has it.")
        return tokenizer

    def fresh(self, shape: Mapping[str, Any], words: int, seed: int) -> PreTrainedModel:
        """See :meth:`loco.training.families.MaskedFamily.fresh`; ``shape`` holds options of :class:`M2BertConfig`."""
        strange = sorted(shape.keys() - options() - M2BertConfig().to_dict().keys() - _GENERAL)
        if strange:
            raise LocoError(f"An M2-BERT has no option {strange[0]!r}.")
        said = {name: value for name, value in shape.items() if name in options() and name != "vocab_size"}
        wide = -(-words // _MULTIPLE) * _MULTIPLE
        try:
            config = M2BertConfig(vocab_size=wide, **said)
        except LocoError:
            raise
        except Exception as error:  # the strict dataclass raises its own kinds
            raise LocoError(f"This is no shape of an M2-BERT: {str(error).splitlines()[0]}.") from error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return M2BertForMaskedLM(config)

    def pretrained(
        self, source: Path, window: int | None, features: Features, *, allow_pickle: bool
    ) -> PreTrainedModel:
        """See :meth:`loco.training.families.MaskedFamily.pretrained`, and :func:`.warm_start.extend`."""
        model: M2BertModel | M2BertForMaskedLM = load_masked_lm(source, allow_pickle=allow_pickle)
        if window is not None and window != self.window(model):
            model = extend(model, window, features)
        return model

    def window(self, model: PreTrainedModel) -> int:
        """See :meth:`loco.training.families.MaskedFamily.window`."""
        return cast(M2BertConfig, model.config).max_position_embeddings

    def save_masked(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
        """See :meth:`loco.training.families.MaskedFamily.save_masked`."""
        _write(model, tokenizer, folder)


def family() -> M2BertFamily:
    """The family (the entry point ``loco.training``)."""
    return M2BertFamily()


def _with_pooler(pretrained: M2BertForMaskedLM, seed: int) -> M2BertModel:
    """The encoder of a masked language model, with a pooler drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = M2BertModel(cast(M2BertConfig, pretrained.config))
    model.load_state_dict(pretrained.bert.state_dict(), strict=False)
    return model


def _check_words(tokenizer: PreTrainedTokenizerFast, words: int, name: str) -> None:
    if len(tokenizer) > words:
        raise LocoError(f"{name} has vectors for {words:,} words, and its tokenizer knows {len(tokenizer):,}.")


def _write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

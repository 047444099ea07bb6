"""M2-BERT's checkpoints rewritten (:class:`loco.models.checkpoints.CheckpointTool`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from loco.errors import LocoError
from loco.files import replacing_folder, write_atomically
from loco.models.checkpoints import CheckpointTool, Features
from loco.tokens.reference import vocabulary
from loco.training.card import TRAINING_CARD, training_card

from .checkpoint import load_either
from .configuration import M2BertConfig
from .encoder import TOKENIZER, bert_tokenizer
from .modeling import M2BertForMaskedLM, M2BertModel
from .warm_start import extend


class M2BertTool:
    """Writes folders with ``config.json``, ``model.safetensors`` and the tokenizer.

    The tokenizer is the checkpoint's own where one lies beside it, else bert-base-uncased's, where the checkpoint has
    its number of words; without either, none is written. What the model was trained on (``loco.json``) goes with it.
    """

    def convert(self, source: Path, target: Path, *, allow_pickle: bool) -> str:
        """See :meth:`loco.models.checkpoints.CheckpointTool.convert`."""
        _refuse_existing(target)
        return _written(load_either(source, allow_pickle=allow_pickle), source, target)

    def extend(self, source: Path, target: Path, window: int, features: Features, *, allow_pickle: bool) -> str:
        """See :meth:`loco.models.checkpoints.CheckpointTool.extend`, and :func:`.warm_start.extend`."""
        _refuse_existing(target)
        return _written(extend(load_either(source, allow_pickle=allow_pickle), window, features), source, target)


def tool() -> CheckpointTool:
    """The tool of this family (the entry point ``loco.checkpoints``)."""
    return M2BertTool()


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise LocoError(f"{target} already exists. Choose another folder or remove it.")


def _written(model: M2BertModel | M2BertForMaskedLM, source: Path, target: Path) -> str:
    config = cast(M2BertConfig, model.config)
    tokenizer = _tokenizer(source, config.vocab_size)
    trained = training_card(source)
    with replacing_folder(target) as fresh, _without_bars():
        model.save_pretrained(fresh)
        if tokenizer is not None:
            tokenizer.save_pretrained(fresh)
        if trained is not None:
            write_atomically(fresh / TRAINING_CARD, (trained.model_dump_json(indent=2) + "\n").encode())
    kind = "that embeds texts" if isinstance(model, M2BertModel) else "that predicts masked tokens"
    return f"an M2-BERT {kind}, window {config.max_position_embeddings:,}" + (
        "" if tokenizer else ", without tokenizer"
    )


@contextmanager
def _without_bars() -> Iterator[None]:
    """No bars over weights that are written in a moment."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _tokenizer(source: Path, words: int) -> PreTrainedTokenizerFast | None:
    beside = (source if source.is_dir() else source.parent) / TOKENIZER
    if beside.is_file():
        return bert_tokenizer(beside)
    return bert_tokenizer() if words >= len(vocabulary()) else None

"""M2-BERT for sentence-transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn
from torch.nn.functional import pad
from transformers import AutoConfig

from .configuration import M2BertConfig


def modules(folder: Path) -> list[nn.Module]:
    """What to give to ``SentenceTransformer(modules=...)`` for a folder with an M2-BERT and its tokenizer.

    Texts are cut at the window, the last [SEP] kept, and padded to it unless the model says otherwise: pads are text
    like any other to it, so a shorter input is embedded differently. One module makes the embeddings, as pooling and
    its dense layer are the model's own (:meth:`M2BertModel.embed`); so only position 0 goes through the last layer.
    """
    config: M2BertConfig = AutoConfig.from_pretrained(folder)
    window = config.max_position_embeddings
    transformer = Transformer(
        str(folder),
        modality_config={"text": {"method": "embed", "method_output_name": None}},
        module_output_name="sentence_embedding",
        processing_kwargs={
            "text": {
                "padding": "max_length" if config.pad_to_window else "longest",
                "truncation": True,
                "max_length": window,
            }
        },
    )
    if config.pad_to_window:
        transformer.register_forward_pre_hook(_fill_window)
    return [transformer]


def _fill_window(transformer: nn.Module, given: tuple[dict[str, Any]]) -> tuple[dict[str, Any]]:
    """Token ids of shape (B, L) to the whole window again: losses that cache gradients take padding for nothing, and
    cut off what all texts of a mini-batch have of it.
    """
    (features,) = given
    config = cast(M2BertConfig, cast(Transformer, transformer).auto_model.config)
    short = config.max_position_embeddings - features["input_ids"].shape[1]
    if short <= 0:
        return given
    values = {"input_ids": config.pad_token_id or 0, "attention_mask": 0, "token_type_ids": 0}
    filled = {name: pad(features[name], (0, short), value=values[name]) for name in values if name in features}
    return ({**features, **filled},)

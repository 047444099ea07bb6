"""M2-BERT for sentence-transformers."""

from __future__ import annotations

from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn
from transformers import AutoConfig

from .configuration import M2BertConfig


def modules(folder: Path) -> list[nn.Module]:
    """What to give to ``SentenceTransformer(modules=...)`` for a folder with an M2-BERT and its tokenizer.

    Texts are cut at the window, the last [SEP] kept, and always padded to it: pads are text like any other to this
    model, so a shorter input is embedded differently. One module makes the embeddings, as pooling and its dense layer
    are the model's own (:meth:`M2BertModel.embed`); so only position 0 goes through the last layer.
    """
    config: M2BertConfig = AutoConfig.from_pretrained(folder)
    window = config.max_position_embeddings
    return [
        Transformer(
            str(folder),
            modality_config={"text": {"method": "embed", "method_output_name": None}},
            module_output_name="sentence_embedding",
            processing_kwargs={"text": {"padding": "max_length", "truncation": True, "max_length": window}},
        )
    ]

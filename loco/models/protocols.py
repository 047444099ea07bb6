"""What a model must offer to be evaluated.

A model is either a :class:`Retriever`, which ranks by itself, or an :class:`Encoder`, which turns inputs into vectors
and leaves cutting, batching, storing and searching to ``loco.encode``. A :class:`Reranker` reorders what either has
found (``loco.compose``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from loco.models.card import ModelCard
from loco.rank.ranking import Float32, Ranking
from loco.tasks.data import TaskData

Role = Literal["query", "document"]
Similarity = Literal["cosine", "dot"]
Span = tuple[int, int]
TokenIds = npt.NDArray[np.int32]

_KEY_BYTES = 16


@runtime_checkable
class Retriever(Protocol):
    """A model that ranks a task's whole pool of documents by itself.

    One whose rankings stay the same however the words of its texts are reordered, as a bag of words does, says so by an
    attribute ``order_free = True`` (:func:`order_free`): what would have to be measured in many orders is then measured
    in one.
    """

    card: ModelCard

    def rank(self, task: TaskData, k: int) -> Ranking:
        """The ``k`` best documents for every query of ``task``.

        Mark the phases of the work with :func:`loco.phases.phase`; select with :class:`loco.rank.ranking.Pool`,
        which orders ties as trec_eval does.
        """
        ...


def order_free(model: object) -> bool:
    """Whether a model says that the order of words does not matter to it. Only a retriever can: an encoder has a
    window, and what stands behind it matters to nobody.
    """
    return isinstance(model, Retriever) and getattr(model, "order_free", False) is True


@dataclass(frozen=True, eq=False)
class Input:
    """What an encoder reads at once: at most its window.

    ``content`` is what the model is fed, prompt and special tokens included: token ids, shape (tokens,), or a text for
    a model that tokenises by itself. ``tokens`` is its length in the model's tokens, everything counted. With
    ``spans``, the encoder returns one vector a span ``(start, stop)`` of token positions of ``content``, the mean of
    the token vectors there; without, one vector for the whole. Of an encoder of token vectors it is a ``bag`` of so
    many vectors, one for each token that counts, which are stored and found together.
    """

    content: TokenIds | str
    tokens: int
    role: Role
    spans: tuple[Span, ...] = ()
    bag: int | None = None

    @property
    def vectors(self) -> int:
        """How many vectors this input becomes."""
        return self.bag if self.bag is not None else len(self.spans) or 1

    def vector_keys(self) -> list[bytes]:
        """16 bytes for each vector, or for a whole bag, equal only for equal content, role, and span or size of bag."""
        digest = hashlib.blake2b(self.role.encode(), digest_size=_KEY_BYTES)
        if isinstance(self.content, str):
            digest.update(b"text\0" + self.content.encode("utf-8", "surrogatepass"))
        else:
            digest.update(b"ids\0" + self.content.astype("<i4", copy=False).tobytes())
        if self.bag is not None:
            digest.update(f"\0bag {self.bag}".encode())
        if not self.spans:
            return [digest.digest()]
        keys = []
        for start, stop in self.spans:
            spanned = digest.copy()
            spanned.update(f"\0{start}:{stop}".encode())
            keys.append(spanned.digest())
        return keys


class TokenizedText(Protocol):
    """The tokens of one text, without prompt and special tokens, as something to cut inputs from."""

    @property
    def tokens(self) -> int:
        """How many tokens the text has, or the limit if it was tokenised only up to there and goes on."""
        ...

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """Tokens ``start`` to ``stop`` with the prompt and special tokens around them.

        ``spans`` count in tokens of the text. In the input's own spans the first one is extended to the front, over
        the special tokens and the prompt, the last one to the end.
        """
        ...


@dataclass(frozen=True)
class EncoderTraits:
    """What loco must know of a loaded encoder.

    - ``fingerprint``: a hash of everything that decides a vector and is not named here: weights, tokenizer, pooling.
    - ``dim``: length of its vectors.
    - ``max_tokens``: its window, prompt and special tokens included; None for a model without tokenizer, which takes
      texts whole and cuts them where loco cannot see it.
    - ``similarity``: what its vectors are compared by.
    - ``dtype``, ``device``: the precision its forward pass runs in, and on what ("cpu", "cuda", "api").
    - ``padding``: "longest" pads to the longest input of a batch (to nothing, alone), "window" always to the window.
    - ``unit_length``: whether all its vectors have length 1.
    - ``spans``: whether it can return vectors of spans (late chunking); that takes mean pooling.
    - ``token_vectors``: whether an input becomes a vector for each of its tokens that counts (late interaction), all
      of them :attr:`Input.bag`; a query and a document are then compared by MaxSim over dot products.
    - ``query_tokens``, ``document_tokens``: the window of a role where it is shorter than ``max_tokens``.
    - ``batch_tokens``: padded tokens it computes best at once.
    - ``batch_inputs``: inputs it takes at once, None for any number.
    - ``concurrency``: how many batches it computes at the same time, each in a thread of its own.
    """

    fingerprint: str
    dim: int
    max_tokens: int | None
    similarity: Similarity = "cosine"
    dtype: str = "float32"
    device: str = "cpu"
    padding: Literal["longest", "window"] = "longest"
    unit_length: bool = False
    spans: bool = False
    token_vectors: bool = False
    query_tokens: int | None = None
    document_tokens: int | None = None
    batch_tokens: int = 2048
    batch_inputs: int | None = None
    concurrency: int = 1

    def window(self, role: Role) -> int | None:
        """How many tokens an input of a role may have, prompt and special tokens included."""
        own = self.query_tokens if role == "query" else self.document_tokens
        return self.max_tokens if own is None else own


@runtime_checkable
class Encoder(Protocol):
    """A model that turns texts into vectors, one at a time and whatever else stands in the batch."""

    card: ModelCard
    traits: EncoderTraits

    def overhead(self, role: Role) -> int:
        """How many tokens of the window the prompt and the special tokens of a role take."""
        ...

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> Sequence[TokenizedText]:
        """The tokens of each text, or its first ``limit`` ones: exactly those the whole text begins with.

        Raises :class:`loco.errors.BadText` for a text it cannot read.
        """
        ...

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """For each input its vectors, shape (vectors, dim).

        Called from ``traits.concurrency`` threads. Raises MemoryError for a batch that does not fit: it is then tried
        in halves; :class:`loco.errors.BadText` where there is an input that it cannot take.
        """
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An encoder whose :meth:`Encoder.encode` may wait for long, for a service that is busy."""

    def interrupt(self) -> None:
        """Have calls under way give up waiting, with a LocoError; what is being answered is answered. Later ones are
        not concerned.
        """
        ...


@dataclass(frozen=True, eq=False)
class Pair:
    """What a reranker reads at once: token ids of a query and of a document, or of a piece of one, without special
    tokens, each of shape (tokens,).
    """

    query: TokenIds
    document: TokenIds

    @property
    def tokens(self) -> int:
        """Tokens of both, special tokens not counted."""
        return len(self.query) + len(self.document)

    def key(self) -> bytes:
        """16 bytes, equal only for equal tokens on both sides."""
        digest = hashlib.blake2b(f"pair {len(self.query)}\0".encode(), digest_size=_KEY_BYTES)
        for ids in (self.query, self.document):
            digest.update(ids.astype("<i4", copy=False).tobytes())
        return digest.digest()


@dataclass(frozen=True)
class RerankerTraits:
    """What loco must know of a loaded reranker.

    - ``fingerprint``: a hash of everything that decides a score and is not named here: weights, tokenizer.
    - ``max_tokens``: its window: tokens of a query and a document together, ``overhead`` special tokens included.
    - ``dtype``, ``device``, ``batch_tokens``, ``concurrency``: as :class:`EncoderTraits` has them.
    """

    fingerprint: str
    max_tokens: int
    overhead: int
    dtype: str = "float32"
    device: str = "cpu"
    batch_tokens: int = 2048
    concurrency: int = 1


@runtime_checkable
class Reranker(Protocol):
    """A model that reads a query together with a document and says how well they go together."""

    card: ModelCard
    traits: RerankerTraits

    def token_ids(self, texts: Sequence[str], role: Role) -> Sequence[TokenIds]:
        """The token ids of each text, to its end, without special tokens.

        Raises :class:`loco.errors.BadText` for a text it cannot read.
        """
        ...

    def score(self, pairs: Sequence[Pair]) -> Float32:
        """A number for each pair, shape (pairs,), higher for a better document, whatever else stands in the batch.

        Called from ``traits.concurrency`` threads. Raises MemoryError for a batch that does not fit.
        """
        ...

"""A class of the user's own as a model: ``--model my_module:MyEncoder``.

The least there is to write, found in the current directory or installed::

    class MyEncoder:
        def encode(self, texts: list[str], role: str) -> np.ndarray: ...

``role`` is "query" or "document", the array has shape (texts, dim). What else the class may say of itself, as
attributes of the class or set by its constructor:

- ``tokenizer`` and ``max_tokens``: what texts are cut by, and the window in its tokens. Without them texts go whole.
- ``similarity``: "cosine" (the default) or "dot".
- ``revision``: changes whenever the same class would rank differently. Without one, the SHA-256 of its source file
  stands for it, which knows nothing of weights loaded from elsewhere.
- ``name``: what results call it; ``module:Class`` otherwise.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loco.errors import LocoError
from loco.files import sha256_of
from loco.models.card import ModelCard
from loco.models.protocols import EncoderTraits, Input, Role, Similarity, Span, TokenizedText
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32

_SPEC = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*)")
_LONGEST_NAME = 200
_LONGEST_WINDOW = 10**9

# How much a class is handed at once. It makes batches of its own of that; a store keeps what comes back.
_BATCH_TOKENS = 16_384
_BATCH_TEXTS = 32


def card_of_class(spec: str) -> ModelCard | None:
    """The card of the class called ``module:Class``, which is imported and constructed; None for another form of name.

    Raises LocoError for a class that cannot be imported or constructed, or says something of itself that cannot be.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        return None
    model = _instance(spec)
    tokenized = _is_tokenized(model, spec)
    return ModelCard(
        name=_stated(model, spec, "name", default=spec),
        family="class",
        revision=_stated(model, spec, "revision", default="") or _revision_of_source(spec),
        description="A class of the user's own; what it was trained on is not known to loco",
        licence="",
        url="",
        trained_on_loco=False,
        max_tokens=model.max_tokens if tokenized else None,
        parameters={"class": spec, "similarity": _similarity(model, spec)},
        factory=f"{__name__}:{text_encoder.__name__}",
        strategies=("truncate", "chunk", "chunk-max") if tokenized else ("full",),
    )


def text_encoder(card: ModelCard, runtime: Runtime) -> TextEncoder:
    """The encoder around the class a card of :func:`card_of_class` stands for."""
    return TextEncoder(card, _instance(str(card.parameters["class"])), runtime)


class TextEncoder:
    """An encoder made of anything with ``encode(texts, role)``."""

    def __init__(self, card: ModelCard, model: Any, runtime: Runtime) -> None:
        self.card = card
        self._name = str(card.parameters["class"])
        self._model = model
        self._cutter = SpanCutter(model.tokenizer) if card.max_tokens is not None else None
        self._dim: int | None = None
        self.traits = EncoderTraits(
            fingerprint=hashlib.sha256(f"{self._name}\0{card.revision}".encode()).hexdigest(),
            dim=len(self._vectors(["dimension"], "document")[0]),
            max_tokens=card.max_tokens,
            similarity=_similarity(model, self._name),
            batch_tokens=(runtime.batch_tokens or _BATCH_TOKENS) if self._cutter else _BATCH_TEXTS,
        )
        self._dim = self.traits.dim

    def overhead(self, role: Role) -> int:
        """The special tokens of the tokenizer; what prompts the class adds by itself is not known."""
        return self._cutter.special_tokens if self._cutter else 0

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> Sequence[TokenizedText]:
        """The texts with the spans of their tokens, or as they are for a class without a tokenizer."""
        if self._cutter is None:
            return [WholeText(text, role) for text in texts]
        with _blamed(f"{self._name}.tokenizer"):
            return self._cutter.tokenize(texts, role, limit)

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        """One vector an input, in one call of the class for each role."""
        encoded: dict[int, Float32] = {}
        for role in dict.fromkeys(piece.role for piece in inputs):
            places = [place for place, piece in enumerate(inputs) if piece.role == role]
            vectors = self._vectors([str(inputs[place].content) for place in places], role)
            encoded.update(zip(places, vectors[:, np.newaxis, :], strict=True))
        return [encoded[place] for place in range(len(inputs))]

    def _vectors(self, texts: list[str], role: Role) -> Float32:
        with _blamed(f"{self._name}.encode"):
            count = len(texts)
            return as_vectors(self._model.encode(texts, role), count, self._dim, self._name)


@dataclass(frozen=True)
class WholeText:
    """A text for a model that loco knows no tokens of: one token, or none if there is nothing but white space."""

    text: str
    role: Role

    @property
    def tokens(self) -> int:
        """1 or 0."""
        return int(bool(self.text.strip()))

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """The whole text, whatever the positions."""
        return Input(self.text, 1, self.role)


@dataclass(frozen=True, eq=False)
class SpannedText:
    """A text and where its tokens start: one character position a token."""

    text: str
    starts: npt.NDArray[np.intp]
    tokens: int
    special_tokens: int
    role: Role

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """The characters from the start of token ``start`` up to that of token ``stop``.

        Adjacent pieces so share no character and lose none. A piece all of whose tokens are parts of one character is
        that character. The model tokenises the piece again: at its ends a few tokens may come out differently.
        """
        if spans:
            raise ValueError("a model that takes texts has no vectors of spans")
        first = int(self.starts[start]) if start else 0
        last = int(self.starts[stop]) if stop < len(self.starts) else len(self.text)
        return Input(self.text[first : max(last, first + 1)], stop - start + self.special_tokens, self.role)


class SpanCutter:
    """Cuts texts by the character spans of their tokens, for models that take texts.

    ``tokenizer`` is a fast tokenizer of transformers, a tokenizers.Tokenizer, or a callable that returns the (start,
    stop) of every token of a text, in order. Only the first two can say how many special tokens surround a text
    (``special_tokens``); for a callable it is 0.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        self.special_tokens: int
        self._spans_of_all: Callable[[Sequence[str]], Iterator[Sequence[Span]]]
        if hasattr(backend, "encode_batch"):
            # A copy, since a tokenizer comes with settings to truncate and pad, and this one is not ours to change.
            with _blamed("The tokenizer", "cannot be copied (give a function instead)"):
                copy = type(backend).from_str(backend.to_str())
                copy.no_truncation()
                copy.no_padding()
                self.special_tokens = int(copy.num_special_tokens_to_add(False))
            self._spans_of_all = lambda texts: (
                encoding.offsets for encoding in copy.encode_batch(list(texts), add_special_tokens=False)
            )
        elif callable(tokenizer) and not hasattr(tokenizer, "is_fast"):
            self.special_tokens = 0
            self._spans_of_all = lambda texts: map(tokenizer, texts)
        else:
            raise LocoError(
                f"The tokenizer {type(tokenizer).__name__} does not tell where its tokens stand in a text. Use a fast "
                "tokenizer of transformers, a tokenizers.Tokenizer, or a function text -> [(start, stop), ...]."
            )

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> list[SpannedText]:
        """The texts with their tokens; a text has at most ``limit``, and is not said to have more."""
        return [
            self._spanned(text, spans, role, limit)
            for text, spans in zip(texts, self._spans_of_all(texts), strict=True)
        ]

    def _spanned(self, text: str, spans: Sequence[Span], role: Role, limit: int | None) -> SpannedText:
        starts = _starts(text, spans)
        tokens = len(starts) if limit is None else min(limit, len(starts))
        return SpannedText(text, starts, tokens, self.special_tokens, role)


def _starts(text: str, spans: Sequence[Span]) -> npt.NDArray[np.intp]:
    """Where tokens start, never going back: the parts of one character may stand in any order."""
    try:
        pairs = np.array([tuple(span) for span in spans], dtype=np.intp).reshape(len(spans), 2)
        wrong = pairs.min(initial=0) < 0 or pairs.max(initial=0) > len(text)
    except (TypeError, ValueError):
        wrong = True
    if wrong:
        raise LocoError(
            f"The tokenizer returned {_described(spans)} for a text of {len(text)} characters; it must return the "
            "(start, stop) of every token in it."
        )
    return np.minimum(np.maximum.accumulate(pairs[:, 0]), max(len(text) - 1, 0))


def as_vectors(returned: Any, count: int, dim: int | None, name: str) -> Float32:
    """What a model returned for ``count`` texts as an array of float32, shape (count, dim), a copy.

    Tensors, arrays and lists are taken. Raises LocoError that names the model for anything of another shape, and for
    vectors of another length than ``dim``, unless that is None.
    """
    try:
        array = np.asarray(_on_the_host(returned))
    except (ValueError, TypeError, RuntimeError):  # ragged, or a tensor that NumPy cannot hold
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or len(array) != count or not array.size:
        raise LocoError(
            f"{name}.encode returned {_described(returned)} for {count} texts; it must return numbers of shape "
            f"({count}, dimensions)."
        )
    if dim is not None and array.shape[1] != dim:
        raise LocoError(
            f"{name}.encode returned vectors of length {array.shape[1]}, and of length {dim} before: it must be one."
        )
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, which is reported with its text
        return array.astype(np.float32)


def _on_the_host(returned: Any) -> Any:
    """A tensor as an array (bfloat16, which NumPy does not have, as float32); a list part by part."""
    if isinstance(returned, list | tuple):
        return [_array(part) for part in returned]
    return _array(returned)


def _array(returned: Any) -> Any:
    return returned.detach().cpu().float().numpy() if hasattr(returned, "detach") else returned


def _described(returned: Any) -> str:
    kind = type(returned).__name__
    shape = getattr(returned, "shape", None)
    if shape is not None:
        return f"{kind} of {getattr(returned, 'dtype', '?')}, shape {tuple(shape)}"
    return f"{kind} of length {len(returned)}" if hasattr(returned, "__len__") else kind


@cache
def _instance(spec: str) -> Any:
    """The one instance of the class, made once a process: it may hold a large model."""
    model = _constructor(spec)()
    if not callable(getattr(model, "encode", None)):
        raise LocoError(f"{spec} has no method encode(texts, role). Write one; see docs/models.md.")
    return model


def _constructor(spec: str) -> Callable[[], Any]:
    module_name, _, attribute = spec.partition(":")
    folder = os.getcwd()  # noqa: PTH109  (as sys.path holds it)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # where python -m would look first
    importlib.invalidate_caches()
    with _blamed(f"The module {module_name}", "cannot be imported"):
        module = importlib.import_module(module_name)
        found = getattr(module, attribute, None)
    if not callable(found):
        raise LocoError(f"The module {module_name} has no class {attribute}. Write module:Class as it is spelt there.")

    def construct() -> Any:
        with _blamed(spec, "cannot be constructed without arguments"):
            return found()

    return construct


@contextmanager
def _blamed(what: str, how: str = "failed") -> Iterator[None]:
    """Turn an error of the user's code into one line that says where in it."""
    try:
        yield
    except (LocoError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # what is written in Rust panics with one that is no Exception
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which loco answers with smaller batches
            raise MemoryError from error
        try:
            message = f"{type(error).__name__}: {error}".strip().splitlines()[0].rstrip(".:")
        except Exception:
            message = type(error).__name__
        raise LocoError(f"{what} {how}: {message}{_place(error)}.") from error


def _place(error: BaseException) -> str:
    """The line of the user's code that an error came out of, where there is one."""
    ours = (__file__, importlib.__file__)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename not in ours and not frame.filename.startswith("<"):
            return f" ({frame.filename}, line {frame.lineno})"
    return ""


def _attribute(model: Any, spec: str, name: str, default: Any = None) -> Any:
    with _blamed(f"{spec}.{name}"):
        return getattr(model, name, default)


def _is_tokenized(model: Any, spec: str) -> bool:
    window, tokenizer = _attribute(model, spec, "max_tokens"), _attribute(model, spec, "tokenizer")
    if (window is None) != (tokenizer is None):
        present, absent = ("tokenizer", "max_tokens") if window is None else ("max_tokens", "tokenizer")
        raise LocoError(f"{spec} has {present} and no {absent}. Give it both, or neither and texts go to it whole.")
    if window is not None and (
        not isinstance(window, int) or isinstance(window, bool) or not 1 <= window <= _LONGEST_WINDOW
    ):
        shown = "too large" if isinstance(window, int) and window > _LONGEST_WINDOW else repr(window)
        raise LocoError(f"{spec}.max_tokens is {shown}. Give it the window as a whole number of tokens.")
    return window is not None


def _similarity(model: Any, spec: str) -> Similarity:
    similarity: Similarity = _attribute(model, spec, "similarity", "cosine")
    if similarity not in ("cosine", "dot"):
        raise LocoError(f"{spec}.similarity is {similarity!r}. Give it 'cosine' or 'dot'.")
    return similarity


def _stated(model: Any, spec: str, attribute: str, *, default: str) -> str:
    value = _attribute(model, spec, attribute)
    if value is None:
        return default
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _LONGEST_NAME:
        raise LocoError(
            f"{spec}.{attribute} is {value!r}. Give it a text of 1 to {_LONGEST_NAME} printable characters."
        )
    return value


def _revision_of_source(spec: str) -> str:
    module_name, _, attribute = spec.partition(":")
    module = sys.modules[module_name]
    defining = inspect.getmodule(getattr(module, attribute)) or module
    try:
        source = inspect.getsourcefile(defining)
    except TypeError:  # a module without a file
        source = None
    if source is None or not Path(source).is_file():
        raise LocoError(f'{spec} has no source file to tell its versions by. Name one: revision = "1" in the class.')
    return f"sha256:{sha256_of(Path(source))}"

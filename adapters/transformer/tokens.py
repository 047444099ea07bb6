"""Texts to token ids, the same ids as transformers' tokenizers give but sooner, and inputs cut from them.

Two shortcuts make it fast and keep memory bounded. A text of which only the beginning is needed is tokenised only that
far, and a long text is tokenised in segments, all cores at once. Both cut a text at a plain space between two letters
or digits, and only with a tokenizer that is known to split there and look no further (:mod:`.cuts`); with any other
one, texts are tokenised whole.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tokenizers

from loco.errors import BadText, LocoError
from loco.models.protocols import Input, Role, Span, TokenIds

from .cuts import CUT, PROBE, Encode, way_to_cut

_SEGMENT = 1 << 15  # characters
_AT_ONCE = 1 << 20  # characters; an encoding takes some hundred bytes a token until its ids are copied
_CHARACTERS_A_TOKEN = 5  # of English prose, rarely more: a guess too low costs a second look, one too high work


@dataclass(frozen=True, eq=False)
class _Frame:
    """What stands around a text: special ``prefix`` tokens, the ``prompt``'s own, special ``suffix`` tokens."""

    role: Role
    text: str
    prefix: TokenIds
    prompt: TokenIds
    suffix: TokenIds


@dataclass(frozen=True, eq=False)
class TokenizedText:
    """The tokens of one text (:class:`loco.models.protocols.TokenizedText`).

    ``ids`` are those of prompt and text tokenised together, the first ``head`` being the prompt's: where a token spans
    the border, it is the text's.
    """

    ids: TokenIds
    head: int
    frame: _Frame

    @property
    def tokens(self) -> int:
        """How many tokens the text has, at most the limit it was tokenised to."""
        return len(self.ids) - self.head

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        """Tokens ``start`` to ``stop`` with the prompt and special tokens around them.

        From the beginning of the text it is what the tokenizer makes of prompt and text together; further on, the
        prompt as it stands before most words comes before the tokens.
        """
        frame = self.frame
        prompt = frame.prompt if start else self.ids[: self.head]
        front = len(frame.prefix) + len(prompt)
        content = np.concatenate(
            (frame.prefix, prompt, self.ids[self.head + start : self.head + stop], frame.suffix), dtype=np.int32
        )
        own = [(begin - start + front, end - start + front) for begin, end in spans]
        if own:
            own[0] = (0, own[0][1])
            own[-1] = (own[-1][0], len(content))
        return Input(content, len(content), frame.role, tuple(own))


class Tokenizer:
    """A transformers tokenizer, fast or slow, with the prompts of a model.

    ``prompts`` are put before the texts of a role, "query" or "document"; none where a role is missing. Settings of
    the tokenizer for truncation and padding have no effect.

    ``pad_id`` is an id to fill a batch with, any where the tokenizer knows none.
    """

    _segment = _SEGMENT

    def __init__(self, tokenizer: Any, prompts: Mapping[Role, str]) -> None:
        self._encode, self._backend = _encoder(tokenizer)
        affixes = _affixes(tokenizer, self._encode)
        if affixes is None and self._backend is not None:  # a class that does more than its backend
            self._encode, self._backend = _called(tokenizer), None
            affixes = _affixes(tokenizer, self._encode)
        if affixes is None:
            raise LocoError(
                f"The tokenizer {type(tokenizer).__name__} does not put its special tokens around a text, so texts "
                "cannot be cut into inputs for it. Use another model."
            )
        self._cut = None if self._backend is None else way_to_cut(self._backend, self._encode)
        self._tokenizer = tokenizer
        pad = getattr(tokenizer, "pad_token_id", None)
        self.pad_id: int = 0 if pad is None else int(pad)
        self._frames = {role: self._frame(role, prompts.get(role, ""), *affixes) for role in get_args(Role)}

    @property
    def cuts_freely(self) -> bool:
        """Whether long texts are tokenised in segments, and no further than needed."""
        return self._cut is not None

    def overhead(self, role: Role) -> int:
        """How many tokens of an input the prompt and the special tokens of a role take."""
        frame = self._frames[role]
        return len(frame.prefix) + len(frame.prompt) + len(frame.suffix)

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> list[TokenizedText]:
        """The tokens of each text, or its first ``limit`` ones: exactly those the whole text begins with.

        Raises BadText for a text with a lone surrogate.
        """
        frame = self._frames[role]
        for index, text in enumerate(texts):
            if reason := _surrogate(text):
                raise BadText(index, reason)
        enough = None if limit is None else len(frame.prompt) + limit
        readings = [_Reading(frame.text + text, enough) for text in texts]
        self._read(readings)
        return [self._framed(frame, reading.ids(), text, limit) for reading, text in zip(readings, texts, strict=True)]

    def fingerprint(self) -> str:
        """A hash of everything that decides ids: the tokenizer, its special tokens, the prompts."""
        digest = hashlib.sha256()
        for part in _parts(self._tokenizer, self._backend, self._encode):
            digest.update(len(part).to_bytes(8, "big") + part)
        for frame in self._frames.values():
            state = [frame.text, frame.prefix.tolist(), frame.prompt.tolist(), frame.suffix.tolist()]
            digest.update(json.dumps(state).encode())
        return digest.hexdigest()

    def _frame(self, role: Role, prompt: str, prefix: TokenIds, suffix: TokenIds) -> _Frame:
        """A prompt's own tokens are those that it keeps before a word.

        Most prompts end in a space, which many tokenizers make a part of the word that follows and a token of its own
        only where none does.
        """
        if reason := _surrogate(prompt):
            raise LocoError(f"The prompt for a {role} {reason}. Correct it where the model's prompts are written.")
        if not prompt:
            return _Frame(role, prompt, prefix, np.empty(0, np.int32), suffix)
        alone, *before = self._encode([prompt, prompt + "the", prompt + "The"])
        if prompt[-1].isspace() and any(_in_common(alone, ids) == len(alone) - 1 for ids in before):
            alone = alone[:-1]
        return _Frame(role, prompt, prefix, alone, suffix)

    def _framed(self, frame: _Frame, ids: TokenIds, text: str, limit: int | None) -> TokenizedText:
        head = _in_common(ids, frame.prompt) if text else len(ids)
        if limit is not None and len(ids) > head + limit:
            ids = ids[: head + limit].copy()  # not a view, which would keep the rest in memory
        return TokenizedText(ids, head, frame)

    def _read(self, readings: Sequence[_Reading]) -> None:
        """Tokenise each as far as needed. One look is mostly enough, a text of unusually long tokens takes more."""
        waiting = [reading for reading in readings if reading.unfinished]
        while waiting:
            segments = ((reading, segment) for reading in waiting for segment in self._segments(reading))
            for batch in _batched(segments):
                ids = self._encode([segment for _, segment in batch])
                for (reading, _), part in zip(batch, ids, strict=True):
                    reading.parts.append(part)
            waiting = [reading for reading in waiting if reading.unfinished]

    def _segments(self, reading: _Reading) -> Iterator[str]:
        """The next segments of a text, as many as probably give the tokens that are missing."""
        text = reading.text
        if self._cut is None:
            reading.start = len(text)
            yield text
            return
        missing = reading.missing
        until = len(text) if missing is None else min(len(text), reading.start + missing * _CHARACTERS_A_TOKEN)
        while reading.start < until:
            start = reading.start
            space = CUT.search(text, min(start + self._segment, until))
            stop = space.start() if space else len(text)
            reading.start = stop + (self._cut == "drop")
            yield text[start:stop]


@dataclass(eq=False)
class _Reading:
    """A text that is being tokenised: up to ``start``, until there are ``enough`` tokens; None means all."""

    text: str
    enough: int | None
    start: int = 0
    parts: list[TokenIds] = field(default_factory=list)

    @property
    def missing(self) -> int | None:
        return None if self.enough is None else self.enough - sum(map(len, self.parts))

    @property
    def unfinished(self) -> bool:
        missing = self.missing
        return self.start < len(self.text) and (missing is None or missing > 0)

    def ids(self) -> TokenIds:
        return np.concatenate(self.parts, dtype=np.int32) if self.parts else np.empty(0, np.int32)


def _batched(segments: Iterable[tuple[_Reading, str]]) -> Iterator[list[tuple[_Reading, str]]]:
    batch: list[tuple[_Reading, str]] = []
    characters = 0
    for segment in segments:
        batch.append(segment)
        characters += len(segment[1])
        if characters >= _AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _surrogate(text: str) -> str | None:
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        return f"holds a lone surrogate (U+{code:04X} at character {error.start}), which is not valid text"
    return None


def _in_common(ids: TokenIds, prompt: TokenIds) -> int:
    """How many tokens both begin with."""
    shorter = min(len(ids), len(prompt))
    differing = np.flatnonzero(ids[:shorter] != prompt[:shorter])
    return int(differing[0]) if len(differing) else shorter


# --- The tokenizer ---------------------------------------------------------------------------------------------------


def _encoder(tokenizer: Any) -> tuple[Encode, tokenizers.Tokenizer | None]:
    """What makes ids of texts, without special tokens, and the backend it works with where there is one to work with.

    The backend is a copy: truncation and padding are state of the original, which its file may switch on and every
    call may change.
    """
    original = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(original, tokenizers.Tokenizer):
        return _called(tokenizer), None
    try:
        backend = tokenizers.Tokenizer.from_str(original.to_str())
    except Exception:  # parts written in Python cannot be copied, and the library has no error of its own for it
        return _called(tokenizer), None
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))

    def encode(texts: list[str]) -> list[TokenIds]:
        encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    return encode, backend


def _called(tokenizer: Any) -> Encode:
    """Ids of texts, without special tokens, from a tokenizer as it is."""

    def encode(texts: list[str]) -> list[TokenIds]:
        encoded = tokenizer(texts, add_special_tokens=False, truncation=False, padding=False, verbose=False)
        return [np.array(ids, dtype=np.int32) for ids in encoded["input_ids"]]

    return encode


def _affixes(tokenizer: Any, encode: Encode) -> tuple[TokenIds, TokenIds] | None:
    """The special tokens before and after every text; None where ``encode`` does not give what stands between."""
    probes = ["word", PROBE]
    full = [np.array(ids, dtype=np.int32) for ids in tokenizer(probes, truncation=False, verbose=False)["input_ids"]]
    bare = encode(probes)
    special = len(full[0]) - len(bare[0])
    for before in range(special + 1):
        prefix, suffix = full[0][:before], full[0][len(full[0]) - special + before :]
        framed = [np.concatenate((prefix, ids, suffix)) for ids in bare]
        if all(map(np.array_equal, framed, full)):
            return prefix, suffix
    return None


def _parts(tokenizer: Any, backend: tokenizers.Tokenizer | None, encode: Encode) -> Iterator[bytes]:
    """What a tokenizer is made of, as far as that can be had: of one written in Python also what it makes of a text."""
    if backend is not None:
        yield f"backend {backend.encode_special_tokens}".encode()
        yield backend.to_str().encode()
        return
    yield f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}".encode()
    yield json.dumps(sorted(tokenizer.get_vocab().items())).encode()
    yield json.dumps(sorted((number, repr(token)) for number, token in tokenizer.added_tokens_decoder.items())).encode()
    with tempfile.TemporaryDirectory() as folder:  # merges and the like, which only the files have
        original = getattr(tokenizer, "backend_tokenizer", None)
        saved = tokenizer.save_vocabulary(folder) if original is None else original.model.save(folder)
        for path in sorted(map(Path, saved)):
            yield path.read_bytes()
    yield encode([PROBE])[0].tobytes()

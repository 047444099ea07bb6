r"""What a user writes for a model made of models, read.

    fuse(bm25, ./minilm: chunk-max, method=rrf, k=60)
    rerank(fuse(bm25, ./minilm), BAAI/bge-reranker-base@100: truncate)

A part is any name of a model, such a call included. Behind it may stand its own strategy, after a colon and a blank: a
colon alone belongs to the name (``module:Class``, ``openai:model@http://...``, ``C:\models``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loco.errors import LocoError, unknown
from loco.score.metrics import DEPTH

METHODS = ("rrf", "minmax")
K = 60  # of reciprocal rank fusion, as in its paper

_DECIMALS = 6  # of a weight: with nine digits before them, what a float holds exactly enough to be written again

_WAYS = ("fuse", "rerank")
_SETTINGS = ("method", "k", "weights")
_CALL = re.compile(r"\s*(?P<way>[A-Za-z]\w*)\s*\((?P<inside>.*)\)\s*", re.DOTALL)
_BEGINNING = re.compile(rf"\s*({'|'.join(_WAYS)})\s*\(")
_SETTING = re.compile(r"(?P<name>[A-Za-z]\w*)\s*=\s*(?P<value>.*)", re.DOTALL)
_RERANKER = re.compile(r"(?P<model>.+)@(?P<depth>\d{1,9})", re.ASCII | re.DOTALL)
_NUMBER = re.compile(rf"\d{{1,9}}(\.\d{{1,{_DECIMALS}}})?", re.ASCII)
_LONGEST = 2000  # characters
_DEEPEST = 4  # calls in each other
_MOST_PARTS = 10
_LARGEST_K = 100_000
_EXAMPLE = "fuse(bm25, all-MiniLM-L6-v2, method=rrf)"


@dataclass(frozen=True)
class NamedPart:
    """A part as written: a model's name, or what is made of models; its own strategy, None where none is written."""

    model: str | Fuse | Rerank
    strategy: str | None = None


@dataclass(frozen=True)
class Method:
    """How rankings are fused (:mod:`loco.compose.fusion`).

    ``k`` is that of reciprocal rank fusion, None with another method. ``weights`` are one a part, or none for equal
    ones.
    """

    name: str = "rrf"
    k: int | None = K
    weights: tuple[float, ...] = ()

    @property
    def settings(self) -> str:
        """As names of models have it: ``method=rrf, k=60``."""
        said = [f"method={self.name}"]
        if self.k is not None:
            said.append(f"k={self.k}")
        if self.weights:
            said.append(f"weights=({', '.join(map(_plain, self.weights))})")
        return ", ".join(said)


@dataclass(frozen=True)
class Fuse:
    """Rankings fused."""

    parts: tuple[NamedPart, ...]
    method: Method


@dataclass(frozen=True)
class NamedReranker:
    """A reranker as written, ``MODEL@K: strategy``: it reorders the ``depth`` best documents of each query."""

    model: str
    depth: int
    strategy: str | None = None


@dataclass(frozen=True)
class Rerank:
    """A first stage, and what reranks its best."""

    first: NamedPart
    reranker: NamedReranker


def is_composition(name: str) -> bool:
    """Whether a model's name is meant as a call of ``fuse`` or ``rerank``."""
    return _BEGINNING.match(name) is not None


def parse_composition(text: str) -> Fuse | Rerank:
    """What is written. Raises LocoError for what cannot be read, with an example or a suggestion."""
    if len(text) > _LONGEST:
        raise LocoError(f"A model's name of {len(text):,} characters is too long: {_LONGEST:,} at most. Name fewer.")
    return _composition(text, 1)


def parse_reranker(text: str) -> NamedReranker:
    """What stands behind ``--rerank``: ``MODEL@K``, ``MODEL@K: strategy``. Raises LocoError for anything else."""
    shown = _shown(text)
    name, strategy = _strategy_apart(text)
    match = _RERANKER.fullmatch(name)
    if match is None or is_composition(name):
        raise LocoError(
            f"'{shown}' names no reranker and how many documents it is to rerank: write MODEL@K, as in "
            "BAAI/bge-reranker-base@100."
        )
    depth = int(match["depth"])
    if not 1 <= depth <= DEPTH:
        raise LocoError(f"'{shown}': rankings have {DEPTH} documents, so K must be between 1 and {DEPTH}.")
    return NamedReranker(match["model"].strip(), depth, strategy)


def call_like(name: str) -> LocoError | None:
    """What to say of a name that is no model's but has the form of a call; None for another form."""
    match = _CALL.fullmatch(name)
    return None if match is None else unknown("way to combine models", match["way"], _WAYS, "docs/models.md")


def _composition(text: str, depth: int) -> Fuse | Rerank:
    match = _CALL.fullmatch(text)
    if match is None or match["way"] not in _WAYS:
        raise LocoError(f"Cannot read '{_shown(text)}': write for example '{_EXAMPLE}', every parenthesis closed.")
    if depth > _DEEPEST:
        raise LocoError(f"'{_shown(text)}' stands too deep: at most {_DEEPEST} calls can stand in each other.")
    arguments = list(_split(match["inside"], text))
    return _fuse(arguments, text, depth) if match["way"] == "fuse" else _rerank(arguments, text, depth)


def _fuse(arguments: Sequence[str], text: str, depth: int) -> Fuse:
    parts: list[NamedPart] = []
    settings: dict[str, str] = {}
    for argument in arguments:
        match = _SETTING.fullmatch(argument)
        if match is None:
            parts.append(_part(argument, depth))
            continue
        name = match["name"]
        if name not in _SETTINGS:
            raise unknown("setting", name, _SETTINGS, f"'{_EXAMPLE}', and ./{_shown(argument)} if that is a folder")
        if name in settings:
            raise LocoError(f"'{_shown(text)}' sets {name} twice. Leave one out.")
        settings[name] = match["value"].strip()
    if not 2 <= len(parts) <= _MOST_PARTS:
        raise LocoError(f"'{_shown(text)}' fuses {len(parts)}: a fusion has 2 to {_MOST_PARTS} parts, by commas.")
    return Fuse(tuple(parts), _method(settings, len(parts), text))


def _rerank(arguments: Sequence[str], text: str, depth: int) -> Rerank:
    if len(arguments) != 2:
        raise LocoError(
            f"'{_shown(text)}' has {len(arguments)} parts: write rerank(FIRST STAGE, MODEL@K), as in "
            "'rerank(bm25, BAAI/bge-reranker-base@100)'."
        )
    return Rerank(_part(arguments[0], depth), parse_reranker(arguments[1]))


def _method(settings: dict[str, str], parts: int, text: str) -> Method:
    name = settings.get("method", METHODS[0])
    if name not in METHODS:
        raise unknown("method", name, METHODS, "docs/models.md")
    k: int | None = K if name == "rrf" else None
    if "k" in settings:
        stated = settings["k"]
        if k is None:
            raise LocoError(f"'{_shown(text)}': {name} has no k, which is for rrf. Leave it out.")
        if not re.fullmatch(r"\d{1,9}", stated, re.ASCII) or int(stated) > _LARGEST_K:
            raise LocoError(f"'{_shown(text)}': k must be a whole number, 0 to {_LARGEST_K:,}, not '{_shown(stated)}'.")
        k = int(stated)
    weights = tuple(_weights(settings["weights"], text)) if "weights" in settings else ()
    if weights and len(weights) != parts:
        raise LocoError(f"'{_shown(text)}' has {len(weights)} weights for {parts} parts. Give one for each.")
    return Method(name, k, weights if len(set(weights)) > 1 else ())


def _weights(stated: str, text: str) -> Iterator[float]:
    inside = stated[1:-1] if stated.startswith("(") and stated.endswith(")") else stated
    for number in inside.split(","):
        plain = number.strip()
        weight = float(plain) if _NUMBER.fullmatch(plain) else math.nan
        if not weight > 0:
            raise LocoError(
                f"'{_shown(text)}': weights must be numbers above 0 with at most {_DECIMALS} decimals, as in "
                f"weights=(0.7, 0.3), not '{_shown(plain)}'."
            )
        yield weight


def _part(text: str, depth: int) -> NamedPart:
    """A name or a call, with a strategy or without."""
    name, strategy = _strategy_apart(text)
    return NamedPart(_composition(name, depth + 1) if is_composition(name) else name, strategy)


def _strategy_apart(text: str) -> tuple[str, str | None]:
    """A name, and the strategy behind the last colon that a blank follows."""
    name, strategy = text.strip(), None
    for place in range(len(name) - 2, 0, -1):
        if name[place] == ":" and name[place + 1].isspace() and _level(name[:place]) == 0:
            name, strategy = name[:place].strip(), name[place + 1 :].strip()
            break
    if not name or name.endswith(":") or strategy == "":
        raise LocoError(f"A name or a strategy is missing in '{_shown(text)}'. Write MODEL, or MODEL: STRATEGY.")
    return name, strategy


def _split(inside: str, whole: str) -> Iterator[str]:
    """What stands between commas outside parentheses."""
    level, start = 0, 0
    for place, sign in enumerate(f"{inside},"):
        level += (sign == "(") - (sign == ")")
        if level < 0 or (level and place == len(inside)):
            raise LocoError(f"The parentheses in '{_shown(whole)}' do not match. Write for example: {_EXAMPLE}")
        if sign == "," and not level:
            argument = inside[start:place].strip()
            if not argument:
                raise LocoError(f"A part of '{_shown(whole)}' is empty. Write for example: {_EXAMPLE}")
            yield argument
            start = place + 1


def _plain(weight: float) -> str:
    """A weight as one writes it, so that no two have the same name."""
    return f"{weight:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def _level(text: str) -> int:
    return text.count("(") - text.count(")")


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."

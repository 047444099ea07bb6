"""Texts, links and names in a result that could mislead whoever reads them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from loco.models.card import ModelIdentity
from loco.submission.findings import Finding

# Controls, what changes direction or takes no room, halves of characters, private ones, line and paragraph separators.
_STEERING = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
# Prompts and commands may have several lines.
_OF_SEVERAL_LINES = {"parameters", "command", "description"}
_SHOWN = 60
_LARGEST = 10**18
_RUNS = re.compile(r"\s*(javascript|vbscript|data|file|blob)\s*:", re.IGNORECASE)
# What one takes for another in a list, once case and separators are gone.
_ALIKE = (("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l"), ("i", "l"), ("|", "l"), ("5", "s"))


def check_texts(record: BaseModel) -> Iterator[Finding]:
    """Texts with characters that steer instead of showing, and numbers that are none, wherever they stand."""
    for where, value in _leaves(record.model_dump(), ""):
        if isinstance(value, float) and not math.isfinite(value):
            yield Finding("error", "schema", f"{where} is {value}, which is no number")
        elif isinstance(value, int) and abs(value) > _LARGEST:
            yield Finding("error", "schema", f"{where} is larger than {_LARGEST:,}, which nothing here is")
        elif isinstance(value, str):
            lines = where.rpartition(".")[2] in _OF_SEVERAL_LINES or ".parameters." in f".{where}"
            strange = next((sign for sign in value if _steers(sign) and not (lines and sign in "\n\t")), None)
            if strange is not None:
                yield Finding(
                    "error",
                    "names",
                    f"{where} holds the character U+{ord(strange):04X} ({_called(strange)}), which is not shown and "
                    "may hide or reorder what is: take it out",
                )
            elif _RUNS.match(value):
                yield Finding("error", "names", f"{where} is an address that runs or hides something: take it out")


def check_link(model: ModelIdentity) -> Iterator[Finding]:
    """A link that is not plainly one to a page."""
    if model.url and not is_link(model.url):
        yield Finding(
            "error",
            "names",
            f"model.url is {model.url[:_SHOWN]!r}: only an http or https address of a page can stand there",
        )


def is_link(url: str) -> bool:
    """Whether a text is an http or https address: ASCII, with a host, without a user's name or a password."""
    if not re.fullmatch(r"[!-~]+", url) or any(sign in url for sign in "\\<>\"'`{}"):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def check_name(name: str, known: Iterable[str]) -> Iterator[Finding]:
    """A model's name that one could take for another's. ``known`` are the names there are, with or without this one."""
    foreign = [sign for sign in dict.fromkeys(name) if not sign.isascii()]
    seen = skeleton(name)
    alike = next((other for other in known if other != name and skeleton(other) == seen), None)
    like = f", and it looks like '{alike}'" if alike else ""
    if foreign:
        signs = ", ".join(f"U+{ord(sign):04X} ({_called(sign)})" for sign in foreign[:3])
        yield Finding(
            "error",
            "names",
            f"the model is called {name[:_SHOWN]!r} with {signs}{like}: names on the board are ASCII, as ids on the "
            "hub are, so that none is mistaken for another",
        )
    elif alike:
        yield Finding(
            "error",
            "names",
            f"the model is called {name[:_SHOWN]!r} and looks like '{alike}': write that very name if it is meant, "
            "else choose another",
        )
    if name != name.strip() or "  " in name:
        yield Finding("error", "names", f"the model is called {name[:_SHOWN]!r}, with blanks that are not seen")


def skeleton(name: str) -> str:
    """What remains of a name for an eye that runs over it."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name)).casefold().translate(_LOOKS_LATIN)
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign) and unicodedata.category(sign) != "Cf")
    plain = re.sub(r"[\s_.\-\u2010-\u2015\u2212]+", "-", plain).strip("-")
    for sign, other in _ALIKE:
        plain = plain.replace(sign, other)
    return plain


# Small letters of Cyrillic and Greek, each before the Latin one it looks like (after Unicode's confusables, UTS #39).
_PAIRS = (
    "\u0430a \u0432b \u0435e \u0456i \u0458j \u043ak \u043cm \u043dh \u043eo \u0440p \u0441c \u0501d \u0455s \u0442t "
    "\u0443y \u0445x \u04bbh \u051bq \u051dw \u044cb \u03b1a \u03b5e \u03b9i \u03bak \u03bdv \u03bfo \u03c1p \u03c4t "
    "\u03c5u \u03c7x \u03b3y"
)
_LOOKS_LATIN = {ord(pair[0]): pair[1] for pair in _PAIRS.split()}


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"{where} (a key)" if where else "a key", str(key)
            yield from _leaves(part, f"{where}.{key}"[:200] if where else str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part, where)
    else:
        yield where, value


def _steers(sign: str) -> bool:
    return not " " <= sign <= "~" and unicodedata.category(sign) in _STEERING


def _called(sign: str) -> str:
    return unicodedata.name(sign, "a control character" if unicodedata.category(sign) == "Cc" else "without a name")

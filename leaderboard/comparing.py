"""The page that compares rows query by query, and the values it reads: a small script for every row.

A page opened from disk cannot fetch a file, but it can load a script. ``data/entries/<id>.js`` says what a row has for
each query, in the order of the queries' ids; ``data/queries/<hash>.js`` has the ids themselves, which are needed only
to name the few queries that differ most.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

from loco.results import Measurement
from loco.score.metrics import PRIMARY
from loco.score.resampling import UNIT

from .board import Board, Entry
from .site import Page, Renderer
from .texts import visible

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_HASH = 16  # hexadecimal digits of a SHA-256: enough to tell apart, not to withstand an attack
_CANDIDATES = 50  # for an example
_MARKUP = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}


@dataclass(frozen=True)
class Row:
    """A row that can be compared. ``paths`` are its files and folders, as they are typed."""

    id: str
    label: str
    name: str
    way: str
    link: str
    origin: str
    untrained: bool
    tasks: int
    paths: str


@dataclass(frozen=True)
class Group:
    """Rows whose results are of the same queries, measured ones first. ``command`` compares the first two of these.

    ``example`` is the query of the page's address that does so.
    """

    variant: str
    split: str
    rows: Sequence[Row]
    command: str
    example: str
    example_words: str


def pages(board: Board, renderer: Renderer) -> Iterator[Page]:
    """The page of comparisons, the values of every row that has any, and the queries' ids."""
    entries = [entry for entry in board.entries if entry.cells]
    named: dict[str, list[str]] = {}
    for entry in entries:
        yield Page(f"data/entries/{entry.id}.js", _call("entry", entry.id, _values(entry, named)))
    for name, ids in named.items():
        yield Page(f"data/queries/{name}.js", _call("queries", name, [visible(one, 200) for one in ids]))
    # A script of its own: the other pages, which never compare, need not load it.
    assets = files(__package__ or "loco_leaderboard") / "assets"
    scripts = [(assets / name).read_bytes() for name in ("statistics.js", "compare.js")]
    yield Page("assets/compare.js", b"\n".join(scripts))
    yield renderer.page("compare.html", "compare.html", "Compare", groups=_groups(entries))


def packed(values: Sequence[int]) -> dict[str, Any]:
    """Whole numbers as the different ones, ``values``, and for each its place there, in ``width`` digits of base 64.

    nDCG@10 takes few different values where a query has one relevant document, so a query takes one or two characters.
    """
    different = sorted(set(values))
    places = {value: place for place, value in enumerate(different)}
    width = 1
    while len(_DIGITS) ** width < len(different):
        width += 1
    return {
        "values": different,
        "width": width,
        "places": "".join(_based(places[value], width) for value in values),
    }


def _values(entry: Entry, named: dict[str, list[str]]) -> dict[str, Any]:
    """What a row has for each task, in order; the ids of its queries go into ``named``, by their hash."""
    tasks = []
    for task, filed in entry.cells.items():
        measurement = filed.result.measurement
        mean = filed.result.metrics[PRIMARY].value
        tasks.append([task, {"mean": mean} if measurement is None else _measured(measurement, named)])
    return {"tasks": tasks}


def _measured(measurement: Measurement, named: dict[str, list[str]]) -> dict[str, Any]:
    ids = sorted(measurement.per_query)
    content = measurement.data.content
    name = hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:_HASH]
    named.setdefault(name, ids)
    return {
        "data": [content.queries[:_HASH], content.documents[:_HASH], content.qrels[:_HASH]],
        "ids": name,
        "depth": measurement.depth,
        **packed([round(measurement.per_query[query] * UNIT) for query in ids]),
    }


def _based(place: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        place, digit = divmod(place, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def _call(function: str, name: str, content: object) -> bytes:
    """A script that hands something to the page's own: plain ASCII, and nothing in it that HTML takes for markup."""
    words = (json.dumps(one, separators=(",", ":"), allow_nan=False).translate(_MARKUP) for one in (name, content))
    return f"loco.{function}({','.join(words)});\n".encode("ascii")


def _groups(entries: Sequence[Entry]) -> list[Group]:
    folders = Counter(folder for entry in entries for folder in _around(entry))
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.variant, entry.split), []).append(entry)
    made = []
    for (variant, split), members in groups.items():
        members = sorted(members, key=lambda entry: (entry.origin != "measured", -len(entry.cells)))
        two = _comparable(members)
        rows = [_row(entry, folders) for entry in members]
        by_id = {row.id: row for row in rows}
        pair = [by_id[entry.id] for entry in two]
        options = f" --variant {variant}" if pair else ""
        made.append(
            Group(
                variant=variant,
                split=split,
                rows=rows,
                command=f"loco compare {' '.join(row.paths for row in pair)}{options}" if pair else "",
                example=f"rows={','.join(row.id for row in pair)}" if pair else "",
                example_words=" and ".join(row.label for row in pair),
            )
        )
    return made


def _comparable(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Two measured entries with a task measured on the same data, of different models where there are such."""
    measured = [entry for entry in entries if entry.origin == "measured" and entry.training != "untrained"]
    data = [(entry, _data(entry)) for entry in measured[:_CANDIDATES]]
    pairs = [(one, other) for (one, ours), (other, theirs) in combinations(data, 2) if ours & theirs]
    return min(pairs, key=lambda pair: pair[0].model.name == pair[1].model.name, default=())


def _data(entry: Entry) -> set[tuple[str, str]]:
    return {
        (task, filed.result.measurement.data.content.model_dump_json())
        for task, filed in entry.cells.items()
        if filed.result.measurement is not None
    }


def _row(entry: Entry, folders: Mapping[str, int]) -> Row:
    paths: dict[str, None] = {}
    for filed in entry.cells.values():
        folder = _folder(filed.path)
        # A folder that several rows have files in would bring them all.
        paths[folder if folders[folder] == 1 else filed.path] = None
    return Row(
        id=entry.id,
        label=visible(entry.label, 200),
        name=visible(entry.name or entry.model.name, 200),
        way=visible(entry.way, 200),
        link=f"models/{entry.model_id}.html",
        origin=entry.origin,
        untrained=entry.training == "untrained",
        tasks=len(entry.cells),
        paths=" ".join(shlex.quote(visible(f"results/{path}")) for path in paths),
    )


def _around(entry: Entry) -> set[str]:
    """Every folder that has files of an entry, at whatever depth."""
    return {str(folder) for filed in entry.cells.values() for folder in PurePosixPath(filed.path).parents}


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)

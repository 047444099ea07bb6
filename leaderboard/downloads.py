"""The board for programs: ``data/board.json``, which says everything, and ``data/board.csv``, a row an entry."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from loco.compare.statistics import Estimate
from loco.score.metrics import PRIMARY

from .board import Board, Entry
from .ranks import Place, leagues, places
from .site import Page

VERSION = 1
"""Of board.json: it changes when a field goes away or means something else, not when one is added."""

# What a spreadsheet would take for a formula, or for what comes before one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_DECIMALS = 6

_COLUMNS = (
    *("id", "model", "revision", "family", "parameters", "window", "strategy", "variant", "split", "benchmark"),
    *("origin", "training", "stands_in", "data", "tasks", "rank", "rank_best", "rank_worst"),
    *("average", "low", "high", "printed", "sources"),
)


def pages(board: Board) -> Iterator[Page]:
    """Both files."""
    found = [(entry, there.get(entry.id)) for members in leagues(board.entries).values()
             for there in [places(members)] for entry in members]  # fmt: skip
    ordered = sorted(found, key=lambda pair: pair[0].id)
    yield Page("data/board.json", _json([_row(entry, place) for entry, place in ordered]))
    yield Page("data/board.csv", _csv(board, [(_row(entry, place), entry) for entry, place in ordered]))


def _json(rows: list[dict[str, Any]]) -> bytes:
    content = {"kind": "loco-board", "version": VERSION, "made_by": f"loco {version('loco-bench')}", "entries": rows}
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _row(entry: Entry, place: Place | None) -> dict[str, Any]:
    league = entry.league
    average = entry.average
    known = isinstance(average, Estimate)
    return {
        "id": entry.id,
        "model": entry.model.name,
        "revision": entry.model.revision,
        "family": entry.model.family,
        "parameters": entry.model.weights,
        "window": entry.model.max_tokens,
        "url": entry.model.url,
        "licence": entry.model.licence,
        "strategy": entry.way,
        "variant": entry.variant,
        "split": entry.split,
        "benchmark": entry.benchmark,
        "origin": entry.origin,
        "training": entry.training,
        "stands_in": bool(league.stands_in),
        "data": entry.data,
        "tasks": len(entry.cells),
        "tasks_of_benchmark": len(entry.tasks),
        "rank": place.rank if place else None,
        "rank_best": place.best if place else None,
        "rank_worst": place.worst if place else None,
        "average": _rounded(entry.mean),
        "low": _rounded(average.low) if known and isinstance(average, Estimate) else None,
        "high": _rounded(average.high) if known and isinstance(average, Estimate) else None,
        "printed": [
            {"source": one.source, "percent": one.percent, "differs": one.differs} for one in entry.printed
        ],
        "sources": list(entry.sources),
        "remarks": list(entry.remarks),
        "cells": {task: _cell(entry, task) for task in entry.cells},
    }  # fmt: skip


def _cell(entry: Entry, task: str) -> dict[str, Any]:
    filed = entry.cells[task]
    metric = filed.result.metrics[PRIMARY]
    return {
        "ndcg@10": metric.value,
        "low": metric.low,
        "high": metric.high,
        "result": f"results/{filed.path}",
        "run": f"results/{filed.run}" if filed.run else None,
    }


def _csv(board: Board, rows: list[tuple[Mapping[str, Any], Entry]]) -> bytes:
    tasks = list(dict.fromkeys(task for entry in board.entries for task in entry.tasks))
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow([*_COLUMNS, *(f"ndcg@10 {task}" for task in tasks)])
    for row, entry in rows:
        flat = {
            **row,
            "printed": "; ".join(f"{one.percent} ({one.source})" for one in entry.printed),
            "sources": "; ".join(entry.sources),
        }
        cells = [row["cells"][task]["ndcg@10"] if task in row["cells"] else None for task in tasks]
        writer.writerow([_harmless(value) for value in (*(flat[name] for name in _COLUMNS), *cells)])
    return written.getvalue().encode()


def _harmless(value: object) -> object:
    """A text that a spreadsheet would calculate, with a sign in front that makes it a text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)

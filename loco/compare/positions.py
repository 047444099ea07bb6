"""Where relevant documents stood: the TREC run beside a result, and the qrels it was scored against."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from loco.compare.sides import Measured
from loco.errors import LocoError
from loco.results import check_run, run_path
from loco.tasks.data import check_file, read_manifest
from loco.trec import read_run, trec_id


@dataclass(frozen=True)
class Relevant:
    """A relevant document and its position in two rankings, from 1; None where it is not among those retrieved."""

    document: str
    first: int | None
    other: int | None


def relevant_documents(
    first: Measured, other: Measured, queries: Collection[str], data: Path
) -> tuple[dict[str, list[Relevant]], str]:
    """The relevant documents of some queries of a task, and where each stood in the two rankings.

    The documents are those of the built task where it is in ``data`` and the same one. Where it is not, and every query
    has one relevant document, the value of nDCG@10 says which position it had, and so which document it is. Returns
    them by query, those whose two positions lie furthest apart first; and why any are missing, empty where none are.
    """
    try:
        ours, theirs = _ranked(first, queries), _ranked(other, queries)
    except LocoError as error:
        return {}, f"{first.result.task}: positions are not known. {error}"
    try:
        judged = _built(first, queries, data)
    except LocoError as error:
        return {}, f"{first.result.task}: relevant documents are not known. {error}"
    if judged is None:
        judged = _deduced(first, ours, queries) | _deduced(other, theirs, queries)
    found = {}
    for query in queries:
        rows = [Relevant(one, _place(ours[query], one), _place(theirs[query], one)) for one in judged.get(query, ())]
        found[query] = sorted(rows, key=lambda row: -_distance(row, first.measurement.depth))
    if any(not rows for rows in found.values()):
        split = f" --split {first.result.split}" if first.result.split != "test" else ""
        again = f"loco build-data {first.result.task} --variant {first.result.variant}{split}"
        return found, (
            f"{first.result.task}: relevant documents are not known, since these very rows are not built in {data}. "
            + (f"Run: {again}" if first.result.variant != "imported" else "Import them again.")
        )
    return found, ""


def _distance(row: Relevant, depth: int) -> int:
    """How far apart a document's positions are, one that was not retrieved standing behind all that were."""
    return abs((row.first or depth + 1) - (row.other or depth + 1))


def _place(ranked: list[str], document: str) -> int | None:
    name = trec_id(document)
    return ranked.index(name) + 1 if name in ranked else None


def _ranked(side: Measured, queries: Collection[str]) -> dict[str, list[str]]:
    """The documents of each of some queries, by their names in the run file, in trec_eval's order."""
    check_run(side.path, side.result)
    counts = side.measurement.data.counts
    names = {trec_id(query): query for query in queries}
    hits = read_run(run_path(side.path), names, most=side.measurement.depth * counts.queries)
    # By score, then by name, both descending: names compare as the bytes they are in the file.
    return {
        query: [
            document
            for document, _ in sorted(hits.get(name, ()), key=lambda hit: (hit[1], hit[0].encode()), reverse=True)
        ]
        for name, query in names.items()
    }


def _built(side: Measured, queries: Collection[str], data: Path) -> Mapping[str, list[str]] | None:
    """The relevant documents by query from the built task, None where that is not there or another one."""
    result = side.result
    try:
        manifest = read_manifest(data, result.variant, result.task, result.split)
    except LocoError:
        return None
    if manifest is None or manifest.content != side.measurement.data.content:
        return None
    path = check_file(data, manifest, "qrels.tsv")
    judged: dict[str, list[str]] = {query: [] for query in queries}
    try:
        for line in path.read_text(encoding="utf-8").split("\n")[1:-1]:
            query, document, grade = line.split("\t")
            if int(grade) > 0 and query in judged:
                judged[query].append(document)
    except (OSError, ValueError) as error:
        raise LocoError(f"{path} cannot be read ({' '.join(str(error).split())}).") from error
    return judged


def _deduced(side: Measured, ranked: Mapping[str, list[str]], queries: Collection[str]) -> dict[str, list[str]]:
    """The relevant documents by query where there is one for each query and nDCG@10 = 1 / log2(1 + its position)."""
    counts = side.measurement.data.counts
    if counts.relevant != counts.queries:  # every query has at least one
        return {}
    found = {}
    for query in queries:
        value = side.measurement.per_query[query]
        place = round(2 ** (1 / value) - 1) if value > 0.25 else 0
        if 1 <= place <= min(10, len(ranked[query])):
            found[query] = [unquote(ranked[query][place - 1])]  # the id behind the name in the run file
    return found

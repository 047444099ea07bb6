"""The run beside a result: whether it is a ranking, and, where the data are built, whether it gives the figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loco.errors import LocoError
from loco.files import sha256_of
from loco.rank.ranking import Hit
from loco.results import Measurement, Result, run_path
from loco.score.metrics import DEPTH, PRIMARY, score
from loco.submission.findings import Finding
from loco.tasks.data import Manifest, check_file, read_manifest
from loco.trec import read_run, trec_id

# Rankings by the names in the file: query -> (document, score).
Run = dict[str, list[tuple[str, float]]]

_ROUNDING = 1.5e-6  # figures of six decimals, each rounded once
_SHOWN = 3
_MOST_LINES = 2_000_000  # what fits into memory with ease; the largest task of LoCoV1 has a tenth of it


@dataclass(frozen=True)
class Judged:
    """A built task as far as scoring goes: the ids of its documents, and its judgements."""

    documents: frozenset[str]
    qrels: Mapping[str, Mapping[str, int]]


def read_checked(path: Path, measurement: Measurement) -> tuple[Run | None, list[Finding]]:
    """The run beside the result at ``path``, None where it is missing or another one; and what is wrong with it."""
    run = run_path(path)
    if not run.is_file() or run.is_symlink():
        return None, [Finding("error", "run", f"has no run beside it: add {run.name} as loco eval wrote it")]
    if sha256_of(run) != measurement.run_sha256:
        return None, [
            Finding("error", "run", f"was not scored from {run.name}: its SHA-256 is another than run_sha256")
        ]
    try:
        rows = read_run(run, most=most_lines(measurement))
    except LocoError as error:
        return None, [Finding("error", "run", str(error).replace(str(run), run.name))]
    return rows, list(_check_rows(rows, measurement))


def judged(result: Result, measurement: Measurement, data: Path) -> Judged | None:
    """The task behind a result where it is built in ``data`` with the same contents, else None."""
    try:
        manifest = read_manifest(data, result.variant, result.task, result.split)
        if manifest is None or manifest.content != measurement.data.content:
            return None
        return Judged(_document_ids(manifest, data), _qrels(manifest, data))
    except LocoError:
        return None


def rescore(result: Result, measurement: Measurement, run: Run, task: Judged) -> Iterator[Finding]:
    """Score a run again, and compare every measure and every query's value."""
    ids = {trec_id(document): document for document in task.documents}
    strange = [document for rows in run.values() for document, _ in rows if document not in ids]
    if strange:
        yield Finding("error", "run", f"its run ranks {strange[0]!r:.60}, which is no document of the task")
        return
    if task.qrels.keys() != measurement.per_query.keys():
        missing = len(task.qrels.keys() - measurement.per_query.keys())
        yield Finding(
            "error", "figures", f"lacks the value of {missing:,} queries of the task, or has others in their place"
        )
        return
    hits = {
        query: [Hit(ids[document], value) for document, value in run.get(trec_id(query), ())] for query in task.qrels
    }
    again = score(task.qrels, hits)
    wrong = [
        f"{name} is {metric.value} and {again.means[name]:.6f} by its run"
        for name, metric in result.metrics.items()
        if abs(metric.value - again.means[name]) > _ROUNDING
    ]
    if wrong:
        yield Finding("error", "figures", f"{'; '.join(wrong)}: submit what loco eval wrote, result and run together")
    values = again.per_query[PRIMARY]
    moved = [query for query, value in measurement.per_query.items() if abs(value - values[query]) > _ROUNDING]
    if moved:
        some = ", ".join(
            f"{query!r:.60} ({measurement.per_query[query]}, by its run {values[query]:.6f})"
            for query in moved[:_SHOWN]
        )
        yield Finding("error", "figures", f"{len(moved):,} queries score otherwise by the run: {some}")


def most_lines(measurement: Measurement) -> int:
    """How many lines the run of a result can have."""
    return min(_MOST_LINES, DEPTH * len(measurement.per_query))


def digest(run: Run) -> str:
    """A hash of what a run ranks and with which scores, whatever it calls itself and in which order it is written."""
    hashed = hashlib.sha256()
    for query in sorted(run):
        for document, value in sorted(run[query]):
            hashed.update(f"{query} {document} {value!r}\n".encode())
    return hashed.hexdigest()


def _check_rows(rows: Run, measurement: Measurement) -> Iterator[Finding]:
    """What can be said of a run without its task."""
    queries = {trec_id(query): query for query in measurement.per_query}
    others = [name for name in rows if name not in queries]
    if others:
        yield Finding(
            "error",
            "run",
            f"its run has {len(others):,} queries that the result has no value for, such as {others[0]!r:.60}",
        )
    deep = [name for name, hits in rows.items() if len(hits) > DEPTH]
    if deep:
        yield Finding("error", "run", f"its run has more than {DEPTH} documents for {len(deep):,} queries")
    twice = [name for name, hits in rows.items() if len({document for document, _ in hits}) != len(hits)]
    if twice:
        yield Finding(
            "error", "run", f"its run has a document twice for {len(twice):,} queries, such as {twice[0]!r:.60}"
        )
    unfound = [query for name, query in queries.items() if name not in rows and measurement.per_query[query] > 0]
    if unfound:
        yield Finding(
            "error", "run", f"{len(unfound):,} queries have a score and nothing in the run, such as {unfound[0]!r:.60}"
        )


def _document_ids(manifest: Manifest, data: Path) -> frozenset[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = check_file(data, manifest, "documents.parquet")
    try:
        return frozenset(pq.read_table(path, columns=["id"])["id"].to_pylist())
    except (pa.ArrowException, KeyError, OSError) as error:
        raise LocoError(f"{path} is damaged.") from error


def _qrels(manifest: Manifest, data: Path) -> dict[str, dict[str, int]]:
    path = check_file(data, manifest, "qrels.tsv")
    found: dict[str, dict[str, int]] = {}
    try:
        for line in path.read_text(encoding="utf-8").split("\n")[1:-1]:
            query, document, grade = line.split("\t")
            found.setdefault(query, {})[document] = int(grade)
    except (OSError, ValueError) as error:
        raise LocoError(f"{path} is damaged.") from error
    return found

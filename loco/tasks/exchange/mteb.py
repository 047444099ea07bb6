"""The dataset repository that MTEB's retrieval tasks load: parquet below ``corpus``, ``queries`` and ``qrels``.

The three configs and their columns are those that mteb 2.26 loads and pushes itself (``RetrievalDatasetLoader``). The
column ``title`` is left out, which it allows: a document of ours is one text.
"""

from __future__ import annotations

import json
from pathlib import Path

from loco.tasks.data import TaskData, Texts

_CONFIGS = ("corpus", "queries", "qrels")
_ROWS = 1000  # a group; readers hold one in memory, and a document can be long


def write(task: TaskData, folder: Path) -> None:
    """Write a task's files into ``folder``, ready to be pushed to the hub as they are."""
    import pyarrow as pa

    def texts(rows: Texts) -> pa.Table:
        return pa.table({"id": pa.array(rows.ids, pa.string()), "text": pa.array(rows.texts, pa.large_string())})

    triples = [(q, d, grade) for q, grades in task.qrels.items() for d, grade in grades.items()]
    queries, documents, grades = zip(*triples, strict=True)
    qrels = pa.table(
        {
            "query-id": pa.array(queries, pa.string()),
            "corpus-id": pa.array(documents, pa.string()),
            "score": pa.array(grades, pa.int64()),
        }
    )
    for config, table in zip(_CONFIGS, (texts(task.documents), texts(task.queries), qrels), strict=True):
        _write_table(table, folder / config / f"{task.split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(_readme(task), encoding="utf-8", newline="\n")


def _write_table(table: object, path: Path) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir()
    # Without our schema in it, readers choose the type of text themselves: string, which all of them know.
    pq.write_table(table, path, compression="zstd", row_group_size=_ROWS, store_schema=False)


def _readme(task: TaskData) -> str:
    """The dataset card: configs for the hub and `datasets`, then what people need to know."""
    card, counts = task.card, task.counts
    title = f"{card.name} ({task.variant}, {task.split})"
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: {task.split}\n    path: {config}/{task.split}-*\n"
        for config in _CONFIGS
    )
    rows = [
        ("Queries", f"{counts.queries:,}, mean {counts.mean_query_chars:,.0f} characters: {card.query}"),
        ("Documents", f"{counts.documents:,}, mean {counts.mean_document_chars:,.0f} characters: {card.document}"),
        ("Relevant", f"{counts.relevant:,} judgements"),
        ("Domain", card.domain),
        ("Source", f"{card.source} {card.source_url}".rstrip()),
        ("Built from", f"{task.provenance.source} ({task.provenance.source_revision or 'no revision'})"),
        ("Stands in for the original rows", task.provenance.equivalent),
        ("Licence", card.licence),
        ("Citation", card.citation),
    ]
    body = "".join(f"- **{label}**: {' '.join(value.split())}\n" for label, value in rows if value)
    # A JSON string is a YAML string, whatever stands in it.
    return (
        f"---\npretty_name: {json.dumps(title)}\nlicense: other\ntask_categories:\n- text-retrieval\n"
        f"tags:\n- mteb\n- text\nconfigs:\n{configs}---\n\n# {title}\n\n{body}"
    )

"""The data a result was measured on, against the contents of tasks that this project has verified."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from loco.files import read_toml
from loco.results import Measurement, Result
from loco.submission.findings import Finding
from loco.tasks.card import task_cards
from loco.tasks.data import ContentHashes, Variant


class KnownTask(BaseModel):
    """A row of ``known.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: Variant
    task: str
    equivalent: bool = False
    queries: str
    documents: str
    qrels: str

    @property
    def content(self) -> ContentHashes:
        """Its hashes as results have them."""
        return ContentHashes(queries=self.queries, documents=self.documents, qrels=self.qrels)


@cache
def known_tasks() -> tuple[KnownTask, ...]:
    """Every task whose contents are known."""
    rows = read_toml(Path(__file__).with_name("known.toml"))["task"]
    return tuple(KnownTask.model_validate(row) for row in rows)


def check_data(result: Result, measurement: Measurement) -> Iterator[Finding]:
    """Whether the rows are those of the task and variant that the result claims."""
    if result.split != "test":
        yield Finding(
            "error", "data", f"is of the {result.split} split, which is never evaluated: measure on the test split"
        )
    if result.variant == "imported":
        yield Finding("warning", "data", "is of an imported data set, which has no place among the tasks of LoCoV1")
        return
    content, here = measurement.data.content, (result.variant, result.task)
    for known in known_tasks():
        if known.content != content:
            continue
        if (known.variant, known.task) != here:
            yield Finding(
                "error",
                "data",
                f"says {result.task} ({result.variant}) and was measured on {known.task} ({known.variant}), which are "
                f"never mixed. Measure with: loco eval --task {result.task} --variant {result.variant}",
            )
        elif known.equivalent and not measurement.data.provenance.equivalent:
            yield Finding(
                "error",
                "data",
                "was measured on rows that only stand in for the variant's own, and provenance.equivalent is empty: "
                "submit the result as loco wrote it",
            )
        return
    versions = [known for known in known_tasks() if (known.variant, known.task) == here]
    parts = ("queries", "documents", "qrels")
    if versions:
        others = [part for part in parts if all(getattr(known, part) != getattr(content, part) for known in versions)]
        what = (
            f"other {' and '.join(others) or 'combinations of contents'} than the build that this project has verified"
        )
    else:
        what = "contents that this project has not verified yet"
    counts, printed = measurement.data.counts, task_cards()[result.task].table10
    size = f"{counts.queries:,} queries and {counts.documents:,} documents"
    if printed is not None and result.variant != "mini":
        size += f", where Table 10 has {printed.test_queries:,} and {printed.test_documents:,}"
    yield Finding(
        "warning",
        "data",
        f"was measured on {what}: {size}. Say in the pull request how the data was built, for somebody to repeat it",
    )

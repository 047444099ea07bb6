"""Figures that others reported: read from ``results/paper/reported.toml``, and made into result files beside it.

``python -m loco.reported results/paper`` writes those files anew. A result is of a task: what was printed of several
tasks together, averages above all, is not in any of them, and :func:`averages` has it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from loco.errors import LocoError
from loco.files import read_toml
from loco.models.card import ModelIdentity
from loco.results import Metric, Result, write_result
from loco.score.metrics import PRIMARY
from loco.tasks.data import Variant

FILE = "reported.toml"

Percent = Annotated[float, Field(ge=0, le=100)]
_ROUNDING = 1e-9


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReportedModel(_Part):
    """What is known of a model under the name that its source gives it. ``hub`` is its id on the Hugging Face hub."""

    name: str
    family: str
    hub: str = ""
    licence: str = ""
    weights: int | None = None
    description: str = ""


class ReportedRow(_Part):
    """A model under a strategy: a cell for each task of the table, or only the average that was printed.

    ``window`` is in tokens; ``trained_on_loco`` None where the source does not say.
    """

    model: str
    strategy: str
    window: int | None = None
    trained_on_loco: bool | None = None
    cells: tuple[Percent, ...] = ()
    average: Percent | None = None
    remark: str = ""


class ReportedTable(_Part):
    """Rows of one source. ``benchmark`` is LoCoV1, or LoCoV0 with five of its tasks."""

    source: str
    url: HttpUrl
    benchmark: str
    variant: Variant
    tasks: tuple[str, ...] = Field(min_length=1)
    remark: str = ""
    row: tuple[ReportedRow, ...]

    @model_validator(mode="after")
    def _has_a_cell_for_each_task(self) -> ReportedTable:
        for row in self.row:
            if len(row.cells) not in (0, len(self.tasks)):
                raise ValueError(f"{self.source}: {row.model} has {len(row.cells)} cells for {len(self.tasks)} tasks")
            if not row.cells and row.average is None:
                raise ValueError(f"{self.source}: {row.model} has neither cells nor an average")
        return self


class ReportedTimes(_Part):
    """Seconds to encode texts of so many ``tokens``."""

    class Row(_Part):
        """The seconds of a model, one for each length."""

        model: str
        seconds: tuple[float, ...]
        remark: str = ""

    source: str
    url: HttpUrl
    setting: str
    tokens: tuple[int, ...]
    row: tuple[Row, ...]


class Mistake(_Part):
    """Something in a source that is wrong or easily misread, in our words."""

    source: str
    text: str


class Reported(_Part):
    """All that others have reported."""

    model: tuple[ReportedModel, ...]
    table: tuple[ReportedTable, ...]
    times: ReportedTimes
    mistake: tuple[Mistake, ...]

    @model_validator(mode="after")
    def _knows_its_models(self) -> Reported:
        names = [model.name for model in self.model]
        if len(set(names)) != len(names):
            raise ValueError("a model stands twice")
        unknown = {row.model for table in self.table for row in table.row} - set(names)
        if unknown:
            raise ValueError(f"rows of models that are not described: {', '.join(sorted(unknown))}")
        return self


@dataclass(frozen=True)
class Average:
    """What the tasks of a benchmark average to for a model under a strategy, in percent of nDCG@10.

    ``computed`` is the mean of the cells of one table, None where none has any; ``printed`` what each source prints, in
    order. ``remarks`` belong to the rows. ``identity`` is what is known of the model.
    """

    model: str
    strategy: str
    variant: Variant
    benchmark: str
    tasks: tuple[str, ...]
    trained_on_loco: bool | None
    computed: float | None
    printed: tuple[tuple[str, float], ...]
    remarks: tuple[str, ...]
    identity: ModelIdentity

    @property
    def differing(self) -> tuple[tuple[str, float], ...]:
        """The printed averages that the cells do not round to, with their sources."""
        if self.computed is None:
            return ()
        return tuple((source, value) for source, value in self.printed if not _rounds_to(self.computed, value))


def read_reported(path: Path) -> Reported:
    """What stands in a file such as ``results/paper/reported.toml``. Raises LocoError where it does not hang together.

    ``path`` is the file, or the folder it is in.
    """
    path = path / FILE if path.is_dir() else path
    try:
        return Reported.model_validate(read_toml(path))
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise LocoError(f"Cannot read {path}: {' '.join(reason.split())}.") from error


def results(reported: Reported) -> Iterator[Result]:
    """A result for every cell, its remarks being part of the source."""
    models = {model.name: model for model in reported.model}
    for table in reported.table:
        for row in table.row:
            said = [f"{table.source} ({table.benchmark}), {table.url}", table.remark, row.remark]
            for task, cell in zip(table.tasks, row.cells, strict=False):
                yield Result(
                    schema_version=1,
                    origin="reported",
                    source="; ".join(filter(None, said)),
                    model=_identity(models[row.model], row),
                    strategy=row.strategy,
                    task=task,
                    variant=table.variant,
                    split="test",
                    metrics={PRIMARY: Metric(value=round(cell / 100, 6))},
                )


def averages(reported: Reported) -> list[Average]:
    """One for every model, strategy, variant and benchmark, whether or not the cells are known."""
    found: dict[tuple[str, ...], list[tuple[ReportedTable, ReportedRow]]] = {}
    for table in reported.table:
        for row in table.row:
            found.setdefault((row.model, row.strategy, table.variant, table.benchmark), []).append((table, row))
    models = {model.name: model for model in reported.model}
    made = []
    for rows in found.values():
        table, row = next(((table, row) for table, row in rows if row.cells), rows[0])
        made.append(
            Average(
                model=row.model,
                strategy=row.strategy,
                variant=table.variant,
                benchmark=table.benchmark,
                tasks=table.tasks,
                trained_on_loco=row.trained_on_loco,
                computed=math.fsum(row.cells) / len(row.cells) if row.cells else None,
                printed=tuple((table.source, row.average) for table, row in rows if row.average is not None),
                remarks=tuple(dict.fromkeys(filter(None, (row.remark for _, row in rows)))),
                identity=_identity(models[row.model], row),
            )
        )
    return made


def write_reported(folder: Path) -> list[Path]:
    """Write the result files of ``reported.toml`` in a folder, beside it; returns their paths, sorted."""
    written = [write_result(result, None, folder) for result in results(read_reported(folder))]
    if len(set(written)) != len(written):
        raise LocoError(f"{folder / FILE} has two figures for one model, strategy, variant and task.")
    return sorted(written)


def _identity(model: ReportedModel, row: ReportedRow) -> ModelIdentity:
    return ModelIdentity(
        name=model.name,
        family=model.family,
        revision="",
        description=model.description,
        licence=model.licence,
        url=f"https://huggingface.co/{model.hub}" if model.hub else "",
        trained_on_loco=row.trained_on_loco,
        max_tokens=row.window,
        weights=model.weights,
        parameters={"hub": model.hub} if model.hub else {},
    )


def _rounds_to(exact: float, printed: float) -> bool:
    """Whether a printed figure is the exact one to as many decimals as it shows, at least one."""
    decimals = max(1, len(repr(printed).partition(".")[2]))
    return abs(exact - printed) <= 0.5 / math.pow(10, decimals) + _ROUNDING


if __name__ == "__main__":
    print(f"{len(write_reported(Path(*sys.argv[1:])))} results written.")

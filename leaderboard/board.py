"""What stands on the board: rows of results that belong together, read from a folder of result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from loco.compare.statistics import Estimate
from loco.models.card import ModelIdentity
from loco.reported import Reported
from loco.results import NeedleResult, Result, SpeedResult

VARIANTS = ("paper", "release", "mini", "imported")

# The benchmark's tasks, as narrow columns call them.
_SHORT = {
    "summ_screen_fd": "Summ Screen",
    "gov_report": "Gov Report",
    "qmsum": "QMSum",
    "qasper_title": "Qasper title",
    "qasper_abstract": "Qasper abstract",
    "multifieldqa": "Multi FieldQA",
    "2wikimqa": "2Wiki MQA",
    "passage_retrieval": "Passage retrieval",
    "courtlistener_Plain_Text": "Court text",
    "courtlistener_HTML": "Court HTML",
    "legal_case_reports": "Legal cases",
    "stackoverflow": "Stack overflow",
}


def short(task: str) -> str:
    """A task's name where there is little room."""
    return _SHORT.get(task, task)


@dataclass(frozen=True)
class Filed:
    """A result and its file. ``path`` is relative to the folder of results, with slashes."""

    path: str
    result: Result

    @property
    def run(self) -> str | None:
        """The TREC run beside a measured result, relative to the folder of results."""
        return None if self.result.measurement is None else f"{self.path.removesuffix('.json')}.run.gz"


@dataclass(frozen=True)
class Printed:
    """An average that a source prints, in percent; ``differs`` where the source's own cells do not round to it."""

    source: str
    percent: float
    differs: bool


class League(NamedTuple):
    """What rows have in common that may be ranked in one list.

    ``stands_in`` is "equivalent" where some rows behind the figures only stand in for the variant's own. ``benchmark``
    is "LoCoV1", "LoCoV0" or, for imported tasks, their names. ``data`` is empty for those rows of the test split that
    most results of the variant were measured on, and names any others.
    """

    variant: str
    origin: str
    training: str
    stands_in: str
    benchmark: str
    data: str


@dataclass(frozen=True)
class Entry:
    """A row: a model under one strategy on one variant, from one origin.

    - ``id``: unique on the board, made of ASCII small letters, digits and dashes; part of addresses.
    - ``model_id``: the same of the model's page, ``models/<model_id>.html``; all entries of one model's name have it.
    - ``name``: the model's name, with its revision where the board has two.
    - ``way``: the strategy, and the form of the vectors where they were made smaller.
    - ``training``: "zero-shot", "trained" (on LoCo), "unknown", or "untrained" for weights drawn at random, which are
      never ranked.
    - ``cells``: by task, in the order of the paper's Table 10. Empty for an average that was reported alone.
    - ``tasks``: what an average of this row is over: the benchmark's tasks.
    - ``average``: over ``tasks``, with its interval where all cells were measured; None where a cell is missing.
      Between 0 and 1.
    - ``equivalent``: why the rows behind some of its cells only stand in for the variant's own; empty where none do.
    - ``sources``: who reported it, and where; empty for what was measured.
    - ``printed``: averages that sources print beside or instead of cells.
    - ``remarks``: what a reader has to know of the row.
    """

    id: str
    model: ModelIdentity
    way: str
    variant: str
    split: str
    origin: str
    training: str
    cells: Mapping[str, Filed]
    tasks: Sequence[str]
    average: Estimate | float | None
    equivalent: str = ""
    sources: Sequence[str] = ()
    printed: Sequence[Printed] = ()
    remarks: Sequence[str] = ()
    model_id: str = ""
    name: str = ""
    benchmark: str = "LoCoV1"
    data: str = ""

    @property
    def complete(self) -> bool:
        """Whether there is a figure for every task of the benchmark, so that the row can have a rank."""
        return self.average is not None and self.training != "untrained"

    @property
    def mean(self) -> float | None:
        """The average without its interval, between 0 and 1."""
        return self.average.value if isinstance(self.average, Estimate) else self.average

    @property
    def differs(self) -> bool:
        """Whether a source prints an average that its own cells do not have."""
        return any(printed.differs for printed in self.printed)

    @property
    def label(self) -> str:
        """The row in words."""
        return f"{self.name or self.model.name}, {self.way}"

    @property
    def league(self) -> League:
        """Rows of one league may be ranked in one list."""
        stands_in = "equivalent" if self.equivalent else ""
        split = "" if self.split == "test" else f"{self.split} split"
        data = ", ".join(filter(None, (split, self.data)))
        return League(self.variant, self.origin, self.training, stands_in, self.benchmark, data)


@dataclass(frozen=True)
class Board:
    """Everything that the pages are made from.

    ``needles`` and ``speeds`` are results of those kinds, each with its path relative to the folder of results.
    ``reported`` is what stands in each ``reported.toml`` that is believed. ``refused`` are the files that are not on
    the board, each with the line that says why.
    """

    root: Path
    entries: Sequence[Entry]
    needles: Sequence[tuple[str, NeedleResult]] = ()
    speeds: Sequence[tuple[str, SpeedResult]] = ()
    reported: Sequence[Reported] = ()
    refused: Sequence[str] = ()

    @property
    def variants(self) -> list[str]:
        """The variants that have rows, in the order in which they are shown."""
        there = {entry.variant for entry in self.entries}
        return [variant for variant in VARIANTS if variant in there]

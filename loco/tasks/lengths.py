"""Figures 5 and 6 of the paper for what is built: how long the documents of each task are.

One violin a task on a logarithmic axis, as an SVG that fits a light and a dark page alike. Lengths are characters
(Unicode code points), the unit of Table 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from loco.errors import LocoError
from loco.figures.drawing import MARGIN, WIDTH, document, escaped, heading, pixels, shortened
from loco.files import write_atomically
from loco.tasks.data import VARIANTS, Manifest, built_tasks, task_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 32  # documents read at once: a long one has a million characters

_ROW = 36
_HALF_VIOLIN = 14.0
_LONGEST_NAME = 240.0
_COUNT_COLUMN, _MEDIAN_COLUMN = 96, 74
_POINTS = 81  # along a violin
_CELLS = 400  # what the lengths are counted into before they are smoothed
_WIDEST = 0.12  # decades; over two modes far apart the rule is for one, and would smear them into each other
_NARROWEST = 0.015  # decades; a task of equal lengths would otherwise be a line without width
_SHORTEST_AXIS = 0.8  # decades, so that some steps of 1, 2, 5 are on it

_STYLE = """
svg { --fill: #a9c9f5; --line: #1b61b8; --dot: #ffffff; }
@media (prefers-color-scheme: dark) { svg { --fill: #27508a; --line: #8cbcff; --dot: #0d1117; } }
.variant { font-size: 12px; font-weight: 600; fill: var(--muted); letter-spacing: .04em; }
.minor { stroke-opacity: .45; }
.violin { fill: var(--fill); stroke: var(--line); stroke-width: 1; stroke-linejoin: round; }
.half { stroke: var(--line); stroke-width: 4; stroke-linecap: round; }
.median { fill: var(--dot); stroke: var(--line); stroke-width: 2; }
"""


@dataclass(frozen=True)
class TaskLengths:
    """A row of the figure: the ``lengths`` in characters, shape (documents,), of a ``task`` in a ``variant``.

    Rows of the same ``variant`` stand together under it, so it is what the reader is to see: "paper", or
    "paper (equivalent)".
    """

    task: str
    variant: str
    lengths: NDArray[np.int64]


def plot_lengths(data: Path, path: Path) -> Path:
    """Draw the built tasks (test splits) of a data folder into the file ``path``, and return it.

    Raises LocoError for a file that is not called .svg, where nothing is built, and for a damaged task.
    """
    if path.suffix.lower() != ".svg":
        raise LocoError(f"The figure is an SVG, so {path} should be called {path.stem or 'lengths'}.svg.")
    built, damaged = zip(*(built_tasks(data, variant) for variant in VARIANTS), strict=True)
    for error in chain.from_iterable(damaged):
        raise error
    rows = list(read_lengths(data, chain.from_iterable(built)))
    if not rows:
        raise LocoError(f"No task is built in {data}, so there is nothing to draw. Run: loco build-data")
    write_atomically(path, lengths_svg(rows).encode())
    return path


def read_lengths(data: Path, manifests: Iterable[Manifest]) -> Iterator[TaskLengths]:
    """The lengths of each task's documents, read a few documents at a time; no text stays in memory."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for manifest in manifests:
        path = task_folder(data, manifest.variant, manifest.task) / "documents.parquet"
        try:
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
                batches = file.iter_batches(_BATCH, columns=["text"])
                parts = [pc.utf8_length(batch["text"]).to_numpy(zero_copy_only=False) for batch in batches]
                lengths = np.concatenate(parts).astype(np.int64)
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            build = f"loco build-data {manifest.task} --variant {manifest.variant}"
            again = (
                "Import it again with: loco import" if manifest.variant == "imported" else f"Build it again: {build}"
            )
            raise LocoError(f"{path} cannot be read. {again}") from error
        variant = manifest.variant + (" (equivalent)" if manifest.provenance.equivalent else "")
        yield TaskLengths(manifest.task, variant, lengths)


def lengths_svg(tasks: Sequence[TaskLengths]) -> str:
    """The figure as an SVG document. Every task has at least one document; variants keep the order they come in.

    A violin is a Gaussian kernel density of log10(length), with Silverman's bandwidth (at most 0.12 decades), each
    scaled to the same height. The bar in it is the middle half of the documents, the dot their median. An empty
    document counts as one character.
    """
    violins = [_Violin.of(task) for task in tasks]
    axis = _Axis.around(violins)
    groups: dict[str, list[_Violin]] = {}
    for violin in violins:
        groups.setdefault(violin.variant, []).append(violin)

    body: list[str] = []
    top = MARGIN + 88
    y = float(top)
    for variant, members in groups.items():
        body.append(f'<text class="variant" x="{MARGIN}" y="{y + 18:.0f}">{escaped(variant)}</text>')
        y += 26
        for violin in members:
            body.append(violin.drawn(axis, y + _ROW / 2))
            y += _ROW
        y += 8
    height = math.ceil(y) + MARGIN + 16

    title = "Document lengths"
    unit = "Characters in a document, logarithmic. Shape: share of documents; bar: middle half; dot: median."
    description = f"{unit} " + " ".join(violin.told for violin in violins)
    columns = (
        f'<text class="small number" x="{axis.right + _COUNT_COLUMN}" y="{top - 8}">documents</text>'
        f'<text class="small number" x="{WIDTH - MARGIN}" y="{top - 8}">median</text>'
    )
    drawn = [heading(title, unit), columns, *axis.drawn(top, y), *body]
    return document("lengths", height, title, description, drawn, _STYLE)


@dataclass(frozen=True)
class _Axis:
    """From log10(characters) to pixels; ``low`` and ``high`` are where it starts and ends."""

    low: float
    high: float
    left: float
    right: float

    @classmethod
    def around(cls, violins: Sequence[_Violin]) -> _Axis:
        low, high = min(violin.places[0] for violin in violins), max(violin.places[-1] for violin in violins)
        missing = max(_SHORTEST_AXIS - (high - low), 0)
        steps = _steps(max(low - missing / 2, 0), high + missing / 2)
        labels = max(
            pixels(label) for violin in violins for label in (shortened(violin.task, _LONGEST_NAME), violin.variant)
        )
        right = WIDTH - MARGIN - _COUNT_COLUMN - _MEDIAN_COLUMN
        return cls(steps[0], steps[-1], MARGIN + 20 + round(labels), right)

    def x(self, place: float) -> float:
        return self.left + (place - self.low) / (self.high - self.low) * (self.right - self.left)

    def drawn(self, top: float, bottom: float) -> Iterator[str]:
        """Grid lines, with labels at both ends: at powers of ten, or at 1, 2 and 5 where there are few of those."""
        every = self.high - self.low <= 2.2
        for step in _steps(self.low, self.high):
            x, major = self.x(step), math.isclose(step, round(step))
            minor = "" if major else " minor"
            yield f'<line class="grid{minor}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom:.0f}"/>'
            if major or every:
                for y in (top - 8, bottom + 18):
                    yield f'<text class="small tick" x="{x:.1f}" y="{y:.0f}">{_compact(round(10**step))}</text>'


@dataclass(frozen=True)
class _Violin:
    """A task's shape: half heights (0 to 1) at ``places`` (log10 of characters), both of shape (_POINTS,)."""

    task: str
    variant: str
    places: tuple[float, ...]
    heights: tuple[float, ...]
    count: int
    shortest: int
    quartiles: tuple[float, float, float]
    longest: int

    @classmethod
    def of(cls, task: TaskLengths) -> _Violin:
        import numpy as np

        logs = np.log10(np.maximum(task.lengths, 1))
        lower, upper = np.quantile(logs, [0.25, 0.75])
        # Silverman, Density Estimation for Statistics and Data Analysis (1986), equation 3.31.
        spread = min(logs.std(), (upper - lower) / 1.34) or logs.std()
        bandwidth = min(max(0.9 * spread * len(logs) ** -0.2, _NARROWEST), _WIDEST)
        # Smoothing would draw lengths that no document has, so the shape ends with the shortest and the longest one.
        start, end = max(logs.min() - 2 * _NARROWEST, 0), logs.max() + 2 * _NARROWEST
        counts, edges = np.histogram(logs, bins=_CELLS, range=(start, end))
        centres = (edges[:-1] + edges[1:]) / 2
        places = np.linspace(start, end, _POINTS)
        density = np.exp(-0.5 * ((places[:, None] - centres) / bandwidth) ** 2) @ counts
        first, median, third = np.quantile(task.lengths, [0.25, 0.5, 0.75])
        return cls(
            task=task.task,
            variant=task.variant,
            places=tuple(places.tolist()),
            heights=tuple((density / density.max()).tolist()),
            count=len(logs),
            shortest=int(task.lengths.min()),
            quartiles=(float(first), float(median), float(third)),
            longest=int(task.lengths.max()),
        )

    @property
    def told(self) -> str:
        """The row in words."""
        first, median, third = self.quartiles
        return (
            f"{self.task}, {self.variant}: {self.count:,} document{'' if self.count == 1 else 's'}, "
            f"median {median:,.0f}, middle half {first:,.0f} to {third:,.0f}, "
            f"shortest {self.shortest:,}, longest {self.longest:,}."
        )

    def drawn(self, axis: _Axis, middle: float) -> str:
        upper = [
            f"{axis.x(p):.1f} {middle - _HALF_VIOLIN * h:.1f}" for p, h in zip(self.places, self.heights, strict=True)
        ]
        lower = [
            f"{axis.x(p):.1f} {middle + _HALF_VIOLIN * h:.1f}" for p, h in zip(self.places, self.heights, strict=True)
        ]
        first, median, third = (axis.x(math.log10(max(quartile, 1))) for quartile in self.quartiles)
        baseline = f"{middle + 4.5:.1f}"
        return (
            f"<g><title>{escaped(self.told)}</title>"
            f'<text x="{MARGIN}" y="{baseline}">{escaped(shortened(self.task, _LONGEST_NAME))}</text>'
            f'<path class="violin" d="M{" L".join(upper + lower[::-1])}Z"/>'
            f'<line class="half" x1="{first:.1f}" y1="{middle:.1f}" x2="{third:.1f}" y2="{middle:.1f}"/>'
            f'<circle class="median" cx="{median:.1f}" cy="{middle:.1f}" r="3.5"/>'
            f'<text class="number" x="{axis.right + _COUNT_COLUMN}" y="{baseline}">{self.count:,}</text>'
            f'<text class="number" x="{WIDTH - MARGIN}" y="{baseline}">{self.quartiles[1]:,.0f}</text></g>'
        )


def _steps(low: float, high: float) -> list[float]:
    """log10 of 1, 2, 5, 10, 20, ... from the last one not above ``low`` to the first one not below ``high``."""
    steps = [
        decade + math.log10(digit) for decade in range(math.floor(low), math.ceil(high) + 1) for digit in (1, 2, 5)
    ]
    start = max(step for step in steps if step <= low + 1e-9)
    end = min(step for step in steps if step >= high - 1e-9)
    return [step for step in steps if start <= step <= end]


def _compact(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)

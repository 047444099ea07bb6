"""An ablation told: a record with every figure, and from it the table and the plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ablation_plan import Measure

from loco.environment import Environment
from loco.figures import series as styles
from loco.figures.drawing import MARGIN, WIDTH, document, escaped, heading, number, pixels, shortened
from loco.figures.scale import Scale, check_finite
from loco.figures.series import mark, series_class
from loco.results.parts import Count, Name, Part, Seconds, Share

_ROW = 44
_MARK = 5.0
_STYLE = (
    styles.STYLE
    + """
.mark { fill-opacity: .8; }
.mean { stroke: var(--ink); stroke-width: 3; }
.chance { stroke: var(--muted); stroke-width: 1.5; stroke-dasharray: 5 4; }
.label { fill: var(--muted); text-anchor: middle; }
"""
)


class Run(Part):
    """One arm with one seed: its figures by task (or for the held-out texts), their mean, and what it took."""

    seed: Count
    figures: dict[Name, Share]
    mean: Share
    seconds: Seconds | None
    texts: Count
    tokens: Count
    positions: Count


class ArmRecord(Part):
    """An arm with its runs, one a seed; ``paper`` is in %."""

    name: Name
    paper: float | None
    runs: tuple[Run, ...]

    @property
    def means(self) -> list[float]:
        """The figure of each seed."""
        return [run.mean for run in self.runs]


class Record(Part):
    """A table of the paper, run here. ``chance`` is what has learnt nothing gets, by task."""

    table: Name
    title: str
    source: str
    measure: Measure
    equal: str
    chance: dict[Name, Share]
    arms: tuple[ArmRecord, ...]
    environment: Environment
    command: str

    @property
    def seeds(self) -> list[int]:
        """The seeds that every arm was run with."""
        return [run.seed for run in self.arms[0].runs]


def markdown(record: Record) -> str:
    """The record as a table, with what was held equal above and what agrees with the paper below."""
    tasks = list(record.chance)
    several = len(tasks) > 1
    heads = ["arm", record.measure, "sd", "range", *(tasks if several else []), "order", "paper", "its order"]
    here = _order({arm.name: statistics.fmean(arm.means) for arm in record.arms if arm.paper is not None})
    there = _order({arm.name: arm.paper for arm in record.arms if arm.paper is not None})
    rows = []
    for arm in record.arms:
        deviation = f"{statistics.stdev(arm.means):.3f}" if len(arm.means) > 1 else ""
        by_task = [f"{statistics.fmean(run.figures[task] for run in arm.runs):.3f}" for task in tasks]
        rows.append(
            [
                arm.name,
                f"{statistics.fmean(arm.means):.3f}",
                deviation,
                f"{min(arm.means):.3f} to {max(arm.means):.3f}",
                *(by_task if several else []),
                str(here.get(arm.name, "")),
                "" if arm.paper is None else f"{arm.paper:g} %",
                str(there.get(arm.name, "")),
            ]
        )
    least = [f"{record.chance[task]:.3f}" for task in tasks]
    overall = f"{statistics.fmean(record.chance.values()):.3f}"
    rows.append(["nothing learnt", overall, "", "", *(least if several else []), "", "", ""])
    right = [place > 0 for place in range(len(heads))]
    lines = [f"### {record.title}", "", f"{record.source}. {_held(record)}", "", _line(heads)]
    lines.append(_line(["--:" if number else "---" for number in right]))
    lines += [_line(row) for row in rows]
    return "\n".join([*lines, "", *_costs(record), "", agreement(record), ""])


def agreement(record: Record) -> str:
    """How often the arms come in the paper's order, over the seeds."""
    known = {arm.name: arm.paper for arm in record.arms if arm.paper is not None}
    if len(known) < 2:
        return f"{_seeds(record)}."
    theirs = _order(known)
    arms = [arm for arm in record.arms if arm.name in known]
    same = sum(_order({arm.name: arm.runs[place].mean for arm in arms}) == theirs for place in range(len(record.seeds)))
    means = _order({arm.name: statistics.fmean(arm.means) for arm in arms}) == theirs
    return (
        f"{_seeds(record)}. The arms come in the paper's order with {same} of {len(record.seeds)}; "
        f"their means {'do' if means else 'do not'}."
    )


def plot(record: Record) -> str:
    """The figure of every seed as a mark, a row for each arm, its mean as a bar, as an SVG document."""
    chance = statistics.fmean(record.chance.values())
    means = [value for arm in record.arms for value in arm.means]
    check_finite(means, "The plot")
    widest = max(pixels(arm.name) for arm in record.arms)
    left = MARGIN + math.ceil(min(widest, 420)) + 16
    right, top = WIDTH - MARGIN - 60, MARGIN + 60
    bottom = top + _ROW * len(record.arms)
    axis = Scale.over([0.0, chance, *means], left, right)
    body = [heading(record.title, f"{_seeds(record)}: a mark each, their mean as a bar. Dashed: nothing learnt.")]
    for value in axis.ticks:
        x = axis.place(value)
        body.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        body.append(f'<text class="small tick" x="{x:.1f}" y="{bottom + 20}">{number(value)}</text>')
    body.append(_bar("chance", axis.place(chance), top, bottom))
    for place, arm in enumerate(record.arms):
        body += _row(place, arm, axis, left, top + _ROW * (place + 0.5))
    label = f"{record.measure}, mean over {len(record.chance)} tasks" if len(record.chance) > 1 else record.measure
    body.append(f'<text class="label" x="{(left + right) / 2:.0f}" y="{bottom + 46}">{escaped(label)}</text>')
    told = "; ".join(
        f"{arm.name}: mean {statistics.fmean(arm.means):.3f}, from {min(arm.means):.3f} to {max(arm.means):.3f}"
        for arm in record.arms
    )
    description = f"{label}, by arm. {told}. Nothing learnt: {chance:.3f}."
    return document(record.table, bottom + 56 + MARGIN, record.title, description, body, _STYLE)


def _row(place: int, arm: ArmRecord, axis: Scale, left: float, middle: float) -> list[str]:
    marks = "".join(mark(place, axis.place(value), middle, _MARK) for value in arm.means)
    mean = statistics.fmean(arm.means)
    return [
        f'<text class="number" x="{left - 12}" y="{middle + 4:.1f}">{escaped(shortened(arm.name, 420))}</text>',
        f'<g class="{series_class(place)}"><title>{escaped(arm.name)}: {mean:.3f}</title>'
        f'{_bar("mean", axis.place(mean), middle - 14, middle + 14)}<path class="mark" d="{marks}"/></g>',
        f'<text class="small" x="{axis.place(max(arm.means)) + 12:.1f}" y="{middle + 4:.1f}">{mean:.3f}</text>',
    ]


def _bar(kind: str, x: float, top: float, bottom: float) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}"/>'


def _order(values: dict[str, float]) -> dict[str, int]:
    """Each name's place, the highest value's being 1; equal values share one."""
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def _costs(record: Record) -> Sequence[str]:
    """What each arm has read, and the minutes of its stages."""
    heads = ["arm", "tokens in pretraining", "positions with padding", "texts in fine-tuning", "minutes"]
    lines = [_line(heads), _line(["---", "--:", "--:", "--:", "--:"])]
    for arm in record.arms:
        read = [statistics.fmean(getattr(run, what) for run in arm.runs) for what in ("tokens", "positions", "texts")]
        known = [run.seconds for run in arm.runs if run.seconds is not None]
        minutes = f"{statistics.fmean(known) / 60:.1f}" if len(known) == len(arm.runs) else ""
        lines.append(_line([arm.name, *(f"{count:,.0f}" for count in read), minutes]))
    return lines


def _seeds(record: Record) -> str:
    count = len(record.seeds)
    return f"{count} seed{'' if count == 1 else 's'} ({', '.join(map(str, record.seeds))})"


def _held(record: Record) -> str:
    return " ".join(record.equal.split())


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

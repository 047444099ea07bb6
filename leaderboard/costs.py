"""An average against what it takes: weights, time, money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loco.compare.statistics import Estimate
from loco.encode.strategies import Truncate, parse
from loco.errors import LocoError
from loco.money import shown as dollars
from loco.reported import ReportedTimes
from loco.results import SpeedResult

from . import plotting
from .board import VARIANTS, Board, Entry
from .chart import MODEL, STRATEGY, Chart, Missing, Section, Sign, interval, label, model_cell
from .figures import Figure, percent
from .plotting import Spot, short
from .tables import Cell, Table, headings, number, text
from .texts import visible

SPEED_TOKENS = 8_192  # the length of text that speeds are compared at
_LEAST = 2  # points that make a figure
# What lies beyond is a slip, and would leave no room for the others.
_MOST_WEIGHTS = 10**15
_SECONDS = (1e-6, 1e6)
_PRICES = (1e-6, 1e6)  # US dollars a million tokens


@dataclass(frozen=True)
class _Cost:
    """What stands on the axis for an entry: ``value`` in the axis's unit, and the words for the table and tooltip."""

    entry: Entry
    value: float | None
    words: str
    more: str = ""


class _Group(NamedTuple):
    """What entries of one figure share; sorted, groups stand in the order in which they are shown."""

    place: int
    tasks: int
    benchmark: str
    data: str

    @property
    def variant(self) -> str:
        """The variant's name."""
        return VARIANTS[self.place]

    @property
    def words(self) -> str:
        """The group as a heading says it."""
        return f"{self.variant}, average over {self._tasks}"

    @property
    def brief(self) -> str:
        """The group among others."""
        return f"{self.variant} ({self._tasks})"

    @property
    def _tasks(self) -> str:
        data = f", {visible(self.data)}" if self.data else ""
        return f"{-self.tasks} task{'' if self.tasks == -1 else 's'} of {visible(self.benchmark)}{data}"


def by_weights(board: Board) -> Section:
    """Averages against the number of weights."""
    figures: list[Chart] = []
    lacking: list[_Group] = []
    for group, entries in _groups(board):
        costs = [
            _Cost(entry, weights, "not known" if weights is None else short(weights))
            for entry, weights in ((entry, _weights(entry)) for entry in entries)
        ]
        known = sum(cost.value is not None for cost in costs)
        if known >= _LEAST:
            notes = [
                f"{len(costs) - known} of {len(costs)} rows stand at the left: services do not say how many weights "
                "they have, BM25 has none, and of others it was not recorded."
            ]
            figures.append(
                _trade(
                    f"weights-{len(figures)}",
                    group,
                    costs,
                    ("Weights", "Weights (logarithmic)", "no number"),
                    notes[: known < len(costs)],
                )
            )
        else:
            lacking.append(group)
    command = f"loco eval --model {MODEL} --task all --variant {{}}"
    missing = _missing(board, lacking, "a known number of weights", command)
    about = "The staircase joins the rows that no other row of the same kind beats with as few weights."
    return Section("weights", "Average against number of weights", about, figures, missing)


def _weights(entry: Entry) -> float | None:
    """The number of weights, if it can be one."""
    weights = entry.model.weights
    return None if weights is None or weights > _MOST_WEIGHTS else float(weights)


def by_speed(board: Board) -> Section:
    """Averages against tokens a second."""
    figures: list[Chart] = []
    lacking: list[_Group] = []
    times = [reported.times for reported in board.reported]
    for group, entries in _groups(board):
        by_machine: dict[str, list[_Cost]] = {}
        for entry in entries:
            for machine, cost in _speeds(board, entry, times):
                by_machine.setdefault(machine, []).append(cost)
        for machine, costs in sorted(by_machine.items()):
            if len(costs) < _LEAST:
                continue
            notes = [f"With a text of {SPEED_TOKENS:,} tokens. Machine: {visible(machine)}."]
            if any(cost.entry.origin == "reported" for cost in costs):
                notes.append("The source names no strategy: rows that leave out text of that length are not drawn.")
            notes += sorted({visible(cost.more) for cost in costs if cost.more})
            figures.append(
                _trade(
                    f"speed-{len(figures)}",
                    group,
                    costs,
                    ("Tokens a second", "Tokens read a second (logarithmic)", ""),
                    notes,
                    less_is_better=False,
                )
            )
        if all(len(costs) < _LEAST for costs in by_machine.values()):
            lacking.append(group)
    command = f"loco speed --model {MODEL} --strategy {STRATEGY}"
    missing = _missing(board, lacking, f"a speed at {SPEED_TOKENS:,} tokens on one machine", command)
    about = (
        "Speeds are of one machine a figure, and of the very strategy whose average is shown. The staircase joins the "
        "rows that no other row of the same kind beats at that speed or a higher one."
    )
    return Section("speed", "Average against speed", about, figures, missing)


def _speeds(board: Board, entry: Entry, times: Sequence[ReportedTimes]) -> Iterator[tuple[str, _Cost]]:
    """The speeds that belong to an entry, at most one a machine, each with the machine."""
    if entry.origin == "reported":
        for table in times:
            yield from _reported_speed(table, entry)
        return
    results = [filed.result for filed in entry.cells.values()]
    strategy = results[0].strategy
    dtypes = {result.measurement.dtype for result in results if result.measurement}
    found: dict[str, list[SpeedResult]] = {}
    for _, speed in board.speeds:
        same = speed.model.untrained or speed.model.revision == entry.model.revision
        if speed.model.name == entry.model.name and same and speed.strategy == strategy:
            found.setdefault(_machine(speed), []).append(speed)
    for machine, speeds in found.items():
        # The precision of the result where it was timed, and of those the latest.
        for speed in sorted(speeds, key=lambda one: (one.dtype in dtypes, one.finished_at), reverse=True):
            rate = next((row.tokens_per_second for row in speed.rows if row.tokens == SPEED_TOKENS), None)
            if rate is not None:
                other = "" if speed.dtype in dtypes else f", in {speed.dtype}"
                yield machine, _Cost(entry, rate, f"{short(rate)} tokens a second{other}")
                break


def _machine(speed: SpeedResult) -> str:
    if speed.gpus:
        return ", ".join(speed.gpus)
    cores = f", {speed.threads} threads" if speed.threads else ""
    return f"{speed.environment.processor or speed.environment.platform}{cores}"


def _reported_speed(times: ReportedTimes, entry: Entry) -> Iterator[tuple[str, _Cost]]:
    """The reported time of an entry's model, unless its strategy leaves out part of a text that long."""
    row = next((row for row in times.row if row.model == entry.model.name), None)
    if row is None or SPEED_TOKENS not in times.tokens or not entry.cells:
        return
    seconds = dict(zip(times.tokens, row.seconds, strict=False)).get(SPEED_TOKENS, 0.0)
    strategy = next(iter(entry.cells.values())).result.strategy
    try:
        parsed = parse(strategy, entry.model.max_tokens)
    except LocoError:
        return
    if not _SECONDS[0] <= seconds <= _SECONDS[1] or (isinstance(parsed, Truncate) and parsed.size < SPEED_TOKENS):
        return
    rate = SPEED_TOKENS / seconds
    more = f"{row.model}: {row.remark}." if row.remark else ""
    yield f"{times.setting} (reported: {times.source})", _Cost(entry, rate, f"{short(rate)} tokens a second", more)


def by_price(board: Board) -> Section:
    """Averages against what a million tokens cost."""
    figures: list[Chart] = []
    lacking: list[_Group] = []
    for group, entries in _groups(board):
        costs = []
        for entry in entries:
            paid = [
                filed.result.measurement.cost.price
                for filed in entry.cells.values()
                if filed.result.measurement is not None and filed.result.measurement.cost is not None
            ]
            prices = sorted((price for price in paid if price is not None), key=lambda price: price.as_of)
            if prices and _PRICES[0] <= prices[-1].per_million_tokens <= _PRICES[1]:
                last = prices[-1]
                words = f"{dollars(last.per_million_tokens)} a million tokens, {last.as_of}"
                costs.append(_Cost(entry, last.per_million_tokens, words))
        if len(costs) >= _LEAST:
            figures.append(
                _trade(
                    f"price-{len(figures)}",
                    group,
                    costs,
                    ("Price", "US dollars a million tokens (logarithmic)", ""),
                    ["Prices are those of the day named, recorded in the results; models that run here have none."],
                    unit="$",
                )
            )
        else:
            lacking.append(group)
    command = f"loco eval --model {MODEL} --task all --variant {{}} --budget USD"
    missing = _missing(board, lacking, "a recorded price", command)
    about = (
        "For models behind a service. The staircase joins the rows that no other row of the same kind beats as cheaply."
    )
    return Section("price", "Average against price", about, figures, missing)


def _missing(board: Board, lacking: Sequence[_Group], what: str, command: str) -> list[Missing]:
    """The figures that are not drawn, in one sentence. ``command`` has a place for the variant."""
    averaged = {entry.variant for entry in board.entries if entry.complete}
    absent = [variant for variant in board.variants if variant not in averaged]
    said = []
    if lacking:
        said.append(f"Fewer than two rows have {what}: {'; '.join(group.brief for group in lacking)}.")
    if absent:
        said.append(f"No row has a figure for every task: {', '.join(absent)}.")
    variants = list(dict.fromkeys([*(group.variant for group in lacking), *absent]))
    if not said:
        return []
    named = variants[0] if len(variants) == 1 else "VARIANT"
    return [Missing(" ".join(said), command.format(named))]


def _groups(board: Board) -> Iterator[tuple[_Group, list[Entry]]]:
    """Entries whose averages are over the same rows of the same tasks, each kind by itself, best first."""
    groups: dict[_Group, list[Entry]] = {}
    for entry in board.entries:
        if entry.complete:
            group = _Group(VARIANTS.index(entry.variant), -len(entry.tasks), entry.benchmark, entry.data)
            groups.setdefault(group, []).append(entry)
    for group in sorted(groups):
        yield group, sorted(groups[group], key=lambda entry: (_kind(entry), -_average(entry)[0]))


def _trade(
    identifier: str,
    group: _Group,
    costs: Sequence[_Cost],
    words: tuple[str, str, str],
    notes: Sequence[str],
    less_is_better: bool = True,
    unit: str = "",
) -> Chart:
    column, label, strip = words
    spots = [_spot(cost) for cost in costs]
    kinds: dict[tuple[str, str, bool], list[Spot]] = {}
    for cost, spot in zip(costs, spots, strict=True):
        kinds.setdefault(_kind(cost.entry), []).append(spot)
    frontiers = [plotting.frontier(theirs, less_is_better) for theirs in kinds.values()]
    best = {id(spot) for line in frontiers for spot in line}
    rows = [
        (
            model_cell(cost.entry),
            text(cost.entry.way),
            number(cost.words),
            *_average_cells(cost.entry),
            Cell(", ".join(_kind_words(_kind(cost.entry)))),
            Cell("yes" if id(spot) in best else ""),
        )
        for cost, spot in zip(costs, spots, strict=True)
    ]
    heading = group.words
    legend = [
        Sign(plotting.key(_ink(kind), hollow=kind[0] == "reported"), ", ".join(_kind_words(kind)))
        for kind in sorted(kinds)
    ]
    hollow = any(kind[0] == "reported" for kind in kinds)
    all_notes = [*notes]
    if hollow:
        all_notes.append("Hollow marks are reported by others, as cells without intervals.")
    if any(spot.low is not None for spot in spots):
        all_notes.append("Bars are 95 % intervals of the average.")
    crowded = len(spots) > plotting.NAMED
    if crowded:
        all_notes.append("Of so many rows those along the staircases are named; point at another for its name.")
    return Chart(
        identifier=identifier,
        variant=group.variant,
        heading=heading,
        picture=plotting.scatter(
            identifier, f"{column} and average, {heading}", spots, frontiers, label, strip, less_is_better, unit
        ),
        crowded=crowded,
        legend=legend,
        notes=all_notes,
        table=Table(
            f"{column} and average nDCG@10 in percent, {heading}, each kind by itself, best first",
            [
                *headings("Model", "Strategy", numbers=(column, "Average", "95 % interval")),
                *headings("Kind", "Not beaten"),
            ],
            rows,
        ),
    )


def _spot(cost: _Cost) -> Spot:
    value, low, high = _average(cost.entry)
    kind = _kind(cost.entry)
    return Spot(
        x=cost.value,
        y=value,
        low=low,
        high=high,
        ink=_ink(kind),
        hollow=kind[0] == "reported",
        label=visible((cost.entry.name or cost.entry.model.name).rpartition("/")[2]),
        told=f"{label(cost.entry)}: {percent(value)} %{interval(low, high)}; {cost.words}; "
        f"{', '.join(_kind_words(kind))}",
    )


def _kind(entry: Entry) -> tuple[str, str, bool]:
    """What rows must share to be beaten by each other: origin, training, and whether they stand in for the variant."""
    return (entry.origin, entry.training, bool(entry.equivalent))


def _kind_words(kind: tuple[str, str, bool]) -> list[str]:
    training = {"trained": "trained on LoCo", "unknown": "training not stated"}.get(kind[1], kind[1])
    return [kind[0], training, *(["equivalent rows"] if kind[2] else [])]


def _ink(kind: tuple[str, str, bool]) -> int:
    own, standing_in = {"zero-shot": (0, 2), "trained": (1, 4)}.get(kind[1], (3, 5))
    return standing_in if kind[2] else own


def _average(entry: Entry) -> tuple[float, float | None, float | None]:
    if isinstance(entry.average, Estimate):
        return entry.average.value, entry.average.low, entry.average.high
    return entry.average or 0.0, None, None


def _average_cells(entry: Entry) -> tuple[Cell, Cell]:
    figure = Figure.of(entry.average or 0.0)
    return number(figure.shown, figure.told), number(figure.interval or "none")

"""The overview: every row of the board, those in one list that may be ranked in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loco.compare.statistics import Estimate
from loco.score.metrics import PRIMARY

from .board import Board, Entry, League, short
from .figures import Figure, percent
from .ranks import Place, leagues, places
from .site import Page, Renderer
from .texts import visible

_STEPS = 20  # of the heat in the stylesheet
_LONGEST = 120
_NONE = "\u2013"

_ABOUT = {
    "paper": "The rows behind the LoCoV1 paper (arXiv 2402.07440).",
    "release": "The rows that its authors published later, with other documents in some tasks.",
    "mini": "Synthetic tasks, made on the spot: for trying things out. They say nothing about a model's worth.",
    "imported": "Other data sets that ran through the same pipeline.",
}
_ORIGINS = {"measured": "Measured", "reported": "Reported by others"}
_TRAININGS = {
    "zero-shot": "zero-shot",
    "trained": "trained on LoCo",
    "unknown": "training not known",
    "untrained": "untrained",
}
# The upper ends of the windows that one can choose between, in tokens.
_WINDOWS = (512, 2048, 8192, 32768)


@dataclass(frozen=True)
class Choice:
    """An option of a control: what stands in the address, and what is shown."""

    value: str
    title: str


@dataclass(frozen=True)
class Column:
    """A column that can be sorted by and left out. ``kind`` is "text" or "number", ``told`` explains it."""

    key: str
    title: str
    told: str
    kind: str = "number"


@dataclass(frozen=True)
class Cell:
    """A figure in a table: ``told`` is for whoever points at it, ``kind`` the classes of its cell."""

    text: str
    told: str
    kind: str


@dataclass(frozen=True)
class Row:
    """An entry as the table shows it. ``values`` are what it can be sorted by: the average's parts, then its cells."""

    entry: Entry
    name: str
    way: str
    family: str
    strategy: str
    window: str
    window_range: str
    parameters: str
    rank: str
    band: str
    average: Cell
    interval: str
    cells: Sequence[Cell]
    badges: Sequence[tuple[str, str, str]]
    values: str
    search: str


@dataclass(frozen=True)
class Group:
    """A league: its rows may be ranked in one list."""

    title: str
    benchmark: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Section:
    """A variant: never compared with another."""

    variant: str
    title: str
    about: str
    columns: Sequence[Column]
    groups: Sequence[Group]


def pages(board: Board, renderer: Renderer) -> Iterator[Page]:
    """``index.html``."""
    sections = [_section(variant, board) for variant in board.variants]
    rows = [row for section in sections for group in section.groups for row in group.rows]
    yield renderer.page(
        "overview.html",
        "index.html",
        "Overview",
        sections=sections,
        models=len({row.entry.model.name for row in rows}),
        rows=len(rows),
        measured=sum(row.entry.origin == "measured" for row in rows),
        origins=[Choice(name, title) for name, title in _ORIGINS.items() if _any(rows, "origin", name)],
        trainings=[Choice(name, _title(title)) for name, title in _TRAININGS.items() if _any(rows, "training", name)],
        families=[Choice(name, name) for name in sorted({row.family for row in rows})],
        strategies=[Choice(name, name) for name in sorted({row.strategy for row in rows})],
        windows=[choice for choice in _window_choices() if any(row.window_range == choice.value for row in rows)],
    )


def _any(rows: Sequence[Row], name: str, value: str) -> bool:
    return any(getattr(row.entry, name) == value for row in rows)


def _section(variant: str, board: Board) -> Section:
    entries = [entry for entry in board.entries if entry.variant == variant]
    tasks = list(dict.fromkeys(task for entry in sorted(entries, key=_tasks_first) for task in entry.tasks))
    columns = [
        Column("parameters", "Size", "Trained weights of the model"),
        Column("window", "Window", "How many tokens the model reads at once"),
        Column("strategy", "Strategy", "How a text longer than the window was met", "text"),
        Column("average", "Average", "Mean nDCG@10 over the tasks, in percent, with its 95 % interval"),
        *(Column(task, short(task), f"{task}: nDCG@10 in percent") for task in tasks),
    ]
    ends = {task: _ends(entries, task) for task in tasks}
    found = sorted(leagues(entries).items(), key=lambda item: (not item[1][0].complete, *_league_order(item[0])))
    groups = [
        Group(
            _league_title(league),
            league.benchmark,
            [_row(entry, place.get(entry.id), tasks, ends) for entry in members],
        )
        for league, members in found
        for place in [places(members)]
    ]
    return Section(variant, f"{_title(variant)} variant", _ABOUT[variant], columns, groups)


def _tasks_first(entry: Entry) -> tuple[int, Sequence[str]]:
    return (-len(entry.tasks), entry.tasks)


def _ends(entries: Sequence[Entry], task: str) -> tuple[float, float]:
    values = [entry.cells[task].result.metrics[PRIMARY].value for entry in entries if task in entry.cells]
    return (min(values), max(values)) if values else (0.0, 0.0)


def _league_order(league: League) -> tuple[object, ...]:
    return (
        league.benchmark == "LoCoV0",
        league.benchmark,
        list(_ORIGINS).index(league.origin),
        list(_TRAININGS).index(league.training),
        league.stands_in,
        league.data,
    )


def _league_title(league: League) -> str:
    parts = [_ORIGINS[league.origin], _TRAININGS[league.training]]
    if league.benchmark == "LoCoV0":
        parts.append("LoCoV0, the five tasks of the preview")
    elif league.benchmark != "LoCoV1":
        parts.append(f"over {visible(league.benchmark, 60)}")
    if league.stands_in:
        parts.append("on rows that stand in for the variant\u2019s own")
    if league.data:
        parts.append(f"on other rows than most ({league.data})")
    return ", ".join(parts)


def _row(entry: Entry, place: Place | None, tasks: Sequence[str], ends: dict[str, tuple[float, float]]) -> Row:
    estimate = entry.average if isinstance(entry.average, Estimate) else None
    kind = entry.way.partition("(")[0].partition(",")[0]
    figures = {task: entry.cells[task].result.metrics[PRIMARY] for task in tasks if task in entry.cells}
    ends_of = (estimate.value, estimate.low, estimate.high) if estimate else (entry.mean, None, None)
    values = [*ends_of, *(figures[task].value if task in figures else None for task in tasks)]
    name, family = visible(entry.name, _LONGEST), visible(entry.model.family, _LONGEST) or "not said"
    return Row(
        entry=entry,
        name=name,
        way=visible(entry.way, _LONGEST),
        family=family,
        strategy=visible(kind, _LONGEST),
        window=_tokens(entry.model.max_tokens),
        window_range=_window_range(entry.model.max_tokens),
        parameters=_weights(entry.model.weights),
        rank=f"{place.rank}{'=' if place.tied else ''}" if place else _NONE,
        band=place.band if place else "",
        average=_average(entry),
        interval=f"{percent(estimate.low)}\u2013{percent(estimate.high)}" if estimate else "",
        cells=[
            Cell(Figure.of(figures[task]).shown, Figure.of(figures[task]).told, _heat(figures[task].value, *ends[task]))
            if task in figures
            else Cell(_NONE, "", "none")
            for task in tasks
        ],
        badges=_badges(entry),
        values=" ".join("-" if value is None else f"{value:.7f}".rstrip("0") for value in values),
        search=f"{name} {entry.way} {family}".lower()[:400],
    )


def _average(entry: Entry) -> Cell:
    if entry.average is not None:
        return Cell(percent(entry.mean or 0.0), Figure.of(entry.average).told, "num")
    if not entry.cells and entry.printed:
        one = entry.printed[0]
        return Cell(f"{one.percent:.1f}", f"as printed by {one.source}; its cells are not known, so it has no rank",
                    "num printed")  # fmt: skip
    return Cell(_NONE, f"{len(entry.cells)} of {len(entry.tasks)} tasks", "num none")


def _badges(entry: Entry) -> list[tuple[str, str, str]]:
    """Class, text and explanation of each."""
    badges = [
        ("measured", "measured", "This harness measured it; the run is on record")
        if entry.origin == "measured"
        else ("reported", "reported", "; ".join(entry.sources)[:400])
    ]
    if entry.training == "trained":
        badges.append(("trained", "trained on LoCo", "Trained on LoCo\u2019s own training split"))
    if entry.training == "untrained":
        badges.append(("untrained", "untrained", "Weights drawn at random: never ranked"))
    if entry.equivalent:
        badges.append(("equivalent", "equivalent", entry.equivalent[:400]))
    if entry.cells and entry.average is None:
        badges.append(("partial", f"{len(entry.cells)} of {len(entry.tasks)}", "Tasks that there is a figure for"))
    if not entry.cells:
        badges.append(("partial", "average only", "Its source prints no figures of tasks"))
    if entry.differs:
        differing = [one for one in entry.printed if one.differs]
        figures = " and ".join(dict.fromkeys(f"{one.percent:.1f}" for one in differing))
        told = "; ".join(f"{one.percent} in {one.source}" for one in differing)
        badges.append(("differs", f"printed {figures}", f"Its own cells do not average to what is printed: {told}"))
    return badges


def _heat(value: float, lowest: float, highest: float) -> str:
    """Shaded within its column, from the lowest of the variant to the highest."""
    share = (value - lowest) / (highest - lowest) if highest > lowest else 0.5
    return f"heat h{round(share * _STEPS)}"


def _tokens(window: int | None) -> str:
    if window is None:
        return ""
    return f"{window // 1024}k" if window >= 1024 and window % 1024 == 0 else f"{window:,}"


def _weights(number: int | None) -> str:
    if number is None:
        return ""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{name}" if number < 999.5 * unit else f"{number / unit:,.0f}{name}"
    return str(number)


def _window_range(window: int | None) -> str:
    if window is None:
        return "none"
    return next((f"to-{end}" for end in _WINDOWS if window <= end), "more")


def _window_choices() -> Iterator[Choice]:
    below = None
    for end in _WINDOWS:
        title = f"up to {_tokens(end)}" if below is None else f"{_tokens(below + 1)} to {_tokens(end)}"
        yield Choice(f"to-{end}", title)
        below = end
    yield Choice("more", f"above {_tokens(below)}")
    yield Choice("none", "none, or not known")


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]

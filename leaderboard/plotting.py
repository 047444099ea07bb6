"""Figures inside pages: SVG whose colours come from the stylesheet, since pages allow no styles of their own.

Every text goes through ``escaped``. What a mark stands for is the ``title`` inside it, which a script may show sooner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loco.figures.drawing import escaped, number, pixels, shortened
from loco.figures.scale import Scale, check_finite
from loco.figures.series import mark

WIDTH, HEIGHT = 640, 380
INKS = 8  # colours of series in the stylesheet, .key-1 to .key-8
DISTINCT = 24  # series that differ in colour or in shape
NAMED = 40  # spots up to which each is named where there is room; of more, those of frontiers alone

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, WIDTH - 18, 16, HEIGHT - 60
_STRIP = 84  # pixels for what has no place along the axis
_GAP = 18  # pixels between it and the axis
_SIZE = 4.6
_DIGITS, _POWERS = 3.2, 8.0  # powers of ten on an axis up to which it has ticks between them, and one at each
_LABEL = 11 / 13  # the size of labels, of that text is measured in
_LONGEST_LABEL = 200.0  # at 13 pixels


@dataclass(frozen=True)
class Spot:
    """A mark at (``x``, ``y``), or in the strip at the left where ``x`` is None. ``y`` and its interval are shares.

    ``ink`` is its colour and its shape, ``hollow`` says that it was reported. ``label`` stands beside it where there
    is room, ``told`` says all of it.
    """

    x: float | None
    y: float
    low: float | None
    high: float | None
    ink: int
    hollow: bool
    label: str
    told: str


@dataclass(frozen=True)
class Line:
    """A named line through points; ``ys`` are shares, with None for a missing end of an interval."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float | None]
    highs: Sequence[float | None]
    told: Sequence[str]
    hollow: bool = False


@dataclass(frozen=True)
class LogScale:
    """Values from ``low`` to ``high`` between the pixels ``start`` and ``end``, evenly by their logarithm."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float) -> LogScale:
        """A scale that reaches a little beyond the values, which are above zero, and over a factor of ten at least."""
        shown = [math.log10(value) for value in values] or [0.0]
        low, high = min(shown), max(shown)
        beyond = max((1 - (high - low)) / 2, (high - low) * 0.06)
        return cls(low - beyond, high + beyond, start, end)

    def place(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """1, 2 and 5 times the powers of ten; the powers alone where these are many, or some of them."""
        step = max(1, math.ceil((self.high - self.low) / _POWERS))
        powers = range(math.floor(self.low), math.ceil(self.high) + 1, step)
        digits = (1, 2, 5) if self.high - self.low <= _DIGITS else (1,)
        values = [digit * 10.0**power for power in powers for digit in digits]
        return [value for value in values if self.low - 1e-9 <= math.log10(value) <= self.high + 1e-9]


def short(value: float) -> str:
    """A large or a small figure as it stands at an axis: 22M, 1.5k, 0.02."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit * 0.9995:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def frontier(spots: Sequence[Spot], less_is_better: bool) -> list[Spot]:
    """The spots that no other one beats: none has at least as good an ``x`` and a higher ``y``. Cheapest first.

    Of spots at one place the first stands for all.
    """
    placed = [(spot.x if less_is_better else -spot.x, -spot.y, spot) for spot in spots if spot.x is not None]
    best, kept = -math.inf, []
    for _, _, spot in sorted(placed, key=lambda one: one[:2]):
        if spot.y > best:
            kept.append(spot)
            best = spot.y
    return kept


def scatter(
    identifier: str,
    title: str,
    spots: Sequence[Spot],
    frontiers: Sequence[Sequence[Spot]],
    x_label: str,
    strip: str = "",
    less_is_better: bool = True,
    unit: str = "",
) -> Markup:
    """Spots over a logarithmic axis, with staircases along the frontiers. ``strip`` says what a spot without x lacks.

    ``identifier`` is unique on the page. Raises ValueError for values that are not finite or an x that is not above 0.
    """
    xs = [spot.x for spot in spots if spot.x is not None]
    ys = [y for spot in spots for y in (spot.y, spot.low, spot.high) if y is not None]
    check_finite([*xs, *ys], "The figure")
    if any(x <= 0 for x in xs):
        raise ValueError("A logarithmic axis begins above zero.")
    stripped = any(spot.x is None for spot in spots)
    left = _LEFT + (_STRIP if stripped else 0)
    across = LogScale.over(xs, left + (_GAP if stripped else 0), _RIGHT)
    up = _rounded(ys, 0.05)
    drawn = _rows(up, _LEFT, _RIGHT)
    drawn += _columns([(across.place(x), unit + short(x)) for x in across.ticks])
    if stripped:
        drawn.append(f'<line class="split" x1="{left}" y1="{_TOP}" x2="{left}" y2="{_BOTTOM}"/>')
        drawn.append(_text("tick", _LEFT + _STRIP / 2, _BOTTOM + 20, strip))
    drawn += _names_of_axes(x_label, (left + _RIGHT) / 2)
    places = _places(spots, across, up)
    by_spot = {id(spot): place for spot, place in zip(spots, places, strict=True)}
    for line in frontiers:
        if len(line) > 1:
            steps = [by_spot[id(spot)] for spot in line]
            path = f"M{steps[0][0]:.1f} {steps[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in steps[1:])
            path += f"H{_RIGHT if less_is_better else left}"
            kind = "frontier dashed" if line[0].hollow else "frontier"
            drawn.append(f'<path class="{kind} {_ink(line[0].ink)}" d="{path}"/>')
    for spot, (x, y) in zip(spots, places, strict=True):
        whisker = _whisker(x, spot.low, spot.high, up)
        drawn.append(_marked(spot.ink, spot.hollow, f"{whisker}{_path(mark(spot.ink, x, y, _SIZE))}", spot.told))
    first = {id(spot) for line in frontiers for spot in line}
    named = [n for n, spot in enumerate(spots) if len(spots) <= NAMED or id(spot) in first]
    order = sorted(named, key=lambda n: (id(spots[n]) not in first, -spots[n].y))
    drawn += _labels([(spots[n].label, *places[n]) for n in order], places)
    return _document(identifier, title, drawn)


def lines(
    identifier: str,
    title: str,
    series: Sequence[Line],
    x_label: str,
    columns: Sequence[tuple[float, str, str]],
    level: float | None = None,
    bands: bool = False,
) -> Markup:
    """Lines over an even axis from 0 to 100 percent. ``columns`` are the ticks: where, the words, and words below them.

    ``level`` is a value across the whole figure. Intervals are whiskers, with the lines side by side so
    that these do not cover each other, or ``bands``. Raises ValueError for values that are not finite.
    """
    for line in series:
        known = [y for ys in (line.ys, line.lows, line.highs) for y in ys if y is not None]
        check_finite([*line.xs, *known], f"Line '{line.name}'")
    up = Scale(0.0, 1.0, _BOTTOM, _TOP, 0.2)
    inset = 16 if bands else 70
    ends = [x for x, _, _ in columns] + [x for line in series for x in line.xs]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    across = Scale(low, high if high > low else low + 1, _LEFT + inset, _RIGHT - inset, 1.0)
    drawn = _rows(up, _LEFT, _RIGHT)
    drawn += _columns([(across.place(x), words) for x, words, _ in columns])
    drawn += [_text("tick small", across.place(x), _BOTTOM + 35, below) for x, _, below in columns if below]
    drawn += _names_of_axes(x_label, (_LEFT + _RIGHT) / 2)
    if level is not None:
        y = up.place(level)
        drawn.append(f'<line class="level" x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}"/>')
    beside = 0.0 if bands else min(9.0, 90 / max(len(series), 1))
    for place, line in enumerate(series):
        shift = (place - (len(series) - 1) / 2) * beside
        drawn.append(_line(place, line, across, up, shift, bands, len(series)))
    return _document(identifier, title, drawn)


def level() -> Markup:
    """The line across a whole figure, as a small picture beside its name."""
    drawn = '<line class="level" x1="1" y1="8" x2="29" y2="8"/>'
    return Markup(f'<svg class="sign" viewBox="0 0 30 16" width="30" height="16" aria-hidden="true">{drawn}</svg>')  # noqa: S704


def key(place: int, hollow: bool = False, line: bool = False) -> Markup:
    """The mark of a series, or its line with the mark, as a small picture beside its name."""
    drawn = '<path class="line" d="M1 8H29"/>' if line else ""
    wide = 30 if line else 16
    inner = drawn + _path(mark(place, wide / 2, 8, _SIZE))
    kind = f"{_ink(place)}{' hollow' if hollow else ''}"
    return Markup(  # noqa: S704
        f'<svg class="sign" viewBox="0 0 {wide} 16" width="{wide}" height="16" aria-hidden="true">'
        f'<g class="{kind}">{inner}</g></svg>'
    )


def _document(identifier: str, title: str, drawn: Sequence[str]) -> Markup:
    body = "\n".join(drawn)
    return Markup(  # noqa: S704 - every text in it went through escaped
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-labelledby="{escaped(identifier)}-title">\n<title id="{escaped(identifier)}-title">{escaped(title)}'
        f"</title>\n{body}\n</svg>"
    )


def _rounded(values: Sequence[float], step: float) -> Scale:
    """From a round value below all to one above all, between 0 and 1, a fifth of the whole at least."""
    low = math.floor(min(values, default=0.0) / step + 1e-9) * step
    high = math.ceil(max(values, default=1.0) / step - 1e-9) * step
    while high - low < 0.2 - 1e-9:
        low, high = (low - step, high) if low - step > -1e-9 else (low, high + step)
    return Scale(low, high, _BOTTOM, _TOP, 0.1 if high - low > 0.3 else 0.05)


def _rows(up: Scale, left: float, right: float) -> list[str]:
    drawn = []
    for value in up.ticks:
        y = up.place(value)
        drawn.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        drawn.append(_text("tick end", left - 8, y + 4, number(round(100 * value, 6))))
    return drawn


def _columns(places: Sequence[tuple[float, str]]) -> list[str]:
    return [
        f'<line class="stub" x1="{x:.1f}" y1="{_BOTTOM}" x2="{x:.1f}" y2="{_BOTTOM + 5}"/>'
        + _text("tick", x, _BOTTOM + 20, words)
        for x, words in places
    ]


def _names_of_axes(x_label: str, middle: float) -> list[str]:
    turned = f'transform="translate(16 {(_TOP + _BOTTOM) / 2:.0f}) rotate(-90)"'
    return [
        _text("axis-name", middle, HEIGHT - 8, shortened(x_label, _RIGHT - _LEFT)),
        f'<text class="axis-name" {turned}>nDCG@10, percent</text>',
    ]


def _ink(place: int) -> str:
    """The class that gives what is inside the colour of a series."""
    return f"key-{place % INKS + 1}"


def _text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escaped(words)}</text>'


def _path(shape: str) -> str:
    return f'<path class="mark" d="{shape}"/>'


def _marked(place: int, hollow: bool, inner: str, told: str) -> str:
    kind = f"spot {_ink(place)}{' hollow' if hollow else ''}"
    return f'<g class="{kind}"><title>{escaped(told)}</title>{inner}</g>'


def _whisker(x: float, low: float | None, high: float | None, up: Scale) -> str:
    if low is None or high is None:
        return ""
    top, bottom = up.place(high), up.place(low)
    return f'<path class="whisker" d="M{x - 3:.1f} {top:.1f}h6m-3 0V{bottom:.1f}m-3 0h6"/>'


def _places(spots: Sequence[Spot], across: LogScale, up: Scale) -> list[tuple[float, float]]:
    """Where the marks stand. Those in the strip move sideways from what is already there at their height."""
    places: list[tuple[float, float]] = []
    in_strip: list[tuple[float, float]] = []
    for spot in spots:
        y = up.place(spot.y)
        if spot.x is not None:
            places.append((across.place(spot.x), y))
            continue
        steps = [0.0] + [side * step for step in range(12, _STRIP // 2 - 6, 12) for side in (-1, 1)]
        middle = _LEFT + _STRIP / 2
        x = next(
            (middle + s for s in steps if all(abs(middle + s - a) >= 11 or abs(y - b) >= 11 for a, b in in_strip)),
            middle,
        )
        in_strip.append((x, y))
        places.append((x, y))
    return places


def _labels(wanted: Sequence[tuple[str, float, float]], marks: Sequence[tuple[float, float]]) -> list[str]:
    """Names beside their marks, as far as they cover neither another name nor another mark."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in marks]
    drawn = []
    for words, x, y in wanted:
        words = shortened(words, _LONGEST_LABEL)
        wide = pixels(words) * _LABEL
        for start, kind, base in ((x + 9, "", y + 4), (x - 9 - wide, "end ", y + 4), (x - wide / 2, "mid ", y - 9)):
            box = (start, base - 10, start + wide, base + 3)
            inside = box[0] >= _LEFT and box[2] <= _RIGHT + 14 and box[1] >= 0 and box[3] <= _BOTTOM
            own = (x - 5, y - 5, x + 5, y + 5)
            if inside and not any(_overlap(box, other) for other in taken if other != own):
                anchor = {"": start, "end ": x - 9, "mid ": x}[kind]
                drawn.append(_text(f"{kind}label", anchor, base, words))
                taken.append(box)
                break
    return drawn


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _line(place: int, line: Line, across: Scale, up: Scale, shift: float, bands: bool, count: int) -> str:
    points = [(across.place(x) + shift, up.place(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    drawn = []
    if bands and points and all(end is not None for end in (*line.lows, *line.highs)):
        there = [(x, up.place(high or 0.0)) for (x, _), high in zip(points, line.highs, strict=True)]
        back = [(x, up.place(low or 0.0)) for (x, _), low in zip(points, line.lows, strict=True)]
        drawn.append(f'<path class="band" d="{_through(there + back[::-1])}z"/>')
    if len(points) > 1:
        drawn.append(f'<path class="line" d="{_through(points)}"/>')
    every = math.ceil(len(points) / 12) if bands else 1
    offset = (place * every // max(count, 1)) % every if every else 0
    for n, ((x, y), told) in enumerate(zip(points, line.told, strict=True)):
        if n % every == offset:
            whisker = "" if bands else _whisker(x, line.lows[n], line.highs[n], up)
            shape = _path(mark(place, x, y, _SIZE - 1))
            drawn.append(f'<g class="spot"><title>{escaped(told)}</title>{whisker}{shape}</g>')
    kind = f"series {_ink(place)}{' hollow' if line.hollow else ''}"
    return f'<g class="{kind}" data-series="{place}">' + "".join(drawn) + "</g>"


def _through(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in points)

"""Curves over a common axis, each with its interval as a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loco.figures import series as styles
from loco.figures.drawing import MARGIN, WIDTH, document, escaped, heading, number, pixels, shortened
from loco.figures.scale import Scale, check_finite
from loco.figures.series import legend, legend_height, legend_width, mark, series_class

_PLOT_HEIGHT = 340
_MARKED = 12  # curves of more points have marks at about as many places, each curve at other ones
_MARK = 3.6

_STYLE = (
    styles.STYLE
    + """
.curve { fill: none; stroke: var(--ink); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.dashed { stroke-dasharray: 6 5; }
.band { fill: var(--ink); fill-opacity: .14; stroke: none; }
.label { fill: var(--muted); text-anchor: middle; }
"""
)


@dataclass(frozen=True)
class Curve:
    """A named line through the points (``xs``, ``ys``), in the order they are given.

    ``lows`` and ``highs`` bound an interval around each y; both or neither. ``dashed`` sets a curve apart that is not
    of the same origin as the others, such as a published one.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None
    dashed: bool = False


def curves(series: Sequence[Curve], title: str, x_label: str, y_label: str) -> str:
    """The curves as an SVG document, the y axis from 0 to 1 or as far as the values go beyond.

    Raises ValueError for values that are not finite, and for a curve whose sequences differ in length.
    """
    for curve in series:
        _check(curve)
    names = [curve.name for curve in series]
    top = MARGIN + 40
    bottom = top + _PLOT_HEIGHT
    bounds = [y for curve in series for ys in (curve.ys, curve.lows, curve.highs) if ys is not None for y in ys]
    y_axis = Scale.from_zero_to_one(bounds, bottom, top)
    left = MARGIN + 28 + round(max(pixels(number(value)) for value in y_axis.ticks))
    right = round(WIDTH - MARGIN - (legend_width(names) if series else 0))
    x_axis = Scale.over([x for curve in series for x in curve.xs], left + 12, right - 12)

    body = [heading(title), *_axes(x_axis, y_axis, left, right, x_label, y_label)]
    body += [_band(place, curve, x_axis, y_axis) for place, curve in enumerate(series)]
    body += [_line(place, curve, len(series), x_axis, y_axis) for place, curve in enumerate(series)]
    body += legend(names, [_key(place, curve) for place, curve in enumerate(series)], right + 28, top + 10)
    if not bounds:
        body.append(f'<text class="label" x="{(left + right) / 2:.0f}" y="{(top + bottom) / 2:.0f}">No data</text>')
    height = max(bottom + 56, math.ceil(top + 10 + legend_height(names))) + MARGIN
    description = f"{y_label} over {x_label}. " + (" ".join(map(_told, series)) or "No data.")
    return document("curves", height, title, description, body, _STYLE)


def _check(curve: Curve) -> None:
    if (curve.lows is None) != (curve.highs is None):
        raise ValueError(f"Curve '{curve.name}' has one end of its interval without the other.")
    for what, values in (("xs", curve.xs), ("ys", curve.ys), ("lows", curve.lows), ("highs", curve.highs)):
        if values is not None:
            if len(values) != len(curve.xs):
                raise ValueError(f"Curve '{curve.name}' has {len(curve.xs)} xs and {len(values)} {what}.")
            check_finite(values, f"{what} of curve '{curve.name}'")


def _axes(x_axis: Scale, y_axis: Scale, left: float, right: float, x_label: str, y_label: str) -> list[str]:
    bottom, top = y_axis.start, y_axis.end
    drawn = []
    for value in y_axis.ticks:
        y = y_axis.place(value)
        drawn.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="small number" x="{left - 8}" y="{y + 4:.1f}">{number(value)}</text>')
    for value in x_axis.ticks:
        x = x_axis.place(value)
        drawn.append(f'<line class="grid" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}"/>')
        drawn.append(f'<text class="small tick" x="{x:.1f}" y="{bottom + 20}">{number(value)}</text>')
    middle = (top + bottom) / 2
    drawn.append(
        f'<text class="label" x="{(left + right) / 2:.0f}" y="{bottom + 46}">'
        f"{escaped(shortened(x_label, right - left))}</text>"
    )
    drawn.append(
        f'<text class="label" transform="translate({MARGIN + 8} {middle:.0f}) rotate(-90)">'
        f"{escaped(shortened(y_label, bottom - top))}</text>"
    )
    return drawn


def _points(xs: Sequence[float], ys: Sequence[float], x_axis: Scale, y_axis: Scale) -> list[tuple[float, float]]:
    return [(x_axis.place(x), y_axis.place(y)) for x, y in zip(xs, ys, strict=True)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _band(place: int, curve: Curve, x_axis: Scale, y_axis: Scale) -> str:
    if curve.lows is None or curve.highs is None or not len(curve.xs):
        return ""
    there = _points(curve.xs, curve.highs, x_axis, y_axis)
    back = _points(curve.xs, curve.lows, x_axis, y_axis)
    if len(there) == 1:  # a band of one point has no width of its own
        there, back = ([(x + side, y) for x, y in points for side in (-4, 4)] for points in (there, back))
    return f'<path class="band {series_class(place)}" d="{_path(there + back[::-1])}z"/>'


def _line(place: int, curve: Curve, count: int, x_axis: Scale, y_axis: Scale) -> str:
    points = _points(curve.xs, curve.ys, x_axis, y_axis)
    if not points:
        return ""
    every = math.ceil(len(points) / _MARKED)
    marked = points[(place * every // count) % every :: every]
    dashed = " dashed" if curve.dashed else ""
    line = f'<path class="curve{dashed}" d="{_path(points)}"/>' if len(points) > 1 else ""
    marks = "".join(mark(place, x, y, _MARK) for x, y in marked)
    return (
        f'<g class="{series_class(place)}"><title>{escaped(_told(curve))}</title>'
        f'{line}<path class="mark" d="{marks}"/></g>'
    )


def _key(place: int, curve: Curve) -> str:
    dashed = " dashed" if curve.dashed else ""
    return (
        f'<g class="{series_class(place)}"><path class="curve{dashed}" d="M0 0 26 0"/>'
        f'<path class="mark" d="{mark(place, 13, 0, _MARK)}"/></g>'
    )


def _told(curve: Curve) -> str:
    """The curve in words."""
    if not len(curve.ys):
        return f"{curve.name}: no points."
    first, last, lowest, highest = (number(y) for y in (curve.ys[0], curve.ys[-1], min(curve.ys), max(curve.ys)))
    if len(curve.ys) == 1:
        return f"{curve.name}: {first} at {number(curve.xs[0])}."
    return (
        f"{curve.name}: {len(curve.ys)} points, {first} at {number(curve.xs[0])}, {last} at {number(curve.xs[-1])}, "
        f"lowest {lowest}, highest {highest}."
    )

"""A map of values over rows and columns, by colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loco.figures.drawing import MARGIN, WIDTH, document, escaped, heading, number, pixels, shortened
from loco.figures.scale import Scale, check_finite

# Nine even steps of viridis (Smith and van der Walt, 2015): even to the eye, and with any kind of colour vision.
_COLOURS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
_LIGHT_FROM = 0.5  # of the scale: from there on black reads better than white

_TALLEST, _LOWEST = 34.0, 3.0  # of a row, as far as these leave it so:
_MOST_HEIGHT, _LEAST_HEIGHT = 560.0, 136.0  # of all
_TOOLTIPS = 2500  # cells; more of them would make the file several times as large
_SMALL = 12 / 13  # of the widths that text is measured in

_STYLE = """
.cell { text-anchor: middle; font-size: 12px; font-variant-numeric: tabular-nums; }
.on-dark { fill: #ffffff; } .on-light { fill: #000000; }
.label { fill: var(--muted); text-anchor: middle; }
.hatch { stroke: var(--muted); stroke-width: 1.2; }
.none { stroke: var(--grid); stroke-width: .5; }
"""
_HATCH = (
    '<defs><pattern id="loco-map-none" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern>'
    '<linearGradient id="loco-map-scale" x1="0" y1="1" x2="0" y2="0">'
    + "".join(f'<stop offset="{place / 8}" stop-color="{colour}"/>' for place, colour in enumerate(_COLOURS))
    + "</linearGradient></defs>"
)


def heat_map(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    x_label: str,
    y_label: str,
) -> str:
    """The map as an SVG document: ``values`` of shape (rows, columns), None where there is none, which is hatched.

    The colours go from 0 to 1, or as far as the values go beyond. A value stands in its cell where there is room.
    Raises ValueError for a value that is not finite, and where the shape is not that of the names.
    """
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        raise ValueError(f"The values do not have the shape of their names, ({len(rows)}, {len(columns)}).")
    known = [value for row in values for value in row if value is not None]
    check_finite(known, "The map")
    names = [shortened(name, 200) for name in rows]
    left = MARGIN + 28 + math.ceil(max(map(pixels, names), default=0.0))
    top, right = MARGIN + 40, WIDTH - MARGIN - 96
    wide = (right - left) / max(len(columns), 1)
    count = max(len(rows), 1)
    high = min(max(_MOST_HEIGHT / count, _LOWEST), max(_TALLEST, _LEAST_HEIGHT / count))
    bottom = top + high * count
    scale = Scale.from_zero_to_one(known, bottom, top)

    body = [_HATCH, heading(title)]
    body += _cells(values, rows, columns, scale, (left, top, wide, high))
    body += _row_names(names, left - 8, top, high)
    body += _column_names(columns, left, bottom, wide)
    body += _labels(x_label, y_label, (left, right), (top, bottom))
    body += _legend(scale, right + 30, hatched=len(known) < len(rows) * len(columns))
    if not known:
        body.append(f'<text class="label" x="{(left + right) / 2:.0f}" y="{(top + bottom) / 2:.0f}">No data</text>')
    description = f"Colour by value, {y_label} by {x_label}. {_told(values, rows, columns)}"
    return document("map", math.ceil(bottom + 56) + MARGIN, title, description, body, _STYLE)


def _cells(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    scale: Scale,
    grid: tuple[float, float, float, float],
) -> list[str]:
    left, top, wide, high = grid
    tooltips = len(rows) * len(columns) <= _TOOLTIPS
    gap = 1.0 if min(wide, high) >= 8 else 0.0
    drawn = []
    for row, (row_name, theirs) in enumerate(zip(rows, values, strict=True)):
        for column, value in enumerate(theirs):
            x, y = left + column * wide, top + row * high
            fill = 'class="none" fill="url(#loco-map-none)"' if value is None else f'fill="{_colour(scale, value)}"'
            shape = f'<rect {fill} x="{x:.2f}" y="{y:.1f}" width="{wide - gap:.2f}" height="{high - gap:.1f}"/>'
            written = "" if value is None else f"{value:.2f}"
            if written and high >= 16 and pixels(written) * _SMALL + 4 <= wide:
                ink = "on-light" if scale.share(value or 0.0) >= _LIGHT_FROM else "on-dark"
                middle = f'x="{x + wide / 2:.1f}" y="{y + high / 2 + 4:.1f}"'
                shape += f'<text class="cell {ink}" {middle}>{written}</text>'
            if tooltips:
                told = f"{row_name}, {columns[column]}: {'none' if value is None else number(value)}"
                shape = f"<g><title>{escaped(told)}</title>{shape}</g>"
            drawn.append(shape)
    # Cells that touch would show a thin line between them where they end in the midst of a pixel.
    return drawn if gap else ['<g shape-rendering="crispEdges">', *drawn, "</g>"]


def _colour(scale: Scale, value: float) -> str:
    """The colour of a value, between two of the nine as far as it is between them."""
    place = scale.share(value) * (len(_COLOURS) - 1)
    below = min(int(place), len(_COLOURS) - 2)
    parts = []
    for start in (1, 3, 5):
        low, high = (int(_COLOURS[below + one][start : start + 2], 16) for one in (0, 1))
        parts.append(round(low + (high - low) * (place - below)))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _row_names(names: Sequence[str], right: float, top: float, high: float) -> list[str]:
    every = math.ceil(15 / high)
    return [
        f'<text class="small number" x="{right}" y="{top + (row + 0.5) * high + 4:.1f}">{escaped(names[row])}</text>'
        for row in range(0, len(names), every)
    ]


def _column_names(columns: Sequence[str], left: float, top: float, wide: float) -> list[str]:
    """As many of the names as stand beside each other, evenly: all, every second, every fifth, ..."""
    longest = max((pixels(shortened(name, 110)) for name in columns), default=0.0) * _SMALL + 8
    every = next(
        step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if step * wide >= longest
    )
    return [
        f'<text class="small tick" x="{left + (column + 0.5) * wide:.1f}" y="{top + 18:.1f}">'
        f"{escaped(shortened(columns[column], 110))}</text>"
        for column in range(0, len(columns), every)
    ]


def _labels(x_label: str, y_label: str, across: tuple[float, float], down: tuple[float, float]) -> list[str]:
    return [
        f'<text class="label" x="{sum(across) / 2:.0f}" y="{down[1] + 46:.0f}">'
        f"{escaped(shortened(x_label, across[1] - across[0]))}</text>",
        f'<text class="label" transform="translate({MARGIN + 8} {sum(down) / 2:.0f}) rotate(-90)">'
        f"{escaped(shortened(y_label, down[1] - down[0]))}</text>",
    ]


def _legend(scale: Scale, left: float, hatched: bool) -> list[str]:
    bottom, top = scale.start, scale.end
    drawn = [f'<rect fill="url(#loco-map-scale)" x="{left:.0f}" y="{top:.1f}" width="14" height="{bottom - top:.1f}"/>']
    drawn += [
        f'<text class="small legend" x="{left + 20:.0f}" y="{scale.place(value) + 4:.1f}">{number(value)}</text>'
        for value in scale.ticks
    ]
    if hatched:
        drawn.append(
            f'<rect class="none" fill="url(#loco-map-none)" x="{left:.0f}" y="{bottom + 12:.1f}" width="14" '
            f'height="14"/><text class="small legend" x="{left + 20:.0f}" y="{bottom + 23:.1f}">none</text>'
        )
    return drawn


def _told(values: Sequence[Sequence[float | None]], rows: Sequence[str], columns: Sequence[str]) -> str:
    """The map in words: its size and where it is lowest and highest."""
    known = [
        (value, row, column)
        for row, theirs in enumerate(values)
        for column, value in enumerate(theirs)
        if value is not None
    ]
    if not known:
        return "No data."
    (least, low_row, low_column), (most, high_row, high_column) = min(known), max(known)
    empty = len(rows) * len(columns) - len(known)
    return (
        f"{len(rows)} rows, {len(columns)} columns, {empty} without a value. "
        f"Lowest {number(least)} at {rows[low_row]}, {columns[low_column]}; "
        f"highest {number(most)} at {rows[high_row]}, {columns[high_column]}."
    )

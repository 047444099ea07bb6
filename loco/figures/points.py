"""Points on a plane, coloured by label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loco.figures import series as styles
from loco.figures.drawing import MARGIN, WIDTH, document, escaped, heading
from loco.figures.scale import check_finite
from loco.figures.series import DISTINCT, legend, legend_height, legend_width, mark, series_class

_SIDE = 560  # of the square the points lie in
_INSIDE = 14

_STYLE = (
    styles.STYLE
    + """
.cloud { fill-opacity: .85; }
.rest { --ink: var(--muted); }
.frame { fill: none; stroke: var(--grid); }
.label { fill: var(--muted); text-anchor: middle; }
"""
)


@dataclass(frozen=True)
class Point:
    """A point of a plane whose axes have no unit, and the label that gives it its colour."""

    x: float
    y: float
    label: str


def scatter(points: Sequence[Point], title: str, note: str = "") -> str:
    """The points as an SVG document, about 30 bytes each, both axes to the same scale.

    Labels stand in the legend in the order of their first point. A figure can tell 42 labels apart; the smallest of
    more are drawn alike, and the legend says how many those are. Raises ValueError for a place that is not finite.
    """
    check_finite([place for point in points for place in (point.x, point.y)], "The figure")
    members: dict[str, list[Point]] = {}
    for point in points:
        members.setdefault(point.label, []).append(point)
    shown = list(members)
    if len(shown) > DISTINCT:
        largest = set(sorted(shown, key=lambda label: -len(members[label]))[: DISTINCT - 1])
        shown = [label for label in shown if label in largest]
    rest = [point for label, theirs in members.items() if label not in shown for point in theirs]

    groups = [(series_class(place), place, members[label]) for place, label in enumerate(shown)]
    names = [f"{label} ({len(members[label]):,})" for label in shown]
    if rest:
        groups.append(("rest", 0, rest))
        names.append(f"{len(members) - len(shown):,} other labels ({len(rest):,})")
    left, top = MARGIN, MARGIN + 56
    # The plane gives way to long names, never the names to the plane.
    side = min(_SIDE, round(WIDTH - 2 * MARGIN - legend_width(names)))
    size = 3.4 if len(points) <= 1000 else 2.4 if len(points) <= 4000 else 1.7
    plane = _Plane.around(points, left, top, side)
    # The rest is drawn first, so that it covers nothing.
    body = [heading(title, note), f'<rect class="frame" x="{left}" y="{top}" width="{side}" height="{side}" rx="4"/>']
    for (css, place, theirs), name in reversed(list(zip(groups, names, strict=True))):
        marks = "".join(mark(place, *plane.place(point), size) for point in theirs)
        body.append(f'<path class="mark cloud {css}" d="{marks}"><title>{escaped(name)}</title></path>')
    keys = [f'<path class="mark {css}" d="{mark(place, 13, 0, 4.4)}"/>' for css, place, _ in groups]
    body += legend(names, keys, left + side + 28, top + 12)
    if not points:
        body.append(f'<text class="label" x="{left + side / 2:.0f}" y="{top + side / 2:.0f}">No data</text>')
    height = max(top + side, math.ceil(top + 12 + legend_height(names))) + MARGIN
    count = f"{len(points):,} points of {len(members):,} label{'' if len(members) == 1 else 's'}"
    description = f"{note} {count}: {', '.join(names)}." if points else f"{note} No data."
    return document("scatter", height, title, description.strip(), body, _STYLE)


@dataclass(frozen=True)
class _Plane:
    """From places to pixels: both axes to one scale, the middle of the points in the middle of the square."""

    middle: tuple[float, float]
    centre: tuple[float, float]
    scale: float

    @classmethod
    def around(cls, points: Sequence[Point], left: float, top: float, side: float) -> _Plane:
        xs, ys = [point.x for point in points] or [0.0], [point.y for point in points] or [0.0]
        extent = max(max(xs) - min(xs), max(ys) - min(ys))
        scale = (side - 2 * _INSIDE) / extent if extent > 0 and math.isfinite(extent) else 1.0
        middle = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)
        return cls(middle, (left + side / 2, top + side / 2), scale)

    def place(self, point: Point) -> tuple[float, float]:
        return (
            self.centre[0] + (point.x - self.middle[0]) * self.scale,
            self.centre[1] - (point.y - self.middle[1]) * self.scale,
        )

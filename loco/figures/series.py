"""How series are told apart: by colour and by the shape of their marks, so that for a few either alone is enough."""

from __future__ import annotations

from collections.abc import Sequence

from loco.figures.drawing import escaped, pixels, shortened

# Three to one against a white or a near-black page, and far apart for protanopes and deuteranopes too: the tests hold
# them to it. The last colour is the text's own.
LIGHT = ("#1252d3", "#e4780c", "#22a37e", "#913382", "#8d5223", "#359ce0")
DARK = ("#4390ff", "#de9944", "#42e89e", "#c97ca1", "#edd40d", "#8ec3ff")
_COLOURS = len(LIGHT) + 1

_ROW, _LINE = 22, 16
_KEY = 34
_LONGEST_LINE = 270.0

# A figure can tell this many series apart: no two of them share both colour and shape.
DISTINCT = _COLOURS * 6


def _variables(colours: Sequence[str]) -> str:
    return " ".join(f"--series{number}: {colour};" for number, colour in enumerate(colours))


STYLE = (
    f"svg {{ {_variables(LIGHT)} --series{_COLOURS - 1}: var(--text); }}\n"
    f"@media (prefers-color-scheme: dark) {{ svg {{ {_variables(DARK)} }} }}\n"
    + "".join(f".series{n} {{ --ink: var(--series{n}); }}\n" for n in range(_COLOURS))
    + ".mark { fill: var(--ink); stroke: none; }\n"
)


def series_class(number: int) -> str:
    """The class that gives what belongs to a series its colour as ``--ink``."""
    return f"series{number % _COLOURS}"


def mark(number: int, x: float, y: float, size: float) -> str:
    """The mark of a series around a point, as part of a path's ``d``; all have about the area of a circle."""
    size = round(size, 2)
    shape = number % 6
    if shape == 0:
        return f"M{x - size:.1f} {y:.1f}a{size:g} {size:g} 0 1 0 {2 * size:g} 0a{size:g} {size:g} 0 1 0 {-2 * size:g} 0"
    if shape == 1:
        half = round(size * 0.9, 2)
        return f"M{x - half:.1f} {y - half:.1f}h{2 * half:g}v{2 * half:g}h{-2 * half:g}z"
    if shape == 2:
        return f"M{x:.1f} {y - 1.35 * size:.1f}l{1.3 * size:.3g} {2.2 * size:.3g}h{-2.6 * size:.3g}z"
    if shape == 3:
        half = round(size * 1.3, 2)
        return f"M{x:.1f} {y - half:.1f}l{half:g} {half:g}l{-half:g} {half:g}l{-half:g} {-half:g}z"
    if shape == 4:
        return f"M{x:.1f} {y + 1.35 * size:.1f}l{1.3 * size:.3g} {-2.2 * size:.3g}h{-2.6 * size:.3g}z"
    arm, thick = round(size * 1.25, 2), round(size * 0.75, 2)
    side = round(arm - thick / 2, 3)
    return (
        f"M{x - thick / 2:.1f} {y - arm:.1f}h{thick:g}v{side:g}h{side:g}v{thick:g}h{-side:g}v{side:g}"
        f"h{-thick:g}v{-side:g}h{-side:g}v{-thick:g}h{side:g}z"
    )


def legend_width(names: Sequence[str]) -> float:
    """How many pixels the legend takes, the space before it included."""
    return 28 + _KEY + max((pixels(line) for name in names for line in _lines(name)), default=0.0)


def legend_height(names: Sequence[str]) -> float:
    """How many pixels high the legend is."""
    return sum(_row_height(_lines(name)) for name in names)


def legend(names: Sequence[str], keys: Sequence[str], left: float, top: float) -> list[str]:
    """A row for each series: its key, drawn around (13, 0) of a group of its own, and its name in at most two lines.

    A name that is too long even so is cut there, and whole in its tooltip.
    """
    drawn, y = [], top
    for name, key in zip(names, keys, strict=True):
        lines = _lines(name)
        words = "".join(
            f'<text class="legend" x="{_KEY}" y="{4.5 + _LINE * line}">{escaped(words)}</text>'
            for line, words in enumerate(lines)
        )
        drawn.append(f'<g transform="translate({left:.0f} {y:.0f})"><title>{escaped(name)}</title>{key}{words}</g>')
        y += _row_height(lines)
    return drawn


def _lines(name: str) -> list[str]:
    if pixels(name) <= _LONGEST_LINE:
        return [name]
    fits = shortened(name, _LONGEST_LINE)[:-1]
    place = fits.rfind(" ") + 1
    if place <= len(fits) // 2:  # a break there would leave too little of the line
        place = len(fits)
    return [name[:place].rstrip(), shortened(name[place:], _LONGEST_LINE)]


def _row_height(lines: Sequence[str]) -> float:
    return _ROW + _LINE * (len(lines) - 1)

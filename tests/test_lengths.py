from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import small_task

from loco.errors import LocoError
from loco.tasks.data import VARIANTS, built_tasks, write_task
from loco.tasks.lengths import TaskLengths, lengths_svg, plot_lengths, read_lengths

SVG = "{http://www.w3.org/2000/svg}"
lengths = st.lists(st.integers(0, 10**8), min_size=1, max_size=40)


def row(task: str, *values: int, variant: str = "paper") -> TaskLengths:
    return TaskLengths(task, variant, np.array(values))


def by_class(figure: ET.Element, tag: str, name: str) -> list[ET.Element]:
    return [element for element in figure.iter(SVG + tag) if name in element.get("class", "").split()]


def ticks(figure: ET.Element) -> dict[str, float]:
    return {tick.text or "": float(tick.attrib["x"]) for tick in by_class(figure, "text", "tick")}


@given(st.lists(lengths, min_size=1, max_size=5))
@settings(deadline=None)
def test_every_shape_lies_inside_the_grid_with_its_median_in_its_middle_half(tasks: list[list[int]]) -> None:
    figure = ET.fromstring(lengths_svg([row(f"task{n}", *values) for n, values in enumerate(tasks)]))
    grid = [float(line.attrib["x1"]) for line in by_class(figure, "line", "grid")]
    for violin, half, median in zip(
        by_class(figure, "path", "violin"),
        by_class(figure, "line", "half"),
        by_class(figure, "circle", "median"),
        strict=True,
    ):
        xs = [float(x) for x in re.findall(r"[ML]([-\d.]+) ", violin.attrib["d"])]
        assert min(grid) <= min(xs) <= max(xs) <= max(grid)
        assert min(xs) <= float(half.attrib["x1"]) <= float(median.attrib["cx"]) <= float(half.attrib["x2"]) <= max(xs)
    assert len(ticks(figure)) >= 2


def test_the_axis_is_logarithmic_and_the_median_stands_where_it_says() -> None:
    figure = ET.fromstring(lengths_svg([row("a", 100, 1000, 100_000)]))
    x = ticks(figure)
    assert x["1k"] - x["100"] == pytest.approx(x["100k"] - x["10k"], abs=0.2)
    (median,) = by_class(figure, "circle", "median")
    assert float(median.attrib["cx"]) == pytest.approx(x["1k"], abs=0.1)


def test_a_violin_is_thickest_where_most_documents_are() -> None:
    figure = ET.fromstring(lengths_svg([row("a", *[1000] * 9, 100_000)]))
    (violin,) = by_class(figure, "path", "violin")
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", violin.attrib["d"])]
    assert min(points, key=lambda point: point[1])[0] == pytest.approx(ticks(figure)["1k"], abs=8)


def test_each_row_shows_its_number_of_documents_and_their_median() -> None:
    figure = ET.fromstring(lengths_svg([row("a", *range(1, 2002)), row("b", 7)]))
    shown = [text.text for text in by_class(figure, "text", "number")]
    assert shown == ["documents", "median", "2,001", "1,001", "1", "7"]


def test_rows_of_a_variant_stand_together() -> None:
    tasks = [row("a"), row("b", variant="release"), row("c")]
    figure = ET.fromstring(lengths_svg([replace(task, lengths=np.array([9])) for task in tasks]))
    words = [text.text for text in figure.iter(SVG + "text")]
    assert [word for word in words if word in ("paper", "a", "c", "release", "b")] == [
        "paper",
        "a",
        "c",
        "release",
        "b",
    ]


def test_the_figure_tells_in_words_what_it_shows() -> None:
    figure = ET.fromstring(lengths_svg([row("qmsum", 10, 20, 60), row("other", 5)]))
    assert figure.get("role") == "img"
    named = {
        element.get("id"): element
        for element in (figure.find(SVG + "title"), figure.find(SVG + "desc"))
        if element is not None
    }
    title, description = (named[identifier] for identifier in figure.attrib["aria-labelledby"].split())
    assert title.text == "Document lengths"
    assert "qmsum, paper: 3 documents, median 20, middle half 15 to 40, shortest 10, longest 60." in (
        description.text or ""
    )
    assert "other, paper: 1 document, median 5" in (description.text or "")


def test_it_has_colours_for_dark_pages_and_no_background_of_its_own() -> None:
    figure = lengths_svg([row("a", 5)])
    assert "@media (prefers-color-scheme: dark)" in figure
    assert "<rect" not in figure


@given(st.text(min_size=1), st.text(min_size=1))
@settings(deadline=None)
def test_no_name_breaks_out_of_its_text(task: str, variant: str) -> None:
    figure = ET.fromstring(lengths_svg([row(task, 5, variant=variant)]))
    expected = ET.fromstring(lengths_svg([row("a", 5)]))
    assert [element.tag for element in figure.iter()] == [element.tag for element in expected.iter()]


def test_a_name_too_long_for_its_column_is_cut_there_and_whole_in_its_tooltip() -> None:
    name = "M" * 60
    figure = ET.fromstring(lengths_svg([row(name, 5)]))
    assert name in "".join(title.text or "" for title in figure.iter(SVG + "title"))
    assert [text.text for text in figure.iter(SVG + "text") if (text.text or "").startswith("M")] == ["M" * 20 + "…"]


def test_lengths_are_characters_of_the_built_documents(tmp_path: Path) -> None:
    documents = {"d1": "né", "d2": "\U0001f600" * 5, "d3": ""}
    write_task(small_task(documents=documents), tmp_path)
    (read,) = read_lengths(tmp_path, (m for v in VARIANTS for m in built_tasks(tmp_path, v)[0]))
    assert (read.task, read.variant, read.lengths.tolist()) == ("qmsum", "mini", [2, 5, 0])


def test_more_documents_than_are_read_at_once_are_all_there(tmp_path: Path) -> None:
    documents = {f"d{n}": "x" * n for n in range(1, 1001)}
    write_task(small_task(documents=documents), tmp_path)
    (read,) = read_lengths(tmp_path, (m for v in VARIANTS for m in built_tasks(tmp_path, v)[0]))
    assert read.lengths.tolist() == list(range(1, 1001))


def test_a_task_that_only_stands_in_says_so(tmp_path: Path) -> None:
    task = small_task()
    write_task(replace(task, provenance=task.provenance.model_copy(update={"equivalent": "because"})), tmp_path)
    (read,) = read_lengths(tmp_path, (m for v in VARIANTS for m in built_tasks(tmp_path, v)[0]))
    assert read.variant == "mini (equivalent)"


def test_the_built_tasks_are_drawn_into_the_file(tmp_path: Path) -> None:
    write_task(small_task(), tmp_path / "data")
    write_task(small_task(name="gov_report"), tmp_path / "data")
    path = plot_lengths(tmp_path / "data", tmp_path / "figures" / "lengths.svg")
    words = [text.text for text in ET.fromstring(path.read_text(encoding="utf-8")).iter(SVG + "text")]
    assert {"qmsum", "gov_report", "mini"} <= set(words)


def test_the_mean_of_the_real_qmsum_is_the_paper_s(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "data/scrolls/qmsum/validation.jsonl").read_text(encoding="utf-8").splitlines()
    documents = {row["id"]: row["input"] for row in map(json.loads, lines)}
    first = next(iter(documents))
    write_task(small_task({"q": "?"}, documents, {"q": {first: 1}}), tmp_path)
    (read,) = read_lengths(tmp_path, (m for v in VARIANTS for m in built_tasks(tmp_path, v)[0]))
    assert (len(read.lengths), round(read.lengths.mean())) == (272, 58_129)


@pytest.mark.parametrize("name", ["lengths.png", "lengths", ".svg"])
def test_another_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    write_task(small_task(), tmp_path / "data")
    with pytest.raises(LocoError, match=r"The figure is an SVG"):
        plot_lengths(tmp_path / "data", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_nothing_built_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="No task is built"):
        plot_lengths(tmp_path / "data", tmp_path / "lengths.svg")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_task_says_how_to_build_it_again(damage: str, tmp_path: Path) -> None:
    write_task(small_task(), tmp_path / "data")
    path = tmp_path / "data" / "mini" / "qmsum" / "documents.parquet"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    with pytest.raises(LocoError, match="loco build-data qmsum --variant mini"):
        plot_lengths(tmp_path / "data", tmp_path / "lengths.svg")
    assert not (tmp_path / "lengths.svg").exists()


def test_a_damaged_import_is_not_to_be_built(tmp_path: Path) -> None:
    write_task(replace(small_task(), variant="imported"), tmp_path / "data")
    (tmp_path / "data" / "imported" / "qmsum" / "documents.parquet").write_bytes(b"")
    with pytest.raises(LocoError, match="Import it again with: loco import"):
        plot_lengths(tmp_path / "data", tmp_path / "lengths.svg")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    write_task(small_task(), tmp_path / "data")
    (tmp_path / "lengths.svg").mkdir()
    with pytest.raises(LocoError, match="Cannot write"):
        plot_lengths(tmp_path / "data", tmp_path / "lengths.svg")

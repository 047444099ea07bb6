"""The page of charts: what is drawn where, what is never drawn together, and what is said where nothing can be."""

from __future__ import annotations

import datetime
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board_pages import board, write_site
from browser import chromium, one_process, opened
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from loco.cli import app
from loco.compare.statistics import Estimate
from loco.environment import Environment
from loco.models.card import Price
from loco.results import Bucket, CostRecord, SpeedResult
from loco.results.speed import Run, SpeedRow
from loco.score import bootstrap
from loco_leaderboard import by_length, charts, costs, needles, plotting
from loco_leaderboard.board import Board, Entry
from loco_leaderboard.chart import Chart, Section
from loco_leaderboard.plotting import Line, LogScale, Spot, frontier
from loco_leaderboard.site import Renderer

__all__ = ["chromium"]

SVG = "{http://www.w3.org/2000/svg}"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
HOSTILE = "</title><script>alert(1)</script>\u202e\" onload='x'"

shares = st.integers(0, 100).map(lambda n: n / 100)


def entry(**change: Any) -> Entry:
    """A row of the shipped board that was measured on every task of mini, changed."""
    found = next(one for one in board().entries if one.variant == "mini" and one.complete)
    model = found.model.model_copy(update=change.pop("model", {}))
    return replace(found, model=model, **change)


def with_buckets() -> Entry:
    """A row of the shipped board whose results say how long documents are."""
    return next(one for one in board().entries if one.id == "bm25-full-paper-measured")


def of(*entries: Entry, **more: Any) -> Board:
    return Board(root=Path("nowhere"), entries=entries, **more)


def spot(x: float | None, y: float) -> Spot:
    return Spot(x, y, None, None, 0, False, "", "")


def drawn(chart: Chart) -> ET.Element:
    assert chart.picture is not None
    return ET.fromstring(str(chart.picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def told(chart: Chart) -> list[str]:
    """What the marks of a figure say."""
    marks = [group for group in drawn(chart).iter(f"{SVG}g") if "spot" in group.get("class", "").split()]
    return [title.text or "" for mark in marks for title in mark.findall(f"{SVG}title")]


def sections(shown: Board) -> list[Section]:
    return [
        costs.by_weights(shown),
        costs.by_speed(shown),
        costs.by_price(shown),
        by_length.section(shown),
        needles.curves(shown),
        needles.maps(shown),
    ]


def charts_of(shown: Board) -> Iterator[Chart]:
    for section in sections(shown):
        yield from section.figures


# Pareto lines and axes


@given(st.lists(st.tuples(st.integers(1, 9), shares), max_size=12), st.booleans())
def test_a_frontier_holds_what_no_other_spot_beats(places: list[tuple[int, float]], less_is_better: bool) -> None:
    spots = [spot(x, y) for x, y in places]
    kept = frontier(spots, less_is_better)
    sign = 1 if less_is_better else -1
    for one in spots:
        assert one.x is not None
        beaten = any(
            other.x is not None
            and sign * other.x <= sign * one.x
            and other.y >= one.y
            and (other.x, other.y) != (one.x, one.y)
            for other in spots
        )
        assert ((one.x, one.y) in {(kept_one.x, kept_one.y) for kept_one in kept}) == (not beaten)
    assert len({(one.x, one.y) for one in kept}) == len(kept)
    assert [one.y for one in kept] == sorted(one.y for one in kept)


def test_what_has_no_place_along_the_axis_is_on_no_frontier() -> None:
    assert frontier([spot(None, 1.0), spot(2, 0.5)], True) == [spot(2, 0.5)]


@given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=6))
def test_a_logarithmic_axis_holds_its_values_and_has_ticks(values: list[float]) -> None:
    scale = LogScale.over(values, 0, 100)
    assert all(-1e-6 <= scale.place(value) <= 100 + 1e-6 for value in values)
    assert len(scale.ticks) >= 1
    assert all(-1e-6 <= scale.place(tick) <= 100 + 1e-6 for tick in scale.ticks)
    assert scale.place(10 * min(values)) - scale.place(min(values)) == pytest.approx(
        100 / (scale.high - scale.low), abs=1e-6
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -1.0])
def test_what_cannot_stand_on_the_axis_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"finite|above zero"):
        plotting.scatter("a", "t", [spot(bad, 0.5)], [], "x")


def test_a_figure_that_is_large_or_small_is_written_short() -> None:
    assert [plotting.short(value) for value in (0.02, 1, 999, 1000, 22_700_000, 999_999, 7_110_000_000)] == [
        "0.02", "1", "999", "1k", "22.7M", "1M", "7.11B",
    ]  # fmt: skip


def test_names_cover_neither_each_other_nor_other_marks() -> None:
    spots = [replace(spot(10.0 ** (place / 5), 0.5 + place / 500), label=f"model-{place}") for place in range(12)]
    root = ET.fromstring(plotting.scatter("a", "t", spots, [], "x"))
    labels = [text for text in root.iter("text") if "label" in text.get("class", "").split()]
    assert 0 < len(labels) <= 12
    heights: dict[float, list[float]] = {}
    for text in labels:
        if text.get("class") == "label":
            heights.setdefault(float(text.attrib["y"]), []).append(float(text.attrib["x"]))
    for xs in heights.values():
        assert all(b - a > 30 for a, b in zip(sorted(xs), sorted(xs)[1:], strict=False))


# Averages against what they take


def test_every_row_with_an_average_is_drawn_once_and_variants_never_share_a_figure() -> None:
    shown = costs.by_weights(board())
    seen: list[str] = []
    for chart in shown.figures:
        theirs = [one for one in board().entries if one.complete and one.variant == chart.variant]
        labels = {one.label for one in theirs}
        for words in told(chart):
            seen.append(words)
            assert any(words.startswith(f"{label}: ") for label in labels)
        assert len(told(chart)) == len(chart.table.rows)
    assert shown.figures
    assert len(set(seen)) == len(seen)


def test_averages_over_other_tasks_stand_in_another_figure() -> None:
    one, other = entry(model={"weights": 10}), entry(model={"weights": 20, "name": "other"})
    fewer = [replace(row, tasks=row.tasks[:5], benchmark="LoCoV0") for row in (one, other)]
    figures = costs.by_weights(of(one, other, *fewer)).figures
    assert [len(told(chart)) for chart in figures] == [2, 2]
    assert ["12 tasks" in chart.heading for chart in figures] == [True, False]


def test_reported_marks_are_hollow_and_measured_ones_filled_with_their_interval() -> None:
    measured = entry(model={"weights": 10}, average=Estimate(0.5, 0.4, 0.6))
    reported = entry(model={"weights": 20}, origin="reported", average=0.7)
    (chart,) = costs.by_weights(of(measured, reported)).figures
    marks = [group for group in drawn(chart).iter(f"{SVG}g") if "spot" in group.get("class", "").split()]
    by_words = {(mark.find(f"{SVG}title").text or ""): mark for mark in marks}  # type: ignore[union-attr]
    for words, mark in by_words.items():
        kinds = mark.get("class", "").split()
        assert ("hollow" in kinds) == ("reported" in words)
        whiskers = [path for path in mark.iter(f"{SVG}path") if path.get("class") == "whisker"]
        assert len(whiskers) == (0 if "reported" in words else 1)
        assert ("(40.0 to 60.0)" in words) == ("measured" in words)


def test_every_kind_of_row_has_a_mark_of_its_own() -> None:
    kinds = [
        entry(model={"weights": 10}, origin=origin, training=training, equivalent=equivalent, average=0.5)
        for origin in ("measured", "reported")
        for training in ("zero-shot", "trained", "unknown")
        for equivalent in ("", "other rows")
    ]
    (chart,) = costs.by_weights(of(*kinds)).figures
    assert len({sign.picture for sign in chart.legend}) == len({sign.name for sign in chart.legend}) == len(kinds)


def test_rows_of_another_kind_never_beat_a_row() -> None:
    good = entry(model={"weights": 10}, training="trained", average=0.9)
    poor = entry(model={"weights": 20}, training="zero-shot", average=0.4)
    (chart,) = costs.by_weights(of(good, poor)).figures
    assert [row[-1].text for row in chart.table.rows] == ["yes", "yes"]
    rival = entry(model={"weights": 5}, training="zero-shot", average=0.5)
    (chart,) = costs.by_weights(of(good, poor, rival)).figures
    assert [(row[3].text, row[-1].text) for row in chart.table.rows] == [("90.0", "yes"), ("50.0", "yes"), ("40.0", "")]


def test_a_row_without_a_number_of_weights_stands_apart_and_untrained_ones_nowhere() -> None:
    known = [entry(model={"weights": 10 * n, "name": f"m{n}"}, average=0.5) for n in (1, 2)]
    service = entry(model={"weights": None, "name": "service"}, average=0.6)
    random = entry(model={"weights": 30, "name": "random"}, training="untrained")
    (chart,) = costs.by_weights(of(*known, service, random)).figures
    assert len(told(chart)) == 3
    assert not any("random" in words for words in told(chart))
    assert "1 of 3 rows stand at the left" in chart.notes[0]
    assert [row[-1].text for row in chart.table.rows] == ["", "yes", ""]


def test_a_number_of_weights_that_no_model_has_spoils_no_figure() -> None:
    known = [entry(model={"weights": 10 * n, "name": f"m{n}"}) for n in (1, 2)]
    (chart,) = costs.by_weights(of(*known, entry(model={"weights": 10**400, "name": "boast"}))).figures
    assert {row[2].text for row in chart.table.rows} == {"10", "20", "not known"}


def speed(rate: float, processor: str = "cpu", tokens: int = costs.SPEED_TOKENS, **change: Any) -> SpeedResult:
    one = entry()
    seconds = 100 / rate
    run = Run(seconds=seconds, tokenising_seconds=0.1)
    row = SpeedRow(
        tokens=tokens, text_tokens=100, text_tokens_seen=100, inputs=1, batches=1, tokens_read=100,
        tokens_computed=100, first=run, runs=(run,), seconds=seconds, tokenising_seconds=0.1, tokens_per_second=rate,
        peak_bytes=1, gpu_peak_bytes=None, command="loco speed", finished_at=NOW,
    )  # fmt: skip
    measurement = next(iter(one.cells.values())).result.measurement
    assert measurement is not None
    environment: Environment = measurement.environment.model_copy(update={"processor": processor})
    given = {
        "model": one.model, "strategy": next(iter(one.cells.values())).result.strategy, "dtype": measurement.dtype,
        **change,
    }  # fmt: skip
    return SpeedResult(
        kind="speed", schema_version=1, fingerprint="f", padding="longest", device="cpu", gpus=(), batch_tokens=1,
        lanes=1, threads=2, environment=environment, rows=(row,), **given,
    )  # fmt: skip


def rows_with_speeds(*speeds: SpeedResult) -> tuple[Chart, ...]:
    one, other = entry(), entry(model={"name": "other"})
    every = [*speeds, *(found.model_copy(update={"model": other.model}) for found in speeds)]
    return tuple(costs.by_speed(of(one, other, speeds=[("s.json", found) for found in every])).figures)


def test_speeds_of_different_machines_are_not_drawn_together() -> None:
    figures = rows_with_speeds(speed(100, "slow"), speed(900, "fast"))
    assert [len(told(chart)) for chart in figures] == [2, 2]
    assert {row[2].text for row in figures[0].table.rows} == {"900 tokens a second"}
    assert "fast" in figures[0].notes[0]
    assert "slow" in figures[1].notes[0]


def test_a_speed_belongs_to_the_model_and_strategy_it_was_measured_with() -> None:
    revised = entry().model.model_copy(update={"revision": "another"})
    assert not rows_with_speeds(speed(100, strategy="late-chunk(256, overlap=0)"))
    assert not rows_with_speeds(speed(100, tokens=128))
    assert not costs.by_speed(of(entry(), entry(), speeds=[("s", speed(100, model=revised))])).figures
    random = entry().model.model_copy(update={"revision": "seed", "untrained": True})
    assert costs.by_speed(of(entry(), entry(), speeds=[("s", speed(100, model=random))])).figures


def test_the_precision_that_was_scored_is_the_one_whose_speed_is_shown() -> None:
    own = speed(100)
    (chart,) = rows_with_speeds(own, speed(900, dtype="float16"))
    assert {row[2].text for row in chart.table.rows} == {"100 tokens a second"}
    (chart,) = rows_with_speeds(speed(900, dtype="float16"))
    assert {row[2].text for row in chart.table.rows} == {"900 tokens a second, in float16"}


def test_a_reported_time_is_not_that_of_a_strategy_that_leaves_text_out() -> None:
    shown = costs.by_speed(board())
    reported = [words for chart in shown.figures for words in told(chart) if "reported" in words]
    assert reported
    assert not any("truncate(128)" in words or "truncate(512)" in words for words in reported)
    assert any("most likely timed without waiting" in note for chart in shown.figures for note in chart.notes)


def test_prices_are_those_recorded_with_the_results() -> None:
    def paid(name: str, dollars: float) -> Entry:
        one = entry(model={"name": name})
        cost = CostRecord(
            vendor="v", requests=1, tokens=10, tokens_estimated=0, requests_lost=0, tokens_lost=0,
            dollars=10 * dollars / 1e6, price=Price(per_million_tokens=dollars, as_of=NOW.date(), source="page"),
        )  # fmt: skip
        cells = {}
        for task, filed in one.cells.items():
            measurement = filed.result.measurement
            assert measurement is not None
            result = filed.result.model_copy(update={"measurement": measurement.model_copy(update={"cost": cost})})
            cells[task] = replace(filed, result=result)
        return replace(one, cells=cells)

    (chart,) = costs.by_price(of(paid("cheap", 0.02), paid("dear", 0.13))).figures
    assert {row[2].text for row in chart.table.rows} == {
        "$0.02 a million tokens, 2026-01-01",
        "$0.13 a million tokens, 2026-01-01",
    }
    assert not costs.by_price(of(entry(), paid("cheap", 0.02))).figures
    for slip in (1e-300, 1e300):  # no axis has room for it
        assert not costs.by_price(of(paid("slip", slip), paid("cheap", 0.02))).figures


def test_tables_rank_no_two_kinds_in_one_list() -> None:
    kinds = [("trained", 0.9), ("zero-shot", 0.5), ("trained", 0.4), ("zero-shot", 0.6)]
    rows = [
        entry(model={"weights": n, "name": f"m{n}"}, training=training, average=average)
        for n, (training, average) in enumerate(kinds, start=1)
    ]
    (chart,) = costs.by_weights(of(*rows)).figures
    average = [heading.text for heading in chart.table.headings].index("Average")
    assert [row[average].text for row in chart.table.rows] == ["90.0", "40.0", "60.0", "50.0"]
    one = with_buckets()
    trained, other = replace(one, training="trained"), replace(one, equivalent="others")
    assert [(len(chart.table.rows), chart.heading) for chart in by_length.section(of(one, trained, other)).figures] == [
        (1, "paper, qmsum, trained on LoCo"),
        (1, "paper, qmsum"),
        (1, "paper, qmsum, equivalent rows"),
    ]


def test_rows_of_other_documents_stand_in_another_figure_by_length() -> None:
    one = with_buckets()
    cells = dict(one.cells)
    measurement = cells["qmsum"].result.measurement
    assert measurement is not None
    content = measurement.data.content.model_copy(update={"documents": "0" * 64})
    data = measurement.data.model_copy(update={"content": content})
    changed = cells["qmsum"].result.model_copy(update={"measurement": measurement.model_copy(update={"data": data})})
    cells["qmsum"] = replace(cells["qmsum"], result=changed)
    figures = by_length.section(of(one, replace(one, cells=cells))).figures
    assert [len(chart.table.rows) for chart in figures] == [1, 1]


# Lengths


def test_one_task_keeps_its_own_interval() -> None:
    assert by_length.together([Bucket(value=0.5, low=0.25, high=0.75, queries=4)]) == (0.5, 0.25, 0.75)


def test_a_query_alone_leaves_the_sum_without_an_interval() -> None:
    known, alone = Bucket(value=0.5, low=0.4, high=0.6, queries=3), Bucket(value=1.0, queries=1)
    assert by_length.together([known, alone]) == (0.625, None, None)


def test_the_interval_of_tasks_together_is_that_of_a_bootstrap_within_tasks() -> None:
    random = np.random.default_rng(4)
    values = [np.clip(random.beta(*shape, size=size), 0, 1) for shape, size in (((2, 1), 90), ((1, 3), 300))]
    parts = []
    for own in values:
        low, high = bootstrap.intervals(own[:, None])
        parts.append(Bucket(value=float(own.mean()), low=float(low[0]), high=float(high[0]), queries=len(own)))
    value, low_end, high_end = by_length.together(parts)
    draws = sum(own[random.integers(0, len(own), (10_000, len(own)))].sum(axis=1) for own in values) / 390
    assert value == pytest.approx(np.concatenate(values).mean(), abs=1e-12)
    assert low_end is not None
    assert high_end is not None
    width = high_end - low_end
    assert (low_end, high_end) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.05 * width)


def test_points_by_length_are_those_of_the_results_with_the_queries_behind_them() -> None:
    (paper,) = [chart for chart in by_length.section(board()).figures if chart.variant == "paper"]
    rows = {row[0].text: [cell.text for cell in row[2:]] for row in paper.table.rows}
    (bm25,) = [
        one
        for one in board().entries
        if one.model.name == "bm25" and one.variant == "paper" and one.origin == "measured"
    ]
    measurement = bm25.cells["qmsum"].result.measurement
    assert measurement is not None
    assert measurement.buckets is not None
    for cell, (name, bucket) in zip(rows["bm25"], measurement.buckets.by_length.items(), strict=True):
        assert bucket.low is not None
        assert bucket.high is not None
        assert cell == f"{100 * bucket.value:.1f} ({100 * bucket.low:.1f} to {100 * bucket.high:.1f})"
        assert any(f"{name} ({bucket.queries:,} queries)" == heading.text for heading in paper.table.headings)


# Needles


def test_needle_curves_have_every_position_and_the_same_haystacks() -> None:
    (chart,) = needles.curves(board()).figures
    curves = {row[0].text: row for row in chart.table.rows}
    for _, result in board().needles:
        row = curves[f"{result.model.name}, {result.strategy}"]
        assert [cell.text for cell in row[2:]] == [f"{100 * cell.ndcg.value:.1f}" for cell in result.cells]
    assert len(chart.legend) == len(chart.table.rows) + 1
    assert chart.legend[-1].name.startswith("chance")
    path, other = board().needles[0]
    moved = other.model_copy(update={"haystacks": other.haystacks.model_copy(update={"sha256": "0" * 64})})
    assert len(needles.curves(of(needles=[(path, other), ("b.json", moved)])).figures) == 2


def test_a_result_with_lengths_is_a_map_of_its_own() -> None:
    path, result = board().needles[0]
    made = result.haystacks.model_copy(update={"lengths": (1024, 4096), "distractors": None, "positions": 3})
    cells = tuple(
        result.cells[0].model_copy(update={"length": length, "position": place, "depth": place / 2})
        for length in made.lengths
        for place in range(3)
    )
    mapped = result.model_copy(update={"haystacks": made, "cells": cells})
    shown = of(needles=[(path, mapped)])
    assert not needles.curves(shown).figures
    (chart,) = needles.maps(shown).figures
    assert [row[0].text for row in chart.table.rows] == ["1k tokens", "4k tokens"]
    assert [heading.text for heading in chart.table.headings] == ["Length", "0%", "50%", "100%"]
    value = result.cells[0].ndcg.value
    assert {(cell.text, cell.kind) for row in chart.table.rows for cell in row[1:]} == {
        (f"{100 * value:.1f}", f"num heat h{round(20 * value)}")
    }


# The page


def test_where_nothing_can_be_drawn_a_sentence_names_a_command_that_exists() -> None:
    empty = replace(entry(), average=None, cells={}, origin="reported")
    for section in sections(of(empty)):
        assert not section.figures
        assert section.missing
        for missing in section.missing:
            assert missing.sentence.endswith(".")
            program, command, *options = shlex.split(missing.command)
            help_text = CliRunner().invoke(app, [command, "--help"])
            assert (program, help_text.exit_code) == ("loco", 0)
            assert all(option in help_text.output for option in options if option.startswith("--"))


def test_a_board_without_rows_still_has_a_page() -> None:
    (page,) = charts.pages(of(), Renderer())
    assert page.content.count(b"To change that") >= 2


def test_every_figure_has_a_table_and_words_and_no_style_of_its_own() -> None:
    identifiers = []
    for chart in charts_of(board()):
        assert chart.table.rows
        assert all(len(row) == len(chart.table.headings) for row in chart.table.rows)
        if chart.picture is None:
            continue
        root = drawn(chart)
        assert root.get("role") == "img"
        assert root.findtext(f"{SVG}title")
        for element in root.iter():
            assert element.tag.removeprefix(SVG) in {"svg", "title", "g", "path", "line", "text"}
            assert not {"style", "fill", "stroke"} & element.attrib.keys()
            if "id" in element.attrib:
                identifiers.append(element.attrib["id"])
    assert len(set(identifiers)) == len(identifiers) > 0


def test_a_hostile_name_stays_a_name_in_every_figure() -> None:
    name = {"name": HOSTILE[:200], "weights": 10}
    path, result = board().needles[0]
    needle = result.model_copy(update={"model": result.model.model_copy(update={"name": HOSTILE})})
    shown = of(entry(model=name, name=HOSTILE), entry(model=name, name=HOSTILE), needles=[(path, needle)])
    figures = list(charts_of(shown))
    assert figures
    for chart in figures:
        root = drawn(chart)
        assert not [element for element in root.iter() if element.tag.endswith("script")]
        assert "\u202e" not in (chart.picture or "")
        assert any("<script>" in (text.text or "") for text in root.iter())


def test_a_line_with_a_value_that_is_not_finite_is_refused() -> None:
    line = Line("a", [0, 1], [0.5, float("nan")], [None, None], [None, None], ["", ""])
    with pytest.raises(ValueError, match="finite"):
        plotting.lines("a", "t", [line], "x", [])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("charts"), charts.pages(board(), Renderer()))


def styles(text: str) -> Sequence[str]:
    return re.findall(r"\sstyle=|<style|\son\w+=", text)


@one_process
@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_reads_without_sideways_scrolling_and_asks_for_nothing_else(
    chromium: Any, site: Path, width: int
) -> None:
    assert not styles((site / "charts.html").read_text())
    address = (site / "charts.html").as_uri()
    with opened(chromium, address, viewport={"width": width, "height": 800}) as (page, watched):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not watched.problems
        assert not watched.strange(site.as_uri())


@one_process
def test_one_variant_alone_is_chosen_and_remembered(chromium: Any, site: Path) -> None:
    with opened(chromium, (site / "charts.html").as_uri()) as (page, watched):
        page.click("#charts-show [data-variant=release]")
        assert "variant=release" in page.url
        assert page.locator(".chart[data-variant=paper]:visible").count() == 0
        assert page.locator(".chart[data-variant=release]:visible").count() > 0
        address = page.url
        assert not watched.problems
    with opened(chromium, address) as (page, _):
        assert page.get_attribute("#charts-show [data-variant=release]", "aria-pressed") == "true"
        assert page.locator(".chart[data-variant=paper]:visible").count() == 0


@one_process
def test_a_mark_says_what_it_is_and_a_legend_lights_its_line(chromium: Any, site: Path) -> None:
    with opened(chromium, (site / "charts.html").as_uri()) as (page, watched):
        page.hover("#weights-0 .spot .mark >> nth=0")
        assert page.locator(".tip").is_visible()
        assert page.locator(".tip").inner_text() == page.get_attribute("#weights-0 .spot >> nth=0", "data-told")
        page.hover("#needle-0 .legend li >> nth=1")
        assert page.locator("#needle-0 .series.on").count() == 1
        assert page.get_attribute("#needle-0 .series.on", "data-series") == "1"
        assert not watched.problems

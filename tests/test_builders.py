"""Builders: every layout they read, everything a file can be instead, and builds that end too early."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.tasks.build import build_data, build_task, buildable
from loco.tasks.card import task_card, task_cards
from loco.tasks.data import TaskData, Variant, read_manifest, read_task
from loco.tasks.sources import files as source_files

Rows = list[dict[str, object]]

MEETINGS = ("A: budget\nB: too small", "A: schedule\nB: too long")


def scrolls_rows() -> Rows:
    """Three questions about two meetings, as SCROLLS' qmsum has them."""
    asked = [("what of money?", 0, "it is short"), ("what of time?", 1, "it is long"), ("who spoke?", 0, "A and B")]
    return [
        {"id": f"qm_{i}", "pid": f"qm_{i}_0", "input": f"{question}\n\n{MEETINGS[meeting]}", "output": answer}
        for i, (question, meeting, answer) in enumerate(asked)
    ]


def release_rows(task: str) -> tuple[Rows, Rows]:
    queries = [{"qid": f"q{i}", "query": f"what {i}?", "answer_pids": [f"d{i}"], "dataset": task} for i in range(3)]
    documents = [{"pid": f"d{i}", "passage": f"that {i}.", "dataset": task} for i in range(4)]
    return list(queries), list(documents)


def jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def put_release(folder: Path, task: str, queries: Rows, documents: Rows) -> Path:
    put(folder / f"LoCoV1-Queries/documents/{task}_test.jsonl", jsonl(queries))
    put(folder / f"LoCoV1-Documents/documents/{task}_test.jsonl", jsonl(documents))
    return folder


def build(task: str, variant: Variant, source: Path | None) -> TaskData:
    return build_task(task_card(task), variant, source)


def failure(task: str, variant: Variant, source: Path | None) -> str:
    """The one line that a build which must fail ends with."""
    with pytest.raises(LocoError) as caught:
        build(task, variant, source)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- SCROLLS


def scrolls_folder(root: Path) -> Path:
    return put(root / "scrolls/qmsum/validation.jsonl", jsonl(scrolls_rows())).parents[1]


def scrolls_task_folder(root: Path) -> Path:
    return scrolls_folder(root) / "qmsum"


def scrolls_linked_folder(root: Path) -> Path:
    link = root / "other name"
    link.symlink_to(scrolls_task_folder(root), target_is_directory=True)
    return link


def scrolls_folder_linked_as_task(root: Path) -> Path:
    folder = scrolls_file_elsewhere(root).rename(root / "downloads/validation.jsonl").parent
    link = root / "qmsum"
    link.symlink_to(folder, target_is_directory=True)
    return link


def scrolls_file(root: Path) -> Path:
    return scrolls_task_folder(root) / "validation.jsonl"


def scrolls_file_elsewhere(root: Path) -> Path:
    return put(root / "downloads/my copy.jsonl", jsonl(scrolls_rows()))


def scrolls_zip(root: Path) -> Path:
    members = {"qmsum/": b"", "qmsum/train.jsonl": b"not read", "qmsum/validation.jsonl": jsonl(scrolls_rows())}
    return put_zip(root / "zips/qmsum.zip", members)


def scrolls_folder_of_zips(root: Path) -> Path:
    return scrolls_zip(root).parent


@pytest.mark.parametrize(
    ("layout", "label"),
    [
        (scrolls_folder, "qmsum/validation.jsonl"),
        (scrolls_task_folder, "qmsum/validation.jsonl"),
        (scrolls_linked_folder, "qmsum/validation.jsonl"),
        (scrolls_folder_linked_as_task, "qmsum/validation.jsonl"),
        (scrolls_file, "qmsum/validation.jsonl"),
        (scrolls_file_elsewhere, "my copy.jsonl"),
        (scrolls_zip, "qmsum.zip"),
        (scrolls_folder_of_zips, "qmsum.zip"),
    ],
)
def test_scrolls_rows_become_one_query_and_one_document_each(
    layout: Callable[[Path], Path], label: str, tmp_path: Path
) -> None:
    task = build("qmsum", "paper", layout(tmp_path))
    rows = scrolls_rows()
    assert list(task.documents) == [(row["id"], row["input"]) for row in rows]
    assert list(task.queries) == [(row["pid"], row["output"]) for row in rows]
    assert task.qrels == {"qm_0_0": {"qm_0": 1}, "qm_1_0": {"qm_1": 1}, "qm_2_0": {"qm_2": 1}}
    assert (task.provenance.source, task.provenance.equivalent, task.provenance.dropped) == (label, "", {})
    assert re.fullmatch("sha256:[0-9a-f]{64}", task.provenance.source_revision)


def test_the_revision_of_a_local_file_follows_its_bytes(tmp_path: Path) -> None:
    one, same = scrolls_file(tmp_path), scrolls_file_elsewhere(tmp_path)
    other = put(tmp_path / "other.jsonl", jsonl(scrolls_rows()[:2]))
    revisions = [build("qmsum", "paper", source).provenance.source_revision for source in (one, same, other)]
    assert revisions[0] == revisions[1] != revisions[2]


def test_a_meeting_asked_about_twice_is_one_document_of_the_release(tmp_path: Path) -> None:
    task = build("qmsum", "release", scrolls_folder(tmp_path))
    assert list(task.documents) == [("qm_0", MEETINGS[0]), ("qm_1", MEETINGS[1])]
    assert task.qrels == {"qm_0_0": {"qm_0": 1}, "qm_1_0": {"qm_1": 1}, "qm_2_0": {"qm_0": 1}}
    assert "2 distinct transcripts" in task.provenance.equivalent
    assert "inferred" in task.provenance.equivalent


def test_the_release_of_other_scrolls_tasks_is_the_same_rows_and_says_that_they_stand_in(tmp_path: Path) -> None:
    put(tmp_path / "gov_report/validation.jsonl", jsonl(scrolls_rows()))
    paper, release = build("gov_report", "paper", tmp_path), build("gov_report", "release", tmp_path)
    assert release.content == paper.content
    assert "were not read" in release.provenance.equivalent


def test_a_qmsum_row_without_a_question_in_front_is_named(tmp_path: Path) -> None:
    rows = scrolls_rows()
    rows[1]["input"] = "A: a transcript only\nB: yes"
    source = put(tmp_path / "qmsum/validation.jsonl", jsonl(rows))
    assert "validation.jsonl, line 2: no blank line" in failure("qmsum", "release", source)
    assert build("qmsum", "paper", source).documents.texts[1] == rows[1]["input"]


def test_a_file_in_another_tasks_folder_is_not_taken_for_this_task(tmp_path: Path) -> None:
    assert "holds no files of gov_report (paper)" in failure("gov_report", "paper", scrolls_file(tmp_path))
    assert "holds no files of gov_report (paper)" in failure("gov_report", "paper", scrolls_task_folder(tmp_path))
    assert "holds no gov_report/validation.jsonl" in failure("gov_report", "paper", scrolls_zip(tmp_path))


@pytest.mark.parametrize(
    ("variant", "documents", "mean_query", "mean_document"), [("paper", 272, 430, 58_129), ("release", 35, 430, 55_826)]
)
def test_the_real_qmsum_has_the_papers_figures(
    variant: Variant, documents: int, mean_query: int, mean_document: int, shared: Path
) -> None:
    counts = build("qmsum", variant, shared / "data/scrolls").counts
    assert (counts.queries, counts.documents, counts.relevant) == (272, documents, 272)
    assert (round(counts.mean_query_chars), round(counts.mean_document_chars)) == (mean_query, mean_document)


# --- The official release


@pytest.mark.parametrize("task_name", list(task_cards()))
def test_every_task_is_built_from_the_official_release(task_name: str, tmp_path: Path) -> None:
    queries, documents = release_rows(task_name)
    task = build(task_name, "release", put_release(tmp_path, task_name, queries, documents))
    assert list(task.queries) == [(row["qid"], row["query"]) for row in queries]
    assert list(task.documents) == [(row["pid"], row["passage"]) for row in documents]
    assert task.qrels == {f"q{i}": {f"d{i}": 1} for i in range(3)}
    name = f"documents/{task_name}_test.jsonl"
    assert task.provenance.source == f"LoCoV1-Queries/{name}, LoCoV1-Documents/{name}"
    assert re.fullmatch("sha256:[0-9a-f]{64}, sha256:[0-9a-f]{64}", task.provenance.source_revision)
    assert (task.provenance.builder, task.provenance.equivalent) == ("release", "")


def test_a_download_cache_is_read_like_a_copy_of_the_release_and_its_newest_snapshot_counts(tmp_path: Path) -> None:
    queries, documents = release_rows("qmsum")
    plain = put_release(tmp_path / "plain", "qmsum", queries, documents)
    cache = tmp_path / "hub"
    for repo, rows in (("Queries", queries), ("Documents", documents)):
        for age, commit, content in ((2, "f" * 40, b"an old one"), (1, "a" * 40, jsonl(rows))):
            snapshot = cache / f"datasets--hazyresearch--LoCoV1-{repo}/snapshots/{commit}"
            file = put(snapshot / "documents/qmsum_test.jsonl", content)
            os.utime(file, (1e9 - age, 1e9 - age))
    assert build("qmsum", "release", cache) == build("qmsum", "release", plain)


def test_null_passages_go_with_their_judgements_and_with_queries_they_leave_alone(tmp_path: Path) -> None:
    queries, documents = release_rows("qasper_title")
    documents[0]["passage"] = documents[3]["passage"] = None
    documents[2]["passage"] = ""
    queries[1]["answer_pids"] = ["d1", "d3", "d3", "d1"]
    task = build("qasper_title", "release", put_release(tmp_path, "qasper_title", queries, documents))
    assert dict(task.documents) == {"d1": "that 1.", "d2": ""}, "an empty passage is a passage"
    assert task.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert task.queries.ids == ("q1", "q2")
    assert task.provenance.dropped == {
        "null passages": 2,
        "judgements of null passages": 2,
        "queries left without a relevant document": 1,
    }


def test_a_judgement_of_a_document_that_never_was_is_named(tmp_path: Path) -> None:
    queries, documents = release_rows("qmsum")
    queries[1]["answer_pids"] = ["d1", "d9"]
    message = failure("qmsum", "release", put_release(tmp_path, "qmsum", queries, documents))
    assert "qmsum_test.jsonl, line 2: the query 'q1' names the document 'd9', which is not in" in message


def test_a_query_without_any_judgement_is_named(tmp_path: Path) -> None:
    queries, documents = release_rows("qmsum")
    queries[2]["answer_pids"] = []
    message = failure("qmsum", "release", put_release(tmp_path, "qmsum", queries, documents))
    assert "qmsum_test.jsonl, line 3: the query 'q2' names no document" in message


def test_rows_of_another_task_are_refused(tmp_path: Path) -> None:
    queries, documents = release_rows("qmsum")
    documents[3]["dataset"] = "gov_report"
    message = failure("qmsum", "release", put_release(tmp_path, "qmsum", queries, documents))
    assert "line 4: belongs to 'gov_report', not to 'qmsum'" in message


def test_a_release_with_one_of_two_files_says_which_is_missing(tmp_path: Path) -> None:
    put_release(tmp_path, "qmsum", *release_rows("qmsum"))
    (tmp_path / "LoCoV1-Documents/documents/qmsum_test.jsonl").unlink()
    assert f"{tmp_path} holds no LoCoV1-Documents/documents/qmsum_test.jsonl." in failure("qmsum", "release", tmp_path)


# --- Choosing a builder


def test_the_official_release_goes_before_what_stands_in_for_it(tmp_path: Path) -> None:
    put_release(scrolls_folder(tmp_path), "qmsum", *release_rows("qmsum"))
    assert build("qmsum", "release", tmp_path / "scrolls").provenance.builder == "release"
    assert build("qmsum", "paper", tmp_path / "scrolls").provenance.builder == "scrolls"


def test_each_variant_lists_the_tasks_that_can_be_built() -> None:
    assert buildable("paper") == buildable("release") == buildable("mini") == list(task_cards())
    assert buildable("paper", "train") == buildable("mini", "train") == list(task_cards())
    assert buildable("release", "train") == [], "the release has no train split"


def test_a_task_nobody_can_build_in_a_variant_names_the_variants_it_has() -> None:
    with pytest.raises(LocoError) as caught:
        build_task(task_card("qmsum"), "release", split="train")
    assert "as: paper, mini. Run: loco build-data qmsum --variant paper --split train" in str(caught.value)


def test_a_folder_without_the_files_lists_them_and_where_to_put_them(tmp_path: Path) -> None:
    for source in (tmp_path, put(tmp_path / "notes.txt", b"")):
        message = failure("qmsum", "release", source)
        for wanted in (
            f"{source} holds no files of qmsum (release)",
            "LoCoV1-Queries/documents/qmsum_test.jsonl and LoCoV1-Documents/documents/qmsum_test.jsonl",
            "qmsum/validation.jsonl or qmsum.zip",
            "loco build-data qmsum --variant release --from DIR",
        ):
            assert wanted in message


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'} does not exist" in failure("qmsum", "paper", tmp_path / "nowhere")


def test_mini_reads_no_files_and_only_mini_takes_a_seed(tmp_path: Path) -> None:
    assert "generated and reads no files" in failure("qmsum", "mini", tmp_path)
    with pytest.raises(LocoError, match="A seed is for the variant 'mini'"):
        build_task(task_card("qmsum"), "paper", tmp_path, seed=1)


# --- Files that are not what they should be


def scrolls_lines(*replaced: tuple[int, bytes]) -> bytes:
    lines = jsonl(scrolls_rows()).splitlines()
    for index, line in replaced:
        lines[index] = line
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", " is empty"),
        (b"\n \r\n\n", " is empty"),
        (b"\xef\xbb\xbf", " is empty"),
        (scrolls_lines((1, '{"id": "né"}'.encode("latin-1"))), ", line 2: not UTF-8 (byte 0xe9 at 10)"),
        (jsonl(scrolls_rows()).decode().encode("utf-16"), ", line 1: not UTF-8 (byte 0xff at 1)"),
        (jsonl(scrolls_rows())[:-20], ", line 3: not JSON (Unterminated string"),
        (jsonl(scrolls_rows())[:-20], "the file ends there, so it is probably cut off"),
        (scrolls_lines((0, b'{"id": }')), ", line 1: not JSON (Expecting value, column 8)."),
        (b"version https://git-lfs.github.com/spec/v1\n", ", line 1: not JSON"),
        (scrolls_lines((1, b"[" * 200_000)), ", line 2: not usable JSON"),
        (scrolls_lines((1, b'{"id": ' + b"9" * 5000 + b"}")), ", line 2: not usable JSON"),
        (scrolls_lines((1, b'["id", "pid"]')), ", line 2: not a JSON object"),
        (scrolls_lines((1, b"null")), ", line 2: not a JSON object"),
        (scrolls_lines((2, b'{"id": "a", "pid": "b", "input": "c"}')), ", line 3: the field 'output' is missing"),
        (
            scrolls_lines((2, b'{"id": "a", "pid": "b", "input": "c", "output": null}')),
            ", line 3: the field 'output' should be a valid string",
        ),
        (
            scrolls_lines((2, b'{"id": 7, "pid": "b", "input": "c", "output": "d"}')),
            ", line 3: the field 'id' should be a valid string",
        ),
        (
            scrolls_lines((2, jsonl(scrolls_rows()).splitlines()[0])),
            ", line 3: the pid 'qm_0_0' stands on line 1 already",
        ),
        (
            scrolls_lines((2, jsonl(scrolls_rows()).splitlines()[0].replace(b"qm_0_0", b"new\\nline"))),
            ", line 3: the id 'qm_0' stands on line 1 already",
        ),
        (scrolls_lines((0, b'{"id": "", "pid": "b", "input": "c", "output": "d"}')), "The document id '' is empty"),
    ],
)
def test_a_file_that_is_not_rows_of_text_is_refused_by_its_line(content: bytes, said: str, tmp_path: Path) -> None:
    message = failure("qmsum", "paper", put(tmp_path / "qmsum/validation.jsonl", content))
    assert said in message
    inside = put_zip(tmp_path / "qmsum.zip", {"qmsum/validation.jsonl": content})
    assert said in failure("qmsum", "paper", inside), "and the same inside a zip"


def test_an_endless_id_does_not_make_an_endless_line(tmp_path: Path) -> None:
    rows = scrolls_rows()
    rows[0]["pid"] = rows[1]["pid"] = "x" * 1_000_000
    assert len(failure("qmsum", "paper", put(tmp_path / "qmsum.jsonl", jsonl(rows)))) < 1000


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + jsonl(scrolls_rows()),
        jsonl(scrolls_rows()).replace(b"\n", b"\r\n"),
        jsonl(scrolls_rows()).replace(b"\n", b"\n\n \n"),
        jsonl(scrolls_rows()).rstrip(b"\n"),
        jsonl([{"split": "validation", **row} for row in scrolls_rows()]),
    ],
    ids=["byte order mark", "windows line ends", "blank lines", "no last line end", "fields nobody asked for"],
)
def test_what_harmless_tools_do_to_a_file_changes_nothing(content: bytes, tmp_path: Path) -> None:
    task = build("qmsum", "paper", put(tmp_path / "qmsum.jsonl", content))
    assert list(task.documents) == [(row["id"], row["input"]) for row in scrolls_rows()]


def test_lone_surrogates_are_replaced_and_counted_and_pairs_are_not(tmp_path: Path) -> None:
    queries, documents = release_rows("qmsum")
    documents[0]["passage"] = "half \ud83d, whole \U0001f600, half \ude00"
    documents[1]["pid"], queries[1]["answer_pids"] = "d\udfff", ["d\udfff"]
    source = put_release(tmp_path / "source", "qmsum", queries, documents)
    build_data("qmsum", source=source, out=tmp_path / "data")
    task = read_task(tmp_path / "data", "release", "qmsum")
    assert task.documents.texts[0] == "half \ufffd, whole \U0001f600, half \ufffd"
    assert task.qrels["q1"] == {"d\ufffd": 1}
    assert task.provenance.dropped == {"lone surrogates replaced": 4}


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=5), ascii_only=st.booleans())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_from_json_to_the_built_task(
    rows: list[tuple[str, str]], ascii_only: bool, tmp_path: Path
) -> None:
    encoded = [
        json.dumps({"id": f"d{i}", "pid": f"q{i}", "input": document, "output": query}, ensure_ascii=ascii_only)
        for i, (query, document) in enumerate(rows)
    ]
    source = put(tmp_path / "any.jsonl", "\n".join(encoded).encode())
    build_data("gov_report", "paper", source=source, out=tmp_path / "data")
    task = read_task(tmp_path / "data", "paper", "gov_report")
    assert list(zip(task.queries.texts, task.documents.texts, strict=True)) == rows


# --- Zips


@pytest.mark.parametrize("member", ["/etc/passwd", "../up.jsonl", "qmsum/../../up", "..\\up", "C:\\up", "\\\\host\\up"])
def test_a_zip_with_a_path_outside_its_folder_is_refused_whole(member: str, tmp_path: Path) -> None:
    path = put_zip(tmp_path / "qmsum.zip", {"qmsum/validation.jsonl": jsonl(scrolls_rows()), member: b"x"})
    assert "a path outside its folder, so nothing of it is read" in failure("qmsum", "paper", path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["qmsum.zip"]


def test_a_zip_of_something_else_says_what_is_missing(tmp_path: Path) -> None:
    path = put_zip(tmp_path / "qmsum.zip", {"validation.txt": b"x"})
    assert f"{path} holds no qmsum/validation.jsonl" in failure("qmsum", "paper", path)


def test_a_zip_that_is_none_or_is_locked_is_refused(tmp_path: Path) -> None:
    whole = scrolls_zip(tmp_path / "whole").read_bytes()
    locked = bytearray(whole)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(signature), whole):
            locked[found.start() + offset] |= 1
    for content in (b"", b"not a zip", whole[: len(whole) // 2], whole[:-1], bytes(locked)):
        path = put(tmp_path / "qmsum.zip", content)
        assert f"{path} is a damaged or unusual zip" in failure("qmsum", "paper", path)


def test_a_zip_that_would_unpack_without_end_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_files, "_BOMB_BYTES", 1_000_000)
    path = put_zip(tmp_path / "qmsum.zip", {"qmsum/validation.jsonl": b" " * 2_000_000})
    assert "to 2,000,000 bytes, which no text does" in failure("qmsum", "paper", path)
    noise = random.Random(0).randbytes(600_000).hex()
    rows = [{**row, "input": noise} for row in scrolls_rows()[:1]]
    large = put_zip(tmp_path / "large.zip", {"qmsum/validation.jsonl": jsonl(rows)})
    assert build("qmsum", "paper", large).documents.texts == (noise,)


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_zip_with_a_wrong_byte_gives_the_same_task_or_one_line(data: st.DataObject, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("qmsum/validation.jsonl", jsonl(scrolls_rows()))
    content = bytearray(buffer.getvalue())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = put(tmp_path / "qmsum.zip", bytes(content))
    with suppress(LocoError):
        task = build("qmsum", "paper", path)
        assert list(task.documents) == [(row["id"], row["input"]) for row in scrolls_rows()]


# --- Progress


def test_large_files_show_a_bar_on_a_terminal_and_none_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source_files, "_BAR_FROM_BYTES", 0)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    build("qmsum", "paper", scrolls_zip(tmp_path))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    build("qmsum", "paper", scrolls_zip(tmp_path))
    out, err = capsys.readouterr()
    assert out == ""
    assert "qmsum.zip" in err


# --- Builds that end too early


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, Path]:
    """The data folder with qmsum built from three rows, and a source of two rows to build it from again."""
    data = tmp_path / "data"
    build_data("qmsum", "paper", source=scrolls_folder(tmp_path), out=data)
    return data, put(tmp_path / "qmsum.jsonl", jsonl(scrolls_rows()[:2]))


def queries_in(data: Path) -> int:
    return len(read_task(data, "paper", "qmsum").queries)


KILLED = """
import sys, time
from pathlib import Path
import pyarrow.parquet
from loco.tasks.build import build_data

def stop(*_, **__):
    print("here", flush=True)
    time.sleep(60)

if sys.argv[3] == "writing":
    writer = pyarrow.parquet.ParquetWriter
    pyarrow.parquet.ParquetWriter = lambda *a, **k: stop() if "documents" in str(a[0]) else writer(*a, **k)
else:
    rename = Path.rename
    Path.rename = lambda self, to: stop() if to.name == "qmsum" else rename(self, to)
build_data("qmsum", "paper", source=sys.argv[1], out=sys.argv[2])
"""


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_a_build_killed_at_any_moment_loses_nothing_and_leaves_no_half_task(
    moment: str, built: tuple[Path, Path]
) -> None:
    data, source = built
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(data), moment], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
    assert (data / "paper/qmsum").exists() == (moment == "writing")
    assert queries_in(data) == 3, "the task built before is found"
    build_data("qmsum", "paper", source=source, out=data)
    assert queries_in(data) == 2, "and can be built anew"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line_and_the_task_built_before_stays(
    built: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    data, source = built
    before = sorted(data.rglob("*"))
    writer = pq.ParquetWriter

    def writer_to_full_disk(path: Path, *arguments: object, **options: str) -> object:
        path.symlink_to("/dev/full")
        return writer(path, *arguments, **options)

    monkeypatch.setattr(pq, "ParquetWriter", writer_to_full_disk)
    with pytest.raises(LocoError, match=r"^Cannot write .*qmsum: the disk is full\. .*untouched\.$"):
        build_data("qmsum", "paper", source=source, out=data)
    assert sorted(data.rglob("*")) == before, "nothing half-written stays"
    assert queries_in(data) == 3


def test_a_disk_that_fills_with_the_last_file_is_no_different(
    built: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, source = built
    before = sorted(data.rglob("*"))
    write = Path.write_text

    def full(path: Path, *content: str, **options: str) -> int:
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *content, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(LocoError, match="the disk is full"):
        build_data("qmsum", "paper", source=source, out=data)
    assert sorted(data.rglob("*")) == before
    assert queries_in(data) == 3


def test_a_source_that_fails_leaves_the_task_built_before(built: tuple[Path, Path]) -> None:
    data, source = built
    before = sorted(data.rglob("*"))
    put(source, b"{")
    with pytest.raises(LocoError, match="line 1: not JSON"):
        build_data("qmsum", "paper", source=source, out=data)
    assert sorted(data.rglob("*")) == before
    assert queries_in(data) == 3


@pytest.mark.parametrize("name", ["queries.parquet", "documents.parquet", "qrels.tsv"])
def test_a_damaged_file_of_a_built_task_is_named_with_the_command_that_builds_it_again(
    name: str, built: tuple[Path, Path]
) -> None:
    file = built[0] / "paper/qmsum" / name
    whole = file.read_bytes()
    for content in (b"", whole[:-10], bytes(reversed(whole))):
        file.write_bytes(content)
        with pytest.raises(LocoError, match=rf"{name} is missing or not what .* loco build-data qmsum --variant paper"):
            read_task(built[0], "paper", "qmsum")
    file.unlink()
    with pytest.raises(LocoError, match=f"{name} is missing or not what"):
        read_task(built[0], "paper", "qmsum")


def test_a_damaged_manifest_is_named_with_the_command_that_builds_it_again(built: tuple[Path, Path]) -> None:
    file = built[0] / "paper/qmsum/manifest.json"
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\xff\xfe", b"[]", b"{}", whole.replace(b'"paper"', b'"else"')):
        file.write_bytes(content)
        with pytest.raises(LocoError, match=r"manifest\.json is damaged .* loco build-data qmsum --variant paper"):
            read_manifest(built[0], "paper", "qmsum")


def test_a_task_copied_under_another_variant_is_not_read_as_that_variant(built: tuple[Path, Path]) -> None:
    shutil.copytree(built[0] / "paper/qmsum", built[0] / "release/qmsum")
    with pytest.raises(LocoError, match=r"manifest\.json is of qmsum \(paper, test\), not of what its folder says"):
        read_task(built[0], "release", "qmsum")

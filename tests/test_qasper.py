"""The QASPER tasks, from files as QASPER and the hub ship them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.tasks.builders import qasper
from loco.tasks.card import task_card
from loco.tasks.data import Split, TaskData, read_task, write_task
from loco.tasks.sources.files import SourceFile

Papers = Mapping[str, Mapping[str, Any]]

ARCHIVES: dict[Split, str] = {
    "train": "qasper-train-dev-v0.3.tgz",
    "test": "qasper-test-and-evaluator-v0.3.tgz",
}
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "title": pa.string(),
        "abstract": pa.string(),
        "full_text": pa.struct({"section_name": pa.list_(pa.string()), "paragraphs": pa.list_(pa.list_(pa.string()))}),
        "qas": pa.struct({"question": pa.list_(pa.string())}),
    }
)


def paper(*sections: tuple[str | None, list[str] | None], **fields: Any) -> dict[str, Any]:
    """A paper as QASPER's JSON has it."""
    full_text = [{"section_name": name, "paragraphs": paragraphs} for name, paragraphs in sections]
    return {"title": "A title", "abstract": "An abstract.", "full_text": full_text, "qas": [], **fields}


TEST: Papers = {
    "1909.00694": paper(("Introduction", ["One.", "Two."]), ("Method ::: Data", ["Three."]), title="Of things"),
    "2003.07723": paper((None, [" Unnamed."]), ("Appendix", None), ("Empty", []), abstract="Of nothing much."),
    "1705.09665": paper(),
    "1911.10742": paper((None, None), (None, ["", " "])),
    "1912.01214": paper(full_text=None),
    "1801.05147": paper(("A", ["b"]), title=None),
    "1704.06194": paper(("A", ["b"]), abstract=" \n"),
}
TRAIN: Papers = {"1809.00001": paper(("Introduction", ["Elsewhere."]), title="Of other things")}

TITLES = {"1909.00694": "Of things", "2003.07723": "A title", "1704.06194": "A title"}
ABSTRACTS = {"1909.00694": "An abstract.", "2003.07723": "Of nothing much.", "1801.05147": "An abstract."}
DOCUMENTS = {
    "1909.00694": "Introduction\nOne. Two.\nMethod ::: Data\nThree.",
    "2003.07723": "Unnamed.\nAppendix\nEmpty",
    "1801.05147": "A\nb",
    "1704.06194": "A\nb",
}


def as_json(folder: Path, papers: Papers, split: Split) -> Path:
    path = folder / f"qasper-{split}-v0.3.json"
    path.write_text(json.dumps(papers), encoding="utf-8")
    return path


def as_tgz(folder: Path, papers: Papers, split: Split) -> Path:
    members = {
        "README.md": b"A data set.",
        "qasper-dev-v0.3.json": b"not read",
        f"qasper-{split}-v0.3.json": json.dumps(papers).encode(),
        "qasper_evaluator.py": b"print()",
    }
    return tgz(folder / ARCHIVES[split], members)


def as_parquet(folder: Path, papers: Papers, split: Split) -> Path:
    path = folder / "qasper" / split / "0000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(columnar(papers), schema=SCHEMA), path)
    return path


WRITERS = [as_json, as_tgz, as_parquet]
Writer = Callable[[Path, Papers, Split], Path]


def columnar(papers: Papers) -> list[dict[str, Any]]:
    """Papers as the hub's parquet has them."""
    rows = []
    for identifier, fields in papers.items():
        sections = fields["full_text"]
        lists = sections and {name: [s[name] for s in sections] for name in ("section_name", "paragraphs")}
        rows.append({**fields, "id": identifier, "full_text": lists or None, "qas": {"question": ["Why?"]}})
    return rows


def tgz(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def built(source: Path, split: Split = "test", task: str = "qasper_title") -> TaskData:
    assert qasper.holds(task, source)
    return qasper.build(task_card(task), "paper", split, source)


def refusal(source: Path, split: Split = "test") -> str:
    with pytest.raises(LocoError) as caught:
        qasper.build(task_card("qasper_title"), "paper", split, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("task", "queries"), [("qasper_title", TITLES), ("qasper_abstract", ABSTRACTS)])
def test_every_format_gives_the_same_rows(write: Writer, task: str, queries: Mapping[str, str], tmp_path: Path) -> None:
    path = write(tmp_path, TEST, "test")
    made = built(tmp_path, task=task)
    assert dict(made.queries) == queries
    assert list(made.documents) == [(identifier, DOCUMENTS[identifier]) for identifier in queries]
    assert made.qrels == {identifier: {identifier: 1} for identifier in queries}
    missing = "papers without a title" if task == "qasper_title" else "papers without an abstract"
    assert made.provenance.dropped == {"papers without a text": 3, missing: 1}
    assert built(path, task=task) == made, "the file itself serves as its folder does"
    write_task(made, tmp_path / "data")
    assert read_task(tmp_path / "data", "paper", task).content == made.content


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ([("Name", ["a", "b"]), ("Next", ["c"])], "Name\na b\nNext\nc"),
        ([(None, ["a", "b"]), ("Next", ["c"])], "a b\nNext\nc"),
        ([("Name", None), ("Next", ["c"])], "Name\nNext\nc"),
        ([("Name", []), ("Next", ["c"])], "Name\n\nNext\nc"),
        ([("Name", ["a"]), ("", ["b"])], "Name\na\n\nb"),
        ([("  Name", ["a\n"])], "Name\na"),
        ([(None, None)], ""),
        ([], ""),
    ],
)
def test_a_null_name_or_null_paragraphs_leave_their_line_out(sections: list[qasper.Section], text: str) -> None:
    assert qasper.document_of(sections) == text


lines = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(st.lists(st.tuples(st.none() | lines, st.none() | st.lists(lines, max_size=3)), max_size=4))
def test_a_document_is_its_sections_written_one_after_the_other(sections: list[qasper.Section]) -> None:
    written = ""
    for name, paragraphs in sections:
        written += "" if name is None else f"{name}\n"
        written += "" if paragraphs is None else " ".join(paragraphs) + "\n"
    assert qasper.document_of(sections) == written.strip()


@pytest.mark.parametrize("write", WRITERS)
def test_each_split_is_read_from_its_own_file(write: Writer, tmp_path: Path) -> None:
    test_file = write(tmp_path, TEST, "test")
    assert "qasper-train-v0.3.json or qasper-train-dev-v0.3.tgz" in refusal(tmp_path, "train")
    write(tmp_path, TRAIN, "train")
    test, train = built(tmp_path, "test"), built(tmp_path, "train")
    assert (test.split, train.split) == ("test", "train")
    assert dict(train.queries) == {"1809.00001": "Of other things"}
    assert dict(train.documents) == {"1809.00001": "Introduction\nElsewhere."}
    assert not set(test.documents.ids) & set(train.documents.ids)
    assert "nothing for the train split" in refusal(test_file, "train")


def test_the_manifest_names_the_upstream_file_and_its_bytes(tmp_path: Path) -> None:
    sources = {}
    for write in WRITERS:
        folder = tmp_path / write.__name__
        folder.mkdir()
        write(folder, TRAIN, "train")
        provenance = built(folder, "train").provenance
        sources[write.__name__] = provenance.source
        assert provenance.source_revision.startswith("sha256:")
    assert sources == {
        "as_json": "qasper-train-v0.3.json",
        "as_tgz": "qasper-train-dev-v0.3.tgz",
        "as_parquet": "qasper/train/0000.parquet",
    }


def test_as_many_papers_as_the_papers_are_its_own_rows_and_fewer_are_not(tmp_path: Path) -> None:
    papers = {f"{number:04}.00001": paper(("A", [str(number)])) for number in range(415)}
    as_json(tmp_path, papers, "test")
    assert built(tmp_path).provenance.equivalent == "the source holds 415 papers where QASPER v0.3 has 416 in test"
    as_json(tmp_path, {**papers, "no text": paper()}, "test")
    whole = built(tmp_path)
    assert whole.provenance.equivalent == ""
    assert len(whole.queries) == 415, "null passages count as papers of the source"


def test_it_makes_the_paper_variant_of_its_two_tasks_in_both_splits() -> None:
    for split in ("test", "train"):
        assert tuple(qasper.tasks("paper", split)) == ("qasper_title", "qasper_abstract")
        assert not qasper.tasks("release", split)
        assert ARCHIVES[split] in qasper.wanted("qasper_title", split)
        assert f"qasper/{split}/0000.parquet" in qasper.wanted("qasper_title", split)


def test_without_a_source_the_hubs_parquet_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_parquet(tmp_path, TRAIN, "train")
    asked: list[tuple[str, str, str | None]] = []

    def from_hub(repo: str, name: str, member: str = "", *, revision: str | None = None) -> SourceFile:
        asked.append((repo, name, revision))
        return SourceFile(path, f"{repo} {name}", "c0ffee", "", member)

    monkeypatch.setattr(qasper, "hub_file", from_hub)
    task = qasper.build(task_card("qasper_abstract"), "paper", "train", None)
    assert asked == [("allenai/qasper", "qasper/train/0000.parquet", "refs/convert/parquet")]
    assert dict(task.queries) == {"1809.00001": "An abstract."}
    assert task.provenance.source_revision == "c0ffee"


def test_a_byte_order_mark_and_half_surrogate_pairs_are_tolerated(tmp_path: Path) -> None:
    half = paper(("A", ["half \ud83d pair"]), title="whole \U0001f600")
    (tmp_path / "qasper-test-v0.3.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"1": half}).encode())
    task = built(tmp_path)
    assert dict(task.queries) == {"1": "whole \U0001f600"}
    assert dict(task.documents) == {"1": "A\nhalf \ufffd pair"}
    assert task.provenance.dropped == {"lone surrogates replaced": 1}


WHOLE = json.dumps(TEST).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (WHOLE[:-1], "is not JSON, or cut off"),
        (WHOLE[: len(WHOLE) // 2], "is not JSON, or cut off"),
        (WHOLE.replace(b"One.", b"\xff"), "is not UTF-8"),
        (b"[" * 100_000, "is not usable JSON"),
        (b"[]", "is not a JSON object of papers"),
        (b"{}", "holds no papers"),
        (b'{"1": []}', "paper '1': not an object of fields"),
        (json.dumps({"1": {"title": "t", "abstract": "a"}}).encode(), "paper '1': the field 'full_text' is missing"),
        (json.dumps({"1": paper(title=5)}).encode(), "paper '1': the field 'title' should be a valid string"),
        (json.dumps({"1": paper(full_text="x")}).encode(), "the field 'full_text' should be a valid list"),
        (json.dumps({"1": paper(full_text=[{"paragraphs": []}])}).encode(), "'full_text.0.section_name' is missing"),
        (json.dumps({"1": paper(("A", ["b", 5]))}).encode(), "'full_text.0.paragraphs.1' should be a valid string"),
    ],
)
def test_a_damaged_json_file_is_one_line_that_names_the_place(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "qasper-test-v0.3.json"
    path.write_bytes(content)
    message = refusal(tmp_path)
    assert said in message
    assert str(path) in message


def without(name: str) -> pa.Schema:
    return pa.schema([field for field in SCHEMA if field.name != name])


def with_type(name: str, kind: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) if field.name == name else field for field in SCHEMA])


NAMES_ONLY = pa.struct({"section_name": pa.list_(pa.string())})


@pytest.mark.parametrize(
    ("schema", "changed", "said"),
    [
        (without("abstract"), {}, "the column 'abstract' is missing"),
        (without("full_text"), {}, "the column 'full_text' is missing"),
        (with_type("title", pa.int64()), {"title": 5}, "row 1: the field 'title' should be a valid string"),
        (with_type("full_text", NAMES_ONLY), {}, "row 1: the field 'full_text.paragraphs' is missing"),
        (SCHEMA, {"id": None}, "row 1: the field 'id' should be a valid string"),
        (SCHEMA, {"id": "2"}, "row 2: the id '2' stands twice"),
        (
            SCHEMA,
            {"full_text": {"section_name": ["A"], "paragraphs": []}},
            "row 1: full_text has 1 section names but 0 lists of paragraphs",
        ),
    ],
)
def test_a_parquet_file_of_another_shape_is_one_line(
    schema: pa.Schema, changed: Mapping[str, Any], said: str, tmp_path: Path
) -> None:
    path = as_parquet(tmp_path, {}, "test")
    first, second = columnar({"1": paper(("A", ["b"])), "2": paper(("C", ["d"]))})
    rows = [{**first, **changed}, second]
    if schema.field("title").type == pa.int64():
        rows.pop()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    message = refusal(tmp_path)
    assert said in message
    assert str(path) in message


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    path = as_parquet(tmp_path, TEST, "test")
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-30], whole[: len(whole) // 2], b"\0" * 500):
        path.write_bytes(content)
        message = refusal(tmp_path)
        assert "is damaged or not parquet" in message
        assert str(path) in message
    binary = with_type("title", pa.binary())
    pq.write_table(pa.Table.from_pylist([{"id": "1", "title": b"\xff"}], schema=binary), path)
    assert "row 1: the field 'title' should be a valid string" in refusal(tmp_path)
    not_utf8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"], pa.binary()).buffers())
    columns = {name: pa.nulls(1, SCHEMA.field(name).type) for name in ("id", "abstract", "full_text")}
    pq.write_table(pa.table({**columns, "title": not_utf8}), path)
    assert "is damaged or not parquet" in refusal(tmp_path)
    as_parquet(tmp_path, {}, "test")
    assert "holds no papers" in refusal(tmp_path)


def test_a_damaged_tgz_is_one_line(tmp_path: Path) -> None:
    path = as_tgz(tmp_path, {str(number): paper(("A", [str(number) * 50])) for number in range(300)}, "test")
    whole = path.read_bytes()
    half = len(whole) // 2
    wrong_checksum = whole[:-8] + bytes(byte ^ 0xFF for byte in whole[-8:])
    deflate = zlib.compressobj(wbits=31)
    no_such_block = deflate.compress(gzip.decompress(whole)[:50_000]) + deflate.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 9
    for content in (b"", b"no gzip", whole[:40], whole[:half], whole[:-4], wrong_checksum, no_such_block):
        path.write_bytes(content)
        message = refusal(tmp_path)
        assert "is a damaged or unusual tgz" in message
        assert str(path) in message
    path.write_bytes(gzip.compress(b"not a tar" * 200))
    assert "is a damaged or unusual tgz" in refusal(tmp_path)
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        sparse = tarfile.TarInfo("qasper-test-v0.3.json")
        sparse.size, sparse.pax_headers = 512, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        archive.addfile(sparse, io.BytesIO(b"no number\n".ljust(512)))
    assert "is a damaged or unusual tgz" in refusal(tmp_path)
    tgz(path, {"qasper-test-v0.3.json": WHOLE[:-1]})
    assert "is not JSON, or cut off" in refusal(tmp_path)


def test_a_tgz_without_the_file_or_with_members_outside_its_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ARCHIVES["test"]
    tgz(path, {"qasper-dev-v0.3.json": WHOLE})
    assert "holds no qasper-test-v0.3.json" in refusal(tmp_path)
    for outside in ("../evil", "/etc/evil", "a/../../evil", "C:\\evil", "..\\evil"):
        tgz(path, {"qasper-test-v0.3.json": WHOLE, outside: b""})
        assert "a path outside its folder" in refusal(tmp_path)
    tgz(path, {"./folder/qasper-test-v0.3.json": WHOLE})
    assert len(built(tmp_path).queries) == 3
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("qasper-test-v0.3.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert "holds no qasper-test-v0.3.json" in refusal(tmp_path)


def test_a_tgz_that_would_unpack_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    info = tarfile.TarInfo("qasper-test-v0.3.json")
    info.size = 2 << 30
    (tmp_path / ARCHIVES["test"]).write_bytes(gzip.compress(info.tobuf()))
    assert "would unpack to 2,147,483,648 bytes" in refusal(tmp_path)

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import small_task

from loco.errors import LocoError
from loco.tasks.data import TaskData, read_task, task_names, write_task
from loco.tasks.exchange import export
from loco.tasks.exchange.beir import import_beir
from loco.tasks.exchange.export import FORMATS, export_task

ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\r\n"), min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@st.composite
def any_task(draw: st.DrawFn) -> TaskData:
    queries = draw(st.dictionaries(ids, texts, min_size=1, max_size=4))
    documents = draw(st.dictionaries(ids, texts, min_size=1, max_size=4))
    some_document = st.sampled_from(sorted(documents))
    grades = st.dictionaries(some_document, st.integers(-2, 3))
    qrels = {query: draw(grades) | {draw(some_document): draw(st.integers(1, 3))} for query in queries}
    return small_task(queries, documents, qrels)


def beir_folder(
    folder: Path,
    corpus: Sequence[Mapping[str, object]] = ({"_id": "d1", "title": "", "text": "one"},),
    queries: Sequence[Mapping[str, object]] = ({"_id": "q1", "text": "first"},),
    qrels: str = "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    split: str = "test",
) -> Path:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels" / f"{split}.tsv").write_bytes(qrels.encode())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(any_task())
@settings(deadline=None)
def test_a_beir_export_comes_back_as_it_was(task: TaskData) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exported"
        export_task(task, "beir", out)
        back = import_beir(out)
    assert back.content == task.content
    assert (back.queries, back.documents, back.qrels) == (task.queries, task.documents, task.qrels)
    assert back.provenance.dropped == {}


@given(any_task())
@settings(deadline=None)
def test_trec_eval_reads_the_same_judgements_from_a_trec_export(task: TaskData) -> None:
    import pytrec_eval

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exported"
        export_task(task, "trec", out)
        with (out / "qrels.txt").open(encoding="utf-8") as stream:
            read = pytrec_eval.parse_qrel(stream)
        topics = (out / "topics.tsv").read_text(encoding="utf-8")
        lines = (out / "documents" / "documents.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    documents = [json.loads(line) for line in lines]
    assert {unquote(q): {unquote(d): grade for d, grade in grades.items()} for q, grades in read.items()} == task.qrels
    assert [unquote(line.split("\t")[0]) for line in topics.splitlines()] == list(task.queries.ids)
    assert {row["id"] for row in documents} >= {document for grades in read.values() for document in grades}
    assert tuple((unquote(row["id"]), row["contents"]) for row in documents) == tuple(task.documents)


def test_a_trec_topic_stays_on_one_line_and_keeps_its_words(tmp_path: Path) -> None:
    task = small_task({"q 1": "two\r\nlines,\ta tab\u2028and more"}, qrels={"q 1": {"d1": 1}})
    export_task(task, "trec", tmp_path / "out")
    assert (tmp_path / "out" / "topics.tsv").read_text(encoding="utf-8") == "q%201\ttwo lines, a tab and more\n"


def test_an_mteb_export_declares_the_configs_it_holds(tmp_path: Path) -> None:
    import pyarrow.parquet as pq
    from huggingface_hub import DatasetCard

    out = tmp_path / "out"
    task = small_task(qrels={"q1": {"d1": 2, "d3": 0}, "q2": {"d2": 1}})
    export_task(task, "mteb", out)
    card = DatasetCard.load(out / "README.md").data.to_dict()
    tables = {}
    for config in card["configs"]:
        (files,) = config["data_files"]
        assert files["split"] == "test"
        (path,) = out.glob(files["path"])
        tables[config["config_name"]] = pq.read_table(path).to_pydict()
    assert tables == {
        "corpus": {"id": list(task.documents.ids), "text": list(task.documents.texts)},
        "queries": {"id": list(task.queries.ids), "text": list(task.queries.texts)},
        "qrels": {"query-id": ["q1", "q1", "q2"], "corpus-id": ["d1", "d3", "d2"], "score": [2, 0, 1]},
    }
    assert task.card.licence in (out / "README.md").read_text(encoding="utf-8")


def test_a_title_that_yaml_would_trip_over_is_still_a_title(tmp_path: Path) -> None:
    from dataclasses import replace

    from huggingface_hub import DatasetCard

    task = small_task()
    odd = replace(task, card=task.card.model_copy(update={"name": "a: 'b' # \"c\""}))
    export_task(odd, "mteb", tmp_path / "out")
    assert DatasetCard.load(tmp_path / "out" / "README.md").data.pretty_name == "a: 'b' # \"c\" (mini, test)"


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_lists_its_files_and_leaves_nothing_beside_it(format: str, tmp_path: Path) -> None:
    written = export_task(small_task(), format, tmp_path / "out")
    assert {str(path.relative_to(tmp_path / "out")) for path in written} == set(contents(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_as_it_was_written_is_replaced(format: str, tmp_path: Path) -> None:
    export_task(small_task(), "beir", tmp_path / "out")
    other = small_task(documents={"d9": "another"}, qrels={"q1": {"d9": 1}, "q2": {"d9": 1}})
    export_task(other, format, tmp_path / "out")
    export_task(other, format, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("spoil", ["foreign", "added", "edited", "linked", "file"])
def test_a_folder_that_is_not_an_untouched_export_is_left_alone(spoil: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if spoil == "file":
        out.write_text("mine")
    elif spoil == "foreign":
        beir_folder(out)
    else:
        export_task(small_task(), "beir", out)
    if spoil == "added":
        (out / "notes.txt").write_text("mine")
    elif spoil == "edited":
        (out / "queries.jsonl").write_text("mine")
    elif spoil == "linked":
        (tmp_path / "mine").write_bytes((out / "queries.jsonl").read_bytes())
        (out / "queries.jsonl").unlink()
        (out / "queries.jsonl").symlink_to(tmp_path / "mine")
    before = contents(tmp_path)
    with pytest.raises(LocoError, match=r"did not write, so it is left alone"):
        export_task(small_task(), "beir", out)
    assert contents(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export_task(small_task(), "beir", tmp_path / "out")


def test_a_disk_that_fills_leaves_the_earlier_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_task(small_task(), "beir", tmp_path / "out")
    before = contents(tmp_path)

    def full(task: TaskData, folder: Path) -> None:
        (folder / "half").write_text("written")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(export._WRITERS, "trec", full)
    with pytest.raises(LocoError, match="the disk is full"):
        export_task(small_task(), "trec", tmp_path / "out")
    assert contents(tmp_path) == before


def test_a_place_that_cannot_be_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LocoError, match="Cannot write"):
        export_task(small_task(), "beir", tmp_path / "file" / "below")


def test_an_unknown_format_suggests_the_one_meant(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="Did you mean 'trec'"):
        export_task(small_task(), "trek", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_imported_folder_is_a_task_like_any_other(tmp_path: Path) -> None:
    task = import_beir(beir_folder(tmp_path / "scifact"))
    write_task(task, tmp_path / "data")
    assert task_names(tmp_path / "data", "imported") == ["scifact"]
    assert read_task(tmp_path / "data", "imported", "scifact").content == task.content


def test_the_source_of_an_import_names_its_files_but_not_where_they_lay(tmp_path: Path) -> None:
    provenance = import_beir(beir_folder(tmp_path / "scifact"), "mine").provenance
    assert provenance.source == "scifact: queries.jsonl, corpus.jsonl, qrels/test.tsv"
    assert provenance.source_revision.count("sha256:") == 3


def test_licence_and_citation_follow_an_export_into_the_import(tmp_path: Path) -> None:
    task = small_task()
    export_task(task, "beir", tmp_path / "out")
    card = import_beir(tmp_path / "out", "mine").card
    assert card == task.card.model_copy(update={"name": "mine", "table10": None})


def test_a_title_stands_before_the_text_and_an_empty_one_adds_nothing(tmp_path: Path) -> None:
    corpus = [
        {"_id": "d1", "title": "Title", "text": "text", "metadata": {"url": "x"}},
        {"_id": "d2", "title": "", "text": " text "},
        {"_id": "d3", "title": None, "text": "text"},
        {"_id": "d4", "text": ""},
    ]
    documents = import_beir(beir_folder(tmp_path / "set", corpus)).documents
    assert dict(documents) == {"d1": "Title text", "d2": " text ", "d3": "text", "d4": ""}


@pytest.mark.parametrize(
    "qrels",
    [
        "q1\td1\t1\n",
        "query-id\tcorpus-id\tscore\r\nq1\td1\t1\r\n",
        "\ufeffqid\tpid\trelevance\nq1\td1\t1",
        "\ufeffq1\td1\t1\n\nq1\td1\t1\n",
        'query-id\tcorpus-id\tscore\n"q1"\t"d1"\t1\n',
    ],
)
def test_judgements_are_read_as_they_are_found_in_the_wild(qrels: str, tmp_path: Path) -> None:
    assert import_beir(beir_folder(tmp_path / "set", qrels=qrels)).qrels == {"q1": {"d1": 1}}


def test_ids_that_are_numbers_meet_their_judgements(tmp_path: Path) -> None:
    folder = beir_folder(
        tmp_path / "set", [{"_id": 7, "text": "x"}], [{"_id": 3, "text": "y"}], "query-id\tcorpus-id\tscore\n3\t7\t1\n"
    )
    assert import_beir(folder).qrels == {"3": {"7": 1}}


def test_a_query_called_like_the_header_is_still_judged(tmp_path: Path) -> None:
    queries = [{"_id": "query-id", "text": "x"}]
    folder = beir_folder(tmp_path / "set", queries=queries, qrels="query-id\tcorpus-id\tscore\nquery-id\td1\t1\n")
    assert import_beir(folder).qrels == {"query-id": {"d1": 1}}


def test_what_cannot_be_scored_is_left_out_and_counted(tmp_path: Path) -> None:
    folder = beir_folder(
        tmp_path / "set",
        corpus=[{"_id": "d1", "text": "one"}, {"_id": "d2", "text": "two"}],
        queries=[{"_id": f"q{n}", "text": "?"} for n in range(1, 5)],
        qrels="q1\td1\t2\nq1\td2\t0\nq1\tgone\t1\nq2\tgone\t1\nq3\td1\t0\nlost\td1\t1\nlost\tgone\t1\n",
    )
    task = import_beir(folder)
    assert task.qrels == {"q1": {"d1": 2, "d2": 0}}
    assert task.queries.ids == ("q1",)
    assert task.provenance.dropped == {
        "judgements of unknown documents": 2,
        "judgements of unknown queries": 2,
        "queries left without a relevant document": 3,
    }


def test_train_judgements_make_the_train_split_and_others_the_test_split(tmp_path: Path) -> None:
    beir_folder(tmp_path / "set", split="train")
    assert import_beir(tmp_path / "set", split="train").split == "train"
    beir_folder(tmp_path / "set", split="dev")
    assert import_beir(tmp_path / "set", split="dev").split == "test"
    with pytest.raises(LocoError, match=r"no judgements of the split 'test', only of: dev, train"):
        import_beir(tmp_path / "set")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", b'{"_id": "d1", "text": "x"}\n{"_id": "d2", "te', "line 2: not JSON"),
        ("corpus.jsonl", b'{"_id": "d1", "text": 5}\n', "line 1: the field 'text'"),
        ("corpus.jsonl", b'{"text": "x"}\n', "line 1: the field '_id' is missing"),
        ("corpus.jsonl", b'{"_id": true, "text": "x"}\n', "line 1: the field '_id'"),
        (
            "corpus.jsonl",
            b'{"_id": "1", "text": "x"}\n{"_id": 1, "text": "y"}\n',
            "line 2: .* stands on line 1 already",
        ),
        ("corpus.jsonl", b'{"_id": "d1", "text": "x"}\n{"_id": "d\\t2", "text": "x"}\n', "tab or line break"),
        ("corpus.jsonl", b"", "is empty"),
        ("queries.jsonl", b'["q1", "x"]\n', "line 1: not a JSON object"),
        ("queries.jsonl", b'{"_id": "q1", "text": "\xff"}\n', "line 1: not UTF-8"),
        ("queries.jsonl", b'{"_id": "other", "text": "x"}\n', "Do the three files belong together"),
        ("qrels/test.tsv", b"", "Do the three files belong together"),
        ("qrels/test.tsv", b"q1 0 d1 1\n", "line 1: 1 columns"),
        ("qrels/test.tsv", b"q1\td1\t1\nq1\td1\n", "line 2: 2 columns"),
        ("qrels/test.tsv", b"q1\td1\tx\n", "line 1: the score 'x' is not a whole number"),
        ("qrels/test.tsv", b"q1\td1\t1\nq1\td1\t0.5\n", "line 2: the score '0.5' is not a whole number"),
        ("qrels/test.tsv", b"q1\td1\t99999999\n", "line 1: the score '99999999'"),
        ("qrels/test.tsv", b"q1\td1\t1\nq1\td1\t2\n", "line 2: .* judged twice"),
        ("qrels/test.tsv", b"q1\td1\t1\n\xff\td1\t2\n", "line 2: not UTF-8"),
        ("export.json", b"{}", "export.json is damaged"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_where(file: str, content: bytes, message: str, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "set")
    (folder / file).write_bytes(content)
    with pytest.raises(LocoError, match=message) as raised:
        import_beir(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_says_what_a_beir_folder_is(file: str, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "set")
    (folder / file).unlink()
    with pytest.raises(LocoError, match=f"not a BEIR folder: it has no {file}"):
        import_beir(folder)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.train", "a b", "é", "x" * 101, "a\n"])
def test_a_name_that_would_make_an_odd_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="cannot be the name of a task"):
        import_beir(beir_folder(tmp_path / "set"), name)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="is not a folder"):
        import_beir(tmp_path / "nothing")

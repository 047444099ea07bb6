"""The LongBench tasks, from files as LongBench ships them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.tasks.builders import longbench
from loco.tasks.card import task_card
from loco.tasks.data import Split, TaskData, read_task, write_task
from loco.tasks.sources.files import SourceFile

FILES = {
    "multifieldqa": ("multifieldqa_en_e.jsonl", 150),
    "2wikimqa": ("2wikimqa_e.jsonl", 300),
    "passage_retrieval": ("passage_retrieval_en_e.jsonl", 300),
}

# What train_test_split(range(150), test_size=0.2, random_state=42) of scikit-learn 1.9.1 returned.
TEST_OF_150 = [73, 18, 118, 78, 76, 31, 64, 141, 68, 82, 110, 12, 36, 9, 19, 56, 104, 69, 55, 132]
TEST_OF_150 += [29, 127, 26, 128, 131, 145, 108, 143, 45, 30]
TRAIN_OF_150 = [22, 15, 65, 11, 42, 146, 51, 27, 4, 32, 142, 85, 86, 16, 10, 81, 133, 137, 75, 109, 96, 105, 66, 0]
TRAIN_OF_150 += [122, 67, 28, 40, 44, 60, 123, 24, 25, 23, 94, 39, 95, 117, 47, 97, 113, 33, 138, 101, 62, 84, 148]
TRAIN_OF_150 += [53, 5, 93, 111, 49, 35, 80, 77, 34, 114, 7, 43, 70, 98, 120, 83, 134, 135, 89, 8, 13, 119, 125, 3]
TRAIN_OF_150 += [17, 38, 72, 136, 6, 112, 100, 2, 63, 54, 126, 50, 115, 46, 139, 61, 147, 79, 59, 91, 41, 58, 90, 48]
TRAIN_OF_150 += [88, 107, 124, 21, 57, 144, 129, 37, 140, 1, 52, 130, 103, 99, 116, 87, 74, 121, 149, 20, 71, 106, 14]
TRAIN_OF_150 += [92, 102]


def rows(count: int) -> list[dict[str, object]]:
    """LongBench rows; every two in a row share their context."""
    shared = {"answers": ["so"], "length": 3, "dataset": "any", "language": "en", "all_classes": None}
    return [{"input": f"query {i}", "context": f"text {i // 2}", **shared, "_id": f"{i:04x}"} for i in range(count)]


def jsonl(given: Sequence[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in given).encode()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


def built(task: str, source: Path, split: Split = "test") -> TaskData:
    assert longbench.holds(task, source)
    return longbench.build(task_card(task), "paper", split, source)


def refusal(source: Path, task: str = "multifieldqa") -> str:
    with pytest.raises(LocoError) as caught:
        longbench.build(task_card(task), "paper", "test", source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_split_is_scikit_learns_row_for_row() -> None:
    assert longbench.drawn(150, "test") == TEST_OF_150
    assert longbench.drawn(150, "train") == TRAIN_OF_150


def test_the_split_is_that_of_the_installed_scikit_learn_at_every_size() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    for count in range(2, 400):
        train, test = selection.train_test_split(list(range(count)), test_size=0.2, random_state=42)
        assert (longbench.drawn(count, "train"), longbench.drawn(count, "test")) == (train, test)


@given(st.integers(0, 2000))
def test_test_and_train_share_no_row_and_leave_none_out(count: int) -> None:
    test, train = longbench.drawn(count, "test"), longbench.drawn(count, "train")
    assert sorted(test + train) == list(range(count))
    assert len(test) == -(-count // 5)


@pytest.mark.parametrize("task", FILES)
def test_each_task_comes_out_in_the_papers_numbers(task: str, tmp_path: Path) -> None:
    name, count = FILES[task]
    (tmp_path / name).write_bytes(jsonl(rows(count)))
    test, train = built(task, tmp_path), built(task, tmp_path, "train")
    table10 = task_card(task).table10
    assert table10 is not None
    assert (len(test.queries), len(test.documents)) == (table10.test_queries, table10.test_documents)
    assert (len(train.queries), len(train.documents)) == (table10.train_queries, table10.train_documents)
    assert not set(test.queries.ids) & set(train.queries.ids)
    assert (test.split, train.split) == ("test", "train")
    assert test.provenance.equivalent == ""
    assert test.provenance.source == name


def test_rows_stand_in_the_order_of_the_split_one_document_each(tmp_path: Path) -> None:
    (tmp_path / "multifieldqa_en_e.jsonl").write_bytes(jsonl(rows(150)))
    task = built("multifieldqa", tmp_path)
    ids = [f"{i:04x}" for i in TEST_OF_150]
    assert list(task.queries) == [(f"{i:04x}", f"query {i}") for i in TEST_OF_150]
    assert list(task.documents) == [(f"{i:04x}", f"text {i // 2}") for i in TEST_OF_150]
    assert task.qrels == {identifier: {identifier: 1} for identifier in ids}
    assert len(set(task.documents.texts)) < 30, "rows 18 and 19 share their context and keep a document each"


def test_every_layout_gives_the_same_task(tmp_path: Path) -> None:
    name, content = "2wikimqa_e.jsonl", jsonl(rows(300))
    for folder in ("flat", "tree/data", "zipped"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "flat" / name).write_bytes(b"\xef\xbb\xbf" + content)
    (tmp_path / "tree/data" / name).write_bytes(content)
    members = {"data/2wikimqa.jsonl": jsonl(rows(5)), f"data/{name}": content}
    packed = archive(tmp_path / "zipped/data.zip", members)
    sources = [tmp_path / "flat", tmp_path / "flat" / name, tmp_path / "tree", tmp_path / "zipped", packed]
    made = [built("2wikimqa", source, "train") for source in sources]
    assert len({task.content for task in made}) == 1
    assert [task.provenance.source for task in made] == [name, name, name, "data.zip", "data.zip"]
    assert all(task.provenance.source_revision.startswith("sha256:") for task in made)
    write_task(made[0], tmp_path / "data")
    assert read_task(tmp_path / "data", "paper", "2wikimqa", "train").content == made[0].content


def test_another_number_of_rows_is_no_longer_the_papers_split(tmp_path: Path) -> None:
    (tmp_path / "multifieldqa_en_e.jsonl").write_bytes(jsonl(rows(149)))
    reason = built("multifieldqa", tmp_path).provenance.equivalent
    assert reason.startswith("the source holds 149 rows where the paper's held 150")


def test_only_the_e_file_of_the_task_is_taken(tmp_path: Path) -> None:
    for name in ("multifieldqa_en.jsonl", "2wikimqa_e.jsonl"):
        (tmp_path / name).write_bytes(jsonl(rows(150)))
        assert not longbench.holds("multifieldqa", tmp_path / name)
    assert not longbench.holds("multifieldqa", tmp_path)
    assert "multifieldqa_en_e.jsonl" in refusal(tmp_path)


def test_it_makes_the_paper_variant_of_its_three_tasks_in_both_splits() -> None:
    for split in ("test", "train"):
        assert tuple(longbench.tasks("paper", split)) == tuple(FILES)
        assert not longbench.tasks("release", split)
        assert all(FILES[task][0] in longbench.wanted(task, split) for task in FILES)


def test_without_a_source_the_hubs_zip_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(tmp_path / "data.zip", {"data/passage_retrieval_en_e.jsonl": jsonl(rows(300))})
    asked: list[tuple[str, ...]] = []

    def from_hub(repo: str, name: str, member: str) -> SourceFile:
        asked.append((repo, name, member))
        return SourceFile(packed, f"{repo} {name}", "c0ffee", "", member)

    monkeypatch.setattr(longbench, "hub_file", from_hub)
    task = longbench.build(task_card("passage_retrieval"), "paper", "test", None)
    assert asked == [("THUDM/LongBench", "data.zip", "data/passage_retrieval_en_e.jsonl")]
    assert len(task.queries) == 60
    assert (task.provenance.source, task.provenance.source_revision) == ("THUDM/LongBench data.zip", "c0ffee")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (jsonl(rows(3))[:-20], "line 3: not JSON"),
        (jsonl(rows(3)) + b'{"input": "q", "context": "t"}\n', "line 4: the field '_id' is missing"),
        (jsonl([*rows(1), {**rows(2)[1], "context": None}]), "line 2: the field 'context' should be a valid string"),
        (jsonl([*rows(1), {**rows(2)[1], "input": 5}]), "line 2: the field 'input' should be a valid string"),
        (jsonl([*rows(2), *rows(1)]), "line 3: the id '0000' stands on line 1 already"),
        (b"[1]\n", "line 1: not a JSON object"),
        (b"\xff\xfe{}\n", "line 1: not UTF-8"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_the_place(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "multifieldqa_en_e.jsonl"
    path.write_bytes(content)
    message = refusal(tmp_path)
    assert said in message
    assert str(path) in message


def test_a_damaged_zip_is_one_line(tmp_path: Path) -> None:
    path, member = tmp_path / "data.zip", "data/multifieldqa_en_e.jsonl"
    archive(path, {member: jsonl(rows(150))})
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged or unusual zip" in refusal(tmp_path)
    archive(path, {member: jsonl(rows(150)), "../outside.jsonl": b""})
    assert "a path outside its folder" in refusal(tmp_path)
    archive(path, {"data/multifieldqa_en.jsonl": jsonl(rows(150))})
    assert f"holds no {member}" in refusal(tmp_path)

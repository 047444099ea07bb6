"""The stackoverflow builder: which posts it takes, that no order matters, and everything a dump can be instead."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.tasks.builders import stackoverflow
from loco.tasks.card import task_card
from loco.tasks.data import Split, TaskData
from loco.tasks.sources import hub
from loco.tasks.sources.files import SourceFile
from loco.tasks.sources.hub import HubError

Post = dict[str, object]
SCHEMA = pa.schema(
    [
        ("Id", pa.int64()),
        ("PostTypeId", pa.int64()),
        ("AcceptedAnswerId", pa.int64()),
        ("ParentId", pa.int64()),
        ("Score", pa.int64()),
        ("Body", pa.string()),
        ("Title", pa.string()),
        ("ContentLicense", pa.string()),
    ]
)
LONG = "a long story, " * 800  # above 10,000 characters


def question(number: int, accepted: int | None = None, title: str | None = "How?", body: str | None = "Tell.") -> Post:
    return {
        "Id": number,
        "PostTypeId": 1,
        "AcceptedAnswerId": accepted,
        "Title": title,
        "Body": body,
        "ContentLicense": "CC BY-SA 4.0",
    }


def answer(
    number: int | None, parent: int | None, body: str | None = "Like that.", licence: str = "CC BY-SA 3.0"
) -> Post:
    return {"Id": number, "PostTypeId": 2, "ParentId": parent, "Body": body, "ContentLicense": licence}


def thread(number: int, *bodies: str, accepted: int = 1) -> list[Post]:
    """A question and its answers, whose ids follow its own; ``accepted`` counts from 1, 0 for none."""
    answers = [answer(number + i, number, body) for i, body in enumerate(bodies, 1)]
    asked = question(number, number + accepted if accepted else None, f"How {number}?", f"Tell {number}.")
    return [asked, *answers]


def dump(threads: int = 12) -> list[Post]:
    """Threads 100, 200, ..., all fit for queries, each with a long answer and up to three short ones."""
    return [post for i in range(1, threads + 1) for post in thread(100 * i, LONG, *["short"] * (1 + i % 3))]


def shards(folder: Path, posts: Sequence[Post], parts: int = 2, schema: pa.Schema = SCHEMA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        table = pa.Table.from_pylist(list(posts[part::parts]), schema)
        pq.write_table(table, folder / f"posts-{part}.parquet", row_group_size=7)
    return folder


def build(source: Path | None, split: Split = "test") -> TaskData:
    return stackoverflow.build(task_card("stackoverflow"), "paper", split, source)


def refusal(source: Path | None, split: Split = "test") -> str:
    with pytest.raises(LocoError) as caught:
        build(source, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def question_of(document: str) -> int:
    return int(document[1:]) // 100 * 100


def test_a_query_is_title_and_body_and_every_answer_to_it_is_relevant(tmp_path: Path) -> None:
    posts = thread(100, "short", LONG, "  kept as it is\n", accepted=3)
    built = build(shards(tmp_path, posts))
    assert dict(built.queries) == {"q100": "How 100?\n\nTell 100."}
    assert dict(built.documents) == {"a101": "short", "a102": LONG, "a103": "  kept as it is\n"}
    assert built.qrels == {"q100": {"a101": 1, "a102": 1, "a103": 1}}


def test_a_query_needs_a_long_answer_an_accepted_one_and_two_of_them(tmp_path: Path) -> None:
    unfit = [
        *thread(200, "short", "short"),
        *thread(300, LONG),
        *thread(400, LONG, "short", accepted=0),
        *thread(500, LONG, "short", accepted=7),
        question(600, 601, title=None),
        *(answer(601 + i, 600, LONG) for i in range(2)),
        answer(701, 700, LONG),
        answer(702, 700, LONG),
    ]
    shards(tmp_path, [*unfit, *thread(800, LONG, "short"), *thread(900, "short", LONG)])
    test, train = build(tmp_path, "test"), build(tmp_path, "train")
    assert {*test.queries.ids, *train.queries.ids} == {"q800", "q900"}
    pool = {question_of(document) for built in (test, train) for document in built.documents.ids}
    assert pool <= {300, 400, 500, 600, 700, 800, 900}, "what has no long answer is no distractor either"


def test_the_splits_share_no_question_and_no_answer(tmp_path: Path) -> None:
    shards(tmp_path, dump(40))
    test, train = build(tmp_path, "test"), build(tmp_path, "train")
    assert (test.split, train.split) == ("test", "train")
    assert len(train.queries) > len(test.queries) > 0
    asked = [{int(query[1:]) for query in built.queries.ids} for built in (test, train)]
    answered = [{question_of(document) for document in built.documents.ids} for built in (test, train)]
    assert not answered[0] & answered[1]
    assert asked[0] < answered[0]
    assert asked[1] < answered[1]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shuffled=st.randoms(use_true_random=False), parts=st.integers(1, 4))
def test_the_order_of_rows_and_shards_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffled: random.Random, parts: int
) -> None:
    monkeypatch.setattr(stackoverflow, "_QUERIES", {"test": 2, "train": 3})
    monkeypatch.setattr(stackoverflow, "_DOCUMENTS", {"test": 9, "train": 12})  # so that 21 of 30 questions are kept
    posts = dump(30)
    expected = build(shards(tmp_path / "straight", posts, 1)).content
    questions = {100 * i: 100 * i + 1 for i in range(1, 31)}
    answers = {number: [int(str(p["Id"])) for p in posts if p.get("ParentId") == number] for number in questions}
    from_all, _ = stackoverflow.drawn(questions, answers, "test")
    shuffled.shuffle(posts)
    folder = tmp_path / f"{parts}-{shuffled.random()}"
    built = build(shards(folder, posts, parts))
    assert built.content == expected
    assert (len(built.queries), len(built.documents)) == (2, 9)
    assert built.documents.ids == tuple(f"a{number}" for number in from_all.documents), "the first by hash were kept"


def test_a_source_that_is_large_enough_gives_the_papers_sizes() -> None:
    numbers = range(10, 100_000, 10)
    answers = {number: [number + i for i in range(1, 3 + number // 10 % 4)] for number in numbers}
    questions = {number: number + 1 for number in numbers}
    test, share = stackoverflow.drawn(questions, answers, "test")
    train, _ = stackoverflow.drawn(questions, answers, "train")
    table10 = task_card("stackoverflow").table10
    assert share == 1
    assert table10 is not None
    assert (len(test.queries), len(test.documents)) == (table10.test_queries, table10.test_documents)
    assert (len(train.queries), len(train.documents)) == (table10.train_queries, table10.train_documents)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(1, 500), st.tuples(st.integers(1, 6), st.booleans()), max_size=60))
def test_whatever_is_drawn_keeps_the_rules(threads: dict[int, tuple[int, bool]]) -> None:
    answers = {number: [1000 * number + i for i in range(count)] for number, (count, _) in threads.items()}
    questions = {number: 1000 * number for number, (_, accepted) in threads.items() if accepted}
    draws = [stackoverflow.drawn(questions, answers, split)[0] for split in ("test", "train")]
    assert not set(draws[0].queries) & set(draws[1].queries)
    assert not {n // 1000 for n in draws[0].documents} & {n // 1000 for n in draws[1].documents}
    for draw in draws:
        assert len(set(draw.documents)) == len(draw.documents)
        assert not {n // 1000 for n in draw.distractors} & (set(draws[0].queries) | set(draws[1].queries))
        for number, relevant in draw.queries.items():
            assert number in questions
            assert len(relevant) > 1
            assert relevant == answers[number]
    assert bool(draws[0].queries) == any(len(answers[number]) > 1 for number in questions)


def test_the_manifest_tells_licences_what_was_dropped_and_how_the_source_falls_short(tmp_path: Path) -> None:
    odd = [
        answer(1, None),
        answer(2, 0),
        answer(3, 100, None),
        answer(4, 100, " \n"),
        answer(None, 100),
        question(5, title=""),
        question(6, body=None),
        {"Id": 7, "PostTypeId": 5, "Body": "a tag wiki"},
        {"Id": 8, "PostTypeId": None},
        answer(104, 100, "other licence", "CC BY-SA 4.0"),
    ]
    folder = shards(tmp_path, [*thread(100, LONG, "short"), *odd])
    built = build(folder)
    assert built.documents.ids == ("a101", "a102", "a104")
    assert built.provenance.dropped == {
        "answers that name no question": 2,
        "answers without a text": 2,
        "posts without an id or a type": 2,
        "questions without a title or a text": 2,
    }
    assert built.provenance.source == "posts of Stack Overflow, 2 files"
    assert built.provenance.licences == {"CC BY-SA 3.0": 2, "CC BY-SA 4.0": 2}
    sha256 = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert built.provenance.source_sha256 == sha256
    combined = hashlib.sha256("".join(f"{digest}\n" for digest in sorted(sha256.values())).encode()).hexdigest()
    assert built.provenance.source_revision == f"sha256:{combined}"
    assert built.provenance.equivalent.endswith("not documented; the source is enough for 0.01% of the paper's size")


def test_columns_may_be_narrower_wider_or_null_throughout(tmp_path: Path) -> None:
    posts = thread(100, LONG, "short")
    kinds = {"Id": pa.int32(), "PostTypeId": pa.int8(), "Body": pa.large_string()}
    schema = pa.schema([(name, kinds.get(name, kind)) for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)])
    shards(tmp_path, [posts[0]], 1, schema)
    absent = {"AcceptedAnswerId": pa.null(), "Title": pa.null(), "ContentLicense": pa.null()}
    fields = [(name, absent.get(name, kind)) for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)]
    answers = [{**post, "ContentLicense": None} for post in posts[1:]]
    pq.write_table(pa.Table.from_pylist(answers, pa.schema(fields)), tmp_path / "answers.parquet")
    built = build(tmp_path)
    assert built.qrels == {"q100": {"a101": 1, "a102": 1}}
    assert built.provenance.licences == {"CC BY-SA 4.0": 1, "not stated": 2}


def without(column: str) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        pq.write_table(pq.read_table(path).drop_columns([column]), path)

    return damage


def retyped(column: str, kind: pa.DataType) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        table = pq.read_table(path)
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, pa.nulls(len(table), kind)), path)

    return damage


def scrambled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    where = pq.ParquetFile(path).metadata.row_group(1).column(SCHEMA.names.index("Body")).data_page_offset
    content[where : where + 60] = bytes(60)
    path.write_bytes(content)


def not_text(path: Path) -> None:
    table = pq.read_table(path)
    bodies = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.column_names.index("Body"), "Body", bodies), path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("ParentId"), "the column 'ParentId' is missing"),
        (retyped("Id", pa.string()), "the column 'Id' holds string, not whole numbers"),
        (retyped("Body", pa.int64()), "the column 'Body' holds int64, not texts"),
        (retyped("PostTypeId", pa.null()), "the column 'PostTypeId' holds null"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "not a parquet file, or cut off"),
        (lambda path: path.write_bytes(b""), "not a parquet file, or cut off"),
        (lambda path: path.write_bytes(b"Id,Body\n1,x\n" * 9), "not a parquet file, or cut off"),
        (scrambled, "damaged after row 7"),
        (not_text, "damaged after row 0 (In column 4: Invalid: Invalid UTF8 sequence"),
    ],
    ids=["column", "number", "text", "null", "cut", "empty", "csv", "page", "bytes"],
)
def test_a_damaged_file_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], said: str
) -> None:
    monkeypatch.setattr(stackoverflow, "_TEXTS_AT_ONCE", 7)
    shards(tmp_path, dump())
    damage(tmp_path / "posts-1.parquet")
    message = refusal(tmp_path)
    assert f"{tmp_path / 'posts-1.parquet'}: {said}" in message
    assert message.endswith("Get the file again.")


def test_a_post_that_stands_twice_is_refused(tmp_path: Path) -> None:
    shards(tmp_path, [*dump(), answer(105, 100, "again"), answer(105, 100, "and again")])
    assert f"{tmp_path / 'posts-1.parquet'}: the post 105 stands twice" in refusal(tmp_path)
    shards(tmp_path, [*thread(100, LONG, "short"), answer(102, 900, "to another question")])
    assert "the post 102 stands twice" in refusal(tmp_path)


def test_a_source_without_enough_questions_says_what_is_missing(tmp_path: Path) -> None:
    shards(tmp_path, thread(100, "short", "short"))
    assert "too few questions for a test split. Of 0 with an answer of 10,000 characters or more" in refusal(tmp_path)
    shards(tmp_path, thread(100, LONG, "short"))
    assert len(build(tmp_path).queries) == 1
    assert "too few questions for a train split" in refusal(tmp_path, "train")


def test_texts_missing_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stackoverflow, "_MOST_BLANK", 5)
    shards(tmp_path, [answer(i, 100, "") for i in range(1, 20)], 1)
    assert "more than 5 posts up to here have no text" in refusal(tmp_path)


def test_files_that_change_between_the_passes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path, dump(), 1)
    choose = stackoverflow.drawn

    def chosen_and_gone(*given: object) -> object:
        shards(tmp_path, dump(1), 1)
        return choose(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(stackoverflow, "drawn", chosen_and_gone)
    assert "were gone when they were read again" in refusal(tmp_path)


def test_only_parquet_files_are_held_whatever_their_names(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    (tmp_path / "._posts.parquet").write_bytes(b"what a Mac leaves")
    assert not stackoverflow.holds("stackoverflow", tmp_path)
    assert "holds no parquet file" in refusal(tmp_path)
    shards(tmp_path, dump(), 1)
    assert stackoverflow.holds("stackoverflow", tmp_path)
    file = (tmp_path / "posts-0.parquet").rename(tmp_path / "x.parquet")
    assert stackoverflow.holds("stackoverflow", file)
    assert not stackoverflow.holds("stackoverflow", tmp_path / "readme.txt")
    assert build(file).content == build(tmp_path).content


def test_the_hub_dataset_is_listed_and_read_at_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path, dump())
    asked = []
    names = ["README.md", "posts-0.parquet", "posts-1.parquet"]

    def fetched(repo: str, name: str, *, revision: str = "main") -> SourceFile:
        asked.append((repo, name, revision))
        return SourceFile(tmp_path / name, f"{repo} {name}", "c1", "Delete it.")

    def listed(_: object, repo: str, *, revision: str, repo_type: str) -> Sequence[str]:
        assert (repo, revision, repo_type) == ("mikex86/stackoverflow-posts", "c1", "dataset")
        return names

    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", listed)
    monkeypatch.setattr(hub, "no_connection", lambda _: "")
    monkeypatch.setattr(stackoverflow, "hub_file", fetched)
    built = build(None)
    revisions = zip(names, ("main", "c1", "c1"), strict=True)
    assert asked == [("mikex86/stackoverflow-posts", name, revision) for name, revision in revisions]
    assert built.content == build(tmp_path).content
    assert built.provenance.source == "mikex86/stackoverflow-posts, 2 files"
    assert built.provenance.source_revision == "c1"

    def gone(*_: object, **__: object) -> Sequence[str]:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", gone)
    assert build(None).content == built.content, "the list is remembered: without the hub it serves as well"
    (note,) = (tmp_path / "assets").rglob("names/c1")
    note.write_text("README.md\n", encoding="utf-8")
    assert "holds no parquet file at c1" in refusal(None)
    note.unlink()
    with pytest.raises(HubError, match=r"Cannot list the files of .*: no route to host\."):
        build(None)

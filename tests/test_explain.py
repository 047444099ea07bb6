"""`loco explain`: what it says of a query is what stands in the run and in the task, or it says nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import typer
from tasks import small_task
from typer.testing import CliRunner

from loco.commands.explain import explain_command
from loco.errors import LocoError
from loco.evaluation import Options, evaluate_tasks
from loco.explain import Cut, Explanation, Relevant, explain
from loco.models.card import ModelCard
from loco.models.protocols import Encoder, Retriever
from loco.models.registry import load_model, model_card
from loco.report.explain import print_explanation
from loco.results import read_result, run_path
from loco.tasks.data import TaskData, write_task
from loco.tokens.reference import count_tokens
from loco.trec import trec_id

HOSTILE = "\x1b[2J[red]no[/red] \x9b31m \u202eright to left\\"


def many_documents() -> TaskData:
    """150 documents on fish, the fresher the higher the number, and one on birds that nobody finds by its words."""
    documents = {f"d{i:03}": f"fish {'fresh ' * i}end" for i in range(150)} | {"bird": "A heron. " + "wing " * 700}
    return small_task(
        {"fish/stale": "fish", "fish/fresh": "fresh", "birds": "stork", "every bird": "heron"},
        documents,
        {
            "fish/stale": {"d140": 1, "d000": 2},
            "fish/fresh": {"d149": 1},
            "birds": {"bird": 1},
            "every bird": {"bird": 1},
        },
    )


def measured(folder: Path, task: TaskData, model: str, strategy: str | None = None) -> Path:
    write_task(task, folder / "data")
    options = Options(strategy, cache=folder / "cache")
    tasks = evaluate_tasks(
        model_card(model), ["qmsum"], "mini", options, "", data=folder / "data", out=folder / "results"
    )
    (done,) = tasks
    assert done.path is not None
    return done.path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task as built, with results of BM25 and of an encoder that cuts at 512 words. Not to be changed."""
    folder = tmp_path_factory.mktemp("explain")
    measured(folder, many_documents(), "bm25")
    measured(folder, many_documents(), "hash-512", "truncate")
    return folder


def path_of(folder: Path, model: str) -> Path:
    (path,) = (folder / "results").glob(f"{model}/*/mini/qmsum.json")
    return path


def run_of(path: Path, query: str) -> list[tuple[str, float]]:
    lines = [line.split() for line in gzip.decompress(run_path(path).read_bytes()).decode().splitlines()]
    return [(document, float(score)) for asked, _, document, _, score, _ in lines if asked == trec_id(query)]


def only(explanation: Explanation) -> Relevant:
    (one,) = explanation.relevant
    return one


# --- What it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["bm25", "hash-512"])
@pytest.mark.parametrize("query", ["fish/stale", "fish/fresh", "birds", "every bird"])
def test_what_was_retrieved_is_what_stands_in_the_run(folder: Path, model: str, query: str) -> None:
    path = path_of(folder, model)
    said = explain(path, query, folder / "data")
    run, task = run_of(path, query), many_documents()
    assert [(one.document, one.score) for one in said.retrieved] == run[:10]
    assert [one.rank for one in said.retrieved] == list(range(1, len(run[:10]) + 1))
    assert [one.relevant for one in said.retrieved] == [document in task.qrels[query] for document, _ in run[:10]]
    texts = dict(task.documents)
    assert [one.tokens for one in said.retrieved] == list(count_tokens(texts[one.document] for one in said.retrieved))
    assert {one.document: one.grade for one in said.relevant} == task.qrels[query]
    ranks = {document: rank for rank, (document, _) in enumerate(run, start=1)}
    assert {one.document: one.rank for one in said.relevant} == {name: ranks.get(name) for name in task.qrels[query]}
    result = read_result(path)
    assert result.measurement is not None
    assert said.ndcg_at_10 == result.measurement.per_query[query]
    assert (said.text, said.query_tokens) == (
        dict(task.queries)[query],
        1 if "bird" not in query else said.query_tokens,
    )


def test_bm25s_rank_is_that_of_its_own_run_and_goes_on_beyond_it(folder: Path) -> None:
    """BM25 prefers the shortest documents on fish, so the relevant one of 142 words stands far down."""
    task = many_documents()
    bm25 = load_model(model_card("bm25"))
    assert isinstance(bm25, Retriever)
    whole = bm25.rank(task, len(task.documents)).hits
    for query in ("fish/stale", "fish/fresh", "every bird"):
        order = [hit.document for hit in whole[query]]
        for one in explain(path_of(folder, "bm25"), query, folder / "data").relevant:
            assert one.bm25_rank == order.index(one.document) + 1
            assert one.rank == (one.bm25_rank if one.bm25_rank <= 100 else None)
    best, worst = explain(path_of(folder, "bm25"), "fish/stale", folder / "data").relevant
    assert (best.document, best.rank, worst.document, worst.rank) == ("d000", 1, "d140", None)
    assert worst.bm25_rank is not None
    assert 100 < worst.bm25_rank <= 150


def test_a_document_without_a_common_word_has_no_rank_by_bm25(folder: Path) -> None:
    said = only(explain(path_of(folder, "hash-512"), "birds", folder / "data"))
    assert said.bm25_rank is None
    assert only(explain(path_of(folder, "hash-512"), "every bird", folder / "data")).bm25_rank == 1


def test_it_says_what_the_model_has_not_read(folder: Path) -> None:
    task = many_documents()
    read = len(dict(task.documents)["bird"].replace(".", "").split())
    cut = only(explain(path_of(folder, "hash-512"), "birds", folder / "data")).cut
    assert cut == Cut(round(1 - 512 / read, 6), read, 512)
    assert only(explain(path_of(folder, "hash-512"), "fish/fresh", folder / "data")).cut == Cut(0.0)
    assert only(explain(path_of(folder, "bm25"), "birds", folder / "data")).cut == Cut(0.0)


def test_what_a_result_does_not_say_is_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = measured(tmp_path, small_task(), "bm25")
    content = json.loads(path.read_text())
    del content["measurement"]["buckets"]
    path.write_text(json.dumps(content))
    said = explain(path, "q1", tmp_path / "data")
    assert only(said).cut is None
    print_explanation(said)
    assert "How much was cut is not known" in capsys.readouterr().out


def test_the_model_itself_is_not_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def loading(card: ModelCard) -> Retriever | Encoder:
        asked.append(card.name)
        return load_model(card)

    monkeypatch.setattr("loco.explain.load_model", loading)
    explain(path_of(folder, "hash-512"), "birds", folder / "data")
    assert asked == ["bm25"]


# --- Which query -----------------------------------------------------------------------------------------------------


def test_the_beginning_of_an_id_will_do_where_only_one_has_it(folder: Path) -> None:
    path = path_of(folder, "bm25")
    assert explain(path, "fish/f", folder / "data").query == "fish/fresh"
    assert explain(path, "ev", folder / "data").query == "every bird"


def test_a_whole_id_is_meant_even_where_longer_ones_begin_with_it(tmp_path: Path) -> None:
    task = small_task({"q1": "budget", "q10": "meeting"}, qrels={"q1": {"d1": 1}, "q10": {"d2": 1}})
    path = measured(tmp_path, task, "bm25")
    assert explain(path, "q1", tmp_path / "data").query == "q1"


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("fish/frsh", r"No query 'fish/frsh'\. Did you mean 'fish/fresh'\? See: the per-query values in .*qmsum\.json"),
        ("fish", r"2 queries begin with 'fish': 'fish/fresh', 'fish/stale'\. Write more of the id\."),
        ("", r"4 queries begin with ''"),
    ],
)
def test_a_query_nobody_has_or_several_have_is_refused_in_one_line(folder: Path, query: str, line: str) -> None:
    with pytest.raises(LocoError, match=line) as refused:
        explain(path_of(folder, "bm25"), query, folder / "data")
    assert "\n" not in str(refused.value)


# --- What it refuses -------------------------------------------------------------------------------------------------


def test_other_contents_or_none_are_refused(tmp_path: Path) -> None:
    path = measured(tmp_path, small_task(), "bm25")
    write_task(small_task(documents={"d1": "a", "d2": "b", "d3": "c"}), tmp_path / "other")
    with pytest.raises(LocoError, match=r"qmsum\.json was measured on other contents of task 'qmsum' \(mini\) than"):
        explain(path, "q1", tmp_path / "other")
    with pytest.raises(LocoError, match=r"Task 'qmsum' \(mini\) is not in .*Run: loco build-data qmsum"):
        explain(path, "q1", tmp_path / "nowhere")


def test_a_reported_result_has_nothing_to_explain(tmp_path: Path) -> None:
    path = measured(tmp_path, small_task(), "bm25")
    content = json.loads(path.read_text()) | {"origin": "reported", "source": "a paper", "measurement": None}
    path.write_text(json.dumps(content))
    with pytest.raises(LocoError, match="was reported by others, without a ranking"):
        explain(path, "q1", tmp_path / "data")


def test_a_run_that_is_lost_or_anothers_is_refused(tmp_path: Path) -> None:
    path = measured(tmp_path, small_task(), "bm25")
    run_path(path).write_bytes(gzip.compress(b"q1 Q0 d3 1 1 other\n", mtime=0))
    with pytest.raises(LocoError, match=r"is not the run that qmsum\.json was scored from"):
        explain(path, "q1", tmp_path / "data")
    run_path(path).unlink()
    with pytest.raises(LocoError, match=r"qmsum\.run\.gz is missing"):
        explain(path, "q1", tmp_path / "data")


@pytest.mark.parametrize(
    "run",
    [
        b"no gzip",
        gzip.compress(b"q1 Q0 d1 1 1 t\n" * 999, mtime=0)[:-9],
        gzip.compress(b"q1 Q0 nowhere 1 1 t\n", mtime=0),
        gzip.compress(b"q1 Q0 d1 1\n", mtime=0),
        gzip.compress(b"q1 Q0 d1 1 much t\n", mtime=0),
        gzip.compress(b"q1 Q0 d1 1 nan t\n", mtime=0),
        gzip.compress(b"q1 Q0 \xff 1 1 t\n", mtime=0),
        gzip.compress(b"q1 " + b"x" * 3_000_000, mtime=0),
    ],
    ids=["no gzip", "cut", "unknown document", "short row", "no score", "nan", "no text", "long line"],
)
def test_a_damaged_run_is_refused_in_one_line_though_the_result_vouches_for_it(tmp_path: Path, run: bytes) -> None:
    path = measured(tmp_path, small_task(), "bm25")
    run_path(path).write_bytes(run)
    content = json.loads(path.read_text())
    content["measurement"]["run_sha256"] = hashlib.sha256(run).hexdigest()
    path.write_text(json.dumps(content))
    with pytest.raises(LocoError, match=r"is no run of task 'qmsum'") as refused:
        explain(path, "q1", tmp_path / "data")
    assert "\n" not in str(refused.value)


def test_a_result_with_queries_that_its_task_does_not_have_is_refused(tmp_path: Path) -> None:
    path = measured(tmp_path, small_task(), "bm25")
    content = json.loads(path.read_text())
    values = content["measurement"]["per_query"]
    values["made up"] = values.pop("q1")
    path.write_text(json.dumps(content))
    with pytest.raises(LocoError, match="names a query 'made up' that its own task does not have"):
        explain(path, "made up", tmp_path / "data")


# --- The command -----------------------------------------------------------------------------------------------------


def said(path: Path, query: str, data: Path, *more: str) -> str:
    app = typer.Typer()
    app.command()(explain_command)
    done = CliRunner().invoke(app, [str(path), query, "--data", str(data), *more])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_tables_say_where_everything_stood(folder: Path) -> None:
    lines = [" ".join(line.split()) for line in said(path_of(folder, "bm25"), "fish/s", folder / "data").splitlines()]
    assert lines[0] == "bm25, full, on qmsum (mini)"
    assert lines[1] == "Query fish/stale: fish"
    assert any(line.startswith("1 ") and " d000 relevant fish end" in line for line in lines)
    assert any(line.startswith("not in the first 100 1") and " nothing all d140 " in line for line in lines)
    lines = said(path_of(folder, "hash-512"), "birds", folder / "data").splitlines()
    assert any("no word shared" in line and "512 of 702" in line and "27.1%" in line for line in lines)


def test_a_query_that_finds_nothing_says_so(folder: Path) -> None:
    assert "Nothing was retrieved." in said(path_of(folder, "bm25"), "birds", folder / "data")


def test_json_says_the_same(folder: Path) -> None:
    path = path_of(folder, "hash-512")
    printed = json.loads(said(path, "birds", folder / "data", "--json"))
    explained = explain(path, "birds", folder / "data")
    assert printed["relevant"][0]["cut"] == asdict(explained.relevant[0])["cut"]
    assert [one["document"] for one in printed["retrieved"]] == [one.document for one in explained.retrieved]
    assert printed["query"] == "birds"


def test_no_text_steers_the_terminal(tmp_path: Path) -> None:
    """Ids may hold anything but tabs and line breaks, texts anything at all."""
    query, document, text = f"q{HOSTILE}", f"d{HOSTILE}", f"word {HOSTILE}"
    task = small_task({query: text}, {document: text}, {query: {document: 1}})
    path = measured(tmp_path, task, "bm25")
    printed = said(path, "q", tmp_path / "data")
    as_json = said(path, "q", tmp_path / "data", "--json")
    for output in (printed, as_json):
        assert all(sign.isprintable() or sign == "\n" for sign in output)
    assert printed.count("\\x1b[2J[red]no[/red] \\x9b31m \\u202eright to left\\") >= 5
    assert json.loads(as_json)["text"] == f"word {HOSTILE}"

"""Where needles come from: files that are right, files that are not, the hub, and the command around them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hub_server import Served, hub
from typer.testing import CliRunner, Result

from loco.cli import app
from loco.errors import LocoError
from loco.needle.drawing import needle_svg
from loco.needle.haystacks import Settings, draw
from loco.needle.published import published
from loco.needle.source import source_at
from loco.results import read_record
from loco.results.needle import NeedleResult

QUESTIONS = [
    {
        "question": f"who wrote letter {number}",
        "answers": [f"writer{number}"],
        "ctxs": [{"title": "Letters", "text": f" Letter {number} is by writer{number}. ", "isgold": True}],
    }
    for number in range(30)
]


def oracle(folder: Path, rows: list[object] = QUESTIONS, name: str = "nq-open-oracle.jsonl.gz") -> Path:  # type: ignore[assignment]
    """The oracle file, gzipped if its name says so."""
    content = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder / name


def corpus(rows: int = 60) -> str:
    return "".join(json.dumps({"_id": f"doc{n}", "title": "T", "text": f" passage {n} "}) + "\n" for n in range(rows))


def queries(rows: int = 8) -> str:
    return "".join(json.dumps({"_id": f"test{n}", "text": f"question {n}"}) + "\n" for n in range(rows))


def qrels(rows: int = 8) -> str:
    return "query-id\tcorpus-id\tscore\n" + "".join(
        f"test{n}\tdoc{n}\t1\ntest{n}\tdoc{n + 20}\t1\n" for n in range(rows)
    )


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(corpus())
    (folder / "queries.jsonl").write_text(queries())
    (folder / "qrels" / "test.tsv").write_text(qrels())
    return folder


@pytest.mark.parametrize("name", ["nq-open-oracle.jsonl.gz", "nq-open-oracle.jsonl"])
def test_the_oracle_file_is_read_by_its_path_or_its_folder(name: str, tmp_path: Path) -> None:
    path = oracle(tmp_path, name=name)
    by_file, by_folder = source_at(str(path)), source_at(str(tmp_path))
    assert by_file == by_folder
    assert by_file.answers_known
    assert by_file.questions[3].gold == "Letter 3 is by writer3."
    assert len(by_file.passages) == len(by_file.questions) == 30
    assert list(by_file.provenance.source_sha256) == ["nq-open-oracle.jsonl.gz"]


def test_rows_without_a_gold_passage_or_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    wrong = [{**QUESTIONS[0], "answers": [" "]}, {**QUESTIONS[0], "ctxs": []}]
    found = source_at(str(oracle(tmp_path, [*QUESTIONS, *wrong])))
    assert len(found.questions) == 30
    assert found.provenance.dropped == {"questions without a gold passage or an answer": 2}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{not json", "line 2: not JSON"),
        ('{"question": 5, "answers": [], "ctxs": []}', "line 2: the field 'question'"),
        ('{"answers": [], "ctxs": []}', "'question' is missing"),
        ('"text"', "line 2"),
        ('{"question": "\\ud800", "answers": [], "ctxs": []}', "line 2: not JSON"),
    ],
)
def test_a_wrong_line_is_named(row: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(LocoError, match=said):
        source_at(str(oracle(tmp_path, [QUESTIONS[0], row])))


def test_a_damaged_or_empty_or_missing_file_is_one_line(tmp_path: Path) -> None:
    path = oracle(tmp_path)
    whole = path.read_bytes()
    for content, said in ((whole[:-20], "damaged gzip"), (b"no gzip", "damaged gzip"), (gzip.compress(b""), "empty")):
        path.write_bytes(content)
        with pytest.raises(LocoError, match=said):
            source_at(str(path))
    path.unlink()
    with pytest.raises(LocoError, match="does not exist"):
        source_at(str(path))
    with pytest.raises(LocoError, match="no source of needles"):
        source_at(str(tmp_path))


def test_a_beir_folder_gives_the_first_relevant_passage_and_hides_it_among_irrelevant_ones(tmp_path: Path) -> None:
    found = source_at(str(beir(tmp_path / "nq")))
    assert not found.answers_known
    assert [(one.identifier, one.gold) for one in found.questions] == [(f"test{n}", f"passage {n}") for n in range(8)]
    relevant = {f"passage {n}" for start in (0, 20) for n in range(start, start + 8)}
    assert relevant.isdisjoint(found.passages)
    assert len(found.passages) == 60 - len(relevant)


def test_a_beir_corpus_in_another_order_makes_the_same_haystacks(tmp_path: Path) -> None:
    settings = Settings(queries=5, positions=3, distractors=4)
    first = draw(source_at(str(beir(tmp_path / "nq"))), settings)
    path = tmp_path / "nq" / "corpus.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert draw(source_at(str(tmp_path / "nq")), settings).sha256 == first.sha256


def test_an_incomplete_beir_folder_is_told_what_it_lacks(tmp_path: Path) -> None:
    folder = beir(tmp_path / "nq")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nother\tdoc1\t1\n")
    with pytest.raises(LocoError, match="no query has a relevant passage"):
        source_at(str(folder))
    (folder / "queries.jsonl").unlink()
    with pytest.raises(LocoError, match=r"has no queries\.jsonl"):
        source_at(str(folder))


def test_beir_comes_from_the_hub(tmp_path: Path) -> None:
    files = {
        ("BeIR/nq", "corpus.jsonl.gz"): Served(gzip.compress(corpus().encode())),
        ("BeIR/nq", "queries.jsonl.gz"): Served(gzip.compress(queries().encode())),
        ("BeIR/nq-qrels", "test.tsv"): Served(qrels().encode(), git=True),
    }
    code = (
        "import json; from loco.needle.source import source_at; found = source_at('hub'); "
        "print(json.dumps([len(found.questions), len(found.passages), found.provenance.source, "
        "found.questions[0].gold]))"
    )
    with hub(files) as running:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": running.url,
            "HF_HOME": str(tmp_path),
        }
        ran = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    assert ran.returncode == 0, ran.stderr
    source = "BeIR/nq queries.jsonl.gz, BeIR/nq-qrels test.tsv, BeIR/nq corpus.jsonl.gz"
    assert json.loads(ran.stdout) == [8, 44, source, "passage 0"]


def test_the_synthetic_source_is_as_large_as_it_says_and_its_questions_have_one_answer() -> None:
    found = source_at("synthetic")
    assert len({one.gold for one in found.questions}) == 1000
    assert len(set(found.passages)) == 4000
    for one in found.questions[:50]:
        (town,) = one.answers
        assert town in one.gold
        assert town not in one.text
        assert not any(town in passage for passage in found.passages)


def test_the_real_oracle_file_is_read_whole(shared: Path) -> None:
    found = source_at(str(shared / "data" / "nq"))
    assert len(found.questions) == 2655
    assert found.provenance.dropped == {}


def test_the_published_curves_are_those_of_the_facts(shared: Path) -> None:
    facts = json.loads((shared / "facts" / "published-scores.json").read_text())["needle_ndcg10_by_position"]
    assert {curve.name: list(curve.ndcg) for curve in published().model} == facts["rows"]
    assert published().source == facts["source"]


# --- The command -----------------------------------------------------------------------------------------------------


def needle(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["needle-haystack", *arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with its own home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCO_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_command_writes_a_result_and_a_figure_and_prints_a_table(here: Path) -> None:
    oracle(here)
    ran = needle("--model", "bm25", "--from", ".", "--queries", "5", "--positions", "3", "--distractors", "4")
    assert ran.exit_code == 0, ran.output
    (path,) = (here / "results" / "bm25" / "full" / "needle").glob("nq-oracle-*.json")
    result = read_record(path)
    assert isinstance(result, NeedleResult)
    assert result.order_free
    assert "one position was ranked and stands for all 3" in ran.output
    assert f"Chance is {result.chance:.4f}" in ran.output
    svg = ElementTree.parse(path.with_suffix(".svg"))
    assert "m2bert-32k (paper)" in "".join(svg.getroot().itertext())


def test_several_strategies_share_a_figure_and_state_what_was_saved(here: Path) -> None:
    few = ("--queries", "4", "--positions", "5", "--distractors", "30")
    ran = needle("--model", "hash-512", "--strategy", "truncate,chunk", "--plot", "all.svg", *few)
    assert ran.exit_code == 0, ran.output
    assert ran.output.count("inputs asked for") == 2
    drawn = "".join(ElementTree.parse(here / "all.svg").getroot().itertext())
    assert "hash-512, truncate(512)" in drawn
    assert "hash-512, chunk(512, overlap=0)" in drawn
    assert not list((here / "results").rglob("*.svg"))


def test_lengths_make_a_map_and_machines_read_json(here: Path) -> None:
    ran = needle("--model", "bm25", "--lengths", "2k,1k", "--queries", "3", "--positions", "3", "--json")
    assert ran.exit_code == 0, ran.output
    (printed,) = json.loads(ran.stdout)
    assert printed["haystacks"]["lengths"] == [1024, 2048]
    assert [cell["length"] for cell in printed["cells"]] == [1024] * 3 + [2048] * 3
    drawn = "".join(ElementTree.parse(Path(printed["path"]).with_suffix(".svg")).getroot().itertext())
    assert "1k tokens" in drawn
    result = read_record(printed["path"])
    assert isinstance(result, NeedleResult)
    with pytest.raises(LocoError, match="one result"):
        needle_svg([result, result])


def test_results_of_different_haystacks_lie_side_by_side(here: Path) -> None:
    few = ("--model", "bm25", "--queries", "3", "--positions", "3")
    for more in ((), ("--haystack-seed", "1"), ("--lengths", "1k"), ("--distractors", "5")):
        assert needle(*few, *more).exit_code == 0
    assert len(list((here / "results" / "bm25" / "full" / "needle").glob("*.json"))) == 4


def test_the_results_commands_know_needle_results(here: Path) -> None:
    assert needle("--model", "bm25", "--queries", "3", "--positions", "3").exit_code == 0
    shown = CliRunner().invoke(app, ["results", "show", "results"])
    assert shown.exit_code == 0, shown.output
    assert "3 queries of synthetic" in shown.output
    checked = CliRunner().invoke(app, ["results", "validate", "results"])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--lengths", "1k,many"), "'many' is no length"),
        (("--lengths", "1k", "--distractors", "3"), "leave out one"),
        (("--positions", "50"), "raise --distractors"),
        (("--plot", "figure.png"), "figure.svg"),
        (("--from", "nowhere"), "does not exist"),
        (("--strategy", "chunk"), "cannot be run under chunk"),
        (("--queries", "100000"), "choose fewer"),
        (("--lengths", "10"), "too few"),
    ],
)
def test_a_mistake_is_one_line(wrong: tuple[str, ...], said: str, here: Path) -> None:
    ran = needle("--model", "bm25", *wrong)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (here / "results").exists()


def test_a_query_of_a_beir_folder_has_words_and_an_id_that_can_be_printed(tmp_path: Path) -> None:
    folder = beir(tmp_path / "nq")
    path = folder / "queries.jsonl"
    path.write_text(queries().replace("question 3", "  "))
    found = source_at(str(folder))
    assert "test3" not in [one.identifier for one in found.questions]
    assert sum(found.provenance.dropped.values()) == 1
    for wrong in ("test\\u001b[31m", "t" * 300):
        path.write_text(queries().replace("test3", wrong))
        with pytest.raises(LocoError, match="line 4: the field '_id'"):
            source_at(str(folder))


@pytest.mark.parametrize("plot", ["there.svg", "there.txt/figure.svg"])
def test_a_figure_that_cannot_be_written_is_told_before_anything_is_measured(plot: str, here: Path) -> None:
    (here / "there.svg").mkdir()
    (here / "there.txt").write_text("a file")
    ran = needle("--model", "bm25", "--plot", plot)
    assert ran.exit_code == 2
    assert ran.stderr.count("\n") == 1
    assert not (here / "results").exists()

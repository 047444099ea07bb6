"""A result file can be believed: it is checked when written and when read."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import CHECKOUT
from tasks import model_card, small_task

from loco.errors import LocoError
from loco.evaluation import Options, evaluate_tasks
from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco.rank.ranking import Coverage, Hit, Ranking, TextCoverage
from loco.results import (
    Result,
    check_run,
    json_schema,
    read_record,
    read_result,
    result_files,
    result_path,
    run_path,
    write_result,
)
from loco.tasks.data import TaskData, write_task
from loco.trec import trec_run


class Alphabetical:
    """Ranks every document by its id."""

    def __init__(self, card: ModelCard, runtime: Runtime) -> None:
        self.card = card

    def rank(self, task: TaskData, k: int) -> Ranking:
        hits = [Hit(document, 1 / place) for place, document in enumerate(sorted(task.documents.ids)[:k], start=1)]
        seen = TextCoverage(texts=3, texts_cut=0, tokens=10, tokens_seen=10)
        return Ranking(dict.fromkeys(task.queries.ids, hits), Coverage(seen, seen))


CARD = model_card("org/alphabetical <v1>", "test_results:Alphabetical")


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    write_task(small_task(), tmp_path / "data")
    (done,) = evaluate_tasks(
        CARD, ["qmsum"], "mini", Options(), "loco eval ...", data=tmp_path / "data", out=tmp_path / "results"
    )
    assert done.path is not None
    return done.path


def changed(path: Path, **changes: Any) -> Path:
    """The result with some fields replaced; a dotted name is written with double underscores."""
    content = json.loads(path.read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        target = content
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(content))
    return path


def test_what_was_written_reads_back_equal(result_file: Path, tmp_path: Path) -> None:
    result = read_result(result_file)
    again = write_result(result, None, tmp_path / "copy")
    assert read_result(again) == result
    assert again.read_bytes() == result_file.read_bytes()


def test_a_result_says_what_it_was_measured_on(result_file: Path) -> None:
    result = read_result(result_file)
    measurement = result.measurement
    assert measurement is not None
    assert measurement.per_query == {"q1": 1.0, "q2": pytest.approx(1 / math.log2(3), abs=1e-6)}
    assert result.metrics["ndcg@10"].value == pytest.approx((1 + 1 / math.log2(3)) / 2, abs=1e-6)
    assert measurement.data.content == small_task().content
    assert measurement.command == "loco eval ..."
    assert list(measurement.phases) == ["load", "rank", "score"]
    assert {"python", "numpy", "pytrec-eval-terrier"} <= set(measurement.environment.versions)
    assert measurement.environment.cores >= 1


def test_the_run_beside_it_is_a_trec_run(result_file: Path) -> None:
    lines = gzip.decompress(run_path(result_file).read_bytes()).decode().splitlines()
    assert lines[0].split() == ["q1", "Q0", "d1", "1", "1", "org/alphabetical%20<v1>.full"]
    assert len(lines) == 6


def test_white_space_in_ids_cannot_break_a_run_and_the_same_ranking_gives_the_same_bytes() -> None:
    hits = {"q 1%": [Hit("d\u00a01", 0.5)]}
    assert gzip.decompress(trec_run(hits, "t")).decode() == "q%201%25 Q0 d%C2%A01 1 0.5 t\n"
    assert trec_run(hits, "t") == trec_run(hits, "t")


def test_names_of_strangers_stay_inside_the_folder(result_file: Path, tmp_path: Path) -> None:
    result = read_result(result_file)
    odd = result.model_copy(update={"model": result.model.model_copy(update={"name": "../../etc/passwd"})})
    path = write_result(odd, None, tmp_path / "copy")
    assert path.resolve().is_relative_to((tmp_path / "copy").resolve())


def test_it_satisfies_the_published_schema(result_file: Path) -> None:
    published = json.loads((CHECKOUT / "docs" / "result.schema.json").read_text())
    assert published == json_schema(), "run: make schema"
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(json.loads(result_file.read_text()), published)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(changed(result_file, origin="guessed").read_text()), published)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"metrics__ndcg@10__value": 1.2}, "less than or equal to 1"),
        ({"metrics__ndcg@10__value": 0.9}, "per-query values average"),
        ({"metrics__ndcg@1__low": 0.9, "metrics__ndcg@1__high": 1.0}, "does not contain its mean"),
        ({"metrics__ndcg@1__low": None}, "two ends"),
        ({"measurement__per_query": {"q1": 1.0}}, "1 per-query values for 2 queries"),
        ({"measurement__seconds": float("nan")}, "finite number"),
        ({"measurement__documents__tokens_seen": 99}, "more was cut or seen"),
        ({"metrics": {"recall@10": {"value": 1.0, "low": 1.0, "high": 1.0}}}, "lack ndcg@10"),
        ({"metrics__rouge": {"value": 0.5}}, "no such measure: rouge"),
        ({"measurement": None}, "measurement"),
        ({"origin": "reported"}, "a reported result has a source"),
        ({"surprise": 1}, "Extra inputs"),
        ({"schema_version": 2}, "schema_version"),
        ({"task": "qmsun"}, "no such task: qmsun"),
        ({"model__name": "red \x1b[31m"}, "model.name"),
        ({"measurement__data__counts__documents": -4}, "greater than or equal to 0"),
        ({"measurement__finished_at": "2026-01-01T00:00:00"}, "timezone"),
    ],
)
def test_what_cannot_be_true_is_refused_in_one_line(result_file: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocoError, match=complaint) as refused:
        read_result(changed(result_file, **changes))
    assert "\n" not in str(refused.value)
    assert str(result_file) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"schema_version": 1}', b"null"])
def test_a_file_that_is_no_result_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(LocoError, match="not a valid result") as refused:
        read_result(path)
    assert "\n" not in str(refused.value)


def test_a_run_that_is_not_the_one_scored_is_refused(result_file: Path) -> None:
    result = read_result(result_file)
    check_run(result_file, result)
    run_path(result_file).write_bytes(trec_run({"q1": [Hit("d3", 1.0)]}, "other"))
    with pytest.raises(LocoError, match=r"is not the run that qmsum\.json was scored from"):
        check_run(result_file, result)
    run_path(result_file).unlink()
    with pytest.raises(LocoError, match=r"qmsum\.run\.gz is missing"):
        check_run(result_file, result)


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path):
        with pytest.raises(LocoError, match="is not a file"):
            read_result(path)


@pytest.mark.parametrize("name", ["a/b", "a__b", "a b", "a-b", "..", "", "\u00e4"])
def test_no_two_names_share_a_path(name: str) -> None:
    others = {"a/b", "a b", "a-b", "a_b", "../..", "\u00e4", "\u00f6"} - {name}
    assert result_path(name, "full", "mini", "t") not in {result_path(o, "full", "mini", "t") for o in others}
    assert ".." not in result_path(name, "full", "mini", "t").parts


def test_a_missing_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="No file or folder"):
        list(result_files(tmp_path / "nowhere"))


def test_every_result_that_ships_is_valid_and_beside_its_run() -> None:
    files = list(result_files(CHECKOUT / "results"))
    assert files
    for file in files:
        result = read_record(file)
        check_run(file, result)
        if isinstance(result, Result):
            path = result_path(result.model.name, result.strategy, result.variant, result.task)
            origin = "paper" if result.origin == "reported" else result.origin
            assert file == CHECKOUT / "results" / origin / path

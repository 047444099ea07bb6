"""The pipeline: skip what is there, refuse nonsense, order what a model returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tasks import MADE_BY_HAND, model_card, small_task

import loco
from loco.errors import LocoError
from loco.evaluation import Evaluated, Options, evaluate_tasks
from loco.models import registry
from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco.phases import phase
from loco.rank.ranking import Coverage, Hit, Ranking, TextCoverage
from loco.results import read_result, run_path
from loco.tasks.data import TaskData, write_task

CARD = model_card("scripted", "test_evaluation:scripted")
NOTHING = TextCoverage(0, 0, 0, 0)


@dataclass
class Scripted:
    """Returns the hits it was told to, and counts how often it was asked."""

    card: ModelCard
    hits: Mapping[str, Sequence[Hit]] = field(default_factory=lambda: {"q1": [Hit("d1", 1.0)], "q2": [Hit("d2", 1.0)]})
    asked: int = 0

    def rank(self, task: TaskData, k: int) -> Ranking:
        self.asked += 1
        with phase("search"):
            return Ranking(self.hits, Coverage(NOTHING, NOTHING))


@dataclass
class Bench:
    """A data folder with one task, a results folder, and the scripted model under test."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.model = Scripted(CARD)
        self.offer(CARD)
        self.build(small_task())

    def offer(self, card: ModelCard) -> None:
        self.model.card = card
        self.monkeypatch.setattr("loco.models.registry.model_cards", lambda: {card.name: card})
        self.monkeypatch.setattr("loco.compose.ranker.load_model", lambda *_: self.model)

    def build(self, task: TaskData) -> None:
        write_task(task, self.folder / "data")

    def run(self, force: bool = False) -> Evaluated:
        (done,) = evaluate_tasks(
            self.model.card,
            ["qmsum"],
            "mini",
            Options(),
            "command",
            data=self.folder / "data",
            out=self.folder / "results",
            force=force,
        )
        return done


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_the_same_evaluation_is_not_run_twice_unless_forced(bench: Bench) -> None:
    first, second = bench.run(), bench.run()
    assert (first.reused, second.reused, bench.model.asked) == (False, True, 1)
    assert second.result == first.result
    assert not bench.run(force=True).reused
    assert bench.model.asked == 2


def test_changed_data_or_revision_is_measured_again(bench: Bench) -> None:
    bench.run()
    bench.build(small_task(documents={"d1": "a", "d2": "b", "d3": "c"}))
    assert not bench.run().reused
    bench.offer(CARD.model_copy(update={"revision": "2"}))
    assert not bench.run().reused
    bench.offer(CARD.model_copy(update={"revision": "2", "parameters": {"k1": 2.0}}))
    assert not bench.run().reused
    assert bench.run().reused


@pytest.mark.parametrize("model", ["bm25", "hash-512"])
@pytest.mark.parametrize("said", ["dtype", "device"])
def test_a_precision_or_device_that_a_model_does_not_run_on_is_refused_not_recorded(model: str, said: str) -> None:
    runtime = Runtime(**{said: {"dtype": "bfloat16", "device": "cuda:0"}[said]})
    with pytest.raises(LocoError, match=f"leave out --{said}"):
        registry.load_model(registry.model_card(model), runtime)


def test_a_lost_run_file_is_made_again(bench: Bench) -> None:
    path = bench.run().path
    assert path is not None
    run_path(path).unlink()
    assert not bench.run().reused
    assert run_path(path).exists()


def test_a_damaged_result_or_run_is_measured_again(bench: Bench) -> None:
    path = bench.run().path
    assert path is not None
    path.write_text("{")
    assert not bench.run().reused
    run_path(path).write_bytes(b"junk")
    assert not bench.run().reused
    assert bench.run().reused


def test_a_corrected_card_or_provenance_is_not_hidden_by_an_old_result(bench: Bench) -> None:
    bench.run()
    bench.offer(CARD.model_copy(update={"trained_on_loco": True}))
    assert bench.run().result.model.trained_on_loco
    corrected = replace(small_task(), provenance=MADE_BY_HAND.model_copy(update={"equivalent": "only alike"}))
    bench.build(corrected)
    measurement = bench.run().result.measurement
    assert measurement is not None
    assert measurement.data.provenance.equivalent == "only alike"


def test_what_cannot_end_well_fails_before_anything_is_measured(bench: Bench) -> None:
    (bench.folder / "file").write_text("in the way")
    for tasks, out in ((["qmsum", "gov_report"], "results"), (["qmsum"], "file")):
        with pytest.raises(LocoError, match=r"gov_report|Cannot write"):
            list(evaluate_tasks(CARD, tasks, "mini", Options(), "", data=bench.folder / "data", out=bench.folder / out))
    assert bench.model.asked == 0


def test_phases_inside_a_model_are_named_under_it(bench: Bench) -> None:
    measurement = bench.run().result.measurement
    assert measurement is not None
    assert list(measurement.phases) == ["load", "rank", "rank/search", "score"]
    assert measurement.phases["rank"].seconds >= measurement.phases["rank/search"].seconds
    assert measurement.phases["score"].peak_bytes > 1_000_000


def test_hits_in_any_order_are_put_into_trec_evals(bench: Bench) -> None:
    """d2 is relevant to q2; it ties with d3, which comes first by its larger id."""
    bench.model.hits = {"q1": [Hit("d3", 0.1), Hit("d1", 0.9)], "q2": [Hit("d2", 0.5), Hit("d3", 0.5)]}
    measurement = bench.run().result.measurement
    assert measurement is not None
    assert measurement.per_query["q1"] == 1
    assert 0 < measurement.per_query["q2"] < 1


@pytest.mark.parametrize(
    "hits",
    [[Hit("nowhere", 1.0)], [Hit("d1", float("nan"))], [Hit("d1", 1.0), Hit("d1", 0.5)], [Hit("d1", float("inf"))]],
)
def test_a_model_that_returns_nonsense_is_named_and_nothing_is_written(bench: Bench, hits: list[Hit]) -> None:
    bench.model.hits = {"q1": hits}
    with pytest.raises(LocoError, match=r"Model 'scripted'.*'q1'.*adapter has a bug"):
        bench.run()
    assert not [path for path in (bench.folder / "results").rglob("*") if path.is_file()]


def test_the_python_call_needs_no_folder_and_records_itself(bench: Bench) -> None:
    result = loco.evaluate(model="scripted", task="qmsum", variant="mini", data=bench.folder / "data")
    assert result.metrics["ndcg@10"].value == 1
    assert result.measurement is not None
    assert result.measurement.command == "loco.evaluate(model='scripted', task='qmsum', variant='mini')"


def test_results_survive_a_second_model_that_fails(bench: Bench) -> None:
    path = bench.run().path
    assert path is not None
    bench.model.hits = {"q1": [Hit("nowhere", 1.0)]}
    with pytest.raises(LocoError):
        bench.run(force=True)
    assert read_result(path).metrics["ndcg@10"].value == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"model": "scriptd"}, "No model 'scriptd'. Did you mean 'scripted'\\? See: loco models"),
        ({"task": "qmsun"}, "No task 'qmsun'. Did you mean 'qmsum'\\? See: loco tasks"),
        ({"variant": "papr"}, "No variant 'papr'. Did you mean 'paper'\\?"),
        ({"strategy": "fulll"}, "No strategy 'fulll'. Did you mean 'full'\\?"),
        ({"task": "gov_report"}, "Task 'gov_report' \\(mini\\) is not in .* Run: loco build-data gov_report --variant"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(bench: Bench, arguments: dict[str, str], line: str) -> None:
    call = {"model": "scripted", "task": "qmsum", "variant": "mini", **arguments}
    with pytest.raises(LocoError, match=line):
        loco.evaluate(**call, data=bench.folder / "data")  # type: ignore[arg-type]


def test_a_command_with_bytes_that_are_no_text_is_recorded_with_escapes(bench: Bench) -> None:
    (done,) = evaluate_tasks(
        CARD, ["qmsum"], "mini", Options(), "eval /\udc80", data=bench.folder / "data", out=bench.folder / "results"
    )

    assert done.path is not None
    measurement = read_result(done.path).measurement
    assert measurement is not None
    assert measurement.command == "eval /\\udc80"


def test_too_little_memory_to_read_a_task_is_not_taken_for_damage(bench: Bench) -> None:
    import pyarrow as pa

    def full(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("realloc of size 10233856 failed")

    bench.monkeypatch.setattr("pyarrow.parquet.read_table", full)
    with pytest.raises(MemoryError):
        bench.run()

"""The ablations, run whole at a tiny scale: what is shared is trained once, and a table says what its record says."""

from __future__ import annotations

import json
import sys
import warnings
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about what the libraries do among themselves while they are imported
    from tiny_training import tasks_in, train_task, untrained

from loco.errors import LocoError
from loco.evaluation import evaluate
from loco.files import read_toml
from loco.rank.ranking import Hit
from loco.score.metrics import score
from loco.training.finetune import train
from loco.training.options import Finetuning

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import ablation_stages  # noqa: E402
import ablations  # noqa: E402
from ablation_plan import table, tables  # noqa: E402
from ablation_report import Record, agreement, markdown, plot  # noqa: E402
from tasks import small_task  # noqa: E402

SHARED = """
[data]
tasks = ["stackoverflow"]
train = [1]
held_out = 2
vocabulary = 400
[shape]
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
hyena_filter_order = 8
pool_all = true
pad_to_window = false
[pretrain]
steps = 2
batch = 4
micro_batch = 4
[train]
loss = "ranking"
batch = 4
micro_batch = 4
negatives = 0
max_steps = 2
lr = 1e-3
[stages.mixed]
do = "pretrain"
window = 32
[stages.short-window]
do = "pretrain"
window = 16
[stages.mixed-tuned]
do = "train"
start = "mixed"
"""
TUNED = """
title = "Losses"
source = "A paper"
measure = "nDCG@10"
equal = "Nothing."
[[arms]]
name = "prototype | then more"
model = "taught"
paper = 63.2
[[arms]]
name = "ranking"
model = "mixed-tuned"
paper = 70.4
[stages.taught]
do = "train"
start = "mixed"
teacher = "mixed-tuned"
settings = { loss = "prototype", negatives = 2 }
"""
STARTED = """
title = "Starts"
source = "A paper"
measure = "accuracy"
equal = "Nothing."
[[arms]]
name = "warm"
model = "warm"
[[arms]]
name = "cold"
model = "mixed"
[stages.warm]
do = "pretrain"
start = "short-window"
window = 32
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablations")
    (folder / "tables").mkdir()
    for name, text in {"shared": SHARED, "tuned": TUNED, "started": STARTED}.items():
        (folder / "tables" / f"{name}.toml").write_text(text)
    return folder


def ran(home: Path, *names: str, seeds: tuple[int, ...] = (1, 2)) -> list[Path]:
    return ablations.run(names, seeds, home / "out", home / "tables", "python benchmarks/ablations.py")


@pytest.fixture(scope="module")
def records(home: Path) -> dict[str, Record]:
    return {path.stem: Record.model_validate_json(path.read_bytes()) for path in ran(home)}


def test_every_arm_is_measured_with_every_seed_and_costs_what_its_stages_have_read(records: dict[str, Record]) -> None:
    taught, ranked = records["tuned"].arms
    warm, cold = records["started"].arms
    assert [run.seed for arm in (taught, ranked, warm, cold) for run in arm.runs] == [1, 2] * 4
    assert [run.texts for run in (*taught.runs, *ranked.runs)] == [2 * 4] * 2 + [2 * 4 * 2] * 2
    assert [run.positions for run in (*warm.runs, *cold.runs)] == [2 * 4 * (16 + 32)] * 2 + [2 * 4 * 32] * 2
    assert all(0 < run.tokens <= run.positions for run in (*warm.runs, *cold.runs))
    assert all(run.seconds is not None and run.seconds > 0 for arm in (taught, ranked, warm, cold) for run in arm.runs)


def test_seeds_give_different_models_and_figures_are_those_of_loco_eval(home: Path, records: dict[str, Record]) -> None:
    ranked = records["tuned"].arms[1]
    data = next((home / "out").glob("data-*")) / "test"
    for run in ranked.runs:
        (folder,) = (home / "out" / "stages").glob(f"mixed-tuned-{run.seed}-*[0-9a-f]")
        measured = evaluate(str(folder), "stackoverflow", "mini", data=data, cache=home / "cache")
        assert run.figures == {"stackoverflow": measured.metrics["ndcg@10"].value}
        assert run.mean == run.figures["stackoverflow"]
    assert (
        len(
            {
                (path / "model.safetensors").read_bytes()
                for path in (home / "out" / "stages").glob("*-tuned-?-*")
                if path.is_dir()
            }
        )
        == 2
    )


def test_a_stage_is_trained_once_whatever_tables_and_runs_build_upon_it(
    home: Path, records: dict[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = sorted(path.name for path in (home / "out" / "stages").iterdir() if path.is_dir())
    assert [name.rsplit("-", 1)[0] for name in folders] == sorted(
        f"{name}-{seed}" for name, seed in product(("mixed", "mixed-tuned", "short-window", "taught", "warm"), (1, 2))
    )

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr("loco.training.trainer.run", never)
    again = {path.stem: Record.model_validate_json(path.read_bytes()) for path in ran(home)}
    assert [record.arms for record in again.values()] == [records[name].arms for name in again]


@pytest.mark.parametrize(("loss", "negatives"), [("ranking", 0), ("ranking", 2), ("orthogonal", 2)])
def test_the_texts_of_a_run_are_those_that_went_through_the_model(
    loss: str, negatives: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loco.training.retrieval import RetrievalTrainer

    chosen = Finetuning(loss=loss, negatives=negatives, batch=4, micro_batch=4, epochs=9, max_steps=9)  # type: ignore[arg-type]
    read = 0
    step = RetrievalTrainer.training_step

    def counted(self: Any, model: Any, inputs: Any, *rest: Any) -> Any:
        nonlocal read
        read += sum(len(value) for name, value in inputs.items() if name.endswith("input_ids"))
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(RetrievalTrainer, "training_step", counted)
    data = tasks_in(tmp_path / "data")
    train(str(untrained(tmp_path / "model")), ["qmsum"], "mini", tmp_path / "out", chosen, data=data)
    assert read == ablation_stages.texts_read([train_task()], chosen, 9)


def test_seconds_that_a_kill_has_lost_are_not_shown(home: Path, records: dict[str, Record]) -> None:
    (begun,) = (home / "out" / "stages").glob("taught-1-*.json")
    said = json.loads(begun.read_text())
    try:
        begun.unlink()  # as where a kill comes between the end of a stage and its record
        (path,) = ran(home, "tuned")
    finally:
        begun.write_text(json.dumps(said))
    record = Record.model_validate_json(path.read_bytes())
    first, second = record.arms[0].runs
    assert first.seconds is None
    assert second.seconds == records["tuned"].arms[0].runs[1].seconds
    assert first.texts == records["tuned"].arms[0].runs[0].texts
    assert next(line for line in markdown(record).splitlines()[::-1] if "prototype" in line).endswith("|  |")
    ran(home, "tuned")


def test_the_table_says_what_its_record_says(home: Path, records: dict[str, Record]) -> None:
    for name, record in records.items():
        text = (home / "out" / f"{name}.md").read_text()
        assert text == markdown(record)
        for arm in record.arms:
            mean = sum(arm.means) / 2
            row = next(line for line in text.splitlines() if line.startswith(f"| {arm.name.replace('|', '/')} |"))
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert cells[1] == f"{mean:.3f}"
            assert cells[2] == f"{abs(arm.means[0] - arm.means[1]) / 2**0.5:.3f}"
            assert cells[3] == f"{min(arm.means):.3f} to {max(arm.means):.3f}"
        drawn = (home / "out" / f"{name}.svg").read_text()
        assert drawn == plot(record)
        assert all(f"mean {sum(arm.means) / 2:.3f}, from {min(arm.means):.3f}" in drawn for arm in record.arms)


def test_agreement_counts_the_seeds_whose_order_is_the_papers(records: dict[str, Record]) -> None:
    record = records["tuned"]
    taught, ranked = record.arms

    def with_means(*means: tuple[float, float]) -> Record:
        arms = [
            arm.model_copy(
                update={
                    "runs": tuple(
                        run.model_copy(update={"mean": mean}) for run, mean in zip(arm.runs, theirs, strict=True)
                    )
                }
            )
            for arm, theirs in zip((taught, ranked), means, strict=True)
        ]
        return record.model_copy(update={"arms": tuple(arms)})

    assert agreement(with_means((0.1, 0.1), (0.2, 0.2))).endswith("with 2 of 2; their means do.")
    assert agreement(with_means((0.1, 0.3), (0.2, 0.2))).endswith("with 1 of 2; their means do not.")
    assert agreement(with_means((0.2, 0.2), (0.2, 0.2))).endswith("with 0 of 2; their means do not.")
    assert agreement(records["started"]) == "2 seeds (1, 2)."


def test_what_has_learnt_nothing_is_the_mean_over_all_orders_of_the_documents() -> None:
    task = small_task(
        {"q0": "one", "q1": "two"},
        {f"d{place}": f"text {place}" for place in range(30)},
        {"q0": {"d0": 1}, "q1": {f"d{place}": 1 for place in range(12)}},
    )

    def at_random(seed: int) -> float:
        hits = {}
        for query in task.queries.ids:
            order = list(task.documents.ids)
            Random(f"{seed}{query}").shuffle(order)
            hits[query] = [Hit(document, float(-place)) for place, document in enumerate(order)]
        return score(task.qrels, hits).means["ndcg@10"]

    draws = 2000
    mean = sum(map(at_random, range(draws))) / draws
    assert abs(ablation_stages.expected_at_random(task) - mean) < 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tuned", 'model = "taught"', 'model = "tought"'), "there is no stage 'tought'"),
        (("tuned", 'start = "mixed"', 'start = "taught"'), "starts from itself"),
        (("tuned", 'teacher = "mixed-tuned"', ""), "learns from a teacher"),
        (("tuned", 'teacher = "mixed-tuned"', 'teacher = "short-window"'), "has no vectors to teach"),
        (("tuned", 'model = "mixed-tuned"', 'model = "mixed"'), "nDCG@10 is of a model of loco train"),
        (("tuned", "negatives = 2", "negative = 2"), "no setting 'negative'"),
        (("tuned", "[stages.taught]", "[stages.mixed]"), "stands in shared.toml too"),
        (("tuned", 'name = "ranking"', 'name = "prototype | then more"'), "two arms have the same name"),
        (("tuned", 'measure = "nDCG@10"', 'measure = "MRR"'), "measure"),
        (("started", "window = 32", "window = 64"), "accuracy is compared at one window"),
        (("tuned", "[[arms]]", "[[arms]"), "Cannot read"),
        (("shared", "vocabulary = 400", ""), "data.vocabulary"),
        (("shared", "steps = 2\n", "steps = 0\n"), "--steps 0 is too small"),
        (("shared", "steps = 2\n", ""), "no settings of pretraining"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_before_anything_is_run(
    home: Path, tmp_path: Path, change: tuple[str, str, str], said: str
) -> None:
    file, old, new = change
    for path in (home / "tables").iterdir():
        text = path.read_text()
        (tmp_path / path.name).write_text(text.replace(old, new, 1) if path.stem == file else text)
    with pytest.raises(LocoError, match=said) as caught:
        table(tmp_path, "tuned" if file == "shared" else file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table9"], "There is no table 'table9'. There are: table6, table7, table8."),
        (["--seeds", "1,x"], "no list of whole numbers"),
        (["--seeds", "1,1"], "each once"),
        (["--configurations", "nowhere"], "There is no table in nowhere."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablations.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_tables_that_ship_hold_equal_what_they_say() -> None:
    folder = BENCHMARKS / "ablations"
    assert tables(folder) == ["table6", "table7", "table8"]
    six, seven, eight = (table(folder, name) for name in tables(folder))

    def positions(of: Any, model: str) -> int:
        stages = [of.stages[name] for name in of.line(model)]
        chosen = [(of.pretraining(stage, 0), stage.window) for stage in stages if stage.do == "pretrain"]
        return sum(one.steps * one.batch * window for one, window in chosen)

    def texts(of: Any, model: str) -> int:
        chosen = [of.finetuning(of.stages[name], 0) for name in of.line(model) if of.stages[name].do == "train"]
        return sum(one.max_steps * one.batch * ablation_stages.texts_in_a_row(one) for one in chosen)

    assert len({(positions(six, arm.model), texts(six, arm.model)) for arm in six.arms}) == 1
    assert len({texts(eight, arm.model) for arm in eight.arms}) == 1
    warm, cold, longer = (positions(seven, arm.model) for arm in seven.arms)
    assert warm == longer == 2 * cold
    last = [seven.stages[arm.model] for arm in seven.arms[:2]]
    assert len({(stage.window, seven.pretraining(stage, 0)) for stage in last}) == 1


def test_the_papers_figures_are_those_collected_from_it() -> None:
    facts = BENCHMARKS.parents[1] / "shared" / "facts" / "published-scores.json"
    if not facts.is_file():
        pytest.skip("the collection of published scores is not on this machine")
    told = json.loads(facts.read_text())["ablations"]
    expected = {
        "table6": ("pretraining_mixture_2k", ["short", "long", "mixed"]),
        "table7": ("warm_start_mlm_accuracy", ["warm", "cold"]),
        "table8": ("finetuning_loss_32k", ["OPL, batch 1", "MNRL, batch 2", "PL, batch 2"]),
    }
    for name, (key, arms) in expected.items():
        said = [arm["paper"] for arm in read_toml(BENCHMARKS / "ablations" / f"{name}.toml")["arms"] if "paper" in arm]
        assert said == [told[key][arm] for arm in arms]


@pytest.mark.parametrize("name", ["table6", "table7", "table8"])
def test_the_page_shows_what_the_shipped_record_says(name: str) -> None:
    docs = BENCHMARKS.parent / "docs"
    record = Record.model_validate_json((docs / "ablations" / f"{name}.json").read_bytes())
    rows = [line for line in markdown(record).splitlines() if line.startswith("|")]
    page = (docs / "ablations.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 8
    assert [row for row in rows if row not in page] == []
    assert plot(record) == (docs / "ablations" / f"{name}.svg").read_text(encoding="utf-8")
    written = table(BENCHMARKS / "ablations", name)
    assert [(arm.name, arm.paper) for arm in record.arms] == [(arm.name, arm.paper) for arm in written.arms]

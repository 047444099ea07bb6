"""Training, really run: what comes out, and that nothing is lost or done twice when a run is stopped."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about what the libraries do among themselves while they are imported
    import torch

    from loco.training import masked as pretraining
    from loco.training import retrieval, trainer
    from loco_adapters.m2bert import M2BertForMaskedLM, M2BertModel

from tasks import small_task
from tiny_training import (
    SHAPE,
    WINDOW,
    after_step,
    assert_same_weights,
    corpus,
    ctrl_c,
    curve,
    pretrained,
    tasks_in,
    train_task,
    tuned,
    untrained,
)
from torch.nn.functional import cosine_similarity, cross_entropy
from typer.testing import CliRunner

from loco.cli import app
from loco.errors import LocoError
from loco.models.registry import model_card
from loco.tasks.data import write_task
from loco.training.card import training_card
from loco.training.corpora import corpora
from loco.training.options import Finetuning, Pretraining
from loco.training.pairs import order, triples
from loco.training.pretrain import read_shape
from loco.training.run import TrainingInterrupted, Work
from loco.training.samples import Marks, Mixture
from loco_adapters.m2bert.tool import tool
from loco_adapters.m2bert.training import M2BertFamily

# A real kill -9 after step 5, of which the last checkpoint has 4; it begins before the other tests, and is waited for.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tiny_training import pretrained
from loco.training import trainer
after = trainer._Watch.on_step_end
def die(self, args, state, control, **about):
    after(self, args, state, control, **about)
    if state.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
trainer._Watch.on_step_end = die
pretrained(Path(sys.argv[2]), Path(sys.argv[3]), save_every=2)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module", autouse=True)
def killed(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that pretrains into ``killed`` and is killed on the way."""
    asked = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(corpus(home)), str(home / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(asked, env=environment, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def model(home: Path) -> Path:
    return untrained(home / "tiny")


@pytest.fixture(scope="module")
def data(home: Path) -> Path:
    return tasks_in(home / "data")


@pytest.fixture(scope="module")
def straight(home: Path, model: Path, data: Path) -> Path:
    """A model fine-tuned without anything happening."""
    return tuned(model, data, home / "straight").folder


@pytest.fixture(scope="module")
def whole(home: Path) -> Path:
    """A model pretrained without anything happening."""
    return pretrained(corpus(home), home / "whole").folder


# --- what comes out


def test_retrieval_training_is_a_plain_loop(straight: Path, model: Path, data: Path) -> None:
    """AdamW, a decay on matrices alone, 10 % warm-up, linear decay, clip 1: written out."""
    card = training_card(straight)
    assert card is not None
    assert (card.steps, [loss for _, loss in curve(straight)][-1]) == (12, card.loss)
    made = triples([train_task()], 4, None, 42)
    encoder = start(model, data)
    named = dict(encoder.named_parameters())
    plain = [name for name in named if name.endswith("bias") or "LayerNorm" in name or "layernorm" in name]
    groups = [
        {"params": [weight for name, weight in named.items() if name not in plain], "weight_decay": 0.01},
        {"params": [named[name] for name in plain], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-3)
    numbers = [*order(42, 0, 2 * len(made.rows)), *order(42, 1, 2 * len(made.rows))]
    losses = []
    for step in range(12):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * (step / 2 if step < 2 else (12 - step) / 10)
        pairs = [(made.rows[number // 2], number % 2) for number in numbers[8 * step : 8 * step + 8]]
        queries = encode(encoder, model, [made.queries[row[0]] for row, _ in pairs])
        documents = encode(encoder, model, [made.documents[row[1 + negative]] for row, negative in pairs])
        wanted = torch.tensor([1.0 - negative for _, negative in pairs])
        loss = ((cosine_similarity(queries, documents) - wanted) ** 2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    np.testing.assert_allclose([loss for _, loss in curve(straight)], losses, rtol=2e-4)
    assert losses[0] != pytest.approx(losses[-1], rel=0.05)


def start(model: Path, data: Path) -> M2BertModel:
    """The encoder that fine-tuning begins with."""
    from loco.models.registry import model_card
    from loco.models.runtime import Runtime

    module: Any = M2BertFamily().start(model_card(str(model)), Runtime(), 42)[0]
    encoder: M2BertModel = module.auto_model
    return encoder.train()


def encode(encoder: M2BertModel, folder: Path, texts: list[str]) -> torch.Tensor:
    """Embeddings of texts, cut at the window and always padded to it, by hand."""
    tokenizer = M2BertFamily().tokenizer(folder)
    rows = tokenizer(texts, padding="max_length", truncation=True, max_length=WINDOW, return_tensors="pt")
    assert rows["input_ids"].shape == (len(texts), WINDOW)
    return encoder.embed(rows["input_ids"])


def test_pretraining_is_a_plain_loop(home: Path, whole: Path) -> None:
    chosen = Pretraining(steps=6, batch=4, lr=1e-3)
    family = M2BertFamily()
    tokenizer = family.tokenizer(whole)
    marks = Marks(cls=2, sep=3, pad=0, mask=4, words=len(tokenizer))
    model: Any = family.fresh(SHAPE, len(tokenizer), 17)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-5 / 1e-3)

    def ids(text: str) -> list[int]:
        return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    read = corpora([str(corpus(home))])
    samples = iter(pretraining.Samples(Mixture(read, ids, marks, WINDOW, 0.3, 17), marks, chosen))
    losses = []
    for step in range(6):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * (1 if step == 0 else 1 - 0.98 * step / 5)
        batch = pretraining.collated([next(samples) for _ in range(4)], WINDOW, 0)
        logits = model.train(False)(batch["input_ids"]).logits
        loss = cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    np.testing.assert_allclose([loss for _, loss in curve(whole)], losses, rtol=2e-4)


def test_each_loss_is_its_formula(home: Path, model: Path, data: Path) -> None:
    from loco.models.registry import model_card
    from loco.models.runtime import Runtime

    made = triples([train_task(documents=20)], 2, None, 1)
    sentence = M2BertFamily().start(model_card(str(model)), Runtime(), 42)
    encoder: Any = sentence[0].auto_model
    vectors = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    prototypes = retrieval.Prototypes(made.documents[:4], vectors)
    work = Work(home / "losses", home / "losses.training", "")

    def first(loss: Any, shown: Any) -> tuple[float, list[torch.Tensor], Any]:
        chosen = Finetuning(loss=loss, batch=4, micro_batch=4 if loss != "ranking" else 2, device="cpu")
        examples = retrieval.Examples(shown, loss, {})
        with trainer.quiet():
            made_trainer = retrieval.trainer(sentence, shown, examples, chosen, work, 1, chosen.micro_batch)
            if loss == "ranking":
                made_trainer.batches._fixed = [max(made_trainer.batches._fixed or [], key=lambda parts: len(parts[0]))]
            batch = next(iter(made_trainer.get_train_dataloader()))
            features, labels = made_trainer.collect_features(batch)
            assert all(part["input_ids"].shape[1] == WINDOW for part in features)
            ours: list[torch.Tensor] = [encoder.embed(part["input_ids"]) for part in features]
            return float(made_trainer.loss(features, labels)), ours, labels

    value, (queries, documents), labels = first("orthogonal", made)
    assert set(labels.tolist()) <= {0.0, 1.0}
    assert value == pytest.approx(float(((cosine_similarity(queries, documents) - labels) ** 2).mean()), rel=1e-5)

    value, (queries, positives, negatives), _ = first("ranking", made)
    assert len(queries) == 4
    every = torch.cat([positives, negatives])
    scores = 20 * cosine_similarity(queries[:, None], every[None], dim=-1)
    assert value == pytest.approx(float(cross_entropy(scores, torch.arange(len(queries)))), rel=1e-5)

    value, (texts,), labels = first("prototype", prototypes)
    assert value == pytest.approx(float(((texts - labels) ** 2).mean()), rel=1e-5)


def test_micro_batches_and_accumulation_change_nothing_but_rounding(
    home: Path, straight: Path, whole: Path, model: Path, data: Path
) -> None:
    small = tuned(model, data, home / "small", micro_batch=2).folder
    np.testing.assert_allclose(curve(small), curve(straight), rtol=1e-4)
    single = pretrained(corpus(home), home / "single", micro_batch=1).folder
    np.testing.assert_allclose(curve(single), curve(whole), rtol=1e-4)


# --- what can be done with it


def test_a_trained_folder_is_evaluated_and_known_as_trained_on_loco(
    home: Path, straight: Path, model: Path, data: Path
) -> None:
    out, cache = home / "results", home / "cache"
    for folder, known in ((straight, True), (model, None)):
        asked = ["eval", "--model", str(folder), "--task", "qmsum", "--variant", "mini", "--data", str(data)]
        run = CliRunner().invoke(app, [*asked, "--out", str(out), "--cache", str(cache)])
        if known is None:  # pretrained, and never fine-tuned
            assert run.exit_code == 2
            assert "has no pooler" in run.output
            continue
        assert run.exit_code == 0, run.output
        (file,) = out.rglob("qmsum.json")
        described = json.loads(file.read_text())["model"]
        assert described["trained_on_loco"] is True
        assert "trained by loco on qmsum (mini)" in described["description"]


def test_a_revision_goes_by_what_decides_vectors_and_not_by_the_card(straight: Path) -> None:
    from loco.models.registry import model_card

    before, path = model_card(str(straight)), straight / "loco.json"
    content = path.read_text()
    try:
        path.write_text(content.replace('"command": "', '"command": "elsewhere '))
        assert model_card(str(straight)) == before
        path.write_text("{")
        with pytest.raises(LocoError, match=r"loco\.json is damaged"):
            model_card(str(straight))
    finally:
        path.write_text(content)


def test_a_sentence_transformer_is_trained_and_stays_one_with_its_prompts(home: Path, data: Path) -> None:
    import checkpoints
    from sentence_transformers.sentence_transformer.modules import Pooling

    from loco.models.registry import model_card

    with trainer.quiet():
        before = checkpoints.with_modules(checkpoints.bert(home / "sentence"), Pooling(16, "mean"))
    made = tuned(before, data, home / "sentence-tuned", loss="ranking", settings={"query_prompt": "query: "})
    card = model_card(str(made.folder))
    assert (card.family, card.trained_on_loco, card.max_tokens) == ("transformer", True, checkpoints.WINDOW)
    assert card.parameters["query_prompt"] == "query: "
    assert card.revision != model_card(str(before)).revision


def test_a_teacher_is_learnt_from(home: Path, model: Path, straight: Path, data: Path) -> None:
    made = tuned(model, data, home / "student", loss="prototype", teacher=str(straight), cache=home / "cache", epochs=3)
    losses = [loss for _, loss in curve(made.folder)]
    assert losses[-1] < losses[0]
    card = training_card(made.folder)
    assert card is not None
    assert str(card.settings["teacher"]).startswith("straight@sha256:")
    with pytest.raises(LocoError, match="makes vectors of 512 numbers and tiny of 16"):
        tuned(model, data, home / "other", loss="prototype", teacher="hash-512", cache=home / "cache")
    with pytest.raises(LocoError, match="costs money for every text"):
        tuned(model, data, home / "other", loss="prototype", teacher="text-embedding-3-small")
    with pytest.raises(LocoError, match="A teacher is for --loss prototype"):
        tuned(model, data, home / "other", teacher="hash-512")


def test_a_longer_window_starts_warm_and_pretraining_feeds_fine_tuning(home: Path, whole: Path, data: Path) -> None:
    longer = pretrained(
        corpus(home), home / "longer", shape=None, vocabulary=None, start=whole, window=2 * WINDOW, steps=1
    )
    assert longer.card.settings["window"] == 2 * WINDOW
    assert longer.card.start_card is not None
    made = tuned(longer.folder, data, home / "from-longer", max_steps=1)
    assert made.card.start_card == longer.card
    again = read_shape(longer.folder)  # a configuration as it was saved, for another vocabulary
    assert {name: again[name] for name in ("hidden_size", "max_position_embeddings")} == {
        "hidden_size": 16,
        "max_position_embeddings": 2 * WINDOW,
    }
    cold = pretrained(corpus(home), home / "cold", shape=again, vocabulary=110, steps=1)
    assert (longer.card.loss or 9) < (cold.card.loss or 0)


# --- stopped, and going on


def test_ctrl_c_keeps_the_step_and_the_run_goes_on_exactly(
    home: Path, straight: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = home / "interrupted"
    after_step(monkeypatch, 8, ctrl_c)  # in its second epoch
    with pytest.raises(TrainingInterrupted, match="stopped after step 8 of 12"):
        tuned(model, data, out)
    assert not out.exists()
    monkeypatch.undo()
    with pytest.raises(LocoError, match=r"holds a run that was stopped, and its settings\.seed was 42, not 43"):
        tuned(model, data, out, seed=43)
    assert not tuned(model, data, out).reused
    assert curve(out) == curve(straight)
    assert_same_weights(out, straight)
    assert not (home / "interrupted.training").exists()
    assert tuned(model, data, out).reused
    with pytest.raises(LocoError, match="exists already, made by another command"):
        tuned(model, data, out, seed=43)


def test_the_command_says_how_to_go_on_after_ctrl_c(
    home: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["train", "--model", str(model), "--task", "qmsum", "--variant", "mini", "--data", str(data)]
    asked += ["--out", str(home / "typed"), "--negatives", "1", "--batch", "4", "--device", "cpu"]
    after_step(monkeypatch, 1, ctrl_c)
    monkeypatch.setattr(sys, "argv", ["loco", *asked])
    run = CliRunner().invoke(app, asked)
    assert run.exit_code == 130
    assert f"interrupted after step 1 of 3, which is kept. Go on with: loco {shlex.join(asked)}\n" in run.output


def test_a_kill_loses_nothing_of_the_last_checkpoint_and_nothing_is_trained_twice(
    home: Path, whole: Path, killed: subprocess.Popen[str]
) -> None:
    assert killed.wait(timeout=300) == -signal.SIGKILL, killed.stderr and killed.stderr.read()
    left = home / "killed.training"
    assert [path.name for path in left.glob("checkpoint-*")] == ["checkpoint-4"]
    assert json.loads((left / "checkpoint-4" / "data.json").read_text())["sample"] == 16
    (left / ".checkpoint-6").mkdir()  # as a kill leaves one that is being written
    out = pretrained(corpus(home), home / "killed", save_every=2).folder
    assert curve(out) == curve(whole)  # to the last bit: the same processor, the same number of threads
    assert_same_weights(out, whole)


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stands(
    home: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, limits = home / "full", resource.getrlimit(resource.RLIMIT_FSIZE)
    after_step(monkeypatch, 3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1])))
    try:
        with pytest.raises(LocoError, match=r"Cannot write .*checkpoint-4.*") as raised:
            pretrained(corpus(home), out, save_every=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(raised.value)
    assert [path.name for path in (home / "full.training").glob("*checkpoint-*")] == ["checkpoint-2"]
    monkeypatch.undo()
    pretrained(corpus(home), out, save_every=2)
    assert_same_weights(out, whole)


def test_what_does_not_fit_goes_on_in_half_the_micro_batch(
    home: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = M2BertForMaskedLM.forward
    most = 2

    def cramped(self: Any, input_ids: Any = None, attention_mask: Any = None, labels: Any = None) -> Any:
        if len(input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, attention_mask, labels=labels)

    monkeypatch.setattr(M2BertForMaskedLM, "forward", cramped)
    made = pretrained(corpus(home), home / "cramped")
    assert "Micro-batches of 4 do not fit into memory: going on with 2." in capsys.readouterr().err
    np.testing.assert_allclose(curve(made.folder), curve(whole), rtol=1e-4)
    most = 0
    with pytest.raises(LocoError, match="A single example does not fit into the memory"):
        pretrained(corpus(home), home / "none", steps=1, micro_batch=1)


def test_a_loss_that_is_no_number_stops_the_run_in_one_line(home: Path) -> None:
    with pytest.raises(LocoError, match=r"is no finite number at step [2-6], so training stops") as raised:
        pretrained(corpus(home), home / "lost", lr=1e30, save_every=1)
    assert "\n" not in str(raised.value)


# --- refused


def test_test_rows_are_never_trained_on(home: Path, model: Path) -> None:
    data = home / "leaky"
    write_task(small_task({"q1": "price question  104"}, qrels={"q1": {"d1": 1}}, name="gov_report"), data)
    write_task(small_task(), data)
    write_task(train_task(), data)
    leaky = small_task({"t1": "remote question 101"}, qrels={"t1": {"d1": 1}}, name="2wikimqa")
    write_task(leaky, data)
    with pytest.raises(LocoError, match=r"query 'q1' of qmsum\.train is query 't1' of 2wikimqa.*--drop-overlap"):
        tuned(model, data, home / "never")
    assert not (home / "never.training").exists()
    made = tuned(model, data, home / "dropped", drop_overlap=True, max_steps=1)
    assert made.card.trained_on[0].queries == 5


def test_what_cannot_be_trained_is_told_in_a_line(home: Path, model: Path, data: Path, whole: Path) -> None:
    for said, act in (
        (r"Task 'gov_report' \(mini\) is not in", lambda: _train(model, data, home, "gov_report")),
        ("Models of the family bm25 cannot be trained", lambda: _train("bm25", data, home)),
        ("No model 'bm26'", lambda: _train("bm26", data, home)),
        (
            "A batch of 9 is not made of micro-batches of 2",
            lambda: tuned(model, data, home / "x", batch=9, micro_batch=2),
        ),
        ("leave out its sizes and --vocabulary", lambda: pretrained(corpus(home), home / "x", start=whole)),
        ("An M2-BERT has no option 'depth'", lambda: pretrained(corpus(home), home / "x", shape={"depth": 3})),
        (
            "widths 15 and 32 do not divide",
            lambda: pretrained(corpus(home), home / "x", shape={**SHAPE, "hidden_size": 15}),
        ),
        ("it is for another vocabulary", lambda: _other_words(home, whole)),
        ("is no multiple of the model's 24", lambda: _start(home, whole, window=30)),
        ("There is no checkpoint", lambda: _start(home, home / "nowhere")),
    ):
        with pytest.raises(LocoError, match=said):
            act()


def test_what_is_not_of_a_run_is_never_deleted(home: Path, model: Path, data: Path) -> None:
    theirs = home / "mine.training"
    theirs.mkdir()
    (theirs / "notes.jsonl").write_text("{}")
    with pytest.raises(LocoError, match=r"holds something else \('notes\.jsonl'\)"):
        tuned(model, data, home / "mine", max_steps=1)
    (theirs / "run.json").write_text('{"epochs": 3}')
    with pytest.raises(LocoError, match="of no run of loco's"):
        tuned(model, data, home / "mine", max_steps=1)
    assert {path.name for path in theirs.iterdir()} >= {"notes.jsonl", "run.json"}


def test_what_appears_while_a_run_goes_on_stays(home: Path, model: Path, data: Path) -> None:
    out, aside = home / "appears", home / "aside"

    def say(line: str) -> None:
        out.mkdir(exist_ok=True)
        (out / "notes.txt").write_text("mine")
        (home / "appears.training" / "notes.txt").write_text("mine")

    with pytest.raises(LocoError, match="made by something else meanwhile"):
        tuned(model, data, out, max_steps=1, say=say)
    assert (out / "notes.txt").read_text() == "mine"
    out.rename(aside)
    assert tuned(model, data, out, max_steps=1).card.steps == 1
    assert [path.name for path in (home / "appears.training").iterdir()] == ["notes.txt"]


def test_a_converted_model_is_known_as_trained_on_loco_too(home: Path, straight: Path) -> None:
    for source, name in ((straight, "of-a-folder"), (straight / "model.safetensors", "of-a-file")):
        tool().convert(source, home / name, allow_pickle=False)
        assert model_card(str(home / name)).trained_on_loco
    tool().extend(straight, home / "extended", 2 * WINDOW, "tiled", allow_pickle=False)
    assert model_card(str(home / "extended")).trained_on_loco


def test_a_known_model_with_trained_weights_is_known_as_trained_on_loco(straight: Path) -> None:
    from loco_adapters.m2bert.resolve import with_weights

    known = model_card(str(straight)).model_copy(update={"trained_on_loco": False})
    for weights_in in (straight, straight / "model.safetensors"):
        assert with_weights(known, str(weights_in), None, None).trained_on_loco


def _train(model: Path | str, data: Path, home: Path, task: str = "qmsum") -> Any:
    from loco.training.finetune import train

    return train(str(model), [task], "mini", home / "x", Finetuning(device="cpu"), data=data)


def _start(home: Path, start: Path, **about: Any) -> Any:
    return pretrained(corpus(home), home / "y", shape=None, vocabulary=None, start=start, **about)


def _other_words(home: Path, whole: Path) -> Any:
    from loco.training.vocabulary import train_wordpiece

    train_wordpiece(corpora([str(corpus(home))]), 90, home / "other.json")
    return _start(home, whole, tokenizer=home / "other.json")

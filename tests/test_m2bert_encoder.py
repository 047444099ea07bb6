"""M2-BERT as a model of loco: cards, cutting, padding, weights of the user's, the commands around checkpoints."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import COMMIT, Served, hub
from m2bert_golden import torch as _  # noqa: F401 - one thread: models this small lose by a second one
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tasks import small_task
from transformers import AutoModel, AutoTokenizer
from typer.testing import CliRunner

import loco
import loco_adapters.m2bert
from loco.cli import app
from loco.encode.encoding import room
from loco.errors import LocoError
from loco.models.registry import load_model, model_card, model_cards, settled, strategies_of
from loco.models.runtime import Runtime
from loco.tasks.builders import mini
from loco.tasks.card import task_card
from loco.tasks.data import write_task
from loco.tokens.reference import reference_tokenizer
from loco.training.card import training_card
from loco_adapters.m2bert import M2BertConfig, M2BertForMaskedLM, M2BertModel
from loco_adapters.m2bert.encoder import M2BertEncoder, bert_tokenizer
from loco_adapters.m2bert.sentence import modules

WINDOW = 24
LONG = "the quick brown fox jumps over the lazy dog and runs on " * 8


def small(window: int = WINDOW, **changes: object) -> M2BertConfig:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "hyena_filter_order": 8}
    return M2BertConfig(max_position_embeddings=window, **{**sizes, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small M2-BERT as transformers saves it, without a tokenizer."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "small"
    M2BertModel(small()).eval().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> M2BertEncoder:
    return loaded(folder)


def loaded(path: Path | str, **settings: str) -> M2BertEncoder:
    model = load_model(model_card(str(path), settings), Runtime(device="cpu", allow_pickle="pickle" in str(path)))
    assert isinstance(model, M2BertEncoder)
    return model


def vectors(encoder: M2BertEncoder, texts: list[str]) -> np.ndarray:
    inputs = []
    for text in encoder.tokenize(texts, "document"):
        inputs.append(text.input(0, min(text.tokens, WINDOW - encoder.overhead("document"))))
    return np.concatenate(encoder.encode(inputs))


def reference(folder: Path, ids: list[list[int]]) -> np.ndarray:
    model = AutoModel.from_pretrained(folder).eval()
    padded = torch.tensor([row + [0] * (WINDOW - len(row)) for row in ids])
    with torch.inference_mode():
        return model(padded).pooler_output.numpy()


# --- what it reads


def test_a_short_text_is_padded_to_the_window_and_pooled_as_the_model_does(
    folder: Path, encoder: M2BertEncoder
) -> None:
    texts = ["a red cat", "", "Déjà vu, again?"]
    expected = reference(folder, [reference_tokenizer().encode(text).ids for text in texts])
    assert np.abs(vectors(encoder, texts) - expected).max() < 1e-6
    assert (encoder.traits.padding, encoder.traits.max_tokens, encoder.traits.dim) == ("window", WINDOW, 16)


def test_a_model_that_is_not_padded_reads_a_text_alike_alone_and_in_any_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    M2BertModel(small(pad_to_window=False, pool_all=True)).save_pretrained(tmp_path / "unpadded")
    encoder = loaded(tmp_path / "unpadded")
    texts = ["a red cat", "", "Déjà vu, again?", LONG]
    together = vectors(encoder, texts)
    assert encoder.traits.padding == "longest"
    assert np.abs(together - np.concatenate([vectors(encoder, [text]) for text in texts])).max() < 1e-6
    model = AutoModel.from_pretrained(tmp_path / "unpadded").eval()
    with torch.inference_mode():
        alone = model(torch.tensor([reference_tokenizer().encode(texts[0]).ids])).pooler_output.numpy()
    assert np.abs(together[:1] - alone).max() < 1e-6
    bert_tokenizer().save_pretrained(tmp_path / "unpadded")
    sentences = SentenceTransformer(modules=modules(tmp_path / "unpadded"), device="cpu")
    assert np.abs(sentences.encode(texts[:3]) - together[:3]).max() < 1e-6


def test_a_card_that_says_another_padding_than_the_model_is_told(folder: Path) -> None:
    card = model_card(str(folder))
    wrong = card.model_copy(update={"parameters": {**card.parameters, "padding": "longest"}})
    with pytest.raises(LocoError, match=r"has padding 'window', and small 'longest'"):
        load_model(wrong)


def test_a_text_longer_than_the_window_loses_its_closing_sep_and_nothing_else(
    folder: Path, encoder: M2BertEncoder
) -> None:
    ids = reference_tokenizer().encode(LONG).ids[:WINDOW]
    text = encoder.tokenize([LONG], "document")[0]
    cut = text.input(0, WINDOW - encoder.overhead("document"))
    assert cut.content.tolist() == ids
    assert np.abs(encoder.encode([cut])[0] - reference(folder, [ids])).max() < 1e-6


def test_a_text_that_fills_all_but_the_seps_place_is_whole(encoder: M2BertEncoder) -> None:
    text = encoder.tokenize(["cat " * (WINDOW - 1)], "document")[0]
    assert text.tokens == WINDOW - 1 == WINDOW - encoder.overhead("document")
    assert text.input(0, text.tokens).tokens == WINDOW
    shorter = encoder.tokenize(["cat " * (WINDOW - 2)], "document")[0]
    assert shorter.input(0, shorter.tokens).content[-1] == reference_tokenizer().token_to_id("[SEP]")


@pytest.mark.parametrize("size", [5, WINDOW])
def test_pieces_are_of_their_size_and_only_the_end_of_a_text_is_closed(encoder: M2BertEncoder, size: int) -> None:
    sep = reference_tokenizer().token_to_id("[SEP]")
    (strategy,) = strategies_of(encoder.card, f"chunk({size})")
    (text,) = encoder.tokenize(["cat " * 50], "document")
    pieces = strategy.cut(text, room(encoder, "document"))
    assert {piece.tokens for piece in pieces[:-1]} == {size}
    assert [piece.content[-1] == sep for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    (beginning,) = encoder.tokenize(["cat " * 50], "document", limit=size - 1)
    assert beginning.input(0, size - 1).tokens == size


def test_with_keep_sep_the_text_gives_up_a_token_for_it(folder: Path) -> None:
    card = model_card(str(folder))
    keeping = load_model(card.model_copy(update={"parameters": {**card.parameters, "cut": "keep-sep"}}))
    hard = loaded(folder)
    text = keeping.tokenize([LONG], "query")[0].input(0, WINDOW - keeping.overhead("query"))
    assert (keeping.overhead("query"), hard.overhead("query")) == (2, 1)
    assert text.tokens == WINDOW
    assert text.content[-1] == reference_tokenizer().token_to_id("[SEP]")
    assert keeping.traits.fingerprint != hard.traits.fingerprint


def test_nothing_is_cut_that_is_not_counted_where_a_tokenizer_closes_no_text(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "bare")
    own = json.loads(reference_tokenizer().to_str()) | {"post_processor": None}
    (tmp_path / "bare" / "tokenizer.json").write_text(json.dumps(own))
    bare = loaded(tmp_path / "bare")
    assert bare.overhead("document") == 0
    text = bare.tokenize([LONG], "document")[0]
    assert text.input(0, WINDOW).content.tolist() == reference_tokenizer().encode(LONG).ids[1 : WINDOW + 1]


def test_a_batch_changes_nothing(encoder: M2BertEncoder) -> None:
    texts = ["one", "another one", LONG[:40]]
    together = vectors(encoder, texts)
    alone = np.concatenate([vectors(encoder, [text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-6


def test_half_precision_stays_close(folder: Path, encoder: M2BertEncoder) -> None:
    half = load_model(model_card(str(folder)), Runtime(device="cpu", dtype="bfloat16"))
    a, b = vectors(encoder, ["a red cat", LONG[:60]]), vectors(half, ["a red cat", LONG[:60]])
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert half.traits.dtype == "bfloat16"
    assert cosines.min() > 0.99


# --- through the whole pipeline


def test_it_is_evaluated_in_pieces_with_every_token_counted(folder: Path, tmp_path: Path) -> None:
    write_task(small_task(documents={"d1": LONG, "d2": "short", "d3": "red"}), tmp_path / "data")
    results = {}
    for strategy in ("truncate", "chunk"):
        results[strategy] = loco.evaluate(
            str(folder), "qmsum", "mini", strategy, data=tmp_path / "data", cache=tmp_path / "cache"
        )
    tokens = len(reference_tokenizer().encode(LONG, add_special_tokens=False).ids)
    cut = results["truncate"].measurement.documents
    assert (cut.texts_cut, cut.tokens - cut.tokens_seen) == (1, tokens - (WINDOW - 1))
    whole = results["chunk"].measurement.documents
    assert (whole.texts_cut, whole.tokens_seen) == (0, whole.tokens)
    assert results["chunk"].measurement.vectors.padding == "window"


# --- cards


def test_cards_have_the_windows_of_the_released_models_and_are_trained_on_loco() -> None:
    family = {
        name: card
        for name, card in model_cards().items()
        if card.family == "m2bert" and "bundled" not in card.parameters
    }
    windows = {"128": 128, "2k": 2048, "8k": 8192, "32k": 32768, "2k-v2": 2048, "8k-v2": 8192, "32k-v2": 32768}
    assert {name: card.max_tokens for name, card in family.items()} == {
        f"m2bert-{name}": window for name, window in windows.items()
    }
    for card in family.values():
        assert card.trained_on_loco
        assert not card.untrained
        with torch.device("meta"):
            model = M2BertModel(M2BertConfig(max_position_embeddings=card.max_tokens))
        assert card.weights == sum(weight.numel() for weight in model.parameters())


def test_random_weights_are_the_same_for_a_seed_and_say_what_they_are() -> None:
    card = model_card("m2bert-128", {"init": "random", "seed": "7"})
    assert (card.name, card.untrained, card.trained_on_loco) == ("m2bert-128 (random, seed 7)", True, False)
    assert settled(card) == card
    with torch.random.fork_rng():
        before = torch.get_rng_state()
        first, second = load_model(card), load_model(card)
        assert torch.equal(torch.get_rng_state(), before)
    other = load_model(model_card("m2bert-128", {"init": "random", "seed": "8"}))
    one, two, three = (
        each.encode([each.tokenize(["a red cat"], "query")[0].input(0, 3)])[0] for each in (first, second, other)
    )
    assert np.array_equal(one, two)
    assert np.abs(one - three).max() > 1e-3
    assert first.traits.fingerprint == second.traits.fingerprint != other.traits.fingerprint


def test_a_checkpoint_is_named_by_its_contents(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "tuned.pt").write_bytes((folder / "model.safetensors").read_bytes())
    card = model_card("m2bert-128", {"checkpoint": str(tmp_path / "tuned.pt")})
    assert card.name.startswith("m2bert-128 (tuned.pt@")
    assert card.revision.startswith("sha256:")
    assert str(tmp_path) not in card.identity.model_dump_json()
    torch.manual_seed(1)
    M2BertModel(small()).save_pretrained(tmp_path / "other")
    (tmp_path / "tuned.pt").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    again = model_card("m2bert-128", {"checkpoint": str(tmp_path / "tuned.pt")})
    assert (again.name, again.revision) != (card.name, card.revision)


def test_a_folders_configuration_is_part_of_what_a_checkpoint_is(tmp_path: Path) -> None:
    torch.manual_seed(1)
    M2BertModel(small(128)).save_pretrained(tmp_path / "tuned")
    by_first = model_card("m2bert-128", {"checkpoint": str(tmp_path / "tuned")})
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    (tmp_path / "tuned" / "config.json").write_text(json.dumps(config | {"pool_all": True}))
    by_mean = model_card("m2bert-128", {"checkpoint": str(tmp_path / "tuned")})
    assert (by_first.name, by_first.revision) != (by_mean.name, by_mean.revision)
    assert by_first.weights is None


def test_a_users_checkpoint_is_what_runs(tmp_path: Path) -> None:
    """With the shape of the released models, so that it fits a known card."""
    config = M2BertConfig(max_position_embeddings=128)
    torch.manual_seed(3)
    model = M2BertModel(config).eval()
    state = {f"module.bert.{name}": tensor for name, tensor in model.state_dict().items() if not name.endswith("freq")}
    state |= {f"module.bert.{n}": t for n, t in model.state_dict().items() if n.endswith("filter.1.freq")}
    torch.save(state, tmp_path / "tuned.pt")
    mine = loaded("m2bert-128", checkpoint=str(tmp_path / "tuned.pt"))
    ids = reference_tokenizer().encode("a red cat").ids
    with torch.inference_mode():
        expected = model.embed(torch.tensor([ids + [0] * (128 - len(ids))]))
    text = mine.tokenize(["a red cat"], "document")[0]
    assert np.abs(mine.encode([text.input(0, 3)])[0] - expected.numpy()).max() < 1e-6
    with pytest.raises(LocoError, match="is for a window of 128 tokens, not 2048: take the matching model"):
        loaded("m2bert-2k", checkpoint=str(tmp_path / "tuned.pt"))


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("m2bert-128", {"init": "zero"}, "the only one is random"),
        ("m2bert-128", {"seed": "1"}, "--seed is for --init random"),
        ("m2bert-128", {"init": "random", "seed": str(2**64)}, "is no whole number from 0 to 9223372036854775807"),
        ("m2bert-128", {"init": "random", "seed": "-1"}, "is no whole number"),
        ("m2bert-128", {"checkpoint": "~nobody-of-that-name/x.pt"}, "Cannot read the checkpoint ~nobody-of-that-name"),
        ("m2bert-128", {"checkpoint": "x" * 5000}, "File name too long"),
        ("m2bert-128", {"init": "random", "checkpoint": "x"}, "exclude each other"),
        ("m2bert-128", {"checkpoint": "nowhere.pt"}, "There is no checkpoint nowhere.pt"),
        ("m2bert-128", {"init": "random", "pooling": "cls"}, "leave out --pooling"),
        ("m2bert-128", {"query_prompt": "q"}, "leave out --query-prompt"),
        ("bm25", {"init": "random", "seed": "1"}, "takes no other weights than its own: leave out --init, --seed"),
        ("m2bert-1k", {"init": "random"}, "No model 'm2bert-1k'"),
    ],
)
def test_a_setting_that_does_not_go_with_the_model_is_told(name: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(LocoError) as caught:
        model_card(name, settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_takes_no_other_weights_than_its_own(folder: Path) -> None:
    with pytest.raises(LocoError, match="Model 'small' takes no other weights than its own: leave out --init"):
        model_card(str(folder), {"init": "random"})


# --- checkpoints that cannot be


def broken(folder: Path, kind: str) -> None:
    file = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(file)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif kind == "pickle":
        file.unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": Path("x")}))
    elif kind == "nan":
        weights = {name: tensor.half() for name, tensor in weights.items()}
        weights["pooler.dense.bias"][0] = float("nan")
        save_file(weights, file, {"format": "pt"})
    elif kind == "other width":
        (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32, "intermediate_size": 64}))
    elif kind == "other window":
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 48, "long_conv_l_max": 48}))
    elif kind == "missing":
        del weights["encoder.layer.1.mlp.wo.weight"]
        save_file(weights, file, {"format": "pt"})
    elif kind == "tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    elif kind == "words":
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
        weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:100].clone()
        save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "is damaged or cut short"),
        ("pickle", "allow it with --allow-pickle"),
        ("nan", "holds values that are not finite"),
        ("other width", "is of another configuration"),
        ("other window", "is for a window of 24 tokens, not 48"),
        ("missing", "lacks encoder.layer.1.mlp.wo.weight"),
        ("tokenizer", "is no tokenizer"),
        ("words", "has vectors for 100 words, and its tokenizer knows 30,522"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_told_in_one_line_with_status_2(
    tmp_path: Path, folder: Path, kind: str, said: str
) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    broken(copy, kind)
    write_task(small_task(), tmp_path / "data")
    run = CliRunner().invoke(
        app,
        [
            *("eval", "--model", str(copy), "--task", "qmsum", "--variant", "mini"),
            *("--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "results")),
        ],
    )
    assert run.exit_code == 2, run.output
    assert said in " ".join(run.output.split())
    assert "Traceback" not in run.output
    assert not list((tmp_path / "results").rglob("*.json"))


# --- loco models convert, extend


def test_convert_writes_a_folder_for_loco_transformers_and_sentence_transformers(tmp_path: Path, folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    state = {"state": {"model": {f"model.bert.{n}": t for n, t in model.state_dict().items()}}, "rng": [Path("x")]}
    torch.save(state, tmp_path / "composer.pt")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    refused = CliRunner().invoke(app, ["models", "convert", str(tmp_path / "composer.pt"), str(tmp_path / "clean")])
    assert refused.exit_code == 2
    assert "--allow-pickle" in refused.output
    assert not (tmp_path / "clean").exists()
    run = CliRunner().invoke(
        app, ["models", "convert", str(tmp_path / "composer.pt"), str(tmp_path / "clean"), "--allow-pickle"]
    )
    assert run.exit_code == 0, run.output
    assert "that embeds texts, window 24" in run.output
    clean = loaded(tmp_path / "clean")
    assert np.abs(vectors(clean, ["a red cat"]) - vectors(loaded(folder), ["a red cat"])).max() < 1e-6
    ids = AutoTokenizer.from_pretrained(tmp_path / "clean")("a red cat")["input_ids"]
    assert ids == reference_tokenizer().encode("a red cat").ids
    sentences = SentenceTransformer(modules=modules(tmp_path / "clean"), device="cpu")
    assert np.abs(sentences.encode(["a red cat"]) - vectors(clean, ["a red cat"])).max() < 1e-6


def test_convert_replaces_no_link_and_says_nothing_but_what_it_wrote(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    refused = CliRunner().invoke(app, ["models", "convert", str(folder), str(tmp_path / "link")])
    assert (refused.exit_code, (tmp_path / "link").is_symlink()) == (2, True)
    assert "already exists" in refused.output
    run = CliRunner().invoke(app, ["models", "convert", str(folder), str(tmp_path / "clean")])
    assert run.output == f"Wrote {tmp_path / 'clean'}: an M2-BERT that embeds texts, window 24\n"


def test_convert_in_nobodys_home_is_one_line(folder: Path) -> None:
    run = CliRunner().invoke(app, ["models", "convert", str(folder), "~nobody-of-that-name/x"])
    assert run.exit_code == 2
    assert run.output.startswith("loco: ~nobody-of-that-name/x is in the home of nobody")


@pytest.mark.parametrize("features", ["tiled", "fresh"])
def test_extend_writes_a_model_with_the_longer_window(tmp_path: Path, folder: Path, features: str) -> None:
    target = tmp_path / "longer"
    run = CliRunner().invoke(
        app, ["models", "extend", str(folder), str(target), "--window", "96", "--features", features]
    )
    assert run.exit_code == 0, run.output
    old, new = load_file(folder / "model.safetensors"), load_file(target / "model.safetensors")
    table, z = "embeddings.position_embeddings.weight", "encoder.layer.0.attention.filter_fn.pos_emb.z"
    assert torch.equal(new[table], old[table].repeat(4, 1))
    assert torch.equal(new[z], old[z].repeat(1, 4, 1)) == (features == "tiled")
    assert new[z][0, :WINDOW].abs().sum() > 0
    assert model_card(str(target)).max_tokens == 96


def test_a_masked_lm_can_be_extended_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    M2BertForMaskedLM(small()).save_pretrained(tmp_path / "mlm")
    run = CliRunner().invoke(app, ["models", "extend", str(tmp_path / "mlm"), str(tmp_path / "x"), "--window", "48"])
    assert run.exit_code == 0, run.output
    assert "predicts masked tokens, window 48" in run.output


@pytest.mark.parametrize(
    ("window", "said"), [("36", "is no multiple"), ("0", "is no multiple"), ("-24", "is no multiple")]
)
def test_a_window_that_cannot_be_made_is_told(tmp_path: Path, folder: Path, window: str, said: str) -> None:
    run = CliRunner().invoke(app, ["models", "extend", str(folder), str(tmp_path / "x"), "--window", window])
    assert run.exit_code == 2
    assert said in " ".join(run.output.split())
    assert not (tmp_path / "x").exists()


# --- from the hub

HUB_STEPS = """
import json, sys
from loco.errors import LocoError
from loco.models.registry import model_card, model_cards, load_model, settled
from loco.models.runtime import Runtime
repo = sys.argv[1]
known = model_cards()["m2bert-2k"]
mine = known.model_copy(update={"name": "mine", "parameters": {**known.parameters, "hub": repo}})
try:
    card, found = settled(mine), model_card(repo)
    model = load_model(found, Runtime(device="cpu"))
    text = model.tokenize(["a red cat"], "document")[0]
    print(json.dumps([card.revision, found.model_dump(), model.encode([text.input(0, 3)])[0].tolist()]))
except LocoError as error:
    print(json.dumps(str(error)))
"""


def stepped(home: Path, *arguments: str, **environment: str) -> object:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LOCO_"))}
    run = subprocess.run(
        [sys.executable, "-c", HUB_STEPS, *arguments],
        env={**clean, "HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def test_a_card_that_follows_the_newest_commit_records_it_and_an_older_m2bert_calls_itself_bert(
    tmp_path: Path, folder: Path
) -> None:
    config = json.loads((folder / "config.json").read_text()) | {
        "model_type": "bert",
        "monarch_mixer_sequence_mixing": True,
        "auto_map": {"AutoModelForMaskedLM": "bert_layers.BertForMaskedLM"},
    }
    published = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": (folder / "model.safetensors").read_bytes(),
        "bert_layers.py": b"raise SystemExit('the code of a checkpoint was run')",
    }
    files = {("owner/m2", name): Served(content, git=len(content) < 5000) for name, content in published.items()}
    with hub(files) as running:
        first = stepped(tmp_path, "owner/m2", HF_ENDPOINT=running.url)
    assert isinstance(first, list), first
    revision, card, vector = first
    again = stepped(tmp_path, "owner/m2", HF_HUB_OFFLINE="1")
    assert (revision, card["revision"], card["family"], card["max_tokens"]) == (COMMIT, COMMIT, "m2bert", WINDOW)
    assert np.abs(np.array(vector) - vectors(loaded(folder), ["a red cat"])).max() < 1e-6
    assert again == [revision, card, vector]
    lost = stepped(tmp_path / "empty", "owner/m2", HF_HUB_OFFLINE="1")
    assert str(lost).startswith("Cannot get the model owner/m2")


# --- the model that comes with loco


def test_the_bundled_model_is_small_whole_and_says_what_it_was_trained_on() -> None:
    card = model_card("m2bert-mini")
    folder = Path(loco_adapters.m2bert.__file__).with_name("mini")
    weights = load_file(folder / "model.safetensors")
    assert (folder / "model.safetensors").stat().st_size < 8_000_000
    trained = training_card(folder)
    assert trained is not None
    assert trained.trained_on_loco
    assert {(each.variant, each.split) for each in trained.trained_on} == {("mini", "train")}
    assert trained.start_card is not None
    assert trained.start_card.made_by == "loco pretrain"
    model = load_model(card, Runtime(device="cpu"))
    assert isinstance(model, M2BertEncoder)
    assert model.traits.max_tokens == card.max_tokens == 2048
    config = M2BertConfig.from_pretrained(folder)
    with torch.device("meta"):
        assert card.weights == sum(weight.numel() for weight in M2BertModel(config).parameters())
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def test_the_bundled_model_ranks_documents_of_the_mini_variant(tmp_path: Path) -> None:
    write_task(mini.build(task_card("stackoverflow")), tmp_path / "data")
    result = loco.evaluate(
        "m2bert-mini", "stackoverflow", "mini", "chunk", data=tmp_path / "data", cache=tmp_path / "cache"
    )
    assert result.metrics["ndcg@10"].low > 0.2  # in any order it is 0.05


def test_the_bundled_shape_is_not_drawn_at_random() -> None:
    with pytest.raises(LocoError, match="take m2bert-2k instead of m2bert-mini"):
        model_card("m2bert-mini", {"init": "random"})


def test_weights_of_the_users_take_the_place_of_the_bundled_ones(tmp_path: Path) -> None:
    source = Path(loco_adapters.m2bert.__file__).with_name("mini")
    shutil.copytree(source, tmp_path / "mine")
    card = model_card("m2bert-mini", {"checkpoint": str(tmp_path / "mine")})
    assert card.name.startswith("m2bert-mini (mine@")
    mine, bundled = load_model(card), load_model(model_card("m2bert-mini"))
    assert isinstance(mine, M2BertEncoder)
    assert isinstance(bundled, M2BertEncoder)
    assert np.array_equal(vectors(mine, ["a red cat"]), vectors(bundled, ["a red cat"]))

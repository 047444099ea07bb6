"""Weights out of every container they are published in, checked; and into a clean one."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from loco.errors import LocoError

from .configuration import M2BertConfig, options
from .filters import initial_decays, initial_times
from .modeling import FREQ, FREQ_ALIASES, M2BertForMaskedLM, M2BertModel, align

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# DataParallel's and Composer's wrappers, one around the other.
_WRAPPERS = re.compile(r"^(?:module\.|model\.)+")
_BASE = ("embeddings.", "encoder.", "pooler.")
_HEAD = "cls."
_DECODER = "cls.predictions.decoder.weight"
# Constants of the reference's CUDA extension, and a table of 0, 1, 2, ... that it stores.
_CONSTANTS = re.compile(r"flashfft|(?:^|\.)position_ids$")
_SHOWN = 3


@dataclass(frozen=True)
class Weights:
    """The tensors of one checkpoint, by the names of this package's models: ``embeddings...``, ``cls...``.

    In single precision, all finite; each filter's frequency stands once, under its first name.
    """

    source: Path
    tensors: Mapping[str, Tensor]
    config: M2BertConfig

    @property
    def pools(self) -> bool:
        """Whether there is a pooler, so that the checkpoint makes embeddings."""
        return any(name.startswith("pooler.") for name in self.tensors)

    @property
    def predicts(self) -> bool:
        """Whether there is a head for masked tokens."""
        return any(name.startswith(_HEAD) for name in self.tensors)


def read_weights(path: Path, config: M2BertConfig | None = None, *, allow_pickle: bool = False) -> Weights:
    """The weights in a file, or in a folder with ``model.safetensors`` or ``pytorch_model.bin``.

    Takes safetensors and torch files, flat or nested as Composer writes them, with or without ``module.``, ``model.``
    and ``bert.`` before the names. ``config`` is what the weights have to fit; without one it is the ``config.json``
    beside them, else what the shapes say. ``allow_pickle`` permits a file that holds more than tensors: reading one
    runs whatever code it carries.

    Raises LocoError for a file that is damaged, needs ``allow_pickle``, holds other weights than the configuration has
    (all named up to a few), or holds a value that is not finite.
    """
    file = weight_file(path)
    raw = _stripped(_state(_container(file, allow_pickle), file), file)
    tensors = _with_one_frequency(raw, file)
    if config is None:
        beside = file.with_name("config.json")
        config = _config_beside(beside) if beside.is_file() else _config_of_shapes(tensors, file)
    _check_shapes(tensors, config, file)
    return Weights(file, _finite(tensors, file), config)


def load_model(path: Path, config: M2BertConfig | None = None, *, allow_pickle: bool = False) -> M2BertModel:
    """The encoder with its pooler, ready to embed, from a checkpoint as :func:`read_weights` takes it.

    A head for masked tokens is left out. Raises LocoError as there, and for a checkpoint without a pooler.
    """
    return _encoder(read_weights(path, config, allow_pickle=allow_pickle))


def load_masked_lm(path: Path, config: M2BertConfig | None = None, *, allow_pickle: bool = False) -> M2BertForMaskedLM:
    """The encoder with its head for masked tokens, from a checkpoint as :func:`read_weights` takes it.

    A pooler is left out. Raises LocoError as there, and for a checkpoint without a head.
    """
    return _masked_lm(read_weights(path, config, allow_pickle=allow_pickle))


def load_either(
    path: Path, config: M2BertConfig | None = None, *, allow_pickle: bool = False
) -> M2BertModel | M2BertForMaskedLM:
    """What a checkpoint is: the encoder where it has a pooler (a head beside it is left out), else the masked LM.

    Raises LocoError as :func:`read_weights`.
    """
    weights = read_weights(path, config, allow_pickle=allow_pickle)
    return _encoder(weights) if weights.pools else _masked_lm(weights)


def _encoder(weights: Weights) -> M2BertModel:
    if not weights.pools:
        raise LocoError(
            f"{weights.source} has no pooler: it was pretrained and never fine-tuned for retrieval, so it makes no"
            " embeddings. Take a retrieval checkpoint."
        )
    with torch.device("meta"):
        model = M2BertModel(weights.config)
    fill(model, {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(_HEAD)})
    model.train(False)
    return model


def _masked_lm(weights: Weights) -> M2BertForMaskedLM:
    if not weights.predicts:
        raise LocoError(f"{weights.source} has no head for masked tokens. Take a pretraining checkpoint.")
    with torch.device("meta"):
        model = M2BertForMaskedLM(weights.config)
    words = weights.tensors["embeddings.word_embeddings.weight"]
    if not torch.equal(weights.tensors.get(_DECODER, words), words):
        raise LocoError(f"{weights.source}: the decoder is not the table of words, as it is in an M2-BERT.")
    named = {name if name.startswith(_HEAD) else "bert." + name: tensor for name, tensor in weights.tensors.items()}
    named = {name: tensor for name, tensor in named.items() if not name.startswith("bert.pooler.")}
    fill(model, {**named, _DECODER: words})
    model.train(False)
    return model


def fill(model: M2BertModel | M2BertForMaskedLM, tensors: dict[str, Tensor]) -> None:
    """Put tensors into a model on "meta", a frequency under all its names; constants that were left out are made."""
    config = cast(M2BertConfig, model.config)
    for name in model.state_dict():
        if name in tensors:
            continue
        if name.endswith(".pos_emb.t"):
            tensors[name] = initial_times(config.max_position_embeddings)
        elif name.endswith(".modulation.deltas"):
            tensors[name] = initial_decays(config.hidden_size)
        else:
            alias = next(alias for alias in FREQ_ALIASES if name.endswith(alias))
            tensors[name] = tensors[name.removesuffix(alias) + FREQ]
    model.load_state_dict(tensors, assign=True)
    model.tie_weights()
    align(model)


def weight_file(path: Path) -> Path:
    """The file with the weights: the path itself, or one of a folder. Raises LocoError where there is none."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise LocoError(f"There is no checkpoint {path}.")
    for name in WEIGHT_FILES:
        if (path / name).is_file():
            return path / name
    raise LocoError(f"The folder {path} holds none of {', '.join(WEIGHT_FILES)}: name the file itself.")


def _container(file: Path, allow_pickle: bool) -> Any:
    """What a file holds, by its contents and not by its name."""
    try:
        with file.open("rb") as stream:
            start = stream.read(10)
        if start[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
            return load_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a pickle's protocol: what cannot be read is refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise LocoError(f"{file} is damaged or cut short ({_first_line(error)}): get it again.") from error
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(file) and start[:1] != b"\x80":
            raise _no_checkpoint(file) from error
        if allow_pickle:
            return _unpickled(file)
        raise LocoError(
            f"{file} is a pickle that holds more than tensors, and reading one runs whatever code it carries: if you"
            " trust who made it, allow it with --allow-pickle."
        ) from error
    except Exception as error:  # a damaged file fails wherever its reader happens to stand
        raise _no_checkpoint(file) from error


def _unpickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=False)
    except Exception as error:  # anything can happen in there
        raise LocoError(f"{file} cannot be unpickled ({type(error).__name__}: {_first_line(error)}).") from error


def _no_checkpoint(file: Path) -> LocoError:
    return LocoError(f"{file} is no checkpoint, or is damaged or cut short: get it again.")


def _state(content: Any, file: Path) -> dict[str, Tensor]:
    """The tensors by name; in a Composer checkpoint they lie under state, model."""
    if isinstance(content, Mapping) and isinstance(content.get("state"), Mapping):
        content = content["state"].get("model")
    if not isinstance(content, Mapping) or not content:
        raise LocoError(f"{file} holds no weights by name: it is no checkpoint of an M2-BERT.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not _is_whole(value):
            raise LocoError(f"{file} holds something else than tensors at {str(name)[:80]!r}: no M2-BERT checkpoint.")
    return dict(content)


def _is_whole(tensor: Tensor) -> bool:
    """Whether all values of a tensor are there, in rows."""
    return tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_nested


def _stripped(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Without wrappers' prefixes and without constants."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        short = _WRAPPERS.sub("", name).removeprefix("bert.")
        if _CONSTANTS.search(short):
            continue
        if short in tensors:
            raise LocoError(f"{file} holds {_plain(short)} twice, with different prefixes.")
        tensors[short] = tensor
    if not any(name.startswith(_BASE) for name in tensors):
        raise LocoError(f"{file} is no checkpoint of an M2-BERT: it holds {_some(tensors)}.")
    return tensors


def _with_one_frequency(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Each filter's frequency once; a checkpoint has it under any of its six names, or under all."""
    single = dict(tensors)
    for name in tensors:
        for alias in FREQ_ALIASES:
            if name.endswith(f".{alias}"):
                freq = name.removesuffix(alias) + FREQ
                same = single.setdefault(freq, tensors[name])
                if same.shape != tensors[name].shape or not torch.equal(same, tensors[name]):
                    raise LocoError(
                        f"{file}: {_plain(name)} and {_plain(freq)} differ, but an M2-BERT has one frequency a filter."
                    )
                del single[name]
    return single


def _config_beside(file: Path) -> M2BertConfig:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise LocoError(f"{file} is no configuration ({_first_line(error)}): repair it.") from error
    if not isinstance(said, dict):
        raise LocoError(f"{file} is no configuration: it holds no object. Repair it.")
    if said.get("model_type", "m2_bert") not in ("m2_bert", "bert"):  # older commits on the hub say bert
        raise LocoError(f"{file} describes a {_plain(said['model_type'])}, no M2-BERT.")
    known = options()  # whatever else transformers reads there is about other things than the weights
    try:
        return M2BertConfig(**{name: value for name, value in said.items() if name in known})
    except LocoError as error:
        raise LocoError(f"{file}: {error}") from error
    except Exception as error:  # the strict dataclass raises its own kinds
        raise LocoError(f"{file} is no configuration of an M2-BERT ({_first_line(error)}): repair it.") from error


def _config_of_shapes(tensors: Mapping[str, Tensor], file: Path) -> M2BertConfig:
    """The configuration that a checkpoint without one must have; what shapes do not tell is as in released models."""
    layer = "encoder.layer.0."
    needed = {
        "words": "embeddings.word_embeddings.weight",
        "positions": "embeddings.position_embeddings.weight",
        "types": "embeddings.token_type_embeddings.weight",
        "features": layer + "attention.filter_fn.pos_emb.z",
        "frequency": layer + "attention.filter_fn." + FREQ,
        "wo": layer + "mlp.wo.weight",
    }
    ranks = {"words": 2, "positions": 2, "types": 2, "features": 3, "frequency": 2, "wo": 3}
    _refuse_missing([name for name in needed.values() if name not in tensors], file)
    shape = {what: tuple(tensors[name].shape) for what, name in needed.items()}
    if any(len(shape[what]) != rank for what, rank in ranks.items()):
        raise LocoError(f"{file} has tensors of other forms than an M2-BERT: no such checkpoint.")
    return M2BertConfig(
        vocab_size=shape["words"][0],
        hidden_size=shape["words"][1],
        num_hidden_layers=_layers(tensors),
        intermediate_size=shape["wo"][0] * shape["wo"][2],
        max_position_embeddings=shape["positions"][0],
        type_vocab_size=shape["types"][0],
        monarch_mlp_nblocks=shape["wo"][0],
        hyena_filter_order=shape["frequency"][1],
        hyena_emb_dim=shape["features"][2],
    )


def _layers(tensors: Mapping[str, Tensor]) -> int:
    """How many layers there are weights of, whatever their numbers."""
    return len({found[1] for name in tensors if (found := re.match(r"encoder\.layer\.(\d+)\.", name))})


def _check_shapes(tensors: Mapping[str, Tensor], config: M2BertConfig, file: Path) -> None:
    """Refuse what the configuration cannot be filled with; a wrong window is said as one."""
    positions = tensors.get("embeddings.position_embeddings.weight")
    window = config.max_position_embeddings
    if positions is not None and positions.dim() and positions.shape[0] != window:
        raise LocoError(
            f"{file} is for a window of {positions.shape[0]} tokens, not {window}: take the matching model."
        )
    if (layers := _layers(tensors)) < config.num_hidden_layers:  # told before so many layers are made
        raise LocoError(f"{file} is not whole: it has {layers} layers of {config.num_hidden_layers}. Get it again.")
    expected = _expected_shapes(config)
    for name, tensor in tensors.items():
        if name in expected and tuple(tensor.shape) != expected[name]:
            raise LocoError(
                f"{file} is of another configuration: {name} has the shape {_shape(tensor.shape)}, not"
                f" {_shape(expected[name])}."
            )
    unknown = sorted(name for name in tensors if name not in expected)
    if unknown:
        raise LocoError(f"{file} holds what an M2-BERT of this configuration does not have: {_some(unknown)}.")
    absent = (name for name in expected if name not in tensors)
    _refuse_missing([name for name in absent if not _dispensable(name, tensors)], file)


def _expected_shapes(config: M2BertConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in M2BertModel(config).state_dict().items()}
        for name, tensor in M2BertForMaskedLM(config).state_dict().items():
            if name.startswith(_HEAD):
                shapes[name] = tuple(tensor.shape)
    return {name: shape for name, shape in shapes.items() if not name.endswith(FREQ_ALIASES)}


def _dispensable(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Constants that follow from the configuration, the tied decoder, and a pooler or a head as a whole."""
    if name.endswith((".pos_emb.t", ".modulation.deltas")) or name == _DECODER:
        return True
    part = next((part for part in ("pooler.", _HEAD) if name.startswith(part)), None)
    return part is not None and not any(other.startswith(part) for other in tensors)


def _refuse_missing(names: Sequence[str], file: Path) -> None:
    if names:
        raise LocoError(f"{file} is not whole: it lacks {_some(names)}. Get it again.")


def _finite(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    precise: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise LocoError(
                f"{file}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, not numbers with a point."
            )
        precise[name] = tensor.float()  # too large a number becomes infinite here
        if not bool(torch.isfinite(precise[name]).all()):
            raise LocoError(f"{file}: {name} holds values that are not finite. It cannot be used; get a sound one.")
    return precise


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(map(_plain, listed[:_SHOWN]))
    return shown + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")


def _plain(said: object) -> str:
    """A name out of somebody's file, to stand in a line."""
    return " ".join(str(said).split())[:80]


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

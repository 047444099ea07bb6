"""A checkpoint as modules of sentence-transformers, loaded in silence and whole, or not at all."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers.utils import logging as transformers_logging

from loco.errors import LocoError

from .checkpoint import Checkpoint
from .settings import Parameters

_MODES = {"cls": "cls", "mean": "mean", "last": "lasttoken"}
_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_LAYER = re.compile(r"(^|\.)(layers?|h|blocks?)\.\d+\.")
_UNUSED = re.compile(r"(^|\.)pooler\.")
_LONGEST_REASON = 300


def load_modules(checkpoint: Checkpoint, parameters: Parameters, dtype: torch.dtype) -> list[torch.nn.Module]:
    """The modules of a checkpoint on the CPU: the transformer in ``dtype``, a pooling and all others in float32.

    Raises LocoError for a checkpoint that is damaged, of an unknown kind, or lacks weights, and where the card says
    otherwise than the checkpoint about pooling.
    """
    configs = checkpoint.configs
    if not configs.plain and parameters.pooling not in (None, configs.pooling):
        raise LocoError(
            f"{configs.name} pools by {configs.pooling or 'other means'}, and its card says {parameters.pooling}. "
            "Leave pooling out for a checkpoint that says it."
        )
    if configs.plain and parameters.pooling is None:
        raise LocoError(f"{configs.name} says nothing about pooling: its card must say cls, mean or last.")
    with loading(configs.name) as reports:
        modules = _plain(checkpoint, parameters, dtype) if configs.plain else _named(checkpoint, dtype)
    check_complete(configs.name, reports)
    check_output(configs.name, modules[0])
    if parameters.normalise and not isinstance(modules[-1], Normalize):
        modules.append(Normalize())
    return [module.eval() for module in modules]


def _named(checkpoint: Checkpoint, dtype: torch.dtype) -> list[torch.nn.Module]:
    """What modules.json names."""
    configs = checkpoint.configs
    folder = str(configs.folder)
    about: dict[str, Any] = {"local_files_only": not checkpoint.runs_code, "trust_remote_code": checkpoint.runs_code}
    weights, frame = weights_in(checkpoint, dtype), configs.frame
    model = SentenceTransformer(folder, device="cpu", model_kwargs=weights, processor_kwargs=frame, **about)
    modules = list(model)
    if dtype != torch.float32:  # sentence-transformers has taken all modules to the precision of the first
        for place, row in enumerate(configs.modules):
            if place and any(True for _ in modules[place].parameters()):
                kind: Any = type(modules[place])
                modules[place] = kind.load(folder, subfolder=row.path, **about).float()
    return modules


def _plain(checkpoint: Checkpoint, parameters: Parameters, dtype: torch.dtype) -> list[torch.nn.Module]:
    """A transformer and the pooling that its card says."""
    about = {"local_files_only": not checkpoint.runs_code, "trust_remote_code": checkpoint.runs_code}
    transformer = Transformer(
        str(checkpoint.configs.folder),
        model_kwargs={**about, **weights_in(checkpoint, dtype)},
        processor_kwargs={**about, **checkpoint.configs.frame},
        config_kwargs=dict(about),
        modality_config=_TEXT,
        module_output_name="token_embeddings",
    )
    mode: Any = _MODES[parameters.pooling or "mean"]
    return [transformer, Pooling(transformer.get_embedding_dimension(), mode)]


def weights_in(checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, Any]:
    """What sentence-transformers is told about weights."""
    return {"dtype": dtype, "use_safetensors": None if checkpoint.pickled else True}


def check_output(name: str, transformer: torch.nn.Module) -> None:
    """Raise LocoError unless a text goes in and its token vectors come out. Unknown classes are given a try."""
    modalities: Mapping[str, Any] = getattr(transformer, "modality_config", _TEXT)
    output = getattr(transformer, "module_output_name", "token_embeddings")
    if "text" not in modalities or output != "token_embeddings":
        raise LocoError(f"{name} does not turn a text into token vectors, so loco cannot run it. Take another model.")


def check_complete(name: str, reports: list[Mapping[str, Any]]) -> None:
    """Raise LocoError where transformers reports weights without a layer, or layers without weights."""
    beyond = sorted({key for report in reports for key in report["unexpected_keys"] if _LAYER.search(key)})
    if beyond:
        raise LocoError(
            f"{name} holds weights of layers that its config.json does not have ({beyond[0]}): "
            "mend config.json, or get the checkpoint again."
        )
    check_weights(name, {key for report in reports for key in report["missing_keys"] if not _UNUSED.search(key)})


def check_weights(name: str, lacking: Set[str]) -> None:
    """Raise LocoError where a checkpoint called ``name`` lacks weights, which loading then draws at random."""
    missing = sorted(lacking)
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise LocoError(
            f"{name} lacks some of its weights ({shown}), which would be random numbers: "
            "get the checkpoint again, or save it with the class that its config.json names."
        )


@contextmanager
def loading(name: str) -> Iterator[list[Mapping[str, Any]]]:
    """Have the libraries load a checkpoint: in silence, what they raise as one line, and what they find out of weights
    that were missing or not expected as a report for each set of them.
    """
    with _quiet(), _one_line(name), _reports() as reports:
        yield reports


@contextmanager
def _reports() -> Iterator[list[Mapping[str, Any]]]:
    """What transformers finds out about each set of weights that is loaded meanwhile.

    It tells only who calls ``from_pretrained`` with ``output_loading_info``, and here sentence-transformers calls.
    """
    reports: list[Mapping[str, Any]] = []
    base: Any = transformers.PreTrainedModel
    original = base.__dict__["from_pretrained"]

    def from_pretrained(cls: Any, /, *arguments: Any, output_loading_info: bool = False, **settings: Any) -> Any:
        model, report = original.__func__(cls, *arguments, output_loading_info=True, **settings)
        reports.append(report)
        return (model, report) if output_loading_info else model

    base.from_pretrained = classmethod(from_pretrained)
    try:
        yield reports
    finally:
        base.from_pretrained = original


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Whatever the libraries raise about a checkpoint, as one line."""
    try:
        yield
    except (LocoError, MemoryError):
        raise
    except Exception as error:  # of many kinds, from many libraries
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:_LONGEST_REASON].rstrip(".:")
        if "size mismatch" in str(error) or "mismatched_sizes" in str(error):
            reason = "its weights do not have the shapes that config.json says"
        raise LocoError(
            f"Cannot load {name}: {reason}. Download or save the checkpoint again, or take another model."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, notes and progress bars of the libraries: what matters of them is checked here."""
    log = logging.getLogger("sentence_transformers")
    level, verbosity = log.level, transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    log.setLevel(logging.ERROR)
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()

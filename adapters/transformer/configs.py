"""What the small files of a checkpoint say, read without loading it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from loco.errors import LocoError, one_line
from loco.files import leads_outside
from loco.models.protocols import Similarity

from .settings import PoolingMode

MODULES = "modules.json"
METADATA = "artifact.metadata"  # what ColBERT's own code writes of a checkpoint

Kind = TypeVar("Kind")

_JSON: dict[type, str] = {dict: "object", list: "array"}
_NAMESPACE = "sentence_transformers."
_UNDERSTOOD = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
_WEIGHTED = ("Transformer", "Dense", "LayerNorm")

# Checkpoints of late interaction: what they call themselves, their modules, and what PyLate calls one of them.
_LATE = ("MultiVectorEncoder", "ColBERT")
_STANFORD = "HF_ColBERT"
_UNDERSTOOD_LATE = ("Transformer", "Dense", "MultiVectorMask", "Normalize")
_ALIASES = {"pylate.models.Dense.Dense": "sentence_transformers.base.modules.dense.Dense"}

# sentence-transformers' names for the ways of pooling, and its older ones, each a flag.
_POOLING: dict[str, PoolingMode] = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
_FLAGS = re.compile(r"pooling_mode_(cls|max|mean|mean_sqrt_len|weightedmean)_tokens?|pooling_mode_(lasttoken)")

# Models that count positions from behind the padding token's id: so many of their positions are never used.
_OFFSET = ("roberta", "camembert", "mpnet", "longformer", "xmod", "ibert", "data2vec-text", "lilt")

# Tokenizers that in transformers 4 went by two flags of tokenizer_config.json, and what held where one was not stated.
_FRAMED_BY_FLAGS = ("LlamaTokenizer", "GemmaTokenizer")
_FLAGS_OF_FRAME = {"add_bos_token": True, "add_eos_token": False}

_BOUNDLESS = 10**9  # tokenizers without a limit state an enormous one


@dataclass(frozen=True)
class Module:
    """A row of modules.json: a class, and the folder of the checkpoint that it is made from."""

    type: str
    path: str

    @property
    def kind(self) -> str:
        """The name of the class without where it is imported from."""
        return self.type.rpartition(".")[2]

    @property
    def weighted(self) -> bool:
        """Whether it has weights of its own."""
        return self.kind in _WEIGHTED or not self.type.startswith(_NAMESPACE)


@dataclass(frozen=True)
class Configs:
    """The configuration of a checkpoint in ``folder``, which a user knows as ``name``.

    ``modules`` are those of sentence-transformers, the transformer first; ``plain`` says that the checkpoint names
    none and is a transformer alone.
    """

    name: str
    folder: Path
    modules: tuple[Module, ...]
    plain: bool

    @property
    def home(self) -> Path:
        """The folder of the transformer itself."""
        return self.folder / self.modules[0].path

    @cached_property
    def transformer(self) -> dict[str, Any]:
        """Its config.json."""
        return read_object(self.home / "config.json")

    @cached_property
    def sentences(self) -> dict[str, Any]:
        """What sentence-transformers notes of the whole model: prompts, similarity. Empty for a plain checkpoint."""
        return read_object(self.folder / "config_sentence_transformers.json", missing_ok=True)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What sentence-transformers notes of the transformer: its window."""
        found = sorted(self.home.glob("sentence_*_config.json"))
        return read_object(found[0]) if found and not self.plain else {}

    @cached_property
    def _tokenizer(self) -> dict[str, Any]:
        return read_object(self.home / "tokenizer_config.json", missing_ok=True)

    @property
    def frame(self) -> dict[str, bool]:
        """Which special tokens its tokenizer is to put around a text; empty where tokenizer.json alone says that.

        For Llama's and Gemma's tokenizers transformers 4 went by two flags of tokenizer_config.json, whatever
        tokenizer.json said, and checkpoints were trained that way: e5-mistral pools the ``</s>`` that only a flag asks
        for. transformers 5 does so only if it is told both. For other tokenizers the flags never had an effect.
        """
        stated = {
            flag: self._tokenizer[flag] for flag in _FLAGS_OF_FRAME if isinstance(self._tokenizer.get(flag), bool)
        }
        kind = str(self._tokenizer.get("tokenizer_class", "")).removesuffix("Fast")
        return {**_FLAGS_OF_FRAME, **stated} if stated and kind in _FRAMED_BY_FLAGS else {}

    @property
    def late(self) -> bool:
        """Whether it makes a vector of each token, for late interaction."""
        return self.sentences.get("model_type") in _LATE or self.stanford

    @property
    def stanford(self) -> bool:
        """Whether ColBERT's own code has written it: a BERT, and beside its weights those of the projection."""
        architectures = self.transformer.get("architectures")
        return self.plain and isinstance(architectures, list) and _STANFORD in architectures

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What ColBERT's own code notes of a checkpoint; empty for none."""
        return read_object(self.folder / METADATA, missing_ok=True)

    @property
    def max_tokens(self) -> int | None:
        """The longest input it takes, in tokens with the special ones; None if it does not say.

        That is sentence-transformers' limit, or else the tokenizer's, and in any case as many positions as there are.
        """
        stated = _count(self.inputs.get("max_seq_length")) or _count(self._tokenizer.get("model_max_length"))
        limits = [limit for limit in (stated, self.positions) if limit]
        return min(limits, default=None)

    @property
    def positions(self) -> int | None:
        """How many positions its transformer has, as far as that is a limit and known."""
        text = self.transformer.get("text_config")
        config = {**(text if isinstance(text, dict) else {}), **self.transformer}
        kind = str(config.get("model_type", ""))
        if "t5" in kind:  # relative positions without end; what is stated is the length it was trained with
            return None
        positions = _count(config.get("max_position_embeddings")) or _count(config.get("n_positions"))
        if positions and any(name in kind for name in _OFFSET):
            padding = config.get("pad_token_id")
            positions -= (padding if isinstance(padding, int) else 1) + 1
        return positions

    @property
    def pooling(self) -> PoolingMode | None:
        """How it pools; None where nothing is said, or something that has no name here."""
        path = next((module.path for module in self.modules if module.kind == "Pooling"), None)
        if path is None:
            return None
        stated = read_object(self.folder / path / "config.json")
        modes = stated.get("pooling_mode")
        if modes is None:
            matches = {flag: _FLAGS.fullmatch(flag) for flag in stated}
            modes = [match[1] or match[2] for flag, match in matches.items() if match and stated[flag] is True]
        if not isinstance(modes, list):
            return _POOLING.get(modes) if isinstance(modes, str) else None
        known = [_POOLING.get(mode) for mode in map(str, modes or ["mean"])]
        return known[0] if len(known) == 1 else None

    @property
    def normalised(self) -> bool:
        """Whether its last step brings vectors to length 1."""
        return self.modules[-1].kind == "Normalize" and self.truncate_dim is None

    @property
    def truncate_dim(self) -> int | None:
        """The number of dimensions that sentence-transformers cuts its vectors to."""
        return _count(self.sentences.get("truncate_dim"))

    @property
    def similarity(self) -> Similarity:
        """What its vectors are compared by, cosine if it does not say."""
        stated = self.sentences.get("similarity_fn_name")
        if stated not in (None, "cosine", "dot"):
            raise LocoError(
                f"{self.name} compares vectors by {stated}; loco does by cosine or dot. Take another model."
            )
        return "dot" if stated == "dot" else "cosine"

    def prompts(self) -> tuple[str, str]:
        """What stands in front of a query and of a document.

        As encode_query and encode_document of sentence-transformers 6 take them: a default prompt is for neither.
        """
        stated = self.sentences.get("prompts")
        prompts: Mapping[str, Any] = stated if isinstance(stated, dict) else {}
        query, *documents = (prompts.get(name) for name in ("query", "document", "passage", "corpus"))
        document = next((prompt for prompt in documents if isinstance(prompt, str)), "")
        return (query if isinstance(query, str) else ""), document

    def code(self) -> str:
        """Why it cannot be loaded without Python code of its own, or nothing if it can."""
        for name, config in (("config.json", self.transformer), ("tokenizer_config.json", self._tokenizer)):
            if config.get("auto_map"):
                return f"auto_map in {name}"
        for module in self.modules:
            if not module.type.startswith(_NAMESPACE):
                return f"{module.type!r} in {MODULES}"
            if module.kind == "Dense":
                activation = read_object(self.folder / module.path / "config.json").get("activation_function")
                if activation is not None and not str(activation).startswith("torch."):
                    return f"{activation} in {module.path}/config.json"
        return ""


def read_configs(name: str, folder: Path) -> Configs:
    """The configuration of the checkpoint in a folder.

    Raises LocoError for a file that is damaged or missing, for a module whose folder lies elsewhere, and for what is no
    encoder of texts into one vector each, or one for each token.
    """
    rows = _read(folder / MODULES, list, missing_ok=True)
    modules = tuple(_module(folder / MODULES, row) for row in rows) or (Module(f"{_NAMESPACE}Transformer", ""),)
    configs = Configs(name, folder, modules, plain=not rows)
    if (configs.home / "adapter_config.json").is_file():
        raise LocoError(f"{name} is an adapter (adapter_config.json): merge it into the model it was trained on first.")
    if not (configs.home / "config.json").is_file():
        raise LocoError(f"{name} holds no config.json{_at(modules[0].path)}, so it is no transformer. Get it again.")
    for key in ("tokenizer_name_or_path", "processing_kwargs"):
        if configs.inputs.get(key):
            raise LocoError(f"{name} sets '{key}' for its tokenizer, which loco does not follow. Take another model.")
    if configs.late:
        _check_late(configs)
        return configs
    kinds = [module.kind for module in modules]
    foreign = [module.kind for module in modules if _foreign(module)]
    model = configs.sentences.get("model_type", "SentenceTransformer")
    if foreign or model != "SentenceTransformer":
        what = foreign[0] if foreign else model
        raise LocoError(f"{name} has a {what}, so it does not make one vector of a text as loco needs. Take another.")
    if not configs.plain and (kinds[1:2] != ["Pooling"] or kinds.count("Pooling") > 1):
        raise LocoError(
            f"{name} has the modules {', '.join(kinds)}: loco needs a transformer, then a pooling. Take another."
        )
    return configs


def _check_late(configs: Configs) -> None:
    """Raise LocoError for a checkpoint of late interaction with parts that loco cannot run, or that lacks some."""
    if configs.stanford:
        return
    if configs.plain:
        raise LocoError(f"{configs.name} lacks {MODULES}, which says what it is made of. Download or save it again.")
    kinds = [module.kind for module in configs.modules]
    strange = next((kind for kind in kinds if kind not in _UNDERSTOOD_LATE), None)
    if strange is not None or kinds[0] != "Transformer" or kinds.count("Transformer") > 1:
        raise LocoError(
            f"{configs.name} has the modules {', '.join(kinds)}: of late interaction loco runs a transformer, then "
            f"{', '.join(_UNDERSTOOD_LATE[1:])}. Take another model."
        )
    if "Dense" not in kinds:
        raise LocoError(
            f"{configs.name} has no projection (Dense) behind its transformer, so it is no whole model of late "
            "interaction. Download or save it again."
        )


def read_object(path: Path, missing_ok: bool = False) -> dict[str, Any]:
    """What stands in a JSON file that holds an object; empty for none where that is fine.

    Raises LocoError for anything else.
    """
    return _read(path, dict, missing_ok)


def _read(path: Path, kind: type[Kind], missing_ok: bool) -> Kind:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing_ok:
            return kind()
        raise LocoError(f"{path} is missing. Download or save the checkpoint again.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise LocoError(f"{path} cannot be read: {one_line(error)}. Download or save the checkpoint again.") from error
    if not isinstance(content, kind):
        raise LocoError(f"{path} should hold a JSON {_JSON[kind]}. Download or save the checkpoint again.")
    return content


def _module(path: Path, row: object) -> Module:
    kind, folder = (row.get("type"), row.get("path")) if isinstance(row, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(folder, str):
        raise LocoError(f"{path} names a module without type or path. Download or save the checkpoint again.")
    if leads_outside(folder):
        raise LocoError(f"{path} names {folder!r}, a path outside the checkpoint, so nothing of it is read.")
    where = str(PurePosixPath(folder))
    return Module(_ALIASES.get(kind, kind), "" if where == "." else where)


def _foreign(module: Module) -> bool:
    return module.type.startswith(_NAMESPACE) and module.kind not in _UNDERSTOOD


def _at(path: str) -> str:
    return f" in {path}" if path else ""


def _count(value: object) -> int | None:
    """A positive number that limits something, else None."""
    return int(value) if isinstance(value, int | float) and 0 < value < _BOUNDLESS else None

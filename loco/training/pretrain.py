"""``loco pretrain``: from texts and a shape to a folder with an encoder that predicts masked tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loco.environment import recorded
from loco.errors import LocoError, one_line
from loco.tasks.sources.files import hashed
from loco.training.card import TrainingCard, training_card
from loco.training.corpora import Corpus, corpora, train_splits
from loco.training.families import Features, MaskedFamily, masked_family
from loco.training.options import Pretraining
from loco.training.pairs import number_of
from loco.training.run import TOKENIZER, Outcome, Work, finished, flushing_subnormals, hash_of, leads, working
from loco.training.samples import SHORTEST, Marks, Mixture, masked
from loco.training.vocabulary import train_wordpiece

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from loco.training.masked import Sample

FAMILY = "m2bert"
EVALUATED = 64  # samples held out

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_ROUND = 8  # what tables of words are filled up to a multiple of

Say = Callable[[str], None]


def pretrain(
    sources: Sequence[str],
    out: Path,
    chosen: Pretraining,
    *,
    shape: Mapping[str, Any] | None = None,
    start: Path | None = None,
    window: int | None = None,
    features: Features = "tiled",
    tokenizer: Path | None = None,
    vocabulary: int | None = None,
    evaluation: str | None = None,
    allow_pickle: bool = False,
    command: str = "",
    say: Say = lambda line: None,
) -> Outcome:
    """Pretrain an encoder on texts (:func:`loco.training.corpora.corpora`) and write it as the folder ``out``.

    It begins as ``shape`` says, or as the model in ``start`` is; a longer ``window`` than that one's begins as
    ``features`` says. Its vocabulary is that of ``tokenizer`` (a folder or a file) or of ``start``, one of
    ``vocabulary`` tokens made from the texts, or bert-base-uncased's. ``evaluation`` is a corpus whose loss is measured
    as training goes on. A run that was stopped goes on; one that was finished is not done again.

    Raises LocoError for whatever the user can act on, TrainingInterrupted where the user stops it.
    """
    if start is not None and (shape or vocabulary is not None):
        raise LocoError("A model to start from has a shape and a vocabulary: leave out its sizes and --vocabulary.")
    if tokenizer is not None and vocabulary is not None:
        raise LocoError("--tokenizer and --vocabulary exclude each other: leave out one.")
    family = masked_family(FAMILY)
    read = corpora(sources)
    _refuse_inside(out, read)
    held_out = corpora([evaluation])[0] if evaluation is not None else None
    wanted = {**(shape or {}), **({"max_position_embeddings": window} if window is not None and start is None else {})}
    described = [corpus.described() for corpus in read]
    identity = {
        "made by": "loco pretrain",
        "corpora": [corpus.model_dump() for corpus in described],
        "evaluation": None if held_out is None else held_out.described().model_dump(),
        "shape": wanted,
        "start": None if start is None else [_hashed_start(start), window, features],
        "tokenizer": None if tokenizer is None else _hashed_tokenizer(tokenizer),
        "vocabulary": vocabulary,
        "settings": chosen.deciding,
    }
    done = finished(out, identity)
    if done is not None:
        return Outcome(out, done, reused=True)
    with working(out, identity) as work, flushing_subnormals():
        beside = start.parent if start is not None and start.is_file() else start
        words = _tokenizer(family, work, read, tokenizer or beside, vocabulary, say)
        words.backend_tokenizer.no_truncation()
        words.backend_tokenizer.no_padding()
        ids = _marks(words)

        def begin() -> PreTrainedModel:
            with trainer.quiet():
                if start is None:
                    return family.fresh(wanted, len(words), chosen.seed)
                return family.pretrained(start, window, features, allow_pickle=allow_pickle)

        from loco.training import masked as pretraining
        from loco.training import trainer

        first = begin()
        reads = family.window(first)
        _check_words(first, words, start)
        if reads < SHORTEST + 2:
            raise LocoError(f"A window of {reads} tokens is too short to pretrain at: give {SHORTEST + 2} or more.")
        weights = sum(weight.numel() for weight in first.parameters())
        say(f"{weights:,} weights, a window of {reads:,} tokens, {len(words):,} words; {chosen.steps:,} steps.")

        def tokenize(text: str) -> list[int]:
            return list(words.backend_tokenizer.encode(text, add_special_tokens=False).ids)

        evaluated = [] if held_out is None else _held_out(held_out, tokenize, ids, reads, chosen)
        ready = [first]
        del first

        def fresh(micro_batch: int) -> Any:
            model = ready.pop() if ready else begin()
            mixture = Mixture(read, tokenize, ids, reads, chosen.variable, chosen.seed, pretraining.position(work))
            samples = pretraining.Samples(mixture, ids, chosen)
            return pretraining.trainer(model, samples, evaluated, chosen, work, reads, ids.pad, micro_batch)

        micro_batch = min(chosen.micro_batch, chosen.batch)
        made, loss = trainer.run(work, chosen.steps, micro_batch, fresh, f"pretrain {out.name}")

        def save(folder: Path) -> None:
            with trainer.quiet():
                family.save_masked(made.cpu(), words, folder)

        earlier = None if start is None else training_card(start)
        trained_on = train_splits(read)
        card = TrainingCard(
            schema_version=1,
            made_by="loco pretrain",
            trained_on_loco=any(split.variant != "imported" for split in trained_on)
            or (earlier is not None and earlier.trained_on_loco),
            trained_on=trained_on,
            corpora=tuple(described),
            start="random weights" if start is None else f"{_plain(start.name)[:160]}@{_hashed_start(start)}",
            start_card=earlier,
            settings={
                name: ", ".join(map(str, value)) if isinstance(value, list) else value
                for name, value in {**chosen.deciding, "window": reads}.items()
            },
            identity=hash_of(identity),
            steps=chosen.steps,
            loss=loss,
            version=version("loco-bench"),
            command=recorded(command),
        )
        return work.finish(save, card) if leads() else Outcome(out, card)


def read_shape(path: Path) -> dict[str, Any]:
    """The options in a JSON file, or in a folder's ``config.json``. Raises LocoError for what is no configuration."""
    file = path / "config.json" if path.is_dir() else path
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LocoError(f"{file} is no configuration ({one_line(error)[:100]}).") from error
    if not isinstance(said, dict):
        raise LocoError(f"{file} is no configuration: it holds no object.")
    if said.get("model_type", "m2_bert") != "m2_bert":
        raise LocoError(f"{file} describes a {str(said['model_type'])[:80]}, no M2-BERT.")
    said.pop("long_conv_l_max", None)  # the window by its other name
    return said


def _refuse_inside(out: Path, read: Sequence[Corpus]) -> None:
    """Raise LocoError where what is made would be read as texts, by this run when it goes on or by the next one."""
    for folder in (Path(corpus.name).expanduser() for corpus in read if not corpus.shards[0].repo):
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise LocoError(f"{out} would lie in {folder}, which is read as texts. Choose another --out.")


def _tokenizer(
    family: MaskedFamily, work: Work, read: Sequence[Corpus], source: Path | None, vocabulary: int | None, say: Say
) -> PreTrainedTokenizerFast:
    if vocabulary is None:
        return family.tokenizer(source)
    made = work.folder / TOKENIZER
    if not made.is_file():
        say(f"Making a vocabulary of {vocabulary:,} tokens.")
        train_wordpiece(read, vocabulary, made)
    return family.tokenizer(made)


def _marks(words: PreTrainedTokenizerFast) -> Marks:
    named = {
        "cls": words.cls_token_id,
        "sep": words.sep_token_id,
        "pad": words.pad_token_id,
        "mask": words.mask_token_id,
    }
    missing = [name for name, number in named.items() if number is None]
    if missing:
        raise LocoError(f"The tokenizer has no [{missing[0].upper()}], which masking needs. Take one as BERT has it.")
    if named["pad"] != 0:
        raise LocoError("The tokenizer's [PAD] is not its first token, as an M2-BERT takes it. Take another tokenizer.")
    return Marks(**named, words=len(words))


def _check_words(model: PreTrainedModel, words: PreTrainedTokenizerFast, start: Path | None) -> None:
    """Raise LocoError for a checkpoint of another vocabulary."""
    table: Any = model.get_input_embeddings().weight
    rows = len(table)
    if not 0 <= rows - len(words) < _ROUND:
        raise LocoError(
            f"{start} has vectors for {rows:,} words and the tokenizer knows {len(words):,}: it is for another"
            " vocabulary. Pass its own with --tokenizer."
        )


def _held_out(corpus: Corpus, tokenize: Any, ids: Marks, window: int, chosen: Pretraining) -> list[Sample]:
    """Samples to measure the loss on, each filling the window."""
    mixture = Mixture([corpus], tokenize, ids, window, 0.0, chosen.seed)
    rows = islice(iter(mixture.next, None), EVALUATED)
    seeds = ([chosen.seed, number_of("evaluation"), number] for number in range(EVALUATED))
    both = (masked(row, chosen.masked_in_evaluation, ids, seed) for (_, row), seed in zip(rows, seeds, strict=True))
    return [{"input_ids": shown, "labels": labels} for shown, labels in both]


def _hashed_start(start: Path) -> str:
    for file in (start, *(start / name for name in _WEIGHTS)):
        if file.is_file():
            return f"sha256:{hashed(file)[:16]}"
    raise LocoError(f"There is no checkpoint {start}: name a folder with {_WEIGHTS[0]}, or a file.")


def _plain(name: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in name)


def _hashed_tokenizer(source: Path) -> str:
    file = source / TOKENIZER if source.is_dir() else source
    if not file.is_file():
        raise LocoError(f"There is no {TOKENIZER} at {source}.")
    return f"sha256:{hashed(file)}"

"""From a model and lengths to speed results, each length on disk as soon as it is finished."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

from loco.encode.strategies import Strategy, check_spans
from loco.environment import environment, recorded
from loco.errors import LocoError
from loco.files import check_writable
from loco.models.card import ModelCard
from loco.models.protocols import Encoder, Retriever
from loco.models.registry import load_model, strategies_of
from loco.results.files import read_record, record_path, write_record
from loco.results.speed import SpeedResult, SpeedRow
from loco.speed.bar import steps
from loco.speed.gpus import Gpus, gpus_of
from loco.speed.options import SpeedOptions
from loco.speed.text import SpeedText, text_to_read
from loco.speed.timing import ROLE, Timing


@dataclass(frozen=True)
class Measured:
    """A strategy's result as far as it has come, and its file; None where nothing was to be written."""

    result: SpeedResult
    path: Path | None


def measure_speed(
    card: ModelCard, options: SpeedOptions, command: str, *, out: Path | None = None
) -> Iterator[Measured]:
    """Measure a model: yields a strategy's result each time a length is finished, shortest first.

    With ``out``, each of them is on disk below that folder before it is yielded. Rows of other lengths that stand in
    the file already, measured on the same model in the same surroundings, stay there; a file of anything else is
    replaced. ``command`` is what a reader should run to repeat it. A text that does not fit into memory becomes a row
    that says so.

    Raises LocoError for a model without vectors or whose tokens cannot be counted, a strategy it cannot serve, a length
    that leaves no room for text, and vectors that are not finite.
    """
    strategies = strategies_of(card, options.strategies)
    if out is not None:
        check_writable(out)
    encoder = _timeable(load_model(card, options.runtime), strategies)
    gpus = gpus_of(encoder.traits.device)
    lengths = sorted(options.tokens)
    timings = [(strategy, Timing(encoder, gpus, strategy)) for strategy in strategies]
    with steps(f"Timing {card.name}", len(timings) * (options.repeats + 1) * sum(lengths)) as step:
        step("making texts", 0)
        texts = {tokens: text_to_read(encoder, tokens, ROLE) for tokens in lengths}
        for _, timing in timings:
            for text in texts.values():
                timing.cut(text.text)  # what cannot be cut fails before anything is timed
        for strategy, timing in timings:
            result: SpeedResult | None = None
            for tokens in lengths:

                def moved(done: int, tokens: int = tokens, name: str = strategy.name) -> None:
                    step(f"{name}, {tokens:,} tokens, pass {done + 1}", tokens if done else 0)

                row = _row(timing, tokens, texts[tokens], options.repeats + 1, moved, command)
                step("", tokens)
                result = _result(encoder, gpus, strategy, row) if result is None else result.with_rows([row])
                path = None if out is None else _kept(result, out)
                yield Measured(result, path)


def _row(
    timing: Timing, tokens: int, text: SpeedText, passes: int, before_each: Callable[[int], None], command: str
) -> SpeedRow:
    cut = timing.cut(text.text)
    timed = timing.timed(text.text, passes, before_each)
    runs = timed.passes[1:]
    seconds = median(run.seconds for run in runs) if runs else None
    sizes = [one.tokens for one in cut.inputs]
    return SpeedRow(
        tokens=tokens,
        text_tokens=text.tokens,
        text_tokens_seen=cut.seen,
        inputs=len(sizes),
        batches=len(cut.batches),
        tokens_read=sum(sizes),
        tokens_computed=timing.computed(cut),
        first=timed.passes[0] if runs else None,
        runs=tuple(runs),
        seconds=seconds,
        tokenising_seconds=median(run.tokenising_seconds for run in runs) if runs else None,
        tokens_per_second=sum(sizes) / seconds if seconds else None,
        peak_bytes=timed.peak_bytes,
        gpu_peak_bytes=timed.gpu_peak_bytes,
        problem="" if runs else f"out of memory: an input of {max(sizes):,} tokens does not fit even alone",
        command=recorded(command),
        finished_at=datetime.now(timezone.utc).replace(microsecond=0),
    )


def _result(encoder: Encoder, gpus: Gpus, strategy: Strategy, row: SpeedRow) -> SpeedResult:
    traits = encoder.traits
    torch = sys.modules.get("torch")
    return SpeedResult(
        kind="speed",
        schema_version=1,
        model=encoder.card.identity,
        strategy=strategy.name,
        fingerprint=traits.fingerprint,
        padding=traits.padding,
        device=traits.device,
        dtype=traits.dtype,
        gpus=gpus.names,
        batch_tokens=traits.batch_tokens,
        lanes=traits.concurrency,
        threads=None if torch is None else torch.get_num_threads(),
        environment=environment(),
        rows=(row,),
    )


def _kept(result: SpeedResult, out: Path) -> Path:
    """Write a result, with what stands in its file of other lengths where that is comparable; returns its path."""
    path = out / record_path(result.model.name, result.strategy, "speed", f"{result.device}-{result.dtype}")
    try:
        standing = read_record(path)
    except LocoError:  # none, or a damaged one
        standing = None
    if isinstance(standing, SpeedResult) and standing.comparable(result):
        result = standing.with_rows(result.rows)
    return write_record(result, path)


def _timeable(model: Retriever | Encoder, strategies: Sequence[Strategy]) -> Encoder:
    """The model where it can be timed as it was asked for; a LocoError that says why not, else."""
    name = model.card.name
    if not isinstance(model, Encoder):
        raise LocoError(
            f"Model '{name}' makes no vectors, so there is no encoding to time. What its index costs stands, phase by "
            f"phase, in its results: loco eval --model {name}"
        )
    check_spans(strategies, model.traits.spans, name)
    return model

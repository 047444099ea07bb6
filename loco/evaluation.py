"""The one pipeline every command uses: task x model x strategy -> result."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from loco.buckets import buckets_of
from loco.encode.forms import VectorForm, form_named
from loco.encode.strategies import Strategy
from loco.environment import environment, recorded
from loco.errors import LocoError
from loco.files import check_writable
from loco.models.card import ModelCard
from loco.models.registry import load_model, model_card, settled, strategies_of
from loco.models.runtime import Runtime
from loco.money import Plan
from loco.phases import phase, recording
from loco.pipeline import RankingModel, ordered
from loco.results import (
    Bootstrap,
    CostRecord,
    Measurement,
    Metric,
    PhaseRecord,
    Result,
    RoleCoverage,
    TaskRecord,
    VectorRecord,
    check_run,
    read_result,
    result_path,
    write_result,
)
from loco.score import bootstrap
from loco.score.metrics import DEPTH, MEASURES, PRIMARY, Scores, score
from loco.settings import cache_folder, data_folder
from loco.tasks.data import (
    ContentHashes,
    Manifest,
    Variant,
    not_built,
    read_manifest,
    read_task,
    variant_named,
)
from loco.tokens.lengths import relevant_lengths
from loco.trec import trec_run

# Raised whenever the same ranking would be turned into other figures.
PIPELINE_VERSION = 2


@dataclass(frozen=True)
class Evaluated:
    """A result, and whether it was already there. ``path`` is None when nothing was to be written."""

    result: Result
    path: Path | None
    reused: bool


@dataclass(frozen=True)
class Options:
    """How a model is to be evaluated, beside its card.

    ``strategies`` are names, several of them sharing one pass over the texts; None means the card's default.
    ``cache`` is the folder of the embedding store (default: below ``loco.settings.home``).
    """

    strategies: str | Sequence[str] | None = None
    dim: int | None = None
    quantise: str = "float32"
    runtime: Runtime = field(default_factory=Runtime)
    cache: Path | None = None


def evaluate(
    model: str,
    task: str,
    variant: str = "release",
    strategy: str | None = None,
    *,
    data: Path | str | None = None,
    out: Path | str | None = None,
    force: bool = False,
    settings: Mapping[str, str] | None = None,
    dim: int | None = None,
    quantise: str = "float32",
    runtime: Runtime | None = None,
    cache: Path | str | None = None,
) -> Result:
    """Evaluate a model on one built task.

    ``model`` is a name as ``loco models`` lists them, a hub id, a local folder or a class ``module:Class``; ``task``,
    ``variant`` and ``strategy`` are names as ``loco tasks`` and ``loco models show`` list them, the strategy with or
    without settings; none means the model's default. ``data`` is the folder of built tasks (default: below
    ``loco.settings.home``). With ``out``, the result and its TREC run are written below that folder, and a result of
    the same identity found there is returned instead of measured again, unless ``force``. The rest is as in
    ``loco eval``: ``settings`` for a model without a card (pooling, query_prompt, document_prompt), ``dim`` and
    ``quantise`` for vectors made smaller, ``cache`` for the folder of the embedding store.

    Raises LocoError for an unknown name, a task that is not built, or a model that returns nonsense.
    """
    if strategy is not None and len(strategies_of(model_card(model, settings), strategy)) > 1:
        raise LocoError("loco.evaluate returns one result, so it takes one strategy.")
    arguments = {"model": model, "task": task, "variant": variant, "strategy": strategy}
    more = {
        "settings": settings or None,
        "dim": dim,
        "quantise": None if quantise == "float32" else quantise,
        "runtime": None if runtime in (None, Runtime()) else runtime,
    }
    call = ", ".join(f"{name}={value!r}" for name, value in (arguments | more).items() if value is not None)
    command = f"loco.evaluate({call})"
    built, results, stored = (None if folder is None else Path(folder) for folder in (data, out, cache))
    options = Options(strategy, dim, quantise, runtime or Runtime(), stored)
    card = settled(model_card(model, settings))
    (evaluated,) = evaluate_tasks(card, [task], variant, options, command, data=built, out=results, force=force)
    return evaluated.result


def evaluate_tasks(
    card: ModelCard,
    tasks: Sequence[str],
    variant: str,
    options: Options,
    command: str,
    *,
    data: Path | None = None,
    out: Path | None = None,
    force: bool = False,
) -> Iterator[Evaluated]:
    """Evaluate a model task by task, as :func:`evaluate` does, loading it once and only if there is something to do.

    Yields a result for each task and strategy. ``command`` is what a reader should run to repeat it.
    """
    known_variant = variant_named(variant)
    form = form_named(options.quantise, options.dim, card, options.runtime.dtype)
    setup = _Setup(card, strategies_of(card, options.strategies), form)
    folder = data_folder(data)
    # What cannot end well fails before hours are spent on it.
    if options.runtime.budget is not None and card.service is None:
        raise LocoError(f"Model '{card.name}' runs on this machine and costs nothing: leave out --budget.")
    for task in tasks:
        _manifest(folder, known_variant, task)
    if out is not None:
        check_writable(out)
    loaded: RankingModel | None = None
    for task in tasks:
        found = _there_already(setup, _manifest(folder, known_variant, task), None if force else out)
        missing = [strategy for strategy in setup.strategies if strategy.name not in found]
        if missing and loaded is None:
            loaded = RankingModel(load_model(card, options.runtime), form, cache_folder(options.cache))
        if missing and loaded is not None:
            for result, run in _measured(loaded, setup, missing, read=(folder, known_variant, task), command=command):
                path = None if out is None else write_result(result, run, out)
                found[result.strategy] = Evaluated(result, path, reused=False)
        yield from (found[strategy.name] for strategy in setup.strategies)


@dataclass(frozen=True)
class Foretold:
    """What a task would take of a service, and about how many seconds; ``strategies`` have no result yet."""

    task: str
    strategies: tuple[str, ...]
    plan: Plan
    seconds: float


def foretell_tasks(
    card: ModelCard,
    tasks: Sequence[str],
    variant: str,
    options: Options,
    *,
    data: Path | None = None,
    out: Path | None = None,
    force: bool = False,
) -> Iterator[Foretold]:
    """What :func:`evaluate_tasks` would send to a service, task by task. Nothing is sent, and no key is needed.

    Raises LocoError for a model that runs on this machine.
    """
    if card.service is None:
        raise LocoError(f"Model '{card.name}' runs on this machine, and nothing is sent: leave out --dry-run.")
    known_variant, folder = variant_named(variant), data_folder(data)
    form = form_named(options.quantise, options.dim, card, options.runtime.dtype)
    setup = _Setup(card, strategies_of(card, options.strategies), form)
    model = RankingModel(load_model(card, replace(options.runtime, dry=True)), form, cache_folder(options.cache))
    for task in tasks:
        found = _there_already(setup, _manifest(folder, known_variant, task), None if force else out)
        missing = [strategy for strategy in setup.strategies if strategy.name not in found]
        planned = model.plan(missing, read_task(folder, known_variant, task)) if missing else None
        plan, seconds = planned or (Plan(), 0.0)
        yield Foretold(task, tuple(strategy.name for strategy in missing), plan, seconds)


@dataclass(frozen=True)
class _Setup:
    """What is asked for."""

    card: ModelCard
    strategies: Sequence[Strategy]
    form: VectorForm

    def identity(self, strategy: str, task: str, variant: Variant, content: ContentHashes) -> str:
        """A hash of all that determines a ranking and its figures."""
        decisive = {
            "model": self.card.identity.model_dump(include={"name", "revision", "parameters"}),
            "strategy": strategy,
            "task": task,
            "variant": variant,
            "content": content.model_dump(),
            "depth": DEPTH,
            "pipeline": PIPELINE_VERSION,
        }
        if self.form.name:
            decisive["vector_form"] = self.form.name
        if self.card.max_tokens is not None:
            decisive["max_tokens"] = self.card.max_tokens
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _manifest(data: Path, variant: Variant, task: str) -> Manifest:
    manifest = read_manifest(data, variant, task)
    if manifest is None:
        raise not_built(data, variant, task)
    return manifest


def _there_already(setup: _Setup, manifest: Manifest, out: Path | None) -> dict[str, Evaluated]:
    """The results of a task that need no measuring, by strategy; none are looked for without a folder."""
    return {} if out is None else {one.result.strategy: one for one in _found(setup, manifest, out)}


def _found(setup: _Setup, manifest: Manifest, out: Path) -> Iterator[Evaluated]:
    """The results that stand in ``out`` already, where new ones would say the same. A damaged one does not count."""
    task, variant = manifest.task, manifest.variant
    for strategy in setup.strategies:
        path = out / result_path(setup.card.name, strategy.name, variant, task, setup.form.name)
        if not path.exists():
            continue
        try:
            result = read_result(path)
            check_run(path, result)
        except LocoError:
            continue
        measurement = result.measurement
        if (
            measurement is not None
            and measurement.identity == setup.identity(strategy.name, task, variant, manifest.content)
            and measurement.data.provenance == manifest.provenance
            and result.model == setup.card.identity
        ):
            yield Evaluated(result, path, reused=True)


def _measured(
    model: RankingModel, setup: _Setup, strategies: Sequence[Strategy], read: tuple[Path, Variant, str], command: str
) -> Iterator[tuple[Result, bytes]]:
    """A result and a TREC run for each strategy, all from one pass."""
    start = time.perf_counter()
    scored = {}
    with recording() as phases:
        with phase("load"):
            task = read_task(*read)
            content = task.content
        before = model.spent
        with phase("rank"):
            rankings = model.rankings(strategies, task)
        spent = model.spent
        with phase("score"):
            for strategy, ranking in rankings.items():
                hits = ordered(ranking, task, model.card.name)
                scores = score(task.qrels, hits)
                scored[strategy] = hits, scores, _metrics(scores)
    seconds = time.perf_counter() - start
    service = model.card.service
    paid = CostRecord.of(spent - before, service) if spent and before and service else None
    lengths = relevant_lengths(task, read[0])
    for strategy, (hits, scores, metrics) in scored.items():
        ranking = rankings[strategy]
        run = trec_run(hits, tag=f"{model.card.name}.{strategy}")
        measurement = Measurement(
            identity=setup.identity(strategy, task.card.name, task.variant, content),
            run_sha256=hashlib.sha256(run).hexdigest(),
            data=TaskRecord(provenance=task.provenance, counts=task.counts, content=content),
            depth=DEPTH,
            per_query={query: round(value, 6) for query, value in scores.per_query[PRIMARY].items()},
            buckets=buckets_of(task, scores.per_query[PRIMARY], lengths, ranking.coverage),
            bootstrap=Bootstrap.used(),
            queries=RoleCoverage.of(ranking.coverage.queries) if ranking.coverage else None,
            documents=RoleCoverage.of(ranking.coverage.documents) if ranking.coverage else None,
            vectors=VectorRecord(**asdict(ranking.vectors)) if ranking.vectors else None,
            cost=paid,
            together_with=tuple(other for other in scored if other != strategy),
            phases={name: PhaseRecord.of(cost) for name, cost in phases.items()},
            seconds=round(seconds, 4),
            dtype=ranking.dtype,
            environment=environment(),
            command=recorded(command),
            finished_at=datetime.now(timezone.utc).replace(microsecond=0),
        )
        result = Result(
            schema_version=1,
            origin="measured",
            model=model.card.identity,
            strategy=strategy,
            vector_form=setup.form.name,
            task=task.card.name,
            variant=task.variant,
            split=task.split,
            metrics=metrics,
            measurement=measurement,
        )
        yield result, run


def _metrics(scores: Scores) -> dict[str, Metric]:
    values = np.array(
        [[scores.per_query[measure][query] for measure in MEASURES] for query in scores.per_query[PRIMARY]]
    )
    low, high = bootstrap.intervals(values)
    return {
        measure: Metric(value=round(scores.means[measure], 6), low=round(bottom, 6), high=round(top, 6))
        for measure, bottom, top in zip(MEASURES, low.tolist(), high.tolist(), strict=True)
    }

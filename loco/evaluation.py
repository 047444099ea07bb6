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
from loco.compose.card import ByPart, CompositeCard
from loco.compose.ranker import Models
from loco.encode.forms import VectorForm, form_named
from loco.encode.strategies import Strategy
from loco.environment import environment, recorded
from loco.errors import LocoError
from loco.files import check_writable
from loco.models.card import ModelCard
from loco.models.registry import load_model, model_card, settled, strategies_of
from loco.models.runtime import Runtime
from loco.money import Plan, Spending
from loco.phases import phase, recording
from loco.pipeline import Bill, Ranker, RankingModel, ordered
from loco.rank.ranking import PartUse
from loco.results import (
    Bootstrap,
    CostRecord,
    Measurement,
    Metric,
    PartRecord,
    PhaseRecord,
    RerankRecord,
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
    """A result, and whether it was already there. ``path`` is None when nothing was to be written.

    ``part_of`` are the strategies of the model made of models that was asked for in which the result's is one of a
    part; none for that model itself, and for a single one.
    """

    result: Result
    path: Path | None
    reused: bool
    part_of: tuple[str, ...] = ()


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

    ``model`` is a name as ``loco models`` lists them, a hub id, a local folder, a class ``module:Class``, or a call of
    others, ``fuse(...)`` or ``rerank(...)``, whose parts' results are then written too; ``task``, ``variant`` and
    ``strategy`` are names as ``loco tasks`` and ``loco models show`` list them, the strategy with or without settings;
    none means the model's default. ``data`` is the folder of built tasks (default: below ``loco.settings.home``). With
    ``out``, the result and its TREC run are written below that folder, and a result of the same identity found there is
    returned instead of measured again, unless ``force``. The rest is as in ``loco eval``: ``settings`` for a model
    without a card (pooling, query_prompt, document_prompt), ``dim`` and ``quantise`` for vectors made smaller,
    ``cache`` for the folder of the embedding store.

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
    evaluated = list(evaluate_tasks(card, [task], variant, options, command, data=built, out=results, force=force))
    return next(one.result for one in evaluated if not one.part_of)


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

    Yields a result for each task and strategy; behind those of a model made of models, those of its parts. ``command``
    is what a reader should run to repeat it.
    """
    known_variant = variant_named(variant)
    form = form_named(options.quantise, options.dim, card, options.runtime.dtype)
    asked = strategies_of(card, options.strategies)
    setups = list(_setups(card, asked, form))
    folder = data_folder(data)
    # What cannot end well fails before hours are spent on it.
    if options.runtime.budget is not None:
        _check_budget(card)
    for task in tasks:
        _manifest(folder, known_variant, task)
    if out is not None:
        check_writable(out)
    models = Models(options.runtime, form, cache_folder(options.cache))
    for task in tasks:
        evaluated: list[Evaluated] = []
        for setup in setups:
            found = _there_already(setup, _manifest(folder, known_variant, task), None if force else out)
            missing = [strategy for strategy in setup.strategies if strategy.name not in found]
            if missing:
                models.ranker(card)  # all of it before its parts, which are then loaded as such
                ranker = models.ranker(setup.card)
                for result, run in _measured(
                    ranker, setup, missing, read=(folder, known_variant, task), command=command
                ):
                    path = None if out is None else write_result(result, run, out)
                    found[result.strategy] = Evaluated(result, path, reused=False)
            for strategy in setup.strategies:
                part_of = tuple(one.name for one in asked if (setup.card, strategy) in _parts_of(card, one))
                evaluated.append(replace(found[strategy.name], part_of=part_of))
        yield from sorted(evaluated, key=lambda one: bool(one.part_of))


@dataclass(frozen=True)
class Foretold:
    """What a task would take of the service of the model that ``card`` is of, and about how many seconds;
    ``strategies`` have no result yet.
    """

    card: ModelCard
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

    Of a model made of models, each part that has a service is foretold by itself. Raises LocoError for a model that
    runs on this machine.
    """
    if not _services(card):
        raise LocoError(f"Model '{card.name}' runs on this machine, and nothing is sent: leave out --dry-run.")
    known_variant, folder = variant_named(variant), data_folder(data)
    form = form_named(options.quantise, options.dim, card, options.runtime.dtype)
    setups = list(_setups(card, strategies_of(card, options.strategies), form))
    runtime = replace(options.runtime, dry=True)
    loaded = [
        (setup, RankingModel(load_model(setup.card, runtime), form, cache_folder(options.cache)))
        for setup in setups
        if setup.card.service is not None
    ]
    for task in tasks:
        manifest = _manifest(folder, known_variant, task)
        needed = [
            one for setup in setups for one in _needed(setup, _there_already(setup, manifest, None if force else out))
        ]
        for setup, model in loaded:
            missing = [strategy for strategy in setup.strategies if (setup.card, strategy) in needed]
            planned = model.plan(missing, read_task(folder, known_variant, task)) if missing else None
            plan, seconds = planned or (Plan(), 0.0)
            yield Foretold(setup.card, task, tuple(strategy.name for strategy in missing), plan, seconds)


def _needed(setup: _Setup, found: Mapping[str, Evaluated]) -> Iterator[tuple[ModelCard, Strategy]]:
    """What must rank for the results that are missing: the model itself, and its parts."""
    for strategy in setup.strategies:
        if strategy.name not in found:
            yield from [*_parts_of(setup.card, strategy), (setup.card, strategy)]


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


def _setups(card: ModelCard, strategies: Sequence[Strategy], form: VectorForm) -> Iterator[_Setup]:
    """What is measured for a model under some strategies: its parts, each once, and then itself."""
    wanted: list[tuple[ModelCard, list[Strategy]]] = []
    for strategy in strategies:
        for of, theirs in [*_parts_of(card, strategy), (card, strategy)]:
            known = next((others for other, others in wanted if other == of), None)
            if known is None:
                wanted.append((of, [theirs]))
            elif theirs not in known:
                known.append(theirs)
    wanted.sort(key=lambda one: one[0] == card)
    for of, some in wanted:
        yield _Setup(of, some, _form_within(of, form) if isinstance(card, CompositeCard) else form)


def _form_within(card: ModelCard, form: VectorForm) -> VectorForm:
    """The form of a part, or of the whole: without the precision asked for where nothing in it has one to choose."""
    leaves = card.leaves() if isinstance(card, CompositeCard) else [card]
    return replace(form, dtype="auto") if all(leaf.strategies == ("full",) for leaf in leaves) else form


def _parts_of(card: ModelCard, strategy: Strategy) -> list[tuple[ModelCard, Strategy]]:
    """What ranks by itself within a model under a strategy: each part behind its own parts, none in a single model."""
    found: list[tuple[ModelCard, Strategy]] = []
    if isinstance(card, CompositeCard) and isinstance(strategy, ByPart):
        for part, own in zip(card.parts, strategy.parts, strict=True):
            if part in card.stages:
                found += [*_parts_of(part.card, own), (part.card, own)]
    return found


def _services(card: ModelCard) -> list[ModelCard]:
    """The models behind a model that answer over a network, each once."""
    leaves = card.leaves() if isinstance(card, CompositeCard) else [card]
    return list({leaf.name: leaf for leaf in leaves if leaf.service is not None}.values())


def _check_budget(card: ModelCard) -> None:
    """Raise LocoError for a model that no budget can be kept for."""
    services = _services(card)
    if not services:
        raise LocoError(f"Model '{card.name}' runs on this machine and costs nothing: leave out --budget.")
    if len(services) > 1:
        raise LocoError(
            f"{' and '.join(one.name for one in services)} send a bill each, and a budget is for one: evaluate each "
            "with a --budget of its own first, what was answered is then not sent again."
        )


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
    model: Ranker, setup: _Setup, strategies: Sequence[Strategy], read: tuple[Path, Variant, str], command: str
) -> Iterator[tuple[Result, bytes]]:
    """A result and a TREC run for each strategy, all from one pass."""
    start = time.perf_counter()
    scored = {}
    with recording() as phases:
        with phase("load"):
            task = read_task(*read)
            content = task.content
        before = model.bills
        with phase("rank"):
            rankings = model.rankings(strategies, task)
        bills = [replace(bill, spent=bill.spent - was.spent) for bill, was in zip(model.bills, before, strict=True)]
        with phase("score"):
            for strategy, ranking in rankings.items():
                hits = ordered(ranking, task, model.card.name)
                scores = score(task.qrels, hits)
                scored[strategy] = hits, scores, _metrics(scores)
    seconds = time.perf_counter() - start
    costs = {bill.model: CostRecord.of(bill.spent, bill.service) for bill in bills if not _nothing_new(bill, setup)}
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
            cost=costs.get(setup.card.name),
            parts=tuple(_part_records(ranking.parts, costs)),
            rerank=RerankRecord.of(ranking.reranking) if ranking.reranking else None,
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


def _part_records(parts: Sequence[PartUse], costs: Mapping[str, CostRecord]) -> Iterator[PartRecord]:
    """What a result says of its parts. The bill of a model that is several of them stands with the first."""
    left = dict(costs)
    for part in parts:
        yield PartRecord.of(part, left.pop(part.model, None))


def _nothing_new(bill: Bill, setup: _Setup) -> bool:
    """Whether a part's bill says no more than that part's own result does."""
    return bill.spent == Spending() and bill.model != setup.card.name


def _metrics(scores: Scores) -> dict[str, Metric]:
    values = np.array(
        [[scores.per_query[measure][query] for measure in MEASURES] for query in scores.per_query[PRIMARY]]
    )
    low, high = bootstrap.intervals(values)
    return {
        measure: Metric(value=round(scores.means[measure], 6), low=round(bottom, 6), high=round(top, 6))
        for measure, bottom, top in zip(MEASURES, low.tolist(), high.tolist(), strict=True)
    }

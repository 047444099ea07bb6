"""The one pipeline every command uses: task x model x strategy -> result."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from loco.environment import environment
from loco.errors import LocoError
from loco.files import check_writable
from loco.models.card import ModelCard
from loco.models.protocols import Retriever
from loco.models.registry import load_model, model_card, strategy_of
from loco.phases import phase, recording
from loco.rank.ranking import Hit, Ranking
from loco.results import (
    Bootstrap,
    Measurement,
    Metric,
    PhaseRecord,
    Result,
    RoleCoverage,
    TaskRecord,
    check_run,
    read_result,
    result_path,
    write_result,
)
from loco.score import bootstrap
from loco.score.metrics import DEPTH, MEASURES, PRIMARY, Scores, score
from loco.settings import data_folder
from loco.tasks.data import (
    ContentHashes,
    Manifest,
    TaskData,
    Variant,
    not_built,
    read_manifest,
    read_task,
    variant_named,
)
from loco.trec import trec_id, trec_run

# Raised whenever the same ranking would be turned into other figures.
PIPELINE_VERSION = 1


@dataclass(frozen=True)
class Evaluated:
    """A result, and whether it was already there. ``path`` is None when nothing was to be written."""

    result: Result
    path: Path | None
    reused: bool


def evaluate(
    model: str,
    task: str,
    variant: str = "release",
    strategy: str | None = None,
    *,
    data: Path | str | None = None,
    out: Path | str | None = None,
    force: bool = False,
) -> Result:
    """Evaluate a model on one built task.

    ``model``, ``task``, ``variant`` and ``strategy`` are names as ``loco models`` and ``loco tasks`` list them; no
    strategy means the model's default. ``data`` is the folder of built tasks (default: below ``loco.settings.home``).
    With ``out``, the result and its TREC run are written below that folder, and a result of the same identity found
    there is returned instead of measured again, unless ``force``.

    Raises LocoError for an unknown name, a task that is not built, or a model that returns nonsense.
    """
    arguments = {"model": model, "task": task, "variant": variant, "strategy": strategy}
    call = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value is not None)
    command = f"loco.evaluate({call})"
    built, results = (None if folder is None else Path(folder) for folder in (data, out))
    (evaluated,) = evaluate_tasks(model, [task], variant, strategy, command, data=built, out=results, force=force)
    return evaluated.result


def evaluate_tasks(
    model: str,
    tasks: Sequence[str],
    variant: str,
    strategy: str | None,
    command: str,
    *,
    data: Path | None = None,
    out: Path | None = None,
    force: bool = False,
) -> Iterator[Evaluated]:
    """Evaluate a model task by task, as :func:`evaluate` does, loading it once and only if there is something to do.

    ``command`` is what a reader should run to repeat it.
    """
    card = model_card(model)
    chosen = strategy_of(card, strategy)
    known_variant = variant_named(variant)
    folder = data_folder(data)
    # What cannot end well fails before hours are spent on it.
    for task in tasks:
        _manifest(folder, known_variant, task)
    if out is not None:
        check_writable(out)
    loaded: Retriever | None = None
    for task in tasks:
        if out is not None and not force:
            found = _found(card, chosen, task, known_variant, folder, out)
            if found is not None:
                yield found
                continue
        if loaded is None:
            loaded = load_model(card)
        result, run = _measured(loaded, chosen, task, known_variant, folder, command)
        yield Evaluated(result, None if out is None else write_result(result, run, out), reused=False)


def _manifest(data: Path, variant: Variant, task: str) -> Manifest:
    manifest = read_manifest(data, variant, task)
    if manifest is None:
        raise not_built(data, variant, task)
    return manifest


def _found(card: ModelCard, strategy: str, task: str, variant: Variant, data: Path, out: Path) -> Evaluated | None:
    """The result that stands in ``out`` already, where a new one would say the same. A damaged one does not count."""
    manifest = _manifest(data, variant, task)
    path = out / result_path(card.name, strategy, variant, task)
    if not path.exists():
        return None
    try:
        result = read_result(path)
        check_run(path, result)
    except LocoError:
        return None
    measurement = result.measurement
    same = (
        measurement is not None
        and measurement.identity == _identity(card, strategy, task, variant, manifest.content)
        and measurement.data.provenance == manifest.provenance
        and result.model == card.identity
    )
    return Evaluated(result, path, reused=True) if same else None


def _measured(
    model: Retriever, strategy: str, task_name: str, variant: Variant, data: Path, command: str
) -> tuple[Result, bytes]:
    start = time.perf_counter()
    with recording() as phases:
        with phase("load"):
            task = read_task(data, variant, task_name)
            content = task.content
        with phase("rank"):
            ranking = model.rank(task, DEPTH)
        with phase("score"):
            hits = _ordered(ranking, task, model.card.name)
            scores = score(task.qrels, hits)
            metrics = _metrics(scores)
    seconds = time.perf_counter() - start
    run = trec_run(hits, tag=f"{model.card.name}.{strategy}")
    result = Result(
        schema_version=1,
        origin="measured",
        model=model.card.identity,
        strategy=strategy,
        task=task_name,
        variant=variant,
        split=task.split,
        metrics=metrics,
        measurement=Measurement(
            identity=_identity(model.card, strategy, task_name, variant, content),
            run_sha256=hashlib.sha256(run).hexdigest(),
            data=TaskRecord(provenance=task.provenance, counts=task.counts, content=content),
            depth=DEPTH,
            per_query={query: round(value, 6) for query, value in scores.per_query[PRIMARY].items()},
            bootstrap=Bootstrap(confidence=bootstrap.CONFIDENCE, resamples=bootstrap.RESAMPLES, seed=bootstrap.SEED),
            queries=RoleCoverage(**asdict(ranking.coverage.queries)),
            documents=RoleCoverage(**asdict(ranking.coverage.documents)),
            phases={
                name: PhaseRecord(seconds=round(cost.seconds, 4), peak_bytes=cost.peak_bytes)
                for name, cost in phases.items()
            },
            seconds=round(seconds, 4),
            dtype=ranking.dtype,
            environment=environment(),
            command=command.replace(str(Path.home()), "~"),
            finished_at=datetime.now(timezone.utc).replace(microsecond=0),
        ),
    )
    return result, run


def _ordered(ranking: Ranking, task: TaskData, model: str) -> dict[str, list[Hit]]:
    """A ranking as trec_eval will see it, whoever made it, or a LocoError where it is not one."""
    documents = set(task.documents.ids)
    ordered: dict[str, list[Hit]] = {}
    for query in task.queries.ids:
        hits = [Hit(document, float(np.float32(value))) for document, value in ranking.hits.get(query, ())]
        strange = next((hit for hit in hits if hit.document not in documents or not math.isfinite(hit.score)), None)
        if strange is not None:
            raise LocoError(
                f"Model '{model}' scored document '{strange.document}' with {strange.score} for query '{query}' of "
                f"task '{task.card.name}': not a finite score of a document of that task. The adapter has a bug."
            )
        if len({hit.document for hit in hits}) != len(hits) or len(hits) > DEPTH:
            raise LocoError(
                f"Model '{model}' returned {len(hits)} hits for query '{query}' of task '{task.card.name}', some twice "
                f"or more than {DEPTH}. The adapter has a bug."
            )
        hits.sort(key=lambda hit: trec_id(hit.document), reverse=True)
        hits.sort(key=lambda hit: -hit.score)
        ordered[query] = hits
    return ordered


def _metrics(scores: Scores) -> dict[str, Metric]:
    values = np.array(
        [[scores.per_query[measure][query] for measure in MEASURES] for query in scores.per_query[PRIMARY]]
    )
    low, high = bootstrap.intervals(values)
    return {
        measure: Metric(value=round(scores.means[measure], 6), low=round(bottom, 6), high=round(top, 6))
        for measure, bottom, top in zip(MEASURES, low.tolist(), high.tolist(), strict=True)
    }


def _identity(card: ModelCard, strategy: str, task: str, variant: Variant, content: ContentHashes) -> str:
    """A hash of all that determines a ranking and its figures."""
    decisive = {
        "model": card.identity.model_dump(include={"name", "revision", "parameters"}),
        "strategy": strategy,
        "task": task,
        "variant": variant,
        "content": content.model_dump(),
        "depth": DEPTH,
        "pipeline": PIPELINE_VERSION,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

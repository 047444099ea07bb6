"""A model among haystacks: from a card to a needle result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from loco.compose.card import CompositeCard
from loco.compose.ranker import Models
from loco.encode.dense import opened
from loco.encode.forms import VectorForm, form_named
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy, check_spans
from loco.environment import environment, recorded
from loco.files import check_writable
from loco.models.card import ModelCard
from loco.models.protocols import Encoder, order_free
from loco.models.registry import load_model, strategies_of
from loco.models.runtime import Runtime
from loco.needle.encoder import NeedleEncoder, Tally, documents
from loco.needle.haystacks import DISTRACTORS, POSITIONS, QUERIES, SEED, Haystacks
from loco.phases import phase, recording
from loco.pipeline import Ranker, RankingModel, ordered
from loco.rank.ranking import Ranking
from loco.results import Bootstrap, Metric, PhaseRecord, RoleCoverage, record_path, write_record
from loco.results.needle import Cell, HaystackRecord, NeedleResult, Saving, chance
from loco.score import bootstrap
from loco.score.metrics import PRIMARY, score
from loco.settings import cache_folder
from loco.tasks.card import TaskCard
from loco.tasks.data import TaskData, Texts
from loco.tokens.reference import NAME as TOKENIZER

KIND = "needle"
"""The folder of needle results, beside those of the variants."""


@dataclass(frozen=True)
class Measured:
    """A result and where it was written, None where it was not to be."""

    result: NeedleResult
    path: Path | None


def measure(
    card: ModelCard,
    strategies: str | Sequence[str] | None,
    haystacks: Haystacks,
    command: str,
    *,
    runtime: Runtime | None = None,
    cache: Path | None = None,
    out: Path | None = None,
) -> Iterator[Measured]:
    """Measure a model under each strategy (None: its default) and write the results below ``out``, unless that is None.

    ``cache`` is the folder of the embedding store, by which a run goes on where an interrupted one ended.

    Raises LocoError for a strategy the model does not have, and for a model that returns nonsense.
    """
    runtime = runtime or Runtime()
    asked = strategies_of(card, strategies)
    form = form_named("float32", None, card, runtime.dtype)
    if out is not None:
        check_writable(out)
    test = _Test(card, haystacks, form, runtime, cache_folder(cache))
    for strategy in asked:
        result = test.result(strategy, command)
        path = None if out is None else write_record(result, out / path_of(result))
        yield Measured(result, path)


def path_of(result: NeedleResult) -> Path:
    """Where a result belongs: ``<model>/<strategy>/needle/<source>.json``, a hash of the haystacks behind the source's
    name where they are not those of the default settings, so that no test overwrites another.
    """
    way = f"{result.strategy}, {result.vector_form}" if result.vector_form else result.strategy
    made = result.haystacks
    usual = (made.queries, made.positions, made.distractors, made.seed) == (QUERIES, POSITIONS, DISTRACTORS, SEED)
    name = made.source if usual else f"{made.source}-{made.sha256[:8]}"
    return record_path(result.model.name, way, KIND, name)


@dataclass(frozen=True)
class _Found:
    """What a ranking at one position came to: by query, in order, and what the model saw."""

    per_query: tuple[float, ...]
    ranking: Ranking


@dataclass
class _Test:
    """A model, loaded, and the haystacks it is tried on."""

    card: ModelCard
    haystacks: Haystacks
    form: VectorForm
    runtime: Runtime
    cache: Path
    _queries: Texts = field(init=False)

    def __post_init__(self) -> None:
        self._order_free, self._encoder = False, None
        if isinstance(self.card, CompositeCard):
            self._loaded: Ranker = Models(self.runtime, self.form, self.cache).ranker(self.card)
        else:
            model = load_model(self.card, self.runtime)
            self._order_free = order_free(model)
            self._encoder = NeedleEncoder(model, self.haystacks) if isinstance(model, Encoder) else None
            self._loaded = RankingModel(self._encoder or model, self.form, self.cache)
        questions = self.haystacks.questions
        self._queries = Texts.of(((question.identifier, question.text) for question in questions), "query")

    def result(self, strategy: Strategy, command: str) -> NeedleResult:
        """The result under a strategy."""
        haystacks, settings = self.haystacks, self.haystacks.settings
        start = time.perf_counter()
        with recording() as phases:
            found = [one for level in range(len(haystacks.levels)) for one in self._level(level, strategy)]
        seconds = time.perf_counter() - start
        last = found[-1].ranking
        return NeedleResult(
            schema_version=1,
            model=self.card.identity,
            strategy=strategy.name,
            vector_form=self.form.name,
            haystacks=HaystackRecord(
                source=haystacks.source.name,
                provenance=haystacks.source.provenance,
                seed=settings.seed,
                queries=len(haystacks.questions),
                queries_passed_over=haystacks.passed_over,
                positions=settings.positions,
                distractors=None if settings.lengths else settings.distractors,
                lengths=settings.lengths,
                tokenizer=TOKENIZER,
                answers_known=haystacks.source.answers_known,
                sha256=haystacks.sha256,
            ),
            chance=round(chance(len(haystacks.questions)), 6),
            order_free=self._order_free,
            queries=self._queries.ids,
            cells=tuple(self._cells(found)),
            saving=self._saving(),
            bootstrap=Bootstrap.used(),
            fingerprint=last.vectors.fingerprint if last.vectors else None,
            device=last.vectors.device if last.vectors else None,
            dtype=last.dtype,
            phases={name: PhaseRecord.of(cost) for name, cost in phases.items()},
            seconds=round(seconds, 4),
            environment=environment(),
            command=recorded(command),
            finished_at=datetime.now(timezone.utc).replace(microsecond=0),
        )

    def _level(self, level: int, strategy: Strategy) -> Iterator[_Found]:
        """Each position of the documents of a length."""
        positions = self.haystacks.settings.positions
        if self._order_free:
            yield from [self._found(level, 0, strategy)] * positions
            return
        if self._encoder is not None:
            self._encode(level, strategy, self._encoder)
        for position in range(positions):
            yield self._found(level, position, strategy)

    def _encode(self, level: int, strategy: Strategy, encoder: NeedleEncoder) -> None:
        check_spans([strategy], encoder.traits.spans, self.card.name)
        if level == 0:
            encoder.tally = Tally()
        with (
            phase("documents"),
            opened(encoder, EmbeddingStore(self.cache)) as space,
        ):
            encoder.encode_all(level, strategy, space)

    def _found(self, level: int, position: int, strategy: Strategy) -> _Found:
        task = self._task(level, position)
        with phase("rank"):
            ranking = self._loaded.rankings([strategy], task)[strategy.name]
        with phase("score"):
            scores = score(task.qrels, ordered(ranking, task, self.card.name)).per_query[PRIMARY]
        return _Found(tuple(scores[query] for query in task.queries.ids), ranking)

    def _task(self, level: int, position: int) -> TaskData:
        texts = documents(self.haystacks, level, position)
        if self._encoder is None:  # passages mean nothing to a model that ranks by itself
            texts = Texts(texts.ids, [str(text) for text in texts.texts])
        return TaskData(
            card=_CARD,
            variant="imported",
            provenance=self.haystacks.source.provenance,
            queries=self._queries,
            documents=texts,
            qrels={query: {query: 1} for query in self._queries.ids},
        )

    def _cells(self, found: Sequence[_Found]) -> Iterator[Cell]:
        haystacks = self.haystacks
        values = np.array([one.per_query for one in found]).round(6)
        lows, highs = bootstrap.intervals(values.T)
        positions = haystacks.settings.positions
        for place, one in enumerate(found):
            level, position = divmod(place, positions)
            seen = one.ranking.coverage
            yield Cell(
                length=haystacks.levels[level],
                position=position,
                depth=round(haystacks.depths[position], 6),
                passages=round(1 + sum(haystacks.counts[level]) / len(haystacks.questions), 2),
                ndcg=Metric(
                    value=round(float(values[place].mean()), 6),
                    low=round(float(lows[place]), 6),
                    high=round(float(highs[place]), 6),
                ),
                per_query=tuple(values[place].tolist()),
                documents=RoleCoverage.of(seen.documents) if seen else None,
            )

    def _saving(self) -> Saving | None:
        if self._encoder is None:
            return None
        tally = self._encoder.tally
        known = self._encoder.traits.max_tokens is not None
        return Saving(
            inputs_asked=tally.asked,
            inputs_distinct=tally.distinct,
            inputs_encoded=tally.encoded,
            tokens_asked=tally.asked_tokens if known else None,
            tokens_distinct=tally.distinct_tokens if known else None,
            tokens_encoded=tally.encoded_tokens if known else None,
            queries_composed=self._encoder.questions_composed,
        )


_CARD = TaskCard(
    name="needle",
    domain="encyclopedia",
    source="drawn from a seed",
    source_url="",
    licence="that of the source",
    citation="",
    query="question",
    document="passages, one of which answers a question",
)

"""A retrieval result: one model under one strategy on one task, with everything needed to believe or repeat it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from loco.environment import Environment
from loco.models.card import PLAIN, ModelIdentity, Price, Service
from loco.money import Spending, dollars
from loco.phases import PhaseCost
from loco.rank.ranking import PartUse, Reranking, TextCoverage
from loco.results.parts import Count, Name, Part, Seconds, Sha256, Share
from loco.score import bootstrap
from loco.score.buckets import CutBucket, LengthBucket
from loco.score.metrics import MEASURES, PRIMARY
from loco.tasks.card import task_cards
from loco.tasks.data import ContentHashes, Counts, Provenance, Split, Variant

_ROUNDING = 1e-6


class Metric(Part):
    """Mean over the queries, and the ends of its confidence interval (absent where others reported the mean alone)."""

    value: Share
    low: Share | None = None
    high: Share | None = None

    @model_validator(mode="after")
    def _interval_contains_the_mean(self) -> Metric:
        if self.low is None and self.high is None:
            return self
        if self.low is None or self.high is None:
            raise ValueError("an interval has two ends")
        if (
            self.low is not None
            and self.high is not None
            and not self.low - _ROUNDING <= self.value <= self.high + _ROUNDING
        ):
            raise ValueError(f"the interval {self.low} to {self.high} does not contain its mean {self.value}")
        return self


class Bootstrap(Part):
    """How the intervals were made from draws of queries: bias-corrected and accelerated; percentiles in older files."""

    method: Literal["percentile", "BCa"] = "percentile"
    confidence: Share
    resamples: Count
    seed: int

    @classmethod
    def used(cls) -> Bootstrap:
        """How :func:`loco.score.bootstrap.intervals` makes them."""
        return cls(
            method=bootstrap.METHOD,
            confidence=bootstrap.CONFIDENCE,
            resamples=bootstrap.RESAMPLES,
            seed=bootstrap.SEED,
        )


class TaskRecord(Part):
    """The rows that were evaluated."""

    provenance: Provenance
    counts: Counts
    content: ContentHashes


class RoleCoverage(Part):
    """What the model saw of the texts of one role, in its own tokens (for BM25: index terms).

    ``texts_empty`` have no token at all: nothing is found by them, and they are not found.
    """

    texts: Count
    texts_cut: Count
    tokens: Count
    tokens_seen: Count
    texts_empty: Count = 0

    @classmethod
    def of(cls, seen: TextCoverage) -> RoleCoverage:
        """The record of what a ranking has seen."""
        counts = {name: getattr(seen, name) for name in cls.model_fields}
        return cls(**counts)

    @model_validator(mode="after")
    def _parts_fit(self) -> RoleCoverage:
        if self.texts_cut + self.texts_empty > self.texts or self.tokens_seen > self.tokens:
            raise ValueError("more was cut or seen than there was")
        return self


class VectorRecord(Part):
    """The vectors behind a ranking.

    ``fingerprint`` is a hash of the weights, the tokenizer and all else that decides a vector. ``similarity`` is
    "maxsim" for a model with a vector for each token: the sum, over the vectors of the query, of the greatest dot
    product with one of the document. ``bytes_per_document``
    is what a document takes in an index, on average. ``inputs_encoded`` and ``tokens_encoded`` are what the model read
    for this result and those measured together with it; ``inputs_reused`` stood in the embedding store already, and
    where there are any, the seconds say nothing about the model's speed. ``tokens_encoded`` is null for a model that
    tokenises where loco cannot see it.
    """

    fingerprint: Name
    dim: Annotated[int, Field(ge=1)]
    similarity: Literal["cosine", "dot", "maxsim"]
    device: Name
    padding: Literal["longest", "window"]
    bytes_per_document: Annotated[float, Field(ge=0)]
    inputs_encoded: Count
    tokens_encoded: Count | None
    inputs_reused: Count


class CostRecord(Part):
    """What a vendor was asked for and paid, for this result and those measured together with it, in this run alone.

    ``requests``, ``tokens`` and the rest are explained in loco/money.py (Spending). What stood in the embedding store
    was paid for by an earlier run and is not part of it. ``dollars`` is ``tokens`` at the price of the card; the price,
    its day and its source are null where none was known.
    """

    vendor: Name
    requests: Count
    tokens: Count
    tokens_estimated: Count
    requests_lost: Count
    tokens_lost: Count
    dollars: Annotated[float, Field(ge=0)] | None
    price: Price | None

    @classmethod
    def of(cls, spent: Spending, service: Service) -> CostRecord:
        """The record of what was spent at a service."""
        paid = dollars(spent.tokens, service)
        rounded = None if paid is None else round(paid, 6)
        return cls(vendor=service.vendor, **asdict(spent), dollars=rounded, price=service.price)

    @model_validator(mode="after")
    def _adds_up(self) -> CostRecord:
        if self.tokens_estimated > self.tokens:
            raise ValueError("more tokens were estimated than there were")
        if (self.dollars is None) != (self.price is None):
            raise ValueError("dollars take a price, and a price makes dollars")
        if self.price is not None and self.dollars is not None:
            exact = self.tokens * self.price.per_million_tokens / 1_000_000
            if abs(exact - self.dollars) > _ROUNDING:
                raise ValueError(f"{self.tokens} tokens at that price cost {exact:.6f} dollars, not {self.dollars}")
        return self


class PartRecord(Part):
    """A single model behind a model made of several: under which strategy, what it saw, what was paid for it here.

    ``queries``, ``documents`` and ``vectors`` are as in a result of its own, where they are from: what was read for the
    two is read once. ``cost`` is what this result took beyond that, null for nothing.
    """

    model: Name
    strategy: Name
    dtype: str
    queries: RoleCoverage | None
    documents: RoleCoverage | None
    vectors: VectorRecord | None
    cost: CostRecord | None = None

    @classmethod
    def of(cls, part: PartUse, cost: CostRecord | None) -> PartRecord:
        """The record of a part of a ranking."""
        return cls(
            model=part.model,
            strategy=part.strategy,
            dtype=part.dtype,
            queries=RoleCoverage.of(part.coverage.queries) if part.coverage else None,
            documents=RoleCoverage.of(part.coverage.documents) if part.coverage else None,
            vectors=VectorRecord(**asdict(part.vectors)) if part.vectors else None,
            cost=cost,
        )


class RerankRecord(Part):
    """How the first stage's best documents were put into another order.

    ``depth`` of each query were reranked, as far as it found as many. ``pairs`` are queries with a document each,
    ``pairs_blank`` those that stayed behind, one side having no token. ``inputs_scored`` and ``tokens_scored`` are what
    the reranker read (a document in pieces once a piece, special tokens included), ``inputs_reused`` had their score in
    the embedding store. ``queries_cut`` did not fit beside some document, ``query_tokens_cut`` is what was cut of them
    over all pairs; of ``documents_cut`` pairs the document was not read to its end, by ``document_tokens_cut`` tokens.
    """

    first_stage: Name
    first_strategy: Name
    reranker: Name
    depth: Annotated[int, Field(ge=1)]
    strategy: Name
    fingerprint: Name
    dtype: Name
    device: Name
    pairs: Count
    pairs_blank: Count
    inputs_scored: Count
    tokens_scored: Count
    inputs_reused: Count
    queries_cut: Count
    query_tokens_cut: Count
    documents_cut: Count
    document_tokens_cut: Count

    @classmethod
    def of(cls, reranking: Reranking) -> RerankRecord:
        """The record of a reranking."""
        return cls(
            first_stage=reranking.first_stage,
            first_strategy=reranking.first_strategy,
            reranker=reranking.reranker,
            depth=reranking.depth,
            **asdict(reranking.pairs),
        )

    @model_validator(mode="after")
    def _parts_fit(self) -> RerankRecord:
        if self.documents_cut > self.pairs or (self.pairs and not self.inputs_scored + self.inputs_reused):
            raise ValueError("more pairs were cut or scored than there were")
        return self


class PhaseRecord(Part):
    """Wall-clock seconds, and the process's peak memory up to the end of the phase."""

    seconds: Seconds
    peak_bytes: Count

    @classmethod
    def of(cls, cost: PhaseCost) -> PhaseRecord:
        """The record of what a phase cost."""
        return cls(seconds=round(cost.seconds, 4), peak_bytes=cost.peak_bytes)


class Bucket(Metric):
    """The primary measure over some of the queries; one query alone has no interval."""

    queries: Annotated[int, Field(ge=1)]


class CutDocument(Part):
    """A document that a model has not read to its end, in the model's own tokens."""

    tokens: Count
    tokens_seen: Count

    @model_validator(mode="after")
    def _is_cut(self) -> CutDocument:
        if self.tokens_seen >= self.tokens:
            raise ValueError("a document is called cut of which every token was seen")
        return self


class Buckets(Part):
    """The primary measure by how long the relevant document is, and by how much of it the model never saw.

    A query counts by its longest relevant document, in tokens of ``tokenizer``, special tokens left out, and the
    greatest id where several are as long. ``by_length`` and ``by_cut`` name the buckets that have a query; 2k are 2,048
    tokens, 8k 8,192, 32k 32,768, each the first of the longer bucket, while "up to 50 %" has its upper end. ``cut``
    has the relevant documents that the model did not read to the end. ``by_cut`` is null, and ``cut`` empty, where
    nobody can tell.
    """

    tokenizer: Name
    by_length: dict[LengthBucket, Bucket] = Field(min_length=1)
    by_cut: dict[CutBucket, Bucket] | None
    cut: dict[str, CutDocument]

    @model_validator(mode="after")
    def _cut_is_known_or_not(self) -> Buckets:
        whole = self.by_cut is None or set(self.by_cut) == {"none"}
        if self.cut and self.by_cut is None:
            raise ValueError("documents are called cut, and yet it is not known what was cut")
        if not self.cut and not whole:
            raise ValueError("no document is called cut, and yet there are queries whose document was")
        return self


class Measurement(Part):
    """What only the run itself can know.

    ``identity`` is the hash of all that determines the ranking: equal identities need no second run. ``per_query`` is
    the primary measure by query id, over every query of the task. ``run_sha256`` is that of the TREC run beside the
    result. ``seconds`` is the wall-clock time from reading the task to the scores, without loading the model;
    ``command`` is what was typed, the user's home folder shortened to ``~``. ``queries`` and ``documents`` are null for
    a model that cuts texts where loco cannot see it, ``vectors`` for one that has none, ``cost`` for one that
    costs nothing and in results older than it. ``together_with`` names the
    strategies measured in the same pass: seconds, phases and vectors' counts are those of the pass. ``buckets`` is null
    in results that were measured before there were any. ``parts`` are the single models behind one made of models: its
    ``queries``, ``documents``, ``vectors`` and ``cost`` are null, and its phases called parts and first stage took no
    time where the parts were measured just before. ``rerank`` tells of a reranking as the last step.
    """

    identity: Sha256
    run_sha256: Sha256
    data: TaskRecord
    depth: Count
    per_query: dict[str, Share] = Field(min_length=1)
    buckets: Buckets | None = None
    bootstrap: Bootstrap
    queries: RoleCoverage | None
    documents: RoleCoverage | None
    vectors: VectorRecord | None = None
    cost: CostRecord | None = None
    parts: tuple[PartRecord, ...] = ()
    rerank: RerankRecord | None = None
    together_with: tuple[Name, ...] = ()
    phases: dict[str, PhaseRecord]
    seconds: Seconds
    dtype: str
    environment: Environment
    command: str
    finished_at: AwareDatetime


class Result(Part):
    """One row of evidence.

    ``origin`` is "measured" (with ``measurement``) or "reported" (with ``source``: who reported it, and where).
    ``vector_form`` says how vectors were made smaller before searching ("dim=128, int8"), empty where they were not.
    """

    kind: Literal["retrieval"] = "retrieval"
    schema_version: Literal[1]
    origin: Literal["measured", "reported"]
    source: str = Field(default="", max_length=2000)
    model: ModelIdentity
    strategy: Name
    vector_form: str = Field(default="", max_length=200, pattern=PLAIN)
    task: Name
    variant: Variant
    split: Split
    metrics: dict[str, Metric]
    measurement: Measurement | None = None

    @model_validator(mode="after")
    def _hangs_together(self) -> Result:
        unheard = set(self.metrics) - set(MEASURES)
        if unheard:
            raise ValueError(f"no such measure: {', '.join(sorted(unheard))}; there are: {', '.join(MEASURES)}")
        if self.variant != "imported" and self.task not in task_cards():
            raise ValueError(f"no such task: {self.task}; there are: {', '.join(task_cards())}")
        if PRIMARY not in self.metrics:
            raise ValueError(f"the metrics lack {PRIMARY}")
        if self.origin == "reported":
            if not self.source or self.measurement is not None:
                raise ValueError("a reported result has a source and no measurement")
            return self
        if self.measurement is None or self.source:
            raise ValueError("a measured result has a measurement and no source")
        if set(self.metrics) != set(MEASURES) or any(metric.low is None for metric in self.metrics.values()):
            raise ValueError("a measured result has every measure, each with its interval")
        per_query = self.measurement.per_query
        if len(per_query) != self.measurement.data.counts.queries:
            raise ValueError(f"{len(per_query)} per-query values for {self.measurement.data.counts.queries} queries")
        mean = math.fsum(per_query.values()) / len(per_query)
        stated = self.metrics[PRIMARY].value
        if abs(mean - stated) > _ROUNDING:
            raise ValueError(f"the per-query values average {mean:.6f}, but {PRIMARY} says {stated:.6f}")
        if self.measurement.buckets is not None:
            by_length, by_cut = self.measurement.buckets.by_length, self.measurement.buckets.by_cut
            _check_parts("length", by_length.values(), len(per_query), mean)
            if by_cut is not None:
                _check_parts("share cut", by_cut.values(), len(per_query), mean)
        return self


def _check_parts(what: str, parts: Collection[Bucket], queries: int, mean: float) -> None:
    """Raise a ValueError unless the buckets of a kind hold all queries, and together their mean."""
    found = sum(part.queries for part in parts)
    if found != queries:
        raise ValueError(f"the buckets by {what} hold {found} queries of {queries}")
    together = math.fsum(part.value * part.queries for part in parts) / queries
    if abs(together - mean) > 2 * _ROUNDING:
        raise ValueError(f"the buckets by {what} average {together:.6f}, but the per-query values {mean:.6f}")

"""A needle result: how well a model finds a passage in a long document, by its position and the document's length."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from loco.environment import Environment
from loco.models.card import PLAIN, ModelIdentity
from loco.results.parts import Count, Name, Part, Seconds, Sha256, Share
from loco.results.retrieval import Bootstrap, Metric, PhaseRecord, RoleCoverage
from loco.tasks.data import Provenance

CUTOFF = 10
"""The measure is nDCG at this depth."""

_ROUNDING = 1e-6

Positive = Annotated[int, Field(ge=1)]


class HaystackRecord(Part):
    """Which documents were searched: those of another result are the same exactly if ``sha256`` is.

    ``distractors`` is null where ``lengths`` says, in tokens of ``tokenizer``, how long a document is at most.
    ``queries_passed_over`` were not taken, as their gold passage was another's too, or too few passages were without
    their answer. ``answers_known`` tells whether the source says what the answers are; where it does, none stands in a
    distractor.
    """

    source: Name
    provenance: Provenance
    seed: int
    queries: Positive
    queries_passed_over: Count
    positions: Positive
    distractors: Positive | None
    lengths: tuple[Positive, ...]
    tokenizer: Name
    answers_known: bool
    sha256: Sha256

    @model_validator(mode="after")
    def _one_way_or_the_other(self) -> HaystackRecord:
        if (self.distractors is None) != bool(self.lengths):
            raise ValueError("a document has either a number of distractors or a length")
        return self


class Cell(Part):
    """All queries with the gold passage at one position of documents of one length.

    ``position`` counts from 0, ``depth`` is the share of the distractors before it; ``length`` is null where a number
    of distractors was asked for. ``ndcg`` is the mean of ``per_query``, in the order of the result's ``queries``.
    ``passages`` are those of a document, on average. ``documents`` is null where a model cuts texts by itself.
    """

    length: Positive | None
    position: Count
    depth: Share
    passages: Annotated[float, Field(ge=2)]
    ndcg: Metric
    per_query: tuple[Share, ...] = Field(min_length=2)
    documents: RoleCoverage | None

    @model_validator(mode="after")
    def _means_what_it_says(self) -> Cell:
        mean = math.fsum(self.per_query) / len(self.per_query)
        if abs(mean - self.ndcg.value) > _ROUNDING or self.ndcg.low is None:
            raise ValueError(f"the queries average {mean:.6f}, and the cell says {self.ndcg.value:.6f}")
        return self


class Saving(Part):
    """What encoding the documents took, in inputs of the model and in their tokens.

    ``asked`` is the sum over all documents, as if each were encoded by itself; ``distinct`` are those that differ,
    which is what a first run encodes; ``encoded`` what this run did, the others standing in the embedding store.
    Tokens are null for a model that tokenises where loco cannot see it. ``queries_composed`` are those whose documents'
    tokens were put together from the tokens of their passages.
    """

    inputs_asked: Count
    inputs_distinct: Count
    inputs_encoded: Count
    tokens_asked: Count | None
    tokens_distinct: Count | None
    tokens_encoded: Count | None
    queries_composed: Count

    @model_validator(mode="after")
    def _parts_fit(self) -> Saving:
        if self.inputs_distinct > self.inputs_asked or (self.tokens_distinct or 0) > (self.tokens_asked or 0):
            raise ValueError("more inputs differ than there are")
        if len({tokens is None for tokens in (self.tokens_asked, self.tokens_distinct, self.tokens_encoded)}) > 1:
            raise ValueError("tokens are known or not")
        return self


class NeedleResult(Part):
    """One model under one strategy on one set of haystacks.

    ``chance`` is the expected nDCG@10 of a random ranking. ``order_free`` says that the model is one to which the order
    of words does not matter, so that it was run at a single position, which stands for all. ``saving`` is null for a
    model that loco does not encode the texts for.
    """

    kind: Literal["needle"] = "needle"
    schema_version: Literal[1]
    model: ModelIdentity
    strategy: Name
    vector_form: str = Field(default="", max_length=200, pattern=PLAIN)
    haystacks: HaystackRecord
    chance: Share
    order_free: bool
    queries: tuple[Name, ...]
    cells: tuple[Cell, ...]
    saving: Saving | None
    bootstrap: Bootstrap
    fingerprint: str | None = Field(max_length=200, pattern=PLAIN)
    device: str | None = Field(max_length=200, pattern=PLAIN)
    dtype: Name
    phases: dict[str, PhaseRecord]
    seconds: Seconds
    environment: Environment
    command: str
    finished_at: AwareDatetime

    @model_validator(mode="after")
    def _hangs_together(self) -> NeedleResult:
        haystacks = self.haystacks
        expected = [
            (length, position) for length in haystacks.lengths or (None,) for position in range(haystacks.positions)
        ]
        if [(cell.length, cell.position) for cell in self.cells] != expected:
            raise ValueError("the cells are not one for each length and position, in order")
        if len(self.queries) != haystacks.queries or len(set(self.queries)) != len(self.queries):
            raise ValueError(f"{len(self.queries)} names for {haystacks.queries} queries, or some twice")
        if any(len(cell.per_query) != haystacks.queries for cell in self.cells):
            raise ValueError("a cell has not one value for each query")
        if abs(self.chance - chance(haystacks.queries)) > _ROUNDING:
            raise ValueError(f"chance is {chance(haystacks.queries):.6f} among {haystacks.queries} documents")
        if self.order_free and len({(cell.length, cell.per_query) for cell in self.cells}) > len(
            {cell.length for cell in self.cells}
        ):
            raise ValueError("the position matters to a model that is said not to know any order")
        return self


def chance(documents: int) -> float:
    """The expected nDCG@10 of a random ranking of ``documents`` documents of which one is relevant.

    It stands at each rank equally often, and the gain at rank r is 1 / log2(r + 1).
    """
    return math.fsum(1 / math.log2(rank + 1) for rank in range(1, min(CUTOFF, documents) + 1)) / documents

"""A clustering result: how far k-means on a model's vectors finds the labels of a text collection."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from loco.environment import Environment
from loco.models.card import ModelIdentity
from loco.results.parts import Count, Name, Part, Sha256, Share
from loco.results.retrieval import RoleCoverage

_ROUNDING = 1e-6

Positive = Annotated[int, Field(ge=1)]


class CollectionRecord(Part):
    """The texts. ``labels`` has how many of each label were clustered.

    ``blank`` were left out for holding nothing but white space, ``without_tokens`` because the model finds no token in
    them. ``sha256`` is of every id, label and text that is not blank.
    """

    name: Name
    sha256: Sha256
    labels: dict[Name, Positive] = Field(min_length=2)
    blank: Count
    without_tokens: Count

    @property
    def documents(self) -> int:
        """How many were clustered."""
        return sum(self.labels.values())


class KMeansRecord(Part):
    """k-means: ``clusters`` as many as labels, for each of the ``seeds`` the best of so many ``starts``."""

    clusters: Annotated[int, Field(ge=2)]
    starts: Positive
    seeds: tuple[int, ...] = Field(min_length=1)


class SeedMean(Part):
    """Mean over the seeds of k-means, the lowest and the highest, and each of the ``values``.

    The spread is that of the starting points alone. It says nothing of what other texts would give.
    """

    mean: Share
    lowest: Share
    highest: Share
    values: tuple[Share, ...] = Field(min_length=1)

    @classmethod
    def of(cls, values: tuple[float, ...]) -> SeedMean:
        """Of one value for each seed."""
        rounded = tuple(round(min(max(value, 0.0), 1.0), 6) for value in values)
        mean = round(math.fsum(rounded) / len(rounded), 6)
        return cls(mean=mean, lowest=min(rounded), highest=max(rounded), values=rounded)

    @model_validator(mode="after")
    def _follows_from_the_values(self) -> SeedMean:
        mean = math.fsum(self.values) / len(self.values)
        if abs(mean - self.mean) > _ROUNDING or (self.lowest, self.highest) != (min(self.values), max(self.values)):
            raise ValueError("mean, lowest and highest are not those of the values")
        return self


class EncoderRecord(Part):
    """What the vectors came of.

    ``fingerprint`` is a hash of the weights, the tokenizer and all else that decides a vector. ``inputs_reused`` stood
    in the embedding store already.
    """

    fingerprint: Name
    dim: Positive
    similarity: Literal["cosine", "dot"]
    device: Name
    dtype: Name
    inputs_encoded: Count
    inputs_reused: Count


class PointRecord(Part):
    """A document: its label, its cluster under the first seed, its place in the figure."""

    id: str
    label: Name
    cluster: Count
    x: float
    y: float


class ClusterResult(Part):
    """A model under a strategy on a collection.

    ``v_measure`` is the harmonic mean of ``homogeneity`` (a cluster has one label) and ``completeness`` (a label is in
    one cluster), all three without correction for chance. ``projection`` names the settings that the places in
    ``points`` came of. ``coverage`` is what the model saw of the documents, null where nobody can tell.
    """

    kind: Literal["cluster"]
    schema_version: Literal[1]
    model: ModelIdentity
    strategy: Name
    collection: CollectionRecord
    v_measure: SeedMean
    homogeneity: SeedMean
    completeness: SeedMean
    k_means: KMeansRecord
    projection: dict[str, float | int | str]
    coverage: RoleCoverage | None
    encoder: EncoderRecord
    points: tuple[PointRecord, ...]
    environment: Environment
    command: str
    finished_at: AwareDatetime

    @model_validator(mode="after")
    def _hangs_together(self) -> ClusterResult:
        if self.k_means.clusters != len(self.collection.labels):
            raise ValueError(f"{self.k_means.clusters} clusters for {len(self.collection.labels)} labels")
        for figure in (self.v_measure, self.homogeneity, self.completeness):
            if len(figure.values) != len(self.k_means.seeds):
                raise ValueError(f"{len(figure.values)} values for {len(self.k_means.seeds)} seeds")
        counts: dict[str, int] = {}
        for point in self.points:
            counts[point.label] = counts.get(point.label, 0) + 1
            if point.cluster >= self.k_means.clusters:
                raise ValueError(f"a cluster number {point.cluster} among {self.k_means.clusters}")
        if counts != self.collection.labels:
            raise ValueError("the points are not as many of each label as the collection says")
        return self

"""From a labelled collection and a model to results and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from loco.cluster import measure
from loco.cluster.collection import Collection, check_labels
from loco.cluster.vectors import Embedded, embed
from loco.encode.store import EmbeddingStore
from loco.environment import environment, recorded
from loco.errors import LocoError
from loco.figures import Point, scatter
from loco.files import check_writable, write_atomically
from loco.models.card import ModelCard
from loco.models.protocols import Encoder
from loco.models.registry import load_model, strategies_of
from loco.models.runtime import Runtime
from loco.results.cluster import (
    ClusterResult,
    CollectionRecord,
    EncoderRecord,
    KMeansRecord,
    PointRecord,
    SeedMean,
)
from loco.results.files import record_path, write_record
from loco.results.retrieval import RoleCoverage
from loco.settings import cache_folder

_NAMES = {"t-sne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True)
class Clustered:
    """A result, its file, and the figure beside it."""

    result: ClusterResult
    path: Path
    figure: Path


def cluster(
    card: ModelCard,
    collection: Collection,
    out: Path,
    command: str,
    *,
    strategies: str | Sequence[str] | None = None,
    projection: str = "t-sne",
    runtime: Runtime | None = None,
    cache: Path | None = None,
) -> Iterator[Clustered]:
    """Cluster a collection by a model's vectors, one result and one figure for each strategy, below ``out``.

    ``strategies`` as in ``loco eval``, None for the card's default; ``cache`` is the folder of the embedding store.
    ``command`` is what a reader should run to repeat it.

    Raises LocoError for a model without vectors, a strategy that keeps several of a document, a projection that is not
    there, and vectors that cannot be clustered.
    """
    method = measure.method_named(projection)
    asked = strategies_of(card, strategies)
    several = next((strategy for strategy in asked if not strategy.pooled), None)
    if several is not None:
        pooled = [name for name in card.strategies if not name.startswith(("chunk-max", "late-chunk"))]
        raise LocoError(
            f"{several.name} keeps several vectors of a document, and a cluster needs one. Choose --strategy "
            f"{' or '.join(pooled)}."
        )
    check_writable(out)
    encoder = load_model(card, runtime)
    if not isinstance(encoder, Encoder):
        raise LocoError(f"Model '{card.name}' ranks by itself and has no vectors to cluster. See: loco models")
    if encoder.traits.token_vectors:
        raise LocoError(f"Model '{card.name}' has a vector for each token, and a cluster needs one. See: loco models")
    for embedded in embed(encoder, collection.texts, asked, EmbeddingStore(cache_folder(cache))):
        result = _measured(encoder, collection, embedded, method, command)
        name = f"{collection.name}-{result.collection.sha256[:8]}" + ("" if method == "t-sne" else f"-{method}")
        path = out / record_path(card.name, embedded.strategy, "cluster", name)
        figure = path.with_suffix(".svg")
        write_atomically(figure, figure_of(result).encode())
        write_record(result, path)
        yield Clustered(result, path, figure)


def figure_of(result: ClusterResult) -> str:
    """The documents of a result on a plane, coloured by label, as an SVG document."""
    found = result.v_measure
    weights = ", random weights" if result.model.untrained else ""
    return scatter(
        [Point(point.x, point.y, point.label) for point in sorted(result.points, key=lambda point: point.label)],
        f"{result.collection.name}: {result.model.name}{weights}, {result.strategy}",
        f"v-measure {found.mean:.3f} (k-means, k = {result.k_means.clusters}; {found.lowest:.3f} to "
        f"{found.highest:.3f} over {len(found.values)} seeds). {_NAMES[str(result.projection['method'])]} of "
        f"{result.collection.documents:,} documents.",
    )


def _measured(
    encoder: Encoder,
    collection: Collection,
    embedded: Embedded,
    method: measure.Method,
    command: str,
) -> ClusterResult:
    labels = tuple(collection.labels[place] for place in embedded.places)
    check_labels(labels, f"What '{encoder.card.name}' can read of {collection.name}")
    traits = encoder.traits
    vectors = measure.compared(embedded.vectors, traits.similarity)
    measure.check_distinct(vectors, labels)
    seeds = tuple(range(measure.SEEDS))
    grouping = measure.grouped(vectors, labels, seeds)
    projection = measure.projected(vectors, method, seeds[0])
    coverage = embedded.coverage
    return ClusterResult(
        kind="cluster",
        schema_version=1,
        model=encoder.card.identity,
        strategy=embedded.strategy,
        collection=CollectionRecord(
            name=collection.name,
            sha256=collection.sha256,
            labels=dict(sorted(Counter(labels).items())),
            blank=collection.blank,
            without_tokens=len(collection.texts) - len(labels),
        ),
        v_measure=SeedMean.of(grouping.values),
        homogeneity=SeedMean.of(grouping.homogeneity),
        completeness=SeedMean.of(grouping.completeness),
        k_means=KMeansRecord(clusters=len(set(labels)), starts=measure.STARTS, seeds=seeds),
        projection=projection.settings,
        coverage=None
        if coverage is None
        else RoleCoverage(
            texts=coverage.texts,
            texts_cut=coverage.texts_cut,
            tokens=coverage.tokens,
            tokens_seen=coverage.tokens_seen,
            texts_empty=coverage.texts_empty,
        ),
        encoder=EncoderRecord(
            fingerprint=traits.fingerprint,
            dim=traits.dim,
            similarity=traits.similarity,
            device=traits.device,
            dtype=traits.dtype,
            inputs_encoded=embedded.work.encoded,
            inputs_reused=embedded.work.reused,
        ),
        points=tuple(
            PointRecord(
                id=collection.texts.ids[place], label=label, cluster=number, x=round(float(x), 4), y=round(float(y), 4)
            )
            for place, label, number, (x, y) in zip(
                embedded.places, labels, grouping.clusters, projection.places, strict=True
            )
        ),
        environment=environment(),
        command=recorded(command),
        finished_at=datetime.now(timezone.utc).replace(microsecond=0),
    )

"""From vectors to figures: k-means against the labels, and a projection to look at.

All of it runs on one thread: the sums of several come in an order of their own, and a projection turns the last bit of
a sum into another picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from loco.errors import LocoError, unknown
from loco.models.protocols import Similarity
from loco.progress import tracked
from loco.rank.ranking import Float32

Method = Literal["t-sne", "umap"]

SEEDS = 10
STARTS = 10
_PERPLEXITY = 30.0  # of van der Maaten and Hinton (2008), who find 5 to 50 much alike
_NEIGHBOURS = 15  # UMAP's default (McInnes et al., arXiv 1802.03426)


@dataclass(frozen=True)
class Grouping:
    """What k-means makes of the vectors.

    ``values``, ``homogeneity`` and ``completeness`` have an entry for each seed, ``clusters`` is the cluster of each
    document under the first one.
    """

    values: tuple[float, ...]
    homogeneity: tuple[float, ...]
    completeness: tuple[float, ...]
    clusters: tuple[int, ...]


@dataclass(frozen=True)
class Projection:
    """Places of the documents, shape (documents, 2), without a unit, and the settings they came of."""

    places: npt.NDArray[np.float64]
    settings: dict[str, float | int | str]


def method_named(name: str) -> Method:
    """The projection called ``name``. Raises LocoError where there is none, or its library is not installed."""
    if name not in get_args(Method):
        raise unknown("projection", name, get_args(Method), "loco cluster --help")
    if name == "umap":
        try:
            import umap  # noqa: F401  # to fail before anything is encoded
        except ImportError as error:
            raise LocoError(
                "UMAP needs umap-learn: install with pip install umap-learn, or leave out --projection for t-SNE."
            ) from error
    return cast(Method, name)


def compared(vectors: Float32, similarity: Similarity) -> Float32:
    """The vectors so that near means similar: for cosine each of length 1, so that distance orders as the cosine does.

    Raises LocoError for one that is zero.
    """
    if similarity == "dot":
        return vectors
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not lengths.all():
        raise LocoError("The vectors of a document's pieces cancel each other out to zero. Choose another --strategy.")
    unit: Float32 = (vectors / lengths).astype(np.float32)
    return unit


def check_distinct(vectors: Float32, labels: Sequence[str]) -> None:
    """Raise LocoError where fewer documents differ than there are labels: k-means could not make as many clusters."""
    distinct = len(np.unique(vectors, axis=0))
    if distinct < len(set(labels)):
        raise LocoError(
            f"The documents have {distinct} different vectors and {len(set(labels))} labels: the model cannot tell "
            "them apart. Are the texts the same, or is only their common beginning read (see --strategy)?"
        )


def grouped(vectors: Float32, labels: Sequence[str], seeds: Sequence[int]) -> Grouping:
    """k-means with as many clusters as there are labels, once for each seed, and how far it finds the labels.

    The v-measure is the harmonic mean of homogeneity (a cluster has one label) and completeness (a label is in one
    cluster): Rosenberg and Hirschberg, EMNLP-CoNLL 2007. Each seed's k-means is the best of 10 starts by k-means++.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import homogeneity_completeness_v_measure
    from threadpoolctl import threadpool_limits

    found, first = [], ()
    with threadpool_limits(1):
        for seed in tracked(seeds, "Clustering"):
            clusters = KMeans(len(set(labels)), n_init=STARTS, random_state=seed).fit_predict(vectors)
            found.append(homogeneity_completeness_v_measure(labels, clusters))
            first = first or tuple(clusters.tolist())
    homogeneity, completeness, values = (tuple(map(float, each)) for each in zip(*found, strict=True))
    return Grouping(values, homogeneity, completeness, first)


def projected(vectors: Float32, method: Method, seed: int) -> Projection:
    """The documents on a plane, at least three of them, near where their vectors are near.

    Same seed, same places, on however many cores.
    """
    count = len(vectors)
    # Both begin with the two main directions of the vectors, where there are two.
    start = "pca" if vectors.shape[1] > 1 else "random"
    for _ in tracked([method], "Projecting"):
        places = _t_sne(vectors, start, seed) if method == "t-sne" else _umap(vectors, start, seed)
    own = {"perplexity": _perplexity(count)} if method == "t-sne" else {"neighbours": _neighbours(count)}
    return Projection(np.asarray(places, dtype=np.float64), {"method": method, "seed": seed, "start": start, **own})


def _t_sne(vectors: Float32, start: str, seed: int) -> npt.NDArray[np.float32]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        model = TSNE(perplexity=_perplexity(len(vectors)), init=start, random_state=seed)
        places: npt.NDArray[np.float32] = model.fit_transform(vectors)
    return places


def _umap(vectors: Float32, start: str, seed: int) -> npt.NDArray[np.float32]:
    from umap import UMAP

    model = UMAP(n_neighbors=_neighbours(len(vectors)), init=start, random_state=seed, n_jobs=1)
    places: npt.NDArray[np.float32] = model.fit_transform(vectors)
    return places


def _perplexity(count: int) -> float:
    """Twice it is about how many neighbours count, of which there must be enough."""
    return min(_PERPLEXITY, (count - 1) / 3)


def _neighbours(count: int) -> int:
    return min(_NEIGHBOURS, count - 1)

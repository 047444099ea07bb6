"""Models made of models, loaded: each ranks by what its parts rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from loco.compose.card import ByPart, CompositeCard, FusedCard, RerankedCard
from loco.compose.fusion import fused
from loco.compose.pairs import check_pairs, score_pairs
from loco.encode.forms import VectorForm
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import Reranker
from loco.models.registry import load_model, load_part, load_reranker, strategies_of
from loco.models.runtime import Runtime
from loco.phases import phase
from loco.pipeline import Bill, Ranker, RankingModel, ordered
from loco.rank.ranking import Hit, PartUse, Ranking, Reranking
from loco.score.metrics import DEPTH
from loco.tasks.data import ContentHashes, TaskData


class Models:
    """Models by card, each loaded once, when it is first asked for.

    ``form`` is that of the vectors, ``cache`` the folder of the embedding store.
    """

    def __init__(self, runtime: Runtime, form: VectorForm, cache: Path) -> None:
        self._runtime, self._form, self._cache = runtime, form, cache
        self._loaded: list[tuple[ModelCard, Ranker]] = []

    def ranker(self, card: ModelCard) -> Ranker:
        """The model of a card, by itself or made of others, ready to rank. Raises LocoError where it cannot be."""
        return self._kept(card, self._composed if isinstance(card, CompositeCard) else self._single)

    def _single(self, card: ModelCard) -> Ranker:
        return RankingModel(load_model(card, self._runtime), self._form, self._cache)

    def _part(self, card: ModelCard) -> Ranker:
        if isinstance(card, CompositeCard):
            return self.ranker(card)
        runtime = self._runtime if card.service else replace(self._runtime, budget=None)
        return self._kept(
            card, lambda card: Remembering(RankingModel(load_part(card, runtime), self._form, self._cache))
        )

    def _composed(self, card: ModelCard) -> Ranker:
        if self._form.smaller:
            raise LocoError(f"'{card.name}' has no vectors of its own to make smaller: leave out --dim and --quantise.")
        if isinstance(card, FusedCard):
            return Remembering(Fused(card, [self._part(part.card) for part in card.parts]))
        if isinstance(card, RerankedCard):
            first = self._part(card.parts[0].card)
            reranker = load_reranker(card.reranker.card, replace(self._runtime, budget=None))
            for strategy in strategies_of(card.reranker.card, [str(card.reranker.strategy)]):
                check_pairs(reranker, strategy)
            return Remembering(Reranked(card, first, reranker, EmbeddingStore(self._cache)))
        raise TypeError(type(card).__name__)

    def _kept(self, card: ModelCard, load: Callable[[ModelCard], Ranker]) -> Ranker:
        found = next((ranker for known, ranker in self._loaded if known == card), None)
        if found is None:
            found = load(card)
            self._loaded.append((card, found))
        return found


class Remembering:
    """A model that remembers what it ranked for the last task: as a part of several it is asked more than once."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker
        self.card = ranker.card
        self._content: ContentHashes | None = None
        self._rankings: dict[str, Ranking] = {}

    def rankings(self, strategies: Sequence[Strategy], task: TaskData) -> dict[str, Ranking]:
        """As the model itself has them."""
        if self._content != task.content:
            self._content, self._rankings = task.content, {}
        missing = [strategy for strategy in strategies if strategy.name not in self._rankings]
        if missing:
            self._rankings |= self._ranker.rankings(missing, task)
        return {strategy.name: self._rankings[strategy.name] for strategy in strategies}

    @property
    def bills(self) -> tuple[Bill, ...]:
        """Those of the model."""
        return self._ranker.bills


class Fused:
    """The rankings of several models, DEPTH documents of each, as one."""

    def __init__(self, card: FusedCard, parts: Sequence[Ranker]) -> None:
        self.card = card
        self._parts = parts

    def rankings(self, strategies: Sequence[Strategy], task: TaskData) -> dict[str, Ranking]:
        """For each strategy, by its name, the parts' rankings under it as one: all from one pass of each part."""
        by_part = [_of_part(strategies, place) for place in range(len(self._parts))]
        with phase("parts"):
            found = _ranked(self._parts, by_part, task)
        made = {}
        with phase("fuse"):
            for strategy, own in zip(strategies, zip(*by_part, strict=True), strict=True):
                rankings = [found[place][one.name] for place, one in enumerate(own)]
                in_order = [
                    ordered(ranking, task, part.card.name) for part, ranking in zip(self._parts, rankings, strict=True)
                ]
                hits = {
                    query: fused([hits[query] for hits in in_order], self.card.method, DEPTH)
                    for query in task.queries.ids
                }
                made[strategy.name] = Ranking(
                    hits,
                    None,
                    dtype=_dtypes(ranking.dtype for ranking in rankings),
                    parts=tuple(
                        use
                        for part, one, ranking in zip(self._parts, own, rankings, strict=True)
                        for use in _uses(part, one, ranking)
                    ),
                )
        return made

    @property
    def bills(self) -> tuple[Bill, ...]:
        """Those of all parts, that of a model in several of them once."""
        return tuple({bill.model: bill for part in self._parts for bill in part.bills}.values())


class Reranked:
    """A first stage whose best documents are put into another order by a reranker; the others stay behind them.

    The reranked documents have the reranker's scores. Those behind have falling ones below the lowest of these: their
    place says all there is to say of them.
    """

    def __init__(self, card: RerankedCard, first: Ranker, reranker: Reranker, store: EmbeddingStore) -> None:
        self.card = card
        self._first, self._reranker, self._store = first, reranker, store

    def rankings(self, strategies: Sequence[Strategy], task: TaskData) -> dict[str, Ranking]:
        """For each strategy, by its name, the first stage's ranking under it, reranked."""
        firsts, rerankers = _of_part(strategies, 0), _of_part(strategies, 1)
        with phase("first stage"):
            found = self._first.rankings(_distinct(firsts), task)
        made = {}
        for strategy, first, how in zip(strategies, firsts, rerankers, strict=True):
            ranking = found[first.name]
            hits = ordered(ranking, task, self._first.card.name)
            candidates = {query: [hit.document for hit in best[: self.card.depth]] for query, best in hits.items()}
            with phase("rerank"):
                scores, use = score_pairs(self._reranker, how, task, candidates, self._store)
            made[strategy.name] = Ranking(
                {query: reordered(best, scores.get(query, {})) for query, best in hits.items()},
                None,
                dtype=_dtypes([ranking.dtype, use.dtype]),
                parts=_uses(self._first, first, ranking),
                reranking=Reranking(self._first.card.name, first.name, self._reranker.card.name, self.card.depth, use),
            )
        return made

    @property
    def bills(self) -> tuple[Bill, ...]:
        """Those of the first stage."""
        return self._first.bills


def reordered(hits: Sequence[Hit], scores: Mapping[str, float]) -> list[Hit]:
    """A query's documents, best first: those with a score by it, the others in their order behind them.

    No score of the others reaches the lowest above them, in float32 too.
    """
    above = [Hit(document, float(np.float32(scores[document]))) for document, _ in hits if document in scores]
    rest = [hit.document for hit in hits if hit.document not in scores]
    low = min((hit.score for hit in above), default=0.0)
    step = max(1.0, 4 * float(np.spacing(np.float32(abs(low)))))
    return above + [Hit(document, low - place * step) for place, document in enumerate(rest, start=1)]


def _of_part(strategies: Sequence[Strategy], place: int) -> list[Strategy]:
    """What each strategy is for the part at a place."""
    found = []
    for strategy in strategies:
        if not isinstance(strategy, ByPart):
            raise TypeError(f"{strategy.name} is no strategy by part")
        found.append(strategy.parts[place])
    return found


def _ranked(parts: Sequence[Ranker], by_part: Sequence[Sequence[Strategy]], task: TaskData) -> list[dict[str, Ranking]]:
    """What each part ranks under its strategies; a model in several places ranks under all of them at once."""
    found: list[dict[str, Ranking]] = []
    for part in parts:
        wanted = [one for other, theirs in zip(parts, by_part, strict=True) if other is part for one in theirs]
        found.append(part.rankings(_distinct(wanted), task))
    return found


def _distinct(strategies: Iterable[Strategy]) -> list[Strategy]:
    return list({strategy.name: strategy for strategy in strategies}.values())


def _uses(part: Ranker, strategy: Strategy, ranking: Ranking) -> tuple[PartUse, ...]:
    """What a result says of a part, or of that part's own."""
    if ranking.parts:
        return ranking.parts
    return (PartUse(part.card.name, strategy.name, ranking.coverage, ranking.dtype, ranking.vectors),)


def _dtypes(dtypes: Iterable[str]) -> str:
    return ", ".join(sorted(set(", ".join(dtypes).split(", "))))

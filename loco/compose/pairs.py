"""Queries scored together with documents by a reranker: cut, batched, every finished batch stored.

A score is found again by the token ids of both sides, within a space of the embedding store that holds everything else
that decides it. So a run that is killed goes on where it was, and the same pair is never scored twice. Batches are made
up from the texts and the candidates alone, less what was stored before: one that goes on computes the same batches.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from loco.encode.store import EmbeddingStore, Space
from loco.encode.strategies import ChunkMax, Strategy, Truncate, pieces
from loco.errors import BadText, LocoError
from loco.models.protocols import Pair, Reranker, Role, Span, TokenIds
from loco.phases import phase
from loco.progress import Meter, meter, tracked
from loco.rank.ranking import Float32, PairUse
from loco.tasks.data import TaskData, Texts

# Pairs are prepared for so many batches at a time: enough to sort by length, little enough to hold.
_BATCHES_AHEAD = 32
_TOKENISED_AT_ONCE = 4_000_000  # characters

Candidates = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class _Job:
    """A pair to be scored, its key, and the places in their task of the texts it is made of."""

    pair: Pair
    key: bytes
    query: int
    document: int


@dataclass
class _Work:
    """What a pass did, in pairs of a query and a document or a piece of one, and in tokens of these."""

    scored: int = 0
    scored_tokens: int = 0
    reused: int = 0


@dataclass
class _Cut:
    """What was cut to make pairs fit: of how many queries, and tokens of the documents over all pairs."""

    queries: set[int] = field(default_factory=set)
    query_tokens: int = 0
    pairs: int = 0
    document_tokens: int = 0
    blank: int = 0


def score_pairs(
    reranker: Reranker, strategy: Strategy, task: TaskData, candidates: Candidates, store: EmbeddingStore
) -> tuple[dict[str, dict[str, float]], PairUse]:
    """For each query the score of each of its candidates, higher for a better one, and what that took.

    A document longer than fits beside its query is cut as the strategy says: ``truncate`` reads its beginning,
    ``chunk-max`` all of it in pieces, of which the best decides. A query takes at most half of the room, and its end is
    cut, unless the document needs less than the other half; an odd token is the longer one's. That is how transformers
    cuts the longest first. A query or document without tokens has no score.

    Raises LocoError for a strategy that cannot be, for a text that the reranker cannot read, for a score that is not
    finite, and for a pair that does not fit into memory by itself.
    """
    traits = reranker.traits
    room = _room(reranker, strategy)
    wanted = {document for documents in candidates.values() for document in documents}
    with phase("tokenise"):
        queries = _tokenised(
            reranker, task.queries, "query", {query for query in candidates if candidates[query]}, None
        )
        documents = _tokenised(
            reranker, task.documents, "document", wanted, room if isinstance(strategy, Truncate) else None
        )
    with phase("score pairs"), store.space(_description(reranker), 1) as space:
        for problem in space.damaged:
            print(f"{problem} What is lost there is computed again.", file=sys.stderr)
        scoring = _Scoring(reranker, strategy, task, space, room)
        scores = scoring.scores(candidates, queries, documents)
    cut, work = scoring.cut, scoring.work
    return scores, PairUse(
        strategy=strategy.name,
        fingerprint=traits.fingerprint,
        dtype=traits.dtype,
        device=traits.device,
        pairs=sum(map(len, scores.values())),
        pairs_blank=cut.blank,
        inputs_scored=work.scored,
        tokens_scored=work.scored_tokens,
        inputs_reused=work.reused,
        queries_cut=len(cut.queries),
        query_tokens_cut=cut.query_tokens,
        documents_cut=cut.pairs,
        document_tokens_cut=cut.document_tokens,
    )


@dataclass(frozen=True, eq=False)
class _Text:
    """The first token ids of a text, as many as are needed, and how many it has."""

    ids: TokenIds
    tokens: int


class _Scoring:
    """A pass of a reranker over the candidates of a task."""

    def __init__(self, reranker: Reranker, strategy: Strategy, task: TaskData, space: Space, room: int) -> None:
        self._reranker, self._strategy, self._task, self._space, self._room = reranker, strategy, task, space, room
        self.work, self.cut = _Work(), _Cut()

    def scores(
        self, candidates: Candidates, queries: Mapping[str, _Text], documents: Mapping[str, _Text]
    ) -> dict[str, dict[str, float]]:
        """The score of each candidate by query; those without tokens are left out."""
        places = {identifier: place for place, identifier in enumerate(self._task.documents.ids)}
        scores: dict[str, dict[str, float]] = {}
        pairs = sum(map(len, candidates.values()))
        waiting: dict[tuple[str, str], list[_Job]] = {}
        tokens = 0
        most = _BATCHES_AHEAD * self._reranker.traits.batch_tokens
        with meter("Scoring pairs", pairs, pairs) as bar:
            for place, query in enumerate(self._task.queries.ids):
                scores[query] = {}
                for document in candidates.get(query, ()):
                    text = documents[document]
                    if not text.tokens or not queries[query].tokens:
                        self.cut.blank += 1
                        bar.advance(1, 1, 0)
                        continue
                    jobs = [
                        _Job(pair, pair.key(), place, places[document])
                        for pair in self._pairs(queries[query], text, place)
                    ]
                    waiting[query, document] = jobs
                    tokens += sum(job.pair.tokens for job in jobs)
                if tokens >= most:
                    self._finish(waiting, scores, bar)
                    waiting, tokens = {}, 0
            self._finish(waiting, scores, bar)
        return scores

    def _pairs(self, query: _Text, document: _Text, place: int) -> Iterator[Pair]:
        """What of a query stands beside what of a document."""
        half = (self._room + (query.tokens > document.tokens)) // 2
        kept = query.ids[: max(half, self._room - document.tokens)]
        if len(kept) < query.tokens:
            self.cut.queries.add(place)
            self.cut.query_tokens += query.tokens - len(kept)
        seen = 0
        for start, stop in _spans(self._strategy, document.tokens, self._room - len(kept)):
            seen = stop
            yield Pair(kept, document.ids[start:stop])
        if seen < document.tokens:
            self.cut.pairs += 1
            self.cut.document_tokens += document.tokens - seen

    def _finish(
        self, waiting: Mapping[tuple[str, str], Sequence[_Job]], scores: dict[str, dict[str, float]], bar: Meter
    ) -> None:
        """Score what is missing, and take each document's best piece."""
        if not waiting:
            return
        distinct = {job.key: job for jobs in waiting.values() for job in jobs}
        absent = set(self._space.missing(list(distinct)))
        missing = {key for place, key in enumerate(distinct) if place in absent}
        self.work.reused += len(distinct) - len(missing)
        todo = [
            left
            for batch in self._batches(list(distinct.values()))
            if (left := [job for job in batch if job.key in missing])
        ]
        share = len(waiting) / len(todo) if todo else 0.0
        with ThreadPoolExecutor(self._reranker.traits.concurrency) as lanes:
            try:
                for batch, _ in zip(todo, lanes.map(self._score, todo), strict=True):
                    tokens = sum(job.pair.tokens for job in batch)
                    self.work.scored += len(batch)
                    self.work.scored_tokens += tokens + len(batch) * self._reranker.traits.overhead
                    bar.advance(share, share, tokens)
            except BaseException:
                lanes.shutdown(wait=False, cancel_futures=True)  # what is under way is stored, the rest not begun
                raise
        if not todo:
            bar.advance(len(waiting), len(waiting), 0)
        keys = [job.key for jobs in waiting.values() for job in jobs]
        found = self._space.get(keys)[:, 0]
        start = 0
        for (query, document), jobs in waiting.items():
            scores[query][document] = float(found[start : start + len(jobs)].max())
            start += len(jobs)

    def _batches(self, jobs: Sequence[_Job]) -> Iterator[list[_Job]]:
        """The jobs, longest first, in batches of at most ``batch_tokens`` tokens, padding counted (one at least)."""
        traits = self._reranker.traits
        batch: list[_Job] = []
        for job in sorted(jobs, key=lambda job: -job.pair.tokens):
            longest = (batch or [job])[0].pair.tokens + traits.overhead
            if batch and (len(batch) + 1) * longest > traits.batch_tokens:
                yield batch
                batch = []
            batch.append(job)
        if batch:
            yield batch

    def _score(self, jobs: Sequence[_Job]) -> None:
        """What happens in a lane, to the store included."""
        try:
            scores = self._reranker.score([job.pair for job in jobs])
        except MemoryError as error:
            if len(jobs) == 1:
                tokens = jobs[0].pair.tokens + self._reranker.traits.overhead
                raise LocoError(
                    f"A pair of {tokens:,} tokens, of {self._named(jobs[0])}, does not fit into memory even alone. "
                    f"Choose a smaller size, as in --rerank 'MODEL@K: chunk-max({max(tokens // 2, 1)})'."
                ) from error
            middle = (len(jobs) + 1) // 2
            self._score(jobs[:middle])
            self._score(jobs[middle:])
            return
        name = self._reranker.card.name
        if scores.shape != (len(jobs),):
            raise LocoError(
                f"Reranker '{name}' returned scores of shape {scores.shape} for {len(jobs)} pairs. The adapter or the "
                "checkpoint is broken; nothing of this batch was kept."
            )
        with np.errstate(over="ignore"):
            rows: Float32 = scores.astype(np.float32, copy=False)[:, np.newaxis]
        sound = np.isfinite(rows[:, 0])
        if not sound.all():
            job = jobs[int(np.flatnonzero(~sound)[0])]
            raise LocoError(
                f"Reranker '{name}' returned a score that is NaN or infinite for {self._named(job)}. No order can come "
                "of that; try --dtype float32 if it ran in another precision, else mend the model."
            )
        self._space.add([job.key for job in jobs], rows)

    def _named(self, job: _Job) -> str:
        queries, documents = self._task.queries.ids, self._task.documents.ids
        return f"query '{queries[job.query]}' with document '{documents[job.document]}'"


def check_pairs(reranker: Reranker, strategy: Strategy) -> None:
    """Raise LocoError for a strategy under which queries and documents cannot be read together."""
    _room(reranker, strategy)


def _room(reranker: Reranker, strategy: Strategy) -> int:
    """How many tokens of a query and a document an input has room for."""
    if not isinstance(strategy, Truncate | ChunkMax):
        raise LocoError(f"A reranker cannot be run under {strategy.name}. Choose truncate or chunk-max.")
    overhead = reranker.traits.overhead
    room = strategy.size - overhead
    if room < 2:
        raise LocoError(
            f"{strategy.name} leaves no room for a query and a document: special tokens alone are {overhead}. Choose a "
            "larger size."
        )
    least = room // 2
    if isinstance(strategy, ChunkMax) and strategy.overlap >= least:
        raise LocoError(
            f"{strategy.name}: beside a long query only {least} tokens of a document fit, and the overlap must be "
            "smaller than that."
        )
    return room


def _spans(strategy: Strategy, tokens: int, size: int) -> Iterator[Span]:
    """What is read of a document of so many tokens, ``size`` at once."""
    if isinstance(strategy, ChunkMax) and tokens > size:  # what fits is one piece, however large the overlap
        return pieces(tokens, size, strategy.overlap, strategy.name)
    return iter([(0, min(tokens, size))])


def _tokenised(reranker: Reranker, texts: Texts, role: Role, wanted: set[str], limit: int | None) -> dict[str, _Text]:
    """The texts called ``wanted``, the first ``limit`` tokens of each."""
    groups: list[list[int]] = [[]]
    size = 0
    for place, identifier in enumerate(texts.ids):
        if identifier not in wanted:
            continue
        groups[-1].append(place)
        size += len(texts.texts[place])
        if size >= _TOKENISED_AT_ONCE:
            groups.append([])
            size = 0
    found: dict[str, _Text] = {}
    for places in tracked(groups, f"Tokenising {'queries' if role == 'query' else 'documents'}"):
        try:
            every = reranker.token_ids([str(texts.texts[place]) for place in places], role) if places else []
        except BadText as error:
            raise LocoError(
                f"The {role} '{texts.ids[places[error.index]]}' {error.reason}. Mend it or leave it out."
            ) from error
        for place, ids in zip(places, every, strict=True):
            found[texts.ids[place]] = _Text(ids[:limit].copy() if limit else ids, len(ids))
    return found


def _description(reranker: Reranker) -> dict[str, str | int]:
    """All that decides a score except what the reranker is given to read."""
    traits = reranker.traits
    return {
        "model": reranker.card.name,
        "scores": "pairs",
        "fingerprint": traits.fingerprint,
        "dtype": traits.dtype,
        "device": traits.device,
    }

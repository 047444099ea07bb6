"""One pass over the texts of a role: cut, deduplicated, batched, encoded, every finished batch stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from loco.encode.batching import Job, batches, encoded, padded
from loco.encode.store import Space
from loco.encode.strategies import Room, Strategy
from loco.errors import BadText, LocoError
from loco.models.protocols import Encoder, Interruptible, Role, TokenizedText
from loco.money import Plan
from loco.phases import phase
from loco.progress import Meter, meter, tracked
from loco.rank.ranking import TextCoverage
from loco.tasks.data import Texts

# Texts are prepared this many batches at a time: enough to sort by length, little enough to hold.
_BATCHES_AHEAD = 32
_CHARACTERS_A_TOKEN = 4  # about; only for sizing
_COUNTED_AT_ONCE = 4_000_000  # characters

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


@dataclass
class Work:
    """What a pass had to compute and what stood in the store already, in inputs and in their tokens."""

    encoded: int = 0
    encoded_tokens: int = 0
    reused: int = 0


@dataclass(frozen=True)
class Encoding:
    """What a pass leaves: for each strategy the keys of every text's vectors, and how much of the texts it has seen.

    Both by the strategy's name. A text without tokens has no vectors. ``sizes`` has how many vectors each key stands
    for, where those are bags (:attr:`loco.models.protocols.Input.bag`); it is empty else.
    """

    keys: dict[str, list[tuple[bytes, ...]]]
    sizes: dict[str, list[tuple[int, ...]]]
    coverage: dict[str, TextCoverage | None]
    work: Work = field(default_factory=Work)


@dataclass(frozen=True, eq=False)
class _Group:
    """Texts prepared together: the jobs they make and what each strategy takes from them."""

    jobs: list[Job]
    cuts: list[tuple[int, dict[str, list[Job]]]]
    tokens: list[tuple[int, int]]
    characters: int


def encode_texts(encoder: Encoder, texts: Texts, role: Role, strategies: Sequence[Strategy], space: Space) -> Encoding:
    """Put every vector that the strategies need of ``texts`` into ``space``.

    Inputs that are the same for several strategies or texts are encoded once, those that stand in the store not at
    all. Batches are made up from the texts and the strategies alone, less what was stored before the pass: one that
    goes on after a kill computes the same batches, so the same bits, as one that was never interrupted. (A vector that
    was damaged on disk is computed again without its former batch: the same within rounding.)

    Raises LocoError, naming the text, for a text that the model cannot read, for a vector that is not finite or zero,
    and for an input that does not fit into memory by itself.
    """
    preparing = _Preparing(encoder, texts, role, strategies)
    keys: dict[str, list[tuple[bytes, ...]]] = {strategy.name: [()] * len(texts) for strategy in strategies}
    sizes: dict[str, list[tuple[int, ...]]] = {}
    if encoder.traits.token_vectors:
        sizes = {strategy.name: [()] * len(texts) for strategy in strategies}
    tokens = [0] * len(texts)
    with (
        meter(f"Encoding {_plural(role)}", len(texts), sum(map(len, texts.texts))) as bar,
        ThreadPoolExecutor(1) as reader,
        _Lanes(encoder, space, texts, role, bar) as lanes,
    ):
        for group in _ahead(reader, preparing.group, list(preparing.groups())):
            for text, by_strategy in group.cuts:
                for name, theirs in by_strategy.items():
                    keys[name][text] = tuple(key for job in theirs for key in job.keys)
                    if sizes:
                        sizes[name][text] = tuple(job.input.vectors for job in theirs)
            for text, count in group.tokens:
                tokens[text] = count
            lanes.encode(group)
        lanes.finish()
    return Encoding(keys, sizes, _coverage(encoder, texts, role, strategies, tokens, preparing.limit), lanes.work)


def plan_texts(
    encoder: Encoder, texts: Texts, role: Role, strategies: Sequence[Strategy], space: Space, asked: set[bytes]
) -> Plan:
    """What :func:`encode_texts` would have computed, in batches, and what it would have found in the store.

    ``asked`` are keys of what was planned before, which is then not computed again; those of this pass are added.
    Raises LocoError, naming the text, for a text that the model cannot read.
    """
    preparing, wanted = _Preparing(encoder, texts, role, strategies), _Wanted(space, asked)
    plan = Plan()
    for places in tracked(list(preparing.groups()), f"Counting tokens of {_plural(role)}"):
        for jobs in batches(preparing.group(places).jobs, encoder.traits):
            missing, stored = wanted.of(jobs)
            tokens = sum(job.input.tokens for job in missing)
            plan += Plan(bool(missing), len(missing), tokens, stored)
    return plan


class _Preparing:
    """From texts to jobs."""

    def __init__(self, encoder: Encoder, texts: Texts, role: Role, strategies: Sequence[Strategy]) -> None:
        self._encoder, self._texts, self._role, self._strategies = encoder, texts, role, strategies
        self._room = room(encoder, role)
        limits = [strategy.limit(self._room) for strategy in strategies]
        self.limit = None if None in limits else max(limit for limit in limits if limit is not None)

    def groups(self) -> Iterator[list[int]]:
        """The places of the texts, longest first, in groups of a few dozen batches."""
        lengths = [len(text) for text in self._texts.texts]
        most = _BATCHES_AHEAD * self._encoder.traits.batch_tokens * _CHARACTERS_A_TOKEN
        needed = most if self.limit is None else self.limit * _CHARACTERS_A_TOKEN
        places = sorted(range(len(lengths)), key=lambda place: -lengths[place])
        return _grouped(places, [min(length, needed) for length in lengths], most)

    def group(self, places: Sequence[int]) -> _Group:
        """Tokenise and cut some texts."""
        texts = [self._texts.texts[place] for place in places]
        with _naming(self._texts, self._role, places):
            tokenized = self._encoder.tokenize(texts, self._role, self.limit)
        jobs: dict[tuple[bytes, ...], Job] = {}
        cuts = []
        for place, text in zip(places, tokenized, strict=True):
            cuts.append((place, {one.name: self._cut(one, text, place, jobs) for one in self._strategies}))
        tokens = [(place, text.tokens) for place, text in zip(places, tokenized, strict=True)]
        return _Group(list(jobs.values()), cuts, tokens, sum(map(len, texts)))

    def _cut(
        self, strategy: Strategy, text: TokenizedText, place: int, jobs: dict[tuple[bytes, ...], Job]
    ) -> list[Job]:
        found = []
        for one in strategy.cut(text, self._room):
            if one.vectors:  # a bag is empty where no token of a piece counts
                theirs = tuple(one.vector_keys())
                found.append(jobs.setdefault(theirs, Job(one, theirs, place)))
        return found


@dataclass(frozen=True, eq=False)
class _Batch:
    """The jobs of a batch that have to be computed, and the share of the texts that the whole batch stands for."""

    jobs: list[Job]
    texts: float
    characters: float

    def halves(self) -> tuple[_Batch, _Batch]:
        """Two batches that together are this one."""
        middle = len(self.jobs) // 2
        share = middle / len(self.jobs)
        first = _Batch(self.jobs[:middle], self.texts * share, self.characters * share)
        return first, _Batch(self.jobs[middle:], self.texts - first.texts, self.characters - first.characters)


class _Wanted:
    """What of a pass's batches has to be computed."""

    def __init__(self, space: Space, own: set[bytes]) -> None:
        self._space = space
        self._own = own  # keys of what this pass computes or has computed

    def of(self, jobs: Sequence[Job]) -> tuple[list[Job], int]:
        """Those of the jobs that were not asked about before and are not in the store, and how many are in it."""
        others = [job for job in jobs if not self._own.issuperset(job.keys)]
        owners = [job for job in others for _ in job.keys]
        absent = self._space.missing([key for job in others for key in job.keys])
        missing = list(dict.fromkeys(owners[place] for place in absent))
        self._own.update(key for job in missing for key in job.keys)
        return missing, len(others) - len(missing)


class _Lanes:
    """The encoder at work on as many batches at once as it can, and the store behind it.

    A batch is stored by the lane that has computed it before that lane takes on another: what may have cost money is
    never waiting in memory. Leaving the block, however that comes, waits for the batches under way.
    """

    def __init__(self, encoder: Encoder, space: Space, texts: Texts, role: Role, bar: Meter) -> None:
        self._encoder, self._space, self._texts, self._role, self._bar = encoder, space, texts, role, bar
        self._pool = ThreadPoolExecutor(encoder.traits.concurrency)
        self._under_way: set[Future[None]] = set()
        self._wanted = _Wanted(space, set())
        self._counting = threading.Lock()
        self.work = Work()

    def __enter__(self) -> _Lanes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        if kind is not None and isinstance(self._encoder, Interruptible):
            self._encoder.interrupt()
        self._pool.shutdown(wait=True)

    def encode(self, group: _Group) -> None:
        """Set the encoder to what is missing of a group; returns when it is busy with the last of it."""
        tokens = [padded(job.input, self._encoder.traits) for job in group.jobs]
        if not tokens:
            self._advance(len(group.tokens), group.characters)
        for jobs in batches(group.jobs, self._encoder.traits):
            missing, stored = self._wanted.of(jobs)
            self.work.reused += stored
            share = sum(padded(job.input, self._encoder.traits) for job in jobs) / sum(tokens)
            batch = _Batch(missing, len(group.tokens) * share, group.characters * share)
            if not missing:
                self._advance(batch.texts, batch.characters)
                continue
            while len(self._under_way) > self._encoder.traits.concurrency:
                self._collect()
            self._under_way.add(self._pool.submit(self._compute, batch))

    def finish(self) -> None:
        """Wait for all that is under way."""
        while self._under_way:
            self._collect()

    def _collect(self) -> None:
        done, self._under_way = wait(self._under_way, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()

    def _compute(self, batch: _Batch) -> None:
        """What happens in a lane, to the store included. Raises LocoError where no sound vectors come of the batch."""
        try:
            rows = np.concatenate(encoded(self._encoder, [job.input for job in batch.jobs]))
        except MemoryError as error:
            tokens = max(job.input.tokens for job in batch.jobs)
            raise LocoError(
                f"An input of {tokens:,} tokens, as of {self._named(batch.jobs[0])}, does not fit into memory even "
                f"alone. Choose a smaller size, as in --strategy 'chunk({max(tokens // 2, 1)})', or another --device."
            ) from error
        except BadText as error:
            if len(batch.jobs) == 1:
                raise LocoError(f"The {self._named(batch.jobs[0])} {error.reason}.") from error
            for half in batch.halves():  # until it is alone, and the others are stored
                self._compute(half)
            return
        sound = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
        if not sound.all():
            row = int(np.flatnonzero(~sound)[0])
            owner = [job for job in batch.jobs for _ in range(job.input.vectors)][row]
            kind = "is zero" if np.isfinite(rows[row]).all() else "holds NaN or infinity"
            raise LocoError(
                f"Model '{self._encoder.card.name}' returned a vector that {kind} for {self._named(owner)} "
                f"({owner.input.tokens:,} tokens). No score can come of that; try --dtype float32 if it ran in "
                "another precision, else mend the model."
            )
        sizes = [job.input.vectors for job in batch.jobs] if self._space.bags else None
        self._space.add([key for job in batch.jobs for key in job.keys], rows, sizes)
        tokens = sum(job.input.tokens for job in batch.jobs)
        with self._counting:
            self.work.encoded += len(batch.jobs)
            self.work.encoded_tokens += tokens
        self._advance(batch.texts, batch.characters, tokens)

    def _advance(self, texts: float, characters: float, tokens: int = 0) -> None:
        with self._counting:
            self._bar.advance(texts, characters, tokens)

    def _named(self, job: Job) -> str:
        return _named(self._texts, self._role, job.text)


def room(encoder: Encoder, role: Role) -> Room:
    """What an input of a role has room for in the encoder's whole window."""
    overhead = encoder.overhead(role)
    window = encoder.traits.window(role)
    if window is not None and window <= overhead:
        raise LocoError(
            f"The window of model '{encoder.card.name}' is {window} tokens, and the {role} prompt with the special "
            f"tokens takes {overhead}: no room for text. Shorten the prompt."
        )
    return Room(tokens=0 if window is None else window - overhead, overhead=overhead)


def count_tokens(encoder: Encoder, texts: Texts, role: Role, places: Sequence[int]) -> list[int]:
    """How many tokens the texts at ``places`` have, to their ends.

    Raises LocoError, naming the text, for one that the model cannot read.
    """
    counts: list[int] = []
    groups = list(_grouped(places, [len(text) for text in texts.texts], _COUNTED_AT_ONCE))
    for some in tracked(groups, f"Counting tokens of {_plural(role)}"):
        with _naming(texts, role, some):
            counts += [text.tokens for text in encoder.tokenize([texts.texts[place] for place in some], role)]
    return counts


def _grouped(places: Iterable[int], sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """The places in their order, in groups that end with the one by which their sizes come to ``most``."""
    group: list[int] = []
    size = 0
    for place in places:
        group.append(place)
        size += sizes[place]
        if size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


@contextmanager
def _naming(texts: Texts, role: Role, places: Sequence[int]) -> Iterator[None]:
    """Have an error about one of the texts at ``places`` say what that text is called."""
    try:
        yield
    except BadText as error:
        named = _named(texts, role, places[error.index])
        raise LocoError(f"The {named} {error.reason}. Mend it or leave it out.") from error


def _coverage(
    encoder: Encoder,
    texts: Texts,
    role: Role,
    strategies: Sequence[Strategy],
    tokens: list[int],
    limit: int | None,
) -> dict[str, TextCoverage | None]:
    """How much each strategy has seen, exactly: what was tokenised only up to a limit is counted to its end now."""
    if encoder.traits.max_tokens is None:
        return {strategy.name: None for strategy in strategies}
    whole = list(tokens)
    if limit is not None:
        longer = [place for place, count in enumerate(tokens) if count >= limit]
        with phase("count"):
            for place, count in zip(longer, count_tokens(encoder, texts, role, longer), strict=True):
                whole[place] = count
    here = room(encoder, role)
    covered: dict[str, TextCoverage | None] = {}
    for strategy in strategies:
        most = strategy.limit(here)
        seen = [count if most is None else min(count, most) for count in whole]
        cut = sum(part < count for part, count in zip(seen, whole, strict=True))
        by_text = tuple(zip(whole, seen, strict=True))
        covered[strategy.name] = TextCoverage(len(texts), cut, sum(whole), sum(seen), whole.count(0), by_text)
    return covered


def _ahead(reader: ThreadPoolExecutor, make: Callable[[_Item], _Made], items: Sequence[_Item]) -> Iterator[_Made]:
    """What ``make`` makes of each item, the next one being made while the last one is used."""
    following: Future[_Made] | None = None
    for item in items:
        coming = reader.submit(make, item)
        if following is not None:
            yield following.result()
        following = coming
    if following is not None:
        yield following.result()


def _named(texts: Texts, role: Role, place: int) -> str:
    return f"{role} '{texts.ids[place]}'"


def _plural(role: Role) -> str:
    return "queries" if role == "query" else "documents"

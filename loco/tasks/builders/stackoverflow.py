"""stackoverflow from a dump of Stack Overflow's posts in parquet: questions find their answers.

Documented: the columns, of the hub dataset ``mikex86/stackoverflow-posts`` (59 files, 35 GB, 58 million posts in no
particular order), where ``PostTypeId`` 1 is a question and 2 an answer, an answer's ``ParentId`` is its question, and
``Body`` is Markdown; and of the task that a query is a question's title and body, a document is an answer, several
documents answer one query, and how many there are. How the paper drew its posts is not documented, so what is built
here stands in for its rows, by these rules:

- A question is drawn on if one of its answers has 10,000 characters or more. The paper's documents are few very long
  ones (mean 4,544 characters) among many short ones (median about 300), as the answers to such questions should be:
  inferred, and the number is ours. Queries and the questions behind the distractors are drawn alike, so that a
  document's length says little about its relevance.
- The order in which questions are drawn is that of a hash of their id.
- A query is such a question with a title, a body, two answers or more, and an accepted one among them. Its text is
  title, blank line, body. All its answers are relevant, grade 1, whatever their score.
- The pool is the answers to the queries, filled up to the paper's size with answers to questions that are queries in
  neither split. No question has answers in both splits.
- A source with too few such questions gives smaller splits, all four sizes scaled by the same factor.

Ids are the posts' own with a letter in front: ``a123`` is https://stackoverflow.com/a/123, ``q123`` the question
https://stackoverflow.com/q/123, where the author stands whom the licence asks to name.

The source is read three times, because an answer does not say whether its question qualifies, nor a question how long
its answers are, and either may come first: once for the questions with a long answer (of which only the first by hash
are kept), once, without the texts, for their answers and the accepted one, and once for the chosen texts. What is kept
grows with the task, not with the source, and depends on neither the order of rows nor the names of files.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from loco.errors import LocoError, one_line
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, Split, TaskData, Texts, Variant
from loco.tasks.sources.files import SourceFile, checksums, local_file
from loco.tasks.sources.hub import HubError, hub_file, hub_names

NAME = "stackoverflow"
VERSION = 1

_REPO = "mikex86/stackoverflow-posts"
_SPLITS: tuple[Split, ...] = ("test", "train")
_QUERIES: Mapping[Split, int] = {"test": 400, "train": 1599}
_DOCUMENTS: Mapping[Split, int] = {"test": 7741, "train": 18005}
_LONG = 10_000
_HASH_KEY = b"loco stackoverflow"

_QUESTION, _ANSWER = 1, 2
_NUMBERS = ("Id", "PostTypeId", "ParentId", "AcceptedAnswerId")
_STRINGS = ("Title", "Body", "ContentLicense")
_NEVER_NULL = ("Id", "PostTypeId")

_TEXTS_AT_ONCE = 4096  # rows; a post has at most 30,000 characters
_NUMBERS_AT_ONCE = 65_536  # rows
_MOST_BLANK = 1_000_000  # remembered, so there must be an end; the real dump has next to none
_PASSES = 3


@dataclass(frozen=True)
class Draw:
    """The posts of one split: ``queries`` (question id -> ids of its answers), and further answers."""

    queries: Mapping[int, Sequence[int]]
    distractors: Sequence[int]

    @property
    def documents(self) -> list[int]:
        """The ids of all its answers, ascending."""
        return sorted([*self.distractors, *(answer for answers in self.queries.values() for answer in answers)])


@dataclass(frozen=True)
class _Post:
    title: str
    body: str
    licence: str


def tasks(variant: Variant, split: Split) -> Sequence[str]:
    """The tasks this builder can make in a variant, for either split."""
    return ("stackoverflow",) if variant == "paper" else ()


def wanted(task: str, split: Split) -> str:
    """The files to put into a folder, for people; both splits are drawn from the same ones."""
    return f"all parquet files of the hub dataset {_REPO} (about 35 GB), or any with its columns, under any names"


def holds(task: str, source: Path) -> bool:
    """Whether ``source`` is a parquet file or a folder with some."""
    return bool(_found(source))


def build(card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
    """The task from ``source``, for which :func:`holds` is true, or from the hub; in the order of the posts' ids.

    Raises LocoError for a file that is damaged or has other columns, for a post that stands twice among those drawn
    on, and for a source without any question that qualifies.
    """
    files, where, revision = _files(source, split)
    notes: Counter[str] = Counter()
    with _progress(files) as advance:
        candidates, blank = _survey(files, advance, notes)
        questions, answers = _threads(files, candidates, blank, advance)
        draw, share = _drawn(questions, answers, split, where)
        posts = _posts(files, [*draw.queries, *draw.documents], advance)
    licences = Counter(post.licence for post in posts.values())
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=where,
        source_revision=revision,
        source_sha256=checksums(*files),
        licences=dict(sorted(licences.items())),
        equivalent=_equivalent(share),
        dropped=dict(notes),
    )
    queries = ((f"q{number}", f"{posts[number].title}\n\n{posts[number].body}") for number in sorted(draw.queries))
    return TaskData(
        card=card,
        variant=variant,
        provenance=provenance,
        queries=Texts.of(queries, "query"),
        documents=Texts.of(((f"a{number}", posts[number].body) for number in draw.documents), "document"),
        qrels={f"q{number}": {f"a{answer}": 1 for answer in draw.queries[number]} for number in sorted(draw.queries)},
        split=split,
    )


def drawn(questions: Mapping[int, int], answers: Mapping[int, Sequence[int]], split: Split) -> tuple[Draw, Fraction]:
    """What a split is made of, and which share of the paper's size that is; see the module for the rules.

    ``questions``: question id -> id of the accepted answer, 0 for none, for those with title and body. ``answers``:
    question id -> ids of its answers, also for questions that are not there. A source without any question that can be
    a query gives a draw without queries.
    """
    order = sorted(answers, key=_rank)
    fit = [number for number in order if len(answers[number]) > 1 and questions.get(number) in answers[number]]
    share = min(
        Fraction(1),
        Fraction(len(fit), sum(_QUERIES.values())),
        Fraction(sum(map(len, answers.values())), sum(_DOCUMENTS.values())),
    )
    tests, trains = (max(1, int(_QUERIES[name] * share)) for name in _SPLITS)
    queries: dict[Split, list[int]] = {"test": fit[:tests], "train": fit[tests : tests + trains]}
    asked = {*queries["test"], *queries["train"]}
    others = iter([number for number in order if number not in asked])
    draws = {}
    for name in _SPLITS:
        relevant = {number: sorted(answers[number]) for number in queries[name]}
        room = int(_DOCUMENTS[name] * share) - sum(map(len, relevant.values()))
        distractors: list[int] = []
        while len(distractors) < room and (number := next(others, None)) is not None:
            distractors += sorted(answers[number])[: room - len(distractors)]
        draws[name] = Draw(relevant, distractors)
    return draws[split], share


def _drawn(
    questions: Mapping[int, int], answers: Mapping[int, Sequence[int]], split: Split, where: str
) -> tuple[Draw, Fraction]:
    draw, share = drawn(questions, answers, split)
    if not draw.queries:
        raise LocoError(
            f"{where}: too few questions for a {split} split. Of {len(answers):,} with an answer of {_LONG:,} "
            f"characters or more, {len(questions):,} are there with title and body, and a query needs two answers and "
            "an accepted one. Add more of the dump's files."
        )
    return draw, share


def _equivalent(share: Fraction) -> str:
    reason = (
        "drawn by rules of our own, from questions with an accepted answer and one of "
        f"{_LONG:,} characters or more, as how the paper drew its posts is not documented"
    )
    return reason if share == 1 else f"{reason}; the source is enough for {float(share):.2%} of the paper's size"


def _survey(
    files: Sequence[SourceFile], advance: Callable[[int], None], notes: Counter[str]
) -> tuple[list[int], set[int]]:
    """The first questions by hash that have a long answer, and all posts without a text, which cannot be used.

    There are at most as many questions as the pools have documents, which is enough, as each has an answer at least.
    What the posts of the whole source lack is counted in ``notes``.
    """
    import pyarrow.compute as pc

    first = _First(sum(_DOCUMENTS.values()))
    blank: set[int] = set()
    for file, posts in _batches(files, ("Id", "PostTypeId", "ParentId", "Title", "Body"), _TEXTS_AT_ONCE, advance):
        known = pc.and_(pc.is_valid(posts["Id"]), pc.is_valid(posts["PostTypeId"]))
        questions = pc.and_(known, _true(pc.equal(posts["PostTypeId"], _QUESTION)))
        answers = pc.and_(known, _true(pc.equal(posts["PostTypeId"], _ANSWER)))
        placed = pc.and_(answers, _true(pc.greater(posts["ParentId"], 0)))
        empty = _blank(posts["Body"])
        bad_questions = pc.and_(questions, pc.or_(empty, _blank(posts["Title"])))
        bad_answers = pc.and_(placed, empty)
        for reason, mask in (
            ("posts without an id or a type", pc.invert(known)),
            ("answers that name no question", pc.and_not(answers, placed)),
            ("questions without a title or a text", bad_questions),
            ("answers without a text", bad_answers),
        ):
            if mask.true_count:
                notes[reason] += mask.true_count
        blank.update(posts["Id"].filter(pc.or_(bad_questions, bad_answers)).to_pylist())
        if len(blank) > _MOST_BLANK:
            raise LocoError(
                f"{file}: more than {_MOST_BLANK:,} posts up to here have no text. Are 'Title' and 'Body' the right "
                f"columns? {file.remedy}"
            )
        long = pc.and_(pc.and_not(placed, empty), _true(pc.greater_equal(pc.utf8_length(posts["Body"]), _LONG)))
        for question in posts["ParentId"].filter(long).to_pylist():
            first.offer(question)
    return first.numbers, blank


def _threads(
    files: Sequence[SourceFile], candidates: Sequence[int], blank: set[int], advance: Callable[[int], None]
) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Of the ``candidates``: question id -> id of the accepted answer or 0, and question id -> ids of its answers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    among = pa.array(candidates, pa.int64())
    questions: dict[int, int] = {}
    answers: dict[int, list[int]] = {}
    seen: set[int] = set()
    for file, posts in _batches(files, _NUMBERS, _NUMBERS_AT_ONCE, advance):
        asked = pc.and_(pc.equal(posts["PostTypeId"], _QUESTION), pc.is_in(posts["Id"], among))
        answered = pc.and_(pc.equal(posts["PostTypeId"], _ANSWER), pc.is_in(posts["ParentId"], among))
        usable = pc.and_(_true(pc.or_(asked, answered)), pc.is_valid(posts["Id"]))
        rows = (posts[name].filter(usable).to_pylist() for name in _NUMBERS)
        for number, kind, parent, accepted in zip(*rows, strict=True):
            if number in blank:
                continue
            if number in seen:
                raise _twice(file, number)
            seen.add(number)
            if kind == _QUESTION:
                questions[number] = accepted or 0
            else:
                answers.setdefault(parent, []).append(number)
    return questions, answers


def _posts(files: Sequence[SourceFile], numbers: Iterable[int], advance: Callable[[int], None]) -> dict[int, _Post]:
    """The posts with the ids ``numbers``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = set(numbers)
    among = pa.array(sorted(missing), pa.int64())
    kinds = pa.array([_QUESTION, _ANSWER], pa.int64())
    found: dict[int, _Post] = {}
    for file, posts in _batches(files, ("Id", "PostTypeId", *_STRINGS), _TEXTS_AT_ONCE, advance):
        chosen = pc.and_(pc.is_in(posts["Id"], among), pc.is_in(posts["PostTypeId"], kinds))
        rows = (posts[name].filter(chosen).to_pylist() for name in ("Id", *_STRINGS))
        for number, title, body, licence in zip(*rows, strict=True):
            if number in found:
                raise _twice(file, number)
            found[number] = _Post(title or "", body or "", licence or "not stated")
            missing.discard(number)
    if missing:
        raise LocoError(
            f"{len(missing):,} posts, among them {min(missing)}, were gone when they were read again. Leave the files "
            "alone while they are read, and run the command again."
        )
    return found


class _First:
    """The ``most`` first numbers by hash of those offered, each once, in whatever order they come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: set[int] = set()
        self._last: list[tuple[int, int]] = []  # a heap with the last by hash at the top

    def offer(self, number: int) -> None:
        if number in self._kept:
            return
        self._kept.add(number)
        heapq.heappush(self._last, (-_rank(number), number))
        if len(self._kept) > self._most:
            self._kept.remove(heapq.heappop(self._last)[1])

    @property
    def numbers(self) -> list[int]:
        return sorted(self._kept)


def _rank(number: int) -> int:
    """Where a question comes when questions are drawn: a keyed hash of its id, from 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.blake2b(str(number).encode(), digest_size=8, key=_HASH_KEY).digest(), "big")


def _true(mask: Any) -> Any:
    """A mask with its nulls made false."""
    import pyarrow.compute as pc

    return pc.fill_null(mask, False)


def _blank(texts: Any) -> Any:
    """Which of the ``texts`` are null, empty or nothing but space."""
    import pyarrow.compute as pc

    return pc.or_(pc.fill_null(pc.equal(pc.binary_length(texts), 0), True), _true(pc.utf8_is_space(texts)))


def _twice(file: SourceFile, number: int) -> LocoError:
    return LocoError(
        f"{file}: the post {number} stands twice in the source; ids must be unique. Are there two copies of a file, or "
        "two dumps, in the folder?"
    )


def _batches(
    files: Sequence[SourceFile], columns: Sequence[str], rows: int, advance: Callable[[int], None]
) -> Iterator[tuple[SourceFile, Any]]:
    """The files' posts, at most ``rows`` at once, as record batches of the ``columns``, numbers as int64.

    Raises LocoError, naming the file and how far it could be read, for one that is damaged or holds what is no text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.int64() if name in _NUMBERS else pa.large_string()) for name in columns])
    for file in files:
        done = 0
        try:
            # Without buffer_size, a column of a whole row group is read at once: hundreds of megabytes of texts.
            with pq.ParquetFile(
                file.path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True
            ) as parquet:
                for batch in parquet.iter_batches(rows, columns=list(columns)):
                    posts = batch.select(list(columns)).cast(schema)
                    posts.validate(full=True)
                    yield file, posts
                    done += posts.num_rows
                    advance(posts.num_rows)
        except (pa.ArrowException, OSError) as error:
            raise LocoError(f"{file}: damaged after row {done:,} ({one_line(error)}). {file.remedy}") from error


def _checked(file: SourceFile) -> int:
    """How many posts a file has. Raises LocoError for one that is no parquet file, or has not the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path) as parquet:
            schema, rows = parquet.schema_arrow, int(parquet.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise LocoError(f"{file}: not a parquet file, or cut off ({one_line(error)}). {file.remedy}") from error
    for name in (*_NUMBERS, *_STRINGS):
        position = schema.get_field_index(name)  # -1 for none and for several
        if position < 0:
            raise LocoError(
                f"{file}: the column '{name}' is missing or stands twice. Is it a file of {_REPO}? {file.remedy}"
            )
        kind = schema.field(position).type
        if name in _NUMBERS:
            what, fits = "whole numbers", pa.types.is_integer(kind)
        else:
            what, fits = "texts", pa.types.is_string(kind) or pa.types.is_large_string(kind)
        # A column that is null throughout a file may be stored with no other type than that.
        if not fits and (name in _NEVER_NULL or not pa.types.is_null(kind)):
            raise LocoError(f"{file}: the column '{name}' holds {kind}, not {what}. {file.remedy}")
    return rows


@contextmanager
def _progress(files: Sequence[SourceFile]) -> Iterator[Callable[[int], None]]:
    """What counts the rows that have been read; on a terminal, a bar over all passes."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"posts, read {_PASSES} times", total=_PASSES * sum(map(_checked, files)))
        yield lambda rows: progress.advance(task, rows)


def _files(source: Path | None, split: Split) -> tuple[list[SourceFile], str, str]:
    """The files to read, what the manifest calls them, and their revision.

    Of local files that is the SHA-256 of their own SHA-256s, sorted, a line each:
    ``sha256sum *.parquet | cut -d' ' -f1 | sort | sha256sum``.
    """
    if source is None:
        files = _hub_files()
        return files, f"{_REPO}, {len(files)} files", files[0].revision
    paths = _found(source)
    if not paths:
        raise LocoError(f"{source} holds no parquet file. Wanted there: {wanted('stackoverflow', split)}.")
    for path in paths:  # before hashing tens of gigabytes
        _checked(SourceFile(path, path.name, "", "Get the file again."))
    files = [local_file(path, path.name) for path in paths]
    digests = sorted(file.sha256 for file in files)
    combined = hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
    return files, f"posts of Stack Overflow, {len(files)} files", f"sha256:{combined}"


def _found(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if source.suffix == ".parquet" else []
    return sorted(path for path in source.glob("*.parquet") if path.is_file() and not path.name.startswith("."))


def _hub_files() -> list[SourceFile]:
    """All parquet files of the hub dataset, at one commit. They are listed, as names do not follow from a number."""
    readme = hub_file(_REPO, "README.md")
    names = hub_names(_REPO, readme.revision)
    files = [hub_file(_REPO, name, revision=readme.revision) for name in names if name.endswith(".parquet")]
    if not files:
        raise HubError(f"The dataset {_REPO} holds no parquet file at {readme.revision}.")
    return files

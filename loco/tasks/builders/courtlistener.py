"""courtlistener_Plain_Text and courtlistener_HTML from CourtListener's bulk data: a parenthetical finds its opinion.

Documented, by Free Law Project's export scripts: the two files of one date, ``parentheticals-<date>.csv.bz2`` and
``opinions-<date>.csv.bz2``; their columns, found here by name whatever their order; and that PostgreSQL's COPY writes
them as UTF-8 with a header, in one of three dialects over the years (:data:`_DIALECTS`). Neither Python's csv nor
pyarrow reads the present one exactly, since both take a backslash in an unquoted field for an escape: a field that
ends in one would swallow the next. Hence a reader of its own.

Inferred: that the paper's queries are parentheticals (``text``) and its documents the opinions they describe; one
parenthetical an opinion; and the HTML column, the first of :data:`HTML_COLUMNS` that is not blank, which is the order
of CourtListener's own code for an opinion's best text. ``html_with_citations`` of an opinion with plain text is that
text with links in it, and so fits the paper's Table 10, where HTML is 18 % longer than plain text.

Unknown: which pairs the paper drew. Here both tasks share theirs. An opinion is usable if it is described and has
plain text as well as HTML; the order is by a keyed hash of its id, so no order of rows matters; the first 2,000 are
test, the next 10,000 train. Where there are fewer than 12,000, one in six is test.
"""

from __future__ import annotations

import bz2
import codecs
import hashlib
import heapq
import io
import re
import sqlite3
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast, overload

from loco.errors import LocoError
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, Split, TaskData, Texts, Variant

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

NAME = "courtlistener"
VERSION = 1

TEST_PAIRS = 2_000
TRAIN_PAIRS = 10_000
HTML_COLUMNS = ("html_with_citations", "xml_harvard", "html_columbia", "html_lawbox", "html_anon_2020", "html")

_Kind = Literal["query", "plain", "html"]
_DOCUMENT: dict[str, _Kind] = {"courtlistener_Plain_Text": "plain", "courtlistener_HTML": "html"}
_SELECT: dict[_Kind, str] = {
    "query": "SELECT query FROM pair WHERE opinion = ?",
    "plain": "SELECT plain FROM pair WHERE opinion = ?",
    "html": "SELECT html FROM pair WHERE opinion = ?",
}
_PAGE = "https://www.courtlistener.com/help/api/bulk-data/"
_TABLES = ("parentheticals", "opinions")
_FILE = re.compile(rf"({'|'.join(_TABLES)})-(\d{{4}}-\d\d-\d\d)\.csv(?:\.bz2)?")
_REMEDY = "Get the file again."
_HASH_KEY = b"loco courtlistener"

_BLOCK_BYTES = 1 << 20
_CHECK_BYTES = 1 << 20
_LONGEST_ROW_BYTES = 1 << 27  # the longest opinions take tens of MB
_CACHE_KIBIBYTES = 1 << 16
_BAR_FROM_BYTES = 20_000_000

_NUMBER = re.compile(rb"\d{1,18}")
_SEPARATOR = re.compile(rb"[,\n]")
_SEPARATORS = (b",", b"\n")
_NEWLINE = ord("\n")
_MASK = b"\0\0"  # PostgreSQL's texts hold no NUL

_Show = Callable[[int, float], None]  # called with bytes read and rows a second


def tasks(variant: Variant, split: Split) -> Sequence[str]:
    """The tasks this builder can make in a variant, for either split."""
    return tuple(_DOCUMENT) if variant == "paper" else ()


def wanted(task: str, split: Split) -> str:
    """The files to put into a folder, for people; both tasks and both splits are drawn from the same two."""
    return (
        "parentheticals-<date>.csv.bz2 and opinions-<date>.csv.bz2 of one date (CourtListener's bulk data, "
        f"'Browse Bulk Data' on {_PAGE}), as they are or decompressed, which is many times faster"
    )


def holds(task: str, source: Path) -> bool:
    """Whether ``source`` is a folder with at least one of the two files."""
    return bool(_exports(source))


def build(card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
    """The task from the folder ``source``, for which :func:`holds` is true; in the order of the sample.

    Each file is read once, from its first byte to its last, in bounded memory: texts wait in a temporary file, and stay
    there until asked for. The sample of the latest two files serves the other task and split too, in the same process.

    Raises LocoError for ``source`` None, since the hub does not have the files, and for a file that is missing or
    damaged.
    """
    if source is None:
        train = " --split train" if split == "train" else ""
        raise LocoError(
            f"CourtListener's bulk data is not on the hub. Put into a folder DIR: {wanted(card.name, split)}. "
            f"Then run: loco build-data {card.name} --variant {variant}{train} --from DIR"
        )
    sample = _sampled(*_newest(source, card.name, split))
    parentheticals, opinions = sample.ids(split)
    queries, documents = (_Stored(sample, kind, opinions) for kind in ("query", _DOCUMENT[card.name]))
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=", ".join(sample.sha256),
        source_revision=", ".join(f"sha256:{digest}" for digest in sample.sha256.values()),
        source_sha256=sample.sha256,
        equivalent=sample.equivalent,
        dropped=sample.dropped,
    )
    return TaskData(
        card=card,
        variant=variant,
        provenance=provenance,
        queries=_texts(parentheticals, queries),
        documents=_texts(opinions, documents),
        qrels={parenthetical: {opinion: 1} for parenthetical, opinion in zip(parentheticals, opinions, strict=True)},
        split=split,
    )


# --- the files ---------------------------------------------------------------------------------------------------


def _exports(source: Path) -> dict[str, dict[str, Path]]:
    """The files of each date in a folder, by table; a decompressed one comes before a compressed one."""
    found: dict[str, dict[str, Path]] = {}
    if source.is_dir():
        for path in sorted(source.iterdir(), reverse=True):  # x.csv.bz2 first, then x.csv in its place
            match = _FILE.fullmatch(path.name)
            if match and path.is_file():
                found.setdefault(match[2], {})[match[1]] = path
    return found


def _newest(source: Path, task: str, split: Split) -> tuple[Path, Path]:
    """Parentheticals and opinions of the newest date that has both."""
    exports = _exports(source)
    for _, tables in sorted(exports.items(), reverse=True):
        if len(tables) == len(_TABLES):
            return tables["parentheticals"], tables["opinions"]
    there = ", ".join(path.name for tables in exports.values() for path in tables.values()) or "neither"
    raise LocoError(f"{source} does not hold both files of one date, but {there}. Wanted: {wanted(task, split)}.")


# --- the sample --------------------------------------------------------------------------------------------------


class _Sample:
    """The pairs of one export in the order of the sample, with all their texts, in a temporary database.

    SQLite unlinks the file as it makes it, so that not even a killed build leaves it behind.
    """

    def __init__(self, parentheticals: Path, opinions: Path) -> None:
        self.dropped: dict[str, int] = {}
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._database.close)
        try:
            self._prepare()
            self.sha256 = {
                parentheticals.name: self._read_parentheticals(parentheticals),
                opinions.name: self._read_opinions(opinions),
            }
            self._database.execute("DROP TABLE described")
        except sqlite3.Error as error:
            raise LocoError(
                f"Cannot keep the texts in the temporary folder ({error}). "
                "Free some space there, or point SQLITE_TMPDIR at another disk, and run the command again."
            ) from error
        count = "SELECT COUNT(*), COUNT(DISTINCT parenthetical) FROM pair"
        self._size, different = self._database.execute(count).fetchone()
        if different < self._size:
            raise LocoError(f"{parentheticals}: some parentheticals stand twice; ids must be unique. {_REMEDY}")
        if self._size < 2:
            raise LocoError(
                f"{opinions} has {self._size} opinions with plain text and HTML that {parentheticals.name} describes; "
                "a test and a train split take at least 2. Are both whole, and of one export?"
            )

    @property
    def equivalent(self) -> str:
        """Why the pairs only stand in for the paper's."""
        few = "" if self._size == TEST_PAIRS + TRAIN_PAIRS else f", 1 in 6 of only {self._size} usable pairs for test"
        return (
            "which parentheticals and opinions the paper drew, how it split them and which HTML column it took is not "
            f"documented; this is a seeded sample of the same kind{few}"
        )

    def ids(self, split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The parentheticals and the opinions of a split's pairs."""
        tests = TEST_PAIRS if self._size == TEST_PAIRS + TRAIN_PAIRS else max(1, self._size // 6)
        part = (tests, 0) if split == "test" else (self._size - tests, tests)
        rows = self._database.execute(
            "SELECT parenthetical, opinion FROM pair ORDER BY place, opinion LIMIT ? OFFSET ?", part
        ).fetchall()
        return tuple(str(row[0]) for row in rows), tuple(str(row[1]) for row in rows)

    def text(self, kind: _Kind, opinion: str) -> str:
        """The query or a document of the opinion's pair."""
        (text,) = self._database.execute(_SELECT[kind], (int(opinion),)).fetchone()
        decoded: str = text.decode()
        return decoded

    def _prepare(self) -> None:
        for statement in (
            "PRAGMA journal_mode = OFF",
            f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}",
            "CREATE TABLE described (opinion INTEGER PRIMARY KEY, place INTEGER, parenthetical INTEGER, query BLOB)",
            "CREATE TABLE pair (opinion INTEGER PRIMARY KEY, place INTEGER, parenthetical INTEGER, query BLOB, "
            "plain BLOB, html BLOB)",
            "CREATE INDEX places ON pair (place, opinion)",
            "BEGIN",
        ):
            self._database.execute(statement)

    def _read_parentheticals(self, path: Path) -> str:
        """Keep the first parenthetical, by hash, of each opinion. Returns the file's SHA-256."""
        keep = (
            "INSERT INTO described VALUES (?, ?, ?, ?) ON CONFLICT (opinion) DO UPDATE SET place = excluded.place, "
            "parenthetical = excluded.parenthetical, query = excluded.query "
            "WHERE (excluded.place, excluded.parenthetical) < (place, parenthetical)"
        )
        table = _Table(path, ("id", "text", "described_opinion_id"))
        blank = 0
        with closing(table.rows()) as rows:
            for line, (identifier, text, described) in rows:
                parenthetical = table.number(line, "id", identifier)
                opinion = table.number(line, "described_opinion_id", described)
                if table.blank(text):
                    blank += 1
                else:
                    query = table.value(text)
                    self._database.execute(
                        keep, (opinion, _place("parenthetical", parenthetical), parenthetical, query)
                    )
        (kept,) = self._database.execute("SELECT COUNT(*) FROM described").fetchone()
        self._drop("parentheticals without text", blank)
        self._drop("parentheticals beyond one an opinion", table.read - blank - kept)
        return table.sha256

    def _read_opinions(self, path: Path) -> str:
        """Keep the first 12,000 usable opinions, by hash, with their texts. Returns the file's SHA-256."""
        limit = TEST_PAIRS + TRAIN_PAIRS
        worst: list[tuple[int, int]] = []  # a heap of (-place, -opinion): the pair that goes next on top
        kept: set[int] = set()
        found = usable = 0
        table = _Table(path, ("id", "plain_text", *HTML_COLUMNS))
        with closing(table.rows()) as rows:
            for line, (identifier, plain_text, *markups) in rows:
                opinion = table.number(line, "id", identifier)
                query = self._database.execute(
                    "SELECT parenthetical, query FROM described WHERE opinion = ?", (opinion,)
                ).fetchone()
                if query is None:
                    continue
                if opinion in kept:
                    raise table.malformed(line, f"the opinion {opinion} stands twice; ids must be unique")
                found += 1
                html = next((markup for markup in markups if not table.blank(markup)), None)
                if html is None or table.blank(plain_text):
                    continue
                usable += 1
                place = _place("opinion", opinion)
                if len(worst) == limit:
                    if (-place, -opinion) < worst[0]:
                        continue
                    _, out = heapq.heappop(worst)
                    kept.remove(-out)
                    self._database.execute("DELETE FROM pair WHERE opinion = ?", (-out,))
                heapq.heappush(worst, (-place, -opinion))
                kept.add(opinion)
                texts = table.value(plain_text), table.value(html)
                self._database.execute("INSERT INTO pair VALUES (?, ?, ?, ?, ?, ?)", (opinion, place, *query, *texts))
        (described,) = self._database.execute("SELECT COUNT(*) FROM described").fetchone()
        self._drop("described opinions that are not in the file", described - found)
        self._drop("described opinions without plain text or HTML", found - usable)
        self._drop("usable pairs beyond the sample", usable - len(kept))
        return table.sha256

    def _drop(self, reason: str, count: int) -> None:
        if count:
            self.dropped[reason] = count


class _Stored(Sequence[str]):
    """Texts of a sample, in the order of its ``opinions``, each read when it is asked for."""

    def __init__(self, sample: _Sample, kind: _Kind, opinions: Sequence[str]) -> None:
        self._sample = sample
        self._kind = kind
        self._opinions = opinions

    def __len__(self) -> int:
        return len(self._opinions)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return _Stored(self._sample, self._kind, self._opinions[index])
        return self._sample.text(self._kind, self._opinions[index])


def _texts(ids: tuple[str, ...], texts: _Stored) -> Texts:
    # Unlike Texts.of, this leaves the texts where they are: those of the train split take more than 1 GB.
    return Texts(ids, texts)


_latest: dict[tuple[tuple[Path, int, int], ...], _Sample | LocoError] = {}


def _sampled(parentheticals: Path, opinions: Path) -> _Sample:
    """The sample of two files, made anew unless the latest one made was theirs: the real files take hours to read."""
    key = tuple(
        (path.resolve(), status.st_size, status.st_mtime_ns)
        for path in (parentheticals, opinions)
        for status in (path.stat(),)
    )
    if key not in _latest:
        _latest.clear()
        try:
            _latest[key] = _Sample(parentheticals, opinions)
        except LocoError as error:
            _latest[key] = error
    found = _latest[key]
    if isinstance(found, LocoError):
        raise found
    return found


def _place(kind: str, identifier: int) -> int:
    """Where an id comes in the order of the sample: 63 bits of a keyed hash."""
    digest = hashlib.blake2b(b"%s %d" % (kind.encode(), identifier), digest_size=8, key=_HASH_KEY).digest()
    return int.from_bytes(digest, "big") >> 1


# --- PostgreSQL's COPY ... CSV -----------------------------------------------------------------------------------


class _RowError(Exception):
    """What is wrong with the row that starts on ``line``, counted from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


@dataclass(frozen=True)
class _Dialect:
    """How COPY quotes. A field with a comma, quote or line break in it is quoted, others may be; in a quoted field,
    and only there, ``escape`` stands before each quote and each escape.
    """

    quote: bytes
    escape: bytes

    @cached_property
    def _pair(self) -> re.Pattern[bytes]:
        return re.compile(b"%s[%s%s]" % tuple(map(re.escape, (self.escape, self.escape, self.quote))))

    def masked(self, lines: bytes) -> bytes:
        """Whole lines with every escaped pair blanked, so that each quote left opens or closes a field.

        Where quotes are escaped by doubling, this also blanks a field's own quotes if they meet escaped ones. That
        takes them in pairs, and so leaves what is inside and what is outside as it was.
        """
        return self._pair.sub(_MASK, lines)

    def separates(self, outside: bytes, *, first: bool, last: bool) -> bool:
        """Whether masked text outside of quotes begins where a field may end, and ends where one may begin.

        The ``first`` text of a block of whole lines begins a row, and no quote follows the ``last``.
        """
        if self.escape == self.quote:
            outside = outside.strip(_MASK)
        if not outside:
            return first or last
        return (first or outside[:1] in _SEPARATORS) and (last or outside[-1:] in _SEPARATORS)

    def value(self, raw: bytes) -> bytes:
        """What a field says; nothing for NULL."""
        if raw[:1] != self.quote:
            return raw
        inner = raw[1:-1]
        if self.escape in inner:
            inner = inner.replace(self.escape + self.quote, self.quote)
            if self.escape != self.quote:
                inner = inner.replace(self.escape * 2, self.escape)
        return inner


# The export's own, by time: since 2025, until July 2024, and in between. Which one a file has shows in its first rows.
_DIALECTS = (_Dialect(b'"', b"\\"), _Dialect(b'"', b'"'), _Dialect(b"`", b"`"))


@dataclass
class _Table:
    """One file of the export, compressed or not, to be read once."""

    path: Path
    columns: Sequence[str]
    read: int = 0  # rows
    sha256: str = ""  # of the file's bytes, once all is read
    _dialect: _Dialect = field(default=_DIALECTS[0])

    def rows(self) -> Generator[tuple[int, list[bytes]], None, None]:
        """The line a row starts on, and its fields of the wanted columns, raw: see :meth:`value`."""
        try:
            with self._blocks() as blocks:
                head = next(blocks, b"").removeprefix(codecs.BOM_UTF8)
                self._dialect = _dialect_of(head)
                records = _records(chain([head], blocks), self._dialect)
                _, header = next(records, (0, []))
                names = [self.value(name).decode() for name in header]
                if not names:
                    raise LocoError(f"{self.path} is empty. {_REMEDY}")
                if missing := [name for name in self.columns if name not in names]:
                    raise LocoError(
                        f"{self.path}: the header has no column {', '.join(missing)}. Is it CourtListener's? {_REMEDY}"
                    )
                wanted = [names.index(name) for name in self.columns]
                for line, fields in records:
                    self.read += 1
                    yield line, [fields[index] for index in wanted]
        except _RowError as error:
            raise self.malformed(error.line, error.problem) from error
        except EOFError as error:
            raise LocoError(f"{self.path} is cut off: its bz2 data end too early. {_REMEDY}") from error
        except OSError as error:
            if error.errno is None:  # bz2's own
                raise LocoError(f"{self.path} is damaged or not bz2 ({error}). {_REMEDY}") from error
            raise LocoError(f"Cannot read {self.path}: {error.strerror}.") from error

    def value(self, raw: bytes) -> bytes:
        """What a raw field says, in UTF-8; nothing for NULL."""
        return self._dialect.value(raw)

    def blank(self, raw: bytes) -> bool:
        """Whether a raw field is NULL, empty or nothing but white space."""
        inner = raw[1:-1] if raw[:1] == self._dialect.quote else raw
        return not inner or inner.isspace()

    def number(self, line: int, column: str, raw: bytes) -> int:
        """The id in a raw field."""
        value = self.value(raw)
        if not _NUMBER.fullmatch(value):
            raise self.malformed(line, f"the {column} {value[:40].decode(errors='replace')!r} is not an id")
        return int(value)

    def malformed(self, line: int, problem: str) -> LocoError:
        """The error for the row that starts on a line."""
        return LocoError(f"{self.path}, line {line}: {problem}. {_REMEDY}")

    @contextmanager
    def _blocks(self) -> Iterator[Iterator[bytes]]:
        """The file in blocks of whole lines, all of them UTF-8, hashed and shown on the way."""
        with self.path.open("rb", buffering=0) as file, _progress(self.path) as show:
            hashing = _Hashing(file)
            source: BinaryIO = io.BufferedReader(hashing, _CHECK_BYTES)
            plain = cast(BinaryIO, bz2.BZ2File(source)) if self.path.suffix == ".bz2" else source
            start = time.monotonic()

            def blocks() -> Generator[bytes, None, None]:
                while block := plain.read(_BLOCK_BYTES):
                    yield block + plain.readline(_LONGEST_ROW_BYTES)
                    show(file.tell(), self.read / max(time.monotonic() - start, 1e-9))
                while source.read(_CHECK_BYTES):  # what may stand behind the bz2 data
                    pass
                self.sha256 = hashing.digest.hexdigest()

            with plain, closing(blocks()) as found:
                yield found


class _Hashing(io.RawIOBase):
    """A file that computes its SHA-256 while it is read."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:count])
        return count


def _records(
    blocks: Iterable[bytes], dialect: _Dialect, *, to_the_end: bool = True
) -> Iterator[tuple[int, list[bytes]]]:
    """The rows of blocks of whole lines: the line each starts on, and its raw fields, as many as the first row has.

    A row may span any number of blocks. Raises _RowError, unless it is only the end that is missing and
    ``to_the_end`` is false.
    """
    columns = 0
    fields: list[bytes] = []
    parts: list[bytes] = []  # of a field that began in an earlier block
    quoted = False
    line = first = 1  # of what has been counted, and of the row
    for block in blocks:
        _check_text(block, line)
        start = counted = position = 0
        pieces = dialect.masked(block).split(dialect.quote)
        for piece, text in enumerate(pieces, 1):
            if piece > 1:
                quoted = not quoted
            if not quoted:
                if not dialect.separates(text, first=piece == 1, last=piece == len(pieces)):
                    raise _RowError(first, "a quote is not closed, or not escaped, in the row that starts here")
                for match in _SEPARATOR.finditer(block, position, position + len(text)):
                    end = match.start()
                    raw = block[start:end]
                    if parts:
                        raw = b"".join((*parts, raw))
                        parts = []
                    fields.append(raw)
                    start = end + 1
                    if block[end] == _NEWLINE:
                        columns = columns or len(fields)
                        if len(fields) != columns:
                            raise _RowError(first, f"{len(fields)} columns where the header has {columns}")
                        yield first, fields
                        fields = []
                        line += block.count(b"\n", counted, start)
                        counted, first = start, line
            position += len(text) + 1
        line += block.count(b"\n", counted)
        if start < len(block):
            parts.append(block[start:])
        if sum(map(len, chain(fields, parts))) > _LONGEST_ROW_BYTES:
            size = f"{_LONGEST_ROW_BYTES >> 20} MB"
            raise _RowError(first, f"the row that starts here has more than {size}, so a quote is probably not closed")
    if to_the_end and (fields or parts or quoted):
        what = "a quote is not closed" if quoted else "the row is not complete"
        raise _RowError(first, f"{what} in the row that starts here, and the file ends; it is probably cut off")


def _dialect_of(head: bytes) -> _Dialect:
    """The dialect that the first rows can be read in the furthest; the present one where several are equal."""
    if head.partition(b"\n")[2].startswith(b"`"):  # it was used with all fields quoted
        return _DIALECTS[-1]
    reached = [0] * (len(_DIALECTS) - 1)
    for number in range(len(reached)):
        with suppress(_RowError):
            for line, _ in _records([head], _DIALECTS[number], to_the_end=False):
                reached[number] = line
    return _DIALECTS[reached.index(max(reached))]


def _check_text(block: bytes, line: int) -> None:
    """Refuse what is not UTF-8, and NUL, in whole lines of which the first is ``line``."""
    nul = block.find(b"\0")
    if nul >= 0:
        raise _RowError(line + block.count(b"\n", 0, nul), "a NUL byte, which no text of PostgreSQL holds")
    if block.isascii():
        return
    decode = codecs.getincrementaldecoder("utf-8")().decode
    for start in range(0, len(block), _CHECK_BYTES):  # in pieces: as text, a block may take four times its size
        stop = min(start + _CHECK_BYTES, len(block))
        try:
            decode(block[start:stop], stop == len(block))
        except UnicodeDecodeError as error:
            wrong = stop - len(error.object) + error.start
            raise _RowError(line + block.count(b"\n", 0, wrong), f"not UTF-8 (byte 0x{block[wrong]:02x})") from error


@contextmanager
def _progress(path: Path) -> Iterator[_Show]:
    """What shows how many bytes of a large file are read, and rows a second, where someone is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    size = path.stat().st_size
    if size < _BAR_FROM_BYTES or not console.is_terminal:
        yield lambda position, rate: None
        return
    columns = ("{task.description}", BarColumn(), DownloadColumn(), "{task.fields[rate]:,.0f} rows/s")
    texts = (TextColumn(column) if isinstance(column, str) else column for column in columns)
    with Progress(*texts, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(path.name, total=size, rate=0.0)
        yield lambda position, rate: progress.update(task, completed=position, rate=rate)

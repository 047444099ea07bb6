"""legal_case_reports from UCI's dataset 239: what citations say of an Australian case finds the case.

Documented: by upstream's README, one file a case in each of ``fulltext/`` (``sentences``, of ``sentence``) and
``citations_summ/`` (``citphrases`` of ``citphrase``, ``citances`` of ``citance``, ``legistitles`` of ``title``), under
the same name. By the paper's example, a query is a case's citations_summ and its document the sentences of the case.
Of 3,890 cases 10 are not UTF-8 and 16 have no citations of any kind, which leaves the paper's 3,864.

Inferred: that the query takes all three sections (:data:`SECTIONS`), since it is the cases without any of them that the
paper lacks; one citation or sentence a line; and texts without their tags. The paper's example shows some markup, of a
parser that stumbled over it.

Unknown: the split. The paper's 3,094 + 770 are no rounding of 80 to 20 for 3,864 cases, but what 3,112 + 778, which is
one for 3,890, would leave if cases were dropped afterwards. Here the 770 of 3,864 that come first by a keyed hash of
their name are test; of another number of cases, the same share.

The files are XML only in spirit: unquoted attributes, stray ``<`` and ``>``, made-up entities. They are cut at the tags
that upstream's README names, and all else is text. A character reference becomes its character; no other entity is
looked up, and no document type read, so nothing can expand.
"""

from __future__ import annotations

import hashlib
import html
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from loco.errors import LocoError, one_line
from loco.files import leads_outside
from loco.progress import tracked
from loco.tasks.card import TaskCard
from loco.tasks.data import Provenance, Split, TaskData, Texts, Variant
from loco.tasks.sources.files import hashed

NAME = "legal_cases"
VERSION = 1

SECTIONS = ("citphrases", "citances", "legistitles")

_TASK = "legal_case_reports"
_PAGE = "https://archive.ics.uci.edu/dataset/239/legal+case+reports"
_ARCHIVES = ("legal+case+reports.zip", "legal_case_reports.zip", "corpus.zip")
_FOLDERS = ("fulltext", "citations_summ")
_REMEDY = "Get the file again."
_TEST_CASES, _ALL_CASES = 770, 3864
_HASH_KEY = b"loco legal cases"
_LARGEST_BYTES = 1 << 25  # the longest cases take a few MB

# What a tag says about the text after it: the section it belongs to, or none.
_SECTION_OF = {
    "sentences": "sentences",
    "sentence": "sentences",
    "citphrases": "citphrases",
    "citphrase": "citphrases",
    "citances": "citances",
    "citance": "citances",
    "legistitles": "legistitles",
    "title": "legistitles",
    "case": "",
    "name": "",
    "AustLII": "",
    "catchphrases": "",
    "catchphrase": "",
    "citations": "",
}
_ITEMS = ("sentence", "citphrase", "citance", "title")
# What ends an item that does not say so itself.
_ENDING = ("sentences", "sentence", "citphrases", "citphrase", "citances", "citance", "legistitles", "catchphrases")
# With attributes of any kind, but not just any words: a judgment may say "<name withheld>".
_TAG = re.compile(rf"<(/?)({'|'.join(_SECTION_OF)})(?:\s+\"?\w+\s*=[^<>]*|\s*/?)>")
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def tasks(variant: Variant, split: Split) -> Sequence[str]:
    """The task this builder can make in a variant, for either split."""
    return (_TASK,) if variant == "paper" else ()


def wanted(task: str, split: Split) -> str:
    """The files to put into a folder, for people; both splits are drawn from the same ones."""
    return (
        f"{_ARCHIVES[0]} (UCI dataset 239, 'Download' on {_PAGE}; research only), "
        f"or the folders {_FOLDERS[0]} and {_FOLDERS[1]} of its folder corpus"
    )


def holds(task: str, source: Path) -> bool:
    """Whether ``source`` is, or holds, upstream's zip or its folders."""
    return _found(source) is not None


def build(card: TaskCard, variant: Variant, split: Split, source: Path | None) -> TaskData:
    """The task from ``source``, for which :func:`holds` is true, in the order of the cases' names.

    Raises LocoError for ``source`` None, since the hub does not have the files, and for a damaged zip.
    """
    if source is None:
        train = " --split train" if split == "train" else ""
        raise LocoError(
            f"UCI's legal case reports are not on the hub. Put into a folder DIR: {wanted(card.name, split)}. "
            f"Then run: loco build-data {card.name} --variant {variant}{train} --from DIR"
        )
    return build_with(card, variant, split, source)


def build_with(
    card: TaskCard, variant: Variant, split: Split, source: Path, sections: Sequence[str] = SECTIONS
) -> TaskData:
    """As :func:`build`, with the queries made of other ``sections``, in their order.

    The split is that of all cases, whatever the sections: a case without any text in those chosen is then left out.
    """
    if not sections or not set(sections) <= set(SECTIONS) or len(set(sections)) != len(sections):
        raise LocoError(
            f"Sections '{','.join(sections)}' cannot make a query. There are: {', '.join(SECTIONS)}; none counts twice."
        )
    place = _found(source)
    if place is None:
        raise LocoError(f"{source} holds no {wanted(card.name, split)}.")
    notes: Counter[str] = Counter()
    with _opened(place) as corpus:
        cases = dict(_cases(corpus, notes))
        digest = corpus.sha256()
    if len(cases) < 2:
        raise LocoError(
            f"{place} has {len(cases)} cases with sentences and citations; a test and a train split take at least 2. "
            f"Is it whole? {_REMEDY}"
        )
    tests = max(1, round(len(cases) * _TEST_CASES / _ALL_CASES))
    first = set(sorted(cases, key=_place)[:tests])
    chosen = {}
    for name, (cited, document) in cases.items():
        if (name in first) != (split == "test"):
            continue
        query = "\n".join(text for section in sections for text in cited.get(section, ()))
        if query:
            chosen[name] = query, document
        else:
            notes[f"{split} cases without text in the sections chosen"] += 1
    provenance = Provenance(
        builder=NAME,
        builder_version=VERSION,
        source=corpus.label,
        source_revision=f"sha256:{digest}",
        source_sha256={corpus.label: digest},
        equivalent=(
            "how the paper split the cases, which sections of the citations its queries take and how much of the "
            f"markup is not documented; these are {', '.join(sections)} as plain text, and a seeded split"
        ),
        dropped=dict(notes),
    )
    return TaskData(
        card=card,
        variant=variant,
        provenance=provenance,
        queries=Texts.of(((name, query) for name, (query, _) in chosen.items()), "query"),
        documents=Texts.of(((name, document) for name, (_, document) in chosen.items()), "document"),
        qrels={name: {name: 1} for name in chosen},
        split=split,
    )


@dataclass(frozen=True)
class Parsed:
    """The texts of each section of a file, in their order, without blank ones; and whether its last section ends."""

    texts: Mapping[str, Sequence[str]]
    whole: bool


def parsed(content: str) -> Parsed:
    """A file of either folder, cut at the tags it should have.

    A text goes from one such tag to the next and belongs to the section that was opened last, by its own tag or by that
    of one of its items. Where a closing tag is missing, the next tag or the end of the file takes its place. Inside an
    item, only a tag of a section or another item ends it: a judgment may say <case> or <title> in so many letters.
    """
    texts: dict[str, list[str]] = {}
    section, item, start = "", "", 0

    def keep(stop: int) -> None:
        if section:
            text = _REFERENCE.sub(lambda match: html.unescape(match[0]), content[start:stop])
            text = text.strip().removeprefix(">").lstrip()  # a tag may end twice: from="[2006] FCA 1">>text
            if text:
                texts.setdefault(section, []).append(text)

    for match in _TAG.finditer(content):
        closing, tag = match.groups()
        if item and tag != item and tag not in _ENDING:
            continue
        keep(match.start())
        if not closing:
            section = _SECTION_OF[tag]
        elif tag not in _ITEMS:
            section = ""
        item = tag if tag in _ITEMS and not closing else ""
        start = match.end()
    keep(len(content))
    return Parsed(texts, whole=not section)


@dataclass(frozen=True)
class _Corpus:
    """Upstream's files: by folder and by the case's name, what reads one."""

    label: str
    files: Mapping[str, Mapping[str, Callable[[], bytes]]]
    sha256: Callable[[], str]  # of the zip, or of what has been read of the folders


def _cases(corpus: _Corpus, notes: Counter[str]) -> Iterator[tuple[str, tuple[Mapping[str, Sequence[str]], str]]]:
    """Name, citations by section and document of each case that has both."""
    fulltext, citations = (corpus.files[folder] for folder in _FOLDERS)
    for name in tracked(sorted({*fulltext, *citations}), "legal cases"):
        if name not in fulltext or name not in citations:
            notes["cases with only one of their two files"] += 1
            continue
        contents = fulltext[name](), citations[name]()
        try:
            full, cited = (parsed(content.decode("utf-8-sig")) for content in contents)
        except UnicodeDecodeError:
            notes["cases that are not UTF-8"] += 1
            continue
        document = "\n".join(full.texts.get("sentences", ()))
        if not any(cited.texts.get(section) for section in SECTIONS):
            notes["cases without citations"] += 1
        elif not document:
            notes["cases without sentences"] += 1
        else:
            if not (full.whole and cited.whole):
                notes["cases cut off in a file, taken as far as they go"] += 1
            yield name, (cited.texts, document)


def _place(name: str) -> tuple[bytes, str]:
    """Where a case comes in the order that the split is cut from."""
    return hashlib.blake2b(name.encode(), digest_size=8, key=_HASH_KEY).digest(), name


def _found(source: Path) -> Path | None:
    """The zip, or the folder of the two folders."""
    if source.is_file():
        return source if source.suffix == ".zip" else None
    for place in (source, source / "corpus"):
        if all((place / folder).is_dir() for folder in _FOLDERS):
            return place
    return next((source / name for name in _ARCHIVES if (source / name).is_file()), None)


@contextmanager
def _opened(place: Path) -> Iterator[_Corpus]:
    try:
        if place.is_dir():
            yield _folders(place)
        else:
            with zipfile.ZipFile(place) as archive:
                yield _zipped(archive, place)
    except zipfile.BadZipFile as error:
        raise LocoError(f"{place} is not a zip, or cut off ({one_line(error)}). {_REMEDY}") from error
    except OSError as error:
        raise LocoError(f"Cannot read {error.filename or place}: {error.strerror or error}.") from error


def _folders(place: Path) -> _Corpus:
    hashes: dict[str, str] = {}  # of the files read, by their names

    def reader(path: Path) -> Callable[[], bytes]:
        def read() -> bytes:
            _refuse_large(str(path), path.stat().st_size)
            content = path.read_bytes()
            hashes[f"{path.parent.name}/{path.name}"] = hashlib.sha256(content).hexdigest()
            return content

        return read

    def sha256() -> str:  # of what sha256sum prints for them, in the order of their names
        lines = (f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    files = {
        folder: {path.stem: reader(path) for path in (place / folder).glob("*.xml") if not path.name.startswith(".")}
        for folder in _FOLDERS
    }
    return _Corpus(", ".join(_FOLDERS), files, sha256)


def _zipped(archive: zipfile.ZipFile, path: Path) -> _Corpus:
    def reader(info: zipfile.ZipInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            where = f"{path} ({info.filename})"
            _refuse_large(where, info.file_size)
            try:
                return archive.read(info)
            except (
                zipfile.BadZipFile,
                zlib.error,
                lzma.LZMAError,
                EOFError,
                NotImplementedError,
                RuntimeError,
            ) as error:
                raise LocoError(f"{where} is damaged or unusual ({one_line(error)}). {_REMEDY}") from error

        return read

    roots: dict[PurePosixPath, dict[str, dict[str, Callable[[], bytes]]]] = {}
    for info in archive.infolist():
        if leads_outside(info.filename):
            raise LocoError(
                f"{path} holds {info.filename!r}, a path outside its folder, so nothing of it is read. {_REMEDY}"
            )
        member = PurePosixPath(info.filename)
        hidden = any(part.startswith((".", "__MACOSX")) for part in member.parts)
        if member.suffix == ".xml" and member.parent.name in _FOLDERS and not hidden:
            folders = roots.setdefault(member.parent.parent, {})
            folders.setdefault(member.parent.name, {})[member.stem] = reader(info)
    for _, files in sorted(roots.items()):
        if len(files) == len(_FOLDERS):
            return _Corpus(path.name, files, lambda: hashed(path))
    raise LocoError(
        f"{path} holds no {_FOLDERS[0]}/*.xml beside {_FOLDERS[1]}/*.xml. Is it {_ARCHIVES[0]} of {_PAGE}? "
        "If another zip lies in it, unpack that one."
    )


def _refuse_large(where: str, size: int) -> None:
    if size > _LARGEST_BYTES:
        raise LocoError(f"{where} has {size:,} bytes, which no case report has. {_REMEDY}")

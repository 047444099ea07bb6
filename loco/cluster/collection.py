"""Labelled text collections: a folder with a sub-folder for each label, or a JSON Lines file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from loco.errors import LocoError
from loco.models.card import PLAIN
from loco.progress import tracked
from loco.tasks.data import Texts
from loco.tasks.sources.files import local_file
from loco.tasks.sources.jsonl import Row, at, read_rows, short

_LONGEST_TEXT = 64_000_000
_LARGEST = 2_000_000_000
_LONGEST_LABEL = 200


@dataclass(frozen=True)
class Collection:
    """Texts and the label of each, in the same order; none of the texts is blank.

    ``name`` is what the folder or file is called, without its ending. ``blank`` counts the texts that were left out for
    holding nothing but white space, ``unlabelled`` the files that lie beside the sub-folders.
    """

    name: str
    texts: Texts
    labels: tuple[str, ...]
    blank: int
    unlabelled: int = 0

    @property
    def sha256(self) -> str:
        """A hash of every id, label and text, in hexadecimal."""
        digest = hashlib.sha256()
        for (identifier, text), label in zip(self.texts, self.labels, strict=True):
            digest.update(json.dumps([identifier, label, text]).encode() + b"\n")
        return digest.hexdigest()


def read_collection(source: Path) -> Collection:
    """The collection at ``source``.

    A folder has a sub-folder for each label with UTF-8 text files in it, at any depth; a file's id is its path. In a
    ``.jsonl`` file a line is an object with "text" and "label" and, where wanted, "id". What is hidden (its name begins
    with a dot) is passed over.

    Raises LocoError for anything else, for a link that leads outside the folder, a text of more than 64 MB, texts of
    more than 2 GB together, and for a collection that cannot be clustered: of fewer than two labels, or with no more
    texts than labels.
    """
    source = Path(os.path.realpath(source))  # "." has no name
    if source.is_dir():
        rows, unlabelled = _folder(source)
        name = source.name
    elif source.suffix.lower() == ".jsonl" and source.is_file():
        rows, unlabelled = _lines(source), 0
        name = source.stem
    elif source.exists():
        raise LocoError(f"{source} is neither a folder of labels nor a .jsonl file.")
    else:
        raise LocoError(f"No folder or file {source}.")
    kept = [(identifier, label, text) for identifier, label, text in rows if text.strip()]
    labels = tuple(label for _, label, _ in kept)
    check_labels(labels, f"{source}" + (" without its blank texts" if len(kept) < len(rows) else ""))
    return Collection(
        name=_plain(name, f"The name of {source.parent}/{name!r}"),
        texts=Texts.of(((identifier, text) for identifier, _, text in kept), "document"),
        labels=labels,
        blank=len(rows) - len(kept),
        unlabelled=unlabelled,
    )


def check_labels(labels: tuple[str, ...], what: str) -> None:
    """Raise LocoError where there is nothing to tell apart. ``what`` the labels are of, for the error."""
    count = len(set(labels))
    if not labels:
        raise LocoError(f"{what} holds no text.")
    if count < 2:
        raise LocoError(f"{what} has only one label, {short(labels[0])}: there is nothing to tell apart.")
    if len(labels) <= count:
        raise LocoError(
            f"{what} has {len(labels)} texts of {count} labels, each alone: clustering needs more texts than labels."
        )


def _as_text(value: object) -> object:
    return str(value) if type(value) is int else value  # many data sets number their labels


class _Line(Row):
    text: str
    label: Annotated[str, BeforeValidator(_as_text)]
    id: Annotated[str | None, BeforeValidator(_as_text)] = None


def _lines(path: Path) -> list[tuple[str, str, str]]:
    """Id, label and text of each line; a line without an id is called by its number."""
    _check_sizes(path)
    file = local_file(path, path.name)
    notes: Counter[str] = Counter()
    rows = read_rows(file, _Line, (), notes)
    return [
        (f"line {number}" if row.id is None else row.id, _plain(row.label, f"{at(file, number)}: the label"), row.text)
        for number, row in rows
    ]


def _check_sizes(path: Path) -> None:
    """Raise LocoError for a file that is too large, or has a line that is, before it is in memory."""
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(_LONGEST_TEXT + 1):
                number += 1
                if len(line) > _LONGEST_TEXT:
                    raise _too_long(f"{path}, line {number}")
                if stream.tell() > _LARGEST:
                    raise _too_large(path)
    except OSError as error:
        raise LocoError(f"Cannot read {path}: {error.strerror}.") from error


def _folder(root: Path) -> tuple[list[tuple[str, str, str]], int]:
    """Id, label and text of each file in a label's folder, and how many files lie outside of all of them."""
    try:
        files = _files(root)
        if sum(file.stat().st_size for file in files) > _LARGEST:
            raise _too_large(root)
        labelled = [file for file in files if file.parent != root]
        if files and not labelled:
            raise LocoError(
                f"{root} holds files but no folders: put the texts of each label into a folder called by the label."
            )
        return [_row(root, file) for file in tracked(labelled, "Reading texts")], len(files) - len(labelled)
    except OSError as error:
        raise LocoError(f"Cannot read {_shown(Path(error.filename or root))}: {error.strerror}.") from error


def _files(root: Path) -> list[Path]:
    """The files below a folder, in the order of their paths. No link is followed out of it, or to a folder."""
    found, folders = [], [root]
    while folders:
        for path in folders.pop().iterdir():
            if path.name.startswith("."):
                continue
            if path.is_symlink():
                if not Path(os.path.realpath(path)).is_relative_to(root):
                    raise LocoError(f"{_shown(path)} is a link that leads out of {root}. Remove it, or copy the file.")
                if path.is_dir():
                    raise LocoError(
                        f"{_shown(path)} is a link to another folder, whose texts would count twice. Remove it."
                    )
            if path.is_dir():
                folders.append(path)
            elif path.is_file():
                found.append(path)
            else:
                raise LocoError(f"{_shown(path)} is neither a file nor a folder. Remove it.")
    return sorted(found)


def _row(root: Path, path: Path) -> tuple[str, str, str]:
    with path.open("rb") as stream:
        content = stream.read(_LONGEST_TEXT + 1)
    if len(content) > _LONGEST_TEXT:
        raise _too_long(_shown(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LocoError(
            f"{_shown(path)} is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start + 1:,}). Convert it, as "
            "with iconv -f latin1 -t utf-8, or leave it out."
        ) from error
    inside = path.relative_to(root)
    return inside.as_posix(), _plain(inside.parts[0], f"The folder {_shown(path.parent)}: its name"), text


def _plain(name: str, what: str) -> str:
    """A name that can stand in a result and on a terminal; else a LocoError that begins with ``what`` it is."""
    if not name or len(name) > _LONGEST_LABEL or not re.search(PLAIN, name) or "\n" in name:
        raise LocoError(f"{what} is empty, has control characters, or is longer than {_LONGEST_LABEL} characters.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise LocoError(f"{what} is not UTF-8: {name!r}. Rename it.") from None
    return name


def _shown(path: Path) -> str:
    """A path for an error: on one line, whatever its bytes are."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _too_long(what: str) -> LocoError:
    return LocoError(f"{what} is longer than {_LONGEST_TEXT:,} bytes: no single text. Cut it or leave it out.")


def _too_large(path: Path) -> LocoError:
    return LocoError(f"{path} holds more than {_LARGEST:,} bytes, which do not fit into memory. Take a sample of it.")

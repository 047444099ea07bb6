"""Texts to pretrain on: files on this machine or of the hub, read document by document from any place on."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from loco.errors import LocoError, one_line
from loco.hub import explained, no_connection, patiently
from loco.tasks.data import Manifest
from loco.tasks.sources.files import hashed
from loco.training.card import ReadFrom, TrainedOn

FIELD = "text"

_LINES = (".jsonl", ".jsonl.gz", ".json.gz")
_PARAGRAPHS = (".txt", ".txt.gz")
_KINDS = (*_LINES, ".parquet", *_PARAGRAPHS)
_ROWS_AT_ONCE = 64
_SHOWN = 100
_MOST_LISTED = 200  # files of a corpus in a card, which stays small
# The corpora of the paper, as the hub has them: data set, branch, files, and how many rows make a document. A row of
# BookCorpus is a sentence, and nothing tells where a book ends.
_PUBLISHED = {
    "c4": ("allenai/c4", "main", "en/c4-train.*.json.gz", 1),
    "wikipedia": ("wikimedia/wikipedia", "main", "20231101.en/*.parquet", 1),
    "bookcorpus": ("bookcorpus/bookcorpus", "refs/convert/parquet", "plain_text/*train/*.parquet", 1000),
}


@dataclass(frozen=True)
class Shard:
    """A file of a corpus: on this machine, or (``repo``, ``commit``) of a data set of the hub, got when it is read."""

    name: str
    repo: str = ""
    commit: str = ""

    def path(self) -> Path:
        """Where it lies, downloaded now at the latest. Raises LocoError where it cannot be had."""
        return Path(self.name) if not self.repo else _downloaded(self)


@dataclass(frozen=True)
class Corpus:
    """Files that are read as one, and how much of all samples is to come from them. ``together`` is how many rows of a
    file make a document.
    """

    name: str
    weight: float
    shards: tuple[Shard, ...]
    together: int = 1

    def described(self) -> ReadFrom:
        """What a card says of it: every file by its SHA-256 (one over all where they are many), or those of the hub by
        their commit. Raises LocoError for names that no card can hold.
        """
        first = self.shards[0]
        if first.repo:
            files = {first.repo: first.commit, "files": str(len(self.shards))}
        else:
            paths = [Path(shard.name) for shard in self.shards]
            root = Path(self.name).expanduser()
            names = [path.relative_to(root).as_posix() if root.is_dir() else path.name for path in paths]
            files = {name: f"sha256:{hashed(path)}" for name, path in zip(names, paths, strict=True)}
            if len(files) > _MOST_LISTED:
                listed = "".join(f"{digest}  {name}\n" for name, digest in files.items())
                together = hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()
                files = {"files": str(len(files)), "all of them": f"sha256:{together}"}
        own = Path(os.path.abspath(Path(self.name).expanduser())).name  # noqa: PTH100  # a link's own, and for "." too
        try:
            return ReadFrom(name=own[:200] or "/", weight=self.weight, files=files)
        except ValidationError as error:
            raise LocoError(f"The name of {self.name!a}, or of a file in it, is no plain text. Rename it.") from error


def corpora(asked: Sequence[str]) -> list[Corpus]:
    """The corpora that a user names: each a file, a folder (with all files of a known kind in it), a data set of the
    hub as ``c4``, ``wikipedia``, ``bookcorpus`` or ``hub:owner/name/pattern``; ``=WEIGHT`` may stand behind.

    Raises LocoError for what is not there, what cannot be read, and for a test split of a task.
    """
    if not asked:
        raise LocoError("Nothing is named to read: --from FILE, again for more, or c4, wikipedia, bookcorpus.")
    return [_corpus(*_weighted(name)) for name in asked]


def documents(path: Path, start: int = 0, together: int = 1) -> Iterator[str]:
    """The documents of a file, without its first ``start`` ones: JSON lines with a field ``text``, a parquet column of
    that name, or plain text with blank lines between documents. Of these ``together`` make one document, on lines of
    their own; those of white space alone are passed over.

    Raises LocoError, naming the line, for what is not that.
    """
    try:
        rows = islice((text for text in _read(path) if not text.isspace() and text), start * together, None)
        while document := list(islice(rows, together)):
            yield "\n".join(document)
    except (OSError, EOFError, zlib.error) as error:
        raise LocoError(f"Cannot read {path}: {one_line(error)}.") from error


def train_splits(read: Sequence[Corpus]) -> tuple[TrainedOn, ...]:
    """The train splits of built tasks that corpora are made of, with how many of their queries and documents."""
    found: dict[Path, TrainedOn] = {}
    for path in (Path(shard.name) for corpus in read for shard in corpus.shards if not shard.repo):
        role = path.name.partition(".")[0]
        if role not in ("queries", "documents"):
            continue
        try:
            manifest = Manifest.model_validate(_manifest(path.parent))
            about = manifest.model_dump(include={"task", "variant", "split", "content"})
            before = found.get(path.parent) or TrainedOn(**about, queries=0, documents=0)
        except ValidationError:  # of no task of ours
            continue
        found[path.parent] = before.model_copy(update={role: getattr(manifest.counts, role)})
    return tuple(found.values())


def _read(path: Path) -> Iterator[str]:
    name = path.name.lower()
    if name.endswith(".parquet"):
        return _rows(path)
    return _paragraphs(path) if name.endswith(_PARAGRAPHS) else _lines(path)


def _lines(path: Path) -> Iterator[str]:
    with _opened(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise LocoError(
                    f"{path}, line {number}: not JSON ({one_line(error)[:_SHOWN]}). Mend the file."
                ) from error
            text = row.get(FIELD) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise LocoError(f"{path}, line {number}: no field '{FIELD}' with a text. Mend the file.")
            yield _utf8(text)


def _paragraphs(path: Path) -> Iterator[str]:
    lines: list[str] = []
    with _opened(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                decoded = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise LocoError(f"{path}, line {number}: not UTF-8 ({error.reason}). Mend the file.") from error
            if decoded.strip():
                lines.append(decoded)
            elif lines:
                yield "".join(lines)
                lines = []
    if lines:
        yield "".join(lines)


def _rows(path: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as parquet:
            if FIELD not in parquet.schema_arrow.names:
                raise LocoError(
                    f"{path} has no column '{FIELD}', only {', '.join(parquet.schema_arrow.names)[:_SHOWN]}."
                )
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=[FIELD]):
                for number, text in enumerate(batch[FIELD].to_pylist(), 1):
                    if text is not None and not isinstance(text, str):
                        raise LocoError(f"{path}: row {number} of its column '{FIELD}' is no text.")
                    yield text or ""
    except (pa.ArrowException, OSError) as error:
        raise LocoError(f"{path} is no parquet file, or damaged: {one_line(error)[:_SHOWN]}.") from error


def _utf8(text: str) -> str:
    """A text with U+FFFD for half surrogate pairs, which JSON can escape and no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _weighted(asked: str) -> tuple[str, float]:
    name, sign, behind = asked.rpartition("=")
    try:
        if not sign or Path(asked).exists():
            return asked, 1.0
        weight = float(behind)
    except (OSError, ValueError):  # no name a file can have, or no number
        return asked, 1.0
    if not 0 < weight < float("inf"):
        raise LocoError(f"--from {asked}: {behind} is no weight. Give a number above 0, or leave the corpus out.")
    return name, weight


def _corpus(name: str, weight: float) -> Corpus:
    try:
        path = Path(name).expanduser()
        exists = path.exists()
    except (OSError, RuntimeError, ValueError):  # no name a file can have, or the home of nobody here
        exists = False
    if not exists and (name in _PUBLISHED or name.startswith("hub:")):
        together = _PUBLISHED[name][3] if name in _PUBLISHED else 1
        return Corpus(name, weight, _published(name), together)
    if not exists:
        raise LocoError(f"There is no corpus {name}: neither a file nor a folder, nor one of {', '.join(_PUBLISHED)}.")
    inside = (each for each in path.rglob("*") if each.name.lower().endswith(_KINDS) and each.is_file())
    files = [path] if path.is_file() else sorted(inside)
    if path.is_file() and not path.name.lower().endswith(_KINDS):
        raise LocoError(f"{name} is of no kind that is read. There are: {', '.join(_KINDS)}.")
    for file in files:
        _refuse_test_split(file)
    if not files:
        raise LocoError(f"The folder {name} holds no file that can be read. Kinds: {', '.join(_KINDS)}.")
    empty = next((file for file in files if not file.stat().st_size), None)
    if empty is not None:
        raise LocoError(f"{empty} is empty. Leave it out.")
    return Corpus(name, weight, tuple(Shard(str(file)) for file in files))


def _refuse_test_split(file: Path) -> None:
    """Raise LocoError for a file of a built task that is tested on."""
    manifest = _manifest(file.parent)
    if isinstance(manifest, dict) and manifest.get("split") == "test":
        raise LocoError(f"{file} is of a test split, which nothing is trained on: name the folder of its train split.")


def _manifest(folder: Path) -> Any:
    """What stands in the manifest of a folder, None without one."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _published(name: str) -> tuple[Shard, ...]:
    from huggingface_hub import HfApi, constants

    if name in _PUBLISHED:
        repo, branch, pattern, _ = _PUBLISHED[name]
    else:
        owner, _, rest = name.removeprefix("hub:").partition("/")
        title, _, pattern = rest.partition("/")
        repo, branch = f"{owner}/{title}", "main"
        if not pattern:
            raise LocoError(f"{name} names no files: hub:owner/name/pattern, such as hub:allenai/c4/en/*.json.gz.")
    obstacle = no_connection(constants.ENDPOINT)
    if obstacle:
        raise LocoError(f"Cannot read the corpus {name}: {obstacle}.")
    try:
        about = patiently(lambda: HfApi().dataset_info(repo, revision=branch))
    except Exception as error:  # whatever the client and what it stands on raise, the user needs one line
        reason = explained(error, "dataset", f"{constants.ENDPOINT}/datasets/{repo}")
        raise LocoError(f"Cannot read the corpus {name}: {reason}.") from error
    names = sorted(each.rfilename for each in about.siblings or () if fnmatch.fnmatch(each.rfilename, pattern))
    known = tuple(Shard(file, repo, about.sha or branch) for file in names if file.lower().endswith(_KINDS))
    if not known:
        raise LocoError(f"The dataset {repo} has no file {pattern} of a kind that is read: {', '.join(_KINDS)}.")
    return known


def _downloaded(shard: Shard) -> Path:
    from huggingface_hub import constants, hf_hub_download

    try:
        return Path(
            patiently(lambda: hf_hub_download(shard.repo, shard.name, repo_type="dataset", revision=shard.commit))
        )
    except Exception as error:  # as above
        reason = explained(error, "dataset", f"{constants.ENDPOINT}/datasets/{shard.repo}")
        raise LocoError(f"Cannot get {shard.name} of the dataset {shard.repo}: {reason}.") from error

"""Write a task in the layout that other retrieval tools read.

Beside the format's own files an export holds ``export.json``: which task it is, under which licence, and the SHA-256
of every file. By it an export is known again, so that only a folder that loco wrote is ever replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from loco.errors import LocoError, unknown
from loco.files import recovered, replacing_folder, sha256_of
from loco.tasks.data import TaskData
from loco.tasks.exchange import beir, mteb, trec
from loco.tasks.exchange.record import EXPORT_FILE, Export

_WRITERS: dict[str, Callable[[TaskData, Path], None]] = {"beir": beir.write, "trec": trec.write, "mteb": mteb.write}
FORMATS = tuple(_WRITERS)


def export_task(task: TaskData, format: str, out: Path) -> list[Path]:
    """Write a task as the folder ``out``, which appears in one rename, and return its files.

    ``format`` is one of :data:`FORMATS`. An export that is already there is replaced. Raises LocoError for another
    format, and for a folder that holds anything else than an export as it was written: it stays as it is.
    """
    if format not in _WRITERS:
        raise unknown("export format", format, FORMATS, "loco export --help")
    try:
        out = recovered(out.resolve())  # a link or "." would otherwise be what is renamed
        if out.exists() and not _replaceable(out):
            raise LocoError(
                f"{out} holds something that `loco export` did not write, so it is left alone. "
                "Choose a folder that is new or empty."
            )
        with replacing_folder(out) as folder:
            _WRITERS[format](task, folder)
            export = Export(
                schema_version=1,
                format=format,
                task=task.card.name,
                variant=task.variant,
                split=task.split,
                provenance=task.provenance,
                card=task.card,
                content=task.content,
                files={path.relative_to(folder).as_posix(): sha256_of(path) for path in _files(folder)},
            )
            content = export.model_dump_json(indent=2) + "\n"
            (folder / EXPORT_FILE).write_text(content, encoding="utf-8", newline="\n")
        return _files(out)
    except OSError as error:
        raise LocoError(f"Cannot write {out}: {error.strerror or error}. Choose another folder.") from error


def _replaceable(out: Path) -> bool:
    """Whether ``out`` is an empty folder, or an export with nothing added and nothing changed."""
    if not out.is_dir():
        return False
    if not any(out.iterdir()):
        return True
    try:
        export = Export.model_validate_json((out / EXPORT_FILE).read_bytes())
    except (OSError, ValidationError):
        return False
    others = {path.relative_to(out).as_posix(): path for path in _files(out) if path != out / EXPORT_FILE}
    return all(
        not path.is_symlink() and path.is_file() and export.files.get(name) == sha256_of(path)
        for name, path in others.items()
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())

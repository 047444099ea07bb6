"""Pages: from a template and what it shows to a file of the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Page:
    """A file of the site: its address below the site's folder, with slashes, and its content."""

    address: str
    content: bytes


@dataclass(frozen=True)
class Linked:
    """A place in the site's navigation."""

    address: str
    title: str


NAVIGATION: Sequence[Linked] = (
    Linked("index.html", "Overview"),
    Linked("charts.html", "Charts"),
    Linked("compare.html", "Compare"),
    Linked("tasks/index.html", "Tasks"),
    Linked("method.html", "Method"),
)


# What a page may load: its own files and nothing else, no script or style written into it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)


class Renderer:
    """Jinja2 with autoescape, over the templates of this package."""

    def __init__(self) -> None:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        self._templates = Environment(
            loader=PackageLoader(__package__ or "loco_leaderboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(self, template: str, address: str, title: str, **shown: Any) -> Page:
        """The page at ``address`` made from a template that extends ``base.html``.

        In a template ``root`` is the way from the page to the site's folder: every link starts with it, so that the
        site works wherever it lies, a folder on disk included.
        """
        folders = PurePosixPath(address).parts[:-1]
        values: Mapping[str, Any] = {
            "root": "../" * len(folders),
            "address": address,
            "around": _around(folders),
            "title": title,
            "navigation": NAVIGATION,
            "policy": POLICY,
            "version": version("loco-bench"),
            **shown,
        }
        return Page(address, self._templates.get_template(template).render(values).encode())


def _around(folders: Sequence[str]) -> str:
    """The place in the navigation that a page in a folder belongs to: the folder's own, or the overview."""
    if not folders:
        return ""
    index = f"{folders[0]}/index.html"
    return index if any(link.address == index for link in NAVIGATION) else "index.html"

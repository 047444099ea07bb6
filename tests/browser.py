"""A real browser for tests: Debian's chromium, or whatever playwright has installed. Without one, tests skip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")

# Tests that share a browser run in one process: give them all this mark.
one_process = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A running browser, one for a module: an event loop of playwright's must not outlive it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser test without playwright")
    with playwright.sync_playwright() as started:
        executable = next(filter(None, map(shutil.which, NAMES)), None)
        try:
            browser = started.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        except playwright.Error as error:
            if executable is not None or "Executable doesn't exist" not in error.message:
                raise
            pytest.skip(f"no browser is installed: none of {', '.join(NAMES)}, and none of playwright's")
        yield browser
        browser.close()


@dataclass
class Watched:
    """What a page asked for, and what went wrong on it."""

    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def strange(self, root: str) -> list[str]:
        """Requests that go elsewhere than to the site's folder. Data in an address are no request."""
        return [url for url in self.requests if not url.startswith((root, "data:"))]


@contextmanager
def opened(browser: Browser, address: str, **context: Any) -> Iterator[tuple[Page, Watched]]:
    """A page at an address in a fresh profile, and what is seen of it. ``context`` are playwright's settings."""
    watched = Watched()
    profile = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    try:
        page = profile.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("requestfailed", lambda request: watched.problems.append(f"failed: {request.url}"))
        page.on("pageerror", lambda error: watched.problems.append(str(error)))
        page.on(
            "console",
            lambda said: watched.problems.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.goto(address)
        yield page, watched
    finally:
        profile.close()

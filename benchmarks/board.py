"""The overview of 500 models on 12 tasks in headless Chromium, against what is promised of it.

First paint within a second; sorting and filtering within 50 ms, the layout that follows included. It prints each median
as a ratio to its budget, by the browser's own clock; and of actions what the page's thread was busy for, in processor
time, painting included, which other programs on the machine hardly change.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from boards import made_up
from browser import ARGUMENTS, NAMES
from playwright.sync_api import CDPSession, sync_playwright

from loco_leaderboard import overview
from loco_leaderboard.build import asset_pages
from loco_leaderboard.site import Renderer

MODELS = 500
RUNS = 9
PAINT_MS, ACTION_MS = 1000, 50

_PAINT = """() => new Promise(done => new PerformanceObserver(list => done(list.getEntries()[0].startTime))
    .observe({ type: "paint", buffered: true }))"""

# All rows that fit are in the table: those beyond the first come in small batches.
_ALL = """() => parseInt(document.getElementById("count").textContent, 10) ===
    document.querySelectorAll("tbody tr[id]").length"""

# From the event to a page laid out anew: what the script does, then the layout, which reading a height brings about.
_TIMED = """([run, what]) => {
    const start = performance.now();
    if (what === "sort") document.querySelectorAll("th[data-key] button")[5 + run].click();
    else {
        const box = document.getElementById(what);
        const words = ["maker-1", "chunk", "", "model-2 full"];
        box.value = what === "q" ? words[run % words.length] : box.options[run % box.options.length].value;
        box.dispatchEvent(new Event("input", { bubbles: true }));
    }
    document.querySelector("table.board").getBoundingClientRect();
    return performance.now() - start;
}"""


def main() -> None:
    """Build the page, time it, print."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        site = Path(name).resolve()
        (site / "assets").mkdir()
        for page in (*overview.pages(made_up(MODELS), Renderer()), *asset_pages()):
            (site / page.address).write_bytes(page.content)
        address = (site / "index.html").as_uri()
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        paints: list[float] = []
        times: dict[str, list[tuple[float, float]]] = {"sort": [], "q": [], "family": []}
        for _ in range(RUNS):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            opened = context.new_page()
            opened.goto(address, wait_until="commit")
            paints.append(opened.evaluate(_PAINT))
            context.close()
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.goto(address)
        opened.wait_for_function(_ALL)
        session = opened.context.new_cdp_session(opened)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for what, measured in times.items():
            for run in range(RUNS):
                opened.wait_for_function(_ALL)
                before = _busy(session)
                measured.append((opened.evaluate(_TIMED, [run, what]), _busy(session) - before))
        browser.close()
    size = len(next(iter(overview.pages(made_up(MODELS), Renderer()))).content)
    print(f"{MODELS} models on 12 tasks, {size / 1e6:.2f} MB of HTML; medians of {RUNS}")
    _print("first paint", paints, PAINT_MS)
    for what, measured in times.items():
        _print({"q": "search", "family": "filter by family"}.get(what, what), [wall for wall, _ in measured], ACTION_MS)
        _print("    busy", [busy for _, busy in measured], ACTION_MS)


def _busy(session: CDPSession) -> float:
    """Milliseconds of processor time that the page's thread has had."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return 1000 * metrics["TaskDuration"]


def _print(what: str, measured: list[float], budget: float) -> None:
    median = statistics.median(measured)
    print(
        f"{what}: {median:.1f} ms ({min(measured):.1f} to {max(measured):.1f}), "
        f"{median / budget:.2f} of {budget} ms promised"
    )


if __name__ == "__main__":
    main()

"""Which family of texts makes which task, and how many and how long: Table 10, scaled down to about a fifth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from loco.tasks.builders.mini import (
    answers,
    articles,
    cases,
    films,
    meetings,
    opinions,
    papers,
    passages,
    reports,
    screen,
)
from loco.tasks.builders.mini.dice import Dice
from loco.tasks.builders.mini.drafts import Document, Draft, Planner
from loco.tasks.builders.mini.scribe import Scribe
from loco.tasks.data import Split


@dataclass(frozen=True)
class Item:
    """A query with its relevant documents; where ``query`` is empty, documents that are relevant to none."""

    query: str
    documents: tuple[Document, ...]


class _Family(Protocol):
    """A module that writes drafts, a domain at a time."""

    @property
    def WORDS(self) -> str: ...  # noqa: N802 (a module's constant)

    def domain(self, scribe: Scribe, planner: Planner, length: float) -> list[Draft]: ...


@dataclass(frozen=True)
class _Part:
    """Domains of one family: the kind of query, how a draft is set, and the length documents aim at, in characters."""

    family: _Family
    query: str
    typeset: Callable[[Draft], Document]
    length: float
    domains: int = 6
    each: int = 8

    def items(self, dice: Dice, split: Split) -> list[Item]:
        scribe = Scribe(self.family.WORDS, split, dice)
        planner = Planner(dice, self.domains, self.each)
        return [
            Item(draft.queries[self.query], (self.typeset(draft),))
            for _ in range(self.domains)
            for draft in self.family.domain(scribe, planner, self.length)
        ]


_TASKS: dict[str, tuple[str, tuple[_Part, ...]]] = {
    # task: (what its texts are seeded by, so that two tasks can share documents; its parts)
    "summ_screen_fd": ("screen", (_Part(screen, "summary", screen.document, 5500),)),
    "gov_report": ("reports", (_Part(reports, "summary", reports.document, 9200),)),
    "qmsum": ("meetings", (_Part(meetings, "answer", meetings.document, 11900),)),
    "qasper_title": ("papers", (_Part(papers, "title", papers.document, 2700),)),
    "qasper_abstract": ("papers", (_Part(papers, "abstract", papers.document, 2700),)),
    "multifieldqa": (
        "fields",
        (
            _Part(articles, "question", articles.document, 5000, 2, 6),
            _Part(reports, "question", reports.document, 5000, 1, 6),
            _Part(papers, "question", papers.document, 5000, 1, 6),
            _Part(opinions, "question", opinions.plain, 5000, 1, 6),
        ),
    ),
    "2wikimqa": ("films", (_Part(films, "question", films.document, 8000),)),
    "passage_retrieval": ("passages", (_Part(passages, "summary", passages.document, 9100),)),
    "courtlistener_Plain_Text": ("opinions", (_Part(opinions, "parenthetical", opinions.plain, 8600),)),
    "courtlistener_HTML": ("opinions", (_Part(opinions, "parenthetical", opinions.html, 8600),)),
    "legal_case_reports": ("cases", (_Part(cases, "citations", cases.document, 8800),)),
}


def items(task: str, split: Split, seed: int) -> list[Item]:
    """The queries of a task and the documents relevant to each, in no meaningful order."""
    if task == "stackoverflow":
        return _threads(Dice(f"{seed}/answers/{split}"), split)
    source, parts = _TASKS[task]
    dice = Dice(f"{seed}/{source}/{split}")
    return [item for part in parts for item in part.items(dice, split)]


def _threads(dice: Dice, split: Split) -> list[Item]:
    scribe = Scribe(answers.WORDS, split, dice)
    libraries = 6
    planner = Planner(dice, libraries, each=10)
    return [
        Item(thread.question, tuple(answers.document(draft) for draft in thread.answers))
        for _ in range(libraries)
        for thread in answers.threads(scribe, planner, asked=5, length=600)
    ]

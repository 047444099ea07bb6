"""Sets of passages on films and their directors, with questions that join two of a set's passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from loco.tasks.builders.mini.drafts import Block, Document, Draft, Planner, typeset
from loco.tasks.builders.mini.scribe import Scribe

WORDS = "films"
_PASSAGES = 10
_HALVES_OF_OTHERS = 4


@dataclass(frozen=True)
class _Film:
    """A film, its passage, its director's passage, and what questions may name."""

    passage: Block
    biography: Block
    slots: Mapping[str, str]


def domain(scribe: Scribe, planner: Planner, length: float) -> list[Draft]:
    """Sets that share most of their passages; query: ``question``.

    A question needs two passages, which stand together in one set only; each alone stands in others as well.
    """
    dice = scribe.dice
    places = planner.places()
    # Every title there is, so that no two films of a task share one while any two may share a word.
    scribe.rules.setdefault(
        "title", tuple(f"The {a} {n}" for a in scribe.rules["adjective"] for n in scribe.rules["noun"])
    )
    pairs: list[tuple[str, tuple[Block, Block]]] = []
    for _ in places:
        film = _film(scribe, length)
        if dice.chance(0.5):
            rule = dice.pick(("question_born", "question_married", "question_died", "question_parent"))
            pairs.append((scribe.write(rule, **film.slots), (film.passage, film.biography)))
        else:
            rule = dice.pick(("question_earlier", "question_country"))
            other = _film(scribe, length)
            slots = {**film.slots, "title2": other.slots["title"]}
            pairs.append((scribe.write(rule, **slots), (film.passage, other.passage)))
    common = [
        passage
        for _ in range(len(places))
        for film in [_film(scribe, length)]
        for passage in (film.passage, film.biography)
    ]
    drafts = []
    for (question, own), where in zip(pairs, places, strict=True):
        others = dice.sample([pair for _, pair in pairs if pair is not own], min(_HALVES_OF_OTHERS, len(pairs) - 1))
        rest = [replace(dice.pick(pair), details=()) for pair in others]
        rest += [replace(block, details=()) for block in dice.sample(common, _PASSAGES - 2 - len(rest))]
        passages = dice.shuffled(rest)
        for block, index in zip(own, _indices(where), strict=True):
            passages.insert(index, block)
        numbered = [replace(block, text=f"Passage {n}:\n{block.text}") for n, block in enumerate(passages, 1)]
        drafts.append(Draft(tuple(numbered), {"question": question}))
    return drafts


def _indices(places: Sequence[float]) -> tuple[int, int]:
    """Which two of the passages hold the evidence: neighbours around one place, or one at each of two."""
    if len(places) == 2:
        return int(places[0] * _PASSAGES), int(places[1] * _PASSAGES)
    first = max(0, round(places[0] * _PASSAGES - 1))
    return first, first + 1


def _film(scribe: Scribe, length: float) -> _Film:
    dice = scribe.dice
    year = dice.whole(1931, 1989)
    director = scribe.write("person")
    slots = {
        "title": scribe.write("title"),
        "year": str(year),
        "director": director,
        "last": director.split()[-1],
        "country": scribe.draw("country"),
        "born": str(year - dice.whole(24, 52)),
        "died": str(year + dice.whole(3, 30)),
        "birthplace": scribe.write("place"),
        "deathplace": scribe.write("place"),
        "spouse": scribe.write("person"),
        "parent": scribe.write("person"),
        "hero": scribe.draw("hero"),
        "plot": scribe.draw("plot"),
    }

    def passage(name: str, first: str, rest: str, must: tuple[str, ...]) -> Block:
        sentences = [scribe.write(first, **slots)]
        known = [template for template in scribe.rules[rest] if any(f"{{{slot}}}" in template for slot in must)]
        others = [template for template in scribe.rules[rest] if template not in known]
        wanted = max(2, round(length / _PASSAGES / 105 * dice.between(0.6, 1.4)))
        for template in dice.shuffled([*known, *dice.sample(others, min(wanted, len(others)))]):
            sentences.append(scribe.fill(template, **slots))
        return Block(f"{name}\n{' '.join(sentences)}", details=(sentences[0],))

    return _Film(
        passage(slots["title"], "about_first", "about", ()),
        passage(director, "life_first", "life", ("spouse", "parent", "title")),
        slots,
    )


def document(draft: Draft) -> Document:
    """Numbered passages, each with its title."""
    return typeset(draft.blocks, lambda before, after: "\n")

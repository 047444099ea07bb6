"""Made-up questions and passages: a needle test without a download.

A passage tells of one person, whose name is made up of syllables and whose fate is a small fact or two about places
that do not exist either. A question asks for one such place. So a word of the query stands in its gold passage and next
to nowhere else: what reads the passage at all finds it, and what does not has nothing to go by.
"""

from __future__ import annotations

from loco.needle.source import SYNTHETIC, Question, Source
from loco.tasks.builders.mini.dice import Dice
from loco.tasks.data import Provenance

VERSION = 1

_QUESTIONS = 1_000
_PASSAGES = 4_000

_ONSETS = ("b", "br", "d", "dr", "f", "g", "gr", "h", "k", "kr", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ei", "ou")
_CODAS = ("l", "m", "n", "r", "s", "th", "nd", "rk", "lt", "x")

_TRADES = (
    ("glassblower", "made bottles and lamp shades for the ferries"),
    ("cartographer", "drew charts of shoals that move with every storm"),
    ("beekeeper", "sold dark honey to the bakers of three valleys"),
    ("bell founder", "cast bells that were heard across the lake"),
    ("surveyor", "measured the salt roads with a brass chain"),
    ("botanist", "collected mosses in boxes lined with felt"),
    ("weaver", "wove sailcloth on a loom as wide as a barn"),
    ("astronomer", "counted falling stars from the roof of a mill"),
    ("clockmaker", "repaired tower clocks and taught apprentices"),
    ("printer", "set almanacs in type by candlelight"),
    ("physician", "treated miners and shepherds for no fee"),
    ("organ builder", "tuned the pipes of every chapel on the coast"),
)
_DEEDS = (
    ("founded a school", "found the school", "opened a school with nine benches and a stove"),
    ("built a bridge", "put up the bridge", "raised a bridge of larch beams over the gorge"),
    ("discovered a spring", "come upon the spring", "found a warm spring below the old quarry"),
    ("planted an orchard", "lay out the orchard", "laid out an orchard of four hundred pear trees"),
    ("opened a museum", "start the museum", "showed minerals and masks in a museum of two rooms"),
    ("organised a fair", "hold the fair", "held the first fair for horses and wool"),
    ("restored a lighthouse", "repair the lighthouse", "gave the lighthouse a new lantern and a stair"),
    ("dug a canal", "cut the canal", "dug a canal that barges could pass in a day"),
)
_ASIDES = (
    "The winters there were long, and letters came once a month.",
    "A brother had left for the coast and was not heard of again.",
    "Neighbours remembered a short temper and a generous table.",
    "Some of the papers were lost when the archive was flooded.",
    "The accounts of the time disagree about the exact year.",
    "A portrait in oil hangs in the council chamber to this day.",
    "The family kept goats, and a parrot that knew three songs.",
    "Critics called the plan foolish until it had paid for itself.",
    "A street and a small asteroid carry the name.",
    "Much of what is known comes from the diary of a servant.",
    "The tools were sold at auction and later came back as a gift.",
    "Travellers wrote of the place with surprise and some envy.",
    "The wages were paid in grain whenever coins were short.",
    "An illness in youth had left one hand weak.",
    "The work took eleven summers and two changes of government.",
    "Children were told the story on the first day of frost.",
)
_ASKED = (
    "in which town did {person} {asked}",
    "where did the {trade} {person} {asked}",
    "what is the name of the place in which {person} {asked_past}",
)


def synthetic_source() -> Source:
    """A thousand questions, and four thousand further passages of the same kind: always the same."""
    dice = Dice("needle/synthetic/1")
    names = _Names(dice)
    questions = [_question(dice, names, number) for number in range(_QUESTIONS)]
    passages = [_passage(dice, names)[0] for _ in range(_PASSAGES)]
    provenance = Provenance(builder=SYNTHETIC, builder_version=VERSION, source="generated", source_revision="")
    return Source(SYNTHETIC, questions, passages, True, provenance)


class _Names:
    """Names made of syllables, none twice."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._given: set[str] = set()

    def new(self, syllables: int) -> str:
        """A name that nobody and nothing had before."""
        while True:
            made = "".join(self._dice.pick(_ONSETS) + self._dice.pick(_VOWELS) for _ in range(syllables))
            name = (made + self._dice.pick(_CODAS)).capitalize()
            if name not in self._given:
                self._given.add(name)
                return name


def _question(dice: Dice, names: _Names, number: int) -> Question:
    passage, person, town, trade, deed = _passage(dice, names)
    asked = dice.pick(_ASKED).format(person=person, trade=trade, asked=deed[1], asked_past=deed[0])
    return Question(f"s{number:04d}", asked, passage, (town,))


def _passage(dice: Dice, names: _Names) -> tuple[str, str, str, str, tuple[str, str, str]]:
    """A passage, and of what it tells the person, the town that is asked for, the trade and the deed."""
    person = f"{names.new(2)} {names.new(2)}"
    home, town = names.new(2), names.new(3)
    (trade, work), deed = dice.pick(_TRADES), dice.pick(_DEEDS)
    told = [
        f"{person} was a {trade} from {home} who {work}.",
        *dice.sample(_ASIDES, dice.whole(2, 3)),
        f"In the town of {town} {person.split()[0]} {deed[2]}.",
        *dice.sample(_ASIDES, dice.whole(1, 2)),
    ]
    return " ".join(told), person, town, trade, deed

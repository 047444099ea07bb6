"""The nDCG@10 a perfect model can expect where duplicates make the labelled document indistinguishable.

Derivation. The documents fall into groups whose members a model cannot tell apart. For one query it may know
everything else: the groups, and which grades occur in each. What it does not know is which member holds which grade,
so from its side every assignment of a group's grades to its members is equally likely. Whatever document it puts on
rank i, the expected gain there is the mean grade of that document's group, because every member holds each of the
group's grades with the same probability. Expectation is linear, so for a ranking of documents d1, d2, ...

    E[DCG@10] = sum over i = 1..10 of mean(group of di) / log2(i + 1)

where every document can stand on one rank only. The discounts fall with i, so by the rearrangement inequality no
ranking does better than documents in descending order of their group's mean grade (mixed or not, groups stay whole
and members stand in any order). The ideal DCG@10 depends on the query's grades alone, not on the assignment; dividing
by it gives the expected nDCG@10. This is exact for several relevant documents, several groups and graded judgements.

With one relevant document in a group of n it is (1 / n) sum over i = 1..min(n, 10) of 1 / log2(i + 1).

Gains are grades, as trec_eval takes them (Jarvelin and Kekalainen 2002 with linear gain); grades below 0 count 0.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

DEPTH = 10
DERIVATION = (
    "a model that tells groups of duplicates apart, but not the members of one, can at best rank documents by the mean "
    "grade of their group; rank i then earns that mean / log2(i + 1) in expectation, summed over ranks 1 to 10 and "
    "divided by the ideal DCG@10; mean over all queries"
)


def expected_ndcg(grades: Mapping[str, int], group: Mapping[str, Hashable], size: Mapping[Hashable, int]) -> float:
    """The largest expected nDCG@10 of one query.

    ``grades``: document id -> grade, one of them above 0. ``group``: document id -> its group; ``size``: group -> how
    many documents of the whole pool are in it.
    """
    gains: dict[Hashable, int] = {}
    for document, grade in grades.items():
        if grade > 0:
            gains[group[document]] = gains.get(group[document], 0) + grade
    best = sorted(((gain / size[name], size[name]) for name, gain in gains.items()), reverse=True)
    expected = [mean for mean, members in best for _ in range(min(members, DEPTH))]
    return _dcg(expected) / _dcg(sorted((grade for grade in grades.values() if grade > 0), reverse=True))


def _dcg(gains: list[float] | list[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:DEPTH], start=1))

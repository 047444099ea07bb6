"""The audit: duplicates, verbatim queries, odd texts, overlap, and the ceiling, against brute force and real data."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import model_card, small_task

import loco.models.registry
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.rank.ranking import Coverage, Hit, Ranking, TextCoverage
from loco.score.metrics import PRIMARY, score
from loco.tasks.audit import Audit, audit, audit_built, findings, read_audit, write_audit
from loco.tasks.audit.ceiling import expected_ndcg
from loco.tasks.audit.duplicates import NearDuplicates, Shingler, Shingles, jaccard
from loco.tasks.audit.encodings import MOJIBAKE, letters
from loco.tasks.audit.words import normalised, segments, words_of
from loco.tasks.data import TaskData, write_task
from loco.tokens import reference

CARD = model_card("bm25", "test_audit:FirstDocuments", revision="7")
NOTHING = TextCoverage(0, 0, 0, 0)


class FirstDocuments:
    """A lexical model that ranks the documents as they stand."""

    def __init__(self, card: ModelCard = CARD, runtime: object = None) -> None:
        self.card = card

    def rank(self, task: TaskData, k: int) -> Ranking:
        hits = [Hit(document, -float(place)) for place, document in enumerate(task.documents.ids[:k])]
        return Ranking(dict.fromkeys(task.queries.ids, hits), Coverage(NOTHING, NOTHING))


def audited(
    queries: Mapping[str, str] | None = None,
    documents: Mapping[str, str] | None = None,
    qrels: Mapping[str, Mapping[str, int]] | None = None,
    train: TaskData | None = None,
) -> Audit:
    return audit(small_task(queries, documents, qrels), train, retriever=FirstDocuments())


def prose(seed: int, words: int) -> list[str]:
    """So many words that no other seed has in this order."""
    return [f"w{(seed * 7919 + place * place * 31 + place) % 9973}" for place in range(words)]


# --- duplicates


def test_equal_texts_are_exact_duplicates_whatever_their_white_space() -> None:
    found = audited(
        {"q": "x"}, {"a": "one  two\nthree", "b": "One two three", "c": " one two three\t"}, {"q": {"a": 1}}
    ).duplicate_documents
    assert found.exact == (("a", "c"),)
    assert found.distinct_exact == 2
    assert found.near == (("a", "b", "c"),), "another case is the same words"


def test_one_changed_word_in_a_long_text_is_a_near_duplicate_and_another_text_is_none() -> None:
    first = prose(1, 200)
    changed = [*first[:100], "another", *first[101:]]
    found = audited(
        {"q": "x"},
        {"a": " ".join(first), "b": " ".join(prose(2, 200)), "c": " ".join(changed)},
        {"q": {"a": 1}},
    ).duplicate_documents
    assert found.near == (("a", "c"),)
    assert (found.exact, found.distinct_exact, found.distinct_near) == ((), 3, 2)


def test_groups_join_what_a_chain_of_near_duplicates_connects() -> None:
    words = prose(3, 400)
    chain = {f"d{step}": " ".join(words[20 * step : 20 * step + 300]) for step in range(4)}
    found = audited({"q": "x"}, chain, {"q": {"d0": 1}}).duplicate_documents
    assert found.near == (("d0", "d1", "d2", "d3"),)
    shingler = Shingler()
    first, last = (shingler.shingles(words[start : start + 300]) for start in (0, 60))
    assert jaccard(first, last) == (296 - 60) / (296 + 60) < found.threshold


def test_groups_come_largest_first_and_members_in_the_order_of_the_task() -> None:
    texts = {"z": "one", "y": "two", "x": "two", "w": "one", "v": "one"}
    assert audited({"q": "?"}, texts, {"q": {"z": 1}}).duplicate_documents.exact == (("z", "w", "v"), ("y", "x"))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 59), st.integers(0, 5)), max_size=3)),
        min_size=2,
        max_size=8,
    )
)
def test_groups_are_the_components_of_the_exact_similarity(drafts: list[tuple[int, list[tuple[int, int]]]]) -> None:
    texts = []
    for seed, changes in drafts:
        words = prose(seed, 60)
        for place, word in changes:
            words[place] = f"changed{word}"
        texts.append(words)
    shingler, near = Shingler(), NearDuplicates()
    for key, words in enumerate(texts):
        near.add(key, shingler.shingles(words))
    sets = [{tuple(words[start : start + 5]) for start in range(56)} for words in texts]
    group = list(range(len(texts)))
    for one, other in itertools.combinations(group[:], 2):
        if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= 0.8:
            group = [group[one] if name == group[other] else name for name in group]
    assert partition(map(near.group, range(len(texts)))) == partition(group)


def partition(names: Iterable[int]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for place, name in enumerate(names):
        members.setdefault(name, []).append(place)
    return sorted(members.values())


def test_texts_without_words_are_never_near_duplicates() -> None:
    found = audited({"q": "x"}, {"a": "...", "b": "?!", "c": ""}, {"q": {"a": 1}}).duplicate_documents
    assert found.near == ()


# --- the ceiling

POOLS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=5).filter(
    lambda pool: any(grade for _, grade in pool)
)


def dcg(gains: Iterable[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(list(gains)[:10], start=1))


def assignments(pool: list[tuple[int, int]]) -> list[list[int]]:
    """Every way to hand a group's grades to its members, each as the grades of the documents in order."""
    places: dict[int, list[int]] = {}
    for place, (group, _) in enumerate(pool):
        places.setdefault(group, []).append(place)
    ways = []
    for chosen in itertools.product(
        *(itertools.permutations([pool[place][1] for place in members]) for members in places.values())
    ):
        grades = [0] * len(pool)
        for members, handed in zip(places.values(), chosen, strict=True):
            for place, grade in zip(members, handed, strict=True):
                grades[place] = grade
        ways.append(grades)
    return ways


def ceiling_of(pool: list[tuple[int, int]]) -> float:
    return expected_ndcg(
        {str(place): grade for place, (_, grade) in enumerate(pool)},
        {str(place): group for place, (group, _) in enumerate(pool)},
        Counter(group for group, _ in pool),
    )


@settings(max_examples=60, deadline=None)
@given(POOLS)
def test_the_ceiling_is_the_best_that_any_ranking_expects_over_all_assignments(pool: list[tuple[int, int]]) -> None:
    ideal = dcg(sorted((grade for _, grade in pool), reverse=True))
    ways = assignments(pool)
    best = max(
        statistics.fmean(dcg(grades[place] for place in ranking) / ideal for grades in ways)
        for ranking in itertools.permutations(range(len(pool)))
    )
    assert ceiling_of(pool) == pytest.approx(best, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(POOLS)
def test_trec_eval_scores_the_best_ranking_at_the_ceiling_on_average(pool: list[tuple[int, int]]) -> None:
    totals: dict[int, list[int]] = {}
    for group, grade in pool:
        totals.setdefault(group, []).append(grade)
    ranking = sorted(range(len(pool)), key=lambda place: -statistics.fmean(totals[pool[place][0]]))
    hits = {"q": [Hit(str(place), -float(rank)) for rank, place in enumerate(ranking)]}
    scores = [
        score({"q": {str(place): grade for place, grade in enumerate(grades)}}, hits).means[PRIMARY]
        for grades in assignments(pool)
    ]
    assert ceiling_of(pool) == pytest.approx(statistics.fmean(scores), abs=1e-9)


@pytest.mark.parametrize("members", [1, 2, 9, 10, 11, 40])
def test_one_relevant_document_among_n_expects_the_mean_discount_of_n_ranks(members: int) -> None:
    pool = [(0, 1), *[(0, 0)] * (members - 1), (1, 0)]
    discounts = [1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in range(1, members + 1)]
    assert ceiling_of(pool) == pytest.approx(statistics.fmean(discounts), rel=1e-12)


def test_a_group_that_is_relevant_as_a_whole_costs_nothing() -> None:
    assert ceiling_of([(0, 1)] * 12 + [(1, 0)]) == 1.0


def test_a_grade_below_zero_counts_as_not_relevant() -> None:
    assert ceiling_of([(0, 1), (0, -2)]) == ceiling_of([(0, 1), (0, 0)])


def test_exact_duplicates_cap_every_model_and_near_duplicates_only_some() -> None:
    words = prose(1, 200)
    text, near = " ".join(words), " ".join([*words[:199], "otherwise"])
    half = (1 + 1 / math.log2(3)) / 2
    exact = audited({"q": "x"}, {"a": text, "b": text}, {"q": {"a": 1}}).ceiling
    assert (exact.near_duplicates, exact.exact_duplicates) == (round(half, 6), round(half, 6))
    close = audited({"q": "x"}, {"a": text, "b": near}, {"q": {"a": 1}}).ceiling
    assert (close.near_duplicates, close.exact_duplicates) == (round(half, 6), 1.0)


# --- queries


def test_a_query_in_a_document_is_found_in_the_relevant_one_first() -> None:
    found = audited(
        {"inside": "the  remote\ncontrol", "elsewhere": "on Monday", "nowhere": "The Remote"},
        {"d1": "about the remote control, and", "d2": "met on Monday after the remote control"},
        {"inside": {"d1": 1}, "elsewhere": {"d1": 1}, "nowhere": {"d1": 1}},
    ).query_findings
    assert found.verbatim_in_relevant == ("inside",)
    assert found.verbatim_elsewhere == ("elsewhere",)


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1), st.data())
def test_any_piece_of_a_document_is_found_in_it(document: str, data: st.DataObject) -> None:
    plain = normalised(document)
    start = data.draw(st.integers(0, len(plain)))
    query = plain[start : data.draw(st.integers(start, len(plain)))]
    if query.strip():
        found = audited({"q": query}, {"d": document}, {"q": {"d": 1}}).query_findings
        assert found.verbatim_in_relevant == ("q",)


def test_queries_of_one_text_are_told_and_those_with_other_relevant_documents_apart() -> None:
    found = audited(
        {"a": "same  text", "b": "same text", "c": "twice", "d": "twice", "e": "once"},
        {"x": "one", "y": "two"},
        {"a": {"x": 1}, "b": {"x": 2, "y": 0}, "c": {"x": 1}, "d": {"y": 1}, "e": {"y": 1}},
    ).query_findings
    assert found.same_text == (("a", "b"), ("c", "d"))
    assert found.same_text_other_relevant == ("c", "d")


# --- texts


def test_odd_texts_are_told_by_role_and_id() -> None:
    found = audited(
        {"q1": " \n", "q2": "plain"},
        {
            "d1": "lost \ufffd bytes",
            "d2": "bell \x07",
            "d3": "nel \x85",
            "d4": "CafÃ© itâ€™s",
            "d5": "Це не латиниця",
            "d6": "",
        },
        {"q1": {"d1": 1}, "q2": {"d1": 1}},
    )
    assert found.query_texts.empty == ("q1",)
    texts = found.document_texts
    assert (texts.empty, texts.replacement_characters) == (("d6",), ("d1",))
    assert (texts.control_characters, texts.mojibake) == (("d2", "d3"), ("d4",))
    assert texts.mostly_not_latin == ("d5",)


@given(st.sampled_from("äéîõüßñç£°»\u2013—\u2018\u2019“”…•€™ﬁ😀"))
def test_utf8_read_as_another_encoding_is_mojibake(character: str) -> None:
    raw = character.encode()
    assert MOJIBAKE.search("a" + raw.decode("latin-1"))
    try:
        windows = raw.decode("cp1252")
    except UnicodeDecodeError:
        return  # five bytes mean nothing in Windows-1252
    assert MOJIBAKE.search("a" + windows)


@pytest.mark.parametrize(
    "text", ["«À la CAFÉ»", "SÃO PAULO, Ângela", "naïve — “yes” … 20 €", "20 °C", "ðe Þorn", "pâté"]
)
def test_proper_text_is_no_mojibake(text: str) -> None:
    assert not MOJIBAKE.search(text)


def test_letters_are_counted_by_script() -> None:
    assert letters("abc 123 é") == (4, 0)
    assert letters("ab Ωд漢 ø") == (6, 3)
    assert letters("… 12") == (0, 0)


def test_segments_are_the_words_and_signs_of_unicode() -> None:
    assert segments("Don't say 3.14, x_y — 日本 ok?") == [
        "don't",
        "say",
        "3.14",
        ",",
        "x_y",
        "—",
        "日",
        "本",
        "ok",
        "?",
    ]
    assert words_of(segments("Don't — 日 ?")) == ["don't", "日"]
    assert segments(" \n\t") == []


def test_lengths_count_texts_over_each_limit() -> None:
    documents = {"a": "w " * 512, "b": "w " * 513, "c": "w " * 8_193}
    tokens = audited({"q": "w"}, documents, {"q": {"a": 1}}).document_texts.tokens
    assert tokens.over == {512: 2, 2_048: 1, 8_192: 1, 32_768: 0}
    assert tokens.longest == 8_193
    assert tokens.mean == round((512 + 513 + 8_193) / 3, 2)


def test_lengths_are_counted_in_the_tokens_that_results_count_by() -> None:
    found = audited({"q": "Unbelievableness!"}, {"a": "tokenization " * 300}, {"q": {"a": 1}})
    tokenizer = reference.reference_tokenizer()
    of_query, of_document = (
        len(tokenizer.encode(text, add_special_tokens=False)) for text in ("Unbelievableness!", "tokenization " * 300)
    )
    assert found.query_texts.tokens.longest == of_query > 2
    assert (found.document_texts.tokens.longest, found.document_texts.tokens.over[512]) == (of_document, 1)
    assert found.reference_tokenizer == reference.NAME


# --- train split, lexical score, files


def test_texts_that_stand_in_the_train_split_too_are_told() -> None:
    train = replace(
        small_task(
            {"t": "when is  the next meeting"},
            {"x": "Nobody said anything of substance. ", "y": "new"},
            {"t": {"y": 1}},
        ),
        split="train",
    )
    overlap = audited(train=train).train_overlap
    assert overlap is not None
    assert (overlap.queries, overlap.documents) == (("q2",), ("d3",))
    assert audited().train_overlap is None


def test_the_lexical_score_is_trec_evals_ndcg_of_the_model() -> None:
    lexical = audited().lexical
    assert (lexical.model, lexical.revision) == ("bm25", "7")
    assert lexical.ndcg_at_10 == round((1 + 1 / math.log2(3)) / 2, 6)


def test_the_lexical_model_is_the_installed_bm25(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loco.models.registry, "model_cards", lambda: {"bm25": CARD})
    assert audit(small_task()).lexical.revision == "7"


def test_a_terminal_gets_a_bar_and_the_same_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, terminal = audited(), Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert audited() == plain
    assert "audit qmsum" in terminal.getvalue()


def test_an_audit_is_written_beside_the_task_and_read_back(tmp_path: Path) -> None:
    write_task(small_task(), tmp_path)
    found = audit_built(tmp_path, "mini", "qmsum", retriever=FirstDocuments())
    assert read_audit(tmp_path, "mini", "qmsum") == found
    path = tmp_path / "mini" / "qmsum" / "audit.json"
    first = path.read_bytes()
    audit_built(tmp_path, "mini", "qmsum", retriever=FirstDocuments())
    assert path.read_bytes() == first
    assert json.loads(first)["schema_version"] == 1


def test_a_built_train_split_is_compared(tmp_path: Path) -> None:
    write_task(small_task(), tmp_path)
    write_task(replace(small_task(), split="train"), tmp_path)
    overlap = audit_built(tmp_path, "mini", "qmsum", retriever=FirstDocuments()).train_overlap
    assert overlap is not None
    assert (overlap.queries, overlap.documents) == (("q1", "q2"), ("d1", "d2", "d3"))


def test_an_audit_of_other_contents_does_not_count(tmp_path: Path) -> None:
    write_task(small_task(), tmp_path)
    assert read_audit(tmp_path, "mini", "qmsum") is None
    write_audit(audited({"q": "x"}, {"a": "y"}, {"q": {"a": 1}}), tmp_path)
    assert read_audit(tmp_path, "mini", "qmsum") is None


def test_a_damaged_audit_is_one_clear_line(tmp_path: Path) -> None:
    write_task(small_task(), tmp_path)
    path = write_audit(audited(), tmp_path)
    path.write_text(path.read_text().replace('"near_duplicates": 1.0', '"near_duplicates": "high"'))
    with pytest.raises(LocoError, match=r"audit.json is damaged \(ceiling.near_duplicates: .*loco audit qmsum"):
        read_audit(tmp_path, "mini", "qmsum")


def test_an_audit_of_a_task_that_is_not_built_has_no_place_to_go(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="loco build-data qmsum --variant mini"):
        write_audit(audited(), tmp_path)
    assert not list(tmp_path.iterdir())


# --- what a reader sees


def test_alarms_come_first_and_a_clean_task_has_none() -> None:
    clean = [finding.level for finding in findings(audited())]
    assert "alarm" not in clean
    text = " ".join(prose(1, 200))
    capped = findings(audited({"q": "x"}, {"a": text, "b": text, "c": "Ã©"}, {"q": {"a": 1}}))
    levels = [finding.level for finding in capped]
    assert levels == sorted(levels, key=("alarm", "note", "fine").index)
    assert {"alarm", "note", "fine"} == set(levels)
    assert "log2(i + 1)" in capped[1].text


# --- real data


def qmsum(shared: Path) -> list[dict[str, str]]:
    path = shared / "data" / "scrolls" / "qmsum" / "validation.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_real_qmsum_of_the_paper_is_35_groups_with_a_ceiling(shared: Path) -> None:
    rows = qmsum(shared)
    task = replace(
        small_task(
            {row["id"]: row["output"] for row in rows},
            {row["id"]: row["input"] for row in rows},
            {row["id"]: {row["id"]: 1} for row in rows},
        ),
        variant="paper",
    )
    found = audit(task, retriever=FirstDocuments())
    groups = found.duplicate_documents
    assert (found.documents, groups.distinct_near, len(groups.near)) == (272, 35, 35)
    transcript = {row["id"]: row["input"].split("\n\n", 1)[1] for row in rows}
    meetings = Counter(transcript.values())
    assert all(len({transcript[name] for name in group}) == 1 for group in groups.near)
    # Every meeting of n questions weighs n queries, each expecting the mean discount of n ranks.
    expected = math.fsum(
        1 / math.log2(rank + 1) for size in meetings.values() for rank in range(1, min(size, 10) + 1)
    ) / len(rows)
    assert found.ceiling.near_duplicates == round(expected, 6) == 0.478847
    assert groups.exact == (("qm_44", "qm_45"),)
    assert round(found.ceiling.exact_duplicates, 4) == 0.9986
    assert found.document_texts.tokens.over == {512: 272, 2_048: 272, 8_192: 219, 32_768: 0}
    said = [finding.text for finding in findings(found) if finding.level == "alarm"]
    assert re.search("272 documents are 35 groups of near-duplicates", said[0])
    assert said[1].startswith("Ceiling: 0.4788")


def test_no_pair_of_the_real_qmsum_is_near_the_threshold(shared: Path) -> None:
    shingler = Shingler()
    transcripts: dict[str, Shingles] = {}
    firsts: dict[str, Shingles] = {}
    for row in qmsum(shared):
        transcript = row["input"].split("\n\n", 1)[1]
        found = shingler.shingles(words_of(segments(row["input"])))
        assert jaccard(found, firsts.setdefault(transcript, found)) > 0.98
        if transcript not in transcripts:
            transcripts[transcript] = shingler.shingles(words_of(segments(transcript)))
    assert all(jaccard(*pair) < 0.02 for pair in itertools.combinations(transcripts.values(), 2))


def test_the_released_qmsum_has_no_duplicates_and_no_ceiling(shared: Path) -> None:
    rows = qmsum(shared)
    meetings: dict[str, str] = {}
    for row in rows:
        meetings.setdefault(row["input"].split("\n\n", 1)[1], f"meeting{len(meetings)}")
    task = small_task(
        {row["id"]: row["output"] for row in rows},
        {name: text for text, name in meetings.items()},
        {row["id"]: {meetings[row["input"].split("\n\n", 1)[1]]: 1} for row in rows},
    )
    found = audit(task, retriever=FirstDocuments())
    assert found.duplicate_documents.near == ()
    assert found.duplicate_documents.distinct_near == 35
    assert (found.ceiling.near_duplicates, found.ceiling.queries_below_one) == (1.0, 0)
    assert found.document_texts.tokens.over == {512: 35, 2_048: 35, 8_192: 27, 32_768: 0}

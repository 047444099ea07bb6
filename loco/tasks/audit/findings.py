"""What an audit says to a reader: one sentence a finding, the alarming ones first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from loco.tasks.audit.record import Audit, Groups, TextFindings

Level = Literal["alarm", "note", "fine"]

_LEVELS: tuple[Level, ...] = ("alarm", "note", "fine")
_EXAMPLES = 3
_ODD = {
    "replacement_characters": "hold the replacement character U+FFFD, so bytes were lost when they were decoded",
    "control_characters": "hold control characters, a sign of a wrong encoding or of binary data",
    "mojibake": "hold UTF-8 that was read as Windows-1252 or Latin-1",
    "mostly_not_latin": "have more letters of other scripts than of the Latin one",
}


@dataclass(frozen=True)
class Finding:
    """``alarm``: scores are capped, leak or mean something else than they seem to. ``note``: good to know when reading
    them. ``fine``: looked for and not found.
    """

    level: Level
    text: str


def findings(audit: Audit) -> list[Finding]:
    """An audit in sentences, alarms first."""
    found = [*_ceiling(audit), *_overlap(audit), *_queries(audit)]
    found += [*_texts("queries", audit.query_texts, audit.queries)]
    found += [*_texts("documents", audit.document_texts, audit.documents)]
    found += [*_figures(audit)]
    return sorted(found, key=lambda finding: _LEVELS.index(finding.level))


def _ceiling(audit: Audit) -> Iterator[Finding]:
    groups, ceiling, lexical = audit.duplicate_documents, audit.ceiling, audit.lexical
    near = f"Jaccard similarity of {groups.shingle_words}-word shingles from {groups.threshold} on"
    if not groups.near:
        yield Finding("fine", f"No document is another's exact or near duplicate ({near}).")
        return
    sizes = _span([len(group) for group in groups.near])
    yield Finding(
        "alarm" if ceiling.queries_below_one else "note",
        f"{audit.documents:,} documents are {groups.distinct_near:,} groups of near-duplicates ({near}), "
        f"{len(groups.near):,} of them of {sizes} documents. {_count(groups.exact, 'group')} of exact duplicates.",
    )
    if not ceiling.queries_below_one:
        yield Finding(
            "fine", "The duplicates do not cap nDCG@10: no query has a relevant document among others of its group."
        )
        return
    yield Finding(
        "alarm",
        f"Ceiling: {ceiling.near_duplicates:.4f} is the nDCG@10 that a perfect model can expect as long as it does not "
        f"see what sets near-duplicates apart; {ceiling.queries_below_one:,} of {audit.queries:,} queries are capped. "
        f"Derivation: {ceiling.derivation}.",
    )
    if lexical.ndcg_at_10 > ceiling.near_duplicates:
        yield Finding(
            "alarm",
            f"{lexical.model} reaches {lexical.ndcg_at_10:.4f}, above that ceiling: unless this is luck, words in "
            "which near-duplicates differ give the labelled one away, and models differ in how much they make of it.",
        )
    if ceiling.exact_duplicates < 1:
        yield Finding(
            "alarm",
            f"Exact duplicates alone cap every model at an expected nDCG@10 of {ceiling.exact_duplicates:.4f}: "
            f"{_group_examples(groups.exact)}.",
        )


def _overlap(audit: Audit) -> Iterator[Finding]:
    overlap = audit.train_overlap
    if overlap is None:
        yield Finding("note", "No train split is built beside the task, so overlap with it was not looked for.")
    elif overlap.queries or overlap.documents:
        yield Finding(
            "alarm",
            f"{len(overlap.queries):,} of {audit.queries:,} queries and {len(overlap.documents):,} of "
            f"{audit.documents:,} documents stand in the train split too, so whoever trains on it has seen them: "
            f"{_examples([*overlap.queries, *overlap.documents])}.",
        )
    else:
        yield Finding("fine", "No query and no document stands in the train split too.")


def _queries(audit: Audit) -> Iterator[Finding]:
    found = audit.query_findings
    if found.same_text_other_relevant:
        yield Finding(
            "alarm",
            f"{len(found.same_text_other_relevant):,} queries share their text with one that has other relevant "
            f"documents, and no model can serve both: {_examples(found.same_text_other_relevant)}.",
        )
    if found.same_text:
        yield Finding(
            "note",
            f"{_count(found.same_text, 'text')} that more than one query has: {_group_examples(found.same_text)}.",
        )
    else:
        yield Finding("fine", "No two queries have the same text.")
    for ids, where in (
        (found.verbatim_in_relevant, "a document relevant to them, where finding that string solves them"),
        (found.verbatim_elsewhere, "a document, though not in a relevant one"),
    ):
        if ids:
            share = f"{len(ids):,} of {audit.queries:,} queries stand word for word in {where}: {_examples(ids)}."
            yield Finding("note", share)
    if not found.verbatim_in_relevant and not found.verbatim_elsewhere:
        yield Finding("fine", "No query stands word for word in a document.")


def _texts(role: str, found: TextFindings, count: int) -> Iterator[Finding]:
    if found.empty:
        yield Finding("alarm", f"{len(found.empty):,} of {count:,} {role} are empty: {_examples(found.empty)}.")
    clean = [] if found.empty else ["empty texts"]
    for name, meaning in _ODD.items():
        ids: tuple[str, ...] = getattr(found, name)
        if ids:
            yield Finding("note", f"{len(ids):,} of {count:,} {role} {meaning}: {_examples(ids)}.")
        else:
            clean.append(name.replace("_", " ").replace("mostly not latin", "texts mostly not Latin"))
    if clean:
        yield Finding("fine", f"Among the {role} no {', '.join(clean)}.")


def _figures(audit: Audit) -> Iterator[Finding]:
    if audit.dropped_when_built:
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in audit.dropped_when_built.items())
        yield Finding("note", f"Left out when the task was built: {dropped}.")
    for role, found in (("Documents", audit.document_texts), ("Queries", audit.query_texts)):
        over = ", ".join(f"{count:,} over {limit:,}" for limit, count in found.tokens.over.items() if count)
        yield Finding(
            "note",
            f"{role}: {found.tokens.mean:,.0f} tokens on average, {found.tokens.longest:,} at most, "
            f"{over or 'none over ' + str(min(found.tokens.over))}; "
            f"{found.letters_not_latin:.2%} of the letters are not Latin.",
        )
    yield Finding(
        "note",
        f"Tokens are those of {audit.reference_tokenizer}; a model's own tokenizer may make more or fewer of a text.",
    )
    yield Finding("note", f"Lexically solvable to nDCG@10 {audit.lexical.ndcg_at_10:.4f}, by {audit.lexical.model}.")


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"


def _span(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return str(low) if low == high else f"{low} to {high}"


def _examples(names: Sequence[str]) -> str:
    more = len(names) - _EXAMPLES
    return ", ".join(names[:_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


def _group_examples(groups: Groups) -> str:
    return _examples([" = ".join(group[:_EXAMPLES]) + (" = ..." if len(group) > _EXAMPLES else "") for group in groups])

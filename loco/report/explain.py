"""One query of a result, explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from loco.report.tables import add_numbers, console, show, table

if TYPE_CHECKING:
    from loco.explain import Cut, Explanation, Relevant

_LONGEST_QUERY = 1_000  # characters; a query can be a page


def print_explanation(explained: Explanation) -> None:
    """What was asked, what was found, where the relevant documents stood. No text can steer the terminal."""
    out = console()
    way = f"{explained.strategy}, {explained.vector_form}" if explained.vector_form else explained.strategy
    out.print(_plain(f"{explained.model}, {way}, on {explained.task} ({explained.variant})"), soft_wrap=True)
    asked = f"{explained.text[:_LONGEST_QUERY]}{'…' if len(explained.text) > _LONGEST_QUERY else ''}"
    out.print(_plain(f"Query {explained.query}: {' '.join(asked.split())}"), soft_wrap=True)
    out.print(f"nDCG@10 {explained.ndcg_at_10:.4f}; the query has {explained.query_tokens:,} tokens.\n", soft_wrap=True)
    if explained.retrieved:
        rows = table(title=f"Retrieved, of {explained.documents:,} documents")
        add_numbers(rows, "Rank", "Score", "Tokens")
        for heading in ("Document", "", "Begins"):
            rows.add_column(heading)
        for hit in explained.retrieved:
            mark = "relevant" if hit.relevant else ""
            score, tokens = f"{hit.score:.4f}", f"{hit.tokens:,}"
            rows.add_row(f"{hit.rank:,}", score, tokens, _plain(hit.document), mark, _plain(hit.beginning))
        show(rows)
    else:
        out.print("Nothing was retrieved.")
    out.print()
    rows = table(title="Relevant")
    add_numbers(rows, "Rank", "BM25's rank", "Tokens", "Cut", "Read, in the model's tokens")
    for heading in ("Document", "Begins"):
        rows.add_column(heading)
    for one in explained.relevant:
        bm25_rank = "no word shared" if one.bm25_rank is None else f"{one.bm25_rank:,}"
        figures = (_rank(one, explained.depth), bm25_rank, f"{one.tokens:,}", *_share_and_read(one.cut))
        rows.add_row(*figures, _plain(one.document), _plain(one.beginning))
    show(rows)
    if any(one.cut is None for one in explained.relevant):
        out.print(
            "How much was cut is not known: the model cuts where loco cannot see it, or is made of several that each "
            "cut (explain theirs), or the result is older than the count; then measure again with loco eval --force.",
            soft_wrap=True,
        )
    out.print(f"Tokens are those of {explained.tokenizer}, whatever the model's own are.", soft_wrap=True)


def _rank(one: Relevant, depth: int) -> str:
    return f"not in the first {depth:,}" if one.rank is None else f"{one.rank:,}"


def _share_and_read(cut: Cut | None) -> tuple[str, str]:
    if cut is None:
        return "not known", ""
    if cut.tokens is None or cut.tokens_seen is None:
        return "nothing", "all"
    return f"{cut.share:.1%}", f"{cut.tokens_seen:,} of {cut.tokens:,}"


def _plain(text: str) -> Text:
    """A text without markup, and without what could steer a terminal."""
    return Text("".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text))

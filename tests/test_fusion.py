"""Rankings fused: the formulas' laws, names as they are read, and a fusion from a name to results."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import small_task
from typer.testing import CliRunner
from vendor_server import KEY, VendorServer, vendor_server

from loco.cli import app
from loco.compose.card import CompositeCard, FusedCard, Part, fused_card
from loco.compose.fusion import fused
from loco.compose.names import Fuse, Method, NamedPart, NamedReranker, Rerank, parse_composition, parse_reranker
from loco.compose.ranker import Models, reordered
from loco.encode.forms import VectorForm
from loco.errors import LocoError
from loco.evaluation import Evaluated, Options, evaluate, evaluate_tasks, foretell_tasks
from loco.models.card import ModelCard
from loco.models.registry import load_model, model_card, settled, strategies_of
from loco.models.runtime import Runtime
from loco.pipeline import ordered
from loco.rank.ranking import Hit
from loco.results import read_result, run_path
from loco.score.metrics import DEPTH
from loco.tasks.data import TaskData, write_task
from loco.trec import trec_id

RRF = Method()
MINMAX = Method("minmax", None)
BOTH = "fuse(bm25, hash-512, method=rrf)"

DOCUMENTS = [f"d{number}" for number in range(40)] + ["Ångström", "a b", "名前"]
SCORES = st.floats(-1e6, 1e6, width=32)
METHODS = st.one_of(st.builds(lambda k: Method(k=k), st.integers(0, 100_000)), st.just(MINMAX))


@st.composite
def rankings(draw: st.DrawFn) -> list[Hit]:
    """A query's documents in trec_eval's order."""
    scores = draw(st.dictionaries(st.sampled_from(DOCUMENTS), SCORES, max_size=12))
    return in_order([Hit(document, score) for document, score in scores.items()])


def in_order(hits: Sequence[Hit]) -> list[Hit]:
    return sorted(sorted(hits, key=lambda hit: trec_id(hit.document), reverse=True), key=lambda hit: -hit.score)


def documents_of(hits: Sequence[Hit]) -> list[str]:
    return [hit.document for hit in hits]


# --- The formulas


def test_reciprocal_rank_fusion_is_that_of_its_paper() -> None:
    first = [Hit("a", 9.0), Hit("b", 5.0), Hit("c", 1.0)]
    second = [Hit("c", 0.3), Hit("a", 0.2), Hit("d", 0.1)]

    hits = fused([first, second], RRF, DEPTH)

    expected = {"a": 1 / 61 + 1 / 62, "c": 1 / 63 + 1 / 61, "b": 1 / 62, "d": 1 / 63}
    assert dict(hits) == {document: float(np.float32(score)) for document, score in expected.items()}
    assert documents_of(hits) == ["a", "c", "b", "d"]


def test_min_max_takes_a_documents_place_between_worst_and_best_and_a_missing_one_as_the_worst() -> None:
    first = [Hit("a", 9.0), Hit("b", 5.0), Hit("c", 1.0)]
    second = [Hit("c", -2.0), Hit("d", -4.0), Hit("a", -6.0)]

    assert dict(fused([first, second], MINMAX, DEPTH)) == {"a": 0.5, "c": 0.5, "b": 0.25, "d": 0.25}
    weighted = dict(fused([first, second], replace(MINMAX, weights=(3.0, 1.0)), DEPTH))
    assert weighted == {"a": 0.75, "b": 0.375, "c": 0.25, "d": 0.125}


def test_what_all_scores_the_same_is_still_better_than_what_was_not_found() -> None:
    hits = fused([[Hit("only", 0.0)], [Hit("b", 2.0), Hit("a", 1.0)]], MINMAX, DEPTH)

    assert dict(hits) == {"only": 0.5, "b": 0.5, "a": 0.0}


@settings(max_examples=40)
@given(rankings(), METHODS)
def test_a_ranking_fused_with_itself_keeps_its_order(ranking: list[Hit], method: Method) -> None:
    hits = fused([ranking, ranking], method, DEPTH)

    if method.k is None:  # what differs by less than float32 can tell ties, and falls by id
        assert set(documents_of(hits)) == set(documents_of(ranking))
        score = dict(ranking)
        span = max(score.values(), default=0.0) - min(score.values(), default=0.0)
        falls = [score[a] - score[b] for a, b in zip(documents_of(hits), documents_of(hits)[1:], strict=False)]
        assert all(fall >= -1e-6 * span for fall in falls)
    else:
        assert documents_of(hits) == documents_of(ranking)


@settings(max_examples=40)
@given(st.lists(rankings(), min_size=2, max_size=5), METHODS, st.randoms(use_true_random=False))
def test_the_order_of_the_parts_changes_nothing(parts: list[list[Hit]], method: Method, random: object) -> None:
    weights = [1.0 + place for place in range(len(parts))]
    order = list(range(len(parts)))
    random.shuffle(order)  # type: ignore[attr-defined]

    one = fused(parts, replace(method, weights=tuple(weights)), DEPTH)
    other = fused(
        [parts[place] for place in order], replace(method, weights=tuple(weights[place] for place in order)), DEPTH
    )

    assert one == other


@settings(max_examples=40)
@given(st.lists(rankings(), min_size=2, max_size=4), METHODS, st.integers(1, 20))
def test_what_comes_out_is_finite_in_trec_evals_order_and_no_longer_than_asked(
    parts: list[list[Hit]], method: Method, k: int
) -> None:
    hits = fused(parts, method, k)
    union = {hit.document for part in parts for hit in part}

    assert all(math.isfinite(hit.score) and hit.score == float(np.float32(hit.score)) for hit in hits)
    assert hits == in_order(hits)
    assert len(hits) == min(k, len(union))
    assert hits == fused(parts, method, len(union) + 1)[:k]


@settings(max_examples=40)
@given(rankings(), rankings(), METHODS)
def test_equal_weights_are_none_and_a_heavy_one_decides(one: list[Hit], other: list[Hit], method: Method) -> None:
    plain, twice = fused([one, other], method, DEPTH), fused([one, other], replace(method, weights=(2.0, 2.0)), DEPTH)
    heavy = fused([one, other], replace(method, weights=(1e9, 1e-9)), DEPTH)

    assert documents_of(twice) == documents_of(plain)
    found = set(documents_of(one))
    if method.k is not None:
        assert [document for document in documents_of(heavy) if document in found] == documents_of(one)
        assert set(documents_of(heavy)[: len(one)]) == found


def test_ties_fall_by_the_documents_id_as_everywhere() -> None:
    assert documents_of(fused([[Hit("a", 1.0)], [Hit("b", 1.0)]], RRF, DEPTH)) == ["b", "a"]


@settings(max_examples=40)
@given(rankings(), st.dictionaries(st.sampled_from(DOCUMENTS), st.floats(-(2.0**100), 2.0**100, width=32), max_size=30))
def test_reranked_documents_stand_above_the_rest_whose_order_stays(
    ranking: list[Hit], scores: dict[str, float]
) -> None:
    hits = reordered(ranking, {hit.document: scores[hit.document] for hit in ranking if hit.document in scores})
    seen = in_order([Hit(document, float(np.float32(score))) for document, score in hits])
    above = [hit.document for hit in ranking if hit.document in scores]
    rest = [hit.document for hit in ranking if hit.document not in scores]

    assert set(documents_of(seen)[: len(above)]) == set(above)
    assert documents_of(seen)[len(above) :] == rest
    assert len({hit.score for hit in seen[len(above) :]}) == len(rest)


# --- Names


def test_a_call_is_read_with_its_parts_strategies_and_settings() -> None:
    text = "fuse(bm25, ./mini: chunk-max(128, overlap=32), openai:m@http://h:1/v1?window=9&dim=2, method=rrf, k=10)"
    parts = (NamedPart("bm25"), NamedPart("./mini", "chunk-max(128, overlap=32)"))

    assert parse_composition(text) == Fuse(
        (*parts, NamedPart("openai:m@http://h:1/v1?window=9&dim=2")), Method("rrf", 10)
    )
    assert parse_composition("rerank( fuse(C:\\a, b:C, method=minmax, weights=(0.7, 0.3)), o/r@v2@20: truncate )") == (
        Rerank(
            NamedPart(Fuse((NamedPart("C:\\a"), NamedPart("b:C")), Method("minmax", None, (0.7, 0.3)))),
            NamedReranker("o/r@v2", 20, "truncate"),
        )
    )
    assert parse_composition("fuse(a, b, weights=(2, 2))") == parse_composition("fuse(a, b)")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("fuse(bm25)", "fuses 1: a fusion has 2 to 10 parts"),
        ("fuse(method=rrf)", "fuses 0"),
        ("fuse(" + ", ".join("abcdefghijk") + ")", "fuses 11"),
        ("fuse(bm25, x", "every parenthesis closed"),
        ("fuse(bm25, x))(", "every parenthesis closed"),
        ("fuse(bm25, (x)", "parentheses in .* do not match"),
        ("fuse(bm25, , x)", "A part of .* is empty"),
        ("fuse(bm25, x: )", "A name or a strategy is missing"),
        ("fuse(bm25, x, metod=rrf)", "No setting 'metod'. Did you mean 'method'"),
        ("fuse(bm25, x, method=rff)", "No method 'rff'. Did you mean 'rrf'"),
        ("fuse(bm25, x, k=1, k=2)", "sets k twice"),
        ("fuse(bm25, x, method=minmax, k=1)", "minmax has no k"),
        ("fuse(bm25, x, k=-1)", "k must be a whole number, 0 to 100,000, not '-1'"),
        ("fuse(bm25, x, weights=(1, 0))", "weights must be numbers above 0"),
        ("fuse(bm25, x, weights=(1, nan))", "weights must be numbers above 0"),
        ("fuse(bm25, x, weights=(1, 1, 1))", "3 weights for 2 parts"),
        ("rerank(bm25)", "has 1 parts: write rerank"),
        ("rerank(bm25, x)", "names no reranker and how many"),
        ("rerank(bm25, x@0)", "K must be between 1 and 100"),
        ("rerank(bm25, x@101)", "K must be between 1 and 100"),
        ("rerank(bm25, rerank(bm25, x@1)@1)", "names no reranker"),
        ("fuse(a, fuse(b, fuse(c, fuse(d, fuse(e, f)))))", "stands too deep"),
        ("fuse(" * 300 + "a" + ")" * 300, "stands too deep|has 2 to 10 parts"),
        ("fuse(a, " + "b" * 2000 + ")", "too long: 2,000 at most"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, line: str) -> None:
    with pytest.raises(LocoError, match=line) as raised:
        parse_composition(text)
    assert "\n" not in str(raised.value)


@settings(max_examples=40)
@given(st.text(alphabet="fuserank(),:@=0 1.ab\n", max_size=60).map(lambda inside: f"fuse({inside})"))
def test_no_text_is_more_than_a_composition_or_one_line(text: str) -> None:
    said = ""
    try:
        parse_composition(text)
    except LocoError as error:
        said = str(error)
    assert "\n" not in said


@given(st.lists(st.integers(1, 10**15 - 1), min_size=2, max_size=2, unique=True))
def test_no_two_fusions_have_the_same_name_and_each_can_be_written_again(millionths: list[int]) -> None:
    weights = [f"{number // 10**6}.{number % 10**6:06d}" for number in millionths]
    made = parse_composition(f"fuse(a, b, weights=({', '.join(weights)}))")

    assert isinstance(made, Fuse)
    assert parse_composition(f"fuse(a, b, {made.method.settings})") == made


def test_a_reranker_is_a_name_a_depth_and_perhaps_a_strategy() -> None:
    assert parse_reranker("BAAI/x@100") == NamedReranker("BAAI/x", 100)
    assert parse_reranker(" ./a b@5 : chunk-max(64) ") == NamedReranker("./a b", 5, "chunk-max(64)")


# --- Cards


def test_a_card_holds_all_that_decides_the_ranking() -> None:
    card = model_card("fuse(bm25, hash-512, method=rrf, k=10)")

    assert isinstance(card, FusedCard)
    assert card.name == "fuse(bm25, hash-512, method=rrf, k=10)"
    said = card.parameters
    assert (said["method"], said["k"], said["part 1"], said["part 2 max_tokens"]) == ("rrf", 10, "bm25", 512)
    assert settled(card) == card

    def of(**changes: object) -> CompositeCard:
        first, second = card.parts
        return card.of([first, second.model_copy(update={"card": second.card.model_copy(update=changes)})])

    others = [
        of(revision="2"),
        of(parameters={"seed": 1}),
        of(max_tokens=256),
        model_card("fuse(bm25, hash-512, k=11)"),
    ]
    assert len({(one.revision, str(one.parameters)) for one in [card, *others]}) == 5
    assert of(trained_on_loco=True).trained_on_loco is True
    assert of(trained_on_loco=None).trained_on_loco is None
    assert of(untrained=True).untrained
    assert of(weights=7).weights == 7
    assert of(weights=None, parameters={"hub": "some/where"}).weights is None, "it has some, nobody knows how many"


def test_different_models_of_the_same_name_are_not_fused() -> None:
    bm25, dense = model_card("bm25"), model_card("hash-512")
    other = dense.model_copy(update={"revision": "other"})
    for parts in ([dense, other], [fused_card([Part(card=bm25), Part(card=dense)], RRF), other]):
        with pytest.raises(LocoError, match="Two different models are called 'hash-512'"):
            fused_card([Part(card=card) for card in parts], RRF)
    elsewhere = dense.model_copy(update={"checkpoint": "./copy"})
    with pytest.raises(LocoError, match="'hash-512' stands twice in a fusion"):
        fused_card([Part(card=dense), Part(card=elsewhere)], RRF)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("fuse(bm25, bm25)", "'bm25' stands twice in a fusion"),
        ("fuse(bm25, hash-512: chunk, hash-512: chunk(512))", "'hash-512' stands twice"),
        ("fuse(hash-512, hash-512: truncate)", r"'hash-512' would stand twice .* under truncate\(512\)"),
        ("fuse(bm25, hsh-512)", "No model 'hsh-512'. Did you mean 'hash-512'"),
        ("fus(bm25, hash-512)", "No way to combine models 'fus'. Did you mean 'fuse'"),
        ("fuse(bm25, hash-512: late-chunk)", "'hash-512' cannot be run under late-chunk"),
        ("fuse(bm25, hash-512: chunk, truncate)", "No model 'truncate'"),
        ("fuse(bm25, hash-512: chnk)", "No strategy 'chnk'. Did you mean 'chunk'"),
        ("bge-reranker-base", "ranks nothing by itself.*--rerank bge-reranker-base@100"),
        ("fuse(bm25, bge-reranker-base)", "ranks nothing by itself"),
        ("rerank(bm25, hash-512@3)", "'hash-512' is no reranker"),
        ("rerank(bm25, bge-reranker-bse@3)", "No reranker 'bge-reranker-bse'. Did you mean 'bge-reranker-base'"),
        ("fuse(bm25, hash-512" + ", fuse(bm25, hash-512)" * 4 + ")", "a name of .* characters|stands twice"),
    ],
)
def test_what_cannot_be_fused_is_one_line(name: str, line: str) -> None:
    with pytest.raises(LocoError, match=line) as raised:
        strategies_of(model_card(name), None)
    assert "\n" not in str(raised.value)


def test_a_strategy_is_that_of_each_part_that_is_free_to_take_it() -> None:
    card = model_card("fuse(bm25, hash-512, hash-512: chunk(64))")

    assert [one.name for one in strategies_of(card, "truncate(128), chunk-max")] == [
        "full + truncate(128) + chunk(64, overlap=0)",
        "full + chunk-max(512, overlap=0) + chunk(64, overlap=0)",
    ]
    nested = strategies_of(model_card("fuse(bm25, fuse(bm25-rank, hash-512), method=minmax)"), "chunk")
    assert [one.name for one in nested] == ["full + (full + chunk(512, overlap=0))"]
    with pytest.raises(LocoError, match=r"No part of .* is free to be run under late-chunk"):
        strategies_of(card, "late-chunk")
    with pytest.raises(LocoError, match=r"No strategy 'trncate'\. Did you mean 'truncate'"):
        strategies_of(card, "trncate")


def test_settings_of_one_model_are_no_settings_of_several() -> None:
    with pytest.raises(LocoError, match="leave out --pooling"):
        model_card(BOTH, {"pooling": "cls"})


def test_a_fusion_has_no_vectors_of_its_own() -> None:
    with pytest.raises(LocoError, match=r"made of several models .* Name one of its parts: bm25, hash-512"):
        load_model(model_card(BOTH))


# --- From a name to results


def ranked(name: str, task: TaskData, cache: Path) -> dict[str, list[Hit]]:
    card = model_card(name)
    strategies = strategies_of(card, None)
    ranker = Models(Runtime(), VectorForm(), cache).ranker(card)
    return ordered(ranker.rankings(strategies, task)[strategies[0].name], task, name)


def test_a_fusion_ranks_by_what_its_parts_rank(tmp_path: Path) -> None:
    task = small_task()
    bm25, dense = ranked("bm25", task, tmp_path), ranked("hash-512", task, tmp_path)

    both = ranked(BOTH, task, tmp_path)

    for query in task.queries.ids:
        assert both[query] == fused([bm25[query], dense[query]], RRF, DEPTH)


def test_nothing_found_by_any_part_is_nothing_found_and_empty_texts_do_no_harm(tmp_path: Path) -> None:
    task = small_task(
        {"q1": "budget", "blank": " ", "none": "zzz"},
        {"d1": "the budget", "empty": ""},
        {"q1": {"d1": 1}, "blank": {"d1": 1}, "none": {"empty": 1}},
    )

    both = ranked("fuse(bm25, hash-512, method=minmax)", task, tmp_path)

    assert documents_of(both["q1"]) == ["d1"]
    assert both["blank"] == []


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_task(small_task(), folder)
    return folder


def evaluated(name: str, data: Path, out: Path, **options: str) -> list[Evaluated]:
    chosen = Options(cache=out / "cache", **options)  # type: ignore[arg-type]
    return list(evaluate_tasks(model_card(name), ["qmsum"], "mini", chosen, "test", data=data, out=out))


def test_the_parts_results_are_real_ones_and_are_measured_once(data: Path, tmp_path: Path) -> None:
    first = evaluated(BOTH, data, tmp_path, strategies="truncate,chunk-max")
    ways = [(one.result.model.name, one.result.strategy) for one in first]

    assert ways == [
        ("fuse(bm25, hash-512, method=rrf, k=60)", "full + truncate(512)"),
        ("fuse(bm25, hash-512, method=rrf, k=60)", "full + chunk-max(512, overlap=0)"),
        ("bm25", "full"),
        ("hash-512", "truncate(512)"),
        ("hash-512", "chunk-max(512, overlap=0)"),
    ]
    assert [len(one.part_of) for one in first] == [0, 0, 2, 1, 1]
    assert not any(one.reused for one in first)
    alone = evaluate("bm25", "qmsum", "mini", data=data)
    assert first[2].result.metrics == alone.metrics
    assert first[2].result.measurement is not None
    assert alone.measurement is not None
    assert first[2].result.measurement.identity == alone.measurement.identity

    again = evaluated(BOTH, data, tmp_path, strategies="truncate,chunk-max")
    assert all(one.reused for one in again)
    other = evaluated("fuse(bm25, hash-512, method=minmax)", data, tmp_path)
    assert [one.reused for one in other] == [False, True, True]


def test_a_fusions_result_names_its_parts_and_is_read_as_any_other(data: Path, tmp_path: Path) -> None:
    (head, *_) = evaluated(BOTH, data, tmp_path)
    assert head.path is not None
    measurement = read_result(head.path).measurement

    assert measurement is not None
    assert [(part.model, part.strategy) for part in measurement.parts] == [
        ("bm25", "full"),
        ("hash-512", "truncate(512)"),
    ]
    assert measurement.parts[1].vectors is not None
    assert measurement.documents is None
    assert measurement.rerank is None
    assert run_path(head.path).is_file()
    assert head.path.is_relative_to(tmp_path)
    assert evaluate(BOTH, "qmsum", "mini", data=data, out=tmp_path, cache=tmp_path / "cache").model == head.result.model


def test_a_result_is_not_taken_for_one_of_other_parts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import loco.models.registry as registry

    (first, *_) = evaluated(BOTH, data, tmp_path)
    cards = dict(registry.model_cards())
    cards["hash-512"] = cards["hash-512"].model_copy(update={"revision": "other"})
    monkeypatch.setattr(registry, "model_cards", lambda: cards)
    (second, *_) = evaluated(BOTH, data, tmp_path)

    assert not second.reused
    assert first.result.measurement is not None
    assert second.result.measurement is not None
    assert first.result.measurement.identity != second.result.measurement.identity


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"quantise": "int8"}, "no vectors of its own to make smaller"),
        ({"dim": 128}, "does not say that its vectors can be cut"),
        ({"runtime": Runtime(budget=1.0)}, "costs nothing: leave out --budget"),
        ({"runtime": Runtime(dtype="float16")}, "'hash-512' does not run in float16"),
    ],
)
def test_what_a_fusion_cannot_be_asked_for_is_one_line(
    options: dict[str, object], line: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(LocoError, match=line):
        evaluated(BOTH, data, tmp_path, **options)  # type: ignore[arg-type]


# --- Money


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with vendor_server(16) as running:
        yield running


@pytest.fixture
def paid(server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """text-embedding-3-large at the server, with short vectors and a short window."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    known = model_card("text-embedding-3-large")
    assert known.service is not None
    service = known.service.model_copy(update={"url": f"{server.url}/v1"})
    return known.model_copy(update={"service": service, "parameters": known.parameters | {"dim": 16}, "max_tokens": 40})


def test_a_fusion_with_a_paid_part_is_foretold_bounded_and_recorded(
    paid: ModelCard, server: VendorServer, data: Path, tmp_path: Path
) -> None:
    card = fused_card([Part(card=model_card("bm25")), Part(card=paid)], RRF)
    where = {"data": data, "out": tmp_path}
    options = Options(cache=tmp_path / "cache")

    (told,) = foretell_tasks(card, ["qmsum"], "mini", options, data=data, out=tmp_path)
    assert (told.card, server.requests) == (paid, [])
    assert told.plan.requests > 0
    spare = replace(options, runtime=Runtime(budget=1e-9))
    with pytest.raises(LocoError, match="Stopped before the budget"):
        list(evaluate_tasks(card, ["qmsum"], "mini", spare, "test", **where))  # type: ignore[arg-type]
    assert server.requests == []

    head, _, part = evaluate_tasks(card, ["qmsum"], "mini", options, "test", **where)  # type: ignore[arg-type]

    assert len(server.requests) == told.plan.requests
    assert part.result.measurement is not None
    cost = part.result.measurement.cost
    assert cost is not None
    assert (cost.requests, cost.vendor) == (len(server.requests), "OpenAI")
    assert head.result.measurement is not None
    assert head.result.measurement.cost is None
    assert [one.cost for one in head.result.measurement.parts] == [None, None], "the part's own result has it"
    (again,) = foretell_tasks(card, ["qmsum"], "mini", options, data=data, out=tmp_path)
    assert again.plan.requests == 0


def test_a_bill_stands_once_in_a_result_whose_model_has_it_twice(paid: ModelCard, data: Path, tmp_path: Path) -> None:
    parts = [Part(card=paid, strategy="truncate(40)"), Part(card=paid, strategy="chunk(20, overlap=0)")]
    card = fused_card(parts, RRF)
    where = {"data": data, "out": tmp_path}
    list(evaluate_tasks(paid, ["qmsum"], "mini", Options("truncate(40),chunk(20)", cache=tmp_path / "1"), "", **where))  # type: ignore[arg-type]

    head, *_ = evaluate_tasks(card, ["qmsum"], "mini", Options(cache=tmp_path / "lost"), "", **where)  # type: ignore[arg-type]

    assert head.result.measurement is not None
    costs = [part.cost for part in head.result.measurement.parts]
    assert costs[0] is not None
    assert costs[1] is None


def test_a_budget_is_for_one_bill(paid: ModelCard, data: Path, tmp_path: Path) -> None:
    other = paid.model_copy(update={"name": "another"})
    card = fused_card([Part(card=paid), Part(card=other)], RRF)
    with pytest.raises(LocoError, match="send a bill each, and a budget is for one"):
        list(evaluate_tasks(card, ["qmsum"], "mini", Options(runtime=Runtime(budget=1)), "test", data=data))
    told = list(foretell_tasks(card, ["qmsum"], "mini", Options(cache=tmp_path), data=data))
    assert [one.card.name for one in told] == ["text-embedding-3-large", "another"]


# --- The commands


def test_the_commands_show_a_fusion_with_its_parts(data: Path, tmp_path: Path) -> None:
    where = ["--data", str(data), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    command = ["eval", "--model", BOTH, "--variant", "mini", "--task", "qmsum", *where]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    rows = [line.split()[0] for line in shown.stdout.splitlines() if line.startswith(("qmsum", "  "))]
    assert rows == ["qmsum", "bm25,", "hash-512,"]
    as_json = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert [(one["model"], one["part_of"], one["reused"]) for one in as_json["results"]] == [
        ("fuse(bm25, hash-512, method=rrf, k=60)", [], True),
        ("bm25", ["full + truncate(512)"], True),
        ("hash-512", ["full + truncate(512)"], True),
    ]
    card = CliRunner().invoke(app, ["models", "show", BOTH])
    assert "full + truncate(512)" in card.output
    assert 'part 2 = "hash-512"' in card.output
    (path,) = [one["path"] for one in as_json["results"] if not one["part_of"]]
    explained = CliRunner().invoke(app, ["explain", path, "q1", "--data", str(data)])
    assert explained.exit_code == 0, explained.output
    speed = CliRunner().invoke(app, ["speed", "--model", BOTH, "--out", str(tmp_path)])
    assert speed.exit_code == 2
    assert "has no vectors of its own. Name one of its parts" in speed.stderr


def test_a_needle_can_be_looked_for_by_a_fusion(tmp_path: Path) -> None:
    settings = ["--queries", "4", "--positions", "2", "--distractors", "3"]
    where = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    found = CliRunner().invoke(app, ["needle-haystack", "--model", BOTH, "--json", *settings, *where])
    assert found.exit_code == 0, found.output
    (result,) = json.loads(found.stdout)
    assert result["model"]["name"] == "fuse(bm25, hash-512, method=rrf, k=60)"
    assert len(result["cells"]) == 2

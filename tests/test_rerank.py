"""Reranking: pairs cut and scored once, cross-encoders held against sentence-transformers, and runs that go on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import WINDOW, bert, change, write
from rerankers import WordReranker, cross_encoder, many, scored
from sentence_transformers import CrossEncoder as Reference
from tasks import small_task

from loco.compose.ranker import Models
from loco.encode.forms import VectorForm
from loco.encode.strategies import ChunkMax, Full, Strategy, Truncate
from loco.errors import LocoError
from loco.evaluation import Evaluated, Options, evaluate_tasks
from loco.models.card import ModelCard, read_model_cards
from loco.models.protocols import Pair, Reranker
from loco.models.registry import load_reranker, model_card, reranker_card, settled, shown_card, strategies_of
from loco.models.runtime import Runtime
from loco.tasks.data import write_task
from loco_adapters.cross_encoder.settings import parameters_of

CPU = Runtime(device="cpu")
SHORT = [("a cat runs", "dog sleeps"), ("red", "green blue cat dog sleeps . a probe of short words"), ("x", "y z")]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several processes test at once, and threads that wait for each other are slow then."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(str(folder), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Reranker:
    return load_reranker(reranker_card(str(folder)), CPU)


def pairs_of(reranker: WordReranker) -> list[tuple[list[int], list[int]]]:
    return [(pair.query.tolist(), pair.document.tolist()) for batch in reranker.log for pair in batch]


# --- Cross-encoders, against sentence-transformers


def test_scores_are_those_of_sentence_transformers(reranker: Reranker, reference: Reference) -> None:
    pairs = [Pair(reranker.token_ids([q], "query")[0], reranker.token_ids([d], "document")[0]) for q, d in SHORT]

    logits = reranker.score(pairs)

    assert logits.dtype == np.float32
    assert np.abs(logits - reference.predict(SHORT, activation_fn=torch.nn.Identity())).max() < 1e-5
    assert np.abs(1 / (1 + np.exp(-logits)) - reference.predict(SHORT)).max() < 1e-5
    alone = [reranker.score([pair])[0] for pair in pairs]
    assert np.abs(logits - alone).max() < 1e-5


def test_a_model_with_two_separators_and_no_token_types_agrees_too(tmp_path: Path) -> None:
    folder = cross_encoder(tmp_path / "roberta", roberta=True)
    other = load_reranker(reranker_card(str(folder)), CPU)
    reference = Reference(str(folder), device="cpu", local_files_only=True)
    pairs = [Pair(other.token_ids([q], "query")[0], other.token_ids([d], "document")[0]) for q, d in SHORT]

    assert (other.traits.overhead, other.traits.max_tokens) == (4, WINDOW)
    assert np.abs(other.score(pairs) - reference.predict(SHORT, activation_fn=torch.nn.Identity())).max() < 1e-5


def test_what_truncate_cuts_is_what_sentence_transformers_cuts(
    reranker: Reranker, reference: Reference, tmp_path: Path
) -> None:
    long = "red green blue cat dog sleeps runs . " * 9
    task = small_task(
        {"short": "a cat runs", "long": f"probe {long}", "middling": "dog " * 20},
        {"long": long, "short": "blue dog", "middling": "cat " * 18},
        {"short": {"long": 1}, "long": {"long": 1}, "middling": {"long": 1}},
    )

    scores, use = scored(reranker, Truncate(WINDOW), task, tmp_path)

    asked = [(query, document) for query in task.queries.ids for document in task.documents.ids]
    queries, documents = dict(task.queries), dict(task.documents)
    expected = reference.predict(
        [(queries[query], documents[document]) for query, document in asked], activation_fn=torch.nn.Identity()
    )
    assert reranker.traits.overhead == 3
    assert np.abs(np.array([scores[query][document] for query, document in asked]) - expected).max() < 1e-5
    assert use.queries_cut == 2
    assert use.documents_cut == 5


def test_a_saved_cross_encoder_of_sentence_transformers_is_the_same(
    folder: Path, reference: Reference, reranker: Reranker, tmp_path: Path
) -> None:
    reference.save_pretrained(str(tmp_path / "saved"))
    pairs = [Pair(reranker.token_ids([q], "query")[0], reranker.token_ids([d], "document")[0]) for q, d in SHORT]

    saved = load_reranker(reranker_card(str(tmp_path / "saved")), CPU)

    assert np.array_equal(saved.score(pairs), reranker.score(pairs))
    assert saved.card.max_tokens == WINDOW


def test_a_fingerprint_goes_with_weights_and_tokenizer(folder: Path, reranker: Reranker, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "tiny")
    assert load_reranker(reranker_card(str(other)), CPU).traits.fingerprint == reranker.traits.fingerprint
    change(other / "tokenizer_config.json", model_max_length=30)
    assert reranker_card(str(other)).revision != reranker_card(str(folder)).revision
    assert load_reranker(reranker_card(str(other)), CPU).traits.fingerprint != reranker.traits.fingerprint


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}},
            "gives 2 scores a pair, and a reranker gives 1",
        ),
        ({"id2label": None}, "gives 2 scores a pair"),
        ({"architectures": ["BertModel"]}, "is no cross-encoder: its config.json names BertModel"),
        ({"architectures": None}, "is no cross-encoder: its config.json names no class"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Softmax"}}, "changes its scores by"),
        ({"max_position_embeddings": None, "model_type": "t5"}, "does not say how long its inputs may be"),
    ],
)
def test_what_is_no_reranker_is_one_line(changes: dict[str, object], line: str, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    change(copy / "config.json", **changes)
    with pytest.raises(LocoError, match=line) as raised:
        reranker_card(str(copy))
    assert "\n" not in str(raised.value)


def test_other_modules_prompts_and_adapters_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    write(copy / "config_sentence_transformers.json", {"default_prompt_name": "query"})
    with pytest.raises(LocoError, match="puts a prompt before its pairs"):
        reranker_card(str(copy))
    write(
        copy / "modules.json",
        [{"idx": 0, "name": "0", "path": "", "type": "a.Transformer"}, {"type": "b.LogitScore", "path": "1"}],
    )
    with pytest.raises(LocoError, match=r"has the modules Transformer, LogitScore in 1"):
        reranker_card(str(copy))
    write(copy / "modules.json", {"no": "list"})
    with pytest.raises(LocoError, match=r"modules\.json cannot be read"):
        reranker_card(str(copy))
    write(copy / "adapter_config.json", {})
    with pytest.raises(LocoError, match="is an adapter"):
        reranker_card(str(copy))


def test_weights_that_are_missing_or_a_pickle_are_refused(folder: Path, tmp_path: Path) -> None:
    plain = bert(tmp_path / "plain")
    change(plain / "config.json", architectures=["BertForSequenceClassification"], id2label={"0": "one"})
    shutil.copy(folder / "tokenizer.json", plain)
    with pytest.raises(LocoError, match=r"lacks some of its weights \(classifier.bias, classifier.weight\)"):
        load_reranker(reranker_card(str(plain)), CPU)
    (plain / "model.safetensors").rename(plain / "pytorch_model.bin")
    with pytest.raises(LocoError, match=r"holds its weights as a pickle .* --allow-pickle"):
        load_reranker(reranker_card(str(plain)), CPU)


# --- What is read, and how often


def test_the_best_piece_decides_and_truncate_reads_the_beginning_alone(tmp_path: Path) -> None:
    filler = "uu vv ww xx yy zz "
    task = small_task(
        {"q": "aa bb"},
        {"early": f"aa {filler * 3}", "late": f"{filler * 3} aa bb".replace("u", "t")},
        {"q": {"late": 1}},
    )
    reranker = WordReranker()

    pieces, use = scored(reranker, ChunkMax(12), task, tmp_path)
    beginnings, cut = scored(reranker, Truncate(12), task, tmp_path)

    assert pieces == {"q": {"early": 1.0, "late": 2.0}}
    assert beginnings == {"q": {"early": 1.0, "late": 0.0}}
    # Beside 3 special tokens and 2 of the query, 7 of a document: 19 tokens in three pieces, and 20.
    assert (use.pairs, use.inputs_scored, use.tokens_scored) == (2, 6, 6 * 5 + 19 + 20)
    assert (use.documents_cut, use.document_tokens_cut, use.queries_cut) == (0, 0, 0)
    assert (cut.inputs_scored, cut.inputs_reused) == (0, 2)
    assert (cut.documents_cut, cut.document_tokens_cut) == (2, 12 + 13)
    assert max(len(pair.query) + len(pair.document) + 3 for batch in reranker.log for pair in batch) == 12


def test_pieces_overlap_as_asked(tmp_path: Path) -> None:
    task = small_task({"q": "aa"}, {"d": "ba bb bc bd be bf bg bh bi bj"}, {"q": {"d": 1}})
    reranker = WordReranker()

    scored(reranker, ChunkMax(9, overlap=2), task, tmp_path)

    ids = reranker.ids(task.documents.texts[0]).tolist()
    assert sorted(document for _, document in pairs_of(reranker)) == [ids[0:5], ids[3:8], ids[6:10]]


def test_a_document_shorter_than_the_overlap_is_one_piece(tmp_path: Path) -> None:
    task = small_task({"q": " ".join(f"q{number:x}" for number in range(14))}, {"d": "aa bb"}, {"q": {"d": 1}})
    reranker = WordReranker()

    scored(reranker, ChunkMax(12, overlap=3), task, tmp_path)

    assert [(len(query), len(document)) for query, document in pairs_of(reranker)] == [(7, 2)]


def test_a_long_query_takes_half_and_leaves_what_a_short_document_does_not_need(tmp_path: Path) -> None:
    words = [f"q{number:x}" for number in range(14)]
    task = small_task({"q": " ".join(words)}, {"long": "aa bb cc dd ee ff gg", "short": "aa bb"}, {"q": {"long": 1}})
    reranker = WordReranker()  # room for 9 tokens

    _, use = scored(reranker, ChunkMax(12), task, tmp_path)

    query = reranker.ids(" ".join(words)).tolist()
    assert {len(q): len(d) for q, d in sorted(pairs_of(reranker), key=lambda pair: len(pair[1]))} == {7: 2, 5: 4}
    assert all(q == query[: len(q)] for q, _ in pairs_of(reranker))
    assert (use.queries_cut, use.query_tokens_cut) == (1, (14 - 5) + (14 - 7))


def test_the_same_pair_is_scored_once_and_found_again(tmp_path: Path) -> None:
    task = small_task(
        {"q1": "aa bb", "q2": "aa bb"}, {"d1": "aa", "d2": "aa", "d3": "bb"}, {"q1": {"d1": 1}, "q2": {"d3": 1}}
    )
    first, second = WordReranker(), WordReranker()

    scores, use = scored(first, ChunkMax(12), task, tmp_path)
    again, reuse = scored(second, ChunkMax(12), task, tmp_path)

    assert scores == again
    assert len(pairs_of(first)) == use.inputs_scored == 2
    assert second.log == []
    assert (reuse.inputs_scored, reuse.inputs_reused) == (0, 2)


def test_what_does_not_fit_into_memory_is_halved_and_alone_is_one_line(tmp_path: Path) -> None:
    task = small_task({"q": "aa bb"}, {f"d{n}": f"aa c{n} dd" for n in range(5)}, {"q": {"d1": 1}})

    assert scored(WordReranker(memory=10), ChunkMax(12), task, tmp_path / "1")[0]["q"] == {
        f"d{n}": 1.0 for n in range(5)
    }
    with pytest.raises(LocoError, match=r"A pair of 8 tokens, of query 'q' with document 'd\d', does not fit"):
        scored(WordReranker(memory=5), ChunkMax(12), task, tmp_path / "2")


def test_a_score_that_is_none_names_query_and_document(tmp_path: Path) -> None:
    task = small_task({"q": "aa"}, {"d": "aa"}, {"q": {"d": 1}})
    for broken in (np.nan, np.inf, 1e39):  # the last one is infinite in float32
        with pytest.raises(LocoError, match="NaN or infinite for query 'q' with document 'd'"):
            scored(WordReranker(broken=broken), ChunkMax(12), task, tmp_path)


def test_empty_texts_have_no_score(tmp_path: Path) -> None:
    task = small_task({"q": "aa", "blank": " "}, {"d": "aa", "empty": ""}, {"q": {"d": 1}, "blank": {"d": 1}})

    scores, use = scored(WordReranker(), ChunkMax(12), task, tmp_path)

    assert scores == {"q": {"d": 1.0}, "blank": {}}
    assert (use.pairs, use.pairs_blank) == (1, 3)


@pytest.mark.parametrize(
    ("strategy", "line"),
    [
        (Full(), "cannot be run under full. Choose truncate or chunk-max"),
        (Truncate(4), "leaves no room for a query and a document: special tokens alone are 3"),
        (ChunkMax(12, overlap=5), "beside a long query only 4 tokens of a document fit"),
    ],
)
def test_a_strategy_that_cannot_be_is_one_line(strategy: Strategy, line: str, tmp_path: Path) -> None:
    with pytest.raises(LocoError, match=line):
        scored(WordReranker(), strategy, small_task(), tmp_path)


# --- Runs that go on

_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from rerankers import WordReranker, many, scored
from loco.encode.strategies import ChunkMax
scored(WordReranker(kill_after=3), ChunkMax(12), many(), Path({cache!r}))
"""


def test_a_run_that_was_killed_scores_nothing_again_that_it_had_finished(tmp_path: Path) -> None:
    script = _KILLED.format(tests=str(Path(__file__).parent), cache=str(tmp_path / "killed"))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    whole, rest = WordReranker(), WordReranker()

    expected, use = scored(whole, ChunkMax(12), many(), tmp_path / "whole")
    scores, left = scored(rest, ChunkMax(12), many(), tmp_path / "killed")

    assert scores == expected
    assert left.inputs_reused == sum(map(len, whole.log[:3]))
    assert left.inputs_scored + left.inputs_reused == use.inputs_scored
    assert pairs_of(rest) == pairs_of(whole)[left.inputs_reused :]


# --- From a name to results


def evaluated(data: Path, out: Path, rerank: str, model: str = "bm25", **options: Any) -> list[Evaluated]:
    card = settled(model_card(model, rerank=rerank))
    chosen = Options(cache=out / "cache", runtime=CPU, **options)
    return list(evaluate_tasks(card, ["qmsum"], "mini", chosen, "test", data=data, out=out))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    documents = {f"d{n}": f"a cat runs {'and sleeps ' * n} . red" for n in range(12)} | {"d12": "nothing"}
    task = small_task({"q1": "red cat", "q2": "sleeps"}, documents, {"q1": {"d3": 1}, "q2": {"d5": 1}})
    write_task(task, path)
    return path


def test_a_reranked_result_says_how_it_came_about_and_stands_beside_its_first_stage(
    data: Path, folder: Path, tmp_path: Path
) -> None:
    head, first = evaluated(data, tmp_path, f"{folder}@5: truncate")

    assert (head.result.model.name, head.result.strategy) == ("rerank(bm25, tiny@5)", "full + truncate(32)")
    assert (first.result.model.name, first.result.strategy) == ("bm25", "full")
    measurement = head.result.measurement
    assert measurement is not None
    record = measurement.rerank
    assert record is not None
    assert (record.first_stage, record.reranker, record.depth, record.pairs) == ("bm25", "tiny", 5, 10)
    assert record.inputs_scored + record.inputs_reused == 10
    assert [part.model for part in measurement.parts] == ["bm25"]
    assert head.result.metrics["recall@100"] == first.result.metrics["recall@100"]

    deeper, same = evaluated(data, tmp_path, f"{folder}@7: truncate")
    assert same.reused
    assert not deeper.reused
    assert deeper.result.measurement is not None
    assert deeper.result.measurement.rerank is not None
    assert deeper.result.measurement.rerank.inputs_reused >= 10
    assert all(one.reused for one in evaluated(data, tmp_path, f"{folder}@5: truncate"))


def test_precision_is_said_of_what_has_a_choice_alone(data: Path, folder: Path, tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", dtype="bfloat16")
    card = model_card("bm25", rerank=f"{folder}@5")

    head, first = evaluate_tasks(card, ["qmsum"], "mini", Options(runtime=runtime), "test", data=data)

    assert (head.result.vector_form, first.result.vector_form) == ("computed in bfloat16", "")
    assert head.result.measurement is not None
    assert head.result.measurement.dtype == "bfloat16, float32"


def test_the_best_of_the_first_stage_are_reordered_and_the_others_stay(
    data: Path, folder: Path, reranker: Reranker, tmp_path: Path
) -> None:
    from loco.pipeline import ordered
    from loco.tasks.data import read_task

    task = read_task(data, "mini", "qmsum")
    rankings = {}
    for depth in (4, 100):
        card = model_card("bm25", rerank=f"{folder}@{depth}")
        strategies = strategies_of(card, None)
        ranker = Models(CPU, VectorForm(), tmp_path).ranker(card)
        rankings[depth] = ordered(ranker.rankings(strategies, task)[strategies[0].name], task, "reranked")
    bm25 = Models(CPU, VectorForm(), tmp_path).ranker(model_card("bm25"))
    first = ordered(bm25.rankings(strategies_of(model_card("bm25"), None), task)["full"], task, "bm25")
    scores, _ = scored(reranker, ChunkMax(WINDOW), task, tmp_path)

    for query in task.queries.ids:
        found = [hit.document for hit in first[query]]
        assert [hit.document for hit in rankings[4][query]][4:] == found[4:]
        assert {hit.document for hit in rankings[4][query][:4]} == set(found[:4])
        for depth in (4, 100):
            best = rankings[depth][query][:depth]
            assert [hit.score for hit in best] == [scores[query][hit.document] for hit in best]
            assert [hit.score for hit in best] == sorted((hit.score for hit in best), reverse=True)


def test_a_fusion_can_be_a_first_stage_and_a_reranking_a_part(data: Path, folder: Path, tmp_path: Path) -> None:
    fused = evaluated(data, tmp_path, f"{folder}@3", "fuse(bm25, hash-512: chunk)")
    assert [one.result.model.name for one in fused] == [
        "rerank(fuse(bm25, hash-512, method=rrf, k=60), tiny@3)",
        "bm25",
        "hash-512",
        "fuse(bm25, hash-512, method=rrf, k=60)",
    ]
    assert fused[0].result.strategy == "(full + chunk(512, overlap=0)) + chunk-max(32, overlap=0)"
    card = model_card(f"fuse(rerank(bm25, {folder}@3), hash-512, method=minmax)")
    (strategy,) = strategies_of(card, None)
    assert strategy.name == "(full + chunk-max(32, overlap=0)) + truncate(512)"


def test_the_baseline_of_the_authors_has_a_name() -> None:
    card = model_card("bm25-bge-reranker")

    assert card.name == "bm25-bge-reranker"
    assert card.parameters["depth"] == 20
    assert [one.name for one in strategies_of(card, None)] == ["full + truncate(512)"]
    assert settled(card) == card
    with pytest.raises(LocoError, match=r"No part of .* is free to be run under truncate"):
        strategies_of(card, "truncate")


CARDS = read_model_cards(Path(__file__).parents[1] / "adapters" / "cross_encoder" / "cards.toml")


@pytest.mark.parametrize("card", [card for card in CARDS if card.reranks], ids=lambda card: card.name)
def test_a_rerankers_card_is_pinned_and_in_the_table_of_facts(card: ModelCard) -> None:
    table = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| `{card.name}` |")]

    assert parameters_of(card).remote_code is False
    assert card.url == f"https://huggingface.co/{card.parameters['hub']}"
    assert re.fullmatch(r"[0-9a-f]{40}", card.revision)
    assert card.revision[:8] in row
    assert reranker_card(card.name) == reranker_card(str(card.parameters["hub"])) == shown_card(card.name) == card


def test_every_card_that_is_a_reranker_says_so_and_every_preset_can_be_read() -> None:
    for card in CARDS:
        assert card.reranks == (card.family == "cross-encoder")
        if not card.reranks:
            assert strategies_of(model_card(card.name), None)

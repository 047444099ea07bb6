"""Dense retrieval from end to end: one pass for several strategies, batches, resuming, and what is refused."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path

import numpy as np
import pytest
from encoders import WordEncoder, Words
from hypothesis import given
from hypothesis import strategies as st
from tasks import small_task

from loco.encode.batching import Job, batches, encoded
from loco.encode.dense import rank_dense
from loco.encode.encoding import count_tokens, encode_texts
from loco.encode.forms import VectorForm, form_named
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy, parse
from loco.errors import BadText, LocoError
from loco.models.protocols import EncoderTraits, Input, Role
from loco.rank.ranking import Float32, Ranking
from loco.tasks.data import TaskData, Texts

ALL = ("truncate", "chunk(6, overlap=1)", "chunk-max(6)", "late-chunk(6)")


def a_task(documents: int = 30, queries: int = 5) -> TaskData:
    """Documents of up to 60 words, a query for each of the first ones; some documents are the same, one is empty."""
    chance = random.Random(0)
    texts = {
        f"d{i}": " ".join(f"w{chance.randrange(40)}" for _ in range(chance.randrange(60))) for i in range(documents)
    }
    texts |= {"twin1": "w1 w2 w3", "twin2": "w1 w2 w3", "empty": "", "blank": " \n "}
    asked = {f"q{i}": " ".join(texts[f"d{i}"].split()[: 5 + 10 * i]) or "w0" for i in range(queries)}
    return small_task(asked, texts, {query: {f"d{query[1:]}": 1} for query in asked})


def ranked(
    encoder: WordEncoder,
    folder: Path,
    strategies: Sequence[str] = ALL,
    task: TaskData | None = None,
    form: VectorForm | None = None,
) -> dict[str, Ranking]:
    parsed = [parse(name, encoder.window) for name in strategies]
    return rank_dense(encoder, parsed, task or a_task(), 100, EmbeddingStore(folder), form or VectorForm())


def naive(encoder: WordEncoder, strategy: Strategy, text: str, role: str) -> list[Float32]:
    """The vectors of a text by the words of the definition, each piece alone."""
    front = [2, 3] if role == "query" else [2]
    ids = encoder.ids(text).tolist()
    size = encoder.window if strategy.name.startswith("truncate") else 6
    step = size - len(front) - 1 - (1 if "overlap=1" in strategy.name else 0)
    pieces = [ids[i : i + size - len(front) - 1] for i in range(0, len(ids), step)]
    if "overlap=1" in strategy.name and len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces.pop()  # it holds nothing but the overlap
    if strategy.name.startswith("truncate"):
        pieces = pieces[:1]
    return [encoder.vector(np.array([*front, *piece, 1], dtype=np.int32)) for piece in pieces]


@pytest.mark.parametrize("name", ["truncate(12)", "chunk(6, overlap=1)", "chunk-max(6, overlap=0)"])
def test_scores_are_those_of_the_definition(name: str, tmp_path: Path) -> None:
    encoder, task = WordEncoder(), a_task()
    strategy = parse(name, 12)
    hits = ranked(encoder, tmp_path, [name], task)[name].hits
    for query, text in task.queries:
        found = {hit.document: hit.score for hit in hits[query]}
        theirs = naive(encoder, strategy, text, "query")
        for document, content in task.documents:
            ours = naive(encoder, strategy, content, "document")
            if not ours:
                assert document not in found
                continue
            pairs = [(a, b) for a in theirs for b in ours]
            if strategy.pooled:
                pairs = [(np.mean(theirs, axis=0), np.mean(ours, axis=0))]
            best = max(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs)
            assert found[document] == pytest.approx(best, abs=1e-5)


def test_late_chunks_of_a_text_that_is_one_piece_are_truncation(tmp_path: Path) -> None:
    task = small_task({"q": "w1 w2"}, {"d1": "w1 w3", "d2": "w2 w4 w5"}, {"q": {"d1": 1}})
    found = ranked(WordEncoder(), tmp_path, ["truncate", "late-chunk"], task)
    late, cut = found["late-chunk(12, overlap=0)"], found["truncate(12)"]
    assert late.hits == cut.hits


def test_several_strategies_cost_one_pass_over_the_pieces(tmp_path: Path) -> None:
    together = WordEncoder()
    ranked(together, tmp_path / "together", ["truncate(6)", "chunk(6)", "chunk-max(6)"])
    alone = WordEncoder()
    ranked(alone, tmp_path / "alone", ["chunk(6)"])
    assert sum(map(len, together.log)) == sum(map(len, alone.log))
    keys = [key for batch in together.log for one in batch for key in one.vector_keys()]
    assert len(keys) == len(set(keys))


def test_what_is_stored_is_not_encoded_again_whatever_the_strategy(tmp_path: Path) -> None:
    ranked(WordEncoder(), tmp_path, ["chunk(6)"])
    again = WordEncoder()
    found = ranked(again, tmp_path, ["chunk-max(6)", "truncate(6)", "chunk(6)"])
    assert again.log == []
    uses = [ranking.vectors for ranking in found.values() if ranking.vectors is not None]
    assert [(use.inputs_encoded, use.tokens_encoded) for use in uses] == [(0, 0)] * 3
    assert min(use.inputs_reused for use in uses) > 50


def test_what_is_the_same_in_many_texts_does_not_count_as_stored_before(tmp_path: Path) -> None:
    texts = {f"d{i}": " ".join(f"w{j % 7}" for j in range(400 + i)) for i in range(30)}
    task = small_task({"q": "w1"}, texts, {"q": {"d1": 1}})
    encoder = WordEncoder()  # with batches so small that the texts are prepared in several groups
    use = ranked(encoder, tmp_path, ["chunk(5)"], task)["chunk(5, overlap=0)"].vectors
    assert use is not None
    assert (use.inputs_encoded, use.inputs_reused) == (sum(map(len, encoder.log)), 0)


@pytest.mark.parametrize(
    "changed",
    [WordEncoder(fingerprint="other"), WordEncoder(window=11), WordEncoder(dim=4)]
    + [WordEncoder() for _ in ("dtype", "device", "padding")],
    ids=["model", "window", "dim", "dtype", "device", "padding"],
)
def test_a_changed_encoder_reuses_nothing(changed: WordEncoder, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    part = request.node.callspec.id
    other = {"dtype": "float16", "device": "cuda", "padding": "window"}
    if part in other:
        changed.traits = replace(changed.traits, **{part: other[part]})
    ranked(WordEncoder(), tmp_path, ["chunk(6)"])
    ranked(changed, tmp_path, ["chunk(6)"])
    fresh = WordEncoder()
    ranked(fresh, tmp_path / "fresh", ["chunk(6)"])
    assert sum(map(len, changed.log)) >= sum(map(len, fresh.log))


def test_a_changed_text_or_role_reuses_nothing(tmp_path: Path) -> None:
    first = small_task({"q": "w1 w2"}, {"d": "w3 w4"}, {"q": {"d": 1}})
    ranked(WordEncoder(), tmp_path, ["truncate"], first)
    changed = WordEncoder()
    ranked(changed, tmp_path, ["truncate"], small_task({"q": "w3 w4"}, {"d": "w1 w2"}, {"q": {"d": 1}}))
    assert sum(map(len, changed.log)) == 2


def test_how_much_was_seen_is_counted_to_the_token(tmp_path: Path) -> None:
    task = small_task(
        {"q": " ".join(["w"] * 30)}, {"d1": "a b c", "d2": " ".join("abcdefghijklmnop"), "d3": ""}, {"q": {"d1": 1}}
    )
    found = ranked(WordEncoder(window=12), tmp_path, ["truncate", "truncate(6)", "chunk(6)"], task)
    seen = {name: ranking.coverage for name, ranking in found.items()}
    documents = {name: coverage.documents for name, coverage in seen.items() if coverage}
    queries = {name: coverage.queries for name, coverage in seen.items() if coverage}
    assert [documents[name].tokens for name in found] == [19, 19, 19]
    assert [documents[name].tokens_seen for name in found] == [3 + 10, 3 + 4, 19]
    assert [documents[name].texts_cut for name in found] == [1, 1, 0]
    assert [documents[name].texts_empty for name in found] == [1, 1, 1]
    assert [queries[name].tokens_seen for name in found] == [9, 3, 30]


def test_identical_documents_tie_and_fall_by_id(tmp_path: Path) -> None:
    task = small_task({"q": "w1 w2 w3"}, {f"d{i}": "w1 w2 w3" for i in range(12)}, {"q": {"d1": 1}})
    hits = ranked(WordEncoder(), tmp_path, ["chunk(4)"], task)["chunk(4, overlap=0)"].hits["q"]
    assert len({hit.score for hit in hits}) == 1
    assert [hit.document for hit in hits] == sorted(task.documents.ids, reverse=True)


@given(st.lists(st.integers(1, 12), max_size=60), st.integers(1, 60), st.booleans())
def test_batches_hold_every_job_once_within_the_budget(lengths: list[int], budget: int, fixed: bool) -> None:
    traits = EncoderTraits("", 1, 12, batch_tokens=budget, padding="window" if fixed else "longest")
    jobs = [Job(Input(np.zeros(n, dtype=np.int32), n, "document"), (b"",), i) for i, n in enumerate(lengths)]
    made = list(batches(jobs, traits))
    assert sorted(job.text for batch in made for job in batch) == list(range(len(jobs)))
    for batch in made:
        longest = 12 if fixed else max(job.input.tokens for job in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
    sizes = [job.input.tokens for batch in made for job in batch]
    assert sizes == sorted(sizes, reverse=True)


def test_a_batch_that_does_not_fit_into_memory_is_halved_until_it_does(tmp_path: Path) -> None:
    scarce = WordEncoder(memory=14)
    plain = WordEncoder()
    assert ranked(scarce, tmp_path / "a")["truncate(12)"].hits == ranked(plain, tmp_path / "b")["truncate(12)"].hits
    assert max(sum(one.tokens for one in batch) for batch in scarce.log) <= 14


def test_an_input_that_never_fits_is_named_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    long = {"long": " ".join(["w"] * 9)}
    task = small_task({"q": "w1"}, {"short": "w1"} | long, {"q": {"short": 1}})
    with pytest.raises(LocoError, match=r"11 tokens, as of document 'long', does not fit .* 'chunk\(5\)'"):
        ranked(WordEncoder(memory=8, batch_tokens=11), tmp_path, ["truncate"], task)


class Broken(WordEncoder):
    """Returns something wrong for the document that holds w7."""

    wrong: Float32 | None = None

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        (bad,) = self.ids("w7").tolist()
        vectors = super().encode(inputs)
        assert self.wrong is not None
        return [self.wrong if bad in np.asarray(i.content) else v for i, v in zip(inputs, vectors, strict=True)]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (np.full((1, 8), np.nan), "holds NaN or infinity for document 'bad'"),
        (np.full((1, 8), np.inf), "holds NaN or infinity for document 'bad'"),
        (np.zeros((1, 8)), "is zero for document 'bad'"),
        (np.ones((1, 7)), r"other shapes than announced: .*\(1, 7\)"),
        (np.ones(8), r"other shapes than announced: .*\(8,\)"),
    ],
)
def test_a_vector_that_is_none_is_an_error_that_names_the_text(wrong: Float32, line: str, tmp_path: Path) -> None:
    encoder = Broken()
    encoder.wrong = wrong.astype(np.float32)
    task = small_task({"q": "w1"}, {"good": "w1 w2", "bad": "w6 w7"}, {"q": {"good": 1}})
    with pytest.raises(LocoError, match=line) as caught:
        ranked(encoder, tmp_path, ["truncate"], task)
    assert "\n" not in str(caught.value)


class Choosy(WordEncoder):
    """Refuses texts with a lone surrogate, as tokenizers do."""

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> list[Words]:
        for index, text in enumerate(texts):
            if "\ud800" in text:
                raise BadText(index, "holds a lone surrogate (U+D800)")
        return super().tokenize(texts, role, limit)


@pytest.mark.parametrize("bad", [1, 20, 69])
@pytest.mark.parametrize("role", ["query", "document"])
def test_a_text_that_cannot_be_read_is_named_by_its_id(role: Role, bad: int, tmp_path: Path) -> None:
    ids = tuple(f"t{place}" for place in range(70))
    contents = ["w1 " * place + "\ud800" * (place == bad) for place in range(70)]
    line = rf"^The {role} 't{bad}' holds a lone surrogate \(U\+D800\). Mend it or leave it out.$"
    texts, encoder = Texts(ids, contents), Choosy(batch_tokens=12)
    with EmbeddingStore(tmp_path).space({"model": "m"}, encoder.dim) as space, pytest.raises(LocoError, match=line):
        encode_texts(encoder, texts, role, [parse("chunk", encoder.window)], space)
    places = [place for place in range(70) if place % 2 == bad % 2]
    with pytest.raises(LocoError, match=line):
        count_tokens(encoder, texts, role, places)


def test_late_chunking_is_refused_where_the_model_does_not_average(tmp_path: Path) -> None:
    encoder = WordEncoder()
    encoder.traits = replace(encoder.traits, spans=False)
    with pytest.raises(LocoError, match=r"late-chunk\(12, overlap=0\) needs a model that averages"):
        ranked(encoder, tmp_path, ["late-chunk"])


def test_a_prompt_that_fills_the_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="no room for text"):
        ranked(WordEncoder(window=2), tmp_path, ["truncate"])


def test_concurrent_batches_give_the_same_ranking(tmp_path: Path) -> None:
    assert ranked(WordEncoder(), tmp_path / "a")["chunk(6, overlap=1)"].hits == (
        ranked(WordEncoder(concurrency=4), tmp_path / "b")["chunk(6, overlap=1)"].hits
    )


def test_vectors_cut_and_quantised_are_what_is_ranked(tmp_path: Path) -> None:
    encoder, task = WordEncoder(dim=8), a_task()
    whole = ranked(encoder, tmp_path, ["chunk(6)"], task)["chunk(6, overlap=0)"]
    cut = ranked(encoder, tmp_path, ["chunk(6)"], task, VectorForm(dim=4))["chunk(6, overlap=0)"]
    small = ranked(encoder, tmp_path, ["chunk(6)"], task, VectorForm(dim=4, precision="int8"))["chunk(6, overlap=0)"]
    bits = ranked(encoder, tmp_path, ["chunk-max(6)"], task, VectorForm(precision="binary"))["chunk-max(6, overlap=0)"]
    assert whole.vectors is not None
    assert cut.vectors is not None
    assert small.vectors is not None
    assert bits.vectors is not None
    with_vectors = len([text for text in task.documents.texts if text.split()]) / len(task.documents)
    assert whole.vectors.bytes_per_document == pytest.approx(32 * with_vectors, abs=0.01)
    assert cut.vectors.bytes_per_document == pytest.approx(16 * with_vectors, abs=0.01)
    assert small.vectors.bytes_per_document == pytest.approx(4 * with_vectors, abs=0.01)
    pieces = sum(-(-len(text.split()) // 4) for text in task.documents.texts)
    assert bits.vectors.bytes_per_document == pytest.approx(pieces / len(task.documents), abs=0.01)
    scores = [{hit.document: hit.score for hit in ranking.hits["q1"]} for ranking in (whole, cut, small)]
    assert scores[0] != scores[1]
    assert max(abs(scores[1][name] - scores[2][name]) for name in scores[1]) < 0.02
    assert encoder.log


@pytest.mark.parametrize(
    ("precision", "dim", "says", "line"),
    [
        ("int4", None, "", "No precision 'int4'. Did you mean 'int8'"),
        ("float32", 64, "", "does not say that its vectors can be cut"),
        ("float32", 100, "64,128", "cannot be cut to 100. Lengths its authors name: 64,128"),
        ("float32", 2048, "32-1024", "cannot be cut to 2048"),
    ],
)
def test_a_form_the_model_does_not_have_is_refused(precision: str, dim: int, says: str, line: str) -> None:
    card = WordEncoder().card.model_copy(update={"parameters": {"matryoshka": says} if says else {}})
    with pytest.raises(LocoError, match=line):
        form_named(precision, dim, card)


def test_a_form_is_named_by_what_it_changes() -> None:
    card = WordEncoder().card.model_copy(update={"parameters": {"matryoshka": "64,128"}})
    names = [
        form_named(precision, dim, card).name for precision, dim in (("float32", None), ("int8", 64), ("binary", None))
    ]
    assert names == ["", "dim=64, int8", "binary"]


# --- Kills -----------------------------------------------------------------------------------------------------------


class Slow(WordEncoder):
    """Takes a moment for each batch, so that a kill finds it at work."""

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        vectors = super().encode(inputs)
        time.sleep(0.002)
        return vectors


def _run(folder: Path) -> None:
    found = ranked(Slow(journal=folder / "journal"), folder / "store", task=a_task(100))
    (folder / "result").write_text(repr({name: ranking.hits for name, ranking in found.items()}))


def test_a_run_killed_at_random_moments_goes_on_without_repeating_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # Python before 3.13 preloads nothing without
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])

    def start(folder: Path) -> Process:
        folder.mkdir(exist_ok=True)
        process = processes.Process(target=_run, args=(folder,))
        process.start()
        return process

    def end(process: Process) -> int | None:
        process.join()
        return process.exitcode

    assert end(start(tmp_path / "whole")) == 0
    planned = _lines(tmp_path / "whole" / "journal")
    chance = random.Random(1)
    for _ in range(20):
        before = len(_lines(tmp_path / "killed" / "journal"))
        process = start(tmp_path / "killed")
        while len(_lines(tmp_path / "killed" / "journal")) == before and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.random() * 0.015)
        process.kill()
        assert end(process) == -signal.SIGKILL, "the run is too short to be killed so often"
    assert end(start(tmp_path / "killed")) == 0
    done = _lines(tmp_path / "killed" / "journal")
    # A kill costs what was not finished: the batch being computed, and the one that was about to be stored.
    assert set(done) == set(planned)
    assert len(done) <= len(planned) + 2 * 20
    assert (tmp_path / "killed" / "result").read_text() == (tmp_path / "whole" / "result").read_text()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_an_interrupt_keeps_the_batches_under_way(tmp_path: Path) -> None:
    class Interrupted(WordEncoder):
        def encode(self, inputs: Sequence[Input]) -> list[Float32]:
            vectors = super().encode(inputs)
            if len(self.log) in (5, 30):  # again should the first one strike where Python drops it, as in a gc callback
                os.kill(os.getpid(), signal.SIGINT)
            return vectors

    first = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        ranked(first, tmp_path, ["chunk(6)"])
    again = WordEncoder()
    ranked(again, tmp_path, ["chunk(6)"])
    done = [key for batch in first.log for one in batch for key in one.vector_keys()]
    assert len(first.log) >= 5
    assert not set(done) & {key for batch in again.log for one in batch for key in one.vector_keys()}


def test_an_answer_of_the_wrong_length_is_refused() -> None:
    class Short(WordEncoder):
        def encode(self, inputs: Sequence[Input]) -> list[Float32]:
            return super().encode(inputs)[:-1]

    one = Input(np.array([2, 11, 1], dtype=np.int32), 3, "document")
    with pytest.raises(LocoError, match="other shapes than announced: 1 of"):
        encoded(Short(), [one, one])

"""Late interaction from end to end with an encoder that is nothing but its contract: bags, coverage, resuming."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path

import numpy as np
import pytest
from encoders import WordEncoder, Words
from tasks import small_task

from loco.encode.forms import VectorForm
from loco.encode.late import rank_late
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import parse
from loco.errors import LocoError
from loco.models.protocols import Input, Role, Span, TokenIds
from loco.pipeline import RankingModel
from loco.rank.ranking import Float32, Ranking
from loco.tasks.data import TaskData

ALL = ("truncate", "chunk(8, overlap=1)")


@dataclass(frozen=True)
class BagWords(Words):
    """A text's words, of which some do not count."""

    def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
        one = super().input(start, stop, spans)
        return replace(one, bag=len(counted(one)))


def counted(one: Input) -> TokenIds:
    """The tokens that become a vector: not those at the ends, nor any word whose id is a multiple of three."""
    assert not isinstance(one.content, str)
    return one.content[(one.content > 9) & (one.content % 3 > 0)]


@dataclass
class TokenEncoder(WordEncoder):
    """Each word that counts a fixed random vector."""

    query_window: int | None = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        self.traits = replace(self.traits, spans=False, token_vectors=True, query_tokens=self.query_window)

    def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> list[Words]:
        return [BagWords(one.ids, one.role, one.prompt) for one in super().tokenize(texts, role, limit)]

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        super().encode(inputs)
        return [rows_of(counted(one).tolist(), self.dim) for one in inputs]


def rows_of(ids: Sequence[int], dim: int) -> Float32:
    rows = [np.random.default_rng(i).standard_normal(dim) for i in ids]
    return np.array(rows, dtype=np.float32).reshape(len(rows), dim)


def a_task(documents: int = 30, queries: int = 5) -> TaskData:
    """Documents of up to 60 words; some are the same, some empty, and no word of "none" counts."""
    chance = random.Random(0)
    texts = {
        f"d{i}": " ".join(f"w{chance.randrange(40)}" for _ in range(chance.randrange(60))) for i in range(documents)
    }
    silent = next(f"w{i}" for i in range(40) if WordEncoder().ids(f"w{i}")[0] % 3 == 0)
    texts |= {"twin1": "w1 w2 w4", "twin2": "w1 w2 w4", "empty": "", "blank": " \n ", "none": silent}
    asked = {f"q{i}": " ".join(texts[f"d{i}"].split()[: 3 + 10 * i]) or "w1" for i in range(queries)}
    qrels = {query: {f"d{query[1:]}": 1} for query in asked} | {"silent": {"none": 1}}
    return small_task(asked | {"silent": silent}, texts, qrels)


def ranked(
    encoder: TokenEncoder, folder: Path, strategies: Sequence[str] = ALL, task: TaskData | None = None
) -> dict[str, Ranking]:
    parsed = [parse(name, encoder.window) for name in strategies]
    return rank_late(encoder, parsed, task or a_task(), 100, EmbeddingStore(folder))


@pytest.mark.parametrize("name", ["truncate(12)", "truncate(5)", "chunk(8, overlap=1)", "chunk(12, overlap=0)"])
def test_a_text_is_all_its_inputs_token_vectors_together(name: str, tmp_path: Path) -> None:
    encoder, task = TokenEncoder(), a_task()
    size, overlap = int(name.split("(")[1].split(",")[0].rstrip(")")), "overlap=1" in name

    def bag(text: str, role: Role) -> Float32:
        ids = encoder.ids(text).tolist()
        left = min(size, encoder.window if role == "document" else 7) - encoder.overhead(role)
        starts = range(0, max(len(ids) - overlap, 1), left - overlap) if name.startswith("chunk") else [0]
        read = [one for start in starts for one in ids[start : start + left]]
        return rows_of([one for one in read if one % 3], encoder.dim)

    ranking = ranked(encoder, tmp_path, [name], task)[name]
    documents = {identifier: bag(text, "document") for identifier, text in task.documents}
    for identifier, text in task.queries:
        query = bag(text, "query")
        scores = {
            other: float((query.astype(np.float64) @ rows.T).max(axis=1).sum())
            for other, rows in documents.items()
            if len(rows) and len(query)
        }
        hits = ranking.hits[identifier]
        assert {hit.document: hit.score for hit in hits} == pytest.approx(scores, rel=1e-6)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert ranking.vectors is not None
    stored = sum(map(len, documents.values()))
    assert ranking.vectors.bytes_per_document == round(4 * encoder.dim * stored / len(documents), 2)
    assert (ranking.vectors.similarity, ranking.vectors.dim) == ("maxsim", encoder.dim)


def test_texts_that_are_the_same_tie_and_what_has_no_vector_is_not_found(tmp_path: Path) -> None:
    for ranking in ranked(TokenEncoder(), tmp_path).values():
        for query, hits in ranking.hits.items():
            assert not {"empty", "blank", "none"} & {hit.document for hit in hits}
            assert bool(hits) == (query != "silent")
            scores = {hit.document: hit.score for hit in hits}
            assert scores.get("twin1") == scores.get("twin2")


def test_how_much_was_seen_is_counted_to_the_token_for_each_window(tmp_path: Path) -> None:
    encoder, task = TokenEncoder(), a_task()
    lengths = {"queries": [len(text.split()) for text in task.queries.texts]}
    lengths["documents"] = [len(text.split()) for text in task.documents.texts]
    for name, ranking in ranked(encoder, tmp_path, task=task).items():
        for role, room in (("queries", 7 - 3), ("documents", 12 - 2)):
            assert ranking.coverage is not None
            coverage = getattr(ranking.coverage, role)
            seen = [min(count, room) if name.startswith("truncate") else count for count in lengths[role]]
            assert list(coverage.by_text) == list(zip(lengths[role], seen, strict=True))
            assert coverage.texts_cut == sum(part < all for part, all in zip(seen, lengths[role], strict=True))
            assert coverage.tokens_seen == sum(seen)


def test_what_is_stored_is_not_encoded_again_and_counts_as_reused(tmp_path: Path) -> None:
    ranked(TokenEncoder(), tmp_path)
    again = TokenEncoder()
    (ranking,) = ranked(again, tmp_path, ["truncate"]).values()
    assert not again.log
    assert ranking.vectors is not None
    assert ranking.vectors.inputs_encoded == 0
    assert ranking.vectors.inputs_reused > 30


def test_an_input_of_which_other_tokens_count_is_another_bag() -> None:
    ids = np.arange(5, dtype=np.int32)
    keys = [tuple(Input(ids, 5, "document", bag=bag).vector_keys()) for bag in (None, 3, 4)]
    assert len(set(keys)) == 3


def test_a_damaged_vector_costs_its_own_bag_and_changes_no_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ranked(TokenEncoder(), tmp_path)
    (path,) = tmp_path.glob("*/0000.npy")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    again = TokenEncoder()
    assert {name: one.hits for name, one in ranked(again, tmp_path).items()} == {n: r.hits for n, r in before.items()}
    assert sum(map(len, again.log)) == 1
    assert "1 of its" in capsys.readouterr().err


def test_a_window_without_room_for_a_query_is_refused_before_a_document_is_read(tmp_path: Path) -> None:
    encoder = TokenEncoder(query_window=3)
    with pytest.raises(LocoError, match=r"window of model 'words' is 3 tokens, and the query prompt .* takes 3"):
        ranked(encoder, tmp_path)
    assert not encoder.log


def test_pieces_of_a_query_that_never_advance_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="an overlap of 5 never ends in pieces of 4 tokens"):
        ranked(TokenEncoder(), tmp_path, ["chunk(12, overlap=5)"])


@pytest.mark.parametrize("form", [VectorForm(dim=4), VectorForm(precision="int8")])
def test_token_vectors_are_made_no_smaller(form: VectorForm, tmp_path: Path) -> None:
    with pytest.raises(LocoError, match=r"a vector for each token.*leave out --dim and --quantise"):
        RankingModel(TokenEncoder(), form, tmp_path)


@pytest.mark.parametrize(("wrong", "line"), [(np.nan, "holds NaN or infinity"), (0.0, "is zero")])
def test_a_vector_that_is_none_is_an_error_that_names_the_text(wrong: float, line: str, tmp_path: Path) -> None:
    class Broken(TokenEncoder):
        def encode(self, inputs: Sequence[Input]) -> list[Float32]:
            vectors = super().encode(inputs)
            for one, rows in zip(inputs, vectors, strict=True):
                if one.role == "document" and 10 + sum(b"odd") * 31 % 5000 in one.content:
                    rows[-1] = wrong
            return vectors

    assert (10 + sum(b"odd") * 31 % 5000) % 3
    task = small_task({"q1": "w1", "q2": "w2"}, {"d1": "w1 w2 w4 w5 w7 w8", "d2": "w1 odd", "d3": "w2"})
    with pytest.raises(LocoError, match=f"returned a vector that {line} for document 'd2'"):
        ranked(Broken(), tmp_path, task=task)


# --- Kills -----------------------------------------------------------------------------------------------------------


class Slow(TokenEncoder):
    """Takes a moment for each batch, so that a kill finds it at work."""

    def encode(self, inputs: Sequence[Input]) -> list[Float32]:
        vectors = super().encode(inputs)
        time.sleep(0.002)
        return vectors


def _run(folder: Path) -> None:
    found = ranked(Slow(journal=folder / "journal"), folder / "store", task=a_task(60))
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

    def lines(name: str) -> list[str]:
        path = tmp_path / name / "journal"
        return path.read_text().splitlines() if path.exists() else []

    assert end(start(tmp_path / "whole")) == 0
    chance = random.Random(1)
    for _ in range(4):
        before = len(lines("killed"))
        process = start(tmp_path / "killed")
        while len(lines("killed")) == before and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.random() * 0.01)
        process.kill()
        assert end(process) == -signal.SIGKILL, "the run is too short to be killed so often"
    assert end(start(tmp_path / "killed")) == 0
    # A kill costs what was not finished: the batch being computed, and the one that was about to be stored.
    assert set(lines("killed")) == set(lines("whole"))
    assert len(lines("killed")) <= len(lines("whole")) + 2 * 4
    assert (tmp_path / "killed" / "result").read_text() == (tmp_path / "whole" / "result").read_text()

"""Timing: what is timed is what is said, and the file says all of it. No test here looks at a clock."""

from __future__ import annotations

import io
import itertools
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from checkpoints import minilm
from encoders import WordEncoder, Words
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import small_task

from loco.encode.dense import rank_dense
from loco.encode.forms import VectorForm
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import parse
from loco.errors import LocoError
from loco.models.protocols import Input, Role, Span
from loco.models.registry import load_model, model_card
from loco.models.runtime import Runtime
from loco.rank.ranking import Float32
from loco.report.speed import print_speeds
from loco.results import read_record
from loco.results.speed import SpeedResult
from loco.speed import DEFAULT_REPEATS, DEFAULT_TOKENS, SpeedOptions, lengths_in, measure_speed
from loco.speed.bar import steps
from loco.speed.gpus import Gpus, gpus_of
from loco.speed.text import text_of

OVERHEAD = 2  # of a document, for WordEncoder


@dataclass
class Bench:
    """A folder for results and the encoder that is found behind the card."""

    out: Path
    monkeypatch: pytest.MonkeyPatch
    encoder: Any = field(default_factory=WordEncoder)

    def measured(self, *tokens: int, strategies: str = "chunk", repeats: int = 3, command: str = "loco speed") -> Any:
        self.monkeypatch.setattr("loco.speed.measure.load_model", lambda *_: self.encoder)
        options = SpeedOptions(tokens, repeats, strategies)
        return measure_speed(self.encoder.card, options, command, out=self.out)

    def result(self, *tokens: int, **more: Any) -> SpeedResult:
        *_, last = self.measured(*tokens, **more)
        read = read_record(last.path)
        assert isinstance(read, SpeedResult)
        assert last.result.rows == tuple(row for row in read.rows if row.tokens in tokens)
        return read


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path / "results", monkeypatch)


# What is timed


@given(st.integers(min_value=1, max_value=200), st.integers(min_value=0, max_value=190))
def test_a_text_has_exactly_the_tokens_asked_for_and_begins_like_every_other(tokens: int, fewer: int) -> None:
    encoder = WordEncoder()
    text = text_of(encoder, tokens, "document")
    assert encoder.tokenize([text], "document")[0].tokens == tokens
    assert text == text_of(encoder, tokens, "document")
    assert text.startswith(text_of(encoder, max(tokens - fewer, 1), "document"))


class Characters(WordEncoder):
    """A token a character, blanks too."""

    def ids(self, text: str) -> Any:
        return np.array([ord(sign) for sign in text], dtype=np.int32)


class Sevens(WordEncoder):
    """Seven tokens a word, and no way to make fewer."""

    def ids(self, text: str) -> Any:
        return np.repeat(super().ids(text), 7)


@given(st.integers(min_value=1, max_value=300))
def test_a_text_is_exact_where_words_are_of_several_tokens(tokens: int) -> None:
    assert len(text_of(Characters(), tokens, "document")) == tokens


def test_a_tokenizer_that_cannot_make_the_length_is_told_in_one_line() -> None:
    assert text_of(Sevens(), 14, "document")
    with pytest.raises(LocoError, match=r"^No text of exactly 15 tokens was found for the tokenizer of 'words'.*\.$"):
        text_of(Sevens(), 15, "document")


def test_a_length_counts_windows_with_prompt_and_special_tokens(bench: Bench) -> None:
    rows = bench.result(12, 13, 17, 24).rows
    said = [(row.tokens, row.text_tokens, row.inputs, row.tokens_read) for row in rows]
    assert said == [(12, 10, 1, 12), (13, 10, 1, 12), (17, 13, 2, 17), (24, 20, 2, 24)]
    assert all(row.text_tokens_seen == row.text_tokens for row in rows)
    assert {one.role for batch in bench.encoder.log for one in batch} == {"document"}


def test_a_length_is_exact_where_a_full_window_has_fewer_special_tokens(bench: Bench) -> None:
    @dataclass(frozen=True)
    class Cut:
        text: Words
        tokens: int

        def input(self, start: int, stop: int, spans: Sequence[Span] = ()) -> Input:
            content = self.text.input(start, stop).content[:12]
            return Input(content, len(content), "document")

    class CutsItsLastToken(WordEncoder):
        def overhead(self, role: Role) -> int:
            return OVERHEAD - 1

        def tokenize(self, texts: Sequence[str], role: Role, limit: int | None = None) -> Any:
            return [Cut(text, text.tokens) for text in super().tokenize(texts, role, limit)]

    bench.encoder = CutsItsLastToken()
    rows = bench.result(3, 11, 12, 24, 27, strategies="chunk").rows
    assert [(row.text_tokens, row.tokens_read) for row in rows] == [(1, 3), (9, 11), (11, 12), (22, 24), (23, 27)]
    with pytest.raises(LocoError, match="no room"):
        list(bench.measured(2))


def test_truncation_reads_the_window_and_says_so(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench.result(12, 102, strategies="truncate", repeats=4)
    row = result.rows[1]
    assert (row.tokens, row.text_tokens, row.text_tokens_seen, row.tokens_read) == (102, 84, 10, 12)
    assert [sum(one.tokens for one in batch) for batch in bench.encoder.log] == [12] * 2 * 5
    assert row.seconds is not None
    assert row.tokens_per_second == pytest.approx(12 / row.seconds)
    print_speeds([result])
    assert "102 tokens: 88.1% of the text were never read." in (told := capsys.readouterr().out)
    assert told.count("text cut") == 1


@settings(max_examples=25)
@given(st.integers(min_value=4, max_value=80), st.integers(min_value=0, max_value=4))
def test_every_pass_reads_what_the_row_says(tokens: int, overlap: int) -> None:
    encoder = WordEncoder(window=9)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("loco.speed.measure.load_model", lambda *_: encoder)
        options = SpeedOptions((tokens,), 1, f"chunk(9, overlap={overlap})")
        (measured,) = measure_speed(encoder.card, options, "loco speed")
    assert measured.path is None
    (row,) = measured.result.rows
    half = len(encoder.log) // 2
    for batches in (encoder.log[:half], encoder.log[half:]):  # the first pass and the other one
        assert len(batches) == row.batches
        assert sum(len(batch) for batch in batches) == row.inputs
        assert sum(one.tokens for batch in batches for one in batch) == row.tokens_read
        assert sum(len(batch) * max(one.tokens for one in batch) for batch in batches) == row.tokens_computed
    if not overlap:
        assert row.tokens_read == (tokens - tokens % 9 if tokens % 9 <= OVERHEAD else tokens)


def test_padding_to_the_window_is_counted_apart(bench: Bench) -> None:
    bench.encoder.traits = replace(bench.encoder.traits, padding="window")
    (row,) = bench.result(15).rows
    assert (row.inputs, row.tokens_read, row.tokens_computed) == (2, 15, 24)


def test_equal_pieces_are_all_encoded(bench: Bench) -> None:
    class Monotonous(WordEncoder):
        def ids(self, text: str) -> Any:
            return np.full(len(text.split()), 7, dtype=np.int32)

    bench.encoder = Monotonous()
    (row,) = bench.result(42, repeats=2).rows
    assert row.inputs == 4
    assert sum(len(batch) for batch in bench.encoder.log) == 4 * 3


def test_the_embedding_store_serves_nothing_and_keeps_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCO_HOME", str(tmp_path / "home"))
    text = text_of(bench.encoder, 24, "document")
    task, store = small_task(documents={"d1": text, "d2": "other"}), EmbeddingStore(tmp_path / "home" / "embeddings")
    rank_dense(bench.encoder, [parse("chunk", 12)], task, 10, store, VectorForm())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert before
    bench.encoder.log.clear()
    (row,) = bench.result(30, repeats=2).rows
    assert (row.inputs, row.text_tokens) == (3, 24)
    assert sum(len(batch) for batch in bench.encoder.log) == 3 * 3
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*") if path.is_file()}


def test_the_real_minilm_is_timed_on_the_tokens_it_counts_itself(bench: Bench) -> None:
    card = model_card(str(minilm()))
    bench.encoder = load_model(card, Runtime(device="cpu"))
    done = list(bench.measured(128, 400, strategies="truncate,chunk(256)", repeats=1))
    assert [[row.tokens for row in each.result.rows] for each in done] == [[128], [128, 400], [128], [128, 400]]
    truncated, chunked = done[1].result, done[3].result
    assert [row.tokens_read for row in truncated.rows] == [128, 256]
    assert [row.tokens_read for row in chunked.rows] == [128, 400]
    assert truncated.threads is not None
    assert "torch" in truncated.environment.versions
    backend = tokenizers.Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    backend.no_truncation()
    backend.no_padding()
    assert chunked.rows[1].text_tokens == 400 - 2 * 2
    assert len(backend.encode(text_of(bench.encoder, 396, "document")).ids) == 396 + 2


# What the file says


def test_the_figures_are_the_medians_of_the_runs_listed(bench: Bench) -> None:
    for row in bench.result(5, 30, repeats=4).rows:
        assert len(row.runs) == 4
        assert row.seconds == statistics.median(run.seconds for run in row.runs)
        assert row.tokenising_seconds == statistics.median(run.tokenising_seconds for run in row.runs)
        assert row.tokens_per_second == pytest.approx(row.tokens_read / row.seconds)
        assert row.peak_bytes > 0
        assert row.gpu_peak_bytes is None


def test_the_first_pass_stands_apart(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: Iterator[float] = iter([tick for n in range(4) for tick in (n * 100, n * 100 + 1, n * 100 + 5 - n)])
    monkeypatch.setattr("loco.speed.timing.perf_counter", lambda: next(ticks))
    (row,) = bench.result(5).rows
    assert row.first is not None
    assert (row.first.seconds, row.first.tokenising_seconds) == (4, 1)
    assert [run.seconds for run in row.runs] == [3, 2, 1]
    assert row.seconds == 2


def test_a_result_lies_where_it_belongs_and_says_what_it_was_measured_on(bench: Bench) -> None:
    bench.encoder.traits = replace(bench.encoder.traits, dtype="bfloat16", concurrency=2)
    home = str(Path.home())
    *_, last = bench.measured(5, 30, strategies="truncate", command=f"loco speed --out {home}/x")
    assert last.path is not None
    assert last.path.relative_to(bench.out).parts[0] == "words"
    assert last.path.parts[-2:] == ("speed", "cpu-bfloat16.json")
    assert [path for path in bench.out.rglob("*") if path.is_file()] == [last.path]
    result = read_record(last.path)
    assert isinstance(result, SpeedResult)
    assert (result.kind, result.strategy, result.dtype, result.device) == ("speed", "truncate(12)", "bfloat16", "cpu")
    assert (result.lanes, result.batch_tokens, result.gpus) == (2, 40, ())
    assert result.model == bench.encoder.card.identity
    assert "numpy" in result.environment.versions
    assert {row.command for row in result.rows} == {"loco speed --out ~/x"}


def test_lengths_come_shortest_first_whatever_the_order_asked_for(bench: Bench) -> None:
    assert [row.tokens for row in bench.result(40, 5, 20).rows] == [5, 20, 40]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1234.6, "1,235"), (99.97, "100"), (99.9, "99.9"), (1.0, "1.00"), (0.00123, "0.00123")]
)
def test_seconds_are_shown_with_three_digits_and_never_as_a_power(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float, shown: str
) -> None:
    monkeypatch.setattr("loco.speed.timing.perf_counter", itertools.cycle([0.0, 1.0, 1.0 + seconds]).__next__)
    print_speeds([bench.result(5, repeats=1)])
    assert f" {shown} to {shown} " in capsys.readouterr().out


def test_other_lengths_of_the_same_surroundings_stay_and_the_same_length_is_replaced(bench: Bench) -> None:
    first = bench.result(5, 20, command="one")
    second = bench.result(20, 40, command="two")
    assert [(row.tokens, row.command) for row in second.rows] == [(5, "one"), (20, "two"), (40, "two")]
    assert second.rows[0] == first.rows[0]


@pytest.mark.parametrize("change", [{"batch_tokens": 24}, {"fingerprint": "others"}, {"concurrency": 2}])
def test_rows_of_other_surroundings_are_not_mixed_in(bench: Bench, change: dict[str, Any]) -> None:
    bench.result(5)
    bench.encoder.traits = replace(bench.encoder.traits, **change)
    assert [row.tokens for row in bench.result(20).rows] == [20]


def test_a_damaged_file_is_replaced(bench: Bench) -> None:
    *_, last = bench.measured(5)
    last.path.write_text("{", encoding="utf-8")
    assert [row.tokens for row in bench.result(20).rows] == [20]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda row: row.update(seconds=row["seconds"] * 1.01), "seconds is"),
        (lambda row: row.update(tokens_per_second=row["tokens_per_second"] / 2), "tokens_per_second is"),
        (lambda row: row.update(tokenising_seconds=None), "tokenising_seconds is None"),
        (lambda row: row.update(runs=[]), "has a first run and others"),
        (lambda row: row.update(first=None), "has a first run and others"),
        (lambda row: row["runs"][0].update(seconds=-1), "greater than or equal"),
        (lambda row: row.update(text_tokens_seen=row["text_tokens"] + 1), "more of the text was seen"),
        (lambda row: row.update(tokens_computed=row["tokens_read"] - 1), "more tokens read than computed"),
        (lambda row: row.update(problem="out of memory"), "has no figures"),
        (lambda row: row.update(problem="\x1b[31m"), "pattern"),
        (lambda row: row.update(peak_bytes=float("nan")), "rows.0.peak_bytes"),
        (lambda row: row.update(speedup=676), "Extra inputs"),
        (lambda row: row.update(tokens_read=10**400, tokens_computed=10**400), "less than or equal"),
        (lambda row: row.update(seconds=1e-320), "greater than or equal"),
    ],
)
def test_a_row_that_does_not_add_up_is_refused(
    bench: Bench, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    *_, last = bench.measured(20)
    content = json.loads(last.path.read_text())
    change(content["rows"][0])
    last.path.write_text(json.dumps(content))
    with pytest.raises(LocoError, match=reason) as refused:
        read_record(last.path)
    assert "\n" not in str(refused.value)


def test_a_processor_of_a_stranger_does_not_steer_the_terminal(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bench.result(20)
    environment = result.environment.model_copy(update={"processor": "fast\x1b]0;owned\x07 [bold]"})
    print_speeds([result.model_copy(update={"environment": environment})])
    assert "cpu (fast]0;owned [bold])" in capsys.readouterr().out


@pytest.mark.parametrize("order", [[1, 0], [0, 0], []])
def test_rows_out_of_order_twice_or_missing_are_refused(bench: Bench, order: list[int]) -> None:
    *_, last = bench.measured(5, 20)
    content = json.loads(last.path.read_text())
    content["rows"] = [content["rows"][place] for place in order]
    last.path.write_text(json.dumps(content))
    with pytest.raises(LocoError, match="rows"):
        read_record(last.path)


# What goes wrong


def test_a_length_that_does_not_fit_into_memory_is_a_row_and_the_others_go_on(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    class Small(WordEncoder):
        def encode(self, inputs: Sequence[Input]) -> list[Float32]:
            if any(one.tokens > 20 for one in inputs):
                raise MemoryError
            return super().encode(inputs)

    bench.encoder = Small(window=50)
    result = bench.result(10, 30, 60, strategies="chunk(50),truncate(15)")
    assert [row.tokens for row in result.rows if row.problem] == []  # the last one: truncate
    chunked = next(
        each for path in bench.out.rglob("*.json") if (each := read_record(path)).strategy.startswith("chunk")
    )
    assert isinstance(chunked, SpeedResult)
    assert [bool(row.problem) for row in chunked.rows] == [False, True, True]
    failed = chunked.rows[1]
    assert failed.problem == "out of memory: an input of 30 tokens does not fit even alone"
    assert (failed.runs, failed.first, failed.seconds, failed.tokens_per_second) == ((), None, None, None)
    assert (failed.inputs, failed.tokens_read) == (1, 30)
    print_speeds([chunked])
    assert "30 tokens: out of memory: an input of 30 tokens does not fit even alone." in capsys.readouterr().out


def test_a_batch_that_does_not_fit_is_timed_in_halves(bench: Bench) -> None:
    bench.encoder = WordEncoder(memory=13, batch_tokens=1000)
    (row,) = bench.result(42, repeats=1).rows
    assert row.problem == ""
    assert row.batches == 1
    assert len(bench.encoder.log) == 4 * 2


def test_an_interrupt_keeps_the_finished_lengths(bench: Bench) -> None:
    class Interrupted(WordEncoder):
        def encode(self, inputs: Sequence[Input]) -> list[Float32]:
            if sum(one.tokens for batch in self.log for one in batch) > 200:
                raise KeyboardInterrupt
            return super().encode(inputs)

    bench.encoder = Interrupted()
    done = []
    with pytest.raises(KeyboardInterrupt):
        done.extend(each for each in bench.measured(5, 20, 400))
    (path,) = bench.out.rglob("*.json")
    left = read_record(path)
    assert isinstance(left, SpeedResult)
    assert [row.tokens for row in left.rows] == [5, 20]


def test_a_vector_that_is_not_finite_ends_it_with_a_line(bench: Bench) -> None:
    class Broken(WordEncoder):
        def vector(self, ids: Any) -> Float32:
            return np.full(self.dim, np.nan if len(ids) > 8 else 1, dtype=np.float32)

    bench.encoder = Broken()
    with pytest.raises(LocoError, match=r"^Model 'words' returned a vector that holds NaN or infinity: [^\n]*$"):
        list(bench.measured(5, 20))
    (path,) = bench.out.rglob("*.json")
    assert [row.tokens for row in read_record(path).rows] == [5]  # type: ignore[union-attr]


def test_a_length_without_room_for_text_is_refused(bench: Bench) -> None:
    with pytest.raises(LocoError, match=r"^A text of 2 tokens has no room for text with 'words': [^\n]*$"):
        list(bench.measured(OVERHEAD, 20))
    assert bench.result(OVERHEAD + 1).rows[0].text_tokens == 1


def test_a_strategy_that_leaves_no_room_is_refused_before_anything_is_timed(bench: Bench) -> None:
    with pytest.raises(LocoError, match="leaves no room for text"):
        list(bench.measured(5, strategies="truncate,chunk(2)"))
    assert bench.encoder.log == []


def test_late_chunking_needs_a_model_that_can(bench: Bench) -> None:
    assert bench.result(30, strategies="late-chunk(6)").rows[0].inputs == 3
    bench.encoder.traits = replace(bench.encoder.traits, spans=False)
    with pytest.raises(LocoError, match="averages its token vectors"):
        list(bench.measured(30, strategies="late-chunk(6)"))


def test_a_model_without_vectors_is_refused_in_one_line() -> None:
    with pytest.raises(LocoError, match=r"^Model 'bm25' makes no vectors, [^\n]*loco eval --model bm25$"):
        list(measure_speed(model_card("bm25"), SpeedOptions(), "loco speed"))


def test_a_model_whose_tokens_nobody_can_count_is_refused(bench: Bench) -> None:
    bench.encoder.card = bench.encoder.card.model_copy(update={"max_tokens": None, "strategies": ("full",)})
    bench.encoder.traits = replace(bench.encoder.traits, max_tokens=None)
    with pytest.raises(LocoError, match="tokenises where loco cannot see it"):
        list(bench.measured(5, strategies="full"))


@pytest.mark.parametrize(
    ("runtime", "option"), [(Runtime(dtype="float16"), "leave out --dtype"), (Runtime(device="cuda"), "--device")]
)
def test_what_the_model_does_not_do_is_refused(runtime: Runtime, option: str) -> None:
    with pytest.raises(LocoError, match=option):
        list(measure_speed(model_card("hash-512"), SpeedOptions((5,), runtime=runtime), "loco speed"))


@pytest.mark.parametrize(
    "text", ["", "abc", "-1", "1.5", "10**9", "128,,2048", "1000000000", "٣", "1_000", "5\n\x1b[0m"]
)
def test_what_is_no_list_of_lengths_is_told_in_one_line(text: str) -> None:
    with pytest.raises(LocoError, match=r"^'[^\n]*' is no length: --tokens takes whole numbers") as refused:
        lengths_in(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("tokens", "reason"), [((0,), "cannot be timed"), ((5, 7, 5), "named twice"), ((), "No length")]
)
def test_lengths_that_cannot_be_are_refused(tokens: tuple[int, ...], reason: str) -> None:
    with pytest.raises(LocoError, match=reason):
        SpeedOptions(tokens)


@pytest.mark.parametrize("repeats", [0, -3, 10**6])
def test_a_number_of_runs_that_cannot_be_is_refused(repeats: int) -> None:
    with pytest.raises(LocoError, match="choose --repeats from 1 to 1,000"):
        SpeedOptions(repeats=repeats)


def test_lengths_are_read_with_blanks() -> None:
    assert lengths_in(" 128, 2048 ,00012") == (128, 2048, 12)
    assert (DEFAULT_TOKENS, DEFAULT_REPEATS) == ((128, 2048, 8192, 32768), 5)


# The bar, and GPUs where there are none


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_says_what_is_timed_and_draws_nothing_during_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with steps("Timing words", 100) as step:
        step("chunk(12), 50 tokens, pass 1", 0)
        drawn = len(terminal.getvalue())
        assert "Timing words, chunk(12), 50 tokens, pass 1" in terminal.getvalue()
        step("chunk(12), 50 tokens, pass 2", 50)
        assert len(terminal.getvalue()) > drawn


@dataclass
class Cuda:
    """torch.cuda's functions that are used, with a log of what was asked: no GPU is needed to see when."""

    log: list[str] = field(default_factory=list)

    def device_count(self) -> int:
        return 3

    def memory_allocated(self, number: int) -> int:
        return [10, 0, 20][number]

    def get_device_name(self, number: int) -> str:
        return f"GPU {number}"

    def synchronize(self, number: int) -> None:
        self.log.append(f"wait {number}")

    def reset_peak_memory_stats(self, number: int) -> None:
        self.log.append(f"forget {number}")

    def max_memory_allocated(self, number: int) -> int:
        return 100 + number

    def clock(self) -> float:
        self.log.append("clock")
        return float(len(self.log))


def test_a_gpu_is_done_before_the_clock_starts_and_before_it_stops(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cuda = Cuda()

    class OnGpu(WordEncoder):
        def encode(self, inputs: Sequence[Input]) -> list[Float32]:
            cuda.log.append("encode")
            return super().encode(inputs)

    bench.encoder = OnGpu()
    monkeypatch.setattr("loco.speed.measure.gpus_of", lambda device: Gpus(cuda, (0, 2)))
    monkeypatch.setattr("loco.speed.timing.perf_counter", cuda.clock)
    result = bench.result(5, repeats=1)
    once = ["clock", "wait 0", "wait 2", "clock", "encode", "wait 0", "wait 2", "clock"]
    assert cuda.log == ["forget 0", "forget 2", *once, *once]
    assert result.rows[0].gpu_peak_bytes == 102
    assert result.gpus == ("GPU 0", "GPU 2")
    print_speeds([result])
    assert "GPU GB" in capsys.readouterr().out


def test_gpus_are_those_that_hold_something_and_none_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Torch:
        cuda = Cuda()

    monkeypatch.setitem(sys.modules, "torch", Torch)  # type: ignore[arg-type]
    assert gpus_of("cuda").numbers == (0, 2)
    assert gpus_of("cpu").numbers == ()
    assert gpus_of("cpu").peak_bytes() is None
    assert gpus_of("api").names == ()

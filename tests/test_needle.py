"""A needle test measures what it says: the right documents, the same scores as without any saving, and the saving."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import minilm
from encoders import STRATEGIES, WordEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

import loco.needle.measuring as measuring
from loco.encode.dense import rank_dense
from loco.encode.forms import VectorForm
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Strategy, parse
from loco.errors import LocoError
from loco.models.protocols import TokenIds, order_free
from loco.models.registry import load_model, model_card, model_cards
from loco.models.runtime import Runtime
from loco.needle.answers import Answers, normalised
from loco.needle.composing import Composer
from loco.needle.encoder import NeedleEncoder, documents
from loco.needle.haystacks import Haystacks, Settings, draw
from loco.needle.source import Question, Source, source_at
from loco.rank.ranking import Hit
from loco.results.needle import NeedleResult, chance
from loco.tasks.data import Provenance, TaskData, Texts

MADE_UP = Provenance(builder="test", builder_version=1, source="made up", source_revision="")
SMALL = Settings(queries=4, positions=5, distractors=4)
WINDOW = 24


def source(passages: int = 40, questions: int = 12, words: int = 9) -> Source:
    """Questions and passages of words that stand nowhere else, of different lengths."""

    def text(name: str, number: int) -> str:
        return " ".join(f"{name}{number}w{place}" for place in range(words + number % 4))

    asked = [Question(f"q{n:02d}", f"gold{n}w1 gold{n}w2", text("gold", n), (f"gold{n}w0",)) for n in range(questions)]
    return Source("made-up", asked, [text("hay", number) for number in range(passages)], True, MADE_UP)


def task(haystacks: Haystacks, position: int, level: int = 0) -> TaskData:
    """The task of a position, its documents as plain texts."""
    queries = Texts.of(((question.identifier, question.text) for question in haystacks.questions), "query")
    texts = documents(haystacks, level, position)
    plain = Texts(texts.ids, [str(text) for text in texts.texts])
    return TaskData(measuring._CARD, "imported", MADE_UP, queries, plain, {query: {query: 1} for query in queries.ids})


def naive(encoder: WordEncoder, strategy: Strategy, haystacks: Haystacks, folder: Path) -> list[dict[str, list[Hit]]]:
    """The hits at each position, each by itself, with nothing shared and nothing known about passages."""
    found = []
    for level in range(len(haystacks.levels)):
        for position in range(haystacks.settings.positions):
            store = EmbeddingStore(folder / f"{level}-{position}")
            ranking = rank_dense(encoder, [strategy], task(haystacks, position, level), 100, store, VectorForm())
            found.append({query: list(hits) for query, hits in ranking[strategy.name].hits.items()})
    return found


def measured(
    encoder: object,
    haystacks: Haystacks,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategies: str | None = None,
    out: Path | None = None,
) -> list[NeedleResult]:
    """What :func:`measure` makes of a model that needs no loading."""
    monkeypatch.setattr(measuring, "load_model", lambda card, runtime: encoder)
    card = encoder.card  # type: ignore[attr-defined]
    return [one.result for one in measuring.measure(card, strategies, haystacks, "test", cache=cache, out=out)]


# --- The documents ---------------------------------------------------------------------------------------------------


@given(st.text(min_size=1), st.text(), st.text())
def test_an_answer_that_stands_in_a_passage_in_any_case_is_found(answer: str, before: str, after: str) -> None:
    passage = before + answer + after
    if answer.strip():
        assert Answers([answer]).stand_in(passage, normalised(passage))
        if normalised(answer):
            assert Answers([answer.upper()]).stand_in(passage, normalised(passage))


@pytest.mark.parametrize(
    ("answer", "passage", "stands"),
    [
        ("Wilhelm Röntgen", "The prize went to wilhelm  RONTGEN, of Germany.", True),
        ("U.S.", "in the U.S. of America", True),
        ("*", "a sign such as * here", True),
        ("*", "no sign at all", False),
        ("1969", "in 1970", False),
    ],
)
def test_answers_are_compared_normalised(answer: str, passage: str, stands: bool) -> None:
    assert Answers([answer]).stand_in(passage, normalised(passage)) is stands


WORDS = st.sampled_from(["ant", "bee", "cat", "dog", "Bée", "bee!", "antbee", "owl", "fox"])
PASSAGES = st.lists(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=40)


@given(PASSAGES, st.lists(st.tuples(PASSAGES, WORDS), min_size=2, max_size=6), st.integers(0, 3))
def test_no_distractor_holds_an_answer_or_is_a_gold_passage_or_comes_twice(
    passages: list[str], asked: list[tuple[list[str], str]], seed: int
) -> None:
    questions = [
        Question(f"q{number}", "?", " ".join(gold) + f" {number}", (answer,))
        for number, (gold, answer) in enumerate(asked)
    ]
    made_up = Source("made-up", questions, passages + [question.gold for question in questions], True, MADE_UP)
    try:
        haystacks = draw(made_up, Settings(queries=2, positions=2, distractors=2, seed=seed))
    except LocoError:
        return
    golds = {normalised(question.gold) for question in haystacks.questions}
    for question, distractors in zip(haystacks.questions, haystacks.distractors, strict=True):
        texts = [normalised(passage) for passage in distractors]
        assert len(set(texts)) == len(texts) == 2
        assert golds.isdisjoint(texts)
        for answer in question.answers:
            assert not any(normalised(answer) in text for text in texts)


def test_the_needle_goes_from_the_first_place_to_the_last_and_nothing_else_moves() -> None:
    haystacks = draw(source(), SMALL)
    for number, question in enumerate(haystacks.questions):
        for position in range(5):
            passages = list(haystacks.passages(0, number, position))
            assert passages.index(question.gold) == position
            passages.remove(question.gold)
            assert tuple(passages) == haystacks.distractors[number]


@given(st.integers(2, 50), st.integers(1, 200))
def test_positions_are_evenly_spread_from_none_before_the_needle_to_all(positions: int, distractors: int) -> None:
    made = draw(source(passages=200, questions=2), Settings(queries=2, positions=2, distractors=1))
    spread = replace(
        made, settings=replace(SMALL, positions=positions, distractors=200), counts=((distractors, distractors),)
    )
    slots = [spread.slot(0, 0, position) for position in range(positions)]
    assert slots[0] == 0
    assert slots[-1] == distractors
    assert max(np.diff(slots)) - min(np.diff(slots)) <= 1


def test_equal_seeds_give_equal_haystacks_and_others_do_not() -> None:
    assert draw(source(), SMALL).sha256 == draw(source(), SMALL).sha256
    others = [
        draw(source(), replace(SMALL, seed=1)),
        draw(source(), replace(SMALL, positions=4)),
        draw(source(), replace(SMALL, distractors=5)),
        draw(source(words=8), SMALL),
    ]
    assert len({draw(source(), SMALL).sha256, *(other.sha256 for other in others)}) == 5


def test_what_a_seed_draws_does_not_change() -> None:
    """Results lie in other people's folders: a change here makes all of them incomparable with new ones."""
    drawn = draw(source_at("synthetic"), Settings(queries=3, positions=3, distractors=3))
    assert drawn.sha256[:16] == "bb48f169036ce865"


def test_documents_of_a_length_are_as_long_as_they_can_be() -> None:
    from loco.tokens.reference import count_tokens

    lengths = (600, 1024, 4096)
    haystacks = draw(source_at("synthetic"), Settings(queries=3, positions=2, lengths=lengths))
    for level, length in enumerate(lengths):
        for question in range(3):
            passages = haystacks.passages(level, question, 0)
            following = haystacks.distractors[question][haystacks.counts[level][question] :][:1]
            tokens = list(count_tokens([*passages, *following]))
            assert sum(tokens[: len(passages)]) <= length
            assert not following or sum(tokens) > length


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Settings(queries=13, positions=2, distractors=2), "has 12 questions"),
        (Settings(queries=2, positions=2, distractors=2000), "40 passages to draw distractors from"),
        (Settings(queries=2, positions=2, lengths=(100_000,)), "choose .* shorter --lengths"),
        (Settings(queries=2, positions=2, lengths=(40,)), "too few"),
    ],
)
def test_a_source_too_small_is_told_in_one_line(wrong: Settings, said: str) -> None:
    with pytest.raises(LocoError, match=said):
        draw(source(), wrong)


@pytest.mark.parametrize("wrong", [{"queries": 1}, {"positions": 6}, {"distractors": 0}, {"lengths": (8, 4)}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(LocoError):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


def test_a_question_whose_answer_stands_everywhere_is_passed_over() -> None:
    made = source(questions=5)
    common = replace(made.questions[0], answers=("hay",))
    haystacks = draw(replace(made, questions=[common, *made.questions[1:]]), SMALL)
    assert common.identifier not in [question.identifier for question in haystacks.questions]
    assert haystacks.passed_over <= 1


# --- The scores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("window", [10, 24, 60])
def test_rankings_are_those_of_every_position_by_itself(
    kind: str, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystacks = draw(source(), SMALL)
    encoder = WordEncoder(window=window)
    strategy = parse(kind if kind == "truncate" else f"{kind}({window // 2 + 2}, overlap=1)", window)
    expected = naive(encoder, strategy, haystacks, tmp_path / "naive")
    asked = sum(one.role == "document" for batch in encoder.log for one in batch)

    encoder.log.clear()
    (result,) = measured(encoder, haystacks, tmp_path / "cache", monkeypatch, strategy.name)
    read = [key for batch in encoder.log for one in batch if one.role == "document" for key in [*one.vector_keys()]]
    assert len(read) == len(set(read))
    assert result.saving is not None
    assert result.saving.inputs_encoded == result.saving.inputs_distinct
    assert result.saving.inputs_asked >= asked  # within a position, the naive run saves too
    for cell, hits in zip(result.cells, expected, strict=True):
        ranks = [[hit.document for hit in hits[query]].index(query) for query in result.queries]
        assert cell.per_query == pytest.approx(
            [1 / math.log2(rank + 2) if rank < 10 else 0 for rank in ranks], abs=1e-6
        )


@pytest.mark.parametrize("kind", STRATEGIES)
def test_rankings_are_those_of_every_position_by_itself_at_every_length(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystacks = draw(source(words=3), Settings(queries=3, positions=3, lengths=(60, 120)))
    encoder = WordEncoder(window=WINDOW)
    strategy = parse(kind, WINDOW)
    expected = naive(encoder, strategy, haystacks, tmp_path / "naive")
    (result,) = measured(encoder, haystacks, tmp_path / "cache", monkeypatch, kind)
    for cell, hits in zip(result.cells, expected, strict=True):
        ranks = [[hit.document for hit in hits[query]].index(query) for query in result.queries]
        assert cell.per_query == pytest.approx([1 / math.log2(rank + 2) for rank in ranks], abs=1e-6)


def test_forty_positions_take_a_fourth_of_the_inputs_and_of_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystacks = draw(source(passages=80, words=25), Settings(queries=2))
    encoder = WordEncoder(window=64, batch_tokens=256)
    strategy = parse("chunk", 64)
    naive(encoder, strategy, haystacks, tmp_path / "naive")
    batches = len(encoder.log)
    encoder.log.clear()
    (result,) = measured(encoder, haystacks, tmp_path / "cache", monkeypatch, "chunk")
    assert result.saving is not None
    assert result.saving.inputs_asked >= 4 * result.saving.inputs_distinct
    assert result.saving.tokens_asked >= 4 * result.saving.tokens_distinct
    assert batches >= 4 * len(encoder.log)


def test_positions_behind_the_window_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    haystacks = draw(source(), replace(SMALL, positions=5))
    (result,) = measured(WordEncoder(window=14), haystacks, tmp_path, monkeypatch, "truncate")
    assert result.saving is not None
    assert result.saving.inputs_asked == 4 * 5
    assert result.saving.inputs_distinct <= 4 * 3
    assert len({cell.per_query for cell in result.cells[2:]}) == 1


def test_a_model_that_takes_texts_whole_is_measured_and_its_tokens_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystacks = draw(source(), SMALL)
    (tmp_path / "letters_of_needles.py").write_text(
        "import numpy as np\n"
        "class Letters:\n"
        "    def encode(self, texts, role):\n"
        "        return np.array([[1 + text.count(sign) for sign in '0123456789'] for text in texts])\n"
    )
    monkeypatch.chdir(tmp_path)
    card = model_card("letters_of_needles:Letters")
    (one,) = measuring.measure(card, None, haystacks, "test", cache=tmp_path / "cache")
    assert one.result.strategy == "full"
    assert one.result.saving is not None
    assert one.result.saving.inputs_asked == one.result.saving.inputs_distinct == 20
    assert one.result.saving.tokens_asked is None
    assert one.result.cells[0].documents is None


def test_a_run_that_was_killed_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    haystacks = draw(source(), SMALL)

    class Killed(WordEncoder):
        def encode(self, inputs: object) -> object:  # type: ignore[override]
            if len(self.log) == 3:
                raise KeyboardInterrupt
            return super().encode(inputs)  # type: ignore[arg-type]

    first, second = Killed(), WordEncoder()
    with pytest.raises(KeyboardInterrupt):
        measured(first, haystacks, tmp_path / "cache", monkeypatch, "chunk")
    (result,) = measured(second, haystacks, tmp_path / "cache", monkeypatch, "chunk")
    (whole,) = measured(WordEncoder(), haystacks, tmp_path / "other", monkeypatch, "chunk")
    assert [cell.per_query for cell in result.cells] == [cell.per_query for cell in whole.cells]
    assert result.saving is not None
    assert result.saving.inputs_encoded < result.saving.inputs_distinct
    done = [{key for batch in one.log for piece in batch for key in piece.vector_keys()} for one in (first, second)]
    assert done[0]
    assert not done[0] & done[1]


def test_strategies_share_what_they_have_in_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = measured(WordEncoder(), draw(source(), SMALL), tmp_path, monkeypatch, "chunk, chunk-max")
    assert [result.strategy for result in results] == ["chunk(12, overlap=0)", "chunk-max(12, overlap=0)"]
    savings = [result.saving for result in results if result.saving]
    assert savings[0].inputs_distinct == savings[1].inputs_distinct > 0
    assert savings[1].inputs_encoded == 0


class Joining(WordEncoder):
    """A tokenizer that looks across the border of two passages: some words become one token with the word before."""

    def ids(self, text: str) -> TokenIds:
        return super().ids(text.replace(" hay1w0", "_hay1w0"))


def test_where_passages_are_no_tokens_of_their_own_documents_are_tokenised_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystacks = draw(source(passages=6), SMALL)
    encoder = Joining(window=WINDOW)
    strategy = parse("chunk", WINDOW)
    expected = naive(encoder, strategy, haystacks, tmp_path / "naive")
    (result,) = measured(encoder, haystacks, tmp_path / "cache", monkeypatch, "chunk")
    inside = [any(p.startswith("hay1w0") for p in hay) for hay in haystacks.distractors]
    assert any(inside)
    assert result.saving is not None
    assert result.saving.queries_composed == inside.count(False)
    for cell, hits in zip(result.cells, expected, strict=True):
        ranks = [[hit.document for hit in hits[query]].index(query) for query in result.queries]
        assert cell.per_query == pytest.approx([1 / math.log2(rank + 2) for rank in ranks], abs=1e-6)


def test_a_strategy_the_model_cannot_serve_is_told_before_anything_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = WordEncoder()
    encoder.traits = replace(encoder.traits, spans=False)
    with pytest.raises(LocoError, match="averages its token vectors"):
        measured(encoder, draw(source(), SMALL), tmp_path, monkeypatch, "late-chunk")
    assert not encoder.log


@pytest.fixture(scope="module")
def loaded_minilm() -> NeedleEncoder:
    """MiniLM with a prompt, among haystacks of the synthetic source."""
    settings_of_minilm = {"document_prompt": "search_document: "}
    model = load_model(model_card(str(minilm()), settings_of_minilm), Runtime())
    return NeedleEncoder(model, draw(source_at("synthetic"), Settings(queries=2)))  # type: ignore[arg-type]


def test_a_real_tokenizers_documents_are_composed_exactly(loaded_minilm: NeedleEncoder) -> None:
    encoder = loaded_minilm._encoder
    haystacks = loaded_minilm._haystacks
    composer = Composer(encoder)
    assert composer.works
    for question in range(2):
        for position in (0, 1, 20, 39):
            passages = haystacks.passages(0, question, position)
            (whole,) = encoder.tokenize([" ".join(passages)], "document")
            composed = composer.composed(passages)
            assert composed.tokens == whole.tokens
            for start, stop in ((0, 100), (100, 300), (whole.tokens - 5, whole.tokens)):
                spans = [(start, start + 2), (start + 2, stop)]
                ours, theirs = composed.input(start, stop, spans), whole.input(start, stop, spans)
                assert (ours.vector_keys(), ours.tokens) == (theirs.vector_keys(), theirs.tokens)


def test_a_real_model_finds_the_needle_in_its_window_and_not_behind_it(
    loaded_minilm: NeedleEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystacks = draw(source_at("synthetic"), Settings(queries=12, positions=2, distractors=7))
    (result,) = measured(loaded_minilm._encoder, haystacks, tmp_path, monkeypatch, "truncate")
    first, last = result.cells
    assert first.ndcg.value > 0.9
    assert last.ndcg.value < 0.7
    assert last.documents is not None
    assert last.documents.texts_cut == 12


# --- Models that know no order ---------------------------------------------------------------------------------------


def test_every_model_said_to_know_no_order_ranks_the_same_wherever_the_needle_stands() -> None:
    haystacks = draw(source_at("synthetic"), Settings(queries=6, positions=7, distractors=6))
    checked = []
    for name in ("bm25", "bm25-rank"):
        model = load_model(model_cards()[name])
        assert order_free(model)
        rankings = [model.rank(task(haystacks, position), 100) for position in range(7)]  # type: ignore[union-attr]
        for ranking in rankings[1:]:
            for query, hits in rankings[0].hits.items():
                assert [hit.document for hit in ranking.hits[query]] == [hit.document for hit in hits]
                assert [hit.score for hit in ranking.hits[query]] == pytest.approx([hit.score for hit in hits])
        checked.append(name)
    assert checked == ["bm25", "bm25-rank"]
    assert not order_free(load_model(model_cards()["hash-512"]))


@pytest.mark.parametrize("free", [True, False])
def test_a_model_that_knows_no_order_is_asked_once(free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        def __init__(self) -> None:
            self.card, self.order_free, self.asked = model_cards()["bm25"], free, 0
            self._bm25 = load_model(self.card)

        def rank(self, task: TaskData, k: int) -> object:
            self.asked += 1
            return self._bm25.rank(task, k)  # type: ignore[union-attr]

    model = Counting()
    (result,) = measured(model, draw(source(), SMALL), tmp_path, monkeypatch)
    assert model.asked == (1 if free else 5)
    assert result.order_free is free
    assert len({cell.per_query for cell in result.cells}) == 1
    assert result.saving is None


# --- The result ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 400))
@settings(max_examples=25)
def test_chance_is_the_mean_over_all_ranks_there_are(documents: int) -> None:
    gains = [1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in range(1, documents + 1)]
    assert chance(documents) == pytest.approx(sum(gains) / documents)


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NeedleResult:
    """A small one."""
    return measured(WordEncoder(), draw(source(), SMALL), tmp_path, monkeypatch, "chunk", tmp_path / "results")[0]


def test_a_result_comes_back_as_it_was_written(result: NeedleResult, tmp_path: Path) -> None:
    (path,) = (tmp_path / "results").rglob("*.json")
    assert path.parent.name == "needle"
    assert path.stem == f"made-up-{result.haystacks.sha256[:8]}"
    assert NeedleResult.model_validate_json(path.read_bytes()) == result


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content["cells"][0]["ndcg"].update(value=0.123, low=0.1, high=0.2),
        lambda content: content["cells"].pop(),
        lambda content: content["cells"].reverse(),
        lambda content: content["queries"].pop(),
        lambda content: content["cells"][1]["per_query"].append(0.5),
        lambda content: content.update(chance=0.5),
        lambda content: content.update(order_free=True),
        lambda content: content["saving"].update(inputs_distinct=10**9),
        lambda content: content["haystacks"].update(distractors=None),
        lambda content: content["haystacks"].update(sha256="short"),
        lambda content: content.update(more=1),
        lambda content: content["cells"][0].update(depth=float("nan")),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(harm, result: NeedleResult) -> None:  # type: ignore[no-untyped-def]
    content = result.model_dump(mode="python")
    content["cells"] = [{**cell, "per_query": list(cell["per_query"])} for cell in content["cells"]]
    content["queries"] = list(content["queries"])
    NeedleResult.model_validate(content)
    harm(content)
    with pytest.raises(ValueError, match="validation error"):
        NeedleResult.model_validate(content)

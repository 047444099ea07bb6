"""Models behind services, through the vendors' own clients, against a server that misbehaves as vendors do."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tasks import small_task
from vendor_server import HARMLESS, KEY, PASSING, VendorServer, asked, vector, vendor_server

from loco import evaluate
from loco.encode.encoding import encode_texts
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Chunk, Truncate
from loco.errors import BadText, LocoError
from loco.models.card import ModelCard, Service
from loco.models.protocols import Encoder, Input, Interruptible
from loco.models.registry import load_model, model_card, model_cards, strategies_of
from loco.models.runtime import Runtime
from loco.money import Paid, Spending
from loco.tasks.data import Texts, write_task
from loco.tokens.reference import count_tokens
from loco_adapters.api.clock import SystemClock
from loco_adapters.api.cohere import Cohere
from loco_adapters.api.encoder import _CONCURRENCY, ApiEncoder, Parameters
from loco_adapters.api.estimate import Estimate
from loco_adapters.api.keys import Key, key_for
from loco_adapters.api.limits import WINDOW, Limiter
from loco_adapters.api.openai import OpenAI
from loco_adapters.api.patience import TRIES
from loco_adapters.api.vendor import seconds_to_wait
from loco_adapters.api.voyage import Voyage

DIM = 16
VENDORS = {"openai": OpenAI, "cohere": Cohere, "voyage": Voyage}
PATHS = {"openai": "/v1", "cohere": "", "voyage": "/v1"}
WORDS = [
    "budget", "remote", "control", "meeting", "monday", "lunch", "nobody",
    "substance", "design", "market", "user", "button", "plastic",
]  # fmt: skip

Make = Callable[..., ApiEncoder]


class SimulatedClock:
    """Time that passes when somebody waits, and only then."""

    def __init__(self) -> None:
        self.time = 0.0
        self._access = threading.Lock()

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        with self._access:
            self.time += seconds
        time.sleep(0)


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def encoder_at(
    server: VendorServer, vendor: str, *, clock: object = None, timeout: float = 0.4, **bounds: int
) -> ApiEncoder:
    """A vendor's real client, sent to the server."""
    service = Service(
        vendor=vendor.title(), key="TEST_KEY", url=server.url + PATHS[vendor], **({"inputs": 5, "tokens": 400} | bounds)
    )
    parameters = Parameters(model="some-model", dim=server.dim)
    card = ModelCard(
        name=f"{vendor}-test",
        family="api",
        revision="1",
        description="",
        licence="",
        url="",
        trained_on_loco=False,
        max_tokens=32,
        parameters=parameters.model_dump(exclude_none=True),
        factory="loco_adapters.api.openai:openai_encoder",
        strategies=("truncate", "chunk"),
        service=service,
    )
    client = VENDORS[vendor](service, parameters, Key(KEY), timeout)
    chosen = SimulatedClock() if clock is None else clock
    return ApiEncoder(card, service, parameters, Runtime(), client, Key(KEY), chosen)  # type: ignore[arg-type]


def texts_of(count: int, seed: int = 0) -> Texts:
    drawn = random.Random(seed)
    rows = [
        (f"d{number}", " ".join(drawn.choices(WORDS, k=drawn.randint(3, 60))) + f" {number}") for number in range(count)
    ]
    return Texts.of(rows, "document")


def inputs_of(*texts: str, role: str = "document") -> list[Input]:
    return [Input(text, len(text.split()) + 1, role) for text in texts]  # type: ignore[arg-type]


def role_at(vendor: str, role: str) -> str:
    return "" if vendor == "openai" else role


def test_faults_at_a_fifth_of_the_requests_change_no_vector_and_no_answered_text_is_sent_twice(
    vendor: str, tmp_path: Path
) -> None:
    texts = texts_of(120)
    draws = random.Random(1)
    kinds = [*PASSING, *HARMLESS]
    script = [draws.choice(kinds) if draws.random() < 0.2 else "" for _ in range(5000)]
    script[3:20:5] = ["429", "reset", "nan", "hang"]
    found = []
    for name, fault in (("calm", lambda number: ""), ("stormy", lambda number: script[number])):
        with vendor_server(DIM, fault) as server:
            encoder = encoder_at(server, vendor)
            with EmbeddingStore(tmp_path / name).space({"model": "x"}, DIM) as space:
                encoding = encode_texts(encoder, texts, "document", [Chunk(32), Truncate(32)], space)
                keys = sorted({key for rows in encoding.keys.values() for row in rows for key in row})
                found.append((keys, space.get(keys), len(server.requests)))
            assert server.twice == []
            assert encoder.till.spent.requests + encoder.till.spent.requests_lost == len(server.requests)
    (calm_keys, calm, few), (stormy_keys, stormy, many) = found
    assert calm_keys == stormy_keys
    np.testing.assert_array_equal(calm, stormy)
    assert many > few > 30


@pytest.mark.parametrize("fault", [fault for fault in PASSING if fault != "slow"])
def test_what_passes_is_asked_again_by_nobody_but_loco(vendor: str, fault: str) -> None:
    with vendor_server(DIM, lambda number: fault if number < 2 else "") as server:
        encoder = encoder_at(server, vendor, timeout=0.2)
        (one,) = encoder.encode(inputs_of("the only text", role="query"))
    np.testing.assert_array_equal(one[0], vector("the only text", role_at(vendor, "query"), DIM))
    assert len(server.requests) == 3
    assert (encoder.till.spent.requests, encoder.till.spent.requests_lost) == (1, 2)


@pytest.mark.parametrize("fault", HARMLESS)
def test_the_form_of_an_answer_does_not_matter(vendor: str, fault: str) -> None:
    texts = [f"text number {number}" for number in range(5)]
    with vendor_server(DIM, lambda number: fault) as server:
        encoder = encoder_at(server, vendor)
        vectors = encoder.encode(inputs_of(*texts))
    np.testing.assert_array_equal(
        np.concatenate(vectors), [vector(text, role_at(vendor, "document"), DIM) for text in texts]
    )
    estimated = sum(len(text.split()) + 1 for text in texts)
    told = (estimated, estimated) if fault == "no usage" else (server.tokens, 0)
    assert (encoder.till.spent.tokens, encoder.till.spent.tokens_estimated) == told


def test_roles_are_told_apart_and_a_request_holds_no_more_than_the_vendor_takes() -> None:
    inputs = [*inputs_of(*(f"document {number}" for number in range(7))), *inputs_of("question", role="query")]
    for vendor, names in (("cohere", ("search_document", "search_query")), ("voyage", ("document", "query"))):
        with vendor_server(DIM) as server:
            vectors = encoder_at(server, vendor).encode(inputs)
        assert [body["input_type"] for body in server.requests] == [names[0], names[0], names[1]]
        assert [len(body.get("texts") or body["input"]) for body in server.requests] == [5, 2, 1]
        assert len(vectors) == 8


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (400, "no such thing", "refused a request for 'some-model' (status 400): no such thing"),
        (401, "wrong key", "does not accept the key in TEST_KEY"),
        (403, "not yours", "does not accept the key in TEST_KEY"),
        (404, "model gone", "has no model 'some-model'"),
        (422, "malformed", "(status 422): malformed"),
    ],
)
def test_what_cannot_heal_is_asked_once_and_told_in_one_line_without_the_key(
    vendor: str, status: int, said: str, expected: str
) -> None:
    with vendor_server(DIM, lambda number: f"refuse {status} {said}") as server:
        encoder = encoder_at(server, vendor)
        with pytest.raises(LocoError) as caught:
            encoder.encode(inputs_of("a", "b"))
    assert len(server.requests) == 1
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.__context__ is None, "what a client raises may hold the key"
    assert encoder.till.spent == Spending(requests_lost=1)


def test_no_credit_is_not_waited_for() -> None:
    with (
        vendor_server(DIM, lambda number: "refuse 429 insufficient_quota") as server,
        pytest.raises(LocoError, match="no credit left"),
    ):
        encoder_at(server, "openai").encode(inputs_of("a"))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "said", ["maximum context length is 8192 tokens", "text is too long", "exceeds the token limit"]
)
def test_a_text_that_the_vendor_finds_too_long_is_named_and_the_rest_is_kept(
    vendor: str, said: str, tmp_path: Path
) -> None:
    texts = texts_of(40)
    with vendor_server(DIM) as server:
        server.fault = lambda number: f"refuse 400 {said}" if "long " in str(asked(server.requests[number])) else ""
        encoder = encoder_at(server, vendor)
        rows = [*zip(texts.ids, texts.texts, strict=True), ("giant", "long " * 29)]
        with (
            EmbeddingStore(tmp_path).space({"model": "x"}, DIM) as space,
            pytest.raises(LocoError, match=r"The document 'giant' with about 30 tokens is too long") as caught,
        ):
            encode_texts(encoder, Texts.of(rows, "document"), "document", [Truncate(32)], space)
        assert "\n" not in str(caught.value)
        assert len(server.answered) == len(space) > 0


@pytest.mark.parametrize("vendor", ["openai", "voyage"], indirect=True)  # Cohere's answers do not say whose they are
def test_an_answer_of_another_model_is_not_taken(vendor: str) -> None:
    with (
        vendor_server(DIM, lambda number: "other model") as server,
        pytest.raises(LocoError, match="asked for 'some-model' and answered with 'another-model'"),
    ):
        encoder_at(server, vendor).encode(inputs_of("a"))
    assert len(server.requests) == 1


def test_a_vendor_in_trouble_is_given_up_after_a_while(vendor: str) -> None:
    clock = SimulatedClock()
    with (
        vendor_server(DIM, lambda number: "503") as server,
        pytest.raises(LocoError, match=f"no vectors {TRIES} times in a row; the last time it answered 503"),
    ):
        encoder_at(server, vendor, clock=clock).encode(inputs_of("a"))
    assert len(server.requests) == TRIES
    # 1, 2, 4, ... 60 seconds, at least half of each.
    assert 61 <= clock.time <= 130


def test_answers_that_are_none_are_not_paid_for_without_end(vendor: str) -> None:
    with (
        vendor_server(DIM, lambda number: "dimension") as server,
        pytest.raises(LocoError, match=r"5 times; the last time it sent a vector of shape \(17,\), not \(16,\)"),
    ):
        encoder_at(server, vendor).encode(inputs_of("a"))
    assert len(server.requests) == 5


def test_the_wait_that_a_vendor_asks_for_is_kept_by_all(vendor: str) -> None:
    clock = SimulatedClock()
    with vendor_server(DIM, lambda number: "429" if number == 0 else "") as server:
        server.retry_after = "37"
        encoder = encoder_at(server, vendor, clock=clock)
        encoder.encode(inputs_of("a"))
    assert 37 <= clock.time < 38


def test_a_vendor_that_asks_for_an_hour_is_left_alone(vendor: str) -> None:
    with vendor_server(DIM, lambda number: "429") as server:
        server.retry_after = "3600"
        with pytest.raises(LocoError, match="come back in 60 minutes"):
            encoder_at(server, vendor).encode(inputs_of("a"))
    assert len(server.requests) == 1


def test_nobody_there_is_no_bill(vendor: str) -> None:
    with vendor_server(DIM) as server:
        encoder = encoder_at(server, vendor)
    with pytest.raises(LocoError, match="the connection failed"):
        encoder.encode(inputs_of("a"))
    assert encoder.till.spent == Spending(requests_lost=TRIES)


def test_an_interrupt_ends_waiting_at_once() -> None:
    with vendor_server(DIM, lambda number: "429") as server:
        server.retry_after = "500"
        encoder = encoder_at(server, "openai", clock=SystemClock())
        assert isinstance(encoder, Interruptible)
        raised: list[BaseException] = []

        def run() -> None:
            try:
                encoder.encode(inputs_of("a"))
            except LocoError as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while not server.requests:
            time.sleep(0.01)
        encoder.interrupt()
        thread.join(timeout=20)
        assert not thread.is_alive()
        assert "Gave up waiting" in str(raised[0])
        server.fault = lambda number: ""
        encoder._limiter._closed_until = 0.0
        assert len(encoder.encode(inputs_of("a"))) == 1, "later calls are not concerned"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("soon", None),
        ("nan", None),
        (None, None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(said: str | None, expected: float | None) -> None:
    assert seconds_to_wait(None if said is None else {"retry-After": said}) == expected


@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(1, 25_000)), min_size=1, max_size=200),
    st.integers(1, 60),
    st.floats(0, 1),
)
def test_no_minute_exceeds_a_limit(requests: list[tuple[int, int]], most_requests: int, seconds: float) -> None:
    clock = SimulatedClock()
    service = Service(
        vendor="V", key="K", url="http://x", inputs=64, tokens=25_000,
        requests_per_minute=most_requests, inputs_per_minute=500, tokens_per_minute=60_000,
    )  # fmt: skip
    limiter = Limiter(service, clock)
    sent = []
    for inputs, tokens in requests:
        limiter.enter(inputs, tokens, lambda: None)
        sent.append((clock.now(), inputs, tokens))
        clock.sleep(seconds)
    for start, _, _ in sent:
        minute = [one for one in sent if start <= one[0] < start + 60]
        assert len(minute) <= most_requests
        assert sum(inputs for _, inputs, _ in minute) <= 500
        assert sum(tokens for _, _, tokens in minute) <= 60_000


@pytest.mark.parametrize(("tokens", "bound"), [(400, "requests"), (25_000, "tokens"), (2000, "both")])
def test_throughput_reaches_95_percent_of_the_limit_and_no_window_exceeds_it(tokens: int, bound: str) -> None:
    clock = SimulatedClock()
    service = Service(
        vendor="V",
        key="K",
        url="http://x",
        inputs=2048,
        tokens=300_000,
        requests_per_minute=500,
        tokens_per_minute=1_000_000,
    )
    limiter = Limiter(service, clock)
    drawn = random.Random(0)
    sent = []
    while clock.now() < 600:
        size = max(1, round(tokens * drawn.uniform(0.8, 1)))
        limiter.enter(1, size, lambda: None)
        sent.append((clock.now(), size))
    times = np.array([at for at, _ in sent])
    sizes = np.array([size for _, size in sent])
    first = np.searchsorted(times, times)
    last = np.searchsorted(times, times + 60)
    cumulated = np.concatenate([[0], np.cumsum(sizes)])
    assert (last - first).max() <= 500
    assert (cumulated[last] - cumulated[first]).max() <= 1_000_000
    whole = times < WINDOW * 9  # nine full windows
    minutes = WINDOW * 9 / 60
    reached = {"requests": whole.sum() / minutes / 500, "tokens": sizes[whole].sum() / minutes / 1_000_000}
    assert max(reached.values()) >= 0.95
    if bound in reached:
        assert reached[bound] >= 0.95


def test_a_request_larger_than_a_minute_allows_is_an_error_not_a_wait_for_ever() -> None:
    service = Service(vendor="V", key="K", url="http://x", inputs=9, tokens=9000, tokens_per_minute=500)
    with pytest.raises(LocoError, match="501 tokens can never be sent: V takes 500 in a minute"):
        Limiter(service, SimulatedClock()).enter(1, 501, lambda: None)


@pytest.mark.parametrize(
    "name", ["text-embedding-3-small", "embed-english-v3.0", "voyage-3-large", "voyage-01", "m2bert-8k-together"]
)
def test_without_a_key_the_variable_to_set_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = model_card(name)
    assert card.service is not None
    monkeypatch.delenv(card.service.key, raising=False)
    monkeypatch.delenv(f"{card.service.key}_FILE", raising=False)
    with pytest.raises(LocoError, match=f"set {card.service.key} to it, or {card.service.key}_FILE"):
        load_model(card)
    dry = load_model(card, Runtime(dry=True))
    assert isinstance(dry, Encoder)
    assert isinstance(dry, Paid)
    with pytest.raises(RuntimeError, match="a dry run sends nothing"):
        dry.encode(inputs_of("a"))


def test_every_card_of_a_service_loads_and_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [card for card in model_cards().values() if card.service is not None]
    assert len(cards) >= 10
    for card in cards:
        assert card.service is not None
        monkeypatch.setenv(card.service.key, KEY)
        encoder = load_model(card)
        assert isinstance(encoder, ApiEncoder)
        strategies_of(card, "truncate, chunk, chunk-max")
        assert encoder.traits.batch_tokens <= card.service.tokens
        assert KEY not in repr(encoder) + repr(vars(encoder)) + card.model_dump_json()


def test_a_key_comes_from_the_environment_or_a_file_and_shows_itself_to_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = Service(vendor="V", key="SOME_KEY", url="http://x", inputs=1, tokens=1)
    monkeypatch.delenv("SOME_KEY", raising=False)
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(LocoError, match="SOME_KEY_FILE names a file that cannot be read"):
        key_for(service)
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")
    key = key_for(service)
    assert key.reveal() == KEY
    assert KEY not in f"{key!r} {key} {vars(key).keys()}"
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(key)
    for wrong in ("two words", "dots…", "line\nbreak"):
        monkeypatch.setenv("SOME_KEY", wrong)
        with pytest.raises(LocoError, match="is no key") as caught:
            key_for(service)
        assert wrong not in str(caught.value)


def test_a_text_that_cannot_be_sent_is_named() -> None:
    encoder = load_model(model_card("text-embedding-3-small"), Runtime(dry=True))
    assert isinstance(encoder, Encoder)
    with pytest.raises(BadText, match="Text number 2 holds a lone surrogate"):
        encoder.tokenize(["fine", "not \ud800 fine"], "document")


def test_a_model_at_any_address_is_named_by_it() -> None:
    card = model_card("openai:BAAI/bge-m3@http://localhost:8000/v1?window=8192&dim=1024")
    assert card.service is not None
    assert (card.max_tokens, card.parameters["dim"], card.service.url) == (8192, 1024, "http://localhost:8000/v1")
    assert card.service.price is None
    encoder = load_model(card)  # a server of one's own may need no key
    assert isinstance(encoder, ApiEncoder)
    assert encoder.traits.max_tokens == 8192


@pytest.mark.parametrize(
    "name",
    [
        "openai:m@http://h/v1",
        "openai:m@http://h/v1?window=9",
        "openai:m@http://h/v1?window=9&dim=0",
        "openai:m@http://h/v1?window=9&dim=8&dim=8",
        "openai:m@http://h/v1?window=9&dim=x",
        "openai:m@http://user:secret@h/v1?window=9&dim=8",
        "openai:m@http://h/v1?window=9&dim=8&key=secret",
        "openai:m@file:///etc/passwd?window=9&dim=8",
    ],
)
def test_an_address_that_says_too_little_or_too_much_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(LocoError, match="is named openai:MODEL@URL") as caught:
        model_card(name)
    assert "secret" not in str(caught.value)


@given(st.text())
def test_the_estimate_s_tokens_lie_in_order_and_lose_nothing(text: str) -> None:
    spans = Estimate()(text)
    assert all(0 <= start <= stop <= len(text) for start, stop in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    covered = {place for start, stop in spans for place in range(start, stop)}
    assert all(place in covered for place, letter in enumerate(text) if not letter.isspace())
    assert bool(spans) == bool(text.strip())


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=20), max_size=30))
def test_the_estimate_counts_no_fewer_tokens_than_wordpiece_does(words: list[str]) -> None:
    text = " ".join(words)
    (reference,) = count_tokens([text])
    assert len(Estimate()(text)) >= reference


@given(st.text(st.characters(min_codepoint=0x80, exclude_categories=["Cs", "Zs", "Zl", "Zp"]), max_size=50))
def test_the_estimate_of_other_scripts_is_their_bytes(text: str) -> None:
    shown = "".join(letter for letter in text if not letter.isspace())
    assert len(Estimate()(shown)) == len(shown.encode())


@pytest.fixture
def built(tmp_path: Path) -> Path:
    texts = texts_of(150)
    documents = dict(zip(texts.ids, texts.texts, strict=True))
    queries = {f"q{number}": f"question about {word} {number}" for number, word in enumerate(WORDS)}
    qrels = {query: {f"d{number}": 1} for number, query in enumerate(queries)}
    write_task(small_task(queries, documents, qrels), tmp_path / "data")
    return tmp_path


def test_a_run_that_is_killed_goes_on_without_paying_twice(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = os.environ | {"LOCO_HOME": str(built / "home"), "OPENAI_COMPATIBLE_API_KEY": KEY, "NO_PROXY": "*"}

    def command(server: VendorServer) -> list[str]:
        model = f"openai:some-model@{server.url}/v1?window=32&dim={DIM}"
        where = ["--data", str(built / "data"), "--out", str(built / "out"), "--cache", str(built / "cache")]
        # --batch-tokens makes for many requests.
        more = ["--task", "qmsum", "--variant", "mini", "--strategy", "chunk", "--batch-tokens", "100"]
        return [sys.executable, "-m", "loco", "eval", "--model", model, *more, *where, "--json"]

    with vendor_server(DIM) as server:
        server.fault = lambda number: "hang" if number >= 25 else ("500" if number == 7 else "")
        with subprocess.Popen(command(server), env=environment, stderr=subprocess.PIPE) as running:
            # A lane asks for its next batch when the last one is stored: once all of them hang, all answers are.
            end = time.monotonic() + 60
            while server.hanging < _CONCURRENCY:
                assert running.poll() is None, running.stderr and running.stderr.read()
                assert time.monotonic() < end, "the lanes do not ask"
                time.sleep(0.02)
            running.kill()
        so_far = len(server.requests)
        assert len(server.answered) > 20
        server.fault = lambda number: ""
        again = subprocess.run(command(server), env=environment, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert server.twice == []
        assert len(server.requests) > so_far
        assert server.authorisations == {f"Bearer {KEY}"}
        monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", KEY)
        model = f"openai:some-model@{server.url}/v1?window=32&dim={DIM}"
        where = {"data": built / "data", "out": built / "whole", "cache": built / "own"}
        whole = evaluate(model, "qmsum", "mini", "chunk", **where)  # type: ignore[arg-type]
    (resumed,) = json.loads(again.stdout)["results"]
    assert resumed["metrics"] == {name: metric.model_dump() for name, metric in whole.metrics.items()}
    assert resumed["cost"]["tokens"] > 0
    assert resumed["cost"]["dollars"] is None
    for file in (path for path in built.rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes(), file
    assert KEY not in again.stdout + again.stderr

"""Transformers as encoders, held against sentence-transformers and against the formulas."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import WIDTH, WINDOW, WORDS, bert, card, change, minilm, tokenizer, with_modules
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from transformers import AutoModel, BertModel, MistralConfig, MistralModel, RobertaConfig, RobertaModel

from loco.errors import LocoError
from loco.models.protocols import Encoder, Input, Role, Span
from loco.models.registry import load_model
from loco.models.runtime import Runtime
from loco_adapters.transformer.model import TransformerEncoder, transformer_encoder

LONG = "The committee met again in spring, and nobody had read the minutes of its last meeting. " * 20
TEXTS = ["word", "Ångström — naïve café, 漢字!", LONG[:200], LONG]
SHORT = ["a cat runs", "dog", "red green blue cat dog sleeps . a probe of short words"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several processes test at once, and threads that wait for each other are slow then."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> TransformerEncoder:
    return transformer_encoder(card(minilm(), 256), Runtime(device="cpu"))


@pytest.fixture(scope="module")
def reference() -> SentenceTransformer:
    return SentenceTransformer(str(minilm()), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def dense(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(plain, tmp_path_factory.mktemp("dense") / "model")
    torch.manual_seed(1)
    return with_modules(folder, Pooling(WIDTH, "mean"), Dense(WIDTH, 24), LayerNorm(24), Normalize())


@pytest.fixture(scope="module")
def small(dense: Path) -> TransformerEncoder:
    return loaded(dense)


def inputs_of(encoder: TransformerEncoder, texts: Sequence[str], role: Role = "document") -> list[Input]:
    """Each text as much as fits."""
    room = (encoder.traits.max_tokens or 0) - encoder.overhead(role)
    return [text.input(0, min(text.tokens, room)) for text in encoder.tokenize(texts, role)]


def vectors_of(encoder: TransformerEncoder, texts: Sequence[str], role: Role = "document") -> Any:
    return np.concatenate(encoder.encode(inputs_of(encoder, texts, role)))


def loaded(path: Path, runtime: Runtime | None = None, window: int = WINDOW, **parameters: Any) -> TransformerEncoder:
    return transformer_encoder(card(path, window, **parameters), runtime or Runtime(device="cpu"))


# --- against sentence-transformers


def test_vectors_are_those_of_sentence_transformers(
    encoder: TransformerEncoder, reference: SentenceTransformer
) -> None:
    vectors = vectors_of(encoder, TEXTS)

    assert vectors.dtype == np.float32
    assert np.abs(vectors - reference.encode(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("padding", ["longest", "window"])
def test_prompts_and_padding_to_the_window_agree_with_sentence_transformers_too(
    reference: SentenceTransformer, padding: str
) -> None:
    encoder = loaded(minilm(), window=256, query_prompt="query: ", document_prompt="passage: ", padding=padding)

    for role, prompt in (("query", "query: "), ("document", "passage: ")):
        expected = reference.encode(TEXTS[:3], prompt=prompt)
        assert np.abs(vectors_of(encoder, TEXTS[:3], role) - expected).max() < 1e-5


def test_traits_say_what_was_loaded(encoder: TransformerEncoder) -> None:
    traits = encoder.traits

    assert isinstance(encoder, Encoder)
    assert (traits.dim, traits.max_tokens, traits.dtype, traits.device) == (384, 256, "float32", "cpu")
    assert (traits.spans, traits.unit_length, traits.concurrency, traits.padding) == (True, True, 1, "longest")


# --- batches, spans, threads, memory


def together_as_alone(encoder: TransformerEncoder, inputs: Sequence[Input], within: float = 1e-5) -> None:
    alone = [encoder.encode([each])[0] for each in inputs]

    together = encoder.encode(inputs)

    assert all(np.abs(one - other).max() < within for one, other in zip(alone, together, strict=True))


def test_a_vector_does_not_depend_on_what_else_is_in_the_batch(encoder: TransformerEncoder) -> None:
    together_as_alone(encoder, inputs_of(encoder, TEXTS))


def test_in_half_precision_it_hardly_does() -> None:
    half = transformer_encoder(card(minilm(), 256), Runtime(device="cpu", dtype="bfloat16"))

    together_as_alone(half, inputs_of(half, TEXTS), within=1e-2)


@settings(max_examples=20)
@given(data=st.data())
def test_nor_in_any_batch_of_a_small_model(small: TransformerEncoder, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.lists(st.sampled_from(WORDS), min_size=1).map(" ".join), min_size=1, max_size=6))

    together_as_alone(small, inputs_of(small, texts))


@pytest.mark.parametrize("text", TEXTS)
def test_one_span_over_everything_is_the_ordinary_vector(encoder: TransformerEncoder, text: str) -> None:
    (whole,) = inputs_of(encoder, [text])

    ordinary, late = encoder.encode([whole, replace(whole, spans=((0, whole.tokens),))])

    assert np.abs(ordinary - late).max() < 1e-6


def test_a_span_is_the_mean_of_the_token_vectors_of_sentence_transformers(
    encoder: TransformerEncoder, reference: SentenceTransformer
) -> None:
    whole, other = inputs_of(encoder, [LONG[:400], "another"])
    spans: tuple[Span, ...] = ((0, 10), (10, 11), (5, whole.tokens))

    late, alone = encoder.encode([replace(whole, spans=spans), other])

    tokens = reference.encode(LONG[:400], output_value="token_embeddings").numpy()
    means = np.stack([tokens[start:stop].mean(axis=0) for start, stop in spans])
    assert late.shape == (3, 384)
    assert np.abs(late - means / np.linalg.norm(means, axis=1, keepdims=True)).max() < 1e-5
    assert np.abs(alone - vectors_of(encoder, ["another"])).max() < 1e-5


@settings(max_examples=20)
@given(data=st.data())
def test_spans_do_not_depend_on_each_other(small: TransformerEncoder, data: st.DataObject) -> None:
    inputs = inputs_of(small, SHORT)
    for place, each in enumerate(inputs):
        starts = data.draw(st.lists(st.integers(0, each.tokens - 1), max_size=4))
        spans = tuple((start, data.draw(st.integers(start + 1, each.tokens))) for start in starts)
        inputs[place] = replace(each, spans=spans)

    answers = small.encode(inputs)

    for each, answer in zip(inputs, answers, strict=True):
        singly = [small.encode([replace(each, spans=(span,))])[0] for span in each.spans]
        assert answer.shape == (each.vectors, 24)
        assert not singly or np.abs(answer - np.concatenate(singly)).max() < 1e-5


def test_two_replicas_compute_in_two_threads_at_the_same_time(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (loaded(plain, Runtime(device=device), pooling="mean") for device in ("cpu", "cpu,cpu"))
    meeting = threading.Barrier(2)
    forward = two._forward

    def met(*batch: Any) -> Any:
        meeting.wait(timeout=30)  # broken unless two are in here
        return forward(*batch)

    monkeypatch.setattr(two, "_forward", met)
    inputs = inputs_of(one, SHORT)
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(two.encode, [inputs] * 6))

    assert (one.traits.concurrency, two.traits.concurrency) == (1, 2)
    assert one.traits.fingerprint == two.traits.fingerprint
    for answer in answers:
        assert np.abs(np.concatenate(answer) - vectors_of(one, SHORT)).max() < 1e-6


def test_a_batch_that_does_not_fit_is_a_memory_error_and_the_next_one_is_computed(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = loaded(plain, pooling="mean")
    inputs = inputs_of(encoder, SHORT)
    before = encoder.encode(inputs)
    with monkeypatch.context() as patched:
        patched.setattr(BertModel, "forward", lambda *_, **__: torch.empty(1 << 50))
        with pytest.raises(MemoryError, match="does not fit on cpu"):
            encoder.encode(inputs)
        patched.setattr(BertModel, "forward", lambda *_, **__: torch.ones(2) @ torch.ones(3))
        with pytest.raises(RuntimeError, match="inconsistent"):
            encoder.encode(inputs)

    assert np.array_equal(np.concatenate(encoder.encode(inputs)), np.concatenate(before))


# --- the kinds of checkpoint


def hidden(path: Path, encoder: TransformerEncoder, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """The token vectors of the short texts, each computed alone by transformers."""
    model = AutoModel.from_pretrained(path, dtype=dtype).eval()
    ids = [torch.from_numpy(each.content.astype(np.int64))[None] for each in inputs_of(encoder, SHORT)]  # type: ignore[union-attr]
    with torch.inference_mode():
        return [model(each).last_hidden_state[0].float() for each in ids]


@pytest.mark.parametrize(
    ("pooling", "of"),
    [("cls", lambda tokens: tokens[0]), ("mean", lambda tokens: tokens.mean(0)), ("last", lambda tokens: tokens[-1])],
)
def test_a_plain_checkpoint_pools_as_its_card_says(plain: Path, pooling: str, of: Any) -> None:
    encoder = loaded(plain, pooling=pooling)

    expected = np.stack([of(tokens).numpy() for tokens in hidden(plain, encoder)])

    assert encoder.traits.spans == (pooling == "mean")
    assert not encoder.traits.unit_length
    assert np.abs(vectors_of(encoder, SHORT) - expected).max() < 1e-5


def test_a_card_may_ask_for_vectors_of_length_one(plain: Path) -> None:
    encoder = loaded(plain, pooling="cls", normalise=True)

    assert encoder.traits.unit_length
    assert np.abs(np.linalg.norm(vectors_of(encoder, SHORT), axis=1) - 1).max() < 1e-6


def test_every_module_after_pooling_counts_for_spans_as_well(dense: Path) -> None:
    encoder = loaded(dense)

    vectors = vectors_of(encoder, SHORT)

    assert encoder.traits.dim == 24
    assert np.abs(vectors - SentenceTransformer(str(dense), device="cpu").encode(SHORT)).max() < 1e-5
    spanned = [replace(each, spans=((0, each.tokens),)) for each in inputs_of(encoder, SHORT)]
    assert np.abs(np.concatenate(encoder.encode(spanned)) - vectors).max() < 1e-6


def test_in_half_precision_only_the_transformer_is(dense: Path) -> None:
    encoder = loaded(dense, Runtime(device="cpu", dtype="bfloat16"))
    means = torch.stack([tokens.mean(0) for tokens in hidden(dense, encoder, torch.bfloat16)])
    tail = [Dense.load(str(dense), subfolder="2_Dense"), LayerNorm.load(str(dense), subfolder="3_LayerNorm")]
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(tail[1].norm(torch.tanh(tail[0].linear(means)))).numpy()

    alone = np.concatenate([encoder.encode([each])[0] for each in inputs_of(encoder, SHORT)])

    assert encoder.traits.dtype == "bfloat16"
    assert alone.dtype == np.float32
    assert np.abs(alone - expected).max() < 1e-5
    assert encoder.traits.fingerprint == loaded(dense).traits.fingerprint  # the precision is a trait of its own


def test_vectors_are_cut_where_the_checkpoint_says_so(dense: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(dense, tmp_path / "model")
    (folder / "config_sentence_transformers.json").write_text('{"truncate_dim": 8}')
    encoder = loaded(folder)

    assert (encoder.traits.dim, encoder.traits.unit_length) == (8, False)
    expected = SentenceTransformer(str(folder), device="cpu").encode(SHORT)
    assert np.abs(vectors_of(encoder, SHORT) - expected).max() < 1e-5


def test_a_tokenizer_without_padding_token_pads_all_the_same(tmp_path: Path) -> None:
    encoder = loaded(bert(tmp_path, pad=None), pooling="mean")

    alone = np.concatenate([encoder.encode([each])[0] for each in inputs_of(encoder, SHORT)])

    assert np.abs(vectors_of(encoder, SHORT) - alone).max() < 1e-5


def decoder(folder: Path) -> Path:
    torch.manual_seed(0)
    MistralModel(
        MistralConfig(
            vocab_size=40,
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=WINDOW,
            initializer_range=0.5,
        )
    ).save_pretrained(folder)
    tokenizer(folder)
    return folder


def test_a_decoder_gives_its_last_token_whatever_the_padding(tmp_path: Path) -> None:
    decoder(tmp_path)
    longest, window = (loaded(tmp_path, pooling="last", padding=padding) for padding in ("longest", "window"))

    expected = np.stack([tokens[-1].numpy() for tokens in hidden(tmp_path, longest)])

    assert np.abs(vectors_of(longest, SHORT) - expected).max() < 1e-5
    assert np.abs(vectors_of(window, SHORT) - expected).max() < 1e-5


@pytest.mark.parametrize("modules", [False, True], ids=["plain", "modules"])
@pytest.mark.parametrize(
    ("kind", "template", "flags", "framed"),
    [
        ("LlamaTokenizer", "[CLS] $A", {"add_bos_token": True, "add_eos_token": True}, (True, True)),
        ("LlamaTokenizerFast", "[CLS] $A", {"add_eos_token": True}, (True, True)),
        ("LlamaTokenizer", "[CLS] $A [SEP]", {"add_bos_token": False, "add_eos_token": True}, (False, True)),
        ("LlamaTokenizer", "[CLS] $A [SEP]", {}, (True, True)),
        ("PreTrainedTokenizerFast", "[CLS] $A", {"add_bos_token": False, "add_eos_token": True}, (True, False)),
    ],
)
def test_special_tokens_are_those_that_a_llamas_tokenizer_config_asks_for(
    kind: str, template: str, flags: dict[str, bool], framed: tuple[bool, bool], modules: bool, tmp_path: Path
) -> None:
    tokenizer(decoder(tmp_path), template=template)
    named = {"tokenizer_class": kind, "bos_token": "[CLS]", "eos_token": "[SEP]"}
    change(tmp_path / "tokenizer_config.json", **named, **flags)
    told = dict(zip(("add_bos_token", "add_eos_token"), framed, strict=True))
    from_modules = with_modules(shutil.copytree(tmp_path, tmp_path / "modules"), Pooling(WIDTH, "lasttoken"))
    reference = SentenceTransformer(str(from_modules), device="cpu", local_files_only=True, processor_kwargs=told)

    encoder = loaded(from_modules) if modules else loaded(tmp_path, pooling="last")

    content = inputs_of(encoder, ["cat"])[0].content
    assert (content[0] == 0, content[-1] == 2, len(content)) == (*framed, 1 + sum(framed))
    assert np.abs(vectors_of(encoder, SHORT) - reference.encode(SHORT)).max() < 1e-5


def test_positions_that_begin_behind_the_padding_token_are_not_part_of_the_window(tmp_path: Path) -> None:
    torch.manual_seed(0)
    RobertaModel(
        RobertaConfig(
            vocab_size=40,
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=WINDOW + 2,
            pad_token_id=1,
        )
    ).save_pretrained(tmp_path)
    tokenizer(tmp_path)

    with pytest.raises(LocoError, match=f"window of {WINDOW + 1} tokens, and its checkpoint takes {WINDOW}"):
        loaded(tmp_path, window=WINDOW + 1, pooling="mean")
    encoder = loaded(tmp_path, pooling="mean")
    (full,) = inputs_of(encoder, ["cat " * 100])
    assert full.tokens == WINDOW
    assert np.isfinite(encoder.encode([full])[0]).all()


def test_weights_that_are_no_numbers_reach_the_caller(plain: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(plain, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    assert np.isnan(vectors_of(loaded(folder, pooling="mean"), SHORT)).all()


def test_a_dimension_that_changes_is_an_error(plain: Path) -> None:
    encoder = loaded(plain, pooling="mean")
    modules, device = encoder._replicas._free.get()
    modules[1].forward = lambda features: {"sentence_embedding": features["token_embeddings"][:, 0, :5]}
    encoder._replicas._free.put((modules, device))

    with pytest.raises(LocoError, match="vectors of 5 dimensions after some of 16"):
        encoder.encode(inputs_of(encoder, SHORT))


# --- what a vector depends on


def test_the_fingerprint_follows_what_decides_a_vector_and_not_the_place(plain: Path, tmp_path: Path) -> None:
    def fingerprint(folder: Path, **parameters: Any) -> str:
        return loaded(folder, **{"pooling": "mean", **parameters}).traits.fingerprint

    copied = shutil.copytree(plain, tmp_path / "copy")
    (copied / "README.md").write_text("Nothing reads this.")
    other = shutil.copytree(plain, tmp_path / "other")
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    settled = shutil.copytree(plain, tmp_path / "settled")
    change(settled / "config.json", layer_norm_eps=1e-3)

    same = fingerprint(plain)

    assert fingerprint(copied) == same
    different = [
        fingerprint(other),
        fingerprint(settled),
        fingerprint(plain, pooling="cls"),
        fingerprint(plain, normalise=True),
        fingerprint(plain, query_prompt="query: "),
    ]
    assert len({same, *different}) == 6


# --- devices


@pytest.mark.parametrize(
    ("runtime", "line"),
    [
        (Runtime(device="gpu"), "There is no device 'gpu' here"),
        (Runtime(device="meta"), "There is no device 'meta' here"),
        (Runtime(device="cuda:9"), "There is no device 'cuda:9' here"),
        (Runtime(device="cpu,cpu:x"), "There is no device 'cpu:x' here"),
        (Runtime(device="cpu", dtype="int8"), "--dtype int8 is unknown"),
    ],
)
def test_what_cannot_be_run_on_is_one_line(plain: Path, runtime: Runtime, line: str) -> None:
    with pytest.raises(LocoError, match=line) as caught:
        loaded(plain, runtime, pooling="mean")

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["torch", "transformers", "sentence_transformers"])
def test_what_is_not_installed_is_one_line_with_the_command(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"needs_{package}"
    (tmp_path / f"{name}.py").write_text(f"import {package}.nn\n\n\ndef model(card, runtime):\n    return card\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    made = card(tmp_path).model_copy(update={"factory": f"{name}:model"})
    with pytest.raises(LocoError, match=rf"needs {package}: install with pip install 'loco-bench\[transformers\]'$"):
        load_model(made)


def test_a_cpu_computes_a_batch_on_each_core_and_leaves_pytorch_as_it_was(plain: Path) -> None:
    alone = loaded(plain, pooling="mean")
    torch.set_num_threads(2)
    try:
        cores = loaded(plain, pooling="mean")
        assert (alone.traits.concurrency, cores.traits.concurrency) == (1, 2)
        batches = [[one] for one in inputs_of(cores, [*SHORT, *SHORT])]
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(cores.encode, batches))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for (vector,), batch in zip(found, batches, strict=True):
        assert np.abs(vector - alone.encode(batch)[0]).max() < 1e-5


def test_batches_hold_as_many_tokens_as_the_user_says(plain: Path) -> None:
    assert loaded(plain, Runtime(device="cpu", batch_tokens=77), pooling="mean").traits.batch_tokens == 77

"""What holds of an M2-BERT whatever its weights are."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from m2bert_golden import apart
from torch import Tensor
from torch.nn.utils.parametrize import register_parametrization
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from loco.errors import LocoError
from loco_adapters.m2bert import M2BertConfig, M2BertForMaskedLM, M2BertModel, fast
from loco_adapters.m2bert.filters import ImplicitFilter
from loco_adapters.m2bert.kept import Keeping
from loco_adapters.m2bert.long_convolution import convolve, fft_length, spectrum_of, taps_on_first, two_sided_kernel

CHANNELS = 3
ONEDNN = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
LIBRARIES = [False, pytest.param(True, marks=pytest.mark.skipif(not ONEDNN, reason="this torch has no oneDNN"))]
Kernel = tuple[Tensor, Tensor, Tensor]


def _config(window: int = 24, **changes: object) -> M2BertConfig:
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    return M2BertConfig(
        **{**sizes, "hyena_filter_order": 6, "hidden_dropout_prob": 0.0, **changes}, max_position_embeddings=window
    )


def _model(window: int = 24, seed: int = 0, **changes: object) -> M2BertModel:
    torch.manual_seed(seed)
    encoder = M2BertModel(_config(window, **changes)).eval()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return encoder


def _ids(batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(seed))


def _kernel(length: int, seed: int) -> Kernel:
    drawn = torch.Generator().manual_seed(seed)
    forward, backward = torch.randn(2, CHANNELS, length, generator=drawn, dtype=torch.float64)
    return forward, backward, torch.randn(CHANNELS, generator=drawn, dtype=torch.float64)


def _signal(length: int, seed: int, batch: int = 2) -> Tensor:
    drawn = torch.Generator().manual_seed(seed + 1)
    return torch.randn(batch, CHANNELS, length, generator=drawn, dtype=torch.float64)


def _by_fft(kernel: Kernel, signal: Tensor) -> Tensor:
    return convolve(signal, spectrum_of(two_sided_kernel(*kernel)))


def _by_definition(kernel: Kernel, signal: Tensor) -> Tensor:
    """y[n] = D u[n] + sum_{m <= n} k_fwd[n - m] u[m] + sum_{m > n} k_rev[m - n - 1] u[m], term by term."""
    forward, backward, skip = kernel
    result = skip[:, None] * signal
    length = signal.shape[-1]
    for n in range(length):
        for m in range(length):
            tap = forward[:, n - m] if m <= n else backward[:, m - n - 1]
            result[..., n] = result[..., n] + tap * signal[..., m]
    return result


lengths = st.integers(1, 40)
seeds = st.integers(0, 2**16)


@given(length=lengths, seed=seeds)
def test_the_fft_computes_the_sum_that_defines_the_convolution(length: int, seed: int) -> None:
    kernel, signal = _kernel(length, seed), _signal(length, seed)
    assert apart(_by_fft(kernel, signal), _by_definition(kernel, signal)) < 1e-10


@given(length=lengths, seed=seeds)
def test_the_taps_on_the_first_token_give_the_convolution_there(length: int, seed: int) -> None:
    kernel, signal = _kernel(length, seed), _signal(length, seed)
    assert apart((signal * taps_on_first(*kernel)).sum(-1), _by_definition(kernel, signal)[..., 0]) < 1e-10


@given(length=st.integers(2, 60), seed=seeds, data=st.data())
def test_the_forward_kernel_is_causal_and_the_reverse_one_sees_only_what_comes(
    length: int, seed: int, data: st.DataObject
) -> None:
    forward, backward, skip = _kernel(length, seed)
    nothing, at = torch.zeros_like(forward), data.draw(st.integers(1, length - 1))
    signal = _signal(length, seed)
    changed = signal.clone()
    changed[..., at] += 1
    past = _by_fft((forward, nothing, skip), changed) - _by_fft((forward, nothing, skip), signal)
    assert apart(past[..., :at], torch.zeros_like(past[..., :at])) < 1e-10
    future = _by_fft((nothing, backward, 0 * skip), changed) - _by_fft((nothing, backward, 0 * skip), signal)
    assert apart(future[..., at:], torch.zeros_like(future[..., at:])) < 1e-10


@given(length=st.integers(2, 60), seed=seeds)
def test_kernels_are_aligned_forward_from_the_token_itself_and_reverse_from_the_next(length: int, seed: int) -> None:
    forward, backward, skip = _kernel(length, seed)
    impulse = torch.zeros(1, CHANNELS, length, dtype=torch.float64)
    impulse[..., -1] = 1
    response = _by_fft((forward, backward, skip), impulse)[0]
    assert apart(response[:, -1], forward[:, 0] + skip) < 1e-10
    assert apart(response[:, -2], backward[:, 0]) < 1e-10
    assert apart(response[:, :-1], backward[:, :-1].flip(-1)) < 1e-10
    assert apart(_by_fft((forward, backward, skip), impulse.flip(-1))[0][:, 1:], forward[:, 1:]) < 1e-10


@given(length=lengths, seed=seeds, scale=st.floats(-3, 3))
def test_a_long_convolution_is_linear(length: int, seed: int, scale: float) -> None:
    kernel, one, other = _kernel(length, seed), _signal(length, seed), _signal(length, seed + 7)
    together = _by_fft(kernel, scale * one + other)
    assert apart(together, scale * _by_fft(kernel, one) + _by_fft(kernel, other)) < 1e-10


@given(length=st.integers(2, 60), seed=seeds)
def test_nothing_wraps_around_from_one_end_to_the_other(length: int, seed: int) -> None:
    kernel, signal = _kernel(length, seed), _signal(length, seed)
    padded = [torch.cat([part, torch.zeros_like(part)], dim=-1) for part in kernel[:2]]
    longer = torch.cat([signal, torch.zeros_like(signal)], dim=-1)
    assert apart(_by_fft((padded[0], padded[1], kernel[2]), longer)[..., :length], _by_fft(kernel, signal)) < 1e-10


@given(length=st.integers(1, 100_000))
def test_an_ffts_length_leaves_room_for_both_kernels_and_is_five_smooth(length: int) -> None:
    size = fft_length(length)
    assert size >= 2 * length - 1
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    assert size == 1


@pytest.mark.parametrize("by_onednn", LIBRARIES)
@settings(max_examples=30)
@given(window=st.integers(2, 40), length=st.integers(1, 40), batch=st.integers(1, 5), seed=seeds)
def test_both_ways_through_the_layers_agree(by_onednn: bool, window: int, length: int, batch: int, seed: int) -> None:
    encoder = _model(window, seed)
    ids = _ids(batch, min(length, window), seed)
    plain, plain_embedding = encoder(ids, output_hidden_states=True), encoder.embed(ids)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(fast, "_by_onednn", lambda: by_onednn)
        quick, quick_embedding = encoder(ids, output_hidden_states=True), encoder.embed(ids)
    for ours, theirs in zip(quick.hidden_states, plain.hidden_states, strict=True):
        assert apart(ours, theirs) < 2e-4
    assert apart(quick_embedding, plain_embedding) < 2e-4
    assert apart(quick.pooler_output, quick_embedding) < 2e-4


@pytest.mark.parametrize("by_onednn", LIBRARIES)
def test_a_document_is_embedded_alike_alone_and_in_a_batch_in_groups_of_any_size(
    monkeypatch: pytest.MonkeyPatch, by_onednn: bool
) -> None:
    monkeypatch.setattr(fast, "_by_onednn", lambda: by_onednn)
    encoder, ids = _model(), _ids(7, 24)
    with torch.inference_mode():
        alone = torch.cat([encoder.embed(row[None]) for row in ids])
        for tokens, values, channels in ((24, 1, 1), (48, 200, 3), (48, 9000, 2), (1000, 1 << 20, 16)):
            monkeypatch.setattr(fast, "_DOCUMENT_TOKENS", tokens)
            monkeypatch.setattr(fast, "_MLP_TOKENS", max(tokens // 5, 1))
            for name in ("_PROJECTED", "_SIGNAL"):
                monkeypatch.setattr(fast, f"{name}_VALUES", values)
                monkeypatch.setattr(fast, f"{name}_CHANNELS", channels)
            assert apart(encoder.embed(ids), alone) < 1e-4
            assert apart(encoder(ids).pooler_output, alone) < 1e-4


@pytest.mark.skipif(not ONEDNN, reason="this torch multiplies by one library only")
@pytest.mark.parametrize(
    ("capabilities", "by_onednn"),
    [({"cpu_name": "AMD EPYC"}, True), ({"cpu_name": "Intel(R) Xeon(R) Processor"}, False), ({}, False)],
)
def test_onednn_multiplies_on_amds_processors(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, str], by_onednn: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert fast._by_onednn.__wrapped__() == by_onednn


def test_a_product_is_the_same_by_either_library_of_a_whole_and_of_parts_of_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight, x = torch.randn(8, 6), torch.randn(6, 20)
    for by_onednn in (False, ONEDNN):
        monkeypatch.setattr(fast, "_by_onednn", lambda by_onednn=by_onednn: by_onednn)
        for columns in (slice(None), slice(0, 7), slice(7, 20)):
            product = fast._Product(x[:, columns], torch.empty(8, 20)[:, columns])
            assert product.fresh == (by_onednn and columns == slice(None))
            assert apart(product.of(weight), weight @ x[:, columns]) < 1e-5


@given(channels=st.integers(1, 200), values=st.integers(1, 5000), least=st.integers(1, 50), each=st.integers(1, 500))
def test_blocks_of_channels_are_equal_and_as_large_as_allowed(
    channels: int, values: int, least: int, each: int
) -> None:
    block = fast._at_once(channels, values, least, each)
    assert channels % block == 0
    assert block <= least or block * each <= values
    larger = [c for c in range(block + 1, channels + 1) if channels % c == 0]
    assert all(c > least and c * each > values for c in larger)


def test_embedding_changes_nothing_in_what_it_was_given() -> None:
    encoder = _model()
    x = torch.randn(2, 24, 16)
    before = x.clone()
    with torch.inference_mode():
        encoder.encoder(x)
        encoder.encoder(x, [])
        weights = copy.deepcopy(encoder.state_dict())
        encoder.embed(_ids(2, 24))
    assert torch.equal(x, before)
    assert all(torch.equal(weight, weights[name]) for name, weight in encoder.state_dict().items())


def test_padding_changes_an_embedding_and_the_mask_does_not() -> None:
    encoder, ids = _model(), _ids(1, 10)
    padded = torch.nn.functional.pad(ids, (0, 14))
    mask = (torch.arange(24) < 10).long()[None]
    with torch.inference_mode():
        assert apart(encoder.embed(padded), encoder.embed(ids)) > 1e-3
        assert torch.equal(encoder.embed(padded, mask), encoder.embed(padded))


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")  # until transformers 6
@pytest.mark.parametrize("pool_all", [False, True])
@pytest.mark.parametrize("mode", ["embedding", "differentiated", "checkpointed"])
@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(1, 24), min_size=1, max_size=3), filled=st.integers(0, 5), seed=seeds)
def test_without_padding_to_the_window_a_text_is_read_as_if_alone(
    pool_all: bool, mode: str, lengths: list[int], filled: int, seed: int
) -> None:
    encoder = _model(pool_all=pool_all, pad_to_window=False).double().train(mode != "embedding")
    if mode == "checkpointed":
        encoder.gradient_checkpointing_enable({"use_reentrant": False})
    width = min(24, max(lengths) + filled)
    ids = _ids(len(lengths), width, seed)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    results = []
    for batch in ([(ids, mask)], [(row[:length][None], None) for row, length in zip(ids, lengths, strict=True)]):
        encoder.zero_grad()
        with torch.set_grad_enabled(mode != "embedding"):
            embedded = torch.cat([encoder.embed(*each) for each in batch])
        if mode != "embedding":
            embedded.square().sum().backward()
        pooled = torch.cat([encoder(*each).pooler_output for each in batch])
        assert apart(pooled, embedded) < 1e-9
        results.append([embedded, *(weight.grad for weight in encoder.parameters() if weight.grad is not None)])
    together, alone = results
    assert len(together) == len(alone)
    assert max(apart(*pair) for pair in zip(together, alone, strict=True)) < 1e-7


def test_more_tokens_than_the_window_are_refused() -> None:
    with pytest.raises(LocoError, match="reads 1 to 24 tokens at once, not 25"):
        _model().embed(_ids(1, 25))


@pytest.mark.parametrize("how", ["step", "load", "move", "data"])
def test_kept_spectra_follow_the_weights(how: str) -> None:
    encoder, ids = _model(), _ids(2, 24)
    with torch.no_grad():
        before = encoder.embed(ids)
        assert torch.equal(encoder.embed(ids), before)
    if how == "step":
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1)
        encoder.embed(ids).sum().backward()
        optimizer.step()
    elif how == "load":
        encoder.load_state_dict(_model(seed=1).state_dict())
    elif how == "move":
        encoder.to(torch.float64).to(torch.float32)
        encoder.load_state_dict(_model(seed=1).state_dict())
    else:
        for module in encoder.modules():
            if isinstance(module, ImplicitFilter):
                module.bias.data += 1
                module.forget()
    with torch.no_grad():
        after = encoder.embed(ids)
    assert apart(after, before) > 1e-3
    assert apart(after, encoder.embed(ids)) < 2e-4  # made anew, as it is differentiated


@pytest.mark.parametrize("how", ["written", "swapped", "replaced"])
def test_no_weight_of_a_layer_changes_unseen(how: str) -> None:
    encoder, ids = _model(), _ids(2, 24)
    with torch.no_grad():
        last = encoder.embed(ids)
        for layer in encoder.encoder.layer:
            for name, weight in [*layer.named_parameters(), *layer.named_buffers()]:
                changed = weight + 0.1 * torch.randn_like(weight)
                if how == "written":
                    weight.copy_(changed)
                elif how == "swapped":
                    weight.data = changed
                else:
                    module, _, own = name.rpartition(".")
                    parameter = isinstance(weight, torch.nn.Parameter)
                    setattr(layer.get_submodule(module), own, torch.nn.Parameter(changed) if parameter else changed)
                embedded = encoder.embed(ids)
                assert torch.equal(embedded, copy.deepcopy(encoder).embed(ids)), name  # a copy keeps nothing
                assert not torch.equal(embedded, last), name
                last = embedded


def test_an_eps_set_after_a_call_is_used_in_the_next() -> None:
    encoder, ids = _model(), _ids(2, 24)
    with torch.no_grad():
        before = encoder.embed(ids)
        encoder.encoder.layer[0].mlp.layernorm.eps = 1.0
        assert apart(encoder.embed(ids), copy.deepcopy(encoder).embed(ids)) == 0
        assert apart(encoder.embed(ids), before) > 1e-3


def test_what_is_kept_in_inference_mode_serves_outside_of_it() -> None:
    encoder, ids = _model(), _ids(2, 24)
    with torch.inference_mode():
        before = encoder.embed(ids)
    with torch.no_grad():
        assert torch.equal(encoder.embed(ids), before)
    encoder.embed(ids).sum().backward()
    assert all(layer.attention.in_linear.weight.grad is not None for layer in encoder.encoder.layer)


def test_lengths_in_turn_use_kernels_of_their_own() -> None:
    encoder = _model()
    with torch.no_grad():
        for length in (24, 5, 24, 6):
            ids = _ids(1, length)
            assert apart(encoder.embed(ids), _model().embed(ids)) < 2e-4


def test_training_differentiates_through_every_weight() -> None:
    encoder = _model().train()
    encoder.embed(_ids(2, 24)).square().sum().backward()
    without = {name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert without == set()


def test_gradients_agree_with_differences() -> None:
    encoder = _model(6, hidden_size=4, intermediate_size=8, hyena_filter_order=3, num_hidden_layers=1).double()
    ids = _ids(1, 6)
    mixer = encoder.encoder.layer[0].attention
    names = ["filter_fn.implicit_filter.1.freq", "filter_fn.pos_emb.z", "filter_fn2.bias", "in_linear.weight"]
    given_weights = [mixer.get_parameter(name) for name in names]

    def embedded(*_: Tensor) -> Tensor:
        return encoder.embed(ids)

    assert torch.autograd.gradcheck(embedded, given_weights, atol=1e-6)


def test_in_bfloat16_it_embeds_nearly_as_in_single_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = M2BertModel(_config(512, hidden_size=64, intermediate_size=256, hyena_filter_order=16)).eval()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    encoder.save_pretrained(tmp_path)
    ids = _ids(3, 512)
    with torch.inference_mode():
        expected = encoder.embed(ids)
        for halved in (copy.deepcopy(encoder).bfloat16(), AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)):
            filters = halved.encoder.layer[0].attention.filter_fn
            assert {weight.dtype for weight in (*filters.parameters(), *filters.buffers())} == {torch.float32}
            assert filters.spectrum(512).dtype == torch.complex64
            for embedding in (halved.embed(ids), halved.eval()(ids).pooler_output):
                assert embedding.dtype == torch.bfloat16
                assert embedding.isfinite().all()
                assert torch.cosine_similarity(embedding.float(), expected).min() > 0.99  # 0.7 with halved filters


def test_half_precision_weights_convolve_in_single_precision() -> None:
    encoder, ids = _model(), _ids(2, 24)
    halved = copy.deepcopy(encoder).to(torch.bfloat16)
    rounded = copy.deepcopy(halved).float()
    kernels = [model.encoder.layer[0].attention.filter_fn.kernels(24) for model in (halved, rounded)]
    assert kernels[0][0].dtype == torch.float32
    assert max(map(apart, *kernels)) < 1e-5
    with torch.inference_mode():
        expected = rounded.embed(ids)
        close = torch.cosine_similarity(halved.embed(ids).float(), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            kernel = rounded.encoder.layer[0].attention.filter_fn.kernels(24)[0]
            autocast = torch.cosine_similarity(rounded.embed(ids).float(), expected)
    assert apart(kernel, kernels[1][0]) < 1e-5
    assert close.min() > 0.95
    assert autocast.min() > 0.95


def test_a_replaced_part_or_a_hook_is_not_passed_over() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    encoder, ids = _model(), _ids(1, 24)
    mixer = encoder.encoder.layer[0].attention
    calls: list[int] = []
    with torch.inference_mode():
        before = encoder.embed(ids)
        handle = mixer.out_linear.register_forward_hook(lambda *_: calls.append(1))
        encoder.embed(ids)
        handle.remove()
        doubled = Doubled(16, 16)
        doubled.load_state_dict(mixer.out_linear.state_dict())
        mixer.out_linear = doubled
        assert apart(encoder.embed(ids), before) > 1e-3
    assert calls == [1]


def test_a_parametrised_weight_is_not_passed_over() -> None:
    class Doubled(torch.nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    encoder, ids = _model(), _ids(1, 24)
    with torch.no_grad():
        before = encoder.embed(ids)
        register_parametrization(encoder.encoder.layer[0].attention.out_linear, "weight", Doubled())
        assert apart(encoder.embed(ids), before) > 1e-3


@pytest.mark.parametrize("kind", [M2BertModel, M2BertForMaskedLM])
def test_saved_and_loaded_by_transformers_it_is_the_same_model(tmp_path, kind) -> None:
    torch.manual_seed(3)
    saved = kind(_config()).eval()
    saved.save_pretrained(tmp_path)
    auto = AutoModel if kind is M2BertModel else AutoModelForMaskedLM
    loaded, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is kind
    assert not any(report.values())
    assert type(AutoConfig.from_pretrained(tmp_path)) is M2BertConfig
    for name, weight in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    with torch.inference_mode():
        assert torch.equal(loaded(_ids(2, 24))[0], saved(_ids(2, 24))[0])
    first = loaded.get_submodule("bert" if kind is M2BertForMaskedLM else "").encoder.layer[0].attention.filter_fn
    assert first.implicit_filter[1] is first.implicit_filter_rev[5]
    if kind is M2BertForMaskedLM:
        assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight


def test_a_copy_and_a_pickle_make_their_own_spectra() -> None:
    encoder, ids = _model(), _ids(1, 24)
    with torch.inference_mode():
        expected = encoder.embed(ids)
        for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
            assert not any(module._kept for module in other.modules() if isinstance(module, Keeping))
            assert torch.equal(other.embed(ids), expected)


def test_initial_weights_are_as_documented() -> None:
    torch.manual_seed(0)
    encoder = M2BertModel(_config(hidden_size=64, intermediate_size=128, hyena_filter_order=32))
    layer = encoder.encoder.layer[0]
    filters = layer.attention.filter_fn
    assert torch.all(filters.implicit_filter[1].freq == 10)
    assert filters.pos_emb.t[0, [0, -1], 0].tolist() == [0.0, 1.0]
    assert filters.modulation.deltas[0, 0, 0].item() == pytest.approx(-3.0701, abs=1e-4)
    assert filters.modulation.deltas[0, 0, -1].item() == pytest.approx(-15.3506, abs=1e-4)
    assert filters.bias.std().item() == pytest.approx(1, abs=0.3)
    assert layer.mlp.gated_layers.weight.abs().max().item() == pytest.approx(16**-0.5, rel=0.01)
    assert layer.attention.short_filter.weight.abs().max().item() == pytest.approx(3**-0.5, rel=0.02)
    assert layer.attention.in_linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not encoder.embeddings.word_embeddings.weight[0].any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention_pooling": True}, "attention_pooling = True; only False is built here"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu'; only 'gelu' is built here"),
        ({"hidden_size": 18}, "widths 18 and 24 do not divide into 4 blocks"),
        ({"hyena_emb_dim": 4}, "hyena_emb_dim is 4, not an odd number"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"long_conv_l_max": 12}, "long_conv_l_max 12 differs from the window 24"),
    ],
)
def test_a_configuration_that_is_not_built_is_refused_in_one_line(changes: dict[str, object], said: str) -> None:
    with pytest.raises(LocoError) as caught:
        _config(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)

"""Our M2-BERT computes what the reference computes, on the golden vectors made with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from m2bert_golden import (
    TOLERANCES,
    apart,
    config,
    distances,
    golden,
    masked_lm,
    model,
    recipe,
    tensors,
    weights,
    within,
)

from loco_adapters.m2bert import M2BertModel, fast
from loco_adapters.m2bert.warm_start import extend


@pytest.mark.parametrize("case", ["t1", "t2"])
def test_hidden_states_and_embeddings_are_the_references(shared: Path, case: str) -> None:
    found = distances(model(golden(shared) / case), golden(shared) / case)
    assert all(within(found, case).values()), found


@pytest.mark.parametrize("case", ["t1", "t2"])
def test_every_layers_hidden_states_are_the_references(shared: Path, case: str) -> None:
    folder = golden(shared) / case
    expected = tensors(folder / "outputs.safetensors")
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            states = model(folder)(expected["input_ids"], output_hidden_states=True).hidden_states
        names = ["embedding_output", *(f"hidden.layer{i}" for i in range(len(states) - 1))]
        assert max(apart(ours, expected[name]) for ours, name in zip(states, names, strict=True)) <= TOLERANCES[case][0]


def test_pooling_by_the_mean_is_the_references(shared: Path) -> None:
    folder = golden(shared) / "t2"
    encoder = model(folder, "config_pool_all.json")
    expected = tensors(folder / "outputs.safetensors")
    with torch.inference_mode():
        output = encoder(expected["input_ids"], expected["attention_mask"])
        embedding = encoder.embed(expected["input_ids"], expected["attention_mask"])
    assert apart(output.pooler_output, expected["pooled_output.pool_all"]) <= 2e-5
    assert apart(embedding, expected["pooled_output.pool_all"]) <= 2e-5


def test_token_types_are_added_as_in_the_reference(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "outputs.safetensors")
    with torch.inference_mode():
        output = model(folder)(expected["input_ids"], token_type_ids=expected["token_type_ids"])
    assert apart(output.last_hidden_state, expected["last_hidden_state.token_type"]) <= 5e-5
    assert apart(output.pooler_output, expected["pooled_output.token_type"]) <= 1e-5


def test_kernels_are_the_references(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "outputs.safetensors")
    mixer = model(folder).encoder.layer[0].attention
    for name in ("filter_fn", "filter_fn2"):
        forward, backward = getattr(mixer, name).kernels(128)
        assert apart(forward, expected[f"layer0.{name}.k_fwd"]) <= 1e-5
        assert apart(backward, expected[f"layer0.{name}.k_rev"]) <= 1e-5


def test_each_stage_of_a_layer_is_the_references(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "layer0_trace.safetensors")
    encoder = model(folder)
    layer = encoder.encoder.layer[0]
    seen: dict[str, torch.Tensor] = {}

    def watch(module: torch.nn.Module, into: str | None, out: str | None) -> None:
        def hook(_: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if into:
                seen[into] = inputs[0]
            if out:
                seen[out] = output

        module.register_forward_hook(hook)

    mixer, mlp = layer.attention, layer.mlp
    watch(mixer.in_linear, None, "in_linear.out(B,L,3H)")
    watch(mixer.short_filter, None, "short_filter.out_uncut(B,3H,L+2)")
    watch(mixer.filter_fn, "long_conv1(B,H,L).in", "long_conv1(B,H,L).out")
    watch(mixer.filter_fn2, "long_conv2(B,H,L).in", "long_conv2(B,H,L).out")
    watch(mixer.out_linear, "out_linear(B,L,H).in", "out_linear(B,L,H).out")
    watch(mlp.gated_layers, None, "mlp.gated_layers.out(B,L,2I)")
    watch(mlp.wo, None, "mlp.wo.out(B,L,H)")
    watch(layer, None, "layer0.out(B,L,H)")
    with torch.inference_mode():  # hooks want to see every stage, so the plain way is taken
        encoder(tensors(folder / "outputs.safetensors")["input_ids"])
    assert set(seen) == set(expected)
    for name, value in expected.items():  # the MLP's product is a hundred times as large as hidden states
        assert apart(seen[name][:1], value) <= 5e-5 * max(1.0, float(value.abs().max()) / 10), name


def test_in_double_precision_nothing_but_rounding_is_left(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "outputs_fp64.safetensors")
    with torch.inference_mode():
        output = model(folder).double()(tensors(folder / "outputs.safetensors")["input_ids"])
    assert apart(output.last_hidden_state, expected["last_hidden_state"]) <= 1e-12
    assert apart(output.pooler_output, expected["pooled_output"]) <= 1e-12


def test_layer_norm_uses_the_epsilon_of_the_reference(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "eps_probe.safetensors")
    encoder = model(folder)
    with torch.inference_mode():
        for table in ("word", "position", "token_type"):
            getattr(encoder.embeddings, f"{table}_embeddings").weight.mul_(expected["scale"])
        output = encoder(tensors(folder / "outputs.safetensors")["input_ids"])
    assert apart(output.last_hidden_state, expected["last_hidden_state"]) <= 5e-5
    assert apart(output.pooler_output, expected["pooled_output"]) <= 1e-5


def test_masked_language_model_predicts_as_the_reference(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "mlm_outputs.safetensors")
    predictor = masked_lm(folder)
    with torch.inference_mode():
        logits = predictor(expected["input_ids"], expected["attention_mask"]).logits
        loss = predictor(expected["mlm_input_ids"], labels=expected["mlm_labels"]).loss
    assert apart(logits, expected["logits"]) <= 1e-4  # logits reach 30
    assert apart(loss, expected["mlm_loss"][0]) <= 1e-5


def test_training_makes_logits_for_the_counted_positions_and_the_same_loss(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "mlm_outputs.safetensors")
    predictor = masked_lm(folder).train()
    for module in predictor.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    output = predictor(expected["mlm_input_ids"], labels=expected["mlm_labels"])
    assert len(output.logits) == int((expected["mlm_labels"] > 0).sum())
    assert apart(output.loss, expected["mlm_loss"][0]) <= 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_references_with_and_without_checkpointing(shared: Path, checkpointing: bool) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "grads.safetensors")
    encoder = model(folder)
    if checkpointing:
        encoder.activation_checkpointing_enable({"use_reentrant": False})
        encoder.train()
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    inputs = tensors(folder / "outputs.safetensors")
    loss = (encoder(inputs["input_ids"], inputs["attention_mask"]).pooler_output * expected["_probe_r"]).sum()
    loss.backward()
    ours = {name: weight.grad for name, weight in encoder.named_parameters()}
    assert set(ours) == {name for name in expected if not name.startswith("_")}
    for name, gradient in ours.items():
        assert gradient is not None
        assert apart(gradient, expected[name]) <= 1e-4 * float(expected[name].abs().max()), name


def test_the_short_cut_through_the_last_layer_has_the_same_gradients(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected = tensors(folder / "grads.safetensors")
    encoder = model(folder)
    (encoder.embed(tensors(folder / "outputs.safetensors")["input_ids"]) * expected["_probe_r"]).sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None
        assert apart(weight.grad, expected[name]) <= 1e-4 * float(expected[name].abs().max()), name


def test_shorter_inputs_are_the_references_and_padding_changes_them(shared: Path) -> None:
    folder = golden(shared) / "t1"
    expected, full = tensors(folder / "short_inputs.safetensors"), tensors(folder / "outputs.safetensors")
    encoder = model(folder)
    unpadded = full["input_ids"][1:2, : int(full["attention_mask"][1].sum())]
    cases = {name: expected[f"{name}.input_ids"] for name in ("L77", "L16", "L1")} | {"row1_unpadded": unpadded}
    for name, ids in cases.items():
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                assert apart(encoder(ids).last_hidden_state, expected[f"{name}.last_hidden_state"]) <= 5e-5, name
                assert apart(encoder.embed(ids), expected[f"{name}.pooled_output"]) <= 1e-5, name
    forward, backward = encoder.encoder.layer[0].attention.filter_fn2.kernels(77)
    assert apart(forward, expected["L77.layer0.filter_fn2.k_fwd"]) <= 1e-5
    assert apart(backward, expected["L77.layer0.filter_fn2.k_rev"]) <= 1e-5
    with torch.inference_mode():
        assert apart(encoder.embed(unpadded), full["pooled_output"][1:2]) > 0.1


@pytest.mark.parametrize("features", ["tiled", "fresh"])
def test_a_longer_window_is_the_references(shared: Path, features: str) -> None:
    expected = tensors(golden(shared) / "posext" / "posext.safetensors")
    longer = extend(model(golden(shared) / "t1"), 512, features)
    _check_extension(longer, "tiled" if features == "tiled" else "fresh_z", expected)


def test_the_published_rules_zero_block_is_another_model(shared: Path) -> None:
    expected = tensors(golden(shared) / "posext" / "posext.safetensors")
    longer = extend(model(golden(shared) / "t1"), 512)
    with torch.no_grad():
        for name, weight in longer.named_parameters():
            if name.endswith("pos_emb.z"):
                weight[:, :128] = 0
    _check_extension(longer, "zero_block0", expected)
    with torch.inference_mode():
        embedding = longer.embed(expected["input_ids"])
    assert apart(embedding, expected["tiled.pooled_output"]) > 0.1


def _check_extension(longer: M2BertModel, variant: str, expected: dict[str, torch.Tensor]) -> None:
    filters = longer.encoder.layer[0].attention.filter_fn
    assert apart(filters.pos_emb.z, expected[f"{variant}.layer0.filter_fn.pos_emb.z"]) <= 1e-7
    with torch.inference_mode():
        output = longer(expected["input_ids"], expected["attention_mask"])
        assert apart(filters.kernels(512)[0][:8], expected[f"{variant}.layer0.filter_fn.k_fwd"]) <= 1e-5
    assert apart(output.last_hidden_state[:, :8], expected[f"{variant}.hidden_first8"]) <= 5e-5
    assert apart(output.last_hidden_state[:, -8:], expected[f"{variant}.hidden_last8"]) <= 5e-5
    assert apart(output.pooler_output, expected[f"{variant}.pooled_output"]) <= 1e-5


def test_the_80m_shape_at_2048_tokens_is_the_references(shared: Path) -> None:
    """The costly one, 10 to 20 s: 82 million weights are drawn, and three documents go through twelve layers."""
    folder = golden(shared) / "t3"
    expected = tensors(folder / "outputs.safetensors")
    made = recipe(shared)
    described = config(folder)
    drawn = made.state_dict(described.to_dict(), 1003)
    with torch.device("meta"):
        encoder = M2BertModel(described).eval()
    encoder.load_state_dict({name: value for name, value in drawn.items() if "position_ids" not in name}, assign=True)
    ids = expected["input_ids"].long()
    assert torch.equal(ids, made.inputs(described.to_dict(), 2003, [2048, 700], 2048)[0])
    first = encoder.encoder.layer[0].attention.filter_fn
    positions = [0, 1, 2, 699, 700, 2046, 2047]
    with torch.inference_mode():
        assert fast.prepared(list(encoder.encoder.layer), torch.zeros(1))
        forward, backward = first.kernels(2048)
        output = encoder(ids, output_hidden_states=True)
        embedding = encoder.embed(ids[1:])
    assert apart(forward[:4], expected["layer0.filter_fn.k_fwd[:4]"]) <= 1e-5
    assert apart(backward[:4], expected["layer0.filter_fn.k_rev[:4]"]) <= 1e-5
    for row in (0, 1):
        pooled = expected[f"row{row}.pooled_output"]
        for ours in [output.pooler_output[row : row + 1]] + [embedding] * row:
            assert apart(ours, pooled) <= 1e-3
            assert torch.cosine_similarity(ours.clone(), pooled).item() > 0.99999
        states = torch.stack([state[row] for state in output.hidden_states[1:]])
        assert apart(states[-1][positions], expected[f"row{row}.hidden_at"][0]) <= 1e-2
        assert apart(states[:, 0], expected[f"row{row}.layer_cls"]) <= 1e-2
        norms = states.double().flatten(1).norm(dim=1)
        assert torch.allclose(norms, expected[f"row{row}.layer_norms"], rtol=1e-4)


def test_the_golden_weights_fill_the_model_exactly(shared: Path) -> None:
    folder = golden(shared) / "t1"
    assert set(weights(folder)) == set(model(folder).state_dict())
    assert set(weights(folder, "mlm_weights.safetensors")) == set(masked_lm(folder).state_dict())

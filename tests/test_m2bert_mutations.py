"""Each mistake that is easily made in an M2-BERT is one that the golden vectors show, whichever way the layers go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from m2bert_golden import distances, golden, model, within
from torch import Tensor

from loco_adapters.m2bert import M2BertModel, fast, filters, long_convolution, mlp
from loco_adapters.m2bert.filters import ImplicitFilter, initial_features

Mutation = Callable[[M2BertModel, pytest.MonkeyPatch], None]


def _filters(encoder: M2BertModel) -> list[ImplicitFilter]:
    return [module for module in encoder.modules() if isinstance(module, ImplicitFilter)]


def _with_kernels(
    patch: pytest.MonkeyPatch, change: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
) -> None:
    """What the two kernels and D become before they are used."""
    two_sided, on_first = long_convolution.two_sided_kernel, long_convolution.taps_on_first
    patch.setattr(filters, "two_sided_kernel", lambda *kernel: two_sided(*change(*kernel)))
    patch.setattr(filters, "taps_on_first", lambda *kernel: on_first(*change(*kernel)))


def _reverse_kernel_one_lag_late(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    def late(forward: Tensor, backward: Tensor, skip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moved = torch.cat([backward[:, 1:], torch.zeros_like(backward[:, :1])], dim=-1)
        return torch.cat([forward[:, :1] + backward[:, :1], forward[:, 1:]], dim=-1), moved, skip

    _with_kernels(patch, late)


def _no_reverse_kernel(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    _with_kernels(patch, lambda forward, backward, skip: (forward, torch.zeros_like(backward), skip))


def _no_skip(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    _with_kernels(patch, lambda forward, backward, skip: (forward, backward, torch.zeros_like(skip)))


def _wrap_around(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    def wrapped(forward: Tensor, backward: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([forward[:, :1] + skip[:, None], forward[:, 1:] + backward[:, :-1].flip(-1)], dim=-1)

    def on_first(forward: Tensor, backward: Tensor, skip: Tensor) -> Tensor:
        kernel = wrapped(forward, backward, skip)
        return torch.cat([kernel[:, :1], kernel[:, 1:].flip(-1)], dim=-1)

    for module in (long_convolution, fast):
        patch.setattr(module, "fft_length", lambda length: length)
    patch.setattr(filters, "two_sided_kernel", wrapped)
    patch.setattr(filters, "taps_on_first", on_first)


def _without_frequency(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(filters.Sine, "forward", lambda self, x: torch.sin(x))


def _features_recomputed(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    for each in _filters(encoder):
        each.pos_emb.z.copy_(initial_features(128, 5))


def _decays_reversed(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    for each in _filters(encoder):
        each.modulation.deltas.copy_(each.modulation.deltas.flip(-1))


def _times_over_n(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    for each in _filters(encoder):
        each.pos_emb.t.mul_(127 / 128)


def _short_taps_reversed(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    for layer in encoder.encoder.layer:
        short = layer.attention.short_filter.weight
        short.copy_(short.flip(-1))


def _reordered(*order: int) -> Mutation:
    """x1, x2 and v taken from other thirds of what was projected and filtered."""

    def mutate(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
        for layer in encoder.encoder.layer:
            mixer = layer.attention
            for tensor in (*mixer.in_linear.parameters(), *mixer.short_filter.parameters()):
                tensor.copy_(torch.cat([tensor.chunk(3)[part] for part in order]))

    return mutate


def _halves_swapped(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    """The second half activated instead of the first; the channels themselves stay where they are."""

    def forward(self: mlp.MonarchGLU, a: Tensor) -> Tensor:
        linear, activated = self.gated_layers(a).chunk(2, dim=-1)
        hidden: Tensor = self.layernorm(self.wo(torch.nn.functional.gelu(activated) * linear) + a)
        return hidden

    patch.setattr(mlp.MonarchGLU, "forward", forward)
    patch.setattr(fast, "_gated", lambda linear, activated: torch.ops.aten.gelu_(activated).mul_(linear))


def _tanh_gelu(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    gelu = torch.nn.functional.gelu
    patch.setattr(mlp, "gelu", lambda x: gelu(x, approximate="tanh"))
    patch.setattr(fast, "_gated", lambda activated, linear: gelu(activated, approximate="tanh").mul_(linear))


def _no_type_row(encoder: M2BertModel, patch: pytest.MonkeyPatch) -> None:
    encoder.embeddings.token_type_embeddings.weight.zero_()


MUTATIONS: dict[str, Mutation] = {
    "k_rev one lag late (k_rev[0] at lag 0)": _reverse_kernel_one_lag_late,
    "no reverse kernel": _no_reverse_kernel,
    "no D term": _no_skip,
    "circular size L (wrap-around)": _wrap_around,
    "freq not applied": _without_frequency,
    "z recomputed instead of stored": _features_recomputed,
    "deltas order reversed": _decays_reversed,
    "t = tau/N instead of /(N-1)": _times_over_n,
    "short conv taps reversed": _short_taps_reversed,
    "x1/x2/v order = v,x1,x2": _reordered(1, 2, 0),
    "x1,x2 swapped": _reordered(1, 0, 2),
    "GLU halves swapped": _halves_swapped,
    "gelu tanh": _tanh_gelu,
    "type row 0 not added": _no_type_row,
}


def test_every_listed_mistake_is_tried(shared: Path) -> None:
    listed = json.loads((golden(shared) / "t1" / "mutation_sensitivity.json").read_text())
    assert set(MUTATIONS) == set(listed) - {"correct"}


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_is_seen_on_every_way(shared: Path, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    folder = golden(shared) / "t1"
    listed = json.loads((folder / "mutation_sensitivity.json").read_text())[mistake]
    encoder = model(folder)
    with torch.no_grad():
        MUTATIONS[mistake](encoder, monkeypatch)
    found = distances(encoder, folder)
    assert not any(within(found, "t1").values()), found
    for way in ("plain", "fast"):  # it is the mistake that is listed: it moves hidden states as far as there
        assert found[f"{way} hidden"] == pytest.approx(listed["hidden_maxabs"], rel=0.02)

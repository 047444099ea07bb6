"""The layers again, for embedding on a CPU: the same equations over memory that stays in the cache.

:mod:`mixer` and :mod:`mlp` say what is computed; this says it without a copy that could be avoided, where nothing has
to be differentiated. A document's hidden states are (tokens, H) in memory, so that the products of the MLP need no
transposing; the mixer works on a block of channels at a time, each channel's tokens in a row, in memory that every
block and layer uses again. Fresh memory costs more here than arithmetic: the system hands it out page by page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .filters import ImplicitFilter
from .long_convolution import fft_length
from .mixer import MonarchMixer
from .mlp import BlockDiagonalLinear, MonarchGLU

if TYPE_CHECKING:
    from .modeling import M2BertLayer

# Found by measuring; the best lie flat. Tokens that go through all layers at once, where documents are shorter; tokens
# that go through the MLP at once; values of the signals under one FFT call.
_DOCUMENT_TOKENS = 4096
_MLP_TOKENS = 1024
_SIGNAL_VALUES = 1 << 22


def applies(layers: Sequence[M2BertLayer], x: Tensor) -> bool:
    """Whether the layers may be computed here: on a CPU in single precision, nothing differentiated or dropped out.

    And only where every part is the one this module computes: an adapter put in, a quantised product or a hook that
    wants to see intermediate values goes the plain way.
    """
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    return not any(layer.training for layer in layers) and all(_as_written(layer) for layer in layers)


def _as_written(layer: M2BertLayer) -> bool:
    mixer, mlp = layer.attention, layer.mlp
    if type(mixer) is not MonarchMixer or type(mlp) is not MonarchGLU:
        return False
    linear, filters = (mixer.in_linear, mixer.out_linear), (mixer.filter_fn, mixer.filter_fn2)
    products = mlp.gated_layers, mlp.wo
    parts = [layer, mixer, mlp, *linear, *filters, *products, mixer.short_filter, mlp.layernorm, mlp.dropout]
    return (
        all(type(part) is nn.Linear for part in linear)
        and all(type(part) is ImplicitFilter for part in filters)
        and all(type(part) is BlockDiagonalLinear for part in products)
        and (type(mixer.short_filter), type(mlp.layernorm)) == (nn.Conv1d, nn.LayerNorm)
        and len(mlp.wo.weight) % 2 == 0  # so that whole blocks are activated, and whole blocks gate them
        and not any(part._forward_hooks or part._forward_pre_hooks for part in parts)
        and all(part.weight.dtype == torch.float32 for part in (*linear, *products, mixer.short_filter, mlp.layernorm))
    )


def encode(layers: Sequence[M2BertLayer], x: Tensor, hidden_states: list[Tensor] | None = None) -> Tensor:
    """The last hidden states, shape (B, L, H); those before each layer and after the last go to the list."""
    states = [x] + [torch.empty_like(x) for _ in layers] if hidden_states is not None else None
    last = torch.empty_like(x) if states is None else states[-1]
    for documents in _groups(x):
        work = _Workspace(layers[0], x[documents])
        read, write = x[documents], last[documents]
        for at, layer in enumerate(layers):
            if states is not None:
                write = states[at + 1][documents]
            work.layer(layer, read, write)
            read = write
    if hidden_states is not None and states is not None:
        hidden_states.extend(states)
    return last


def encode_first(layers: Sequence[M2BertLayer], x: Tensor) -> Tensor:
    """The last hidden state at position 0 alone, shape (B, L, H) to (B, H)."""
    first = x.new_empty(len(x), x.shape[2])
    for documents in _groups(x):
        read = x[documents]
        work = _Workspace(layers[0], read)
        write = torch.empty_like(read)
        for layer in layers[:-1]:
            work.layer(layer, read, write)
            read = write
        first[documents] = layers[-1].mlp(work.mixed_first(layers[-1].attention, read))
    return first


def _groups(x: Tensor) -> list[slice]:
    """The documents of a batch that go through the layers together."""
    together = max(1, _DOCUMENT_TOKENS // x.shape[1])
    return [slice(start, start + together) for start in range(0, len(x), together)]


class _Workspace:
    """The memory that every layer uses, for documents of one shape (B, L, H)."""

    def __init__(self, layer: M2BertLayer, x: Tensor) -> None:
        batch, length, width = x.shape
        tokens, size, mlp = batch * length, fft_length(length), layer.mlp
        per_channel = 2 * batch * size
        self.channels = max(
            c for c in range(1, width + 1) if width % c == 0 and c * per_channel <= max(_SIGNAL_VALUES, per_channel)
        )
        self.size, self.length, self.width = size, length, width
        self.projected = x.new_empty(3, self.channels, tokens)
        self.short = x.new_empty(3, self.channels, batch, length)
        self.signals = x.new_zeros(2, self.channels, batch, size)  # what stands behind the tokens stays zero
        self.y = x.new_empty(width, tokens)
        chunk = min(_MLP_TOKENS, tokens)
        self.a = x.new_empty(chunk, width)
        self.summed = x.new_empty(chunk, width)
        self.h = x.new_empty(2, chunk, mlp.gated_layers.weight.shape[1])
        self.mean, self.rstd = x.new_empty(chunk, 1), x.new_empty(chunk, 1)

    def layer(self, layer: M2BertLayer, x: Tensor, out: Tensor) -> None:
        """One layer, from hidden states to hidden states, shape (B, L, H); both may be the same memory."""
        self._mix(layer.attention, x)
        self._glu(layer.attention.out_linear, layer.mlp, out)

    def _mix(self, mixer: MonarchMixer, x: Tensor) -> None:
        """The mixer before its last product: y, shape (H, tokens)."""
        spectrum, spectrum2 = mixer.filter_fn.spectrum(self.length), mixer.filter_fn2.spectrum(self.length)
        y = self.y.view(self.width, len(x), self.length)
        for start in range(0, self.width, self.channels):
            block = slice(start, start + self.channels)
            x1, x2, v = self._projected(mixer, x, block, (0, 1, 2))
            torch.mul(x1, v, out=self.signals[0, ..., : self.length])
            self.signals[1, ..., : self.length].copy_(x[..., block].permute(2, 0, 1))
            spectra = torch.fft.rfft(self.signals)  # into given memory, an FFT costs a copy more
            spectra[0].mul_(spectrum[block, None])
            spectra[1].mul_(spectrum2[block, None])
            gated, residual = torch.fft.irfft(spectra, n=self.size)[..., : self.length]
            torch.addcmul(residual, gated, x2, out=y[block])

    def mixed_first(self, mixer: MonarchMixer, x: Tensor) -> Tensor:
        """The mixer's output at position 0, shape (B, H); see :meth:`MonarchMixer.first`."""
        taps, taps2 = mixer.filter_fn.taps_on_first(self.length), mixer.filter_fn2.taps_on_first(self.length)
        y = x.new_empty(self.width, len(x))
        for start in range(0, self.width, self.channels):
            block = slice(start, start + self.channels)
            x1, v = self._projected(mixer, x, block, (0, 2))
            u = self.signals[1, ..., : self.length].copy_(x[..., block].permute(2, 0, 1))
            gated = x1.mul_(v).mul_(taps[block, None]).sum(-1)
            residual = u.mul_(taps2[block, None]).sum(-1)
            rows = slice(self.width + start, self.width + start + self.channels)
            p = torch.addmm(_bias(mixer.in_linear)[rows, None], mixer.in_linear.weight[rows], x[:, 0].t())
            x2 = p.mul_(mixer.short_filter.weight[rows, 0, -1:]).add_(_bias(mixer.short_filter)[rows, None])
            torch.addcmul(residual, gated, x2, out=y[block])
        first: Tensor = mixer.out_linear(y.t())
        return first

    def _projected(self, mixer: MonarchMixer, x: Tensor, block: slice, parts: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Some of x1, x2, v after the short filter, for a block of channels: each of shape (channels, B, L).

        The projection's bias b joins the filter's own c, as the filter is linear: its taps summed times b, except at
        the first two tokens, before which there is no b to filter.
        """
        every = slice(parts[0], None, parts[1] - parts[0])

        def of(tensor: Tensor) -> Tensor:
            thirds: Tensor = tensor.unflatten(0, (3, self.width))
            return thirds[every, block]

        weight, bias = of(mixer.in_linear.weight), of(_bias(mixer.in_linear))
        taps = of(mixer.short_filter.weight).unsqueeze(-1)  # (parts, channels, 1, 3, 1)
        w0, w1, w2 = taps.unbind(-2)
        bias = bias[..., None]
        p, q = self.projected[: len(parts)], self.short[: len(parts)]
        tokens = x.reshape(-1, self.width)
        torch.bmm(weight, tokens.t().expand(len(parts), -1, -1), out=p)
        p = p.view(q.shape)
        torch.mul(p, w2, out=q)
        q[..., 1:].addcmul_(p[..., :-1], w1)
        q[..., 2:].addcmul_(p[..., :-2], w0)
        q.add_((w0 + w1 + w2) * bias[..., None] + of(_bias(mixer.short_filter))[..., None, None])
        q[..., 0].sub_((w0 + w1)[..., 0] * bias)
        q[..., 1:2].sub_(w0 * bias[..., None])
        return q.unbind(0)

    def _glu(self, out_linear: nn.Linear, mlp: MonarchGLU, out: Tensor) -> None:
        """The mixer's last product and the MLP, from y to hidden states of shape (B, L, H)."""
        gate, wo, norm = mlp.gated_layers.weight, mlp.wo, mlp.layernorm
        pairs, outputs = len(gate) // 2, self.width // len(gate)
        hidden = out.view(-1, self.width)
        for start in range(0, len(hidden), len(self.a)):
            x = hidden[start : start + len(self.a)]
            a, summed, activated, linear = (part[: len(x)] for part in (self.a, self.summed, *self.h))
            torch.addmm(_bias(out_linear), self.y[:, start : start + len(x)].t(), out_linear.weight.t(), out=a)
            torch.add(a, _bias(wo), out=summed)
            by_block = a.split(a.shape[1] // len(gate), dim=1)
            # Block k of G makes channels that are activated, block k + half their gates; their product is what blocks
            # 2k and 2k + 1 of W read.
            for k in range(pairs):
                torch.mm(by_block[k], gate[k].t(), out=activated)
                torch.mm(by_block[k + pairs], gate[k + pairs].t(), out=linear)
                for block, m in zip((2 * k, 2 * k + 1), _gated(activated, linear).chunk(2, dim=1), strict=True):
                    summed[:, block * outputs : (block + 1) * outputs].addmm_(m, wo.weight[block].t())
            mean, rstd = self.mean[: len(x)], self.rstd[: len(x)]
            torch.ops.aten.native_layer_norm.out(
                summed, [self.width], norm.weight, norm.bias, norm.eps, out0=x, out1=mean, out2=rstd
            )


def _gated(activated: Tensor, linear: Tensor) -> Tensor:
    """gelu(activated) * linear, in the memory of the former."""
    gated: Tensor = torch.ops.aten.gelu_(activated).mul_(linear)
    return gated


def _bias(module: Any) -> Tensor:
    bias: Tensor = module.bias
    return bias

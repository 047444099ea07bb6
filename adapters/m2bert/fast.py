"""The layers again, for embedding on a CPU: the same equations over memory that stays in the cache.

:mod:`mixer` and :mod:`mlp` say what is computed; this says it without a copy that could be avoided, where nothing has
to be differentiated. Hidden states are (H, B, L) in memory, each channel's tokens in a row, from the embeddings to the
end: that is what FFTs and filters read, and every product is then a matrix of weights times such a state, with nothing
to transpose. The mixer works on a block of channels at a time and the MLP on a block of tokens, in memory that every
block and layer uses again: fresh memory costs more here than arithmetic, as the system hands it out page by page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .filters import ImplicitFilter
from .long_convolution import fft_length
from .mixer import MonarchMixer
from .mlp import BlockDiagonalLinear, MonarchGLU

if TYPE_CHECKING:
    from .modeling import M2BertLayer

# Found by measuring; the best lie flat. Tokens that go through all layers at once, where documents are shorter.
_DOCUMENT_TOKENS = 4096
# Channels that are projected at once: as many as make so many values of x1, x2 and v, but at least so many, as a
# product with fewer rows is slow.
_PROJECTED_VALUES, _PROJECTED_CHANNELS = 1 << 21, 128
# Of these, channels that go through one FFT call: as many as stay in the cache, but at least so many, as every call
# first plans its transform.
_SIGNAL_VALUES, _SIGNAL_CHANNELS = 1 << 18, 32
# Tokens that go through the MLP at once.
_MLP_TOKENS = 1024


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
        and not any(part._forward_hooks or part._forward_pre_hooks for part in parts)
        and all(part.weight.dtype == torch.float32 for part in (*linear, *products, mixer.short_filter, mlp.layernorm))
    )


def encode(layers: Sequence[M2BertLayer], x: Tensor, hidden_states: list[Tensor] | None = None) -> Tensor:
    """The last hidden states, shape (B, L, H); those before each layer and after the last go to the list."""
    states = [torch.empty_like(x) for _ in (layers if hidden_states is not None else layers[-1:])]
    for documents in _groups(x):
        work = _Workspace(layers[0], _channels_first(x[documents]))
        for at, layer in enumerate(layers, start=len(states) - len(layers)):
            work.layer(layer)
            if at >= 0:
                states[at][documents] = work.x.permute(1, 2, 0)
    if hidden_states is not None:
        hidden_states.extend((x, *states))
    return states[-1]


def encode_first(layers: Sequence[M2BertLayer], x: Tensor) -> Tensor:
    """The last hidden state at position 0 alone, shape (B, L, H) to (B, H). x is used up: its memory is written to."""
    x = x.contiguous()
    first = x.new_empty(len(x), x.shape[2])
    for documents in _groups(x):
        work = _Workspace(layers[0], _channels_first(x[documents]), y=x[documents])
        for layer in layers[:-1]:
            work.layer(layer)
        first[documents] = layers[-1].mlp(work.mixed_first(layers[-1].attention))
    return first


def _groups(x: Tensor) -> list[slice]:
    """The documents of a batch that go through the layers together."""
    together = max(1, _DOCUMENT_TOKENS // x.shape[1])
    return [slice(start, start + together) for start in range(0, len(x), together)]


def _channels_first(x: Tensor) -> Tensor:
    """A copy of hidden states, shape (B, L, H) to (H, B, L)."""
    batch, length, width = x.shape
    # Of a matrix, torch transposes small blocks; of more axes, value after value.
    return x.new_empty(width, batch * length).copy_(x.reshape(-1, width).t()).view(width, batch, length)


def _at_once(channels: int, values: int, least: int, per_channel: int) -> int:
    """The most channels in equal blocks of no more than so many values, or else of no more than the least."""
    most = max(values // per_channel, least)
    return max(c for c in range(1, channels + 1) if channels % c == 0 and c <= most)


class _Workspace:
    """Hidden states x, shape (H, B, L), which each layer overwrites, and the memory that all layers use."""

    def __init__(self, layer: M2BertLayer, x: Tensor, y: Tensor | None = None) -> None:
        width, batch, length = x.shape
        tokens, size = batch * length, fft_length(length)
        self.x, self.width, self.length, self.size = x, width, length, size
        self.y = torch.empty_like(x) if y is None else y.view(x.shape)
        rows = _at_once(width, _PROJECTED_VALUES, _PROJECTED_CHANNELS, 3 * tokens)
        channels = _at_once(rows, _SIGNAL_VALUES, _SIGNAL_CHANNELS, 2 * batch * size)
        self.projected = x.new_empty(3, rows, batch, length)
        self.short, self.delayed = x.new_empty(2, 3, channels, batch, length)
        self.signals = x.new_zeros(2, channels, batch, size)  # what stands behind the tokens stays zero
        self.chunk = min(_MLP_TOKENS, tokens)
        self.a, self.summed = x.new_empty(2, width, self.chunk)
        self.h = x.new_empty(*layer.mlp.gated_layers.weight.shape[:2], self.chunk)
        self.average = x.new_full((1, width), 1 / width)

    def layer(self, layer: M2BertLayer) -> None:
        """One layer, from hidden states to hidden states."""
        self._mix(layer.attention)
        self._glu(layer.attention.out_linear, layer.mlp)

    def _mix(self, mixer: MonarchMixer) -> None:
        """The mixer before its last product, from x to y."""
        spectrum, spectrum2 = mixer.filter_fn.spectrum(self.length), mixer.filter_fn2.spectrum(self.length)
        for block, (x1, x2, v) in self._projected(mixer, (0, 1, 2)):
            torch.mul(x1, v, out=self.signals[0, ..., : self.length])
            self.signals[1, ..., : self.length].copy_(self.x[block])
            spectra = torch.fft.rfft(self.signals)  # into given memory, an FFT costs a copy more
            spectra[0].mul_(spectrum[block, None])
            spectra[1].mul_(spectrum2[block, None])
            gated, residual = torch.fft.irfft(spectra, n=self.size)[..., : self.length]
            torch.addcmul(residual, gated, x2, out=self.y[block])

    def mixed_first(self, mixer: MonarchMixer) -> Tensor:
        """The mixer's output at position 0, shape (B, H); see :meth:`MonarchMixer.first`."""
        taps, taps2 = mixer.filter_fn.taps_on_first(self.length), mixer.filter_fn2.taps_on_first(self.length)
        middle = slice(self.width, 2 * self.width)
        p = torch.addmm(_bias(mixer.in_linear)[middle, None], mixer.in_linear.weight[middle], self.x[..., 0])
        x2 = p.mul_(mixer.short_filter.weight[middle, 0, -1:]).add_(_bias(mixer.short_filter)[middle, None])
        y = torch.empty_like(x2)
        for block, (x1, v) in self._projected(mixer, (0, 2)):
            gated = x1.mul_(v).mul_(taps[block, None]).sum(-1)
            residual = torch.mul(self.x[block], taps2[block, None], out=v).sum(-1)
            torch.addcmul(residual, gated, x2[block], out=y[block])
        first: Tensor = mixer.out_linear(y.t())
        return first

    def _projected(self, mixer: MonarchMixer, parts: tuple[int, ...]) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
        """Some of x1, x2, v after the short filter, shape (channels, B, L), a block of channels at a time."""
        every = slice(parts[0], None, parts[1] - parts[0])

        def of(tensor: Tensor) -> Tensor:
            thirds: Tensor = tensor.unflatten(0, (3, self.width))
            return thirds[every]

        weight, x = of(mixer.in_linear.weight), self.x.flatten(1)
        w0, w1, w2 = of(mixer.short_filter.weight).unsqueeze(-1).unbind(-2)  # each of shape (parts, H, 1, 1)
        b, c = of(_bias(mixer.in_linear))[..., None, None], of(_bias(mixer.short_filter))[..., None, None]
        projected, q, delayed = (part[: len(parts)] for part in (self.projected, self.short, self.delayed))
        rows, channels = projected.shape[1], q.shape[1]
        for row in range(0, self.width, rows):
            # One product of more rows is faster than one for each part, and worth a copy of its weights.
            packed = weight[:, row : row + rows].reshape(-1, self.width)
            torch.mm(packed, x, out=projected.flatten(0, 1).flatten(1))
            for start in range(0, rows, channels):
                block = slice(row + start, row + start + channels)
                p = projected[:, start : start + channels].add_(b[:, block])
                torch.mul(p, w2[:, block], out=q).add_(c[:, block])
                q[..., 1:].add_(torch.mul(p, w1[:, block], out=delayed)[..., :-1])
                q[..., 2:].add_(torch.mul(p, w0[:, block], out=delayed)[..., :-2])
                yield block, q.unbind(0)

    def _glu(self, out_linear: nn.Linear, mlp: MonarchGLU) -> None:
        """The mixer's last product and the MLP, from y to x."""
        gate, wo, blocks = mlp.gated_layers.weight, mlp.wo, len(mlp.wo.weight)
        x, y = self.x.flatten(1), self.y.flatten(1)
        for start in range(0, x.shape[1], self.chunk):
            tokens = slice(start, start + self.chunk)
            a, summed, h = (part[..., : x[:, tokens].shape[1]] for part in (self.a, self.summed, self.h))
            torch.addmm(_bias(out_linear)[:, None], out_linear.weight, y[:, tokens], out=a)
            torch.add(a, _bias(wo)[:, None], out=summed)
            features, outputs = a.unflatten(0, (blocks, -1)), summed.unflatten(0, (blocks, -1))
            torch.bmm(gate, features, out=h)
            m = _gated(*h.flatten(0, 1).chunk(2))
            outputs.baddbmm_(wo.weight, m.unflatten(0, (blocks, -1)))
            self._norm(mlp.layernorm, summed, a, x[:, tokens])

    def _norm(self, norm: nn.LayerNorm, s: Tensor, squares: Tensor, out: Tensor) -> None:
        """LayerNorm over the channels, shape (H, tokens) to the same; s and squares are overwritten.

        The means are products with a row of 1 / H: a sum over the first of two axes is slow otherwise.
        """
        s.sub_(self.average @ s)
        variance = self.average @ torch.mul(s, s, out=squares)
        s.mul_(variance.add_(norm.eps).rsqrt_()).mul_(norm.weight[:, None])
        torch.add(s, norm.bias[:, None], out=out)


def _gated(activated: Tensor, linear: Tensor) -> Tensor:
    """gelu(activated) * linear, in the memory of the former."""
    gated: Tensor = torch.ops.aten.gelu_(activated).mul_(linear)
    return gated


def _bias(module: Any) -> Tensor:
    bias: Tensor = module.bias
    return bias

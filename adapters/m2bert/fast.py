"""The layers again, for embedding on a CPU: the same equations over memory that stays in the cache.

:mod:`mixer` and :mod:`mlp` say what is computed; this says it without a copy that could be avoided, where nothing has
to be differentiated. Hidden states are (H, B, L) in memory, each channel's tokens in a row, from the embeddings to the
end: that is what FFTs and filters read, and every product is then a matrix of weights times such a state, with nothing
to transpose. The mixer works on a block of channels at a time and the MLP on a block of tokens, in memory that every
block and layer uses again: fresh memory costs more here than arithmetic, as the system hands it out page by page. Views
of the weights are made once for all calls, and views of that memory once for all layers: with few tokens, finding them
takes as long as some of the arithmetic.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from .filters import ImplicitFilter
from .long_convolution import fft_length
from .mixer import SHORT, MonarchMixer
from .mlp import BlockDiagonalLinear, MonarchGLU

if TYPE_CHECKING:
    from .modeling import M2BertLayer

# Found by measuring; the best lie flat. Tokens that go through all layers at once, where documents are shorter.
_DOCUMENT_TOKENS = 4096
# Channels that are projected at once: as many as make so many values of x1, x2 and v, but at least so many, as a
# product with fewer rows is slow.
_PROJECTED_VALUES, _PROJECTED_CHANNELS = 1 << 23, 128
# Of these, channels that go through one FFT call: as many as stay in the cache, but at least so many, as every call
# first plans its transform.
_SIGNAL_VALUES, _SIGNAL_CHANNELS = 1 << 19, 32
# Tokens that go through the MLP at once.
_MLP_TOKENS = 2048
# A product with no more columns than so many is cut into so many products of fewer rows.
_SPLIT_TOKENS, _SPLITS = 160, 4


class _ShortFilter(NamedTuple):
    """The short filter on products without their bias, all of shape (3, H, 1, 1); for x1, x2 and v or some of them.

    What that bias adds is the same everywhere but at the first two tokens, which have fewer before them.
    """

    two_before: Tensor
    one_before: Tensor
    at: Tensor
    bias: Tensor
    more_on_first: Tensor  # what the first two tokens get beside it, shape (3, H, 1, 2)

    def some(self, index: Any) -> _ShortFilter:
        """For some of the parts, or of the channels."""
        return _ShortFilter(*(tensor[index] for tensor in self))


class Weights(NamedTuple):
    """What the equations read of a layer's weights, in the shapes in which they read it: views, but for two biases."""

    mixer: MonarchMixer
    in_linear: Tensor  # (3, H, H): the rows that make x1, x2 and v
    short: _ShortFilter
    out_linear: Tensor  # (H, H)
    out_bias: Tensor  # (H, 1)
    mlp: MonarchGLU
    gate: Tensor  # (blocks, 2 I / blocks, H / blocks)
    wo: Tensor  # (blocks, H / blocks, I / blocks)
    wo_bias: Tensor  # (H, 1)
    norm: Tensor  # (H, 1)
    norm_bias: Tensor  # (H, 1)
    hooks: list[Any]  # where parts have theirs


def prepared(layers: Sequence[M2BertLayer], x: Tensor) -> list[Weights] | None:
    """The layers' weights where they may be computed here: on a CPU in single precision, nothing differentiated.

    And only where every part is the one this module computes: an adapter put in, a quantised product, dropout or a
    hook that wants to see intermediate values goes the plain way, and None says so.
    """
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return None
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return None
    every = []
    for layer in layers:
        weights = layer.kept("weights", None, functools.partial(_weights, layer))
        if weights is None or layer.training or any(weights.hooks):
            return None
        every.append(weights)
    return every


def _weights(layer: M2BertLayer) -> Weights | None:
    mixer, mlp = layer.attention, layer.mlp
    if type(mixer) is not MonarchMixer or type(mlp) is not MonarchGLU:
        return None
    linear, filters = (mixer.in_linear, mixer.out_linear), (mixer.filter_fn, mixer.filter_fn2)
    products, short, norm = (mlp.gated_layers, mlp.wo), mixer.short_filter, mlp.layernorm
    parts = [layer, mixer, mlp, *linear, *filters, *products, short, norm, mlp.dropout]
    as_written = (
        all(type(part) is nn.Linear for part in linear)
        and all(type(part) is ImplicitFilter for part in filters)
        and all(type(part) is BlockDiagonalLinear for part in products)
        and (type(short), type(norm)) == (nn.Conv1d, nn.LayerNorm)
        and all(part.weight.dtype == torch.float32 for part in (*linear, *products, short, norm))
    )
    if not as_written:
        return None
    return Weights(
        mixer=mixer,
        in_linear=mixer.in_linear.weight.unflatten(0, (3, -1)),
        short=_short_filter(short.weight.view(3, -1, 1, SHORT), _bias(mixer.in_linear), _bias(short)),
        out_linear=mixer.out_linear.weight,
        out_bias=_bias(mixer.out_linear)[:, None],
        mlp=mlp,
        gate=mlp.gated_layers.weight,
        wo=mlp.wo.weight,
        wo_bias=_bias(mlp.wo)[:, None],
        norm=norm.weight[:, None],
        norm_bias=norm.bias[:, None],
        hooks=[hooks for part in parts for hooks in (part._forward_hooks, part._forward_pre_hooks)],
    )


def _short_filter(taps: Tensor, read_bias: Tensor, bias: Tensor) -> _ShortFilter:
    """From taps of shape (3, H, 1, 3) and, each of shape (3 H), the biases of the products and of the filter."""
    two_before, one_before, at = taps.split(1, dim=-1)
    of_two, of_one, of_at = (tap * read_bias.reshape(at.shape) for tap in (two_before, one_before, at))
    return _ShortFilter(
        two_before=two_before,
        one_before=one_before,
        at=at,
        bias=bias.reshape(at.shape) + (of_two + of_one + of_at),
        more_on_first=-torch.cat([of_two + of_one, of_two], dim=-1),
    )


def encode(layers: Sequence[Weights], x: Tensor, hidden_states: list[Tensor] | None = None) -> Tensor:
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


def encode_first(layers: Sequence[Weights], x: Tensor) -> Tensor:
    """The last hidden state at position 0 alone, shape (B, L, H) to (B, H). x is used up: its memory is written to."""
    x = x.contiguous()
    first = x.new_empty(len(x), x.shape[2])
    for documents in _groups(x):
        work = _Workspace(layers[0], _channels_first(x[documents]), y=x[documents])
        for layer in layers[:-1]:
            work.layer(layer)
        first[documents] = layers[-1].mlp(work.mixed_first(layers[-1]))
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


@functools.cache
def _by_onednn() -> bool:
    """Whether oneDNN multiplies faster than MKL, torch's choice, which has its best kernels for Intel's processors."""
    if not torch.backends.mkl.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torches have none
    return str(capabilities.get("cpu_name")).startswith("AMD")


class _Product:
    """A matrix of weights times x, shape (width, tokens): views, as below.

    MKL's goes into given memory; with few columns as products of fewer rows, each for a thread: that is faster.
    oneDNN's goes into fresh memory, and takes an x in one piece: for a part of each row it has no kernel but its slow
    reference.
    """

    def __init__(self, x: Tensor, out: Tensor) -> None:
        (width, tokens), rows = x.shape, len(out)
        self.x, self.out, self.shape = x, out, (_SPLITS, rows // _SPLITS, width)
        self.fresh = x.is_contiguous() and _by_onednn()
        self.split = not self.fresh and tokens <= _SPLIT_TOKENS and rows % _SPLITS == 0
        if self.fresh:
            self.x = x.t()
        elif self.split:
            self.x, self.parts = x.expand(_SPLITS, -1, -1), out.view(_SPLITS, -1, tokens)

    def of(self, weight: Tensor) -> Tensor:
        """The product, shape (rows, tokens); the next one may overwrite it."""
        if self.fresh:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(weight, self.x, None, "none", [], None)
            return product
        if self.split:
            torch.bmm(weight.view(self.shape), self.x, out=self.parts)
        else:
            torch.mm(weight, self.x, out=self.out)
        return self.out


class _Block:
    """A block of channels on its way through the mixer: views, made once for all layers, of what is read and written.

    q, shape (3, channels, B, L), is what the short filter makes of x1, x2 and v, or of some of them.
    """

    def __init__(self, channels: slice, x: Tensor, y: Tensor, q: Tensor) -> None:
        self.channels, self.x, self.y = channels, x[channels], y[channels]
        self.q, self.from_second, self.from_third, self.on_first = q, q[..., 1:], q[..., 2:], q[..., :2]
        self.parts = q.unbind(0)

    def filtered(self, p: Tensor, short: _ShortFilter) -> tuple[Tensor, ...]:
        """x1, x2 and v, each of shape (channels, B, L), from what the product gives, of q's shape."""
        if len(self.x) != short.bias.shape[1]:
            short = short.some((slice(None), self.channels))
        torch.mul(p, short.at, out=self.q).add_(short.bias)
        self.from_second.addcmul_(p[..., :-1], short.one_before)
        self.from_third.addcmul_(p[..., :-2], short.two_before)
        self.on_first.add_(short.more_on_first[..., : self.on_first.shape[-1]])
        return self.parts


class _Projection:
    """x1, x2 and v or some of them, by blocks of channels: what the first product and the short filter make of x.

    p, shape (3, rows, tokens), and q, (3, channels, B, L), are memory for the two: so many channels at a time.
    """

    def __init__(self, parts: slice, x: Tensor, y: Tensor, p: Tensor, q: Tensor) -> None:
        self.parts, (self.width, *shape) = parts, x.shape
        count = len(range(3)[parts])
        p, q = p[:count], q[:count]
        self.rows, self.channels, self.shape = p.shape[1], q.shape[1], (*p.shape[:2], *shape)
        self.product = _Product(x.flatten(1), p.flatten(0, 1))
        starts = range(0, self.width, self.channels)
        self.blocks = [_Block(slice(at, at + self.channels), x, y, q) for at in starts]

    def of(self, weights: Weights) -> Iterator[tuple[_Block, tuple[Tensor, ...]]]:
        """A block after the other, each until the next one."""
        short = weights.short.some(self.parts)
        for block in self.blocks:
            at = block.channels.start % self.rows
            if at == 0:
                # One product of more rows is faster than one for each part, and worth a copy of its weights.
                rows = slice(block.channels.start, block.channels.start + self.rows)
                packed = weights.in_linear[self.parts, rows].reshape(-1, self.width)
                p = self.product.of(packed).view(self.shape)
            yield block, block.filtered(p[:, at : at + self.channels], short)


class _Chunk:
    """Tokens on their way from the mixer's last product through the MLP: views, as above."""

    def __init__(self, tokens: slice, x: Tensor, y: Tensor, memory: tuple[Tensor, Tensor, Tensor]) -> None:
        self.x, self.y = x[:, tokens], y[:, tokens]
        self.a, self.squares, self.h = (part[..., : self.x.shape[1]] for part in memory)
        self.product = _Product(self.y, self.a)
        self.halves = self.h.flatten(0, 1).chunk(2)


class _Workspace:
    """Hidden states x, shape (H, B, L), which each layer overwrites, and the memory that all layers use."""

    def __init__(self, layer: Weights, x: Tensor, y: Tensor | None = None) -> None:
        width, batch, length = x.shape
        tokens, size = batch * length, fft_length(length)
        self.x, self.length, self.size = x, length, size
        self.y = torch.empty_like(x) if y is None else y.view(x.shape)
        rows = _at_once(width, _PROJECTED_VALUES, _PROJECTED_CHANNELS, 3 * tokens)
        channels = _at_once(rows, _SIGNAL_VALUES, _SIGNAL_CHANNELS, 2 * batch * size)
        self.memory = x.new_empty(3, rows, tokens), x.new_empty(3, channels, batch, length)
        self.projection = _Projection(slice(None), self.x, self.y, *self.memory)
        self.signals = x.new_zeros(2, channels, batch, size)  # what stands behind the tokens stays zero
        self.gated, self.residual = self.signals[..., :length]
        chunk = min(_MLP_TOKENS, tokens)
        memory = x.new_empty(width, chunk), x.new_empty(width, chunk), x.new_empty(*layer.gate.shape[:2], chunk)
        flat, flat_y = self.x.flatten(1), self.y.flatten(1)
        self.chunks = [_Chunk(slice(at, at + chunk), flat, flat_y, memory) for at in range(0, tokens, chunk)]
        self.average = x.new_full((1, width), 1 / width)

    def layer(self, weights: Weights) -> None:
        """One layer, from hidden states to hidden states."""
        self._mix(weights)
        self._glu(weights)

    def _mix(self, weights: Weights) -> None:
        """The mixer before its last product, from x to y."""
        mixer = weights.mixer
        spectrum, spectrum2 = mixer.filter_fn.spectrum(self.length), mixer.filter_fn2.spectrum(self.length)
        for block, (x1, x2, v) in self.projection.of(weights):
            channels = block.channels
            torch.mul(x1, v, out=self.gated)
            self.residual.copy_(block.x)
            spectra = torch.fft.rfft(self.signals)  # into given memory, an FFT costs a copy more
            spectra[0].mul_(spectrum[channels, None])
            spectra[1].mul_(spectrum2[channels, None])
            gated, residual = torch.fft.irfft(spectra, n=self.size)[..., : self.length]
            torch.addcmul(residual, gated, x2, out=block.y)

    def mixed_first(self, weights: Weights) -> Tensor:
        """The mixer's output at position 0, shape (B, H); see :meth:`MonarchMixer.first`."""
        mixer, at_first = weights.mixer, weights.short.some((1, ..., 0))
        taps, taps2 = mixer.filter_fn.taps_on_first(self.length), mixer.filter_fn2.taps_on_first(self.length)
        x2 = (weights.in_linear[1] @ self.x[..., 0]).mul_(at_first.at).add_(at_first.bias).add_(at_first.more_on_first)
        y = torch.empty_like(x2)
        x1_and_v = _Projection(slice(None, None, 2), self.x, self.y, *self.memory)
        for block, (x1, v) in x1_and_v.of(weights):
            channels = block.channels
            gated = x1.mul_(v).mul_(taps[channels, None]).sum(-1)
            residual = torch.mul(block.x, taps2[channels, None], out=v).sum(-1)
            torch.addcmul(residual, gated, x2[channels], out=y[channels])
        first: Tensor = mixer.out_linear(y.t())
        return first

    def _glu(self, weights: Weights) -> None:
        """The mixer's last product and the MLP, from y to x."""
        for chunk in self.chunks:
            a = chunk.product.of(weights.out_linear).add_(weights.out_bias)
            features = a.unflatten(0, (len(weights.gate), -1))
            torch.bmm(weights.gate, features, out=chunk.h)
            m = _gated(*chunk.halves)
            a.add_(weights.wo_bias)
            features.baddbmm_(weights.wo, m.unflatten(0, (len(weights.wo), -1)))
            self._norm(weights, a, chunk.squares, chunk.x)

    def _norm(self, weights: Weights, s: Tensor, squares: Tensor, out: Tensor) -> None:
        """LayerNorm over the channels, shape (H, tokens) to the same; s and squares are overwritten.

        The means are products with a row of 1 / H: a sum over the first of two axes is slow otherwise.
        """
        s.sub_(self.average @ s)
        variance = self.average @ torch.mul(s, s, out=squares)
        s.mul_(variance.add_(weights.mlp.layernorm.eps).rsqrt_()).mul_(weights.norm)
        torch.add(s, weights.norm_bias, out=out)


def _gated(activated: Tensor, linear: Tensor) -> Tensor:
    """gelu(activated) * linear, in the memory of the former."""
    gated: Tensor = torch.ops.aten.gelu_(activated).mul_(linear)
    return gated


def _bias(module: Any) -> Tensor:
    bias: Tensor = module.bias
    return bias

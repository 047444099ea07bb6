"""Mixing along the sequence: what stands where attention stands in a BERT."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import conv1d, linear

from .configuration import M2BertConfig
from .filters import ImplicitFilter

SHORT = 3  # taps of the short filter


class MonarchMixer(nn.Module):
    """The gated long convolution, in the paper's Figure of the M2-BERT layer the sequence mixer; SPEC 1.2.

        x1, x2, v = short(W_in u + b_in)
        y = x2 * LongConv(x1 * v) + LongConv2(u)
        a = W_out y + b_out

    ``short`` is a causal depthwise convolution with three taps. The second long convolution is a residual path: it
    reads the layer's own input and is not gated. There is neither a residual sum nor a LayerNorm around the mixer, and
    no mask but for models that are not padded to their window.
    """

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.in_linear = nn.Linear(width, 3 * width)
        self.short_filter = nn.Conv1d(3 * width, 3 * width, SHORT, padding=SHORT - 1, groups=3 * width)
        self.filter_fn = ImplicitFilter(config)
        self.filter_fn2 = ImplicitFilter(config)
        self.out_linear = nn.Linear(width, width)

    def forward(self, u: Tensor, mask: Tensor | None = None) -> Tensor:
        """The layer's input to the MLP's input, both of shape (B, L, H).

        ``mask``, shape (B, L): 1 for what is read and 0 for what follows, which no other position then sees.
        """
        length = u.shape[1]
        u = _read(u, mask, -1)
        projected = self.in_linear(u).transpose(1, 2)
        x1, x2, v = self.short_filter(projected)[..., :length].chunk(3, dim=1)
        y = x2 * self.filter_fn(_read(x1 * v, mask, 1)) + self.filter_fn2(u.transpose(1, 2))
        a: Tensor = self.out_linear(y.transpose(1, 2))
        return a

    def first(self, u: Tensor, mask: Tensor | None = None) -> Tensor:
        """The output at position 0 alone, shape (B, L, H) to (B, H).

        A long convolution is there one weighted sum over the tokens. x1 and v are needed at every position, x2 only at
        the first, where the short filter sees one token.
        """
        length, width = u.shape[1:]
        u = _read(u, mask, -1)
        weight, bias = self.in_linear.weight, self.in_linear.bias
        short, short_bias = self.short_filter.weight, cast(Tensor, self.short_filter.bias)

        def part(rows: slice) -> Tensor:
            p = linear(u, weight[rows], bias[rows]).transpose(1, 2)
            return conv1d(p, short[rows], short_bias[rows], padding=SHORT - 1, groups=width)[..., :length]

        x1, v = part(slice(width)), part(slice(2 * width, None))
        middle = slice(width, 2 * width)
        x2 = short_bias[middle] + short[middle, 0, -1] * linear(u[:, 0], weight[middle], bias[middle])
        gated = (_read(x1 * v, mask, 1) * self.filter_fn.taps_on_first(length)).sum(-1)
        y = x2 * gated + (u.transpose(1, 2) * self.filter_fn2.taps_on_first(length)).sum(-1)
        a: Tensor = self.out_linear(y.to(u.dtype))
        return a


def _read(signal: Tensor, mask: Tensor | None, axis: int) -> Tensor:
    """A signal, 0 where its mask, shape (B, L), is; ``axis`` is that of the channels. A convolution adds nothing there:
    it gives every position before what it gives without the rest.
    """
    return signal if mask is None else signal * mask.unsqueeze(axis).to(signal.dtype)

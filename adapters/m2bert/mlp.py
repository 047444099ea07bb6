"""Mixing along the features: a gated MLP of block-diagonal matrices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from .configuration import M2BertConfig


class BlockDiagonalLinear(nn.Module):
    """A product with a block-diagonal matrix, the Monarch factor of the paper as it was trained; SPEC 1.4.

    The features are cut into equal blocks; block k of the output is W[k] times block k of the input, plus a bias where
    there is one. ``weight`` has the shape (blocks, out / blocks, in / blocks). Nothing is permuted.
    """

    def __init__(self, features: int, outputs: int, blocks: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(blocks, outputs // blocks, features // blocks))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    @property
    def weight_bound(self) -> float:
        """The largest weight there is at the start."""
        return float(self.weight.shape[2] ** -0.5)

    @property
    def bias_bound(self) -> float:
        """The largest bias there is at the start."""
        return float((self.weight.shape[0] * self.weight.shape[1]) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape (..., in) to outputs of shape (..., out)."""
        blocks = x.unflatten(-1, (self.weight.shape[0], -1))
        product = torch.einsum("...ki,koi->...ko", blocks, self.weight).flatten(-2)
        return product if self.bias is None else product + self.bias


class MonarchGLU(nn.Module):
    """The gated MLP with the layer's only residual sum and its only LayerNorm, after it; SPEC 1.4.

        h = G a                                     2 I features
        m = Dropout(gelu(h[:I]) * h[I:])            the first half is activated, by the exact gelu
        x' = LayerNorm(W m + b + a)

    G (``gated_layers``) and W (``wo``) are block-diagonal.
    """

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        width, inner, blocks = config.hidden_size, config.intermediate_size, config.monarch_mlp_nblocks
        self.gated_layers = BlockDiagonalLinear(width, 2 * inner, blocks, bias=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.wo = BlockDiagonalLinear(inner, width, blocks, bias=True)
        self.layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, a: Tensor) -> Tensor:
        """The mixer's output to the layer's, both of shape (..., H)."""
        activated, linear = self.gated_layers(a).chunk(2, dim=-1)
        m = self.dropout(gelu(activated) * linear)
        x: Tensor = self.layernorm(self.wo(m) + a)
        return x

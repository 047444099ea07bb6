"""A convolution as long as the sequence, in both directions, by FFT."""

from __future__ import annotations

import torch
from scipy.fft import next_fast_len
from torch import Tensor


def fft_length(length: int) -> int:
    """The FFT's length for ``length`` tokens: a product of 2, 3 and 5, at least 2L - 1 so that nothing wraps around."""
    return int(next_fast_len(2 * length - 1, real=True))


def two_sided_kernel(forward: Tensor, backward: Tensor, skip: Tensor) -> Tensor:
    """One circular kernel, shape (H, n), from the two causal ones, shape (H, L), and the skip weights D, shape (H,).

    ``forward[:, j]`` is the tap at lag +j and ``backward[:, j]`` the one at lag -(j + 1): the first reverse tap acts on
    the next token, the last one never. A lag -l stands at n - l. D, the skip connection, is one more tap at lag 0.
    """
    length = forward.shape[-1]
    gap = fft_length(length) - (2 * length - 1)
    at_zero = forward[:, :1] + skip[:, None]
    return torch.cat([at_zero, forward[:, 1:], forward.new_zeros(len(forward), gap), backward[:, :-1].flip(-1)], dim=-1)


def taps_on_first(forward: Tensor, backward: Tensor, skip: Tensor) -> Tensor:
    """The weights, shape (H, L), by which each token enters the output at position 0: lags 0, -1, ... -(L - 1)."""
    return torch.cat([forward[:, :1] + skip[:, None], backward[:, :-1]], dim=-1)


def spectrum_of(kernel: Tensor) -> Tensor:
    """The spectrum of a circular kernel, shape (H, n) to (H, n // 2 + 1), complex."""
    spectrum: Tensor = torch.fft.rfft(kernel)
    return spectrum


def convolve(signal: Tensor, spectrum: Tensor) -> Tensor:
    """The linear convolution of a signal, shape (B, H, L), with the kernel of that spectrum.

        y[t] = D u[t] + sum_{m <= t} k_fwd[t - m] u[m] + sum_{m > t} k_rev[m - t - 1] u[m]

    as irfft(rfft(u, n) * K, n), of which the first L values stand: zeros on the way in keep the ends apart.
    """
    length = signal.shape[-1]
    size = fft_length(length)
    # An FFT has no half precision; the result goes on in the precision that the signal came in.
    precise = signal.to(torch.promote_types(signal.dtype, torch.float32))
    product = torch.fft.rfft(precise, n=size) * spectrum
    convolved: Tensor = torch.fft.irfft(product, n=size)[..., :length]
    return convolved.to(signal.dtype)

"""The forward pass of an 80M-shaped M2-BERT against a plain transcription of its equations, batch 1, single precision.

    python benchmarks/m2bert.py 128 2048 8192 32768

The transcription makes all filters anew at each call, takes FFTs of twice the length and carries every position
through the last layer, as the released code does. Promised: at least 1.9 times as fast at 128 and 2,048 tokens, 2.5 at
8,192 and 3 at 32,768, there with a peak below 6 GiB. Each side runs in a process of its own, with two threads, and the
two take turns, so that a drifting machine slows both alike; peaks are those of the processes. The first call of each
side, which makes the spectra that ours keeps, is timed apart. An allocator tuned by the environment
(MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=68719476736 MALLOC_TOP_PAD_=268435456) holds for both.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

THREADS = 2
PAIRS = {128: 31, 2048: 7, 8192: 5, 32768: 3}


def worker(side: str, length: int) -> None:
    """Build a model from a seed; then for each line read, time one forward pass and say its seconds and the peak."""
    import torch

    from loco_adapters.m2bert import M2BertConfig, M2BertModel

    torch.set_num_threads(THREADS)
    model = M2BertModel(M2BertConfig(max_position_embeddings=length, long_conv_l_max=length)).eval()
    drawn = torch.Generator().manual_seed(1)
    ids = torch.randint(5, model.config.vocab_size, (1, length), generator=drawn)
    with torch.inference_mode():
        redraw(model, drawn)
        weights = model.state_dict()
        for _ in sys.stdin:
            start = time.perf_counter()
            pooled = model.embed(ids) if side == "ours" else transcription(weights, ids)
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(seconds, peak, *pooled[0, :8].tolist(), flush=True)


def redraw(model, drawn) -> None:
    """Weights at which signals keep their size: matrices by their fan-in, filters and tables large enough to matter."""
    for name, weight in model.named_parameters():
        noise = weight.new_empty(weight.shape).normal_(generator=drawn)
        if name.endswith(("orm.weight", ".freq")):
            weight.mul_(1 + 0.1 * noise)
        elif name.endswith("pos_emb.z"):
            weight.add_(0.02 * noise)
        elif "embeddings.weight" in name:
            weight.copy_(0.5 * noise)
        elif name.endswith(("filter_fn.bias", "filter_fn2.bias")):
            weight.copy_(noise)
        elif name.endswith("bias"):
            weight.copy_(0.1 * noise)
        else:
            small = 0.3 if "implicit_filter" in name and not name.endswith(".6.weight") else 1.0
            weight.copy_(small * noise / weight.shape[-1] ** 0.5)


def transcription(w, ids):
    """The pooled output, equation by equation; ``w`` holds the weights by their names in a checkpoint."""
    import torch
    from torch.nn.functional import conv1d, gelu, layer_norm, linear

    (batch, length), width = ids.shape, w["pooler.dense.bias"].numel()

    def kernel(name, direction):
        h = w[name + "pos_emb.z"][0, :length]
        for at in (0, 2, 4):
            net = f"{name}{direction}.{at}"
            h = torch.sin(w[f"{name}{direction}.{at + 1}.freq"] * linear(h, w[net + ".weight"], w[net + ".bias"]))
        h = linear(h, w[f"{name}{direction}.6.weight"])
        return (h * torch.exp(-w[name + "pos_emb.t"][0, :length] * w[name + "modulation.deltas"][0].abs())).T

    def long_convolution(name, u):
        both = torch.cat([kernel(name, "implicit_filter"), kernel(name, "implicit_filter_rev").flip(-1)], dim=-1)
        product = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(both)
        return torch.fft.irfft(product, n=2 * length)[..., :length] + w[name + "bias"][:, None] * u

    def block_diagonal(weight, x):
        return torch.einsum("blki,koi->blko", x.reshape(batch, length, len(weight), -1), weight).flatten(-2)

    def norm(name, x):
        return layer_norm(x, (width,), w[name + ".weight"], w[name + ".bias"], 1e-12)

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "token_type_embeddings.weight"][torch.zeros_like(ids)]
    x = norm(e + "LayerNorm", x + w[e + "position_embeddings.weight"][:length])
    for layer in range(12):
        name, mlp = f"encoder.layer.{layer}.attention.", f"encoder.layer.{layer}.mlp."
        p = linear(x, w[name + "in_linear.weight"], w[name + "in_linear.bias"]).transpose(1, 2)
        short, short_bias = w[name + "short_filter.weight"], w[name + "short_filter.bias"]
        x1, x2, v = conv1d(p, short, short_bias, padding=2, groups=3 * width)[..., :length].chunk(3, dim=1)
        y = long_convolution(name + "filter_fn.", x1 * v) * x2
        y = y + long_convolution(name + "filter_fn2.", x.transpose(1, 2))
        a = linear(y.transpose(1, 2), w[name + "out_linear.weight"], w[name + "out_linear.bias"])
        activated, gate = block_diagonal(w[mlp + "gated_layers.weight"], a).chunk(2, dim=-1)
        h = block_diagonal(w[mlp + "wo.weight"], gelu(activated) * gate)
        x = norm(mlp + "layernorm", h + w[mlp + "wo.bias"] + a)
    return torch.tanh(linear(x[:, 0], w["pooler.dense.weight"], w["pooler.dense.bias"]))


def compare(length: int) -> None:
    """Both sides in turn, and a line about them."""
    sides = {}
    for side in ("ours", "plain"):
        command = [sys.executable, __file__, side, str(length)]
        sides[side] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def timed(side):
        process = sides[side]
        process.stdin.write("go\n")
        process.stdin.flush()
        return [float(value) for value in process.stdout.readline().split()]

    first = {side: timed(side) for side in sides}
    pairs = [(timed("ours"), timed("plain")) for _ in range(PAIRS.get(length, 3))]
    for process in sides.values():
        process.stdin.close()
        process.wait()
    ours, plain = (statistics.median(run[0] for run in side) for side in zip(*pairs, strict=True))
    ratios = sorted(b[0] / a[0] for a, b in pairs)
    apart = max(abs(a - b) for a, b in zip(*(run[2:] for run in pairs[-1]), strict=True))
    peaks = [max(run[1] for run in side) for side in zip(*pairs, strict=True)]
    print(
        f"{length:6d} tokens: ours {ours:.3f} s, {length / ours:,.0f} tokens a second, peak {peaks[0]:.2f} GiB,"
        f" first call {first['ours'][0]:.2f} s; plain {plain:.3f} s, peak {peaks[1]:.2f} GiB\n"
        f"       {statistics.median(ratios):.2f} times as fast, {ratios[0]:.2f} to {ratios[-1]:.2f} in {len(pairs)}"
        f" pairs; the outputs differ by {apart:.0e} at most"
    )


if __name__ == "__main__":
    if sys.argv[1] in ("ours", "plain"):
        worker(sys.argv[1], int(sys.argv[2]))
    else:
        for argument in sys.argv[1:]:
            compare(int(argument))

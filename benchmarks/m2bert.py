"""The forward pass of an 80M-shaped M2-BERT against a plain transcription of its equations, batch 1, single precision.

    python benchmarks/m2bert.py 128 2048 8192 32768
    python benchmarks/m2bert.py 128 2048 8192 32768 --allocator tuned
    python benchmarks/m2bert.py 32768 --queries 4

The transcription makes all filters anew at each call, takes FFTs of twice the length and carries every position through
the last layer, as the released code does. Promised: at least 1.9 times as fast at 128 and 2,048 tokens, 2.5 at 8,192
and 3 at 32,768, there with a peak below 6 GiB; docs/reproduce.md says where that was reached. Each side runs in a
process of its own and the two take turns, so that a drifting machine slows both alike; peaks are those of the
processes. A turn is as many calls as make some 2,048 tokens: texts are embedded one after the other, and not with
caches that the other side has just filled (``--calls 1`` shows that). The first call of each side, which makes the
spectra that ours keeps, is timed apart. Wall seconds are what is promised. The processor's seconds stand beside them:
with ``--threads 1`` they are what can still be compared on a machine that others use too.

The stock allocator hands large memory back at once and gets it anew, page by page; ``--allocator tuned`` makes it keep
it, on both sides, by three variables of the environment that glibc reads. ``--queries N`` times ours alone, on a batch
of N texts of twenty tokens, each padded to the whole window, as short queries are.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

PAIRS = {128: 31, 2048: 7, 8192: 5, 32768: 3}
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36), "MALLOC_TOP_PAD_": str(1 << 28)}
QUERY, TURN = 20, 2048


@dataclass(frozen=True)
class Run:
    """A turn: wall and processor seconds of a call, the process's peak so far in GiB, a few values of the output."""

    wall: float
    cpu: float
    peak: float
    values: tuple[float, ...]


class Side:
    """One side, in a process of its own; the first call is made at once."""

    def __init__(self, name: str, length: int, threads: int, allocator: str, queries: int = 0) -> None:
        command = [sys.executable, __file__, "worker", name, str(length), str(threads), str(queries)]
        environment = {**os.environ, **(TUNED if allocator == "tuned" else {})}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.first = self.run()

    def run(self, calls: int = 1) -> Run:
        """So many calls of the model."""
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        wall, cpu, peak, *values = (float(value) for value in self.process.stdout.readline().split())
        return Run(wall, cpu, peak, tuple(values))

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def worker(side: str, length: int, threads: int, queries: int) -> None:
    """Build a model from a seed; then for each line read, time so many forward passes and say what one took."""
    import torch

    from loco_adapters.m2bert import M2BertConfig, M2BertModel

    torch.set_num_threads(threads)
    model = M2BertModel(M2BertConfig(max_position_embeddings=length, long_conv_l_max=length)).eval()
    drawn = torch.Generator().manual_seed(1)
    ids = torch.randint(5, model.config.vocab_size, (max(queries, 1), length), generator=drawn)
    if queries:
        ids[:, QUERY:] = model.config.pad_token_id
    with torch.inference_mode():
        redraw(model, drawn)
        weights = model.state_dict()
        for calls in map(int, sys.stdin):
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                pooled = model.embed(ids) if side == "ours" else transcription(weights, ids)
            wall, cpu = (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(wall, cpu, peak, *pooled[0, :8].tolist(), flush=True)


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


def compare(length: int, threads: int, allocator: str, pairs: int, calls: int) -> None:
    """Both sides in turn, and a few lines about them."""
    ours, plain = (Side(name, length, threads, allocator) for name in ("ours", "plain"))
    runs = [(ours.run(calls), plain.run(calls)) for _ in range(pairs)]
    ours.close()
    plain.close()
    print(
        f"{length:6d} tokens, threads: {threads}, {allocator} allocator, {pairs} pairs of turns, calls a turn: {calls}"
    )
    for name, side, of_side in zip(("ours", "plain"), (ours, plain), zip(*runs, strict=True), strict=True):
        wall, cpu = (statistics.median(getattr(run, what) for run in of_side) for what in ("wall", "cpu"))
        print(
            f"       {name:5s} {wall:8.3f} s, {length / wall:6,.0f} tokens a second, {cpu:8.3f} processor seconds, peak"
            f" {max(run.peak for run in of_side):.2f} GiB, first call {side.first.wall:.2f} s"
        )
    for name, what in (("as fast", "wall"), ("the processor seconds", "cpu")):
        ratios = sorted(getattr(b, what) / getattr(a, what) for a, b in runs)
        best = min(getattr(b, what) for _, b in runs) / min(getattr(a, what) for a, _ in runs)
        print(
            f"       {statistics.median(ratios):.2f} times {name} in the median pair ({ratios[0]:.2f} to"
            f" {ratios[-1]:.2f}), {best:.2f} between the best turns"
        )
    apart = max(abs(a - b) for a, b in zip(*(run.values for run in runs[-1]), strict=True))
    print(f"       the outputs differ by {apart:.0e} at most", flush=True)


def queries(length: int, threads: int, allocator: str, count: int, repeats: int) -> None:
    """Ours alone, on a batch of short texts padded to the window."""
    ours = Side("ours", length, threads, allocator, count)
    runs = [ours.run() for _ in range(repeats)]
    ours.close()
    wall, cpu = (statistics.median(getattr(run, what) for run in runs) for what in ("wall", "cpu"))
    print(
        f"{length:6d} tokens, threads: {threads}, {allocator} allocator: {count} short queries in one batch take"
        f" {wall:.2f} s, {count / wall:.3f} queries a second, {cpu:.2f} processor seconds, peak"
        f" {max(run.peak for run in runs):.2f} GiB (median of {repeats})",
        flush=True,
    )


def main() -> None:
    """Read the command line and do as it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lengths", type=int, nargs="+", help="tokens; the window is as long")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--allocator", choices=("stock", "tuned"), default="stock")
    parser.add_argument("--pairs", type=int, help="how many turns of each side, beside the first call")
    parser.add_argument("--calls", type=int, help="how many calls make a turn")
    parser.add_argument("--queries", type=int, metavar="N", help="time a batch of N short, padded texts instead")
    asked = parser.parse_args()
    if any(
        number < 1 for number in (*asked.lengths, asked.threads, asked.pairs or 1, asked.calls or 1, asked.queries or 1)
    ):
        parser.error("every number is 1 or more")
    for length in asked.lengths:
        pairs = asked.pairs or PAIRS.get(length, 3)
        if asked.queries:
            queries(length, asked.threads, asked.allocator, asked.queries, pairs)
        else:
            compare(length, asked.threads, asked.allocator, pairs, asked.calls or max(1, TURN // length))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], *(int(number) for number in sys.argv[3:]))
    else:
        main()

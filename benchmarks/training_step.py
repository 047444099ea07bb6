"""A step of pretraining an 80M-shaped M2-BERT: seconds, tokens a second and memory, with gradient checkpointing or not.

    python benchmarks/training_step.py 2048 8192
    python benchmarks/training_step.py 32768 --device cuda

A step is what ``loco pretrain`` makes for one sample that fills the window: forward, with 30 % of the tokens to be
predicted, backward, clipping, and AdamW over all weights. Single precision on a CPU, bfloat16 with single precision
FFTs on a GPU, synchronised. Each line is a process of its own; the first step is not counted, the median of the others
is shown. Memory is the process's peak, weights, gradients and both of AdamW's averages (1.2 GiB) included; on a GPU
that of PyTorch's allocator.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

MASKED = 0.30


def worker(window: int, checkpointing: bool, device: str, steps: int) -> None:
    """Make the steps and print one line of a table."""
    import torch

    from loco_adapters.m2bert import M2BertConfig, M2BertForMaskedLM

    torch.manual_seed(1)
    model = M2BertForMaskedLM(M2BertConfig(max_position_embeddings=window)).to(device).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6)
    ids = torch.randint(1000, 30_000, (1, window), device=device)
    labels = torch.where(torch.rand(1, window, device=device) < MASKED, ids, -100)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16) if device == "cuda" else nullcontext():
            loss = model(ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    step = statistics.median(seconds[1:])
    on_gpu = device == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    kept = "on" if checkpointing else "off"
    print(f"| {window:,} | {kept} | {step:.2f} | {window / step:,.0f} | {peak / 2**30:.2f} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windows", type=int, nargs="+")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--checkpointing", choices=["on", "off", "both"], default="both")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    kept = {"on": [True], "off": [False], "both": [False, True]}[args.checkpointing]
    if args.worker:
        from loco.training.run import flushing_subnormals

        with flushing_subnormals():
            worker(args.windows[0], kept[0], args.device, args.steps)
        return
    print("| window | gradient checkpointing | seconds a step | tokens a second | peak GiB |\n|---|---|---|---|---|")
    for window in args.windows:
        for checkpointing in kept:
            command = [sys.executable, __file__, str(window), "--worker", "--device", args.device]
            command += ["--checkpointing", "on" if checkpointing else "off", "--steps", str(args.steps)]
            ended = subprocess.run(command, check=False).returncode
            if ended:
                print(
                    f"| {window:,} | {'on' if checkpointing else 'off'} | ended with status {ended} | | |", flush=True
                )


if __name__ == "__main__":
    main()

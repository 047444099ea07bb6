"""Inputs in batches: by length, under a budget of tokens, in halves where memory does not suffice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loco.errors import LocoError
from loco.models.protocols import Encoder, EncoderTraits, Input
from loco.rank.ranking import Float32


@dataclass(frozen=True, eq=False)
class Job:
    """An input to be encoded, the keys of its vectors, and the place of the (first) text it was cut from."""

    input: Input
    keys: tuple[bytes, ...]
    text: int


def batches(jobs: Sequence[Job], traits: EncoderTraits) -> Iterator[list[Job]]:
    """The jobs, longest first, in batches of at most ``batch_tokens`` tokens, padding counted (one job at least), and
    of at most ``batch_inputs`` jobs.
    """
    batch: list[Job] = []
    longest = 0
    for job in sorted(jobs, key=lambda job: -job.input.tokens):
        if batch and ((len(batch) + 1) * longest > traits.batch_tokens or len(batch) == traits.batch_inputs):
            yield batch
            batch = []
        if not batch:
            longest = padded(job.input, traits)
        batch.append(job)
    if batch:
        yield batch


def padded(one: Input, traits: EncoderTraits) -> int:
    """How many tokens an input takes in the model, alone in its batch."""
    return traits.max_tokens if traits.padding == "window" and traits.max_tokens else one.tokens


def encoded(encoder: Encoder, inputs: Sequence[Input]) -> list[Float32]:
    """What the encoder makes of a batch; one that does not fit into memory is tried in halves.

    Raises MemoryError where a single input does not fit, LocoError for an answer of another shape than announced.
    """
    try:
        vectors = encoder.encode(inputs)
    except MemoryError:
        if len(inputs) == 1:
            raise
        middle = (len(inputs) + 1) // 2
        return encoded(encoder, inputs[:middle]) + encoded(encoder, inputs[middle:])
    announced = [(one.vectors, encoder.traits.dim) for one in inputs]
    found = [one.shape for one in vectors]
    if found != announced:
        raise LocoError(
            f"Model '{encoder.card.name}' returned vectors of other shapes than announced: {_brief(found)}, not "
            f"{_brief(announced)}. The adapter or the checkpoint is broken; nothing of this batch was kept."
        )
    return vectors


def _brief(shapes: Sequence[tuple[int, ...]]) -> str:
    different = list(dict.fromkeys(shapes))
    return f"{len(shapes)} of " + ", ".join(map(str, different[:3])) + (", ..." if len(different) > 3 else "")

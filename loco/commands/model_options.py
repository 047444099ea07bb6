"""The options of every command that runs a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loco.commands.options import CacheOption, DocumentPromptOption, PoolingOption, QueryPromptOption, settings

if TYPE_CHECKING:
    from loco.models.card import ModelCard
    from loco.models.runtime import Runtime


@dataclass(frozen=True)
class ChosenModel:
    """What the user has said about the model: which one, under which strategies, how to run it.

    ``strategy`` holds names as typed, known to be the model's own; None means the first of its card.
    ``cache`` is the folder of the embedding store as typed.
    """

    card: ModelCard
    strategy: str | None
    runtime: Runtime
    cache: Path | None


def takes_model(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a :class:`ChosenModel`, with the options that make one on its command line."""
    shared = inspect.signature(_chosen, eval_str=True).parameters.values()
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*shared, *own)]
    names = [each.name for each in shared]

    def run(**values: Any) -> None:
        command(_chosen(**{name: values.pop(name) for name in names}), **values)

    run.__doc__ = command.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _chosen(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            help="From `loco models`; a hub id; a folder; a class `module:Class`; 'fuse(NAME, NAME, method=rrf)'.",
        ),
    ],
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="NAMES",
            help="How the model meets long texts: truncate, chunk, chunk-max, late-chunk, with settings as in "
            "'chunk(256, overlap=32)'. Several, by commas, share one pass.",
            show_default="the first of its card",
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            "--rerank",
            metavar="MODEL@K",
            help="Rerank the K best of each query by a cross-encoder: a name from `loco models`, a hub id or a folder; "
            "'MODEL@K: truncate' for documents' beginnings alone.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", metavar="PATH", help="Weights of your own for a known model, where its card takes them."
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init", metavar="random", help="Weights drawn at random, for tests and speed alone; never ranked."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="For --init.", show_default="0")
    ] = None,
    pooling: PoolingOption = None,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAMES", help="cpu, cuda, cuda:0,cuda:1, or all GPUs.")
    ] = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="NAME", help="float32, bfloat16 or float16; auto is half on GPUs.")
    ] = "auto",
    batch_tokens: Annotated[
        int | None,
        typer.Option("--batch-tokens", metavar="N", min=1, help="Tokens in a batch.", show_default="by the device"),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with a checkpoint.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read weights stored as a pickle, which can run code.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub; use what was downloaded.")] = False,
    cache: CacheOption = None,
) -> ChosenModel:
    from loco.models.registry import model_card, settled, strategies_of
    from loco.models.runtime import Runtime
    from loco.settings import go_offline

    if offline:
        go_offline()
    said = settings(
        checkpoint=checkpoint,
        init=init,
        seed=seed,
        pooling=pooling,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
    )
    card = model_card(model, said, rerank)
    strategies_of(card, strategy)  # names nobody knows are told before anything else
    card = settled(card)
    runtime = Runtime(device, dtype, trust_remote_code, allow_pickle, batch_tokens)
    return ChosenModel(card, strategy, runtime, cache)

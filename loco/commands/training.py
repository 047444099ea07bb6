"""Train a model: for retrieval, on built tasks; or from nothing, by predicting masked tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from loco.commands.options import (
    CacheOption,
    DataOption,
    DocumentPromptOption,
    PoolingOption,
    QueryPromptOption,
    VariantOption,
    settings,
    typed,
)
from loco.errors import LocoError

if TYPE_CHECKING:
    from loco.training.run import Outcome

INTERRUPTED = 130

OutOption = Annotated[
    Path,
    typer.Option("--out", metavar="FOLDER", help="The folder to make; until then FOLDER.training holds what is done."),
]
SaveEveryOption = Annotated[
    int, typer.Option("--save-every", metavar="STEPS", min=1, help="A kill loses no more steps than this.")
]
CheckpointingOption = Annotated[bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")]
DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")]
DtypeOption = Annotated[
    str, typer.Option("--dtype", metavar="NAME", help="float32 or bfloat16; auto is bfloat16 on GPUs that have it.")
]
AllowPickleOption = Annotated[
    bool, typer.Option("--allow-pickle", help="Read weights stored as a pickle, which can run code.")
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never ask the hub; use what was downloaded.")]


def train_command(
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="What to start from: a name, a hub id, a folder.")
    ],
    out: OutOption,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK", help="A task, again for more; `all` for all with a built train split."),
    ] = None,
    variant: VariantOption = "release",
    loss: Annotated[
        str, typer.Option("--loss", metavar="NAME", help="orthogonal, ranking, or prototype with a --teacher.")
    ] = "orthogonal",
    teacher: Annotated[
        str | None, typer.Option("--teacher", metavar="MODEL", help="Whose vectors to learn, for --loss prototype.")
    ] = None,
    negatives: Annotated[
        int,
        typer.Option(
            "--negatives", metavar="N", min=0, help="For each query and relevant document; 0 for --loss ranking alone."
        ),
    ] = 32,
    negatives_from: Annotated[
        str, typer.Option("--negatives-from", metavar="NAME", help="random, or bm25 for the ones it ranks highest.")
    ] = "random",
    one_task: Annotated[
        bool, typer.Option("--one-task", help="With --loss ranking: every batch from one train split.")
    ] = False,
    max_queries: Annotated[
        int | None, typer.Option("--max-queries", metavar="N", min=1, help="Of a task, drawn at random.")
    ] = None,
    drop_overlap: Annotated[
        bool, typer.Option("--drop-overlap", help="Leave out queries that are tested, instead of stopping there.")
    ] = False,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Examples a step.")] = 32,
    micro_batch: Annotated[
        int, typer.Option("--micro-batch", metavar="N", min=1, help="Examples that go through the model at once.")
    ] = 1,
    lr: Annotated[float, typer.Option("--lr", metavar="RATE", help="The highest learning rate.")] = 5e-6,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1)] = 1,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", metavar="N", min=1, help="Stop before the epochs are over.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0)] = 42,
    save_every: SaveEveryOption = 100,
    data: DataOption = None,
    train_data: Annotated[
        list[Path] | None,
        typer.Option(
            "--train-data",
            metavar="FOLDER",
            help="Folder of built train splits, again for more; what is tested is in --data.",
            show_default="--data",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", metavar="PATH", help="Weights of your own for a known model.")
    ] = None,
    pooling: PoolingOption = None,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
    gradient_checkpointing: CheckpointingOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    allow_pickle: AllowPickleOption = False,
    offline: OfflineOption = False,
    cache: CacheOption = None,
) -> None:
    """Train a model for retrieval on the train splits of built tasks.

    What comes out is a folder for `loco eval --model`. Never a test row is trained on. A run that was stopped goes on
    with the same command.
    """
    from loco.models.runtime import Runtime
    from loco.settings import data_folder, go_offline
    from loco.tasks.data import variant_named
    from loco.training.finetune import train, train_tasks
    from loco.training.options import Finetuning

    if offline:
        go_offline()
    known = variant_named(variant)
    chosen = Finetuning(
        loss=loss,  # type: ignore[arg-type]  # checked there
        batch=batch,
        micro_batch=micro_batch,
        negatives=negatives,
        negatives_from=negatives_from,  # type: ignore[arg-type]
        one_task=one_task,
        max_queries=max_queries,
        epochs=epochs,
        max_steps=max_steps,
        lr=lr,
        seed=seed,
        save_every=save_every,
        gradient_checkpointing=gradient_checkpointing,
        device=device,
        dtype=dtype,
    )
    folder = data_folder(data)
    folders = train_data or [folder]
    _ended(
        lambda: train(
            model,
            train_tasks(task or ["all"], known, folders),
            known,
            _path(out),
            chosen,
            data=folder,
            train_data=folders,
            settings=settings(
                checkpoint=checkpoint, pooling=pooling, query_prompt=query_prompt, document_prompt=document_prompt
            ),
            runtime=Runtime("auto" if device == "cuda" else device, "auto", False, allow_pickle),
            teacher=teacher,
            drop_overlap=drop_overlap,
            cache=cache,
            command=typed(),
            say=_say,
        )
    )


def _ended(run: Callable[[], Outcome]) -> None:
    """Run to the end, and say how it ended."""
    from loco.training.run import TrainingInterrupted

    try:
        outcome = run()
    except TrainingInterrupted as stopped:
        typer.echo(
            f"loco: interrupted after step {stopped.step:,} of {stopped.steps:,}, which is kept. Go on with: {typed()}",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    if outcome.reused:
        typer.echo(f"{outcome.folder} was made by this command already.", err=True)
    from loco.training.run import leads

    if not leads():
        return
    loss = "" if outcome.card.loss is None else f", last loss {outcome.card.loss:.4g}"
    typer.echo(f"Wrote {outcome.folder}: {outcome.card.steps:,} steps{loss}")


def _say(line: str) -> None:
    from loco.training.run import leads

    if leads():
        typer.echo(line, err=True)


def _path(typed: Path) -> Path:
    try:
        return typed.expanduser()
    except RuntimeError as error:
        raise LocoError(f"{typed} is in the home of nobody on this machine. Name another path.") from error


def pretrain_command(
    out: OutOption,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1)],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="CORPUS",
            help="jsonl, parquet or txt: a file, a folder; c4, wikipedia, bookcorpus; hub:owner/name/pattern. Again "
            "for more, each with =WEIGHT if they are not to weigh the same.",
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", metavar="PATH", help="A pretrained M2-BERT to go on from.")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option("--window", metavar="N", min=1, help="Tokens read at once; with --start a multiple of its own."),
    ] = None,
    features: Annotated[
        Literal["tiled", "fresh"],
        typer.Option("--features", help="With a longer window: position features repeated, or as new."),
    ] = "tiled",
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="PATH", help="A config.json with the shape, or a folder with one."),
    ] = None,
    hidden: Annotated[int | None, typer.Option("--hidden", metavar="H", min=1, help="Width; the MLP's is 4 H.")] = None,
    layers: Annotated[int | None, typer.Option("--layers", metavar="N", min=1)] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", metavar="PATH", help="A tokenizer.json.", show_default="bert-base-uncased's"),
    ] = None,
    vocabulary: Annotated[
        int | None, typer.Option("--vocabulary", metavar="N", help="Make a WordPiece of N tokens from the texts.")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", metavar="CORPUS", help="Texts held out, whose loss is measured.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Samples a step.")] = 256,
    micro_batch: Annotated[
        int, typer.Option("--micro-batch", metavar="N", min=1, help="Samples that go through the model at once.")
    ] = 1,
    variable: Annotated[
        float,
        typer.Option("--variable", metavar="SHARE", help="Of samples that are one document; others fill the window."),
    ] = 0.3,
    mask: Annotated[float, typer.Option("--masked", metavar="SHARE", help="Of tokens to be predicted.")] = 0.3,
    lr: Annotated[float, typer.Option("--lr", metavar="RATE", help="The highest learning rate.")] = 5e-4,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0)] = 17,
    save_every: SaveEveryOption = 100,
    gradient_checkpointing: CheckpointingOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    allow_pickle: AllowPickleOption = False,
    offline: OfflineOption = False,
) -> None:
    """Pretrain an M2-BERT by predicting masked tokens.

    What comes out is a folder for `loco train --model` and for `--start`. A run that was stopped goes on with the same
    command.
    """
    from loco.settings import go_offline
    from loco.training.options import Pretraining
    from loco.training.pretrain import pretrain, read_shape

    if offline:
        go_offline()
    chosen = Pretraining(
        steps=steps,
        batch=batch,
        micro_batch=micro_batch,
        variable=variable,
        masked=mask,
        lr=lr,
        seed=seed,
        save_every=save_every,
        gradient_checkpointing=gradient_checkpointing,
        device=device,
        dtype=dtype,
    )
    shape = {} if config is None else read_shape(_path(config))
    shape |= {} if hidden is None else {"hidden_size": hidden, "intermediate_size": 4 * hidden}
    shape |= {} if layers is None else {"num_hidden_layers": layers}
    _ended(
        lambda: pretrain(
            source or [],
            _path(out),
            chosen,
            shape=shape,
            start=None if start is None else _path(start),
            window=window,
            features=features,
            tokenizer=None if tokenizer is None else _path(tokenizer),
            vocabulary=vocabulary,
            evaluation=evaluation,
            allow_pickle=allow_pickle,
            command=typed(),
            say=_say,
        )
    )

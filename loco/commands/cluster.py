"""How well a model's vectors keep the labels of a text collection apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loco.commands.model_options import ChosenModel, takes_model
from loco.commands.options import JsonOption, OutOption, print_json, raise_all, typed
from loco.errors import LocoError

if TYPE_CHECKING:
    from loco.cluster import Clustered


@takes_model
def cluster_command(
    model: ChosenModel,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder with a sub-folder of text files for each label, or a .jsonl file of text, label and, where "
            "wanted, id.",
        ),
    ],
    projection: Annotated[
        str, typer.Option("--projection", metavar="NAME", help="t-sne, or umap (needs umap-learn).")
    ] = "t-sne",
    out: OutOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Cluster labelled texts by a model's vectors: v-measure of k-means, and a picture (Figure 3 of the paper).

    Vectors are kept in the embedding store as they are made: a run that is interrupted goes on where it ended.
    """
    from loco.cluster import cluster, read_collection
    from loco.report.cluster import print_clustered
    from loco.report.tables import counted

    collection = read_collection(source)
    if collection.unlabelled:
        typer.echo(f"Left out, being in no folder of a label: {counted(collection.unlabelled, 'file')}.", err=True)
    clustered: list[Clustered] = []
    problem = ""
    try:
        for one in cluster(
            model.card,
            collection,
            out,
            typed(),
            strategies=model.strategy,
            projection=projection,
            runtime=model.runtime,
            cache=model.cache,
        ):
            clustered.append(one)
    except LocoError as error:
        if not clustered:
            raise
        problem = str(error)  # told after what was finished before it
    if as_json:
        print_json(
            [
                {"path": str(one.path), "figure": str(one.figure)}
                | one.result.model_dump(mode="json", exclude={"points"})
                for one in clustered
            ]
        )
    else:
        print_clustered([one.result for one in clustered])
        for one in clustered:
            typer.echo(f"In {one.path} and {one.figure}")
    raise_all([problem] if problem else [])

"""``loco train``: from built tasks and a model to a folder with the model trained on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loco.environment import recorded
from loco.errors import LocoError
from loco.models.card import ModelCard
from loco.models.protocols import Encoder, Retriever, Role
from loco.models.registry import load_model, model_card, settled, strategies_of
from loco.models.runtime import Runtime
from loco.tasks.data import TaskData, Texts, Variant, read_manifest, read_task, task_folder, task_names
from loco.training.card import TrainedOn, TrainingCard, training_card
from loco.training.families import sentence_family
from loco.training.leaks import Leaks, leaks
from loco.training.options import Finetuning
from loco.training.pairs import Triples, triples
from loco.training.run import Outcome, Work, finished, flushing_subnormals, hash_of, leads, working

if TYPE_CHECKING:
    from loco.training.retrieval import Prototypes

Say = Callable[[str], None]


def train(
    model: str,
    tasks: Sequence[str],
    variant: Variant,
    out: Path,
    chosen: Finetuning,
    *,
    data: Path,
    train_data: Sequence[Path] = (),
    settings: Mapping[str, str] | None = None,
    runtime: Runtime | None = None,
    teacher: str | None = None,
    drop_overlap: bool = False,
    cache: Path | None = None,
    command: str = "",
    say: Say = lambda line: None,
) -> Outcome:
    """Fine-tune a model on the train splits of tasks and write it as ``out``, a folder for ``loco eval --model``.

    ``train_data`` are folders with train splits, ``data`` alone where there are none; the test splits that nothing of
    is trained on are those in ``data``. ``cache`` is the embedding store for a teacher's vectors. ``say`` is told what
    a user should know. A run that was stopped goes on; one that was finished is not done again.

    Raises LocoError for whatever the user can act on, TrainingInterrupted where the user stops it.
    """
    if (teacher is None) != (chosen.loss != "prototype"):
        raise LocoError("A teacher is for --loss prototype, which needs one: --teacher MODEL.")
    if not tasks:
        raise LocoError("No task is named to train on.")
    runtime = runtime or Runtime()
    card = settled(model_card(model, dict(settings or {})))
    family = sentence_family(card.family)
    trains = [read_task(folder, variant, task, "train") for folder in train_data or (data,) for task in tasks]
    learnt = _teacher(teacher)
    found = _checked(trains, data, drop_overlap, say)
    identity = _identity(card, trains, chosen, learnt, found)
    done = finished(out, identity)
    if done is not None:
        return Outcome(out, done, reused=True)
    with working(out, identity) as work, flushing_subnormals():
        made = _examples(trains, chosen, found)
        for note in made.notes:
            say(note)
        trained_on = _trained_on(trains, made)
        earlier = training_card(Path(card.checkpoint).expanduser()) if card.checkpoint else None

        from loco.training import retrieval, trainer

        def start() -> Any:
            with trainer.quiet():
                return family.start(card, runtime, chosen.seed)

        def save(folder: Path) -> None:
            with trainer.quiet():
                family.save(trained.cpu(), folder)

        first = start()
        shown: Triples | Prototypes = made
        if learnt is not None:
            shown = _prototypes(made, first.prompts, learnt, runtime, cache)
            _check_dimensions(card.name, first.get_embedding_dimension(), learnt.name, shown.vectors.shape[1])
        examples = retrieval.Examples(shown, chosen.loss, first.prompts)
        steps = retrieval.steps_of(examples, shown, chosen)
        say(f"{len(examples):,} examples, {steps:,} steps of {chosen.batch}.")
        ready = [first]

        def fresh(micro_batch: int) -> Any:
            model = ready.pop() if ready else start()
            return retrieval.trainer(model, shown, examples, chosen, work, steps, micro_batch)

        del first
        micro_batch = min(chosen.micro_batch, chosen.batch)
        trained, loss = trainer.run(work, steps, micro_batch, fresh, f"train {card.name}")
        made_card = TrainingCard(
            schema_version=1,
            made_by="loco train",
            trained_on_loco=variant != "imported" or bool(card.trained_on_loco),
            trained_on=trained_on,
            shared_documents=found.documents,
            start=f"{card.name}@{card.revision}"[:200],
            start_card=earlier,
            settings={**chosen.deciding, "teacher": None if learnt is None else f"{learnt.name}@{learnt.revision}"},
            identity=hash_of(identity),
            steps=steps,
            loss=loss,
            version=version("loco-bench"),
            command=recorded(command),
        )
        return _finished(work, save, made_card)


def train_tasks(asked: Sequence[str], variant: Variant, folders: Sequence[Path]) -> list[str]:
    """The names behind ``--task``: those asked for, or, for "all", every task whose train split is in all folders.

    Raises LocoError for an unknown name, and where there is none.
    """
    for name in asked:
        if name != "all":
            task_folder(folders[0], variant, name)
    if "all" not in asked:
        return list(dict.fromkeys(asked))
    every = [
        name for name in task_names(folders[0], variant) if all(_built(folder, variant, name) for folder in folders)
    ]
    if not every:
        where = ", ".join(map(str, folders))
        raise LocoError(
            f"No train split of variant '{variant}' is in {where}. Run: loco build-data --variant {variant}"
            " --split train"
        )
    return every


def _built(folder: Path, variant: Variant, name: str) -> bool:
    return read_manifest(folder, variant, name, "train") is not None


def _finished(work: Work, save: Callable[[Path], None], card: TrainingCard) -> Outcome:
    return work.finish(save, card) if leads() else Outcome(work.out, card)


def _identity(
    card: ModelCard, trains: Sequence[TaskData], chosen: Finetuning, teacher: ModelCard | None, found: Leaks
) -> dict[str, Any]:
    """All that decides the weights."""
    return {
        "made by": "loco train",
        "model": card.identity.model_dump(mode="json", include={"name", "revision", "max_tokens", "parameters"}),
        "data": [[train.card.name, train.variant, train.content.model_dump()] for train in trains],
        "teacher": None if teacher is None else [teacher.name, teacher.revision],
        "left out": sorted(found.queries),  # what is tested may have grown since
        "settings": chosen.deciding,
    }


def _checked(trains: Sequence[TaskData], data: Path, drop_overlap: bool, say: Say) -> Leaks:
    """What train and test splits share. Raises LocoError for a query that is tested, unless those are left out."""
    found = leaks(trains, data)
    if found.queries and not drop_overlap:
        more = f", and so are {len(found.queries) - 1} more" if len(found.queries) > 1 else ""
        raise LocoError(
            f"Test rows are never trained on, and {found.told}{more}. Leave those out with --drop-overlap, or leave the"
            " task out."
        )
    if found.queries:
        say(f"{len(found.queries)} queries that stand in a test split are left out.")
    if found.documents:
        say(f"{found.documents} documents trained on stand in a test split's pool too.")
    return found


def _examples(trains: Sequence[TaskData], chosen: Finetuning, found: Leaks) -> Triples:
    hard: Retriever | None = None
    if chosen.negatives_from == "bm25":
        loaded = load_model(model_card("bm25"))
        if not isinstance(loaded, Retriever):
            raise LocoError("The model 'bm25' is a plug-in's encoder here: take --negatives-from random.")
        hard = loaded
    return triples(trains, chosen.negatives, chosen.max_queries, chosen.seed, found.queries, hard)


def _trained_on(trains: Sequence[TaskData], made: Triples) -> tuple[TrainedOn, ...]:
    return tuple(
        TrainedOn(
            task=train.card.name,
            variant=train.variant,
            split="train",
            queries=queries,
            documents=len(train.documents),
            content=train.content,
        )
        for train, queries in zip(trains, made.counts, strict=True)
    )


def _teacher(name: str | None) -> ModelCard | None:
    if name is None:
        return None
    card = settled(model_card(name))
    if card.service is not None:
        raise LocoError(f"The teacher '{card.name}' costs money for every text: take one that runs on this machine.")
    return card


def _check_dimensions(name: str, dimensions: int | None, teacher: str, theirs: int) -> None:
    if dimensions != theirs:
        raise LocoError(
            f"{teacher} makes vectors of {theirs} numbers and {name} of {dimensions}: a teacher's must be as long."
        )


def _prototypes(
    made: Triples, prompts: Mapping[str, str], card: ModelCard, runtime: Runtime, cache: Path | None
) -> Prototypes:
    """Every text that would make a pair, once, as the student reads it, and the teacher's vector of it."""
    from loco.encode.dense import opened
    from loco.encode.encoding import encode_texts
    from loco.encode.store import EmbeddingStore
    from loco.settings import cache_folder
    from loco.training.retrieval import Prototypes

    teacher = load_model(card, replace(runtime, dtype="auto"))
    if not isinstance(teacher, Encoder):
        raise LocoError(f"The teacher '{card.name}' has no vectors to learn from. Take an encoder.")
    strategy = strategies_of(card, "truncate")
    documents = [made.documents[place] for place in np.unique(made.rows[:, 1:])]
    roles: dict[Role, list[str]] = {"query": list(made.queries), "document": documents}
    texts: list[str] = []
    vectors = []
    with opened(teacher, EmbeddingStore(cache_folder(cache))) as space:
        for role, theirs in roles.items():
            distinct = list(dict.fromkeys(theirs))
            numbered = Texts(tuple(map(str, range(len(distinct)))), distinct)
            keys = encode_texts(teacher, numbered, role, strategy, space).keys[strategy[0].name]
            for text, key in zip(distinct, keys, strict=True):
                if key:  # a text without tokens has none
                    texts.append((prompts.get(role) or "") + text)
                    vectors.append(space.get(key)[0])
    return Prototypes(texts, np.stack(vectors).astype(np.float32))

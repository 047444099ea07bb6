"""What both kinds of training add to transformers' Trainer: whole checkpoints, one line for what goes wrong, a bar."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as transformers_logging

from loco.errors import LocoError
from loco.files import clear_errors, write_atomically
from loco.training.run import TrainingInterrupted, Work, leads, processes, said_plainly

WEIGHTS = "model.safetensors"
UNSAID = "unsaid.json"

_LINES = 1000  # of the curve of a run, at most


class WholeTrainer(Trainer):
    """A Trainer whose checkpoints are whole or not there, and that stops at the first number that is none.

    Set ``work`` before training. Gradients are those of the mean over all examples of a step, however many
    micro-batches they come in.
    """

    work: Work
    model: Any
    loss_is_scaled_for_ga = True
    _fresh: Path | None = None
    _losses: list[torch.Tensor]

    def save_more(self, folder: Path) -> None:
        """Write into a checkpoint what else must be known to go on."""

    def share(self, inputs: Mapping[str, Any]) -> float:
        """Which part of a step's examples a micro-batch of ``inputs`` is."""
        raise NotImplementedError

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of a micro-batch times its share in the step, so that they add up to the step's."""
        share = self.share(inputs)
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return loss * share  # type: ignore[operator]  # outputs are never asked for: there is no evaluation loop

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """One micro-batch forwards and backwards."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.__dict__.setdefault("_losses", []).append(loss)
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        """Before the weights change: stop where a loss or a gradient is not finite."""
        norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        losses, self._losses = self._losses, []
        found = [("loss", torch.stack(losses).sum()), *([] if norm is None else [("gradient", torch.as_tensor(norm))])]
        for what, value in found:
            if not math.isfinite(float(value)):
                kept = self.work.step()
                where = (
                    f"what was trained until step {kept} is kept in {self.work.folder}" if kept else "nothing is kept"
                )
                raise LocoError(
                    f"The {what} is no finite number at step {self.state.global_step + 1}, so training stops; {where}."
                    " Take a smaller --lr, and another --out."
                )
        return norm

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._fresh or self.args.output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint under another name, then renamed, and only then is the last one deleted."""
        name = f"checkpoint-{self.state.global_step}"
        target = self.work.folder / name
        if target.is_dir():
            return
        self._fresh = self.work.folder / f".{name}"
        try:
            with clear_errors(target), said_plainly(target):
                if leads():
                    shutil.rmtree(self._fresh, ignore_errors=True)
                self.accelerator.wait_for_everyone()
                super()._save_checkpoint(model, trial)
                whole = self._fresh / name
                unsaid = self._unsaid()
                if leads():
                    write_atomically(whole / UNSAID, json.dumps(unsaid).encode())
                    self.save_more(whole)
                self.accelerator.wait_for_everyone()
                if leads():
                    for path in whole.iterdir():
                        with path.open("rb") as stream:
                            os.fsync(stream.fileno())
                    whole.replace(target)
        finally:
            if leads():
                shutil.rmtree(self._fresh, ignore_errors=True)
            self._fresh = None
        if leads():
            self.work.keep_newest()

    def _unsaid(self) -> dict[str, float]:
        """The losses since the curve's last line, added up, and its step."""
        total = self.accelerator.gather(self._tr_loss.reshape(1)).mean()
        return {"total": float(total), "line": self._globalstep_last_logged}

    def go_on_with(self, checkpoint: Path) -> None:
        """Take up the curve where a checkpoint has left it: its next line counts the steps before that too."""
        try:
            unsaid = json.loads((checkpoint / UNSAID).read_text(encoding="utf-8"))
            self._tr_loss += float(unsaid["total"])
            self._globalstep_last_logged = int(unsaid["line"])
        except FileNotFoundError:  # of a version that did not write it: the line is of fewer steps
            return

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self._get_output_dir(None))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, str(folder / WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        fill(self.model, Path(resume_from_checkpoint))


def fill(model: torch.nn.Module, checkpoint: Path) -> None:
    """Put the weights of a checkpoint of :class:`WholeTrainer` into a model."""
    try:
        load_model(model, str(checkpoint / WEIGHTS))
    except Exception as error:
        raise LocoError(
            f"{checkpoint} is damaged and cannot be gone on from. Remove the folder {checkpoint.parent} to begin anew."
        ) from error


def arguments(kind: type[TrainingArguments], work: Work, *, micro_batch: int, batch: int, **settings: Any) -> Any:
    """Arguments of a Trainer that say what both kinds of training want.

    Raises LocoError for a batch that micro-batches on so many processes do not make up, and for a GPU that is not here.
    """
    accumulated, rest = divmod(batch, micro_batch * processes())
    if rest or accumulated < 1:
        raise LocoError(
            f"A batch of {batch} is not made of micro-batches of {micro_batch} on {processes()} processes: choose a"
            " batch that is a multiple."
        )
    if settings.pop("device") == "cuda" and not torch.cuda.is_available():
        raise LocoError("There is no GPU here that torch can use: leave out --device.")
    steps = settings.pop("steps")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = kind(
            output_dir=str(work.folder),
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=accumulated,
            lr_scheduler_type=settings.pop("schedule", "linear"),
            logging_strategy="steps",
            logging_steps=max(1, steps // _LINES),
            logging_nan_inf_filter=False,
            save_strategy="steps",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=torch.cuda.is_available(),
            **settings,
        )
    if made.n_gpu > 1:  # several GPUs are for as many processes: accelerate launch
        made._n_gpu = 1
    return made


def bfloat16(precision: str, device: str) -> bool:
    """Whether to compute in bfloat16: where there is a GPU that has it, unless ``precision`` says otherwise."""
    gpu = device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not gpu:
        raise LocoError("There is no GPU here that computes in bfloat16: leave out --dtype.")
    return gpu and precision != "float32"


def run(
    work: Work,
    steps: int,
    micro_batch: int,
    fresh: Callable[[int], WholeTrainer],
    label: str,
) -> tuple[Any, float | None]:
    """Train to the end, from the newest checkpoint: the model, and its last loss.

    ``fresh`` makes a trainer with an untrained model for a size of micro-batches. What does not fit into memory is
    tried again with half the size, from the newest checkpoint. Raises TrainingInterrupted where the user stops it, and
    LocoError where a single example does not fit.
    """
    while True:
        try:
            with quiet():
                trainer = fresh(micro_batch)
            return _run(work, steps, trainer, label)
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if micro_batch == 1:
                raise LocoError(
                    "A single example does not fit into the memory: take --gradient-checkpointing, a model with a"
                    " shorter window, or a machine with more. What was trained is kept."
                ) from error
        trainer = None  # type: ignore[assignment]  # with its model and optimiser, before the next is made
        half = next(size for size in range(micro_batch // 2, 0, -1) if micro_batch % size == 0)
        print(f"Micro-batches of {micro_batch} do not fit into memory: going on with {half}.", file=sys.stderr)
        micro_batch = half
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)


def _run(work: Work, steps: int, trainer: WholeTrainer, label: str) -> tuple[Any, float | None]:
    trainer.work = work
    newest = work.newest()
    if newest is not None and work.step() >= steps:  # it was killed between its last step and its end
        fill(trainer.model, newest)
        return trainer.model, _last_loss(newest)
    trainer.remove_callback(PrinterCallback)  # the curve is in a file, and the bar is ours
    watch = _Watch(work, steps, label)
    if newest is not None:
        watch.begin = lambda: trainer.go_on_with(newest)
    trainer.add_callback(watch)
    with watch.stopping(), quiet():
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
    if watch.stopped and trainer.state.global_step < steps:
        raise TrainingInterrupted(trainer.state.global_step, steps)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return trainer.model, losses[-1] if losses else None


def _last_loss(checkpoint: Path) -> float | None:
    history = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return losses[-1] if losses else None


class _Watch(TrainerCallback):
    """Writes the curve, draws the bar, and stops after the step that is under way when the user says so."""

    def __init__(self, work: Work, steps: int, label: str) -> None:
        self.stopped = False
        self.begin: Callable[[], None] = lambda: None  # once the trainer has put its counters back
        self._work, self._steps, self._label = work, steps, label
        self._bar: Any = None
        self._task: Any = None
        self._loss = ""

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Ctrl-C ends the run after its step while this lasts; a second one ends it at once."""

        def stop(number: int, frame: Any) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped = True
            print("Stopping after this step, which is then kept. Again to stop at once.", file=sys.stderr)

        inside = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, stop) if inside else None
        try:
            yield
        finally:
            if inside:
                signal.signal(signal.SIGINT, before)
            if self._bar is not None:
                self._bar.stop()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the curve up to the checkpoint: what was logged behind it happens again."""
        self.begin()
        if not leads():
            return
        with clear_errors(self._work.curve), self._work.curve.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(entry) + "\n" for entry in state.log_history if _tells(entry))
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            text = TextColumn("{task.description}", markup=False)
            columns = (
                text,
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[loss]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._label, total=self._steps, completed=state.global_step, loss="")

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Add a line to the curve."""
        if not leads() or not state.log_history or not _tells(entry := state.log_history[-1]):
            return
        with clear_errors(self._work.curve), self._work.curve.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        if "loss" in entry:
            self._loss = f"loss {entry['loss']:.4g}"

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar; stop where that was asked for."""
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, loss=self._loss)
        if self.stopped:
            control.should_save = control.should_training_stop = True


def _tells(entry: Mapping[str, Any]) -> bool:
    return "loss" in entry or "eval_loss" in entry


@contextmanager
def quiet() -> Iterator[None]:
    """No notes and bars of the libraries: what a user must know is said here."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            with suppress(Exception):
                transformers_logging.enable_progress_bar()

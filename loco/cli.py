"""The command line: which commands there are, and how each ends."""

from __future__ import annotations

import errno
from typing import Any

import typer
from typer.core import TyperGroup

from loco.commands import (
    cache,
    cluster,
    compare,
    evaluate,
    explain,
    leaderboard,
    models,
    needle,
    results,
    speed,
    submit,
    tasks,
    training,
)
from loco.errors import LocoError

USAGE_ERROR = 2
INTERRUPTED = 130


class _Commands(TyperGroup):
    """Turns what a user can act on into one line and an exit status, for every command alike."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LocoError as error:
            typer.echo(f"loco: {_printable(str(error))}", err=True)
            raise typer.Exit(USAGE_ERROR) from error
        except MemoryError as error:
            typer.echo("loco: out of memory. What was finished is kept; run it again where there is more.", err=True)
            raise typer.Exit(USAGE_ERROR) from error
        except KeyboardInterrupt:
            typer.echo("loco: interrupted. What was finished is kept.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has had enough
                raise
            where = f"{error.filename}: " if error.filename else ""
            typer.echo(f"loco: {where}{error.strerror or error}.", err=True)
            raise typer.Exit(USAGE_ERROR) from error


app = typer.Typer(
    cls=_Commands,
    help="Long-context retrieval evaluation on LoCoV1: build the tasks, evaluate any retriever, trust the number.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="The models that can be evaluated.", invoke_without_command=True)
results_app = typer.Typer(help="Result files: show them, check them.", no_args_is_help=True)
submit_app = typer.Typer(help="Propose results for the board: check them first.", no_args_is_help=True)
leaderboard_app = typer.Typer(help="Results as a static site.", no_args_is_help=True)
cache_app = typer.Typer(help="The embedding store: what it holds, whether it is sound.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")
app.add_typer(results_app, name="results")
app.add_typer(submit_app, name="submit")
app.add_typer(leaderboard_app, name="leaderboard")


app.command("tasks")(tasks.tasks_command)
app.command("build-data")(tasks.build_data_command)
app.command("audit")(tasks.audit_command)
app.command("export")(tasks.export_command)
app.command("import")(tasks.import_command)
app.command("eval")(evaluate.eval_command)
app.command("needle-haystack")(needle.needle_command)
app.command("speed")(speed.speed_command)
app.command("cluster")(cluster.cluster_command)
app.command("compare")(compare.compare_command)
app.command("explain")(explain.explain_command)
app.command("train")(training.train_command)
app.command("pretrain")(training.pretrain_command)
models_app.callback()(models.models_command)
models_app.command("show")(models.models_show_command)
models_app.command("convert")(models.models_convert_command)
models_app.command("extend")(models.models_extend_command)
results_app.command("show")(results.results_show_command)
results_app.command("validate")(results.results_validate_command)
cache_app.command("ls")(cache.cache_ls_command)
cache_app.command("verify")(cache.cache_verify_command)
cache_app.command("prune")(cache.cache_prune_command)
submit_app.command("check")(submit.submit_check_command)
leaderboard_app.command("build")(leaderboard.leaderboard_build_command)
leaderboard_app.command("serve")(leaderboard.leaderboard_serve_command)


def main() -> None:
    """Entry point of the ``loco`` command."""
    app()


def _printable(text: str) -> str:
    """A text without what could steer a terminal: files and names of others stand in errors."""
    return "".join(sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in text)

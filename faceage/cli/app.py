"""The `faceage` command: its subcommands, and the one place where errors become messages and exit codes."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from faceage.cli import batch, data, evaluate, merge, prints, render, report, sample, train, verify, video, weights
from faceage.cli.console import QUIET_TENSORFLOW
from faceage.cli.mistakes import explained
from faceage.cli.panels import PanelCommand
from faceage.errors import EXIT_INTERRUPTED, EXIT_OK, FaceageError, Interrupted, UsageError

app = typer.Typer(
    name="faceage",
    help="""The same people at other ages, for whole folders of photos.

    \b
        faceage batch photos --out aged

    Every command explains itself: faceage batch --help. Aged faces are drawn by a small network: no forecast, no
    evidence, and nothing to decide about a person by.""",
    epilog="""Results go to stdout, progress and messages to stderr. Exit status: 0 all done, 1 some photos failed or
    showed no face, 2 wrong usage or weights, 130 interrupted. $FACEAGE_WEIGHTS is a model folder, as --weights is.""",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.command("batch", cls=PanelCommand, epilog=batch.EPILOG)(batch.batch)
app.command("merge")(merge.merge)
app.command("print", cls=PanelCommand)(prints.print_sheets)
app.command("render", cls=PanelCommand)(render.render)
app.command("report")(report.report)
app.command("sample")(sample.sample)
app.command("verify")(verify.verify)
app.command("video", cls=PanelCommand)(video.video)
app.add_typer(train.app, name="train")
app.add_typer(data.app, name="data")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(weights.app, name="weights")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"faceage {version('faceage')} ({weights.in_short()})")
        raise typer.Exit


@app.callback()
def _global(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and the weights, and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UsageError("the current folder does not exist any more", "change to another one: cd") from error
    # TensorFlow reads these when it is first imported, which no command has done yet.
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", QUIET_TENSORFLOW)
    global _debug
    _debug = debug


_debug = False


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM. No KeyboardInterrupt: typer would end with status 1; no Exception: nothing swallows it."""


_stopping = False
"""Whether an interrupt has come."""


def _interrupt(signal_number: int, frame: object) -> None:
    global _stopping
    _stopping = True
    raise _Interrupted


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 (some photos failed), 2 (wrong usage or weights) or 130 (interrupted)."""
    signal.signal(signal.SIGINT, _interrupt)
    # What schedulers and service managers send before they kill.
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(signal, "SIGPIPE"):
        # `faceage … | head` ends quietly, as other commands do.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    global _stopping
    _stopping = False
    restarts = "--restart" in (sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(_run(arguments))
    except _Interrupted:
        _end_interrupted(restarts)
    except Exception as error:
        if _stopping:
            # TensorFlow makes an error of its own of whatever is raised while it takes a value from Python.
            _end_interrupted(restarts)
        if _debug or not isinstance(error, FaceageError):
            raise
        saved = isinstance(error, Interrupted)
        _complain(str(error), _how_to_go_on(", but without --restart" if restarts else "") if saved else error.hint)
        sys.exit(error.exit_code)


def _how_to_go_on(condition: str) -> str:
    return f"the same command goes on from there{condition}"


def _end_interrupted(restarts: bool) -> NoReturn:
    condition = ", but without --restart once a stage has begun" if restarts else ""
    _complain(f"interrupted: what is finished is kept, and {_how_to_go_on(condition)}", "")
    sys.exit(EXIT_INTERRUPTED)


def _run(arguments: Sequence[str] | None) -> int:
    """The exit status of a command line. Raises FaceageError, for a wrong one too."""
    try:
        return app(args=arguments, prog_name="faceage", standalone_mode=False) or EXIT_OK
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            return error.exit_code
        raise explained(error) from error


def _complain(message: str, hint: str) -> None:
    typer.echo(f"faceage: {message}", err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)

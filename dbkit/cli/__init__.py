"""The command tree, and the one place where an error becomes three lines and an exit code.

A command is added in `tree.py`; its file is imported when it is called. Command files import typer and the core only;
engines and drivers are imported inside the command that needs them, so that `dbkit --help` stays under 0.2 s.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from dbkit import __version__
from dbkit.cli.tree import Tree
from dbkit.errors import EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_USAGE, DbkitError

app = typer.Typer(
    name="dbkit",
    cls=Tree,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dbkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", envvar="DBKIT_DEBUG", help="Show tracebacks.")] = False,
) -> None:
    """Tune databases and migrate them without downtime.

    Reads are the default; only `apply`, `index apply`, `migrate expand|backfill|verify|contract|rollback|deploy` and
    `job resume|abort` change a server.
    Start with `dbkit demo`, or `dbkit doctor --dsn postgresql://user@host/db`.
    """
    del version  # handled by its eager callback
    if debug:
        os.environ["DBKIT_DEBUG"] = "1"


def main() -> None:
    """The console script. Never shows a traceback unless asked."""
    try:
        code = app(prog_name="dbkit", standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # typer's word for a Ctrl-C that no runner of a job has answered
            print("error: interrupted before anything was changed", file=sys.stderr)
        sys.exit(code)
    except TyperException as error:
        _usage(error)
        sys.exit(EXIT_USAGE)
    except typer.Abort:
        sys.exit(EXIT_USAGE)
    except DbkitError as error:
        if os.environ.get("DBKIT_DEBUG"):
            raise
        print("\n".join(error.lines()), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("DBKIT_DEBUG"):
            raise
        from dbkit.secrets import redact

        known = _of_server(error)
        if known is not None:
            print("\n".join(known.lines()), file=sys.stderr)
            sys.exit(known.exit_code)
        kind = type(error).__name__
        print(f"error: dbkit met something it does not know: {kind}: {redact(str(error))}", file=sys.stderr)
        print("hint: run it again with --debug and report the traceback", file=sys.stderr)
        sys.exit(EXIT_BROKEN)


def _of_server(error: Exception) -> DbkitError | None:
    """What an error of PostgreSQL means that no command has met: above all a connection lost between two looks."""
    psycopg: Any = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(error, psycopg.Error):
        return None
    from dbkit.postgres.connect import explain

    met: Any = error
    return explain(met, "the server ended or refused what this command asked of it")


def _usage(error: TyperException) -> None:
    """A wrong flag or argument in the words of every other error; a command without any argument shows its help."""
    said = error.format_message().replace("Value error, ", "")
    if said.startswith("Usage:"):
        print(said, file=sys.stderr)
        return
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context else "dbkit"
    print(f"error: {' '.join(said.split()).rstrip('.')}", file=sys.stderr)
    print(f"hint: `{command} --help` lists what it takes", file=sys.stderr)

"""The command itself: options for all verbs, and errors as one line with an exit code."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pathlib import Path

import click

from agent import __version__, config
from agent.cli.context import Context
from agent.cli.failures import asks_for_json, object_of, told
from agent.errors import IngestError, Side
from agent.model.printable import printable

EPILOG = """\b
Exit codes: 0 done and Completed; 1 a bug of this program; 2 wrong use of a
command; 3 done with findings (CompletedMoreInfo); 4 the drive; 5 this station;
6 the network; 7 the storage service; 8 refused by the books (no such job,
extra drive, wrong state); 130 or 143 interrupted, place kept. With --json an
error is one line on standard error, too:
{"error": {"code", "side", "message", "next"}}"""
REPORT = "Nothing was lost; set INGEST_AGENT_DEBUG=1 to see where it happened, and report it."


COMMANDS = (
    "api",
    "bays",
    "bench",
    "catalog",
    "doctor",
    "drive",
    "fleet",
    "history",
    "install-systemd",
    "job",
    "keys",
    "log",
    "notify",
    "replay",
    "run",
    "volume",
)
"""Each has a module of its name here, in which it has that name again; ``-`` is ``_`` there."""


WRITERS = ("agent.cli.volume", "agent.cli.volume_decrypt", "agent.cli.volume_print")
"""Modules that write to the output themselves."""


class _Commands(click.Group):
    """Commands are loaded when they are asked for, so that none waits for what another needs."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"agent.cli.{module}"), module)
        return command

    def invoke(self, context: click.Context) -> object:
        """A reader that hangs up, as ``head`` does, ends a command quietly; click calls it a failure."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            sys.stdout = None
            raise click.exceptions.Exit(0) from None


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, readable=False),
    help="Settings file (TOML).",
    metavar="FILE",
)
@click.option("--state", type=click.Path(path_type=Path), help="State directory.", metavar="DIR")
@click.pass_context
def cli(context: click.Context, config_file: Path | None, state: Path | None) -> None:
    """Turns shipped hard drives into verified blobs.

    File a job with `job create`, then plug the drive in (`run`), or read one image with `replay`.
    """
    environment = dict(os.environ)
    if state is not None:
        environment["INGEST_AGENT_STATE"] = str(state)
    context.obj = Context(lambda whole: config.load(config_file, environment, with_credential=whole))


def main() -> None:
    """Entry point of ``ingest-agent``."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - closed by whoever started us; lives as long as we
    code = _run()
    # All that is left goes with the process: to look through it once more took a tenth of a short command.
    gc.freeze()
    sys.exit(code)


def _run() -> int:
    try:
        code = cli.main(prog_name="ingest-agent", standalone_mode=False)
    except IngestError as error:
        return _say(f"error: {error.line()}", error.exit_code, told(error))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        if not asks_for_json(sys.argv):
            error.show()
            return 2
        said, next_step = error.format_message(), "See --help."
        return _say("", 2, object_of("Usage", Side.POLICY, said, next_step))
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130, object_of("Interrupted", Side.STATION, "interrupted", ""))
    except OSError as error:
        said = _of_the_system(error)
        return _say(f"error: {said} [station].", 5, object_of("OSError", Side.STATION, said, ""))
    except Exception as error:
        if os.environ.get("INGEST_AGENT_DEBUG"):
            raise
        said = f"this is a bug of ingest-agent ({type(error).__name__})"
        return _say(f"error: {said} [station]. {REPORT}", 1, object_of("Bug", Side.STATION, said, REPORT))
    return code if isinstance(code, int) else 0


def _of_the_system(error: OSError) -> str:
    if _is_of_output(error):
        return f"the output cannot be written: {error.strerror}"
    place = f"{error.filename}: " if error.filename is not None else ""
    return f"{printable(place)}{error.strerror or type(error).__name__}"


def _is_of_output(error: OSError) -> bool:
    """Whether it was raised by who writes the output for us; the files of others are none of theirs."""
    place, trace = "", error.__traceback__
    while trace is not None:
        place, trace = str(trace.tb_frame.f_globals.get("__name__", "")), trace.tb_next
    writes = place in WRITERS or place.partition(".")[0] in ("click", "rich")
    return writes and error.filename is None


def _say(line: str, code: int, as_object: str) -> int:
    if asks_for_json(sys.argv):
        line = as_object
    if os.environ.get("JOURNAL_STREAM"):
        from agent.telemetry import PRIORITIES, is_journal

        if is_journal(sys.stderr, os.environ):
            line = f"<{PRIORITIES['error']}>{line}"
    print(line, file=sys.stderr)  # noqa: T201 - the one place where errors are told
    return code

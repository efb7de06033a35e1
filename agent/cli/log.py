"""``ingest-agent log``: what a log says, in plain words."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from agent.cli.context import Context, json_option, pass_context, print_json
from agent.errors import LogNotFound, MalformedInput
from agent.formats.logreader import read_log
from agent.formats.plainwords import QUESTION, sentences
from agent.model.identity import JobName, SerialNumber
from agent.station.places import spool_of


@click.group()
def log() -> None:
    """Read error and verbose logs."""


@log.command()
@click.argument("source", metavar="FILE|JOB")
@click.option("--drive", "serial", metavar="SERIAL", help="Which drive of the job; needed if it has several.")
@click.option(
    "--verbose", is_flag=True, help="The job's verbose log, and a line for each file, also where all is well."
)
@json_option
@pass_context
def show(context: Context, source: str, serial: str | None, verbose: bool, as_json: bool) -> None:
    """Tell an error log in plain words: what is missing, and whether the source may be erased.

    FILE is a log of any generation (- is standard input); JOB takes the log that this station keeps.
    """
    lines: list[str] = []
    tell = lines.append if as_json else click.echo
    broken: MalformedInput | None = None
    with _open(context, source, serial, verbose) as file:
        try:
            for line in sentences(read_log(file), is_each_told=verbose):
                tell(line)
        except MalformedInput as error:
            broken = error
            tell(f"{QUESTION} No: the log is damaged or ends too early; fetch it again.")
    if as_json:
        print_json({"sentences": lines, "mayErase": lines[-1].startswith(f"{QUESTION} Yes")})
    if broken is not None:
        raise broken


def _open(
    context: Context, source: str, serial: str | None, verbose: bool
) -> AbstractContextManager[BinaryIO]:
    if source == "-":
        return nullcontext(sys.stdin.buffer)
    path = Path(source)
    if not path.is_file():
        try:
            name = JobName.parse(source)
        except MalformedInput:
            raise LogNotFound(f"{source} is neither a file nor the name of a job") from None
        path = _kept(context, name, serial, "verbose" if verbose else "error")
    try:
        return path.open("rb")
    except OSError as error:
        raise MalformedInput(f"{path} cannot be read: {error.strerror}") from None


def _kept(context: Context, name: JobName, serial: str | None, kind: str) -> Path:
    """The newest log of a job's drive on the spool."""
    job = context.with_catalog(lambda catalog: catalog.job(name))
    chosen = [d.serial for d in job.drives if serial is None or d.serial == SerialNumber.parse(serial)]
    if len(chosen) != 1:
        names = ", ".join(str(drive.serial) for drive in job.drives)
        raise MalformedInput(f"choose one drive of job {job.name} with --drive: {names}")
    folder = spool_of(context.settings.state_dir, job.name, chosen[0])
    logs = sorted(folder.glob(f"*_{kind}.xml"))
    if not logs:
        drive = job.drive(chosen[0])
        raise LogNotFound(
            f"no {kind} log of drive {drive.serial} of job {job.name} is here; the drive is {drive.state}"
        )
    return logs[-1]

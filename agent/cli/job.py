"""``ingest-agent job``: file jobs, and look at them. See ``job_verbs`` for what moves them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from agent.catalog.catalog import Catalog
from agent.cli.context import Context, json_option, operator, pass_context, print_json, read_key
from agent.cli.job_verbs import VERBS
from agent.cli.screen import show_events, show_job, show_jobs
from agent.errors import MalformedInput
from agent.formats.jobrequest import job_to_json, read_job_request
from agent.model.blobs import AccessTier
from agent.model.codes import Disposition, LogLevel
from agent.model.destination import Destination
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import DriveSpec, Job, JobSpec
from agent.model.keys import type_names
from agent.model.treatment import AS_USUAL, Treatment
from agent.model.verification import Verification
from agent.station.sentences import Sentence, sentence_of

MAX_REQUEST_BYTES = 1 << 20


@click.group()
def job() -> None:
    """File jobs, look at them, and move them."""


@job.command()
@click.argument("name")
@click.option("--drive", "serial", metavar="SERIAL", help="Serial number on the drive's label.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Recovery password, password or .BEK file that opens the drive; - reads it from standard input.",
)
@click.option(
    "--to", "destination", metavar="CONTAINER[/PREFIX]", help="Where a drive without manifest goes."
)
@click.option("--manifest", metavar="PATH", help=r"Drive manifest on the drive, e.g. \DriveManifest.xml.")
@click.option("--manifest-hash", metavar="HEX", help="MD5 (or SHA-256) of the manifest.")
@click.option(
    "--from",
    "request",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Job request in the JSON shape of the Import/Export API, for up to ten drives; - is standard input.",
)
@click.option(
    "--disposition",
    type=click.Choice([d.value for d in Disposition]),
    help="What to do when a blob exists already (without a manifest). [default: no-overwrite]",
)
@click.option("--diagnostics", metavar="CONTAINER", help="Container for the logs. [default: waimportexport]")
@click.option("--verbose-log", is_flag=True, help="Also write the verbose log.")
@click.option("--backup-manifest", is_flag=True, help="Also keep the drive manifest, without its credential.")
@click.option("--allow-unencrypted", is_flag=True, help="Accept drives without BitLocker.")
@click.option(
    "--verify",
    metavar="DEPTH",
    help="transit, manifest, or readback[:N%] (N % of the blobs are downloaded and compared). "
    "[default: manifest where there is one, else transit]",
)
@click.option("--content-md5", is_flag=True, help="Compute each file's MD5, and set it as Content-MD5.")
@click.option("--sha256", is_flag=True, help="Compute each file's SHA-256, and set it as metadata sha256.")
@click.option(
    "--tier",
    type=click.Choice([t.value for t in AccessTier]),
    help="Access tier of block blobs. [default: the account's]",
)
@click.option(
    "--no-file-facts",
    is_flag=True,
    help="Of a file's times, attributes and original name, set only mtime as metadata.",
)
@click.option("--with-streams", is_flag=True, help="Upload alternate data streams too, as FILE:STREAM.")
@click.option("--draft", is_flag=True, help="Leave the job in Creating; `job ship` releases it.")
@json_option
@pass_context
def create(
    context: Context, /, name: str, request: Path | None, draft: bool, as_json: bool, **given: Any
) -> None:
    """File the job NAME.

    One drive by options, or several with --from. The drives are processed as soon as they are
    attached.

    \b
    ingest-agent job create box-7 --drive WD-WCC7K0ABC123 --key-file key.txt --to photos/2024/
    ingest-agent job create box-8 --drive 9WM35C3U --key-file - --manifest '\\DriveManifest.xml'
    """
    job_name = JobName.parse(name)
    if request is not None:
        spec, ship = _from_request(job_name, request, given)
        ship = ship and not draft
    else:
        spec, ship = _from_options(job_name, given), not draft
    filed = context.with_catalog(lambda catalog: catalog.create_job(spec, ship=ship, who=operator()))
    if as_json:
        print_json(job_to_json(filed))
    else:
        for drive in spec.drives:
            click.echo(f"drive {drive.serial} opens with {_kind(drive)}")
        click.echo(f"job {filed.name} is {filed.state}")


_OF_ONE_DRIVE = {
    "serial": "--drive",
    "key_file": "--key-file",
    "manifest": "--manifest",
    "manifest_hash": "--manifest-hash",
}


def _from_request(name: JobName, source: Path, given: dict[str, Any]) -> tuple[JobSpec, bool]:
    for key, option in _OF_ONE_DRIVE.items():
        if given[key] is not None:
            raise MalformedInput(f"--from already names the drives; leave out {option}")
    try:
        data = sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1) if str(source) == "-" else source.read_bytes()
    except OSError as error:
        raise MalformedInput(f"{source} cannot be read: {error.strerror}") from None
    read = read_job_request(
        data,
        name,
        destination=Destination.parse(given["destination"]) if given["destination"] else None,
        disposition=Disposition(given["disposition"]) if given["disposition"] else None,
        allow_unencrypted=given["allow_unencrypted"],
    )
    settings: dict[str, Any] = {}
    if given["diagnostics"]:
        settings["diagnostics"] = ContainerName.parse(given["diagnostics"])
    if given["verbose_log"]:
        settings["log_level"] = LogLevel.VERBOSE
    if given["backup_manifest"]:
        settings["backup_manifest"] = True
    if given["with_streams"]:
        settings["upload_streams"] = True
    settings["treatment"] = _treatment(read.spec.treatment, given)
    return replace(read.spec, **settings), True


def _from_options(name: JobName, given: dict[str, Any]) -> JobSpec:
    _check_together(given)
    drive = DriveSpec(
        serial=SerialNumber.parse(given["serial"]),
        credential=read_key(given["key_file"]) if given["key_file"] is not None else None,
        manifest_file=given["manifest"],
        manifest_hash=given["manifest_hash"],
    )
    settings: dict[str, Any] = {}
    if given["diagnostics"]:
        settings["diagnostics"] = ContainerName.parse(given["diagnostics"])
    if given["disposition"]:
        settings["disposition"] = Disposition(given["disposition"])
    return JobSpec(
        name=name,
        drives=(drive,),
        destination=Destination.parse(given["destination"]) if given["destination"] else None,
        log_level=LogLevel.VERBOSE if given["verbose_log"] else LogLevel.ERROR,
        backup_manifest=given["backup_manifest"],
        allow_unencrypted=given["allow_unencrypted"],
        upload_streams=given["with_streams"],
        treatment=_treatment(AS_USUAL, given),
        **settings,
    )


def _check_together(given: dict[str, Any]) -> None:
    """Raises MalformedInput for options of one drive that want for another, or do not go together."""
    if given["serial"] is None:
        raise MalformedInput("name the drive with --drive SERIAL, or several with --from FILE")
    if given["manifest"] == "":
        raise MalformedInput("--manifest is empty; leave it out to ingest the whole volume")
    if not given["manifest"] and not given["destination"]:
        raise MalformedInput("say where the files go with --to CONTAINER[/PREFIX], or name a --manifest")
    if given["manifest"] and given["destination"]:
        raise MalformedInput("a manifest says where its blobs go; give --manifest or --to")
    if given["manifest_hash"] and not given["manifest"]:
        raise MalformedInput("--manifest-hash needs --manifest")


def _treatment(asked: Treatment, given: dict[str, Any]) -> Treatment:
    """What the command says wins over the file."""
    return Treatment(
        Verification.parse(given["verify"]) if given["verify"] else asked.verification,
        given["content_md5"] or asked.content_md5,
        given["sha256"] or asked.sha256,
        AccessTier(given["tier"]) if given["tier"] else asked.tier,
        asked.file_facts and not given["no_file_facts"],
    )


@job.command()
@click.argument("name")
@json_option
@pass_context
def show(context: Context, name: str, as_json: bool) -> None:
    """Show one job and its drives.

    Of a drive that is worked: how fast it goes, the time left, and what holds it up - the drive itself,
    the processors of this station, the network (bytes on their way), the service (its answers, or 503), or
    the bandwidth cap - if one of them does most of the time. A job's percent goes by bytes;
    a drive that has not told how much is on it counts as the mean of the others.
    """
    found, sentences = context.with_catalog(lambda catalog: _standing(catalog, JobName.parse(name)))
    if as_json:
        print_json(job_to_json(found))
    else:
        show_job(found, sentences)


async def _standing(catalog: Catalog, name: JobName) -> tuple[Job, dict[SerialNumber, Sentence]]:
    """A job, and where each of its drives stands."""
    found = await catalog.job(name)
    return found, {
        drive.serial: sentence_of(found, drive, await catalog.drive_history(drive.serial), is_in_bay=None)
        for drive in found.drives
    }


@job.command(name="list")
@json_option
@pass_context
def list_jobs(context: Context, as_json: bool) -> None:
    """List all jobs."""

    async def collect(catalog: Catalog) -> list[Job]:
        return [found async for found in catalog.jobs()]

    jobs = context.with_catalog(collect)
    if as_json:
        print_json({"value": [job_to_json(found) for found in jobs]})
    else:
        show_jobs(jobs)


@job.command()
@click.argument("name")
@json_option
@pass_context
def history(context: Context, name: str, as_json: bool) -> None:
    """Tell what happened to a job and its drives, oldest first."""
    events = context.with_catalog(lambda catalog: catalog.history(JobName.parse(name)))
    show_events(events, as_json)


def _kind(drive: DriveSpec) -> str:
    """What was understood of the key, so that a slip shows here and not at the drive."""
    return f"a {type_names[type(drive.credential)]}" if drive.credential is not None else "no key"


for verb in VERBS:
    job.add_command(verb)

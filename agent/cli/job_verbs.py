"""Verbs of ``ingest-agent job`` by which customers and operators move one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.context import Context, json_option, operator, pass_context, print_json
from agent.errors import MalformedInput
from agent.formats.jobpapers import Complaints, read_package, read_return_address
from agent.formats.jobrequest import job_to_json
from agent.formats.json_fields import Fields, load_object
from agent.model.identity import JobName
from agent.model.job import Job, JobChanges
from agent.model.papers import Address, Package

if TYPE_CHECKING:
    from agent.catalog import Catalog

MAX_ADDRESS_BYTES = 1 << 16

Work = Callable[["Catalog", JobName], Coroutine[Any, Any, Job]]

note_option = click.option("--note", default="", help="Why; it stands in the history.")
reason_option = click.option("--note", required=True, help="Why; it stands in the history.")
carrier_option = click.option("--carrier", metavar="NAME", help="Who brings the package.")
tracking_option = click.option("--tracking", metavar="NUMBER", help="The package's tracking number.")


@click.command()
@click.argument("name")
@carrier_option
@tracking_option
@click.option(
    "--return-address",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the drives go back to: JSON in the shape of the Import/Export API.",
)
@click.option("--by-hand", is_flag=True, help="The drives are brought, there is no package.")
@note_option
@json_option
@pass_context
def ship(
    context: Context,
    /,
    name: str,
    carrier: str | None,
    tracking: str | None,
    return_address: Path | None,
    by_hand: bool,
    note: str,
    as_json: bool,
) -> None:
    """Release a draft: its drives are on the way, or here.

    A job ships with a delivery package and a return address. One that was filed at this station is taken as
    brought by hand when it has no package.
    """
    package = _package(carrier, tracking)
    address = _address(return_address) if return_address is not None else None

    async def go(catalog: Catalog, job: JobName) -> Job:
        if package is not None or address is not None:
            papers = JobChanges(delivery_package=package, return_address=address)
            await catalog.update_job(job, papers, who=operator())
        return await catalog.ship_job(job, operator(), by_hand=True if by_hand else None, note=note)

    _do(context, name, as_json, go)


@click.command()
@click.argument("name")
@note_option
@json_option
@pass_context
def cancel(context: Context, name: str, note: str, as_json: bool) -> None:
    """Cancel a job: what is copied stays, nothing more is copied."""
    _do(context, name, as_json, lambda catalog, job: catalog.cancel_job(job, operator(), note))


@click.command()
@click.argument("name")
@note_option
@json_option
@pass_context
def receive(context: Context, name: str, note: str, as_json: bool) -> None:
    """Record that the box arrived with all drives of the job.

    For one of them alone there is `drive receive`; for one that was not in the box, `drive never-received`.
    """
    _do(context, name, as_json, lambda catalog, job: catalog.receive_job(job, who=operator(), note=note))


@click.command(name="ship-back")
@click.argument("name")
@carrier_option
@tracking_option
@note_option
@json_option
@pass_context
def ship_back(
    context: Context, name: str, carrier: str | None, tracking: str | None, note: str, as_json: bool
) -> None:
    """Record that the drives of a job, and extra ones that came with it, were shipped back."""
    package = _package(carrier, tracking)
    _do(
        context,
        name,
        as_json,
        lambda catalog, job: catalog.ship_back_job(job, who=operator(), package=package, note=note),
    )


@click.command()
@click.argument("name")
@reason_option
@json_option
@pass_context
def fault(context: Context, name: str, note: str, as_json: bool) -> None:
    """Mark a job Faulted: no drive of it begins until `job resolve`; those under way go on."""
    _do(context, name, as_json, lambda catalog, job: catalog.fault_job(job, who=operator(), note=note))


@click.command()
@click.argument("name")
@reason_option
@json_option
@pass_context
def resolve(context: Context, name: str, note: str, as_json: bool) -> None:
    """End what `job fault` began: the job goes to where its drives are."""
    _do(context, name, as_json, lambda catalog, job: catalog.resolve_job(job, who=operator(), note=note))


@click.command()
@click.argument("name")
@click.option("--days", default=14, show_default=True, metavar="N", help="From now on; 1 to 365.")
@note_option
@json_option
@pass_context
def extend(context: Context, name: str, days: int, note: str, as_json: bool) -> None:
    """Wait longer for the drives of a job, or for a draft to be shipped."""
    _do(
        context,
        name,
        as_json,
        lambda catalog, job: catalog.extend_job(job, who=operator(), days=days, note=note),
    )


@click.command()
@click.argument("name")
@note_option
@json_option
@pass_context
def delete(context: Context, name: str, note: str, as_json: bool) -> None:
    """Delete a draft, or a job that has ended. Its history stays."""
    job = JobName.parse(name)
    context.with_catalog(lambda catalog: catalog.delete_job(job, who=operator(), note=note))
    if as_json:
        print_json({"job": str(job), "deleted": True})
    else:
        click.echo(f"job {job} is deleted; its history stays")


VERBS = (ship, cancel, receive, ship_back, fault, resolve, extend, delete)


def report(found: Job, as_json: bool) -> None:
    """Where the job is now, in one line or for machines."""
    if as_json:
        print_json(job_to_json(found))
        return
    cancelled = ", cancel requested" if found.cancel_requested else ""
    click.echo(f"job {found.name} is {found.state}{cancelled}")


def _do(context: Context, name: str, as_json: bool, work: Work) -> None:
    job = JobName.parse(name)
    report(context.with_catalog(lambda catalog: work(catalog, job)), as_json)


def _package(carrier: str | None, tracking: str | None) -> Package | None:
    if carrier is None and tracking is None:
        return None
    if not carrier or not tracking:
        raise MalformedInput("a package needs both: --carrier and --tracking")
    given = Fields({"package": {"carrierName": carrier, "trackingNumber": tracking}}, "")
    complaints = Complaints()
    found = read_package(given, "package", complaints)
    if complaints.found:
        raise complaints.found[0]
    return found


def _address(path: Path) -> Address:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ADDRESS_BYTES + 1)
    except OSError as error:
        raise MalformedInput(f"{path} cannot be read: {error.strerror}") from None
    complaints = Complaints()
    found = read_return_address(load_object(b'{"returnAddress":' + data + b"}"), complaints)
    if complaints.found:
        raise complaints.found[0]
    if found is None:
        raise MalformedInput(f"{path} holds no address")
    return found

"""The jobs of a resource group, as requests of the API handle them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from agent.api.bodies import Patch, Verb, read_patch, read_put
from agent.api.gate import Caller
from agent.api.paging import Filter, Page
from agent.api.problems import ArmError, not_found
from agent.catalog import Catalog, Event, JobPage, JobQuery
from agent.config.api import ApiSettings
from agent.errors import JobExists, JobNotFound, MalformedInput, SerialNotSpecified
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Job, JobChanges
from agent.model.keys import Credential

_SUBSCRIPTION = re.compile(r"[A-Za-z0-9-]{1,64}\Z", re.ASCII)
_GROUP = re.compile(r"[\w.()-]{0,89}[\w()-]\Z")
MAX_HISTORY_EVENTS = 1000

Keys = Mapping[SerialNumber, Credential]


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs stand; ``group`` None: in any group of the subscription. As the client spelled them."""

    subscription: str
    group: str | None = None

    def __post_init__(self) -> None:
        """Raises ArmError."""
        if not _SUBSCRIPTION.match(self.subscription):
            told = (
                f"the subscription id {self.subscription[:64]!r} is not 1 to 64 letters, digits and hyphens"
            )
            raise ArmError(400, "InvalidSubscriptionId", told, "subscriptionId")
        if self.group is not None and not _GROUP.match(self.group):
            told = (
                f"the resource group name {self.group[:90]!r} is not 1 to 90 letters, digits, dots, dashes, "
                "underscores and parentheses, with no dot at the end"
            )
            raise ArmError(400, "InvalidResourceGroupName", told, "resourceGroupName")


class Desk:
    """One for each request: what it does stands in the history under the caller's name and origin."""

    def __init__(self, catalog: Catalog, settings: ApiSettings, caller: Caller) -> None:
        self._catalog, self._settings = catalog.seen_from(caller.origin), settings
        self._who = caller.name

    async def job(self, place: Place, named: str) -> Job:
        """Raises ArmError when there is none of that name in that group."""
        try:
            job = await self._catalog.job(_name(named))
        except (JobNotFound, MalformedInput):
            raise not_found("job", named) from None
        if not self._stands_in(job, place):
            raise not_found("job", named)
        return job

    async def put(self, place: Place, named: str, body: bytes, tenant: str) -> tuple[Job, str, bool]:
        """The job, its location as it was sent, and whether it is new.

        Raises JobExists for one of another resource group, MalformedInput, and what filing it raises.
        """
        name = _checked(named)
        found = await self._found(name)
        if found is not None and not self._stands_in(found, place):
            raise JobExists(f"there is a job {name} already, in another resource group of this station")
        read = read_put(
            body,
            name,
            self._settings.locations,
            subscription=place.subscription,
            resource_group=place.group or "",
            tenant=tenant,
            keys=await self._keys(name) if found is not None else {},
        )
        spec, ship, sent = read.request.spec, read.request.ship, read.papers.location
        if found is None:
            job = await self._catalog.create_job(
                spec, ship=ship, who=self._who, papers=read.papers, by_hand=False
            )
        else:
            papers = replace(read.papers, return_package=found.papers.return_package)
            job = await self._catalog.replace_job(spec, ship=ship, who=self._who, papers=papers)
        return job, sent, found is None

    async def patch(self, place: Place, named: str, body: bytes) -> Job:
        """All of it, or nothing."""
        job = await self.job(place, named)
        # A key that does not open any more hinders no change but that of the drives.
        keys = await self._keys(job.name) if b"driveList" in body else {}
        changes = _changes(read_patch(body, job, keys))
        return await self._catalog.update_job(job.name, changes, who=self._who)

    async def delete(self, place: Place, named: str) -> None:
        """The job and what is known of it, but for its history."""
        job = await self.job(place, named)
        await self._catalog.delete_job(job.name, who=self._who)

    async def jobs(self, place: Place, page: Page) -> JobPage:
        """One page of them, oldest first."""
        if page.wanted.kind == "Export":
            return JobPage([], None)
        try:
            return await self._catalog.find_jobs(
                self._query(place, page.wanted), after=page.after, size=page.size
            )
        except MalformedInput:
            told = "$skiptoken is none that this station gave out; begin with the first page"
            raise ArmError(400, "InvalidQueryParameter", told, "$skiptoken") from None

    async def keys(self, place: Place, named: str) -> list[tuple[SerialNumber, Credential]]:
        """Those of the drives that have one; that they were shown stands in the history."""
        job = await self.job(place, named)
        found = await self._catalog.credentials(job.name)
        await self._catalog.record_event("keys.listed", who=self._who, job=job.name)
        return [(serial, credential) for serial, credential in found if credential is not None]

    async def history(self, place: Place, named: str) -> list[Event]:
        """What happened to the job, oldest first; the newest events of very many."""
        job = await self.job(place, named)
        return (await self._catalog.history(job.name))[-MAX_HISTORY_EVENTS:]

    async def of_job(self, place: Place, named: str, verb: str, said: Verb) -> Job:
        """One of JOB_VERBS."""
        job = await self.job(place, named)
        return await JOB_VERBS[verb](self._catalog, job.name, self._who, said)

    async def of_drive(self, place: Place, named: str, serial: str, verb: str, said: Verb) -> Job:
        """One of DRIVE_VERBS. Raises SerialNotSpecified, and what the verb raises."""
        job = await self.job(place, named)
        try:
            parsed = SerialNumber.parse(serial)
        except MalformedInput as error:
            raise SerialNotSpecified(f"job {job.name} does not specify this drive: {error.detail}") from None
        return await DRIVE_VERBS[verb](self._catalog, job.name, parsed, self._who, said)

    async def _found(self, name: JobName) -> Job | None:
        try:
            return await self._catalog.job(name)
        except JobNotFound:
            return None

    async def _keys(self, name: JobName) -> Keys:
        return {serial: key for serial, key in await self._catalog.credentials(name) if key is not None}

    def _stands_in(self, job: Job, place: Place) -> bool:
        papers = job.papers
        subscription = papers.subscription or self._settings.subscription
        group = papers.resource_group or self._settings.resource_group
        is_subscription = subscription.lower() == place.subscription.lower()
        return is_subscription and (place.group is None or group.lower() == place.group.lower())

    def _query(self, place: Place, wanted: Filter) -> JobQuery:
        ours = self._settings
        is_ours = place.subscription.lower() == ours.subscription.lower() and (
            place.group is None or place.group.lower() == ours.resource_group.lower()
        )
        return JobQuery(
            subscription=place.subscription,
            resource_group=place.group,
            state=wanted.state,
            tracking_number=wanted.tracking_number,
            with_unfiled=is_ours,
        )


OfJob = Callable[[Catalog, JobName, str, Verb], Awaitable[Job]]
OfDrive = Callable[[Catalog, JobName, SerialNumber, str, Verb], Awaitable[Job]]

JOB_VERBS: Mapping[str, OfJob] = {
    "receive": lambda catalog, job, who, said: catalog.receive_job(job, who=who, note=said.note),
    "shipBack": lambda catalog, job, who, said: catalog.ship_back_job(
        job, who=who, package=said.package, note=said.note
    ),
    "cancel": lambda catalog, job, who, said: catalog.cancel_job(job, who, said.note),
    "fault": lambda catalog, job, who, said: catalog.fault_job(job, who=who, note=said.note),
    "resolve": lambda catalog, job, who, said: catalog.resolve_job(job, who=who, note=said.note),
    "extendWaiting": lambda catalog, job, who, said: catalog.extend_job(
        job, who=who, days=14 if said.days is None else said.days, note=said.note
    ),
}
"""What operators do to a job as a whole, by its name in the path."""

DRIVE_VERBS: Mapping[str, OfDrive] = {
    "receive": lambda catalog, job, drive, who, said: catalog.receive_drive(
        job, drive, who=who, note=said.note
    ),
    "markNeverReceived": lambda catalog, job, drive, who, said: catalog.miss_drive(
        job, drive, who=who, note=said.note
    ),
    "shipBack": lambda catalog, job, drive, who, said: catalog.ship_back_drive(
        job, drive, who=who, note=said.note
    ),
    "fault": lambda catalog, job, drive, who, said: catalog.fault_drive(job, drive, who=who, note=said.note),
    "resolve": lambda catalog, job, drive, who, said: catalog.resolve_drive(
        job, drive, who=who, note=said.note, give_up=said.gives_up
    ),
}
"""What operators do to one drive, by its name in the path."""


def _name(text: str) -> JobName:
    """Names are compared without case, as all names of the resource manager are."""
    return JobName.parse(text.lower())


def _checked(text: str) -> JobName:
    try:
        return _name(text)
    except MalformedInput as error:
        raise ArmError(400, "InvalidResourceName", error.detail, "jobName") from None


def _changes(patch: Patch) -> JobChanges:
    return JobChanges(
        cancel=patch.cancel,
        ship=patch.ship,
        tags=patch.tags,
        return_address=patch.return_address,
        return_shipping=patch.return_shipping,
        delivery_package=patch.delivery_package,
        log_level=patch.log_level,
        backup_manifest=patch.backup_manifest,
        drives=patch.drives,
    )

"""The paths of the API, and what each does."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from agent.api.answers import (
    Answers,
    event_to_json,
    listed,
    location_to_json,
    operations_to_json,
)
from agent.api.asked import body_of, caller_of, job_of, listens_after, place_of, query_of
from agent.api.bodies import read_verb
from agent.api.desk import DRIVE_VERBS, JOB_VERBS, Desk
from agent.api.envelope import response_of
from agent.api.feed import Begun, Feed, TooManyListeners
from agent.api.gate import Caller
from agent.api.openapi import VERSIONS, document
from agent.api.paging import next_link, read_page
from agent.api.problems import ArmError, not_found
from agent.api.stream import about, joined, sent
from agent.catalog import Catalog
from agent.config.api import ApiSettings
from agent.formats.jobpapers import MAX_TEXT_CHARS
from agent.model.job import Job
from agent.model.keys import RecoveryPassword
from agent.model.locations import find_location
from agent.model.roles import Right, Role

STREAM_AT_MOST_S = 600.0
"""Listeners come again by themselves, and their token is looked at again."""
HANDS = frozenset({"receive", "markNeverReceived", "shipBack"})
"""Verbs of those who hold the drives; the other verbs are decisions."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?\Z", re.ASCII)

PROVIDER = "/providers/Microsoft.ImportExport"
IN_SUBSCRIPTION = "/subscriptions/{subscription}" + PROVIDER
IN_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}" + PROVIDER
JOB = IN_GROUP + "/jobs/{job}"

Endpoint = Callable[[Request], Awaitable[Response]]


class _Bare(Starlette):
    """Without Starlette's own answer to a crash: the envelope around it has one."""

    def build_middleware_stack(self) -> ASGIApp:
        return ExceptionMiddleware(self.router, handlers=self.exception_handlers)


class Api:
    """The endpoints."""

    def __init__(self, catalog: Catalog, settings: ApiSettings, feed: Feed) -> None:
        self._catalog, self._settings, self._feed = catalog, settings, feed
        self._answers = Answers(settings)

    def app(self) -> Starlette:
        """The application, without the envelope."""
        routes = [
            Route(PROVIDER + "/locations", _versioned(self.locations), methods=["GET"]),
            Route(PROVIDER + "/locations/{location}", _versioned(self.location), methods=["GET"]),
            Route(PROVIDER + "/operations", _versioned(self.operations), methods=["GET"]),
            Route(IN_SUBSCRIPTION + "/jobs", _versioned(self.jobs_of_subscription), methods=["GET"]),
            Route(IN_GROUP + "/jobs", _versioned(self.jobs_of_group), methods=["GET"]),
            Route(JOB, _versioned(self.job), methods=["GET", "PUT", "PATCH", "DELETE"]),
            Route(JOB + "/listBitLockerKeys", _versioned(self.keys), methods=["POST"]),
            Route(JOB + "/history", _versioned(self.history), methods=["GET"]),
            Route(JOB + "/drives/{drive}/{verb}", _versioned(self.drive_verb), methods=["POST"]),
            Route(JOB + "/{verb}", _versioned(self.job_verb), methods=["POST"]),
            Route("/events", self.events, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]
        app = _Bare(routes=routes, exception_handlers={HTTPException: _refused})
        app.router.redirect_slashes = False
        return app

    async def locations(self, request: Request) -> Response:
        """Locations_List."""
        caller_of(request).need(Right.READ_LOCATIONS)
        return JSONResponse(listed([location_to_json(one) for one in self._settings.locations]))

    async def location(self, request: Request) -> Response:
        """Locations_Get, by the name's long or short form."""
        caller_of(request).need(Right.READ_LOCATIONS)
        named = request.path_params["location"]
        found = find_location(named, self._settings.locations)
        if found is None:
            raise not_found("location", named)
        return JSONResponse(location_to_json(found))

    async def operations(self, request: Request) -> Response:
        """Operations_List; nothing in it is anybody's."""
        return JSONResponse(listed(operations_to_json()))

    async def jobs_of_subscription(self, request: Request) -> Response:
        """Jobs_ListBySubscription."""
        return await self._jobs(request, drives=True)

    async def jobs_of_group(self, request: Request) -> Response:
        """Jobs_ListByResourceGroup, which tells no drives, as the service does not."""
        return await self._jobs(request, drives=False)

    async def job(self, request: Request) -> Response:
        """Jobs_Get, Jobs_Create, Jobs_Update, Jobs_Delete."""
        match request.method:
            case "PUT":
                return await self._put(request)
            case "PATCH":
                return await self._patch(request)
            case "DELETE":
                return await self._delete(request)
        desk, caller = self._desk(request, Right.READ)
        return self._told(await desk.job(place_of(request), job_of(request)), caller.role)

    async def keys(self, request: Request) -> Response:
        """BitLockerKeys_List: the one answer that holds keys."""
        desk, _ = self._desk(request, Right.LIST_KEYS)
        found = await desk.keys(place_of(request), job_of(request))
        shown = [
            {"driveId": serial.shown, "bitLockerKey": key.secret.reveal()}
            for serial, key in found
            if isinstance(key, RecoveryPassword)
        ]
        return JSONResponse(listed(shown))

    async def history(self, request: Request) -> Response:
        """What happened to a job; of our own."""
        desk, caller = self._desk(request, Right.READ_HISTORY)
        events = await desk.history(place_of(request), job_of(request))
        return JSONResponse(listed([event_to_json(event, caller.role) for event in events]))

    async def job_verb(self, request: Request) -> Response:
        """What operators do to a job; of our own."""
        verb = _verb(request, JOB_VERBS)
        desk, caller = self._desk(request, _right_of(verb))
        said = read_verb(await body_of(request))
        return self._told(await desk.of_job(place_of(request), job_of(request), verb, said), caller.role)

    async def drive_verb(self, request: Request) -> Response:
        """What operators do to a drive; of our own."""
        verb = _verb(request, DRIVE_VERBS)
        desk, caller = self._desk(request, _right_of(verb))
        said = read_verb(await body_of(request))
        drive = request.path_params["drive"]
        job = await desk.of_drive(place_of(request), job_of(request), drive, verb, said)
        return self._told(job, caller.role)

    async def events(self, request: Request) -> Response:
        """Server-sent events: of the whole station, or of one job (``?job=NAME``)."""
        caller = caller_of(request)
        caller.need(Right.READ_HISTORY)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        named = request.query_params.get("job")
        stream = self._stream(listens_after(request), None if named is None else named.lower(), caller.role)
        try:
            first = await anext(stream)
        except TooManyListeners:
            raise ArmError(503, "TooManyListeners", "too many others listen; try again later") from None
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(joined(first, stream), media_type="text/event-stream", headers=headers)

    async def openapi(self, request: Request) -> Response:
        """The description of all this."""
        return JSONResponse(document())

    async def _jobs(self, request: Request, *, drives: bool) -> Response:
        desk, caller = self._desk(request, Right.READ)
        query = query_of(request)
        page = await desk.jobs(place_of(request), read_page(query))
        link = None
        if page.next is not None:
            path = request.scope["raw_path"].decode("ascii")
            link = next_link(self._base(request), path, query, page.next)
        return JSONResponse(
            listed([self._answers.job(one, caller.role, drives=drives) for one in page.jobs], link)
        )

    async def _put(self, request: Request) -> Response:
        desk, caller = self._desk(request, Right.WRITE)
        tenant = request.headers.get("x-ms-client-tenant-id", "")[:MAX_TEXT_CHARS]
        body = await body_of(request)
        job, location, is_new = await desk.put(place_of(request), job_of(request), body, tenant)
        return self._told(job, caller.role, status=201 if is_new else 200, location=location)

    async def _patch(self, request: Request) -> Response:
        desk, caller = self._desk(request, Right.WRITE)
        body = await body_of(request)
        return self._told(await desk.patch(place_of(request), job_of(request), body), caller.role)

    async def _delete(self, request: Request) -> Response:
        desk, _ = self._desk(request, Right.DELETE)
        await desk.delete(place_of(request), job_of(request))
        return Response(status_code=200)

    def _desk(self, request: Request, right: Right) -> tuple[Desk, Caller]:
        caller = caller_of(request)
        caller.need(right)
        return Desk(self._catalog, self._settings, caller), caller

    def _told(self, job: Job, role: Role, *, status: int = 200, location: str | None = None) -> Response:
        return JSONResponse(self._answers.job(job, role, location=location), status)

    def _base(self, request: Request) -> str:
        """Scheme and host as the client sees them: it refuses to go on to anything else."""
        if self._settings.public_url is not None:
            return self._settings.public_url
        host = request.headers.get("host", "")
        if not _HOST.match(host):
            raise ArmError(400, "InvalidHostHeader", "the header Host names no host", "Host")
        return f"{request.scope['scheme']}://{host}"

    async def _stream(self, after: int | None, job: str | None, role: Role) -> AsyncGenerator[str, None]:
        end = time.monotonic() + STREAM_AT_MOST_S
        async with aclosing(self._feed.listen(after)) as tidings:
            async for tiding in tidings:
                if tiding is None:
                    yield ": here\n\n"
                elif job is None or isinstance(tiding, Begun) or about(tiding) == job:
                    yield sent(tiding, role)
                if time.monotonic() > end:
                    return


def _versioned(endpoint: Endpoint) -> Endpoint:
    async def checked(request: Request) -> Response:
        version = query_of(request).get("api-version")
        if not version:
            told = f"the query parameter api-version is missing; this station knows {', '.join(VERSIONS)}"
            raise ArmError(400, "MissingApiVersionParameter", told, "api-version")
        if version not in VERSIONS:
            told = f"there is no api-version {version[:30]!r} here; this station knows {', '.join(VERSIONS)}"
            raise ArmError(400, "InvalidApiVersionParameter", told, "api-version")
        return await endpoint(request)

    return checked


async def _refused(request: Request, error: Exception) -> Response:
    """What the router says."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        told = f"{request.method} is not done here; {allowed} is"
        return response_of(ArmError(405, "MethodNotAllowed", told, headers={"Allow": allowed}))
    told = "there is nothing under this path; /openapi.json describes what there is"
    return response_of(ArmError(error.status_code, "ResourceNotFound", told))


def _verb(request: Request, verbs: Mapping[str, object]) -> str:
    verb: str = request.path_params["verb"]
    if verb not in verbs:
        raise ArmError(
            404, "ResourceNotFound", f"there is no {verb[:30]!r} here; there is {', '.join(verbs)}"
        )
    return verb


def _right_of(verb: str) -> Right:
    return Right.HANDLE if verb in HANDS else Right.DECIDE

"""Answers those who look at the station from outside: metrics, health, readiness."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

from agent.catalog.catalog import Catalog
from agent.config import Settings
from agent.errors import IngestError
from agent.model.states import DriveState
from agent.station.health import Verdict, alive, ready
from agent.station.listener import Answer, serving
from agent.station.metrics import OPENMETRICS, PLAIN, Surroundings, exposed, utc_now
from agent.station.view import View

CATALOG_ANSWERS_WITHIN_S = 5.0


class Window:
    """``settings`` gives those that count at the moment."""

    def __init__(
        self,
        view: View,
        catalog: Catalog,
        settings: Callable[[], Settings],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._view, self._catalog, self._settings, self._clock = view, catalog, settings, clock

    async def answer(self, path: str, accept: str) -> Answer:
        """See ``agent.station.listener.Handler``."""
        match path:
            case "/metrics":
                return await self._metrics("application/openmetrics-text" in accept)
            case "/healthz":
                return _told(alive(self._view, catalog_answers=await self._drives() is not None))
            case "/readyz":
                answers = await self._drives() is not None
                return _told(ready(self._view, catalog_answers=answers, now=self._clock()))
        return Answer(HTTPStatus.NOT_FOUND, b"/metrics, /healthz or /readyz\n")

    async def _metrics(self, openmetrics: bool) -> Answer:
        settings = self._settings()
        around = Surroundings(await self._drives(), await asyncio.to_thread(_free, settings.state_dir))
        body = exposed(self._view, settings, around, openmetrics=openmetrics, now=self._clock())
        return Answer(HTTPStatus.OK, body, OPENMETRICS if openmetrics else PLAIN)

    async def _drives(self) -> Mapping[DriveState, int] | None:
        try:
            async with asyncio.timeout(CATALOG_ANSWERS_WITHIN_S):
                return await self._catalog.count_drives()
        except (IngestError, TimeoutError):
            return None


@asynccontextmanager
async def opened(window: Window, settings: Settings) -> AsyncIterator[None]:
    """Serve where the settings say, if they do. Raises ConfigInvalid."""
    if settings.metrics is None:
        yield
        return
    async with serving(settings.metrics, window.answer):
        yield


def _told(verdict: Verdict) -> Answer:
    status = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, verdict.reason.encode() + b"\n")


def _free(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize

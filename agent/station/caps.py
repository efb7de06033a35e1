"""Brings the caps of the settings, which follow the clock on the wall, to those who send."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

from agent.config import Settings
from agent.model.bandwidth import NO_CAP, shown_rate
from agent.model.identity import JobName
from agent.transfer.board import Board
from agent.transfer.meter import STATION, of_account, of_job, set_rates


def rates_at(settings: Settings, job: JobName, local: datetime) -> dict[str, int | None]:
    """Bytes a second by the names of buckets; None: no cap."""
    bandwidth = settings.bandwidth
    return {
        STATION: bandwidth.station.at(local),
        of_account(settings.store.address): bandwidth.account.at(local),
        of_job(str(job)): bandwidth.jobs.get(str(job), NO_CAP).at(local),
    }


class CapKeeper:
    """Of one drive's visit. Several on one board agree, as they have the same settings and clock."""

    def __init__(self, board: Board, job: JobName) -> None:
        self._board, self._job = board, job
        self._rates: dict[str, int | None] = {}

    def keep(self, settings: Settings, local: datetime | None = None) -> Mapping[str, str] | None:
        """Set the caps of this moment; for people, those in force when they are others than before.

        ``local`` is the time by the clock on the wall, now if it is None. Raises StateUnusable.
        """
        rates = rates_at(settings, self._job, local or datetime.now().astimezone())
        done = self._board.change(lambda rows: set_rates(rows, rates, time.monotonic()))
        if done is None or rates == self._rates:
            return None
        before, self._rates = self._rates, rates
        if not before and not any(rates.values()):
            return None
        names = ("station", "account", "job")
        return {name: shown_rate(rate) for name, rate in zip(names, rates.values(), strict=True)}

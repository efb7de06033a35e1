"""Says in advance when the store's credential ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.blobs.sas import expiry_of, shown_time
from agent.errors import ConfigInvalid
from agent.model.secrets import Secret
from agent.telemetry import Log

WARNINGS = (timedelta(days=7), timedelta(days=1), timedelta(hours=1))
NEXT = "put a new one into store.credential_file and send the station SIGHUP; running drives take it over"


class ExpiryWatch:
    """Tells each warning once for each credential."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._told: tuple[datetime, int] | None = None

    def look(self, credential: Secret | None, now: datetime) -> datetime | None:
        """At ``now``, UTC; the end, or None for a credential that has none, or is no SAS at all."""
        try:
            ends = expiry_of(credential.reveal()) if credential is not None else None
        except ConfigInvalid:
            return None
        if ends is not None:
            self._tell(ends, now)
        return ends

    def _tell(self, ends: datetime, now: datetime) -> None:
        left = ends - now
        stage = sum(left <= warning for warning in WARNINGS) + (left <= timedelta())
        if not stage or (self._told is not None and self._told[0] == ends and self._told[1] >= stage):
            return
        self._told = (ends, stage)
        if left <= timedelta():
            self._log.error("credential.expired", at=shown_time(ends), next=NEXT)
        else:
            self._log.warning("credential.expires", at=shown_time(ends), left=_shown(left), next=NEXT)


def _shown(left: timedelta) -> str:
    hours = left.total_seconds() / 3600
    if hours >= 48:
        return f"{int(hours // 24)} days"
    return f"{int(hours)} hours" if hours >= 2 else f"{int(hours * 60)} minutes"

"""The store's credential that a drive's uploaders use, which may be renewed while they run."""

from __future__ import annotations

import asyncio

from agent.config import StoreSettings, read_credential
from agent.errors import ConfigInvalid, StoreRefused
from agent.model.secrets import Secret
from agent.station.toldlog import told_fields
from agent.telemetry import Log


class StoreKey:
    """Of one drive's visit; None where the store needs none."""

    def __init__(self, store: StoreSettings, log: Log) -> None:
        self._store, self._log = store, log
        self.current = store.credential

    def adopt(self, store: StoreSettings) -> bool:
        """Other settings; whether the credential in them is another one."""
        self._store = store
        is_other = store.credential != self.current
        self.current = store.credential
        return is_other

    async def refused(self) -> Secret | None:
        """The store refuses it: what its file holds by now, if that is another one."""
        found, path = self.current, self._store.credential_file
        if path is not None:
            try:
                found = await asyncio.to_thread(read_credential, path)
            except ConfigInvalid as error:
                self._log.error("credential.unreadable", **told_fields(error))
        if found == self.current:
            self._log.warning("credential.refused", next=StoreRefused.next_step)
            return None
        self.current = found
        self._log.info("credential.renewed")
        return found

"""Asks the station for another credential when the store refuses the one in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.blobs.renewable import RenewableStore
from agent.errors import ConfigInvalid
from agent.model.secrets import Secret

ANSWER_TIMEOUT_S = 15.0


class StationRenewal:
    """A ``patience.Renewal``. ``ask`` tells the station, which answers by ``take``, and may do so unasked."""

    def __init__(self, store: RenewableStore, ask: Callable[[], None]) -> None:
        self._store = store
        self._ask = ask
        self._answer: asyncio.Future[None] | None = None

    @property
    def generation(self) -> int:
        """Counts the credentials that were in use."""
        return self._store.generation

    async def renew(self, refused: int) -> bool:
        """Whether there is another credential now; the station is asked once for all that wait."""
        if refused == self.generation:
            if self._answer is None or self._answer.done():
                self._answer = asyncio.get_running_loop().create_future()
                self._ask()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await asyncio.shield(self._answer)
            except TimeoutError:
                pass
        return refused < self.generation

    async def take(self, credential: Secret | None) -> None:
        """The station's answer, or news: None when there is no other. One that cannot be used is none."""
        try:
            if credential is not None:
                await self._store.renew(credential)
        except ConfigInvalid:
            return
        finally:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(None)

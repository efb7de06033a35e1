"""Letters by way of apprise, an extra, to whatever it knows: chats, mail, pagers.

Its URLs hold secrets, and so might its messages: of a failure only that it failed is told. It blocks, so
it works in a thread, which is given up on when it takes too long.
"""

from __future__ import annotations

import asyncio
import json
import logging

from agent.devices.threads import in_thread
from agent.model.secrets import Secret
from agent.station.notices.outcome import DELIVERED, Outcome, given_up, put_off

WITHIN_S = 30.0
MISSING = 'apprise is not installed: pip install "drive-ingest-agent[apprise]"'


async def relay(url: Secret, body: str, *, within_s: float = WITHIN_S) -> Outcome:
    """One try. Never raises."""
    try:
        async with asyncio.timeout(within_s):
            return await in_thread(lambda: _tell(url, body))
    except TimeoutError:
        return put_off(f"no answer within {within_s:g} seconds")


def _tell(url: Secret, body: str) -> Outcome:
    try:
        import apprise
    except ImportError:
        return put_off(MISSING)
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    title, text = _shown(body)
    try:
        box = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, secure_logging=True))
        if not box.add(url.reveal()):
            return given_up("apprise does not know this kind of URL")
        is_there = box.notify(title=title, body=text, body_format="text")
    except Exception as error:  # noqa: BLE001 - code of others, of which a hundred kinds exist
        return put_off(f"apprise failed: {type(error).__name__}")
    return DELIVERED if is_there else put_off("apprise could not deliver it")


def _shown(body: str) -> tuple[str, str]:
    """Title and text for people."""
    told = json.loads(body)
    data = told["data"]
    facts = [f"{name}: {value}" for name, value in data.items() if name not in ("summary", "event")]
    return f"{data['station']}: {told['type']}", "\n".join([data["summary"], *facts])

"""Letters by way of apprise, an extra, to whatever it knows: chats, mail, pagers.

It works in a process of its own, ``agent.station.notices.apprised``: it reads whole answers, of any length,
and for as long as they come; a hundred plug-ins of others have nothing to look for where keys are; and a
process can be ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress

from agent.model.secrets import Secret
from agent.station.notices.apprised import DELIVERED_ALL, MISSING, UNDELIVERED, UNKNOWN
from agent.station.notices.outcome import DELIVERED, Outcome, given_up, put_off

WITHIN_S = 30.0
_OUTCOMES = {
    DELIVERED_ALL: DELIVERED,
    UNKNOWN: given_up("apprise does not know this kind of URL"),
    UNDELIVERED: put_off("apprise could not deliver it"),
    MISSING: put_off('apprise is not installed: pip install "drive-ingest-agent[apprise]"'),
}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_KEPT_ENVIRONMENT = (
    *("PATH", "PYTHONPATH", "LANG", "TZ", "TMPDIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *_PROXIES,
    *(name.lower() for name in _PROXIES),
)


async def relay(url: Secret, body: str, *, within_s: float = WITHIN_S) -> Outcome:
    """One try. Never raises. Of a failure only that it failed is told: URLs and messages hold secrets."""
    told = json.dumps([url.reveal(), *_shown(body)]).encode()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agent.station.notices.apprised",
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            start_new_session=True,
        )
    except OSError as error:
        return put_off(f"apprise cannot be started: {error.strerror}")
    try:
        async with asyncio.timeout(within_s):
            await process.communicate(told)
    except TimeoutError:
        return put_off(f"no answer within {within_s:g} seconds")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _OUTCOMES.get(process.returncode or 0, put_off("apprise failed"))


def _shown(body: str) -> tuple[str, str]:
    """Title and text for people."""
    told = json.loads(body)
    data = told["data"]
    facts = [f"{name}: {value}" for name, value in data.items() if name not in ("summary", "event")]
    return f"{data['station']}: {told['type']}", "\n".join([data["summary"], *facts])

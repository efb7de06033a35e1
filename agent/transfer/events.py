"""What an uploader tells its station: one JSON object a line on standard output.

Names: ``opened``, ``inventory``, ``manifest.warning``, ``waiting`` (for the store), ``progress``,
``credential.refused`` (by the store: the station answers with another one, or none),
``log.kept``, ``drive.changed`` (since an earlier visit), ``drive.unreadable`` (bad sectors, when all is
moved), and as the last one of ``finished``, ``paused`` (something to wait for or to mend; the place is kept)
or ``interrupted`` (stopped as told; the place is kept).

``progress`` comes some times a second: ``tally``, ``percent``, ``through_bytes`` (accounted, and of files
under way what arrived; the percent is of these), ``bytes_per_s`` and ``seconds_left`` (null
until they are known), ``limited_by`` (see ``agent.transfer.bottleneck``; ``waited`` tells the percent of the
last seconds that each thing was waited for), ``limit`` (requests at once that the account bears, 0: none is
known), ``waiting`` (for what, in bad weather), ``throttled_requests`` and ``cut_requests`` (since the
uploader began; ``finished`` has them too). The ``detail`` of a ``finished`` without an ``error`` is why what
is on the drive may not be all (see ``agent.transfer.doubts``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from agent.errors import IngestError
from agent.model.going import NOT_GOING, Going
from agent.model.tally import Count, Tally


class Tell(Protocol):
    """Where events go."""

    def __call__(self, event: str, **fields: object) -> None:
        """Tell one event."""
        ...


_PARTS = ("discovered", "done", "failed", "skipped")


def emit(event: str, **fields: object) -> None:
    """Write one event."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def tally_fields(tally: Tally) -> dict[str, object]:
    """A tally as it stands in an event."""
    counts = {part: getattr(tally, part) for part in _PARTS}
    return {"tally": {part: [count.files, count.bytes] for part, count in counts.items()}}


def read_tally(event: Mapping[str, Any]) -> Tally:
    """The tally of an event."""
    return Tally(**{part: Count(*event["tally"][part]) for part in _PARTS})


def read_going(event: Mapping[str, Any], before: Going = NOT_GOING) -> Going:
    """How it goes, by a ``progress`` or ``finished`` event; ``before`` is how the uploader before it went."""
    return Going(
        event.get("limited_by"),
        event.get("bytes_per_s"),
        event.get("seconds_left"),
        before.throttled_requests + event.get("throttled_requests", 0),
        before.cut_requests + event.get("cut_requests", 0),
    )


def error_fields(error: IngestError) -> dict[str, object]:
    """An error as it stands in an event."""
    return {"error": error.id, "detail": error.detail}

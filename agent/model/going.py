"""How a drive's transfer goes, for who looks on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Going:
    """At one moment; the first three are None where it is not known, or the transfer does not run.

    ``limited_by`` is what holds it up: ``drive``, ``cpu``, ``network``, ``service`` or ``cap``.
    ``throttled_requests`` are those that the service had no room for, ``cut_requests`` those that it did
    not answer in time, both since the transfer began.
    """

    limited_by: str | None = None
    bytes_per_s: int | None = None
    seconds_left: int | None = None
    throttled_requests: int = 0
    cut_requests: int = 0

    @property
    def standing(self) -> Going:
        """The same when the transfer does not run."""
        return Going(throttled_requests=self.throttled_requests, cut_requests=self.cut_requests)


NOT_GOING = Going()

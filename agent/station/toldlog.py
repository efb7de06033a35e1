"""An error as fields of the log."""

from __future__ import annotations

from agent.errors import IngestError


def told_fields(error: IngestError) -> dict[str, str]:
    """What, whose side, and what to do next."""
    return {"error": error.id, "side": error.side, "detail": error.detail, "next": error.next_step}

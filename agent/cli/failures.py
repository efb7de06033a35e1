"""An error as one JSON object, where a command is asked for JSON: {"error": {code, side, message, next}}."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agent.errors import IngestError, Side


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line holds ``--json``; also one that cannot be parsed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def told(error: IngestError) -> str:
    """One line."""
    return object_of(error.id, error.side, error.detail, error.next_step)


def object_of(code: str, side: Side, message: str, next_step: str) -> str:
    """One line: ``code`` is a name of docs/errors.md, or Usage, Interrupted, OSError or Bug. ASCII only."""
    return json.dumps({"error": {"code": code, "side": side, "message": message, "next": next_step}})

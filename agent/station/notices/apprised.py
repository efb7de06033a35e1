"""The process that lets apprise tell of one letter: a URL, a title and a text on standard input, as JSON."""

from __future__ import annotations

import json
import logging
import sys

from agent.transfer.sandbox.limits import die_with_parent, hide_memory, limit_memory

DELIVERED_ALL, UNKNOWN, UNDELIVERED, MISSING = 0, 10, 11, 12
"""Exit codes; with any other one it failed."""
ANSWERS_BYTES = 256 * 1024 * 1024
"""So much memory may answers take, which apprise reads whole."""


def main() -> int:
    """The exit code."""
    die_with_parent()
    hide_memory()
    url, title, text = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        return MISSING
    logging.disable()
    box = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, secure_logging=True))
    if not box.add(url):
        return UNKNOWN
    limit_memory(ANSWERS_BYTES)
    return DELIVERED_ALL if box.notify(title=title, body=text, body_format="text") else UNDELIVERED


if __name__ == "__main__":
    sys.exit(main())

"""Lines of `volume list` and `volume hash` on standard output, and what they come to."""

from __future__ import annotations

import sys
from collections import Counter

from agent.cli.volume_lines import Listed, ToRead
from agent.errors import DriveError


class Printer:
    """Prints, and counts what could not be had."""

    def __init__(self) -> None:
        self._streams = 0
        self._missed: Counter[str] = Counter()

    def line(self, listed: Listed | ToRead, **more: object) -> None:
        """All names of one stream."""
        self._streams += 1
        sys.stdout.writelines(listed.lines(**more))

    def missed(self, listed: Listed | ToRead, why: str, **more: object) -> None:
        """As ``line``; ``why`` is a word for the count at the end."""
        self._missed[why] += 1
        self.line(listed, **more)

    def end(self) -> None:
        """Raises DriveError when something could not be had; all lines are out by then."""
        sys.stdout.flush()
        if not self._missed:
            return
        counts = ", ".join(f"{count} {why}" for why, count in sorted(self._missed.items()))
        missed = self._missed.total()
        raise DriveError(
            f'{missed} of {self._streams} files and streams could not be read ({counts}); "error" in their '
            "lines says why"
        )

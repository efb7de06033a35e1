"""The settings of the metrics: the table ``[metrics]``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.tables import MAX_SOCKET_PATH_BYTES, PORT, is_own, known
from agent.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Listen:
    """Where metrics are served: the path of a Unix socket, or a port of this machine's own address."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Listen:
        """``/run/.../metrics.sock``, ``127.0.0.1:PORT`` or ``[::1]:PORT``. Raises ConfigInvalid."""
        if text.startswith("/"):
            if len(os.fsencode(text)) > MAX_SOCKET_PATH_BYTES or "\0" in text:
                raise ConfigInvalid(
                    f"metrics.listen is no path of a socket (1 to {MAX_SOCKET_PATH_BYTES} bytes)"
                )
            return cls(path=Path(text))
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not PORT.match(port) or not 0 < int(port) < 65536:
            raise ConfigInvalid("metrics.listen must be a path, 127.0.0.1:PORT or [::1]:PORT")
        if not is_own(host):
            raise ConfigInvalid("metrics.listen must be an address of this machine alone: 127.0.0.1 or [::1]")
        return cls(host=host, port=int(port))


def read_metrics(table: Any, environment: Mapping[str, str]) -> Listen | None:
    """From the table ``[metrics]``. Raises ConfigInvalid naming the setting."""
    named = known(table, "metrics", ("listen",)).get("listen")
    named = environment.get("INGEST_AGENT_METRICS_LISTEN") or named
    if named is None:
        return None
    if not isinstance(named, str):
        raise ConfigInvalid("metrics.listen must be a text")
    return Listen.parse(named)

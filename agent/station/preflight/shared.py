"""Is the server of a fleet's catalog there, and does it let this station in."""

from __future__ import annotations

from agent.catalog.server import Server
from agent.config.catalog import CatalogSettings
from agent.errors import IngestError
from agent.station.preflight.finding import Finding, failed, passed

CHECK = "catalog server"


def catalog_server(shared: CatalogSettings) -> Finding:
    """Blocking, for some seconds at most. Nothing is changed there."""
    assert shared.url is not None
    try:
        server = Server(shared.url, shared.station, "", float(shared.lease_s), shared.password())
        version = server.version()
    except IngestError as error:
        return failed(CHECK, error.detail, error.next_step)
    return passed(CHECK, f"{server.shown} answers: PostgreSQL {version}")

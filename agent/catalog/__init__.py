"""Where jobs live: SQLite through SQLAlchemy, keys sealed at rest, every move written down."""

from agent.catalog.catalog import Catalog, open_catalog
from agent.catalog.events import Event

__all__ = ["Catalog", "Event", "open_catalog"]

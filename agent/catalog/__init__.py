"""Where jobs live: SQLite through SQLAlchemy, keys sealed at rest, every move written down."""

from agent.catalog.catalog import Catalog, open_catalog
from agent.catalog.chain import Head
from agent.catalog.events import Event
from agent.catalog.extras import Extra
from agent.catalog.history import HistoryCheck
from agent.catalog.listing import JobPage, JobQuery
from agent.model.job import JobChanges

__all__ = [
    "Catalog",
    "Event",
    "Extra",
    "Head",
    "HistoryCheck",
    "JobChanges",
    "JobPage",
    "JobQuery",
    "open_catalog",
]

"""Runs migrations on the connection that ``agent.catalog.migrate`` opened, inside its transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()

"""Alembic's folder: one module a schema version under ``versions/``."""

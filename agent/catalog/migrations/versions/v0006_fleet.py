"""Stations that share a catalog: who holds which drive, and with what key the fleet seals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# What SQLite has had since 0001. Row by row, as there; and TRUNCATE, which SQLite does not have.
_ONLY_ADDED = """
CREATE FUNCTION event_only_added() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'events are only ever added'; END $$
"""


def upgrade() -> None:
    """Nothing is held: whoever works a drive while this runs claims it at the next start."""
    op.create_table(
        "claim",
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("taken", sa.DateTime, nullable=False),
        sa.Column("until", sa.DateTime, nullable=False),
    )
    op.create_table(
        "key_mark",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("mark", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_ONLY_ADDED)
        op.execute(
            "CREATE TRIGGER event_only_added BEFORE UPDATE OR DELETE ON event "
            "FOR EACH ROW EXECUTE FUNCTION event_only_added()"
        )
        op.execute(
            "CREATE TRIGGER event_not_emptied BEFORE TRUNCATE ON event "
            "FOR EACH STATEMENT EXECUTE FUNCTION event_only_added()"
        )

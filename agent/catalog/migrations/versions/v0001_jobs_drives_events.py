"""Jobs, drives, and the append-only record of events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

COUNTS = ("discovered", "done", "failed", "skipped")


def upgrade() -> None:
    """From an empty file."""
    _job()
    _drive()
    _event()


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("destination_container", sa.Text),
        sa.Column("destination_prefix", sa.Text),
        sa.Column("disposition", sa.Text, nullable=False),
        sa.Column("diagnostics", sa.Text, nullable=False),
        sa.Column("log_level", sa.Text, nullable=False),
        sa.Column("backup_manifest", sa.Boolean, nullable=False),
        sa.Column("allow_unencrypted", sa.Boolean, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("updated", sa.DateTime, nullable=False),
    )
    op.create_index("job_by_created", "job", ["created", "id"])


def _drive() -> None:
    op.create_table(
        "drive",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("serial_shown", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("sealed_key", sa.LargeBinary),
        sa.Column("manifest_file", sa.Text),
        sa.Column("manifest_hash", sa.Text),
        sa.Column("header_hash", sa.Text, nullable=False),
        sa.Column("copy_status", sa.Text),
        sa.Column("percent_complete", sa.Integer, nullable=False),
        *(
            sa.Column(f"{count}_{unit}", sa.BigInteger, nullable=False)
            for count in COUNTS
            for unit in ("files", "bytes")
        ),
        sa.Column("error_log_uri", sa.Text),
        sa.Column("verbose_log_uri", sa.Text),
        sa.Column("manifest_uri", sa.Text),
        sa.UniqueConstraint("job_id", "serial", name="drive_once_a_job"),
    )
    op.create_index("drive_by_serial", "drive", ["serial"])


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("job", sa.Text),
        sa.Column("serial", sa.Text),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("event_by_job", "event", ["job", "id"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER event_no_{verb.lower()} BEFORE {verb} ON event "
                "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END"
            )

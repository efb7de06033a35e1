"""The tables as they are now. ``migrations/`` leads every older file here; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.engine import Dialect

metadata = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """A time that is UTC in the program and in the file; a naive time is a bug and raises."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the form the file keeps: UTC without an offset."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back to an aware time."""
        return None if value is None else value.replace(tzinfo=UTC)


job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("destination_container", Text),
    Column("destination_prefix", Text),
    Column("disposition", Text, nullable=False),
    Column("diagnostics", Text, nullable=False),
    Column("log_level", Text, nullable=False),
    Column("backup_manifest", Boolean, nullable=False),
    Column("allow_unencrypted", Boolean, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("updated", UtcTime, nullable=False),
    Column("upload_streams", Boolean, nullable=False, server_default=false()),
    Column("verification", Text),
    Column("content_md5", Boolean, nullable=False, server_default=false()),
    Column("sha256", Boolean, nullable=False, server_default=false()),
    Column("access_tier", Text),
    Column("file_facts", Boolean, nullable=False, server_default=true()),
    # In lower case: they are compared without it. What the customer wrote stands in the papers.
    Column("subscription", Text),
    Column("resource_group", Text),
    Column("tracking_number", Text),
    Column("papers", Text, nullable=False, server_default="{}"),
    Column("percent_reached", Integer, nullable=False, server_default="0"),
    # When the clock of its state runs out, and since when operators know that nothing of it came.
    Column("due", UtcTime),
    Column("told", UtcTime),
    Column("faulted_from", Text),
    Column("fault_note", Text),
    Index("job_by_created", "created", "id"),
    Index("job_by_group", "subscription", "resource_group", "created", "id"),
    Index("job_by_due", "due"),
)

drive = Table(
    "drive",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("serial", Text, nullable=False),
    Column("serial_shown", Text, nullable=False),
    Column("state", Text, nullable=False),
    # The state in which the copy ended; it still tells clean from faulty once the drive is shipped back.
    Column("outcome", Text),
    Column("sealed_key", LargeBinary),
    Column("manifest_file", Text),
    Column("manifest_hash", Text),
    Column("header_hash", Text, nullable=False),
    Column("copy_status", Text),
    Column("percent_complete", Integer, nullable=False),
    Column("discovered_files", BigInteger, nullable=False),
    Column("discovered_bytes", BigInteger, nullable=False),
    Column("done_files", BigInteger, nullable=False),
    Column("done_bytes", BigInteger, nullable=False),
    Column("failed_files", BigInteger, nullable=False),
    Column("failed_bytes", BigInteger, nullable=False),
    Column("skipped_files", BigInteger, nullable=False),
    Column("skipped_bytes", BigInteger, nullable=False),
    Column("error_log_uri", Text),
    Column("verbose_log_uri", Text),
    Column("manifest_uri", Text),
    Column("verified_transit", BigInteger, nullable=False, server_default="0"),
    Column("verified_manifest", BigInteger, nullable=False, server_default="0"),
    Column("verified_readback", BigInteger, nullable=False, server_default="0"),
    Column("verified_differ", BigInteger, nullable=False, server_default="0"),
    Column("verified_unknown", BigInteger, nullable=False, server_default="0"),
    Column("limited_by", Text),
    Column("bytes_per_s", BigInteger),
    Column("seconds_left", BigInteger),
    Column("throttled_requests", BigInteger, nullable=False, server_default="0"),
    Column("cut_requests", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("job_id", "serial", name="drive_once_a_job"),
    Index("drive_by_serial", "serial"),
)

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    # Names, not references: an event outlives its job, and an extra drive belongs to none.
    Column("job", Text),
    Column("serial", Text),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("origin", Text, nullable=False, server_default=""),
    Column("was", Text),
    Column("now", Text),
    # See agent.catalog.chain.
    Column("previous", Text, nullable=False, server_default=""),
    Column("hash", Text, nullable=False, server_default=""),
    Index("event_by_job", "job", "id"),
)

# One row: the last event, vouched for by the key of the catalog.
history_head = Table(
    "history_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("event_id", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    Column("signature", Text),
)

extra = Table(
    "extra",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("serial", Text, nullable=False),
    Column("serial_shown", Text, nullable=False),
    Column("came_with", Text),
    Column("seen", UtcTime, nullable=False),
    Column("returned", UtcTime),
    Column("due", UtcTime),
    Index("extra_by_serial", "serial"),
)

# Who works a drive; see agent.catalog.claims. A row stays when the claim ends: its epoch only grows.
claim = Table(
    "claim",
    metadata,
    Column("serial", Text, primary_key=True),
    Column("job", Text, nullable=False),
    Column("station", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("taken", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
)

# One row: what only the key of keys can have signed.
key_mark = Table(
    "key_mark",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mark", Text, nullable=False),
)

"""The life cycle: papers and clocks of jobs, extra drives, and the chain of the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from agent.catalog.chain import NO_HASH, link
from agent.catalog.events import Event

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WEEKS_2, DAYS_90 = timedelta(days=14), timedelta(days=90)
CLOCKS = {"Creating": WEEKS_2, "Shipping": WEEKS_2, "Completed": DAYS_90, "Closed": DAYS_90}

EVENT = sa.table(
    "event",
    *(
        sa.column(name, sa.Text)
        for name in ("who", "job", "serial", "what", "detail", "origin", "was", "now")
    ),
    sa.column("id", sa.Integer),
    sa.column("at", sa.DateTime),
    sa.column("previous", sa.Text),
    sa.column("hash", sa.Text),
)


def upgrade() -> None:
    """Clocks of jobs begin now: none is deleted or closed for a time in which nobody counted.

    Events that were written before are chained as they stand here. What was done to them earlier the chain
    cannot tell; the event ``history.chained`` says how many they are.
    """
    now = datetime.now(UTC)
    _job(now.replace(tzinfo=None))
    _extra()
    _event()
    _chain(now)


def _job(now: datetime) -> None:
    for name in ("subscription", "resource_group", "tracking_number", "faulted_from", "fault_note"):
        op.add_column("job", sa.Column(name, sa.Text))
    op.add_column("job", sa.Column("papers", sa.Text, nullable=False, server_default="{}"))
    op.add_column("job", sa.Column("percent_reached", sa.Integer, nullable=False, server_default="0"))
    for name in ("due", "told"):
        op.add_column("job", sa.Column(name, sa.DateTime))
    op.create_index("job_by_group", "job", ["subscription", "resource_group", "created", "id"])
    op.create_index("job_by_due", "job", ["due"])
    job = sa.table("job", sa.column("state", sa.Text), sa.column("due", sa.DateTime))
    for state, kept in CLOCKS.items():
        op.get_bind().execute(sa.update(job).where(job.c.state == state).values(due=now + kept))
    others = job.c.state.not_in(list(CLOCKS))
    op.get_bind().execute(sa.update(job).where(others).values(due=now + WEEKS_2))


def _extra() -> None:
    op.create_table(
        "extra",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("serial_shown", sa.Text, nullable=False),
        sa.Column("came_with", sa.Text),
        sa.Column("seen", sa.DateTime, nullable=False),
        sa.Column("returned", sa.DateTime),
        sa.Column("due", sa.DateTime),
    )
    op.create_index("extra_by_serial", "extra", ["serial"])


def _event() -> None:
    op.create_table(
        "history_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("event_id", sa.Integer, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("signature", sa.Text),
    )
    for name in ("origin", "previous", "hash"):
        op.add_column("event", sa.Column(name, sa.Text, nullable=False, server_default=""))
    for name in ("was", "now"):
        op.add_column("event", sa.Column(name, sa.Text))


def _chain(now: datetime) -> None:
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        op.execute("DROP TRIGGER IF EXISTS event_no_update")
    previous, last, count = NO_HASH, 0, 0
    for row in connection.execute(sa.select(EVENT).order_by(EVENT.c.id)).all():
        following = link(previous, _told(row))
        chained = sa.update(EVENT).where(EVENT.c.id == row.id)
        connection.execute(chained.values(previous=previous, hash=following))
        previous, last, count = following, row.id, count + 1
    if sqlite:
        op.execute(
            "CREATE TRIGGER event_no_update BEFORE UPDATE ON event "
            "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END"
        )
    if count:
        _close(now, previous, last, count)


def _close(now: datetime, previous: str, last: int, count: int) -> None:
    """The event that says what was chained here, and the head, which the program signs at its next event."""
    detail = f"{count} events of an older version were chained as they stood here"
    told = Event(now, "migration", None, None, "history.chained", detail, id=last + 1)
    following = link(previous, told)
    op.get_bind().execute(
        sa.insert(EVENT).values(
            id=told.id,
            at=now.replace(tzinfo=None),
            who=told.who,
            what=told.what,
            detail=detail,
            origin=told.origin,
            previous=previous,
            hash=following,
        )
    )
    head = sa.table("history_head", *(sa.column(name) for name in ("id", "event_id", "hash", "signature")))
    op.get_bind().execute(sa.insert(head).values(id=1, event_id=told.id, hash=following))


def _told(row: Any) -> Event:
    at = row.at.replace(tzinfo=UTC)
    return Event(at, row.who, row.job, row.serial, row.what, row.detail, id=row.id)

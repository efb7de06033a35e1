"""How a drive's transfer goes: what holds it up, how fast it is, and what the service refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of drives that were worked before nothing is known, and nothing was counted."""
    op.add_column("drive", sa.Column("limited_by", sa.Text))
    for known in ("bytes_per_s", "seconds_left"):
        op.add_column("drive", sa.Column(known, sa.BigInteger))
    for counted in ("throttled_requests", "cut_requests"):
        op.add_column("drive", sa.Column(counted, sa.BigInteger, nullable=False, server_default="0"))

"""How a job's blobs are verified, hashed, described and kept, and what the verification found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FOUND = ("transit", "manifest", "readback", "differ", "unknown")


def upgrade() -> None:
    """Jobs that were filed before ask for nothing; of their drives nothing is known."""
    op.add_column("job", sa.Column("verification", sa.Text))
    for asked in ("content_md5", "sha256"):
        op.add_column("job", sa.Column(asked, sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("job", sa.Column("access_tier", sa.Text))
    op.add_column("job", sa.Column("file_facts", sa.Boolean, nullable=False, server_default=sa.true()))
    for found in FOUND:
        op.add_column(
            "drive", sa.Column(f"verified_{found}", sa.BigInteger, nullable=False, server_default="0")
        )

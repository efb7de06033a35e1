"""Whether a job uploads alternate data streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Jobs that were filed before do not."""
    op.add_column("job", sa.Column("upload_streams", sa.Boolean, nullable=False, server_default=sa.false()))

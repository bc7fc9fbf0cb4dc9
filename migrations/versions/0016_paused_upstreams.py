"""Upstreams that a person paused, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("source", sa.Column("paused_at", sa.BigInteger(), nullable=True))
    op.add_column("source", sa.Column("paused_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("source", "paused_reason")
    op.drop_column("source", "paused_at")

"""The projects that a sync could not look at, however many are due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    failed = sa.text("problem IS NOT NULL")
    op.create_index(
        "ix_sync_due_failed", "sync_due", ["source_id", "name"], postgresql_where=failed, sqlite_where=failed
    )


def downgrade() -> None:
    op.drop_index("ix_sync_due_failed", "sync_due")

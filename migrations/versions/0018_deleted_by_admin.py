"""Whose deletion a publisher may undo: not an administrator's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("file", sa.Column("deleted_by_admin", sa.Boolean(), nullable=True))
    # Who deleted what is deleted already is not known for certain: an administrator restores it.
    op.execute("UPDATE file SET deleted_by_admin = true WHERE deleted_at IS NOT NULL")


def downgrade() -> None:
    op.drop_column("file", "deleted_by_admin")

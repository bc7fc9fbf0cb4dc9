"""When a sync asks again for a project or file that it could not have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sync_due", sa.Column("retry_at", sa.BigInteger(), nullable=True))
    op.add_column("sync_file", sa.Column("retry_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("sync_file", "retry_at")
    op.drop_column("sync_due", "retry_at")

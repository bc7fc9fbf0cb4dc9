"""An index for the oldest file that is held: what was rejected long ago is not gone through to find it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    held = sa.text("state = 'held'")
    op.create_index("ix_hold_held", "hold", ["index_id", "since"], sqlite_where=held, postgresql_where=held)


def downgrade() -> None:
    op.drop_index("ix_hold_held", table_name="hold")

"""What was released lately in one index, however many other events it has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    released = sa.text("action = 'file.released'")
    op.create_index(
        "ix_event_released", "event", ["index", "id"], postgresql_where=released, sqlite_where=released
    )


def downgrade() -> None:
    op.drop_index("ix_event_released", "event")

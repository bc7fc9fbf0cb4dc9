"""Finding projects by a part of their name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PLAIN = sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "name_word",
        sa.Column("part", sa.Boolean(), nullable=False),
        sa.Column("word", PLAIN, nullable=False),
        sa.Column("name", PLAIN, nullable=False),
        sa.PrimaryKeyConstraint("part", "word", "name", name=op.f("pk_name_word")),
    )


def downgrade() -> None:
    op.drop_table("name_word")
    op.execute("DELETE FROM counter WHERE name LIKE 'search:%'")

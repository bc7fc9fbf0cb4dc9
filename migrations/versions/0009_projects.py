"""projects: whose names are, and since when hosted files are deleted"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:

    op.create_table(
        "name_rule",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("pattern", sa.String(length=200), nullable=False),
        sa.Column("index_id", KEY, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["index.id"], name=op.f("fk_name_rule_index_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_name_rule")),
    )
    op.create_index(op.f("ix_name_rule_pattern"), "name_rule", ["pattern"])
    op.add_column("file", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
    op.create_index(
        op.f("ix_file_deleted_at"),
        "file",
        ["deleted_at"],
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )


def downgrade() -> None:

    op.drop_index(op.f("ix_file_deleted_at"), table_name="file")
    op.execute("ALTER TABLE file DROP COLUMN deleted_at")
    op.drop_table("name_rule")

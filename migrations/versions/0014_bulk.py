"""Decisions about everything that fits a search."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bulk",
        sa.Column("id", KEY, nullable=False),
        sa.Column("verb", sa.String(length=10), nullable=False),
        sa.Column("tab", sa.String(length=10), nullable=False),
        sa.Column("search", sa.String(length=200), nullable=False),
        sa.Column("index", sa.String(length=60), nullable=True),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_bulk_state"), "bulk", ["state"])
    op.create_table(
        "bulk_result",
        sa.Column("bulk_id", KEY, nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["bulk_id"], ["bulk.id"], name=op.f("fk_bulk_result_bulk_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("bulk_id", "id", name=op.f("pk_bulk_result")),
    )


def downgrade() -> None:
    op.drop_table("bulk_result")
    op.drop_table("bulk")

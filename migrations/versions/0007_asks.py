"""Asking for hidden versions: wishes and who has them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "ask",
        sa.Column("id", KEY, nullable=False),
        sa.Column("index", sa.String(length=60), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_serial", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("answered_by", sa.String(length=200), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("announced_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ask")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ask_project", "ask", ["project", "index", "version"])
    op.create_index("ix_ask_state", "ask", ["state", "id"])
    op.create_index("ix_ask_people", "ask", ["state", "people", "id"])
    op.create_index(op.f("ix_ask_announced_at"), "ask", ["announced_at"])
    op.create_table(
        "asker",
        sa.Column("ask_id", KEY, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["ask_id"], ["ask.id"], name=op.f("fk_asker_ask_id_ask"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ask_id", "actor", name=op.f("pk_asker")),
    )
    op.create_index(op.f("ix_asker_actor"), "asker", ["actor"])
    op.create_index(op.f("ix_asker_due_at"), "asker", ["due_at"])


def downgrade() -> None:
    op.drop_table("asker")
    op.drop_table("ask")

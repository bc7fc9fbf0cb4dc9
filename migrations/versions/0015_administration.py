"""For administrators: events by actor and index, looks by upstream, unusual projects, hourly counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_event_actor_id"), "event", ["actor", "id"])
    op.create_index(op.f("ix_event_index_id"), "event", ["index", "id"])
    op.create_index(op.f("ix_project_source_id_looked_at"), "project", ["source_id", "looked_at"])
    op.create_index(
        "ix_project_unusual",
        "project",
        ["name"],
        postgresql_where=sa.text("status <> 'active'"),
        sqlite_where=sa.text("status <> 'active'"),
    )
    op.create_index(
        "ix_decision_trust",
        "decision",
        ["id"],
        postgresql_where=sa.text("kind = 'trust'"),
        sqlite_where=sa.text("kind = 'trust'"),
    )
    op.create_index(
        "ix_file_failing",
        "file",
        ["id"],
        postgresql_where=sa.text("attempts > 0"),
        sqlite_where=sa.text("attempts > 0"),
    )
    op.create_table(
        "tally",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "hour", name=op.f("pk_tally")),
    )


def downgrade() -> None:
    op.drop_table("tally")
    op.drop_index("ix_file_failing", "file")
    op.drop_index("ix_decision_trust", "decision")
    op.drop_index("ix_project_unusual", "project")
    op.drop_index(op.f("ix_project_source_id_looked_at"), "project")
    op.drop_index(op.f("ix_event_index_id"), "event")
    op.drop_index(op.f("ix_event_actor_id"), "event")

"""root lists, orphans, tallies"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Of ``file``: column and the rows that are in the index.
REFERENCES = (
    ("sha256", "stored_at IS NOT NULL"),
    ("metadata_sha256", "metadata_stored"),
    ("provenance_sha256", "provenance_sha256 IS NOT NULL"),
)


def upgrade() -> None:
    op.create_table(
        "root_list",
        sa.Column("index_id", KEY, nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("names", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.String(length=32), nullable=False),
        sa.Column("built_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["index.id"], name=op.f("fk_root_list_index_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("index_id", name=op.f("pk_root_list")),
    )
    op.create_table(
        "root_chunk",
        sa.Column("index_id", KEY, nullable=False),
        sa.Column("first", sa.String(length=200), nullable=False),
        sa.Column("names", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["index.id"], name=op.f("fk_root_chunk_index_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("index_id", "first", name=op.f("pk_root_chunk")),
    )
    op.create_table(
        "orphan",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("marked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_orphan")),
    )
    op.create_index(op.f("ix_orphan_marked_at"), "orphan", ["marked_at"])
    op.create_table(
        "storage_tally",
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("source_id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_storage_tally_source_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("block", "source_id", "kind", "state", name=op.f("pk_storage_tally")),
    )
    op.create_index(op.f("ix_project_serial"), "project", ["serial"])
    for column, condition in REFERENCES:
        where = sa.text(condition)
        op.create_index(
            op.f(f"ix_file_{column}"), "file", [column], sqlite_where=where, postgresql_where=where
        )


def downgrade() -> None:
    for column, _ in REFERENCES:
        op.drop_index(op.f(f"ix_file_{column}"), table_name="file")
    op.drop_index(op.f("ix_project_serial"), table_name="project")
    for table in ("storage_tally", "orphan", "root_chunk", "root_list"):
        op.drop_table(table)

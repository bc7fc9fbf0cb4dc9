"""sync: modes and filters of upstreams, what is due, how far it came"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

ADDED: dict[str, tuple[sa.types.TypeEngine, str | None]] = {
    "mode": (sa.String(length=10), "'known'"),
    "filters": (sa.Text(), "'{}'"),
    "sync_seconds": (sa.Double(), "3600"),
    "requests_per_second": (sa.Double(), None),
    "connections": (sa.Integer(), "16"),
}
COUNTS = ("projects_due", "projects_done", "projects_changed", "projects_failed", "files_failed")
LARGE_COUNTS = (
    "files_due", "files_done", "run_requests", "run_unchanged", "run_bytes",
    "requests", "unchanged", "bytes", "failures",
)  # fmt: skip
TIMES = ("compared_at", "begun_at", "seen_at", "ended_at", "in_step_at", "paused_until")


def upgrade() -> None:
    for name, (kind, default) in ADDED.items():
        given = None if default is None else sa.text(default)
        op.add_column("source", sa.Column(name, kind, nullable=default is None, server_default=given))
    op.create_table(
        "kept_name",
        sa.Column("source_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("specifiers", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("dependencies", sa.Boolean(), nullable=False),
        _source("kept_name"),
        sa.PrimaryKeyConstraint("source_id", "name", name=op.f("pk_kept_name")),
    )
    op.create_table(
        "sync_state",
        sa.Column("source_id", KEY, autoincrement=False, nullable=False),
        sa.Column("root_etag", sa.Text(), nullable=True),
        sa.Column("root_serial", sa.BigInteger(), nullable=True),
        sa.Column("root_names", sa.Integer(), nullable=True),
        sa.Column("root_bytes", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in TIMES),
        sa.Column("chosen", sa.Text(), nullable=True),
        sa.Column("phase", sa.String(length=20), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("alarm", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in LARGE_COUNTS),
        _source("sync_state"),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_sync_state")),
    )
    op.create_table(
        "sync_due",
        sa.Column("source_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        _source("sync_due"),
        sa.PrimaryKeyConstraint("source_id", "name", name=op.f("pk_sync_due")),
    )
    op.create_index(op.f("ix_sync_due_source_id_serial"), "sync_due", ["source_id", "serial"])
    op.create_table(
        "sync_file",
        sa.Column("file_id", KEY, autoincrement=False, nullable=False),
        sa.Column("source_id", KEY, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["file_id"], ["file.id"], name=op.f("fk_sync_file_file_id"), ondelete="CASCADE"
        ),
        _source("sync_file"),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_sync_file")),
    )
    op.create_index(op.f("ix_sync_file_source_id_file_id"), "sync_file", ["source_id", "file_id"])


def downgrade() -> None:
    for table in ("sync_file", "sync_due", "sync_state", "kept_name"):
        op.drop_table(table)
    for name in ADDED:
        op.execute(f"ALTER TABLE source DROP COLUMN {name}")


def _source(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["source_id"], ["source.id"], name=op.f(f"fk_{table}_source_id"), ondelete="CASCADE"
    )

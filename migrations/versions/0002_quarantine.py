"""quarantine: policies checks decisions holds downloads"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: Added to tables that are there already, and dropped from them on the way down. Never by a copy of the
#: table: SQLite would take the rows that refer to it along when the old one is dropped.
ADDED: dict[str, dict[str, tuple[sa.types.TypeEngine, str | None]]] = {
    "index": {
        "policy_version": (sa.BigInteger(), "1"),
        "settled_version": (sa.BigInteger(), "0"),
        "settled_project": (sa.BigInteger(), "0"),
    },
    "event": {"index": (sa.String(length=60), None)},
    "project": {"decided": (sa.Boolean(), "false")},
    "file": {
        "checks": (sa.Text(), None),
        "due_at": (sa.BigInteger(), None),
        "attempts": (sa.Integer(), "0"),
    },
}


def upgrade() -> None:

    op.create_table(
        "policy",
        sa.Column("id", KEY, nullable=False),
        sa.Column("index_id", KEY, nullable=False),
        sa.Column("pattern", sa.String(length=200), nullable=False),
        sa.Column("hold_days", sa.Double(), nullable=True),
        sa.Column("clock", sa.String(length=20), nullable=True),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["index.id"], name=op.f("fk_policy_index_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
        sa.UniqueConstraint("index_id", "pattern", name=op.f("uq_policy_index_id_pattern")),
    )
    op.execute(
        "INSERT INTO policy (index_id, pattern, hold_days, checks) "
        "SELECT id, '*', hold_days, '{}' FROM \"index\""
    )
    for table, columns in ADDED.items():
        for name, (kind, default) in columns.items():
            given = None if default is None else sa.text(default)
            op.add_column(table, sa.Column(name, kind, nullable=default is None, server_default=given))
    op.execute('ALTER TABLE "index" DROP COLUMN hold_days')
    op.create_index(
        op.f("ix_file_due_at"),
        "file",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "check_result",
        sa.Column("id", KEY, nullable=False),
        sa.Column("file_id", KEY, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("check", sa.String(length=60), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["file.id"], name=op.f("fk_check_result_file_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_check_result")),
    )
    op.create_index(op.f("ix_check_result_file_id"), "check_result", ["file_id", "id"])
    op.create_table(
        "file_contents",
        sa.Column("file_id", KEY, nullable=False),
        sa.Column("contents", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["file.id"], name=op.f("fk_file_contents_file_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_file_contents")),
    )
    op.create_table(
        "decision",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("index", sa.String(length=60), nullable=True),
        sa.Column("source", sa.String(length=100), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("reverts", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_decision_name_id"), "decision", ["name", "id"])
    op.create_index(
        op.f("ix_decision_expires_at"),
        "decision",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_table(
        "hold",
        sa.Column("index_id", KEY, nullable=False),
        sa.Column("file_id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("rule", sa.String(length=20), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("review", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["index.id"], name=op.f("fk_hold_index_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_hold_file_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_hold_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("index_id", "file_id", name=op.f("pk_hold")),
    )
    op.create_index(op.f("ix_hold_file_id"), "hold", ["file_id"])
    op.create_index(op.f("ix_hold_index_id_since_file_id"), "hold", ["index_id", "since", "file_id"])
    op.create_index(op.f("ix_hold_index_id_project_id"), "hold", ["index_id", "project_id"])
    op.create_index(op.f("ix_hold_project_id"), "hold", ["project_id"])
    op.create_index(
        op.f("ix_hold_until"),
        "hold",
        ["until"],
        sqlite_where=sa.text("until IS NOT NULL"),
        postgresql_where=sa.text("until IS NOT NULL"),
    )
    op.create_index(
        "ix_hold_review",
        "hold",
        ["index_id", "since", "file_id"],
        sqlite_where=sa.text("review"),
        postgresql_where=sa.text("review"),
    )
    op.create_table(
        "download",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("index_id", KEY, nullable=False),
        sa.Column("file_id", KEY, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_id"], ["index.id"], name=op.f("fk_download_index_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["file_id"], ["file.id"], name=op.f("fk_download_file_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("day", "index_id", "file_id", "actor", name=op.f("pk_download")),
    )
    op.create_index(op.f("ix_download_file_id_day"), "download", ["file_id", "day"])


def downgrade() -> None:

    op.drop_table("download")
    op.drop_table("hold")
    op.drop_table("decision")
    op.drop_table("file_contents")
    op.drop_table("check_result")
    op.drop_index(op.f("ix_file_due_at"), table_name="file")
    op.add_column("index", sa.Column("hold_days", sa.Double(), nullable=False, server_default="7"))
    op.execute(
        'UPDATE "index" SET hold_days = COALESCE((SELECT hold_days FROM policy '
        "WHERE policy.index_id = \"index\".id AND policy.pattern = '*'), 7)"
    )
    for table, columns in ADDED.items():
        for name in columns:
            op.execute(f'ALTER TABLE "{table}" DROP COLUMN "{name}"')
    op.drop_table("policy")

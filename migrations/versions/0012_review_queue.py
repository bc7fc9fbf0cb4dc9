"""The queue by versions: which version a held file is of, and indexes for the tabs of the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from packaging.utils import canonicalize_version

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABS = {
    "ix_hold_queue_review": "review",
    "ix_hold_queue_waiting": "state = 'held' AND NOT review",
    "ix_hold_queue_rejected": "state = 'rejected'",
}


def upgrade() -> None:
    op.add_column("hold", sa.Column("release", sa.Text(), nullable=False, server_default=""))
    _fill(op.get_bind())
    op.create_index("ix_hold_release", "hold", ["project_id", "release", "since", "file_id", "index_id"])
    op.drop_index("ix_hold_project_id", "hold")  # the new one begins with it
    # By the bytes of names, whatever the collation: for how they begin.
    op.create_index(
        "ix_project_name_pattern", "project", ["name"], postgresql_ops={"name": "text_pattern_ops"}
    )
    for name, condition in TABS.items():
        op.create_index(
            name,
            "hold",
            ["since", "file_id", "index_id"],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )


def _fill(connection: sa.Connection) -> None:
    """Of each held file the version in canonical form, which no SQL knows."""
    after = (0, 0)
    while True:
        rows = connection.execute(_HELD, {"index": after[0], "file": after[1]}).all()
        if not rows:
            return
        connection.execute(_SET, [{"i": i, "f": f, "r": canonicalize_version(v)} for i, f, v in rows])
        after = (rows[-1][0], rows[-1][1])


_HELD = sa.text(
    "SELECT h.index_id, h.file_id, f.version FROM hold h JOIN file f ON f.id = h.file_id "
    "WHERE f.version IS NOT NULL AND (h.index_id, h.file_id) > (:index, :file) "
    "ORDER BY h.index_id, h.file_id LIMIT 5000"
)
_SET = sa.text("UPDATE hold SET release = :r WHERE index_id = :i AND file_id = :f")


def downgrade() -> None:
    for name in TABS:
        op.drop_index(name, "hold")
    op.drop_index("ix_project_name_pattern", "project")
    op.create_index("ix_hold_project_id", "hold", ["project_id"])
    op.drop_index("ix_hold_release", "hold")
    with op.batch_alter_table("hold") as table:
        table.drop_column("release")

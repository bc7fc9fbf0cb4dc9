"""uploads: a hosted source for databases that have none, and the release that a file belongs to"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.add_column("file", sa.Column("release", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_file_project_id_release"),
        "file",
        ["project_id", "release"],
        sqlite_where=sa.text("release IS NOT NULL"),
        postgresql_where=sa.text("release IS NOT NULL"),
    )
    _add_hosted(op.get_bind())


def _add_hosted(connection: sa.Connection) -> None:
    """As a new database begins; one that has a hosted source, or no index yet, stays as it is."""
    main = connection.execute(sa.text("SELECT id FROM \"index\" WHERE name = 'main'")).scalar()
    taken = connection.execute(sa.text("SELECT 1 FROM source WHERE kind = 'hosted' OR name = 'hosted'"))
    if main is None or taken.first() is not None:
        return
    at = {"at": time.time_ns() // 1000}
    source = connection.execute(
        sa.text(
            "INSERT INTO source (name, kind, internal, refresh_seconds, created_at) "
            "VALUES ('hosted', 'hosted', false, 600, :at) RETURNING id"
        ),
        at,
    ).scalar_one()
    # Before all others; positions are compared and need not begin at 0.
    connection.execute(
        sa.text(
            "INSERT INTO index_source (index_id, source_id, position) SELECT :main, :source, "
            "COALESCE(MIN(position), 1) - 1 FROM index_source WHERE index_id = :main"
        ),
        {"main": main, "source": source},
    )
    connection.execute(sa.text("UPDATE counter SET value = value + 1 WHERE name = 'configuration'"))
    connection.execute(
        sa.text(
            "INSERT INTO event (at, actor, action, subject, reason) "
            "VALUES (:at, 'koschey', 'hosted.add', 'hosted', 'migration')"
        ),
        at,
    )


def downgrade() -> None:

    op.drop_index(op.f("ix_file_project_id_release"), table_name="file")
    op.execute('ALTER TABLE file DROP COLUMN "release"')

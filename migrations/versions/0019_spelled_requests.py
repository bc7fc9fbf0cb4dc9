"""Requests say a version as its project spells it, beside the canonical one by which they are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from packaging.utils import canonicalize_version

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_ASKS = sa.text("SELECT id, project, version FROM ask")
_VERSIONS = sa.text(
    "SELECT f.version FROM file f JOIN project p ON p.id = f.project_id "
    "WHERE p.name = :name AND f.version IS NOT NULL ORDER BY f.id"
)


def upgrade() -> None:
    op.add_column("ask", sa.Column("spelled", sa.Text(), nullable=False, server_default=""))
    connection = op.get_bind()
    for ask_id, name, version in connection.execute(_ASKS).all():
        versions = connection.execute(_VERSIONS, {"name": name}).scalars()
        spelled = next((one for one in versions if canonicalize_version(one) == version), version)
        connection.execute(
            sa.text("UPDATE ask SET spelled = :spelled WHERE id = :id"), {"id": ask_id, "spelled": spelled}
        )


def downgrade() -> None:
    op.drop_column("ask", "spelled")

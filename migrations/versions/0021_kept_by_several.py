"""A name may be kept by several lists and seeds, each with what it asks of it."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

#: Of several rows of a name the first that has its dependencies kept, if one has.
_SURPLUS = """
DELETE FROM kept_name WHERE EXISTS (
  SELECT 1 FROM kept_name o WHERE o.source_id = kept_name.source_id AND o.name = kept_name.name
  AND (o.dependencies > kept_name.dependencies
    OR (o.dependencies = kept_name.dependencies AND o.origin < kept_name.origin)))
"""


def upgrade() -> None:
    _key("source_id", "name", "origin")


def downgrade() -> None:
    op.execute(_SURPLUS)
    _key("source_id", "name")


def _key(*columns: str) -> None:
    with op.batch_alter_table("kept_name") as table:
        table.drop_constraint("pk_kept_name", type_="primary")
        table.create_primary_key("pk_kept_name", list(columns))

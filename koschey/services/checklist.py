"""What is still to be done after the first start, for administrators."""

from __future__ import annotations

import msgspec
from sqlalchemy import text

from koschey.domain.permissions import EVERYONE, Role
from koschey.settings import Settings
from koschey.stores.database import Database


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. ``path``: where, below ours; empty: at the command line, as ``words`` say."""

    done: bool
    title: str
    words: str
    path: str = ""


class Checklist:
    """Looks what is done, by first rows of indexes."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def steps(self) -> list[Step]:
        """All steps in order; when all are done the list is no longer shown."""
        given = {"reviewer": Role.REVIEWER.value, "everyone": EVERYONE}
        with self._database.reading() as session:
            found = session.execute(_FOUND, given).one()
        return [
            Step(
                done=found.answered is not None or found.upstream is None,
                title="An upstream answers",
                words="Test it, and install something through Koschey.",
                path="admin/upstreams",
            ),
            Step(
                done=found.held is not None or found.was_held is not None,
                title="A new release was held",
                words="It is once somebody asks for a project that has one.",
                path="admin/quarantine",
            ),
            Step(
                done=found.reviewer is not None,
                title="Somebody reviews",
                words="Give a person or a group the role reviewer.",
                path="admin/access/grants",
            ),
            Step(
                done=found.open_to_all is None or found.said is not None,
                title="Who may read is decided",
                words="Everyone may read without signing in: keep that, and give roles; or take it back.",
                path="admin/access/grants?subject=everyone",
            ),
            Step(
                done=bool(self._settings.public_url),
                title="The address is set",
                words="KOSCHEY_PUBLIC_URL is what clients use, such as https://index.example.",
                path="admin/system",
            ),
        ]


# Of everything the first row by an index: not EXISTS, which PostgreSQL would answer by any row of the table.
_FOUND = text(
    "SELECT (SELECT file_id FROM hold ORDER BY index_id, file_id LIMIT 1) AS held, "
    "(SELECT id FROM event WHERE action = 'file.held' ORDER BY id LIMIT 1) AS was_held, "
    '(SELECT min(id) FROM "grant" WHERE role = :reviewer) AS reviewer, '
    '(SELECT min(id) FROM "grant" WHERE subject = :everyone) AS open_to_all, '
    "(SELECT id FROM event WHERE action = 'grant.add' AND subject <> :everyone "
    "AND actor NOT IN ('koschey', 'koschey:setup') ORDER BY id LIMIT 1) AS said, "
    "(SELECT min(id) FROM source WHERE kind = 'upstream') AS upstream, "
    "(SELECT s.id FROM source s WHERE s.kind = 'upstream' AND (SELECT p.looked_at FROM project p WHERE "
    "p.source_id = s.id AND p.looked_at IS NOT NULL ORDER BY p.looked_at DESC LIMIT 1) > 0 "
    "LIMIT 1) AS answered"
)

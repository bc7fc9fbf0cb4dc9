"""What is still to be done after the first start, for administrators."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from koschey.domain.permissions import EVERYONE, Role
from koschey.services.upstreams import Upstreams
from koschey.settings import Settings
from koschey.stores.database import Database
from koschey.stores.models import Event, Grant, Hold


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. ``path``: where, below ours; empty: at the command line, as ``words`` say."""

    done: bool
    title: str
    words: str
    path: str = ""


class Checklist:
    """Looks what is done, by first rows of indexes."""

    def __init__(self, database: Database, upstreams: Upstreams, settings: Settings) -> None:
        self._database = database
        self._upstreams = upstreams
        self._settings = settings

    def steps(self) -> list[Step]:
        """All steps in order; when all are done the list is no longer shown."""
        with self._database.reading() as session:
            held = session.scalar(
                select(Hold.file_id).order_by(Hold.index_id, Hold.file_id).limit(1)
            ) or session.scalar(select(Event.id).where(Event.action == "file.held").limit(1))
            roles = set(session.scalars(select(Grant.role).distinct()))
            open_to_all = session.scalar(select(Grant.id).where(Grant.subject == EVERYONE).limit(1))
            said = session.scalar(
                select(Event.id)
                .where(Event.action == "grant.add", Event.subject != EVERYONE, Event.actor != "koschey")
                .limit(1)
            )
        upstreams = self._upstreams.list()
        return [
            Step(
                done=any(upstream.looked_at for upstream in upstreams) or not upstreams,
                title="An upstream answers",
                words="Test it, and install something through Koschey.",
                path="admin/upstreams",
            ),
            Step(
                done=held is not None,
                title="A new release was held",
                words="It is once somebody asks for a project that has one.",
                path="admin/quarantine",
            ),
            Step(
                done=Role.REVIEWER in roles,
                title="Somebody reviews",
                words="Give a person or a group the role reviewer.",
                path="admin/access/grants",
            ),
            Step(
                done=open_to_all is None or said is not None,
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

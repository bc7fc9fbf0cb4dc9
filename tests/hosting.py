"""The company's own projects, put into the database and the store as an upload leaves them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import insert, select

from koschey.domain.decisions import canonical
from koschey.domain.names import normalize
from koschey.services.project_rows import known_project, new_project
from koschey.stores.database import now
from koschey.stores.models import File, ProjectState, Source
from koschey.web.current import Koschey
from tests.artifacts import Artifact, Release, wheel


@dataclass(frozen=True)
class Hosted:
    """A file of the company's own."""

    filename: str
    path: str
    sha256: str


def host(
    koschey: Koschey,
    name: str,
    version: str = "1.0",
    *,
    source: str = "hosted",
    artifact: Artifact | None = None,
) -> Hosted:
    """Add a wheel, or ``artifact``, to a project of a hosted source."""
    made = artifact or wheel(Release(name, version, summary="the company's own"))
    digest, at = made.sha256, now()
    spooled = koschey.store.spool_dir / f"test-{secrets.token_hex(8)}"
    spooled.write_bytes(made.content)
    koschey.store.publish(spooled, digest, len(made.content))
    spooled.unlink(missing_ok=True)
    path = f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{made.filename}"
    with koschey.database.transaction() as tx:
        source_id = tx.session.scalars(select(Source.id).where(Source.name == source)).one()
        tx.lock_name(normalize(name))
        known = known_project(tx, source_id, normalize(name))
        project_id = known.id if known else 0
        if known is None:
            project_id, _ = new_project(
                tx,
                source_id=source_id,
                name=normalize(name),
                state=ProjectState.PRESENT,
                status="active",
                first_seen=at,
                serial=0,
            )
        tx.session.execute(
            insert(File).values(
                project_id=project_id,
                filename=made.filename,
                version=version,
                release=canonical(version),
                path=path,
                sha256=digest,
                size=len(made.content),
                upload_time=at,
                first_seen=at,
                stored_at=at,
            )
        )
        tx.raise_serial(project_id)
    return Hosted(made.filename, path, digest)

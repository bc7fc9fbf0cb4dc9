"""What may be given up and what never is; blobs that nothing refers to; numbers of what is stored."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from koschey.domain.policy import DAY
from koschey.errors import Busy
from koschey.services.eviction import Eviction, Rules
from koschey.services.orphans import Orphans
from koschey.services.tallies import Tallies
from koschey.stores.blobs import BlobStore
from koschey.stores.database import now
from koschey.stores.guarded import GuardedStore
from tests.fake_upstream import FakeUpstream
from tests.running import eventually
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.upstream_pages import UpstreamFile


class Care:
    """The care for a deployment's store, in which every hour of grace is over at once."""

    def __init__(self, here: Deployment, grace: float = 0.0) -> None:
        k = here.koschey
        self.here = here
        self.raw: BlobStore = k.store._store  # type: ignore[attr-defined]
        self.orphans = Orphans(k.database, k.lookup, k.locks, self.raw, grace=grace)
        self.store = GuardedStore(self.raw, self.orphans.spare)
        self.tallies = Tallies(k.database, k.locks)
        self.eviction = Eviction(
            k.database, k.locks, self.orphans, self.tallies, k.catalog, Rules(unused_days=30)
        )

    def publish(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        spooled = self.store.spool_dir / f"test-{sha256[:8]}-{threading.get_ident()}"
        spooled.write_bytes(content)
        self.store.publish(spooled, sha256, len(content))
        return sha256

    def stored(self, upstream: FakeUpstream, name: str, days: float = 100, **attributes: Any) -> UpstreamFile:
        """A file of a new project that came into the store so many days ago, its checks done."""
        file = upstream.project(name).release("1.0", payload=name.encode(), **attributes)
        self.here.look(name)
        self.fetch(file)
        self.here.execute(
            "UPDATE file SET stored_at = :at, due_at = NULL WHERE filename = :filename",
            at=now() - round(days * DAY),
            filename=file.filename,
        )
        return file

    def fetch(self, file: UpstreamFile) -> None:
        """Download a file and have it in the store."""
        follower = self.here.fetch(file).follower
        assert b"".join(follower) == file.content
        follower.close()
        eventually(lambda: self.is_stored(file))

    def is_stored(self, file: UpstreamFile) -> bool:
        return self.here.file(file.filename)["stored_at"] is not None


@pytest.fixture
def care(deploy: Deploy) -> Care:
    return Care(deploy(quarantine_days=0))


@on_both
def test_an_orphan_is_marked_and_after_its_grace_deleted(care: Care) -> None:
    orphan = care.publish(b"nobody's")

    assert (care.orphans.sweep().marked, care.raw.size(orphan)) == (1, 8)
    swept = care.orphans.sweep()
    assert (swept.deleted, swept.bytes, care.raw.size(orphan)) == (1, 8, None)
    assert care.here.rows("SELECT * FROM orphan") == []


def test_grace_is_counted_from_the_mark_and_from_the_publication(deploy: Deploy) -> None:
    care = Care(deploy(), grace=3600)
    orphan = care.publish(b"young")
    assert care.orphans.sweep().marked == 0
    path = care.raw.local_path(orphan)
    assert path is not None
    _age(path, 7200)
    assert care.orphans.sweep().marked == 1
    assert care.orphans.sweep().deleted == 0
    care.here.execute("UPDATE orphan SET marked_at = marked_at - 3700000000")
    assert care.orphans.sweep().deleted == 1


def _age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@on_both
def test_whatever_a_row_refers_to_stays(care: Care, upstream: FakeUpstream) -> None:
    provenance = {"version": 1, "attestation_bundles": []}
    file = care.stored(upstream, "sample", provenance=provenance)
    look = care.here.find(file)
    care.here.koschey.documents.metadata(look)
    care.here.koschey.documents.provenance(look)
    for _ in range(3):
        swept = care.orphans.sweep()
        assert (swept.looked_at, swept.marked, swept.deleted) == (3, 0, 0)


@on_both
def test_what_is_published_again_meanwhile_is_spared(care: Care) -> None:
    orphan = care.publish(b"wanted again")
    care.orphans.sweep()
    assert care.here.rows("SELECT sha256 FROM orphan") == [{"sha256": orphan}]

    care.publish(b"wanted again")

    assert care.here.rows("SELECT sha256 FROM orphan") == []
    assert care.orphans.sweep().deleted == 0
    assert care.raw.size(orphan) is not None


def test_a_row_that_came_without_a_publication_spares_its_blob(care: Care, upstream: FakeUpstream) -> None:
    file = care.stored(upstream, "sample")
    with care.here.koschey.database.transaction() as tx:
        care.orphans.mark(tx.connection, [file.sha256])
    assert care.orphans.sweep().spared == 1
    assert care.raw.size(file.sha256) is not None


@on_both
def test_a_sweep_against_publications_of_the_same_blob_loses_none(care: Care) -> None:
    """Many publish and commit what sweeps find orphaned, at every moment; what is committed is there."""
    content = b"contested"
    sha256 = hashlib.sha256(content).hexdigest()
    problems: list[str] = []
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            care.orphans.sweep()

    # From a publication to the commit no sweep may pass twice: that is what the grace is for.
    care.orphans._grace = 0.3
    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for turn in range(25):
            care.publish(content)
            care.here.execute(
                "INSERT INTO orphan (sha256, marked_at) VALUES (:sha256, 0) ON CONFLICT DO NOTHING",
                sha256=sha256,
            )
            care.publish(content)  # the committed one
            if care.raw.size(sha256) is None:
                problems.append(f"lost in turn {turn}")
    finally:
        done.set()
        sweeper.join()
    assert problems == []


def test_without_the_guard_a_sweep_would_take_what_was_just_published(care: Care) -> None:
    """Or the tests before would prove nothing."""
    orphan = care.publish(b"contested")
    care.orphans.sweep()
    care.store = GuardedStore(care.raw, lambda _sha256: None)
    care.publish(b"contested")
    care.orphans.sweep()
    assert care.raw.size(orphan) is None


def test_a_publication_waits_for_the_deletion_of_its_blob(care: Care) -> None:
    orphan = care.publish(b"contested")
    care.orphans.sweep()
    with care.here.koschey.locks.hold(f"blob:{orphan}", 0.0):
        waiting = threading.Thread(target=care.publish, args=(b"contested",))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        care.raw.delete(orphan)
    waiting.join(30)
    assert care.raw.size(orphan) is not None


@on_both
def test_an_unused_file_is_given_up_and_comes_back_when_it_is_asked_for(
    care: Care, upstream: FakeUpstream
) -> None:
    file = care.stored(upstream, "sample")
    assert care.eviction.preview(Rules(unused_days=30)).files == 1
    assert care.is_stored(file)

    evicted = care.eviction.evict(actor="rena")

    assert (evicted.files, evicted.bytes) == (1, len(file.content))
    assert not care.is_stored(file)
    assert care.here.file(file.filename)["sha256"] == file.sha256
    [event] = care.here.events("file.evicted")
    assert (event["actor"], event["subject"], event["before"]) == ("rena", file.filename, "stored")
    assert file.filename in care.here.listed("sample")
    care.orphans.sweep()
    assert care.raw.size(file.sha256) is None
    care.fetch(file)
    assert care.eviction.evict().files == 0


Alter = Callable[[Care, FakeUpstream, UpstreamFile], object]


def _sql(statement: str) -> Alter:
    return lambda care, _upstream, file: care.here.execute(statement, filename=file.filename)


KEPT: dict[str, Alter] = {
    "downloaded lately": lambda care, _upstream, file: _downloaded(care, file),
    "held or rejected": _sql(
        "INSERT INTO hold (index_id, file_id, project_id, state, rule, since, review) "
        "SELECT 1, id, project_id, 'rejected', 'rejected', 1, false FROM file WHERE filename = :filename"
    ),
    "withdrawn upstream": _sql("UPDATE file SET withdrawn_at = 1 WHERE filename = :filename"),
    "without a url": _sql("UPDATE file SET url = NULL WHERE filename = :filename"),
    "of a deleted project": lambda care, _u, _f: care.here.execute("UPDATE project SET state = 'deleted'"),
    "of a quarantined project": lambda care, _u, _f: care.here.execute(
        "UPDATE project SET status = 'quarantined'"
    ),
    "of a project that may be gone": lambda care, _u, _f: care.here.execute(
        "UPDATE project SET missing_since = 1"
    ),
    "of an upstream that is mirrored in full": _sql("UPDATE source SET mode = 'full' WHERE :filename <> ''"),
    "of a hosted source": lambda care, _u, _f: care.here.execute(
        "UPDATE project SET source_id = (SELECT id FROM source WHERE kind = 'hosted')"
    ),
    "approved": _sql(
        "INSERT INTO decision (kind, name, version, filename, reason, actor, at) "
        "VALUES ('approve', 'sample', '1.0', :filename, 'needed', 'rena', 1)"
    ),
    "offered with other bytes": _sql(
        "INSERT INTO event (at, actor, action, project, subject) "
        "VALUES (1, 'upstream', 'file.bytes_changed', 'sample', :filename)"
    ),
    "to be checked": _sql("UPDATE file SET due_at = 1 WHERE filename = :filename"),
    "of a page that cannot be looked at": lambda care, upstream, _f: (
        upstream.stop(),
        care.here.execute("UPDATE project SET looked_at = 1, etag = NULL"),
    ),
}


def _downloaded(care: Care, file: UpstreamFile) -> None:
    care.here.execute(
        "INSERT INTO download (day, index_id, file_id, actor, count, last_at) "
        "SELECT :day, 1, id, 'somebody', 1, 1 FROM file WHERE filename = :filename",
        day=now() // DAY - 3,
        filename=file.filename,
    )


@pytest.mark.parametrize("case", KEPT)
def test_what_cannot_be_had_again_or_is_evidence_is_never_given_up(
    care: Care, upstream: FakeUpstream, case: str
) -> None:
    file = care.stored(upstream, "sample")
    assert care.eviction.preview(Rules(unused_days=30)).files == 1
    KEPT[case](care, upstream, file)

    assert care.eviction.evict(Rules(unused_days=30)).files == 0
    assert care.is_stored(file)


def test_bytes_that_another_file_shares_stay(care: Care, upstream: FakeUpstream) -> None:
    file = care.stored(upstream, "sample")
    care.here.execute(
        "INSERT INTO file (project_id, filename, path, sha256, size, first_seen, yanked, "
        "metadata_advertised, metadata_stored, stored_at, attempts) "
        "SELECT project_id, 'twin.zip', '/packages/twin', sha256, size, 1, "
        " false, false, false, :at, 0 FROM file WHERE filename = :filename",
        filename=file.filename,
        at=now(),
    )
    assert care.eviction.evict(Rules(unused_days=30)).files == 0


@on_both
def test_a_limit_takes_what_was_unused_for_longest(care: Care, upstream: FakeUpstream) -> None:
    """To the day, and no more than is needed."""
    days = (400, 200, 300, 199, 190, 20, 2)
    files = {day: care.stored(upstream, f"sample-{day}", day) for day in days}
    care.tallies.count()
    total = sum(len(file.content) for file in files.values())
    wanted = Rules(max_bytes=total - sum(len(files[day].content) for day in (400, 300)) - 1)

    preview = care.eviction.preview(wanted)
    evicted = care.eviction.evict(wanted)

    assert (preview.files, preview.bytes, preview.unused_days) == (3, evicted.bytes, 200)
    assert {day for day in days if not care.is_stored(files[day])} == {400, 300, 200}
    assert evicted.short == 0
    rest = care.eviction.evict(Rules(max_bytes=1))
    assert rest.short == 0 or rest.files == 4


def test_without_a_rule_the_job_does_nothing(care: Care, upstream: FakeUpstream) -> None:
    care.stored(upstream, "sample")
    care.eviction.rules = Rules()
    care.eviction.evict_periodically()
    assert care.here.events("file.evicted") == []


def test_two_evictions_at_once_are_one(care: Care) -> None:
    with care.here.koschey.locks.hold("sweep:evict", 0.0):
        other: list[BaseException] = []

        def run() -> None:
            try:
                care.eviction.evict()
            except Busy as error:
                other.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(30)
    assert len(other) == 1


@on_both
def test_tallies_count_by_source_kind_and_state(care: Care, upstream: FakeUpstream) -> None:
    stored = care.stored(upstream, "stored", sdist=True)
    held, gone = care.stored(upstream, "held"), care.stored(upstream, "gone")
    care.here.execute("UPDATE file SET withdrawn_at = 1 WHERE filename = :f", f=gone.filename)
    KEPT["held or rejected"](care, upstream, held)

    assert care.tallies.count()

    found = {(t.source, t.kind, t.state): (t.files, t.bytes) for t in care.tallies.tallies()}
    assert found["upstream", "wheel", "stored"] == (1, len(stored.content))
    assert found["upstream", "wheel", "held"] == (1, len(held.content))
    assert found["upstream", "wheel", "withdrawn"] == (1, len(gone.content))
    assert found["upstream", "sdist", "listed"][0] == 1
    assert care.tallies.mirrored_bytes() == sum(len(f.content) for f in (stored, held, gone))


def test_small_blocks_come_to_the_same_and_old_ones_vanish(care: Care, upstream: FakeUpstream) -> None:
    for number in range(5):
        care.stored(upstream, f"sample-{number}")
    care.tallies.count()
    whole = care.tallies.tallies()
    care.here.execute("DELETE FROM storage_tally")
    Tallies(care.here.koschey.database, care.here.koschey.locks, block=2).count()
    assert care.tallies.tallies() == whole
    care.here.execute("DELETE FROM file WHERE id > 1")
    Tallies(care.here.koschey.database, care.here.koschey.locks, block=2).count()
    assert sum(t.files for t in care.tallies.tallies()) == 1

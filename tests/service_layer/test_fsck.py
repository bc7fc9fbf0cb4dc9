"""Each invariant is broken once, is found, and is mended where it can be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from koschey.domain.filters import Mode
from koschey.services.fsck.findings import Context, Finding
from koschey.services.fsck.run import Progress, run
from koschey.services.keeping import KeepSpec
from koschey.services.projects import Status
from tests.fake_upstream import FakeUpstream
from tests.hosting import host
from tests.running import eventually
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.upstream_pages import UpstreamFile


class _Silent:
    def begin(self, check: str) -> None: ...
    def step(self, done: int) -> None: ...
    def left_out(self, what: str) -> None: ...
    def end(self, found: int) -> None: ...


def fsck(
    here: Deployment, *, quick: bool = False, repair: bool = False, progress: Progress | None = None
) -> list[Finding]:
    k = here.koschey
    context = Context(
        database=k.database,
        configuration=k.configuration,
        store=k.store,
        locks=k.locks,
        holds=k.holds,
        roots=k.root_builder,
        actor="rena",
        quick=quick,
        repair=repair,
    )
    return list(run(context, progress or _Silent()))


@pytest.fixture
def world(deploy: Deploy, upstream: FakeUpstream) -> tuple[Deployment, UpstreamFile]:
    """A stored file with its documents, a held one, and everything as it must be."""
    here = deploy(quarantine_days=7)
    provenance = {"version": 1, "attestation_bundles": []}
    file = upstream.project("sample").release("1.0", provenance=provenance)
    fresh = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    upstream.project("fresh").release("1.0", upload_time=fresh)
    for name in ("sample", "fresh"):
        here.look(name)
    follower = here.fetch(file).follower
    assert b"".join(follower) == file.content
    follower.close()
    eventually(lambda: here.file(file.filename)["stored_at"])
    for row in here.rows("SELECT id FROM file"):
        here.koschey.tasks["check_file"](row["id"])
    here.koschey.tasks["settle_policies"]()
    # The jobs that the looks and the download submitted would mend what a test breaks.
    eventually(lambda: not here.rows("SELECT 1 FROM file WHERE due_at IS NOT NULL"), 60)
    look = here.find(file)
    here.koschey.documents.metadata(look)
    here.koschey.documents.provenance(look)
    return here, file


def _blob(here: Deployment, sha256: str) -> Path:
    path = here.koschey.store.local_path(sha256)
    assert path is not None
    return path


@on_both
def test_all_is_well_where_nothing_is_wrong(world: tuple[Deployment, UpstreamFile]) -> None:
    here, _ = world
    assert fsck(here) == []
    assert fsck(here, quick=True) == []
    assert here.events("fsck.repaired") == []


@pytest.mark.parametrize("verb", ["yank", "delete a file", "delete", "restore", *Status])
def test_all_is_well_at_each_station_of_a_hosted_project(
    world: tuple[Deployment, UpstreamFile], verb: str
) -> None:
    projects, by = world[0].koschey.projects, {"reason": "test", "actor": "test"}
    file = host(world[0].koschey, "acme-tool", "1.0")
    host(world[0].koschey, "acme-tool", "1.1")
    match verb:
        case "yank":
            projects.yank("acme-tool", "1.0", **by)
        case "delete a file":
            projects.delete("acme-tool", filename=file.filename, **by)
        case "delete" | "restore":
            projects.delete("acme-tool", **by)
            if verb == "restore":
                projects.restore("acme-tool", "1.0", **by)
        case _:
            projects.set_status("acme-tool", Status.ARCHIVED, **by)
            if verb != Status.ARCHIVED:
                projects.set_status("acme-tool", Status(verb), **by)
    assert fsck(world[0]) == []


def _remove(here: Deployment, file: UpstreamFile) -> None:
    _blob(here, file.sha256).unlink()


def _shorten(here: Deployment, file: UpstreamFile) -> None:
    path = _blob(here, file.sha256)
    path.chmod(0o644)
    path.write_bytes(b"short")


def _flip(here: Deployment, file: UpstreamFile) -> None:
    path = _blob(here, file.sha256)
    path.chmod(0o644)
    path.write_bytes(b"X" + path.read_bytes()[1:])


def _remove_document(column: str) -> Callable[[Deployment, UpstreamFile], None]:
    return lambda here, file: _blob(here, here.file(file.filename)[column]).unlink()


def _sql(*statements: str) -> Callable[[Deployment, UpstreamFile], None]:
    def work(here: Deployment, _file: UpstreamFile) -> None:
        for statement in statements:
            here.execute(statement)

    return work


_TOUCHED = "UPDATE counter SET value = value + 1 WHERE name = 'configuration'"
#: What breaks it: the check that finds it, whether it can be mended, and a part of the sentence.
BROKEN: dict[str, tuple[Callable[[Deployment, UpstreamFile], None], str, bool, str]] = {
    "a blob is gone": (_remove, "blobs", True, "its blob is missing"),
    "a blob is short": (_shorten, "blobs", True, "bytes instead of"),
    "a blob has other bytes": (_flip, "blobs", True, "its blob has other bytes"),
    "METADATA is gone": (_remove_document("metadata_sha256"), "blobs", True, "its blob is missing"),
    "a provenance is gone": (_remove_document("provenance_sha256"), "blobs", True, "its blob is missing"),
    "a stored file has no digest": (
        _sql("UPDATE file SET size = NULL WHERE stored_at IS NOT NULL AND filename LIKE 'fresh%'"),
        "rows",
        False,
        "no digest or no size",
    ),
    "bytes were checked as others": (
        _sql("UPDATE check_result SET sha256 = '00' WHERE file_id = (SELECT min(id) FROM file)"),
        "digests",
        False,
        "was checked with 00",
    ),
    "a project is newer than the last serial": (
        _sql("UPDATE project SET serial = 10000 WHERE name = 'sample'"),
        "serials",
        True,
        "has serial 10000",
    ),
    "a hold is not recorded": (
        _sql("DELETE FROM hold", "UPDATE counter SET value = 0 WHERE name LIKE 'held:%'"),
        "holds",
        True,
        "visible is recorded",
    ),
    "a hold is recorded wrongly": (
        _sql("UPDATE hold SET rule = 'failed-check'"),
        "holds",
        True,
        "(failed-check) is recorded",
    ),
    "a hold has no event": (
        _sql("DELETE FROM event WHERE action = 'file.held'"),
        "events",
        False,
        "no event says since when",
    ),
    "a counter is wrong": (
        _sql("UPDATE counter SET value = 7 WHERE name LIKE 'held:%'"),
        "counters",
        True,
        "says 7, and there are 1",
    ),
    "a private name was asked for": (
        _sql(
            "INSERT INTO project (source_id, name, state, status, serial, first_seen, decided) "
            "SELECT id, 'sample', 'present', 'active', 0, 1, false FROM source WHERE kind = 'hosted'"
        ),
        "private",
        False,
        "was asked for at the upstream upstream although a hosted source has it",
    ),
    "a claimed name was asked for": (
        _sql(
            "INSERT INTO name_rule (kind, pattern, reason, actor, at) "
            "VALUES ('claim', 'sample', 'ours', 'rena', 1)",
            _TOUCHED,
        ),
        "private",
        False,
        "although it is claimed",
    ),
    "a reserved name was asked for": (
        _sql(
            "INSERT INTO name_rule (kind, pattern, reason, actor, at) "
            "VALUES ('reserve', 'sam*', 'ours', 'rena', 1)",
            _TOUCHED,
        ),
        "private",
        False,
        "although sam* is reserved",
    ),
}


def test_a_merged_name_may_be_asked_for(world: tuple[Deployment, UpstreamFile]) -> None:
    here, file = world
    BROKEN["a private name was asked for"][0](here, file)
    _sql(
        "INSERT INTO name_rule (kind, pattern, reason, actor, at) VALUES ('merge', 'sample', '', 'rena', 1)",
        _TOUCHED,
    )(here, file)
    assert [finding for finding in fsck(here) if finding.check == "private"] == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found_and_mended_where_it_can_be(
    world: tuple[Deployment, UpstreamFile], case: str
) -> None:
    here, file = world
    breaks, check, can_be_mended, says = BROKEN[case]
    breaks(here, file)

    found = [finding for finding in fsck(here) if finding.check == check]
    assert [says in finding.problem for finding in found] == [True], found
    assert not found[0].mended and found[0].advice

    mended = [finding for finding in fsck(here, repair=True) if finding.check == check]
    assert [finding.mended for finding in mended] == [can_be_mended]
    left = [finding for finding in fsck(here) if finding.check == check]
    assert bool(left) != can_be_mended
    if can_be_mended and check == "blobs":
        [event] = here.events("fsck.repaired")
        assert (event["actor"], event["subject"]) == ("rena", file.filename)


def test_a_mended_file_comes_back_when_it_is_asked_for(world: tuple[Deployment, UpstreamFile]) -> None:
    here, file = world
    _flip(here, file)
    fsck(here, repair=True)
    follower = here.fetch(file).follower
    assert b"".join(follower) == file.content
    follower.close()
    eventually(lambda: here.file(file.filename)["stored_at"])
    assert fsck(here) == []


@pytest.mark.parametrize(
    "lost",
    [
        "UPDATE project SET source_id = (SELECT id FROM source WHERE kind = 'hosted') WHERE name = 'sample'",
        "UPDATE file SET withdrawn_at = 1 WHERE filename LIKE 'sample%'",
        "UPDATE file SET url = NULL WHERE filename LIKE 'sample%'",
    ],
)
def test_what_cannot_be_fetched_again_is_left_and_says_so(
    world: tuple[Deployment, UpstreamFile], lost: str
) -> None:
    here, file = world
    _remove(here, file)
    here.execute(lost)
    found = [f for f in fsck(here, repair=True, quick=True) if f.check == "blobs"]
    assert [(f.mended, file.sha256 in f.advice) for f in found] == [(False, True)]
    assert here.file(file.filename)["stored_at"] is not None


@on_both
def test_a_sync_of_a_whole_mirror_fetches_what_was_mended(deploy: Deploy, upstream: FakeUpstream) -> None:
    here = deploy(quarantine_days=0)
    file = upstream.project("sample").release("1.0")
    here.koschey.keeping.edit("upstream", KeepSpec(mode=Mode.FULL), actor="test")
    here.koschey.sync.run("upstream")
    _blob(here, file.sha256).unlink()
    assert [finding.check for finding in fsck(here, repair=True)] == ["blobs"]
    assert here.file(file.filename)["stored_at"] is None

    here.koschey.sync.run("upstream")

    assert here.file(file.filename)["stored_at"]
    assert here.koschey.store.size(file.sha256) == len(file.content)


def test_a_quick_run_looks_at_sizes_and_reads_no_bytes(world: tuple[Deployment, UpstreamFile]) -> None:
    here, file = world
    _flip(here, file)
    assert fsck(here, quick=True) == []
    _shorten(here, file)
    assert [f.check for f in fsck(here, quick=True)] == ["blobs"]


def test_an_orphan_row_is_found(world: tuple[Deployment, UpstreamFile]) -> None:
    here, _ = world
    with here.koschey.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("UPDATE file SET project_id = 4711 WHERE filename LIKE 'fresh%'")
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    found = [finding for finding in fsck(here) if finding.check == "rows"]
    assert "refers to project 4711" in found[0].problem


def test_a_root_list_that_differs_is_found_and_built_again(
    world: tuple[Deployment, UpstreamFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = world
    monkeypatch.setattr(here.koschey.root_builder, "_small", 0)
    here.koschey.root_builder.build()
    assert fsck(here) == []
    here.execute("UPDATE project SET serial = serial - 1 WHERE name = 'sample'")
    [finding] = fsck(here)
    assert finding.check == "roots" and "'sample'" in finding.problem
    assert [finding.mended for finding in fsck(here, repair=True)] == [True]
    assert fsck(here) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_the_same_is_found_and_mended_on_postgresql(world: tuple[Deployment, UpstreamFile]) -> None:
    here, file = world
    for case in (
        "a blob has other bytes",
        "a project is newer than the last serial",
        "a private name was asked for",
    ):
        BROKEN[case][0](here, file)
    for case in ("a hold is recorded wrongly", "a counter is wrong", "bytes were checked as others"):
        BROKEN[case][0](here, file)
    found = {finding.check for finding in fsck(here, repair=True)}
    assert found == {"blobs", "serials", "private", "holds", "counters", "digests"}
    assert {finding.check for finding in fsck(here)} == {"private", "digests"}


def test_an_index_that_is_being_settled_is_left_out_and_that_is_said(here: Deployment) -> None:
    here.execute("UPDATE \"index\" SET policy_version = policy_version + 1 WHERE name = 'main'")
    said: list[str] = []

    class Listening(_Silent):
        def left_out(self, what: str) -> None:
            said.append(what)

    fsck(here, progress=Listening())

    assert [what.partition(":")[0] for what in said] == ["index main"]

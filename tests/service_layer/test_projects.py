"""The life of the company's own projects: yanked, deleted, restored, archived, deprecated, quarantined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from koschey.domain.names import normalize
from koschey.errors import Conflict, FileHidden, NotFound, RequestInvalid
from koschey.services.projects import Status
from tests.artifacts import Release, sdist
from tests.fake_upstream import FakeUpstream
from tests.hosting import Hosted, host
from tests.service_layer.conftest import Deploy, Deployment

BY = {"reason": "test", "actor": "ann"}
WHEEL, SDIST, OLD = "tool-2.0-py3-none-any.whl", "tool-2.0.tar.gz", "tool-1.0-py3-none-any.whl"


@pytest.fixture
def files(here: Deployment) -> dict[str, Hosted]:
    made = [
        host(here.koschey, "tool", "1.0"),
        host(here.koschey, "tool", "2.0"),
        host(here.koschey, "tool", "2.0", artifact=sdist(Release("tool", "2.0"))),
    ]
    return {file.filename: file for file in made}


def yanks(here: Deployment) -> dict[str, Any]:
    return {file["filename"]: file["yanked"] for file in here.page("tool")["files"]}


@pytest.mark.usefixtures("files")
def test_a_release_a_file_or_a_project_is_yanked_and_unyanked(deploy: Deploy, here: Deployment) -> None:
    other, projects = deploy(), here.koschey.projects
    other.page("tool")
    outcome = projects.yank("Tool", "2", reason="breaks", actor="ann")
    assert set(outcome.filenames) == {WHEEL, SDIST}
    assert yanks(other) == {OLD: False, WHEEL: "breaks", SDIST: "breaks"}

    projects.unyank("tool", "2.0", SDIST, **BY)
    assert yanks(other) == {OLD: False, WHEEL: "breaks", SDIST: False}
    projects.yank("tool", reason="all", actor="ann")
    assert set(yanks(other).values()) == {"all"}
    projects.unyank("tool", **BY)
    assert set(yanks(other).values()) == {False}
    again = projects.unyank("tool", **BY)
    assert again.files == 0
    assert again.notes

    told = [(e["action"], e["subject"], e["actor"], e["reason"]) for e in here.events()]
    assert told == [
        ("project.yank", "tool==2.0", "ann", "breaks"),
        ("project.unyank", SDIST, "ann", "test"),
        ("project.yank", "tool", "ann", "all"),
        ("project.unyank", "tool", "ann", "test"),
    ]


def test_a_deleted_file_is_gone_from_everything_and_comes_back(
    deploy: Deploy, here: Deployment, files: dict[str, Hosted]
) -> None:
    other, projects = deploy(), here.koschey.projects
    preview = projects.delete("tool", "2.0", preview=True, **BY)
    assert (preview.done, preview.files) == (False, 2)
    assert len(other.listed("tool")) == 3

    projects.delete("tool", "2.0", **BY)

    page = other.page("tool")
    assert ([f["filename"] for f in page["files"]], page["versions"]) == ([OLD], ["1.0"])
    for name in (WHEEL, SDIST):
        with pytest.raises(NotFound):
            other.koschey.files.find("main", files[name].path)
        with pytest.raises(NotFound):
            other.koschey.files.find_named("main", "tool", "2.0", name)
    why = other.koschey.explanations.project("main", normalize("tool"))
    assert [version.version for version in why.versions] == ["1.0"]
    assert here.rows("SELECT 1 FROM hold") == []
    with pytest.raises(NotFound, match="version"):
        projects.delete("tool", "2.0", **BY)

    projects.restore("tool", "2.0", WHEEL, **BY)

    assert other.listed("tool") == {OLD, WHEEL}
    assert other.koschey.files.find("main", files[WHEEL].path).sha256 == files[WHEEL].sha256
    assert [e["action"] for e in here.events()] == ["project.delete", "project.restore"]


@pytest.mark.usefixtures("files")
def test_a_deleted_project_keeps_its_name(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.project("tool").release("9.0")
    here.koschey.projects.delete("tool", **BY)

    assert here.page("tool")["files"] == []
    assert here.koschey.own_projects.page() == []
    assert [p["status"] for p in here.koschey.own_projects.page(deleted=True)] == ["deleted"]
    assert upstream.count("*") == 0
    host(here.koschey, "other", "1.0")
    here.koschey.projects.restore("tool", **BY)
    assert here.listed("tool") == {OLD, WHEEL, SDIST}


@pytest.mark.usefixtures("files")
def test_bytes_are_kept_for_a_while_and_rows_for_ever(here: Deployment) -> None:
    projects = here.koschey.projects
    projects.delete("tool", "2.0", **BY)
    assert projects.purge(grace=60_000_000) == 0
    here.execute("UPDATE file SET deleted_at = 1 WHERE filename = :name", name=WHEEL)
    here.koschey.tasks["sweep_deleted"]()

    gone, kept = here.file(WHEEL), here.file(SDIST)
    assert gone["stored_at"] is None
    assert gone["sha256"] is not None
    assert kept["stored_at"] is not None
    outcome = projects.restore("tool", "2.0", **BY)
    assert outcome.filenames == (SDIST,)
    assert "1 more" in outcome.notes[0]
    with pytest.raises(Conflict, match="not kept any more"):
        projects.restore("tool", "2.0", WHEEL, **BY)
    assert [e["subject"] for e in here.events("file.purge")] == [WHEEL]


def test_a_quarantined_project_lists_and_serves_nothing(
    deploy: Deploy, here: Deployment, files: dict[str, Hosted]
) -> None:
    other = deploy()
    assert len(other.listed("tool")) == 3
    here.koschey.projects.set_status("tool", Status.QUARANTINED, reason="stolen key", actor="ann")

    page = other.page("tool")
    assert page["files"] == []
    assert page["project-status"] == {"status": "quarantined", "reason": "stolen key"}
    for file in files.values():
        with pytest.raises(FileHidden, match="quarantined: stolen key"):
            other.koschey.files.find("main", file.path)
    here.koschey.tasks["settle_policies"]()
    assert here.rows("SELECT 1 FROM hold") == [], "nothing of it waits for a reviewer"

    here.koschey.projects.set_status("tool", Status.ACTIVE, **BY)
    assert len(other.listed("tool")) == 3
    assert [(e["before"], e["after"]) for e in here.events()] == [
        ("active", "quarantined"),
        ("quarantined: stolen key", "active"),
    ]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("status", [Status.ARCHIVED, Status.DEPRECATED])
def test_an_archived_or_deprecated_project_says_so_and_is_served(here: Deployment, status: Status) -> None:
    here.koschey.projects.set_status("tool", status, reason="use kit", actor="ann")
    page = here.page("tool")
    assert page["project-status"] == {"status": status.value, "reason": "use kit"}
    assert len(page["files"]) == 3
    with pytest.raises(Conflict, match="already"):
        here.koschey.projects.set_status("tool", status, reason="use kit", actor="ann")


def test_where_several_sources_have_it_one_is_named(here: Deployment) -> None:
    here.koschey.hosted.add("second", indexes=["main"], actor="test")
    host(here.koschey, "tool", "1.0")
    host(here.koschey, "tool", "2.0", source="second")
    with pytest.raises(Conflict, match="of hosted, second"):
        here.koschey.projects.yank("tool", **BY)
    assert here.koschey.projects.yank("tool", source="second", **BY).filenames == (WHEEL,)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda p: p.yank("outside", **BY), NotFound),
        (lambda p: p.yank("unknown", **BY), NotFound),
        (lambda p: p.yank("tool", "3.0", **BY), NotFound),
        (lambda p: p.yank("tool", None, "tool-3.0.tar.gz", **BY), NotFound),
        (lambda p: p.yank("tool", "1.0", SDIST, **BY), RequestInvalid),
        (lambda p: p.yank("tool", reason="", actor="x"), RequestInvalid),
        (lambda p: p.yank("no name", **BY), RequestInvalid),
        (lambda p: p.restore("tool", **BY), NotFound),
        (lambda p: p.delete("tool", source="nowhere", **BY), NotFound),
        (lambda p: p.set_status("outside", Status.ARCHIVED, **BY), NotFound),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_cannot_be_is_refused_and_changes_nothing(
    here: Deployment, upstream: FakeUpstream, act: Callable[..., object], error: type[Exception]
) -> None:
    upstream.project("outside").release("1.0")
    here.page("outside")
    before = here.rows("SELECT * FROM file ORDER BY id"), len(here.events())
    with pytest.raises(error):
        act(here.koschey.projects)
    assert (here.rows("SELECT * FROM file ORDER BY id"), len(here.events())) == before


@pytest.mark.usefixtures("files")
def test_what_there_is_of_the_companys_own(here: Deployment) -> None:
    host(here.koschey, "kit", "1.0")
    here.koschey.names.reserve("to*", index=None, reason="ours", actor="ann")
    rows = here.koschey.own_projects.page()
    assert [(row["name"], row["source"], row["files"]) for row in rows] == [
        ("kit", "hosted", 1),
        ("tool", "hosted", 3),
    ]
    assert [row["name"] for row in here.koschey.own_projects.page(after="kit/hosted", limit=1)] == ["tool"]
    found = here.koschey.own_projects.about("Tool")
    assert [rule["pattern"] for rule in found["rules"]] == ["to*"]
    assert found["indexes"] == [
        {"index": "main", "outside": "closed", "sources": ["hosted"], "newest": "2.0"}
    ]
    assert {file["filename"] for file in found["hosted"][0]["files"]} == {OLD, WHEEL, SDIST}
    with pytest.raises(NotFound):
        here.koschey.own_projects.about("unknown")

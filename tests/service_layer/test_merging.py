"""A merged name: the upstream's files, quarantined as usual, beside the company's own, which come first."""

from __future__ import annotations

import pytest

from koschey.domain.names import normalize
from koschey.domain.negotiation import Representation
from koschey.domain.permissions import Names
from koschey.errors import FileHidden, NotFound, UpstreamError
from koschey.services.pages import ReadyPage
from tests.fake_upstream import FakeUpstream
from tests.hosting import Hosted, host
from tests.service_layer.conftest import Deploy, Deployment
from tests.service_layer.test_review import fresh, quiet

OWN, OLD, NEW = (f"sample-{version}-py3-none-any.whl" for version in ("1.0+acme", "1.0", "2.0"))
BY = {"reason": "test", "actor": "test"}


@pytest.fixture
def here(deploy: Deploy, upstream: FakeUpstream) -> Deployment:
    project = upstream.project("sample")
    project.release("1.0")
    project.release("2.0", upload_time=fresh())
    deployment = quiet(deploy(quarantine_days=7.0))
    deployment.koschey.names.merge("sample", **BY)
    host(deployment.koschey, "sample", "1.0+acme")
    return deployment


def own(here: Deployment, version: str) -> Hosted:
    return host(here.koschey, "sample", version)


def test_the_page_lists_both_and_holds_what_is_new_outside(here: Deployment) -> None:
    page = here.page("sample")

    assert {file["filename"] for file in page["files"]} == {OWN, OLD}
    assert set(page["versions"]) == {"1.0+acme", "1.0"}
    assert page["meta"]["_last-serial"] == max(
        row["serial"] for row in here.rows("SELECT serial FROM project WHERE name = 'sample'")
    )
    everything = Names(frozenset("*"))
    root = here.koschey.root_list.page(
        "main", Representation.JSON, "identity", everything, lambda _etag: False
    )
    assert isinstance(root, ReadyPage)
    assert b'"name":"sample"' in root.body


def test_its_files_are_found_where_the_page_says(here: Deployment, upstream: FakeUpstream) -> None:
    for file in here.page("sample")["files"]:
        found = here.koschey.files.find("main", file["url"].removeprefix("http://index.example"))
        assert found.sha256 == file["hashes"]["sha256"]
    with pytest.raises(FileHidden, match="held until"):
        here.koschey.files.find("main", upstream.project("sample").files[NEW].path)


def test_of_one_filename_the_hosted_file_counts(here: Deployment, upstream: FakeUpstream) -> None:
    here.page("sample")
    hosted = own(here, "1.0")
    theirs = upstream.project("sample").files[OLD]

    [listed] = [file for file in here.page("sample")["files"] if file["filename"] == OLD]
    assert listed["hashes"]["sha256"] == hosted.sha256
    assert here.koschey.files.find("main", hosted.path).sha256 == hosted.sha256
    with pytest.raises(NotFound):
        here.koschey.files.find("main", theirs.path)
    found = here.koschey.files.find_named("main", "sample", "1.0", OLD)
    assert found.sha256 == hosted.sha256


def test_each_change_on_either_side_is_a_new_page(here: Deployment, upstream: FakeUpstream) -> None:
    serials, etags = [], set()

    def note() -> None:
        name = normalize("sample")
        ready = here.koschey.catalog.project_page("main", name, Representation.JSON, "identity", "http://x")
        serials.append(ready.serial)
        etags.add(ready.etag)

    note()
    note()
    upstream.project("sample").release("0.9")
    here.look("sample")
    note()
    own(here, "1.1")
    note()
    here.koschey.review.approve("sample", "2.0", **BY)
    note()
    here.koschey.names.unmerge("sample", **BY)
    note()

    assert serials == sorted(serials)
    assert len(set(serials)) == len(etags) == 5
    assert NEW not in here.listed("sample")
    assert OWN in here.listed("sample")


def test_explanation_and_decisions_are_about_both(here: Deployment) -> None:
    why = here.koschey.explanations.project("main", normalize("sample"))
    assert (why.hosted, why.merged, why.source) == (True, "upstream", "hosted")
    assert [(version.version, version.state) for version in why.versions] == [
        ("2.0", "held"),
        ("1.0+acme", "visible"),
        ("1.0", "visible"),
    ]
    assert why.policy.hold_days == 7

    here.koschey.review.approve("sample", "2.0", **BY)
    assert NEW in here.listed("sample")
    here.koschey.review.reject("sample", "1.0", **BY)
    assert here.listed("sample") == {OWN, NEW}


def test_an_upstream_that_takes_it_back_takes_its_own_files_only(
    here: Deployment, upstream: FakeUpstream
) -> None:
    here.page("sample")
    upstream.project("sample").status = "quarantined"
    upstream.project("sample").touch()
    here.look("sample")
    assert here.listed("sample") == {OWN}
    assert here.page("sample")["project-status"] == {"status": "active"}


def test_a_stored_page_outlives_the_upstream(here: Deployment, upstream: FakeUpstream) -> None:
    here.page("sample")
    here.execute("UPDATE project SET looked_at = 1 WHERE looked_at IS NOT NULL")
    upstream.stop()
    assert here.listed("sample") == {OWN, OLD}


def test_until_its_upstream_was_seen_once_a_failure_is_no_shorter_page(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.stop()
    with pytest.raises(UpstreamError):
        here.page("sample")


def test_a_merged_name_that_nobody_has_outside_is_the_hosted_one(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.forget("sample")
    assert here.listed("sample") == {OWN}


def test_a_reservation_ends_it_while_it_counts(here: Deployment) -> None:
    outcome = here.koschey.names.reserve("sam*", index=None, **BY)
    assert outcome.notes == ("merged names stand alone while they are reserved: sample",)
    assert here.listed("sample") == {OWN}
    here.koschey.names.unreserve("sam*", index=None, **BY)
    assert here.listed("sample") == {OWN, OLD}


def test_the_closure_of_what_is_held_knows_both(here: Deployment) -> None:
    here.page("sample")
    plan = here.koschey.closure.plan("sample", "2.0")
    assert [needed.version for needed in plan.versions] == ["2.0"]

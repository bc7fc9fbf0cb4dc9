"""Syncs of the scripted upstream: what is asked for, what is recorded, and what is left for the next time."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from koschey.domain.filters import Mode
from koschey.errors import Busy, Conflict, RequestInvalid, UpstreamError
from koschey.services import sync_choosing, sync_due, sync_known
from koschey.services.downloads import Downloads
from koschey.services.keeping import KeepSpec, SeedFile
from koschey.services.sync_phases import Options
from koschey.services.sync_schedule import lock_name
from koschey.services.upstream_spec import UpstreamSpec
from koschey.stores.database import now
from koschey.stores.lookup import FileLook
from koschey.upstream.manners import LONGEST_PAUSE
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both


def keep(here: Deployment, **said: Any) -> None:
    here.koschey.keeping.edit("upstream", KeepSpec(**said), actor="test")


def sync(here: Deployment, **options: Any) -> dict[str, Any]:
    return here.koschey.sync.run("upstream", Options(**options))


def names(here: Deployment) -> set[str]:
    return {row["name"] for row in here.rows("SELECT name FROM project WHERE state = 'present'")}


@pytest.fixture
def full(upstream: FakeUpstream, here: Deployment) -> Deployment:
    """Three projects of one wheel each, and an upstream that is mirrored whole."""
    for name in ("one", "two", "three"):
        upstream.project(name).release("1.0")
    keep(here, mode=Mode.FULL)
    return here


@on_both
def test_the_first_sync_takes_pages_and_files_each_by_one_request(
    full: Deployment, upstream: FakeUpstream
) -> None:
    summary = sync(full)

    assert summary["outcome"] == "ok"
    assert names(full) == {"one", "two", "three"}
    assert summary["requests"] == len(upstream.requests) == 1 + 3 + 3
    assert all(row["stored_at"] for row in full.rows("SELECT stored_at FROM file"))
    assert {request.method for request in upstream.requests} == {"GET"}


@on_both
def test_a_sync_with_nothing_new_is_one_request(full: Deployment, upstream: FakeUpstream) -> None:
    sync(full)
    upstream.requests.clear()

    summary = sync(full)

    assert [(seen.target, summary["unchanged"]) for seen in upstream.requests] == [("/", 1)]
    assert (summary["outcome"], summary["lag_serials"]) == ("ok", 0)


@on_both
def test_only_what_changed_is_asked_for(full: Deployment, upstream: FakeUpstream) -> None:
    for number in range(30):  # so that the last serials are far from those of the three
        upstream.project(f"more-{number}")
    sync(full)
    wheel = upstream.project("two").release("2.0")
    upstream.requests.clear()

    sync(full)

    asked = [seen.target for seen in upstream.requests if not seen.target.startswith("more-")]
    assert asked == ["/", "two", wheel.filename]
    assert len(upstream.requests) < 3 + 25


@on_both
def test_yanks_and_withdrawals_come_with_a_sync(full: Deployment, upstream: FakeUpstream) -> None:
    gone = upstream.project("one").release("2.0")
    sync(full)
    upstream.project("one").set_yanked("1.0", "broken")
    upstream.project("one").vanish(gone.filename)

    sync(full)

    assert full.listed("one") == {"one-1.0-py3-none-any.whl"}
    assert full.page("one")["files"][0]["yanked"] == "broken"
    assert full.file(gone.filename)["stored_at"] is not None


@on_both
def test_gone_from_the_root_list_and_404_is_deleted(full: Deployment, upstream: FakeUpstream) -> None:
    sync(full)
    upstream.forget("two")

    assert sync(full)["outcome"] == "ok"

    assert full.project("two")["state"] == "deleted"
    assert full.listed("two") == set()


def test_gone_from_the_root_list_alone_is_not(full: Deployment, upstream: FakeUpstream) -> None:
    sync(full)
    listed = {"meta": {"api-version": "1.4"}, "projects": [{"name": "one", "_last-serial": 1}]}
    upstream.fail("/", body=json.dumps(listed).encode(), content_type="application/vnd.pypi.simple.v1+json")

    sync(full)

    assert full.project("two")["state"] == "present"
    assert full.listed("two") == {"two-1.0-py3-none-any.whl"}


@on_both
def test_one_bad_project_stops_no_other_and_is_named(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("two", body=b"no page", content_type="application/json")

    summary = sync(full)

    assert summary["outcome"] == "partial"
    assert [(left["project"], left["attempts"] > 0) for left in summary["left"]] == [("two", True)]
    assert names(full) == {"one", "three"}
    upstream.heal()
    upstream.requests.clear()
    assert sync(full)["outcome"] == "ok"
    assert [seen.target for seen in upstream.requests] == ["/", "two", "two-1.0-py3-none-any.whl"]


@on_both
def test_a_page_older_than_the_root_list_is_left_for_the_next_time(
    full: Deployment, upstream: FakeUpstream
) -> None:
    sync(full)
    old = json.dumps(upstream.project("two").document()).encode()
    upstream.project("two").release("2.0")
    upstream.fail("two", body=old, content_type="application/vnd.pypi.simple.v1+json")

    stale = sync(full)

    assert stale["outcome"] == "partial"
    assert "older than serial" in stale["left"][0]["problem"]
    assert upstream.seen("two")[-1].headers["cache-control"] == "no-cache"
    assert stale["lag_serials"] > 0
    upstream.heal()
    assert sync(full)["outcome"] == "ok"
    assert full.file("two-2.0-py3-none-any.whl")["stored_at"] is not None


@on_both
def test_serials_that_went_backwards_are_an_alarm_until_they_are_reset(
    full: Deployment, upstream: FakeUpstream
) -> None:
    sync(full)
    for number, project in enumerate(upstream.projects.values(), 1):
        project.serial = number

    alarmed = sync(full)

    assert "went backwards" in alarmed["alarm"]
    assert (alarmed["outcome"], alarmed["problem"]) == ("partial", alarmed["alarm"])
    assert alarmed["in_step_at"] < alarmed["begun_at"]
    assert [event["subject"] for event in full.events("upstream.alarm")] == ["upstream"]
    full.koschey.sync.reset("upstream", actor="test")
    [known] = full.rows("SELECT alarm, root_etag, root_serial, compared_at FROM sync_state")
    assert set(known.values()) == {None}
    after = sync(full)
    assert (after["outcome"], after["alarm"]) == ("ok", None)
    assert full.project("one")["upstream_serial"] == 1


@on_both
def test_a_reset_and_a_move_forget_what_was_due_and_the_root_list(
    full: Deployment, upstream: FakeUpstream
) -> None:
    moved = UpstreamSpec(url=upstream.simple_url + "other/")
    for forget in (
        lambda: full.koschey.sync.reset("upstream", actor="test"),
        lambda: full.koschey.indexes.edit_upstream("upstream", moved, actor="test"),
    ):
        upstream.fail("one", status=500)
        sync(full)
        assert full.rows("SELECT name FROM sync_due") != []
        forget()
        assert full.rows("SELECT name FROM sync_due") == []
        assert full.rows("SELECT root_etag FROM sync_state") == [{"root_etag": None}]


@on_both
def test_a_sync_that_runs_is_not_reset_for_it_would_put_back_what_it_read(full: Deployment) -> None:
    sync(full)
    [source] = full.koschey.configuration.upstreams()
    ended = pytest.raises(Conflict, match=r"runs already .* when that has ended")
    with full.koschey.locks.hold(lock_name(source.id), 0.0), ended:
        full.koschey.sync.reset("upstream", actor="test")
    assert full.events("upstream.reset") == []

    full.koschey.sync.reset("upstream", actor="test")
    assert len(full.events("upstream.reset")) == 1


@on_both
def test_a_seed_of_any_file_name_is_no_list_and_no_dependency(
    here: Deployment, upstream: FakeUpstream
) -> None:
    seeds = (SeedFile("names", "app\nlib\n"), SeedFile("dependency of app", "other\n"))
    keep(here, mode=Mode.INDEX, names="app\n", seeds=seeds)
    kept = here.koschey.keeping.describe()["upstream"]["names"]
    assert kept == {"names": 1, "./names": 2, "./dependency of app": 1}
    keep(here, names="")
    assert set(here.koschey.keeping.describe()["upstream"]["names"]) == {"./names", "./dependency of app"}
    keep(here, seeds=())
    assert here.koschey.keeping.describe()["upstream"]["names"] == {}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"down": True},
        {"body": b"<html>sign in</html>", "content_type": "application/json"},
        {"body": b'{"meta":{"api-version":"1.0"},"projects":[]}', "content_type": "application/json"},
        {"body": b'{"meta":{"api-version":"2.0"},"projects":[]}', "content_type": "application/json"},
        {"body": b"[" * 100_000, "content_type": "application/json"},
        {"cut": 20},
    ],
    ids=["500", "down", "html-as-json", "empty", "version-2", "deep", "cut"],
)
def test_a_root_list_that_cannot_be_believed_changes_nothing(
    full: Deployment, upstream: FakeUpstream, fault: dict[str, Any]
) -> None:
    sync(full)
    upstream.project("four").release("1.0")
    upstream.fail("/", **fault)

    with pytest.raises(UpstreamError):
        sync(full)

    assert names(full) == {"one", "two", "three"}
    assert full.koschey.sync.status("upstream")[0]["outcome"] == "failed"
    upstream.heal()
    assert sync(full)["outcome"] == "ok"
    assert "four" in names(full)


def test_a_page_suddenly_empty_keeps_the_files_and_is_named(full: Deployment, upstream: FakeUpstream) -> None:
    for minor in range(1, 6):
        upstream.project("one").release(f"1.{minor}")
    sync(full)
    upstream.project("one").files.clear()
    upstream.project("one").touch()

    summary = sync(full)

    assert summary["left"][0]["project"] == "one"
    assert len(full.listed("one")) == 6
    sync(full)
    [event] = full.events("project.suddenly_empty")
    assert (event["project"], event["before"]) == ("one", "6 files")


def test_a_wrong_file_is_never_stored(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("two-1.0-py3-none-any.whl", body=b"other bytes")

    summary = sync(full)

    assert (summary["outcome"], summary["files"]["failed"]) == ("partial", 1)
    assert full.file("two-1.0-py3-none-any.whl")["stored_at"] is None
    upstream.heal()
    assert sync(full)["outcome"] == "ok"
    assert full.file("two-1.0-py3-none-any.whl")["stored_at"] is not None


@on_both
def test_an_upstream_without_serials_is_asked_by_etag(deploy: Deploy, upstream: FakeUpstream) -> None:
    upstream._serials = lambda _: None
    for name in ("one", "two"):
        upstream.project(name).release("1.0")
    here = deploy()
    keep(here, mode=Mode.INDEX)
    sync(here)
    upstream.project("two").release("2.0")

    summary = sync(here)

    assert (summary["outcome"], summary["unchanged"]) == ("ok", 1)
    assert len(here.rows("SELECT 1 FROM file")) == 3


@on_both
def test_the_default_mode_keeps_what_was_asked_for_without_the_root_list(
    here: Deployment, upstream: FakeUpstream
) -> None:
    for name in ("asked", "never"):
        upstream.project(name).release("1.0")
    here.page("asked")
    upstream.project("asked").release("2.0")

    summary = sync(here)

    assert summary["outcome"] == "ok"
    assert names(here) == {"asked"}
    assert upstream.count("/") == 0
    assert len(here.rows("SELECT 1 FROM file")) == 2


def test_proxy_keeps_nothing_in_step(here: Deployment) -> None:
    keep(here, mode=Mode.PROXY)

    with pytest.raises(Conflict, match="--mode"):
        sync(here)


def test_two_syncs_of_one_upstream_never_run_at_once(full: Deployment) -> None:
    source = full.koschey.sync.source("upstream")
    with (
        full.koschey.locks.hold(f"sync:{source.id}", 1.0),
        pytest.raises(Conflict, match="runs already"),
    ):
        sync(full)


def test_an_upstream_that_asks_for_peace_gets_it(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("*", status=429, retry_after=900)

    with pytest.raises(UpstreamError):
        sync(full)
    seen = len(upstream.requests)
    upstream.heal()
    with pytest.raises(UpstreamError, match="left alone"):
        sync(full)

    assert len(upstream.requests) == seen


@on_both
def test_filters_choose_names_and_files(here: Deployment, upstream: FakeUpstream) -> None:
    for version in ("1.0", "2.0", "3.0", "4.0rc1"):
        upstream.project("acme-one").release(version)
    upstream.project("acme-tests").release("1.0")
    upstream.project("other").release("1.0")
    keep(
        here,
        mode=Mode.FULL,
        include=("Acme_*",),
        exclude=("*-tests",),
        newest=2,
        prereleases=False,
    )
    preview = here.koschey.sync_preview.of("upstream")

    sync(here)

    assert (preview["projects"], preview["left_out"]) == (1, 2)
    assert names(here) == {"acme-one"}
    stored = here.rows("SELECT version FROM file WHERE stored_at IS NOT NULL ORDER BY version")
    assert [row["version"] for row in stored] == ["2.0", "3.0"]
    after = here.koschey.sync_preview.of("upstream")
    assert (after["files"], after["stored"], after["bytes"] > 0) == (2, 2, True)


@on_both
def test_other_filters_choose_files_of_known_pages_anew(here: Deployment, upstream: FakeUpstream) -> None:
    for version in ("1.0", "2.0"):
        upstream.project("one").release(version)
    keep(here, mode=Mode.FULL, newest=1)
    sync(here)

    keep(here, newest=0)
    sync(here)

    assert len(here.rows("SELECT 1 FROM file WHERE stored_at IS NOT NULL")) == 2
    assert upstream.count("one-2.0-py3-none-any.whl") == 1


@on_both
def test_a_seed_is_kept_with_what_it_requires(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.project("app").release("1.0", requires=["lib>=2", "extra; extra == 'more'"])
    upstream.project("app").release("2.0", requires=["lib>=2"])
    for version in ("1.0", "2.0"):
        upstream.project("lib").release(version, requires=["base"])
    upstream.project("base").release("1.0")
    upstream.project("extra").release("1.0")
    keep(here, mode=Mode.FULL, seeds=(SeedFile("requirements.txt", "app==1.0\n"),))

    summary = sync(here)

    assert summary["outcome"] == "ok"
    assert names(here) == {"app", "lib", "base"}
    stored = {row["filename"] for row in here.rows("SELECT filename FROM file WHERE stored_at IS NOT NULL")}
    assert stored == {f"{each}-py3-none-any.whl" for each in ("app-1.0", "lib-2.0", "base-1.0")}
    assert upstream.count("/") == 0


def stored(here: Deployment) -> set[str]:
    rows = here.rows("SELECT filename FROM file WHERE stored_at IS NOT NULL")
    return {row["filename"].removesuffix("-py3-none-any.whl") for row in rows}


@on_both
def test_the_files_of_a_page_that_a_client_asked_for_are_stored_too(
    full: Deployment, upstream: FakeUpstream
) -> None:
    sync(full)
    upstream.project("four").release("1.0", sidecar=False)
    full.look("four")
    summary = sync(full)

    assert summary["outcome"] == "ok"
    assert stored(full) == {"one-1.0", "two-1.0", "three-1.0", "four-1.0"}


@on_both
def test_a_file_that_its_upstream_has_no_more_is_not_asked_for_for_ever(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("two").release("2.0")
    targets = [f"{each}-py3-none-any.whl" for each in ("one-1.0", "two-1.0", "three-1.0")]
    for target in targets:
        upstream.fail(target, status=404)
    assert len(sync(full)["left"]) == 3

    upstream.forget("one")
    upstream.project("two").vanish(targets[1])
    upstream.project("three").set_status("quarantined", "malware")
    summary = sync(full)

    assert (summary["outcome"], summary["left"]) == ("ok", [])
    upstream.heal()
    upstream.project("three").set_status("active")
    sync(full)
    assert stored(full) == {"two-2.0", "three-1.0"}


@on_both
def test_files_of_what_was_only_asked_for_stay_on_demand(here: Deployment, upstream: FakeUpstream) -> None:
    here.koschey.queue.close()  # a check would store the file that it looks into
    for name in ("one", "two", "three"):
        upstream.project(name).release("1.0")
    keep(here, mode=Mode.FULL, include=("one", "three"))
    for name in ("two", "three"):
        here.look(name)
    preview = here.koschey.sync_preview.of("upstream")
    sync(here)

    assert names(here) == {"one", "two", "three"}
    assert (preview["projects"], preview["known"], preview["files"]) == (3, 2, 1)
    assert preview["estimated"]["files"] == 2
    assert stored(here) == {"one-1.0", "three-1.0"}

    upstream.project("two").release("2.0")  # within its hold: stored to be checked, not by the sync
    keep(here, exclude=("three",))
    assert sync(here)["files"]["due"] == 0


@on_both
def test_what_is_required_late_is_there_after_the_first_sync(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("app").release("1.0", requires=["base==1.0", "lib", "nowhere"])
    upstream.project("lib").release("1.0", requires=["late"])
    upstream.project("late").release("1.0", requires=["base==2.0"])
    for version in ("1.0", "2.0", "3.0"):
        upstream.project("base").release(version)
    upstream.project("whole").release("1.0")
    seeds = (SeedFile("requirements.txt", "app\n"),)

    keep(here, mode=Mode.FULL, include=("whole",), seeds=seeds)  # by the root list
    assert sync(here)["outcome"] == "ok"

    assert stored(here) == {"app-1.0", "lib-1.0", "late-1.0", "base-1.0", "base-2.0", "whole-1.0"}
    assert upstream.count("nowhere") == 1
    upstream.requests.clear()
    assert sync(here)["outcome"] == "ok"
    assert [request.target for request in upstream.requests] == ["/"]


def test_what_fails_is_asked_for_twice_and_not_in_each_round_of_dependencies(
    here: Deployment, upstream: FakeUpstream
) -> None:
    for number in range(6):
        upstream.project(f"dep-{number}").release("1.0", requires=[f"dep-{number + 1}"])
    upstream.project("broken").release("1.0")
    for name in ("broken", "dep-5"):
        upstream.fail(name, status=500)
    seeds = (SeedFile("requirements.txt", "dep-0\nbroken\n"),)
    keep(here, mode=Mode.INDEX, seeds=seeds)

    assert sync(here)["outcome"] == "partial"

    assert (upstream.count("broken"), upstream.count("dep-4"), upstream.count("dep-5")) == (2, 1, 2)


@on_both
def test_a_page_that_changed_without_its_serial_is_found_when_every_page_is_asked_for(
    full: Deployment, upstream: FakeUpstream
) -> None:
    one = upstream.project("one")
    for number in range(30):  # more than what is looked at once more
        upstream.project(f"more-{number}").release("1.0")
    sync(full)
    serial = one.serial
    one.release("2.0")
    one.serial = serial
    upstream.project("two").touch()

    sync(full)
    assert "one-2.0" not in stored(full)
    sync(full, afresh=True)
    assert "one-2.0" in stored(full)


def test_a_root_list_that_lost_much_is_believed_of_what_each_page_confirms(
    here: Deployment, upstream: FakeUpstream
) -> None:
    for number in range(130):
        upstream.project(f"one-{number}").release("1.0")
    keep(here, mode=Mode.INDEX)
    sync(here)
    for number in range(120):
        upstream.forget(f"one-{number}")

    alarmed = sync(here)
    assert ("koschey sync upstream --full" in alarmed["alarm"], len(names(here))) == (True, 130)
    sync(here, afresh=True)
    assert (sync(here)["outcome"], len(names(here))) == ("ok", 10)


@on_both
def test_what_is_required_is_read_out_of_files_where_nothing_lies_beside_them(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("app").release("1.0", requires=["lib"], sidecar=False)
    upstream.project("lib").release("1.0", requires=["base"], wheel=False, sdist=True)
    upstream.project("base").release("1.0", requires=["end"])
    upstream.project("end").release("1.0")
    upstream.fail("base-1.0-py3-none-any.whl.metadata", status=404)
    keep(here, mode=Mode.INDEX, seeds=(SeedFile("requirements.txt", "app\n"),))

    summary = sync(here)

    assert (summary["outcome"], names(here)) == ("ok", {"app", "lib", "base", "end"})
    assert summary["requests"] == len(upstream.requests)


def test_a_seed_of_which_it_cannot_be_told_what_it_requires_is_not_in_step(
    here: Deployment, upstream: FakeUpstream
) -> None:
    app = upstream.project("app").release("1.0", requires=["lib"], sidecar=False)
    upstream.project("lib").release("1.0")
    upstream.fail(app.filename, status=404)
    keep(here, mode=Mode.INDEX, seeds=(SeedFile("requirements.txt", "app\n"),))

    summary = sync(here)

    assert (summary["outcome"], app.filename in summary["problem"]) == ("partial", True)
    assert upstream.count(app.filename) == 1
    upstream.heal()
    assert (sync(here)["outcome"], names(here)) == ("ok", {"app", "lib"})


def test_what_each_demand_on_a_name_requires_is_kept(here: Deployment, upstream: FakeUpstream) -> None:
    for number in range(1, 5):
        upstream.project("app").release(f"{number}.0", requires=[f"for-{number}"])
        upstream.project(f"for-{number}").release("1.0")
    seeds = (SeedFile("requirements.txt", "app==1.0\napp==3.0\napp==4.0\n"),)
    keep(here, mode=Mode.INDEX, seeds=seeds)

    sync(here)

    assert names(here) == {"app", "for-1", "for-3", "for-4"}


@on_both
def test_a_name_may_be_in_a_list_and_in_a_seed_and_stays_while_one_of_them_has_it(
    here: Deployment, upstream: FakeUpstream
) -> None:
    for version in ("1.0", "2.0"):
        upstream.project("app").release(version, requires=["lib"])
    upstream.project("lib").release("1.0", requires=["base"])
    for name in ("base", "other"):
        upstream.project(name).release("1.0")
    keep(here, mode=Mode.FULL, names="app\nlib\n", seeds=(SeedFile("requirements.txt", "app==1.0\n"),))
    kept = here.koschey.keeping.describe()["upstream"]["names"]

    assert kept == {"names": 2, "requirements.txt": 1}
    sync(here)
    assert names(here) == {"app", "lib", "base"}

    keep(here, names="other\n")
    source = here.koschey.sync.source("upstream")
    assert here.koschey.keeping.names(source.id) == {
        "app": ["==1.0"],
        "base": [""],
        "lib": [""],
        "other": [""],
    }
    keep(here, seeds=())
    assert here.koschey.keeping.names(source.id) == {"other": [""]}


def test_a_list_that_cannot_be_read_changes_nothing(here: Deployment) -> None:
    with pytest.raises(RequestInvalid, match="line 2"):
        keep(here, mode=Mode.FULL, names="fine\n../evil\n")

    assert here.koschey.keeping.describe()["upstream"]["mode"] == "known"


def test_names_of_the_company_are_never_asked_for(full: Deployment, upstream: FakeUpstream) -> None:
    full.koschey.names.reserve("tw*", index=None, reason="ours", actor="test")

    summary = sync(full)

    assert summary["outcome"] == "ok"
    assert upstream.count("two") == 0
    assert names(full) == {"one", "three"}


def test_many_projects_that_fail_for_ever_hold_up_no_other(here: Deployment, upstream: FakeUpstream) -> None:
    for number in range(60):
        upstream.project(f"p{number:02}").release("1.0")
    keep(here, mode=Mode.FULL)
    for number in range(30):
        upstream.fail(f"p{number:02}", status=500)
    for _ in range(3):
        summary = sync(here)
    assert names(here) == {f"p{number:02}" for number in range(30, 60)}
    assert here.rows("SELECT 1 FROM file WHERE stored_at IS NULL") == []
    assert (summary["outcome"], len(here.rows("SELECT 1 FROM sync_due"))) == ("partial", 30)

    upstream.projects["p45"].release("2.0")
    sync(here)
    assert here.file("p45-2.0-py3-none-any.whl")["stored_at"]

    upstream.heal("p07")
    for _ in range(3):
        sync(here)
    assert "p07" in names(here)


def test_many_files_that_fail_for_ever_hold_up_no_other(here: Deployment, upstream: FakeUpstream) -> None:
    bad = [upstream.project("bad").release(f"{number}.0") for number in range(45)]
    keep(here, mode=Mode.FULL)
    for file in bad:
        upstream.fail(file.filename, status=500)
    sync(here)
    good = upstream.project("good").release("1.0")

    for _ in range(2):
        summary = sync(here)

    assert here.file(good.filename)["stored_at"]
    assert summary["outcome"] == "partial"
    assert {left["filename"] for left in summary["left"]} < {file.filename for file in bad}
    assert [(left["project"], "500" in left["problem"]) for left in summary["left"]] == [("bad", True)] * 20


@on_both
def test_a_page_that_asks_for_peace_for_ever_holds_up_no_other_and_no_file(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.fail("one", status=503, retry_after=3600)
    for _ in range(2):
        summary = sync(full)
        assert (summary["outcome"], summary["paused_until"]) == ("partial", None)
        assert [left["project"] for left in summary["left"]] == ["one"]
    assert names(full) == {"two", "three"}
    assert full.rows("SELECT 1 FROM file WHERE stored_at IS NULL") == []
    assert upstream.count("one") == 1  # its own word is kept


def test_a_short_peace_that_all_pages_ask_for_is_waited_for(deploy: Deploy, upstream: FakeUpstream) -> None:
    """Longer than the request of one page could wait: that is no outage."""
    here = deploy(page_deadline=1.0)
    for number in range(24):
        upstream.project(f"page-{number}").release("1.0")
    keep(here, mode=Mode.INDEX, connections=12)
    for number in range(24):
        upstream.fail(f"page-{number}", status=429, retry_after=2, times=1)

    summary = sync(here)

    assert (summary["outcome"], summary["projects"]["done"]) == ("ok", 24), summary["problem"]


@pytest.mark.parametrize("size", [10, 2_000_000], ids=["small", "large"])
def test_files_that_ask_for_minutes_of_peace_keep_no_sync_waiting(
    deploy: Deploy, upstream: FakeUpstream, size: int
) -> None:
    here = deploy(upstream_retries=2)
    for number in range(4):
        upstream.project("one").release(f"{number}.0", payload=os.urandom(size))
    keep(here, mode=Mode.FULL, connections=1)
    for number in range(4):
        upstream.fail(f"one-{number}.0-py3-none-any.whl", status=429, retry_after=90)
    begun = now()

    summary = sync(here)

    assert now() - begun < 60e6
    assert (summary["outcome"], summary["paused_until"] is not None) == ("paused", True)


def test_files_that_ask_for_peace_for_ever_hold_up_no_other(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("one-1.0-py3-none-any.whl", status=429, retry_after=3600)
    assert sync(full)["outcome"] == "partial"
    assert len(full.rows("SELECT 1 FROM file WHERE stored_at IS NOT NULL")) == 2


def test_an_upstream_whose_root_list_asks_for_peace_is_left_alone(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.fail("/", status=503, retry_after=900)
    with pytest.raises(UpstreamError):
        sync(full)
    [status] = full.koschey.sync.status("upstream")
    assert status["outcome"] == "paused"
    assert status["paused_until"] > now() + 600e6


def test_a_root_list_that_asks_for_minutes_of_peace_keeps_no_sync_waiting(
    deploy: Deploy, upstream: FakeUpstream
) -> None:
    """Also where its request could be repeated before its deadline."""
    here = deploy(upstream_retries=2, root_deadline=600.0)
    keep(here, mode=Mode.FULL)
    upstream.fail("/", status=429, retry_after=90)

    begun = now()
    with pytest.raises(UpstreamError):
        sync(here)

    assert now() - begun < 60e6
    assert here.koschey.sync.status("upstream")[0]["paused_until"] > begun + 60e6


@on_both
def test_the_schedule_asks_ever_later_for_what_fails_and_a_person_at_once(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.fail("one", status=500)
    upstream.fail("two-1.0-py3-none-any.whl", body=b"other bytes")
    sync(full, patient=True)
    pauses = []
    for _ in range(3):
        sync(full, patient=True)
        rows = full.rows("SELECT retry_at FROM sync_due UNION ALL SELECT retry_at FROM sync_file")
        pauses.append([round((row["retry_at"] - now()) / 60e6) for row in rows])
        seen = upstream.count("one"), upstream.count("two-1.0-py3-none-any.whl")
        sync(full, patient=True)
        assert seen == (upstream.count("one"), upstream.count("two-1.0-py3-none-any.whl"))
        full.execute("UPDATE sync_due SET retry_at = 1")
        full.execute("UPDATE sync_file SET retry_at = 1")
    assert pauses == [[5, 5], [10, 10], [20, 20]]
    full.execute("UPDATE sync_due SET attempts = 60")
    sync(full, patient=True)
    [due] = full.rows("SELECT retry_at FROM sync_due")
    assert 23 < (due["retry_at"] - now()) / 3600e6 <= 24

    upstream.heal()
    assert sync(full, patient=True)["outcome"] == "partial"
    assert sync(full)["outcome"] == "ok"


def test_what_a_person_begins_and_does_not_wait_for_asks_at_once_for_what_failed(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.fail("one", status=500)
    for _ in range(2):  # once is no failure that is left alone for a while
        assert sync(full)["outcome"] == "partial"
    upstream.heal()

    full.koschey.sync.start("upstream")

    deadline = now() + 30e6
    while names(full) != {"one", "two", "three"}:
        assert now() < deadline, full.koschey.sync.status("upstream")
        time.sleep(0.05)


def test_what_is_left_is_told_by_its_first(full: Deployment, upstream: FakeUpstream) -> None:
    """Pages before files, each with what is wrong."""
    upstream.fail("two-1.0-py3-none-any.whl", body=b"other bytes")
    assert sync(full)["problem"].startswith("1 file is left, such as two-1.0-py3-none-any.whl: ")
    upstream.project("one").release("2.0")
    upstream.fail("one", status=500)
    problem = sync(full)["problem"]
    assert problem.startswith("1 project and 1 file are left, such as one: ") and "answered 500" in problem


def test_a_preview_of_other_filters_changes_nothing_and_ends_in_time(
    full: Deployment, upstream: FakeUpstream
) -> None:
    sync(full)
    source = full.koschey.sync.source("upstream")

    found = full.koschey.sync_preview.of(
        "upstream", KeepSpec(mode=Mode.FULL, include=("one",), kinds=("sdist",))
    )

    assert (found["files"], found["whole"]) == (0, True)
    assert full.koschey.sync_preview.of("upstream")["files"] == 3
    assert full.koschey.sync.source("upstream") == source
    with pytest.raises(UpstreamError, match="not answered whole"):
        full.koschey.sync_preview.of("upstream", seconds=0.0)


def test_nothing_is_begun_that_would_come_to_nothing(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("/", status=503, retry_after=900)
    with pytest.raises(UpstreamError):
        sync(full)
    with pytest.raises(Conflict, match="asked to be left alone for"):
        full.koschey.sync.start("upstream")
    keep(full, mode=Mode.PROXY)
    with pytest.raises(Conflict, match="keeps nothing in step"):
        full.koschey.sync.start("upstream")


@on_both
def test_a_serial_that_a_root_list_promised_by_mistake_is_forgotten_with_it(
    full: Deployment, upstream: FakeUpstream
) -> None:
    sync(full)
    right = upstream.project("two").serial
    upstream.project("two").freeze()
    upstream.project("two").serial = 2**62
    assert sync(full)["outcome"] == "partial"

    upstream.project("two").serial = right
    upstream.project("two").thaw()

    assert sync(full)["outcome"] == "ok"
    assert full.rows("SELECT 1 FROM sync_due") == []


def test_one_project_without_a_serial_costs_no_whole_root_list(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("two").serial = None
    sync(full)
    upstream.requests.clear()

    summary = sync(full)

    assert [(seen.target, summary["unchanged"]) for seen in upstream.requests] == [("/", 1)]
    upstream.project("two").release("2.0")
    upstream.project("two").serial = None
    sync(full, afresh=True)
    assert full.file("two-2.0-py3-none-any.whl")["stored_at"]


def test_names_that_are_none_in_a_root_list_cost_only_themselves(
    full: Deployment, upstream: FakeUpstream
) -> None:
    evil: list[object] = ["../x", "a/b", "\x00", "x\r\ny", "-x", "x" * 300, "é", "", 7, None, {"a": 1}, ["a"]]
    listed = [{"name": p.name, "_last-serial": p.serial} for p in upstream.projects.values()]
    listed += [{"name": name, "_last-serial": 5} for name in evil] + [{"_last-serial": 5}]
    body = json.dumps({"meta": {"api-version": "1.4"}, "projects": listed}).encode()
    upstream.fail("/", body=body, content_type="application/vnd.pypi.simple.v1+json")
    with capture_logs() as logs:
        assert sync(full)["outcome"] == "ok"
    assert names(full) == {"one", "two", "three"}
    [refused] = [line for line in logs if line["event"] == "upstream.root_names_refused"]
    assert refused["names"] == len(evil) + 1


def test_a_page_that_cannot_be_had_is_a_line_in_the_log(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("two", body=b"<html>sorry</html>", content_type="text/html")
    with capture_logs() as logs:
        sync(full)
    [line] = [line for line in logs if line["event"] == "sync.page_failed"]
    assert line["project"] == "two" and "not usable" in line["problem"]


@pytest.mark.parametrize(
    ("listed", "event"), [({}, "sync.file_failed"), ({"size": 2**21}, "file.download_failed")]
)
def test_a_file_that_cannot_be_had_is_one_line_in_the_log(
    full: Deployment, upstream: FakeUpstream, listed: dict[str, int], event: str
) -> None:
    """A small one comes by one plain exchange, a large one as a download, which has its own line."""
    [wheel] = upstream.project("two").files.values()
    wheel.listed = listed
    upstream.fail(wheel.filename, body=b"other bytes")
    with capture_logs() as logs:
        sync(full)
    lines = [line for line in logs if line.get("filename") == wheel.filename and "problem" in line]
    assert [(line["event"], line["upstream"]) for line in lines] == [(event, "upstream")]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [({"status": 500}, "failed"), ({"status": 503, "retry_after": 600}, "paused")],
    ids=["away", "wants-peace"],
)
def test_a_host_of_files_that_is_away_keeps_none_of_others_waiting(
    here: Deployment, upstream: FakeUpstream, fault: dict[str, Any], outcome: str
) -> None:
    with FakeUpstream() as bad:
        for number in range(30):
            wheel = upstream.project(f"a{number:02}").release("1.0")
            elsewhere = bad.project(f"a{number:02}").release("1.0")
            wheel.listed = {"url": elsewhere.url}
        for name in ("b", "c"):
            upstream.project(name).release("1.0")
        here.execute("UPDATE source SET internal = true WHERE kind = 'upstream'")
        keep(here, mode=Mode.FULL, connections=4)
        bad.fail("*", **fault)

        summary = sync(here)

        assert (summary["outcome"], summary["files"]["done"]) == (outcome, 2)
        assert here.file("c-1.0-py3-none-any.whl")["stored_at"] is not None
        here.look("b")  # its pages are asked for all the same

        bad.heal()
        here.execute("UPDATE sync_state SET paused_until = NULL")
        if outcome == "failed":
            assert sync(here)["outcome"] == "ok"


def test_a_file_that_somebody_else_downloads_for_ever_holds_up_no_other(
    full: Deployment, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(_: object, file: FileLook, *__: object) -> None:
        raise Busy(f"the download of {file.filename}")

    monkeypatch.setattr(Downloads, "fetch", fetch)
    [wheel] = upstream.project("two").files.values()
    wheel.listed = {"size": 2**21}

    summary = sync(full)

    assert summary["outcome"] == "partial"
    [left] = summary["left"]
    assert left["filename"] == wheel.filename and "the download of" in left["problem"]
    assert summary["files"]["done"] == 2


@pytest.mark.parametrize("etag", ["*", '"a", "b"', f'"{"x" * 2000}"', "W/"])
def test_what_is_no_entity_tag_is_no_condition(full: Deployment, upstream: FakeUpstream, etag: str) -> None:
    """``*`` matches every page for ever, and what is too long for a request is refused for ever."""
    for target in ("one", "/"):
        upstream.fail(target, headers={"ETag": etag})
    sync(full)
    upstream.project("one").release("2.0")
    upstream.requests.clear()

    assert sync(full)["outcome"] == "ok"

    asked = [seen for target in ("one", "/") for seen in upstream.seen(target)]
    assert len(asked) == 2
    assert not any("if-none-match" in seen.headers for seen in asked)


def test_another_serial_is_another_try(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("one", status=500)
    for _ in range(3):
        sync(full)
    upstream.heal()
    assert sync(full, patient=True)["outcome"] == "partial"
    upstream.project("one").release("2.0")
    assert sync(full, patient=True)["outcome"] == "ok"


@on_both
@pytest.mark.parametrize(
    ("fetched_first", "wrong"), [(True, {}), (True, {"size": 7}), (True, {"size": 2**21}), (False, {})]
)
def test_a_file_listed_with_a_wrong_digest_is_had_once_the_page_is_right(
    full: Deployment, upstream: FakeUpstream, fetched_first: bool, wrong: dict[str, int]
) -> None:
    [wheel] = upstream.project("two").files.values()
    wheel.listed = {"hashes": {"sha256": "0" * 64}} | wrong
    upstream.project("two").touch()
    if not fetched_first:
        upstream.fail(wheel.filename, status=500)
    assert sync(full)["outcome"] == "partial"

    wheel.listed = {}
    upstream.project("two").touch()
    upstream.heal()
    for _ in range(3):
        sync(full)

    assert sync(full)["outcome"] == "ok"
    row = full.file(wheel.filename)
    assert (row["sha256"], row["stored_at"] is not None) == (wheel.sha256, True)
    actions = [event["action"] for event in full.events() if event["subject"] == wheel.filename]
    assert "file.wrong_bytes" in actions and "file.digest_put_right" in actions
    # A new file, whose date is older than the look before: its hold begins now.
    assert wheel.filename not in full.listed("two")


def test_the_digest_of_a_file_that_was_stored_never_changes(full: Deployment, upstream: FakeUpstream) -> None:
    [wheel] = upstream.project("two").files.values()
    known = wheel.sha256
    sync(full)
    full.execute("UPDATE file SET stored_at = NULL")
    with full.koschey.database.transaction() as tx:
        tx.record("file.evicted", actor="test", project="two", subject=wheel.filename)
    wheel.content += b"tampered"
    upstream.project("two").touch()

    sync(full, afresh=True)
    full.execute(
        "INSERT INTO sync_file (file_id, source_id, attempts) SELECT f.id, p.source_id, 0 FROM file f "
        "JOIN project p ON p.id = f.project_id WHERE filename = :name ON CONFLICT DO NOTHING",
        name=wheel.filename,
    )
    for _ in range(2):
        upstream.project("two").touch()
        sync(full)

    assert full.file(wheel.filename)["sha256"] == known
    assert "file.wrong_bytes" in [event["action"] for event in full.events()]


@pytest.mark.parametrize("peace", ["99999999999", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_no_word_of_an_upstream_ends_its_syncs_for_years(
    full: Deployment, upstream: FakeUpstream, peace: str
) -> None:
    for name in ("one", "two", "three"):
        upstream.fail(name, status=429, retry_after=peace, times=1)
    summary = sync(full)
    assert summary["outcome"] == "paused"
    assert summary["paused_until"] - now() <= LONGEST_PAUSE * 1e6


def test_a_root_list_that_cannot_be_used_is_counted(full: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("/", status=500)
    with pytest.raises(UpstreamError):
        sync(full)
    upstream.fail("/", body=b"{" + b" " * 5_000)
    with pytest.raises(UpstreamError):
        sync(full)
    [status] = full.koschey.sync.status("upstream")
    assert status["total"]["requests"] == len(upstream.requests) == 2
    assert status["total"]["bytes"] >= 5_000


def aged(here: Deployment, pattern: str = "%", days: int = 40) -> None:
    """Have the pages of those names been looked at for the last time so long ago."""
    at = now() - days * 86_400_000_000
    here.execute("UPDATE project SET looked_at = :at WHERE name LIKE :pattern", at=at, pattern=pattern)


@on_both
def test_pages_that_fail_for_longer_than_a_month_hold_up_no_other(
    here: Deployment, upstream: FakeUpstream
) -> None:
    for number in range(45):
        upstream.project(f"bad-{number:02}")
    upstream.project("good").release("1.0")
    keep(here, mode=Mode.INDEX)
    sync(here)
    aged(here, "bad-%")
    for number in range(45):
        upstream.project(f"bad-{number:02}").release("1.0")
        upstream.fail(f"bad-{number:02}", status=500)

    wheel = upstream.project("good").release("2.0")
    for _ in range(3):
        with suppress(UpstreamError):
            sync(here, patient=True)

    assert here.file(wheel.filename)["filename"]
    assert min(row["attempts"] for row in here.rows("SELECT attempts FROM sync_due")) > 0


@on_both
def test_a_page_older_than_the_root_list_stays_so_however_long_ago_it_was_looked_at(
    full: Deployment, upstream: FakeUpstream
) -> None:
    sync(full)
    upstream.project("two").freeze()
    upstream.project("two").release("2.0")
    assert sync(full)["outcome"] == "partial"
    aged(full)

    upstream.project("one").release("2.0")  # or the root list would not be compared
    summary = sync(full)

    assert (summary["outcome"], [left["project"] for left in summary["left"]]) == ("partial", ["two"])
    assert summary["left"][0]["attempts"] > 1
    upstream.project("two").thaw()
    assert sync(full)["outcome"] == "ok"
    assert full.file("two-2.0-py3-none-any.whl")["stored_at"]


@on_both
def test_pages_that_no_serial_speaks_of_are_asked_for_again_the_oldest_first(
    here: Deployment, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are excluded, or fail, take nobody's place."""
    monkeypatch.setattr(sync_choosing, "_OLD_AT_ONCE", 2)
    monkeypatch.setattr(sync_known, "_AT_ONCE", 2)
    for name in (
        "a-out-1",
        "a-out-2",
        "a-out-3",
        "b-bad-1",
        "b-bad-2",
        "c-late",
        "d-first",
        "e-second",
        "new",
    ):
        upstream.project(name)
    for number in range(30):  # so that the last serials are far from those
        upstream.project(f"more-{number}")
    keep(here, mode=Mode.INDEX)
    sync(here)
    keep(here, exclude=("a-out-*",))
    sync(here)
    for pattern, days in (("a-out-%", 90), ("b-bad-%", 80), ("e-%", 60), ("d-%", 70), ("c-%", 50)):
        aged(here, pattern, days)
    for number in (1, 2):
        upstream.project(f"b-bad-{number}").release("1.0")
        upstream.fail(f"b-bad-{number}", status=500)

    asked = []
    for number in range(3):
        upstream.project("new").release(f"{number}.0")  # or the root list would not be compared
        upstream.requests.clear()
        sync(here)
        asked.append(
            {seen.target for seen in upstream.requests if seen.target[:2] in ("a-", "c-", "d-", "e-")}
        )

    assert asked == [{"d-first", "e-second"}, {"c-late"}, set()]


@on_both
def test_what_failed_is_found_without_going_through_what_is_due(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.fail("two", status=500)
    sync(full)
    [due] = full.rows("SELECT source_id FROM sync_due")
    numbers = ", ".join(f"({number})" for number in range(5_000))
    full.execute(
        "INSERT INTO sync_due (source_id, name, why, attempts) SELECT :source, 'due-' || n.number, 'new', 0 "
        f"FROM (WITH numbers (number) AS (VALUES {numbers}) SELECT number FROM numbers) AS n",
        source=due["source_id"],
    )
    on_sqlite = full.koschey.database.engine.dialect.name == "sqlite"
    if not on_sqlite:
        full.execute("ANALYZE sync_due")

    plan = full.rows(
        f"EXPLAIN {'QUERY PLAN' if on_sqlite else ''} {sync_due._FAILED.text}",
        source_id=due["source_id"],
        limit=20,
    )

    assert "ix_sync_due_failed" in str(plan) and "sort" not in str(plan).lower()
    [status] = full.koschey.sync.status("upstream")
    assert [left["project"] for left in status["left"]] == ["two"]


@on_both
def test_files_that_failed_are_left_only_while_files_are_kept(
    full: Deployment, upstream: FakeUpstream
) -> None:
    upstream.fail("one-1.0-py3-none-any.whl", status=500)
    upstream.fail("two", status=500)
    assert {left["project"] for left in sync(full)["left"]} == {"one", "two"}

    keep(full, mode=Mode.INDEX)
    summary = sync(full)

    assert (summary["outcome"], [left["project"] for left in summary["left"]]) == ("partial", ["two"])
    keep(full, mode=Mode.FULL)
    assert {left["project"] for left in sync(full)["left"]} == {"one", "two"}

"""What a look at an upstream's page leaves in the database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from koschey.errors import NotFound
from koschey.services.downloads import Downloads
from koschey.services.upstream_spec import UpstreamSpec
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.running import eventually
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.upstream_pages import ABSENT, Project

DAY = 86_400 * 10**6


@pytest.fixture
def project(upstream: FakeUpstream) -> Project:
    project = upstream.project("sample")
    project.release("1.0")
    return project


@on_both
def test_a_new_file_is_recorded_with_the_times_that_the_quarantine_needs(
    here: Deployment, project: Project
) -> None:
    before = now()
    here.look("sample")
    first = here.file("sample-1.0-py3-none-any.whl")
    here.look("sample")  # without news: it counts as a look all the same
    looked = here.project("sample")["looked_at"]
    project.release("2.0")
    here.look("sample")
    second = here.file("sample-2.0-py3-none-any.whl")

    assert first["previous_look"] is None
    assert before <= first["first_seen"] <= now()
    assert second["previous_look"] == looked > first["first_seen"]
    assert second["first_seen"] > looked
    assert second["upload_time"] == first["upload_time"]


def test_a_reset_forgets_no_look_that_found_a_file(here: Deployment, project: Project) -> None:
    """Otherwise whoever has the upstream's files could date new ones back past the hold."""
    here.look("sample")
    seen = here.file("sample-1.0-py3-none-any.whl")["first_seen"]
    here.koschey.indexes.reset_upstream("upstream", actor="test")
    project.release("0.9")
    here.look("sample")
    assert here.file("sample-0.9-py3-none-any.whl")["previous_look"] == seen
    assert here.listed("sample") == {"sample-1.0-py3-none-any.whl"}


def test_a_404_is_no_look_by_which_the_past_of_a_project_would_be_late(
    here: Deployment, upstream: FakeUpstream
) -> None:
    with pytest.raises(NotFound):
        here.page("missing")
    upstream.project("missing").release("1.0")
    here.look("missing")
    assert here.file("missing-1.0-py3-none-any.whl")["previous_look"] is None
    assert here.listed("missing") == {"missing-1.0-py3-none-any.whl"}


def test_a_look_without_news_changes_neither_serial_nor_journal(here: Deployment, project: Project) -> None:
    here.look("sample")
    serial = here.project("sample")["serial"]

    here.look("sample")
    project.touch()  # the page is sent again, and says the same
    here.look("sample")

    assert here.project("sample")["serial"] == serial
    assert here.events() == []


def test_a_yank_and_its_return_are_copied_with_one_event_each(here: Deployment, project: Project) -> None:
    here.look("sample")

    project.set_yanked("1.0", "broken")
    here.look("sample")
    yanked = here.page("sample")["files"][0]["yanked"]
    project.set_yanked("1.0", False)
    here.look("sample")

    assert yanked == "broken"
    assert here.page("sample")["files"][0]["yanked"] is False
    changes = [(event["before"], event["after"]) for event in here.events("file.yank")]
    assert changes == [("False", "broken"), ("broken", "False")]
    assert len(here.events()) == 2


def test_a_withdrawn_file_is_hidden_and_may_return(here: Deployment, project: Project) -> None:
    wheel = project.release("2.0")
    here.look("sample")

    project.vanish(wheel.filename)
    here.look("sample")
    hidden = here.listed("sample")
    project.files[wheel.filename] = wheel
    project.touch()
    here.look("sample")

    assert hidden == {"sample-1.0-py3-none-any.whl"}
    assert wheel.filename in here.listed("sample")
    changes = [(event["action"], event["index"], event["after"]) for event in here.events()]
    assert changes == [
        ("file.withdrawn", None, "withdrawn"),
        ("file.rejected", "main", "rejected (withdrawn)"),
        ("file.returned", None, "listed"),
        ("file.released", "main", "visible (time)"),
    ]


def test_changed_bytes_raise_one_alarm_and_the_known_ones_stay(here: Deployment, project: Project) -> None:
    [wheel] = project.files.values()
    known = wheel.sha256
    here.look("sample")

    wheel.content += b"other"
    for _ in range(3):
        project.touch()
        here.look("sample")

    assert here.file(wheel.filename)["sha256"] == known
    [alarm] = here.events()
    assert (alarm["action"], alarm["before"], alarm["after"]) == ("file.bytes_changed", known, wheel.sha256)


def test_the_alarm_is_raised_as_well_for_a_file_whose_upstream_gives_another_kind_of_digest(
    here: Deployment, project: Project
) -> None:
    [wheel] = project.files.values()
    wheel.listed = {"hashes": {"md5": "0" * 32}}
    here.look("sample")
    here.execute("UPDATE file SET sha256 = :sha256, stored_at = 1", sha256=wheel.sha256)

    wheel.listed = {"hashes": {"md5": "1" * 32}}
    project.touch()
    here.look("sample")

    [alarm] = here.events()
    assert (alarm["action"], alarm["after"]) == ("file.bytes_changed", "md5:" + "1" * 32)


@on_both
def test_a_page_that_lost_all_of_many_files_is_not_believed(here: Deployment, project: Project) -> None:
    for minor in range(1, 5):
        project.release(f"1.{minor}")
    here.look("sample")
    serial = here.project("sample")["serial"]

    project.files.clear()
    project.set_status("archived")
    here.look("sample")

    row = here.project("sample")
    assert (row["serial"], row["status"]) == (serial, "active"), "what is not believed changes nothing"
    assert len(here.listed("sample")) == 5
    assert [event["action"] for event in here.events()] == ["project.suddenly_empty"]


def test_an_empty_page_does_not_bring_back_the_files_of_a_deleted_project(
    here: Deployment, upstream: FakeUpstream, project: Project
) -> None:
    for minor in range(1, 5):
        project.release(f"1.{minor}")
    here.look("sample")
    upstream.forget("sample")
    confirm_missing(here)
    assert here.project("sample")["state"] == "deleted"

    upstream.project("sample")  # somebody else takes the name, and publishes nothing
    here.look("sample")

    assert here.listed("sample") == set()


def confirm_missing(here: Deployment) -> None:
    """Two 404s, the second long enough after the first."""
    here.look("sample")
    here.execute("UPDATE project SET missing_since = missing_since - 11000000")
    here.look("sample")


def test_one_404_of_a_known_project_is_no_deletion_and_a_confirmed_one_is(
    here: Deployment, upstream: FakeUpstream, project: Project
) -> None:
    here.look("sample")
    upstream.forget("sample")

    here.look("sample")
    here.look("sample")  # too soon after the first to count
    after_one = here.project("sample")["state"]
    confirm_missing(here)

    assert after_one == "present"
    assert here.project("sample")["state"] == "deleted"
    assert here.listed("sample") == set()
    assert [event["action"] for event in here.events()] == ["project.deleted_upstream", "file.rejected"]


def test_a_404_is_forgotten_when_the_page_is_there_again(
    here: Deployment, upstream: FakeUpstream, project: Project
) -> None:
    here.look("sample")
    upstream.fail("sample", status=404, times=1)
    here.look("sample")
    assert here.project("sample")["missing_since"] is not None

    here.look("sample")

    assert here.project("sample")["missing_since"] is None


def test_a_404_of_an_earlier_address_confirms_nothing_at_a_new_one(
    here: Deployment, upstream: FakeUpstream, project: Project
) -> None:
    here.look("sample")
    upstream.forget("sample")
    here.look("sample")
    here.execute("UPDATE project SET missing_since = missing_since - 11000000")

    moved = UpstreamSpec(url=upstream.url + "/elsewhere/")
    here.koschey.indexes.edit_upstream("upstream", moved, actor="test")
    here.look("sample")

    assert here.project("sample")["state"] == "present"


def test_a_change_of_status_is_an_event_and_a_quarantine_hides_all_and_withdraws_nothing(
    here: Deployment, project: Project
) -> None:
    here.look("sample")

    project.set_status("quarantined", "malware")
    here.look("sample")
    hidden = here.page("sample")
    project.set_status("active")
    here.look("sample")

    assert (hidden["files"], hidden["project-status"]["status"]) == ([], "quarantined")
    assert len(here.listed("sample")) == 1
    changes = [(event["action"], event["before"], event["after"]) for event in here.events()]
    assert changes == [
        ("project.status", "present active", "present quarantined"),
        ("file.rejected", "visible", "rejected (withdrawn)"),
        ("project.status", "present quarantined", "present active"),
        ("file.released", "rejected (withdrawn)", "visible (time)"),
    ]


def test_a_date_given_late_is_taken_once_and_can_be_told_from_one_given_at_first(
    here: Deployment, project: Project
) -> None:
    [wheel] = project.files.values()
    wheel.listed = {"upload-time": ABSENT}
    here.look("sample")
    row = here.file(wheel.filename)
    assert (row["upload_time"], row["previous_look"]) == (None, None)

    for late in ("2020-01-01T00:00:00Z", "2019-01-01T00:00:00Z"):
        wheel.listed = {"upload-time": late}
        project.touch()
        here.look("sample")

    row = here.file(wheel.filename)
    assert row["upload_time"] == 18262 * DAY, "2020-01-01, and no date after it"
    assert row["previous_look"] == row["first_seen"]


@on_both
def test_serials_become_visible_in_the_order_of_their_numbers(
    here: Deployment, upstream: FakeUpstream
) -> None:
    names = [f"writer-{number}" for number in range(8)]
    for name in names:
        upstream.project(name).release("1.0")
    done = threading.Event()
    late: list[int] = []

    def watch() -> None:
        counter, seen = 0, set[int]()
        while not done.is_set():
            [row] = here.rows("SELECT value FROM counter WHERE name = 'serial'")
            serials = {row["serial"] for row in here.rows("SELECT serial FROM project WHERE serial > 0")}
            late.extend(serial for serial in serials - seen if serial <= counter)
            counter, seen = row["value"], seen | serials

    def write(name: str) -> None:
        for minor in range(8):
            here.look(name)
            upstream.projects[name].set_yanked("1.0", minor % 2 == 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, names))
    finally:
        done.set()
        watcher.join()

    assert late == []
    [row] = here.rows("SELECT value FROM counter WHERE name = 'serial'")
    assert row["value"] == 8 * 8


@on_both
def test_a_download_that_ends_during_a_look_waits_for_it(deploy: Deploy, project: Project) -> None:
    """Both lock the project, its file and the serial: in two orders they would wait for each other."""
    here = deploy()
    [wheel] = project.files.values()
    wheel.listed = {"size": ABSENT}  # so that the download changes the page
    look = here.find(wheel)
    downloads: Downloads = here.koschey.files._downloads
    spooled = here.koschey.store.spool_dir / "spooled"
    spooled.write_bytes(wheel.content)
    publication = threading.Thread(
        target=downloads.publish, args=(look, spooled, wheel.sha256, len(wheel.content))
    )

    with here.koschey.database.transaction() as tx:
        assert tx.lock_project(look.project_id)
        publication.start()
        publication.join(0.5)
        assert publication.is_alive()
        tx.connection.exec_driver_sql("UPDATE file SET requires_python = '>=3'")
        tx.raise_serial(look.project_id)
    publication.join(20)

    row = here.file(wheel.filename)
    assert (row["requires_python"], row["size"]) == (">=3", len(wheel.content))


def test_what_was_measured_and_verified_here_is_not_what_a_page_says_later(
    here: Deployment, project: Project
) -> None:
    [wheel] = project.files.values()
    assert wheel.metadata is not None
    assert here.koschey.documents.metadata(here.find(wheel)) == wheel.metadata
    for _ in here.fetch(wheel).follower:
        pass
    eventually(lambda: here.file(wheel.filename)["stored_at"] is not None)
    before = here.file(wheel.filename)

    wheel.listed = {"size": 7, "core-metadata": {"sha256": "0" * 64}}
    project.touch()
    here.look("sample")

    after = here.file(wheel.filename)
    kept = ("size", "sha256", "metadata_sha256", "metadata_stored", "stored_at")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    [listed] = here.page("sample")["files"]
    assert listed["size"] == len(wheel.content)
    assert listed["core-metadata"] == {"sha256": before["metadata_sha256"]}


def test_a_serial_that_goes_backwards_keeps_the_page_and_is_one_event_until_a_reset(
    here: Deployment, project: Project
) -> None:
    project.serial = 50
    here.look("sample")
    project.vanish(*project.files)
    project.serial = 7

    for _ in range(2):
        here.look("sample")
    assert len(here.listed("sample")) == 1
    [event] = here.events()
    assert (event["action"], event["before"], event["after"]) == ("project.serial_backwards", "50", "7")

    here.koschey.indexes.reset_upstream("upstream", actor="test")
    here.look("sample")
    assert here.listed("sample") == set()
    assert here.project("sample")["upstream_serial"] == 7


def test_an_entry_that_is_no_longer_believed_withdraws_no_known_file(
    here: Deployment, project: Project
) -> None:
    [wheel] = project.files.values()
    here.look("sample")

    wheel.listed = {"url": "javascript:alert(1)"}
    project.touch()
    here.look("sample")

    assert here.listed("sample") == {wheel.filename}
    assert here.events() == []

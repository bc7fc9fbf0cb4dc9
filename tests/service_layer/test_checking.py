"""Storing and checking one file: what is recorded, what is compared, and what is tried again."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from koschey.errors import UpstreamUnavailable
from koschey.failpoints import FailpointReached, armed
from koschey.services import checking
from koschey.services.subjects import Neighbour, counterpart, last_release
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.running import eventually
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.upstream_pages import Project, UpstreamFile


def recently(days: float = 1.0) -> str:
    """An upload time that many days ago."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


def check(here: Deployment, file: UpstreamFile, attempt: int | None = None) -> dict[str, Any]:
    """Do for a file what is due; returns its row."""
    here.koschey.checking.check_file(here.file(file.filename)["id"], attempt)
    return here.file(file.filename)


def outcomes(row: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=") for entry in (row["checks"] or "").split())


def answers(here: Deployment, file: UpstreamFile) -> dict[str, dict[str, Any]]:
    """The latest answer of each check about a file."""
    rows = here.rows(
        "SELECT r.* FROM check_result r JOIN file f ON f.id = r.file_id "
        "WHERE f.filename = :name ORDER BY r.id",
        name=file.filename,
    )
    return {row["check"]: row for row in rows}


def hold(here: Deployment, file: UpstreamFile) -> dict[str, Any] | None:
    rows = here.rows(
        "SELECT h.* FROM hold h JOIN file f ON f.id = h.file_id WHERE f.filename = :name", name=file.filename
    )
    return rows[0] if rows else None


@pytest.fixture
def here(deploy: Deploy) -> Deployment:
    """A process in which nothing is done that the test does not do."""
    deployment = deploy()
    deployment.koschey.queue.close()
    return deployment


@pytest.fixture
def sample(upstream: FakeUpstream) -> Project:
    """A project with an old release that everybody sees."""
    project = upstream.project("sample")
    project.release("1.0", upload_time=recently(200))
    return project


@on_both
def test_a_new_file_is_stored_and_checked_although_nobody_asked_for_it(
    here: Deployment, sample: Project
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    assert here.file(fresh.filename)["due_at"] is not None

    row = check(here, fresh)

    assert (row["due_at"], row["attempts"]) == (None, 0)
    assert row["stored_at"] is not None
    assert set(outcomes(row).values()) == {"pass"}, row["checks"]
    assert outcomes(row).keys() == answers(here, fresh).keys() >= {"integrity", "archive", "startup"}
    assert {answer["sha256"] for answer in answers(here, fresh).values()} == {fresh.sha256}
    kept = hold(here, fresh)
    assert kept is not None
    assert kept["rule"] == "time"
    assert here.listed("sample") == {"sample-1.0-py3-none-any.whl"}


@on_both
def test_a_file_is_compared_with_the_last_one_that_is_visible(here: Deployment, sample: Project) -> None:
    """Not with a newer one, and not with one that is held itself."""
    sample.release("0.9", upload_time=recently(300), requires=["once-needed"])
    sample.release("1.1", upload_time=recently(2), requires=["unheard-of"])
    fresh = sample.release("1.2", upload_time=recently(), requires=["unheard-of"])
    here.look("sample")

    row = check(here, fresh)

    assert outcomes(row)["dependencies"] == "fail"
    assert "unheard-of" in answers(here, fresh)["dependencies"]["reason"]
    before = here.file("sample-1.0-py3-none-any.whl")
    assert before["stored_at"] is not None, "what everybody sees is downloaded to compare with"
    assert here.rows("SELECT file_id FROM file_contents WHERE file_id = :id", id=before["id"])


def test_a_failed_check_is_one_event_and_flags_the_file_for_review(here: Deployment, sample: Project) -> None:
    fresh = sample.release("1.1", upload_time=recently(), requires=["unheard-of"])
    here.look("sample")

    check(here, fresh)
    here.execute("UPDATE file SET due_at = 1 WHERE filename = :name", name=fresh.filename)
    check(here, fresh)  # once more comes to the same

    kept = hold(here, fresh)
    assert kept is not None
    assert (kept["rule"], bool(kept["review"])) == ("failed-check", True)
    [event] = here.events("check.failed")
    assert (event["actor"], event["subject"]) == ("koschey", fresh.filename)
    assert event["reason"].startswith("dependencies: ")
    assert [event["action"] for event in here.events("file.held")] == ["file.held"] * 2, (
        "by time, then by that"
    )


def test_a_dependency_that_the_index_knows_is_not_unheard_of(
    here: Deployment, sample: Project, upstream: FakeUpstream
) -> None:
    upstream.project("neighbour").release("1.0", upload_time=recently(200))
    here.look("neighbour")
    fresh = sample.release(
        "1.1", upload_time=recently(), requires=["Neighbour>=1"], extras={"more": ["unheard-of"]}
    )
    here.look("sample")

    assert outcomes(check(here, fresh))["dependencies"] == "warn"


@on_both
@pytest.mark.parametrize("requires", [["requests"], ["sample[extra]"], ["requests", "unheard-of"], []])
def test_a_file_that_needs_what_everybody_has_heard_of_is_checked(
    here: Deployment, sample: Project, requires: list[str]
) -> None:
    fresh = sample.release("1.1", upload_time=recently(), requires=requires)
    here.look("sample")

    found = outcomes(check(here, fresh))["dependencies"]

    assert found == ("fail" if "unheard-of" in requires else "warn" if requires else "pass")


def test_a_young_project_with_a_name_like_a_widely_used_one_is_flagged(
    here: Deployment, upstream: FakeUpstream
) -> None:
    young = upstream.project("reqeusts").release("1.0", upload_time=recently())
    settled = upstream.project("numpyy")
    settled.release("1.0", upload_time=recently(400))
    later = settled.release("1.1", upload_time=recently())
    for name in ("reqeusts", "numpyy"):
        here.look(name)

    assert outcomes(check(here, young))["name"] == "fail"
    assert "requests" in answers(here, young)["name"]["reason"]
    assert outcomes(check(here, later))["name"] == "pass", "it has been there for more than 90 days"


@on_both
def test_an_old_file_that_somebody_fetched_gets_the_basic_checks_only(
    here: Deployment, sample: Project
) -> None:
    old = sample.files["sample-1.0-py3-none-any.whl"]
    arriving = here.fetch(old)
    assert b"".join(arriving.follower) == old.content
    arriving.follower.close()
    eventually(lambda: here.file(old.filename)["stored_at"])
    due = here.file(old.filename)["due_at"]
    assert due > now(), "not at once, to disturb no installation"

    row = check(here, old)

    assert row["checks"] == "archive=pass integrity=pass metadata=pass record=pass"
    assert row["due_at"] is None


def test_a_check_that_no_index_wants_is_not_run(here: Deployment, sample: Project) -> None:
    here.execute("UPDATE policy SET checks = :checks", checks='{"native": "off"}')
    here.execute("UPDATE counter SET value = value + 1 WHERE name = 'configuration'")
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")

    assert "native" not in outcomes(check(here, fresh))


@on_both
def test_a_file_that_cannot_be_had_is_tried_again_ever_later(
    here: Deployment, sample: Project, upstream: FakeUpstream
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    upstream.fail(fresh.filename, status=503, times=10)
    pauses = []
    for _ in range(5):
        here.execute("UPDATE file SET due_at = 1 WHERE filename = :name", name=fresh.filename)
        with pytest.raises(UpstreamUnavailable):
            check(here, fresh)
        pauses.append(round((here.file(fresh.filename)["due_at"] - now()) / 1e6))

    assert pauses == pytest.approx([30, 120, 600, 3600, 3600], abs=20)
    assert here.file(fresh.filename)["attempts"] == 5
    upstream.heal()
    assert check(here, fresh)["attempts"] == 0


def test_a_file_that_is_not_there_is_asked_for_more_rarely(
    here: Deployment, sample: Project, upstream: FakeUpstream
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    upstream.fail(fresh.filename, status=404, times=10)

    for _ in range(4):
        row = check(here, fresh)

    assert row["due_at"] - now() > 5 * 3_600_000_000
    assert row["checks"] is None


def test_an_attempt_that_was_begun_is_not_begun_again(here: Deployment, sample: Project) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    here.execute("UPDATE file SET attempts = 2 WHERE filename = :name", name=fresh.filename)

    assert check(here, fresh, attempt=1)["stored_at"] is None
    assert check(here, fresh, attempt=2)["stored_at"] is not None


def test_what_is_not_due_is_left_alone(here: Deployment, sample: Project, upstream: FakeUpstream) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    check(here, fresh)
    results = len(here.rows("SELECT id FROM check_result"))

    check(here, fresh)
    here.koschey.checking.check_file(999_999)

    assert upstream.count(fresh.filename) == 1
    assert len(here.rows("SELECT id FROM check_result")) == results


def test_one_of_all_who_are_told_to_check_a_file_does_it(
    here: Deployment, deploy: Deploy, sample: Project
) -> None:
    other = deploy()
    other.koschey.queue.close()
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")

    with other.koschey.locks.hold(f"check:{here.file(fresh.filename)['id']}", 0.0):
        row = check(here, fresh)

    assert (row["attempts"], row["stored_at"]) == (0, None)


@pytest.mark.parametrize("content", [b"not a zip archive" * 100, b""], ids=["nonsense", "empty"])
def test_what_cannot_be_read_has_passed_nothing(here: Deployment, sample: Project, content: bytes) -> None:
    broken = sample.add("sample-1.1-py3-none-any.whl", content, version="1.1", upload_time=recently())
    here.look("sample")

    row = check(here, broken)

    assert outcomes(row)["archive"] == "fail"
    assert outcomes(row)["startup"] == "error"
    assert answers(here, broken)["startup"]["reason"].startswith("not done: it cannot be read: ")
    assert row["due_at"] is None, "the file itself is broken: another look would find the same"
    kept = hold(here, broken)
    assert kept is not None
    assert kept["rule"] == "failed-check"


def test_a_check_that_had_an_accident_is_tried_three_times(
    deploy: Deploy, upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moody_checks.py").write_text(
        "from koschey.hookspecs import Check, hookimpl\n"
        "@hookimpl\n"
        "def koschey_checks():\n"
        "    return [Check(name='moody', summary='Raises.', run='moody_checks:check')]\n"
        "def check(subject):\n"
        "    raise RuntimeError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    here = deploy(plugins="moody_checks")
    here.koschey.queue.close()
    fresh = upstream.project("sample").release("1.0", upload_time=recently())
    here.look("sample")

    rows = [check(here, fresh) for _ in range(3)]

    assert [row["due_at"] is not None for row in rows] == [True, True, False]
    assert {outcomes(row)["moody"] for row in rows} == {"error"}
    assert len(here.events("check.failed")) == 1


@on_both
def test_a_lying_sidecar_stays_a_failed_check_when_the_file_is_checked_again(
    here: Deployment, sample: Project
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    own = hashlib.sha256(fresh.metadata or b"").hexdigest()
    fresh.metadata = (fresh.metadata or b"") + b"Requires-Dist: something-else\n"
    here.look("sample")

    for _ in range(2):
        here.execute("UPDATE file SET due_at = 1 WHERE filename = :name", name=fresh.filename)
        row = check(here, fresh)
        assert outcomes(row)["metadata"] == "fail"
        assert (row["metadata_sha256"], bool(row["metadata_stored"])) == (own, True)

    assert len(here.events("file.metadata_differs")) == 1


def test_a_result_about_other_bytes_is_dropped(
    here: Deployment, sample: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")

    def meanwhile(point: str) -> None:
        if point == "check.before_record":
            here.execute(
                "UPDATE file SET sha256 = :other WHERE filename = :n", other="0" * 64, n=fresh.filename
            )

    monkeypatch.setattr(checking, "failpoint", meanwhile)

    row = check(here, fresh)

    assert row["checks"] is None
    assert row["due_at"] is not None
    assert here.rows("SELECT id FROM check_result") == []


@pytest.mark.parametrize("point", ["check.before_record", "check.after_record"])
def test_a_check_that_is_cut_short_is_done_again_and_recorded_once(
    here: Deployment, sample: Project, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    with monkeypatch.context() as broken:
        broken.setattr(checking, "failpoint", armed(f"{point}:raise"))
        with pytest.raises(FailpointReached):
            check(here, fresh)

    row = check(here, fresh)

    assert row["due_at"] is None
    assert len(here.rows("SELECT id FROM check_result")) == len(outcomes(row))
    assert [event["action"] for event in here.events() if event["subject"] == fresh.filename] == ["file.held"]


def test_a_file_that_is_lost_from_the_store_is_downloaded_again(
    here: Deployment, sample: Project, upstream: FakeUpstream
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    check(here, fresh)
    here.koschey.store.delete(fresh.sha256)
    here.execute("UPDATE file SET due_at = 1 WHERE filename = :name", name=fresh.filename)

    check(here, fresh)

    assert here.koschey.store.size(fresh.sha256) == len(fresh.content)
    assert upstream.count(fresh.filename) == 2


def test_files_in_s3_are_checked_as_well(deploy: Deploy, sample: Project, s3_url: str) -> None:
    here = deploy(storage_url=s3_url)
    here.koschey.queue.close()
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")

    assert set(outcomes(check(here, fresh)).values()) == {"pass"}


def neighbour(filename: str, version: str) -> Neighbour:
    return Neighbour(1, filename, version, None, None, None, 0, None, None, None, None, None, None)


@pytest.mark.parametrize(
    ("version", "versions", "chosen"),
    [
        ("1.10", ["1.2", "1.9", "2.0"], "1.9"),
        ("1.0rc1", ["0.9", "1.0b2"], "1.0b2"),
        ("0.1", ["1.0", "2.0"], "2.0"),
        (None, ["1.0", "2.0"], "2.0"),
        ("1.0", ["no version"], None),
        ("1.0", [], None),
    ],
)
def test_the_release_to_compare_with_is_the_newest_older_one(
    version: str | None, versions: list[str], chosen: str | None
) -> None:
    release = last_release(version, [neighbour(f"sample-{other}.tar.gz", other) for other in versions])

    assert {file.version for file in release} == ({chosen} if chosen else set())


@pytest.mark.parametrize(
    ("filename", "others", "chosen"),
    [
        (
            "s-2-cp313-cp313-linux_x86_64.whl",
            ["s-1-cp313-cp313-win32.whl", "s-1-cp312-cp312-linux_x86_64.whl"],
            1,
        ),
        ("s-2-py3-none-any.whl", ["s-1.tar.gz", "s-1-cp312-cp312-win32.whl"], 1),
        ("s-2-py3-none-any.whl", ["s-1-cp312-cp312-win32.whl", "s-1-py3-none-any.whl"], 1),
        ("s-2.tar.gz", ["s-1-py3-none-any.whl", "s-1.zip"], 1),
        ("s-2.tar.gz", ["s-1-py3-none-any.whl"], None),
    ],
)
def test_like_is_compared_with_like(filename: str, others: list[str], chosen: int | None) -> None:
    found = counterpart(filename, [neighbour(other, "1") for other in others])

    assert (found and found.filename) == (None if chosen is None else others[chosen])

"""Which file a new one is compared with, and what that makes Koschey fetch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from koschey.domain.names import normalize
from koschey.services.subjects import Neighbour, counterpart, required_names
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, on_both


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


@on_both
def test_one_new_release_makes_the_last_one_be_fetched_and_no_older_one(
    deploy: Deploy, upstream: FakeUpstream
) -> None:
    here = deploy()
    here.koschey.queue.close()
    project = upstream.project("sample")
    oldest = project.release("1.0", upload_time=ago(300))
    last = project.release("1.10", upload_time=ago(100))
    middle = project.release("1.9", upload_time=ago(200))
    project.release("1.11", upload_time=ago(1))
    here.look("sample")

    for _ in range(5):  # what a check makes due is done as well
        for row in here.rows("SELECT id, due_at FROM file WHERE due_at IS NOT NULL"):
            here.koschey.checking.check_file(row["id"], None)

    assert upstream.count(last.filename) == 1
    assert [upstream.count(file.filename) for file in (middle, oldest)] == [0, 0]


def neighbour(filename: str) -> Neighbour:
    return Neighbour(0, filename, "1.0", None, None, None, 0, None, None, None, None, None, None)


@pytest.mark.parametrize(
    ("tags", "nearest"),
    [
        ("py3-none-any.whl", "py3-none-any.whl"),
        ("cp313-cp313-manylinux_2_17_x86_64.whl", "cp313-cp313-manylinux_2_17_x86_64.whl"),
        ("cp314-cp314-manylinux_2_17_x86_64.whl", "cp313-cp313-manylinux_2_17_x86_64.whl"),
        ("cp314-cp314-musllinux_1_2_riscv64.whl", "cp313-cp313-manylinux_2_17_x86_64.whl"),
        ("cp313-cp313-ios_13_0_arm64_iphoneos.whl", "cp313-cp313-manylinux_2_17_x86_64.whl"),
        ("cp38-cp38-win_arm64.whl", "cp38-cp38-win_amd64.whl"),
    ],
)
def test_a_wheel_is_compared_with_the_nearest_by_its_tags(tags: str, nearest: str) -> None:
    tagged = ["py3-none-any.whl", "cp313-cp313-manylinux_2_17_x86_64.whl", "cp38-cp38-win_amd64.whl"]
    release = [neighbour("sample-1.0.tar.gz"), *(neighbour(f"sample-1.0-{tag}") for tag in tagged)]
    for files in (release, release[::-1]):
        found = counterpart(f"sample-1.1-{tags}", files)
        assert found is not None
        assert found.filename == f"sample-1.0-{nearest}"


def test_an_sdist_is_compared_with_an_sdist() -> None:
    wheel, sdist = neighbour("sample-1.0-py3-none-any.whl"), neighbour("sample-1.0.zip")
    assert counterpart("sample-1.1.tar.gz", [wheel, sdist]) is sdist
    assert counterpart("sample-1.1.tar.gz", [wheel]) is None


def test_a_dependency_that_only_mentions_an_extra_counts() -> None:
    said = ["a", "b; extra == 'x'", "C.d; extra == 'x' or os_name == 'posix'", "no ( requirement"]
    assert required_names(said) == {"a", "c-d"}


DAY = 86_400_000_000


def test_a_comparison_that_failed_is_tried_again_when_somebody_looks_an_hour_later(
    deploy: Deploy, upstream: FakeUpstream
) -> None:
    here = deploy(quarantine_days=7.0)
    for version, days in (("1.0", 100), ("2.0", 1)):
        upstream.project("sample").release(version, upload_time=ago(days))
    here.look("sample")
    submitted: list[object] = []
    here.koschey.comparisons._submit = lambda *job: submitted.append(job)
    case = here.koschey.explanations.case("main", normalize("sample"))
    before, after = (here.file(f"sample-{version}-py3-none-any.whl") for version in ("1.0", "2.0"))
    job = ("compare_files", before["id"], after["id"])
    here.execute(
        "INSERT INTO comparison VALUES (:before, :after, NULL, 'it died', :at)",
        before=before["sha256"],
        after=after["sha256"],
        at=now(),
    )

    assert here.koschey.comparisons.of(case, "2.0").problem == "it died"
    assert submitted == []
    here.execute("UPDATE comparison SET made_at = :at", at=now() - DAY)
    assert here.koschey.comparisons.of(case, "2.0").problem == "it died"
    assert submitted == [job]


@on_both
def test_what_reviewing_leaves_behind_is_forgotten_when_it_is_old(deploy: Deploy) -> None:
    here = deploy()
    for name, days in (("old", 100), ("new", 10)):
        at = now() - days * DAY
        here.execute("INSERT INTO comparison VALUES ('', :name, NULL, '', :at)", name=name, at=at)
    for number, ended in ((1, now() - 500 * DAY), (2, now()), (3, None)):
        here.execute(
            'INSERT INTO bulk (id, verb, tab, search, before, reason, actor, state, done, "left", '
            "finished_at) VALUES (:id, 'reject', 'waiting', '', 0, 'no', 'ann', 'done', 1, 0, :ended)",
            id=number,
            ended=ended,
        )
        here.execute("INSERT INTO bulk_result VALUES (:id, 1, 'sample', '1.0', 'done', '')", id=number)

    here.koschey.tasks["sweep_review"]()

    assert [row["after"] for row in here.rows("SELECT * FROM comparison")] == ["new"]
    assert [row["id"] for row in here.rows("SELECT * FROM bulk ORDER BY id")] == [2, 3]
    assert [row["bulk_id"] for row in here.rows("SELECT * FROM bulk_result ORDER BY 1")] == [2, 3]

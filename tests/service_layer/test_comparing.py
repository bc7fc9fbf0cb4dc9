"""Which file a new one is compared with, and what that makes Koschey fetch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from koschey.services.subjects import Neighbour, counterpart, required_names
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

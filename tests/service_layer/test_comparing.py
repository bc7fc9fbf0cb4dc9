"""Which file a new one is compared with, and what that makes Koschey fetch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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

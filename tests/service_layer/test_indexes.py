"""The verbs that change indexes and upstreams: seen by every process at once, one event each, no secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from sqlalchemy.exc import IntegrityError

from koschey.errors import Conflict, NotFound, RequestInvalid, StoreUnavailable
from koschey.services.indexes import Indexes
from koschey.services.upstream_spec import UpstreamSpec
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both

SECRET = "canary-7f3a"
SPEC = UpstreamSpec(
    url=f"https://reader:{SECRET}-url@packages.example/simple",
    proxy=f"http://me:{SECRET}-proxy@proxy.example:3128",
)

Change = Callable[[Indexes], None]
#: In order: what is done, the event that it leaves, and whom it is about.
CHANGES: list[tuple[Change, str, str]] = [
    (lambda i: i.add_upstream("partner", SPEC, indexes=["main"], actor="test"), "upstream.add", "partner"),
    (
        lambda i: i.edit_upstream("partner", UpstreamSpec(password=SECRET + "-new"), actor="test"),
        "upstream.edit",
        "partner",
    ),
    (
        lambda i: i.edit_upstream(
            "partner", UpstreamSpec(username="", password="", token=SECRET + "-token"), actor="test"
        ),
        "upstream.edit",
        "partner",
    ),
    (lambda i: i.add_index("team", ["partner"], hold_days=3, actor="test"), "index.add", "team"),
    (
        lambda i: i.edit_index("team", sources=["hosted", "partner"], hold_days=None, actor="test"),
        "index.edit",
        "team",
    ),
    (lambda i: i.remove_index("team", actor="test"), "index.remove", "team"),
    (lambda i: i.remove_upstream("partner", actor="test"), "upstream.remove", "partner"),
]


@on_both
def test_each_change_leaves_exactly_one_event_and_no_event_a_secret(here: Deployment) -> None:
    for change, action, subject in CHANGES:
        before = len(here.events())

        change(here.koschey.indexes)

        [event] = here.events()[before:]
        assert (event["action"], event["subject"], event["actor"]) == (action, subject, "test")
        assert SECRET not in str(here.koschey.indexes.describe_upstreams())
    assert SECRET not in str(here.events())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda i: i.add_upstream("upstream", SPEC, indexes=[], actor="test"), Conflict),
        (lambda i: i.add_upstream("new", SPEC, indexes=["nowhere"], actor="test"), NotFound),
        (lambda i: i.add_upstream("new", SPEC, indexes=["main", "main"], actor="test"), RequestInvalid),
        (lambda i: i.add_upstream("../x", SPEC, indexes=[], actor="test"), RequestInvalid),
        (
            lambda i: i.add_upstream("new", UpstreamSpec(url="ftp://x/"), indexes=[], actor="test"),
            RequestInvalid,
        ),
        (
            lambda i: i.edit_upstream("upstream", UpstreamSpec(proxy="http://[x"), actor="test"),
            RequestInvalid,
        ),
        (
            lambda i: i.edit_upstream("upstream", UpstreamSpec(ca_file="x" * 10_000), actor="test"),
            RequestInvalid,
        ),
        (lambda i: i.edit_upstream("upstream", UpstreamSpec(proxy="x:3128"), actor="test"), RequestInvalid),
        (
            lambda i: i.edit_upstream("upstream", UpstreamSpec(refresh_seconds=float("nan")), actor="test"),
            RequestInvalid,
        ),
        (lambda i: i.add_index("new", ["hosted"], hold_days=float("inf"), actor="test"), RequestInvalid),
        (lambda i: i.edit_upstream("hosted", SPEC, actor="test"), NotFound),
        (lambda i: i.add_index("simple", ["hosted"], hold_days=None, actor="test"), RequestInvalid),
        (lambda i: i.add_index("main", ["hosted"], hold_days=None, actor="test"), Conflict),
        (lambda i: i.edit_index("main", sources=["nothing"], hold_days=None, actor="test"), NotFound),
        (lambda i: i.remove_index("main", actor="test"), Conflict),
    ],
)
def test_what_is_refused_leaves_no_event_and_no_trace(
    here: Deployment, change: Change, error: type[Exception]
) -> None:
    before = (here.koschey.indexes.describe_upstreams(), here.koschey.configuration.indexes())

    with pytest.raises(error):
        change(here.koschey.indexes)

    assert here.events() == []
    assert (here.koschey.indexes.describe_upstreams(), here.koschey.configuration.indexes()) == before


@on_both
def test_a_change_is_seen_by_another_process_at_its_next_request(
    deploy: Deploy, upstream: FakeUpstream
) -> None:
    one, other = deploy(), deploy()
    upstream.project("sample").release("1.0")
    assert other.listed("sample") and one.listed("sample")

    one.koschey.indexes.add_index("team", ["upstream"], hold_days=None, actor="test")
    assert len(other.listed("sample", index="team")) == 1

    one.koschey.indexes.edit_index("main", sources=["hosted"], hold_days=None, actor="test")
    with pytest.raises(NotFound):
        other.page("sample")
    assert other.listed("sample", index="team")

    one.koschey.indexes.remove_index("team", actor="test")
    with pytest.raises(NotFound):
        other.page("sample", index="team")


def test_an_upstream_whose_files_are_known_is_only_removed_when_that_is_said(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("sample").release("1.0")
    here.look("sample")

    with pytest.raises(Conflict):
        here.koschey.indexes.remove_upstream("upstream", actor="test")
    assert here.listed("sample")
    here.koschey.indexes.remove_upstream("upstream", actor="test", forget=True)

    with pytest.raises(NotFound):
        here.page("sample")
    assert here.rows("SELECT id FROM file") == []


def test_an_error_of_the_database_does_not_repeat_a_secret(here: Deployment) -> None:
    here.koschey.indexes.add_upstream("partner", SPEC, indexes=[], actor="test")

    with pytest.raises(IntegrityError) as failed:
        here.execute("UPDATE source SET name = NULL, token = :token", token=SECRET)

    assert SECRET not in str(failed.value)


def test_credentials_are_dropped_with_a_move_to_another_host(here: Deployment) -> None:
    indexes = here.koschey.indexes
    indexes.add_upstream("partner", SPEC, indexes=[], actor="test")

    indexes.edit_upstream("partner", UpstreamSpec(url="https://packages.example/other/"), actor="test")
    [kept] = [row for row in indexes.describe_upstreams() if row["name"] == "partner"]
    indexes.edit_upstream("partner", UpstreamSpec(url="http://packages.example/other/"), actor="test")
    [moved] = [row for row in indexes.describe_upstreams() if row["name"] == "partner"]

    assert (kept["username"], kept["password"]) == ("reader", True)
    assert (moved["username"], moved["password"]) == (None, False)


def test_a_hosted_source_that_had_packages_is_not_removed(deploy: Deploy) -> None:
    here = deploy()
    here.koschey.hosted.add("inner", indexes=["main"], actor="test")
    here.execute(
        "INSERT INTO project (source_id, name, state, status, serial, first_seen) "
        "SELECT id, 'acme', 'present', 'active', 0, 0 FROM source WHERE name = 'inner'"
    )
    with pytest.raises(Conflict, match="never forgotten"):
        here.koschey.hosted.remove("inner", actor="test")
    assert [e["action"] for e in here.events()] == ["hosted.add"]


def test_another_process_sees_a_new_hosted_source_at_once(deploy: Deploy) -> None:
    one, other = deploy(), deploy()
    assert [s.name for s in other.koschey.configuration.index("main").sources] == ["hosted", "upstream"]
    one.koschey.hosted.add("inner", indexes=["main"], actor="test")
    sources = [s.name for s in other.koschey.configuration.index("main").sources]
    assert sources == ["hosted", "inner", "upstream"]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_who_waits_for_a_connection_is_in_the_way_of_nobody_who_has_one(deploy: Deploy) -> None:
    """Transactions that have all connections read a changed configuration, and others wait for one."""
    koschey = deploy().koschey
    configuration, database = koschey.configuration, koschey.database
    configuration.indexes()
    deploy().koschey.indexes.edit_index("main", sources=None, hold_days=3, actor="test")

    def wait() -> None:
        with pytest.raises(StoreUnavailable):
            configuration.indexes()

    with ExitStack() as stack:
        sessions = [stack.enter_context(database.reading()) for _ in range(20)]
        for session in sessions:
            session.connection()
        waits = threading.Thread(target=wait)
        waits.start()
        time.sleep(0.3)
        configuration.indexes(sessions[0])
        assert waits.is_alive(), "it had the lock, and gave up"
        waits.join()

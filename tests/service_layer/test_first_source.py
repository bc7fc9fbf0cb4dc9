"""Several upstreams in one index: the first source that owns a name wins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koschey.errors import Conflict, NotFound, UpstreamError, UpstreamUnavailable
from koschey.services.upstream_spec import UpstreamSpec
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment


@pytest.fixture
def second() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def here(deploy: Deploy, second: FakeUpstream) -> Deployment:
    here = deploy(page_deadline=3.0, refresh_deadline=3.0)
    spec = UpstreamSpec(url=second.simple_url)
    here.koschey.indexes.add_upstream("second", spec, indexes=["main"], actor="test")
    return here


def test_the_first_source_that_has_a_name_hides_the_later_ones(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    upstream.project("both").release("1.0")
    second.project("both").release("9.0")

    assert here.listed("both") == {"both-1.0-py3-none-any.whl"}
    assert second.count("both") == 0


def test_a_name_that_the_first_does_not_have_is_the_seconds(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    second.project("later").release("9.0")

    assert here.listed("later") == {"later-9.0-py3-none-any.whl"}
    assert (upstream.count("later"), second.count("later")) == (1, 1)


def test_while_the_first_is_down_a_name_never_asked_there_is_an_error(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    second.project("both").release("9.0")
    upstream.fail("both", status=503)

    with pytest.raises(UpstreamError):
        here.page("both")

    assert second.count("both") == 0, "the second must not even learn the name"
    upstream.heal()
    upstream.project("both").release("1.0")
    assert here.listed("both") == {"both-1.0-py3-none-any.whl"}


def test_files_of_the_loser_are_not_served_either(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    loser = second.project("both").release("9.0")
    here.look("both", upstream="second")
    upstream.project("both").release("1.0")
    assert here.listed("both") == {"both-1.0-py3-none-any.whl"}

    with pytest.raises(NotFound):
        here.koschey.files.find("main", loser.path)


def test_a_deleted_project_of_the_first_still_owns_its_name(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    upstream.project("both").release("1.0")
    second.project("both").release("9.0")
    here.look("both")
    upstream.forget("both")
    here.look("both")
    here.execute("UPDATE project SET missing_since = missing_since - 11000000")
    here.look("both")

    assert here.listed("both") == set()
    assert second.count("both") == 0


def test_a_name_that_nobody_has_is_not_found_after_all_were_asked(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    with pytest.raises(NotFound):
        here.page("nobody")

    assert (upstream.count("nobody"), second.count("nobody")) == (1, 1)


def test_a_404_that_ran_out_at_a_silent_first_source_gives_the_name_to_nobody_else(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    with pytest.raises(NotFound):
        here.page("both")
    here.execute("UPDATE project SET looked_at = looked_at - 3600000000")
    second.project("both").release("9.0")
    upstream.fail("both", status=503)

    with pytest.raises(UpstreamError):
        here.page("both")

    upstream.heal()
    assert here.listed("both") == {"both-9.0-py3-none-any.whl"}, "asked again, the first says no again"


def test_nothing_is_asked_of_a_paused_upstream_and_what_is_stored_is_served(
    here: Deployment, upstream: FakeUpstream, second: FakeUpstream
) -> None:
    kept, other = upstream.project("kept").release("1.0"), upstream.project("kept").release("1.1")
    assert here.listed("kept") == {kept.filename, other.filename}
    assert b"".join(here.fetch(kept).follower) == kept.content
    second.project("later").release("1.0")
    here.listed("later")
    for name in ("fresh", "stale"):
        with pytest.raises(NotFound):
            here.page(name)
        second.project(name).release("1.0")
    second.project("unasked").release("1.0")
    here.look("unasked", upstream="second")
    here.execute(
        "UPDATE project SET looked_at = 1 WHERE name = 'fresh' "
        "AND source_id = (SELECT id FROM source WHERE name = 'second')"
    )
    here.koschey.indexes.pause_upstream("upstream", reason="it was broken into", actor="ann")
    here.execute("UPDATE project SET looked_at = 1 WHERE name != 'fresh'")
    asked = upstream.count("*")

    assert here.listed("kept") == {kept.filename, other.filename}
    assert here.listed("later") == {"later-1.0-py3-none-any.whl"}
    assert here.koschey.files.open(here.find(kept)) is not None
    assert here.listed("fresh") == {"fresh-1.0-py3-none-any.whl"}, "the first said lately that it has none"
    learnt = second.count("stale")
    for name in ("unknown", "stale", "unasked"):
        with pytest.raises(UpstreamUnavailable, match="paused: it was broken into"):
            here.page(name)
    with pytest.raises(UpstreamUnavailable, match="paused"):
        list(here.fetch(other).follower)
    here.look("kept")
    with pytest.raises(Conflict, match="paused"):
        here.koschey.sync.start("upstream")
    assert upstream.count("*") == asked
    assert (second.count("unknown"), second.count("stale")) == (0, learnt), (
        "the second must not win a name because the first is paused"
    )

    with pytest.raises(Conflict, match="paused already"):
        here.koschey.indexes.pause_upstream("upstream", reason="again", actor="ann")
    here.koschey.indexes.resume_upstream("upstream", actor="ann")
    with pytest.raises(NotFound):
        here.page("unknown")
    assert upstream.count("unknown") == 1
    assert [(e["action"], e["reason"]) for e in here.events("upstream.pause", "upstream.resume")] == [
        ("upstream.pause", "it was broken into"),
        ("upstream.resume", None),
    ]

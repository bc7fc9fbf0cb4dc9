"""Finding projects: what is found first, what is not shown, and going on from page to page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from koschey.domain.permissions import Names
from koschey.errors import NotFound, RequestInvalid
from koschey.services import search as search_module
from koschey.services.search import beginning
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both

ALL = Names(frozenset({"*"}))


def known(deploy: Deploy, upstream: FakeUpstream, *names: str) -> Deployment:
    """A deployment that has looked at projects of those names."""
    here = deploy()
    for name in names:
        upstream.project(name).release("1.0", upload_time="2020-01-01T00:00:00Z")
        here.look(name)
    return here


def find(here: Deployment, typed: str, names: Names = ALL) -> list[str]:
    return list(here.koschey.search.find("main", typed, names).names)


@on_both
def test_a_name_comes_before_its_continuations_and_those_before_its_appearances(
    deploy: Deploy, upstream: FakeUpstream
) -> None:
    here = known(deploy, upstream, "pytest-flask", "Flask_Login", "flask", "flaskless", "flask-flask", "mask")
    assert find(here, "Flask") == ["flask", "flask-flask", "flask-login", "flaskless", "pytest-flask"]
    assert find(here, "flask.LO") == ["flask-login"]
    assert find(here, "lask") == []


@on_both
def test_pages_follow_one_another(
    deploy: Deploy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"tool-{letter}" for letter in "abcdefg"]
    here = known(deploy, upstream, *names, "x-tool")
    monkeypatch.setattr(search_module, "PAGE", 3)
    pages, after = [], None
    while True:
        found = here.koschey.search.find("main", "tool", ALL, after=after)
        pages.append(list(found.names))
        after = found.next
        if after is None:
            break
    assert pages == [names[:3], names[3:6], [names[6], "x-tool"]]


def test_what_may_not_be_read_or_is_wholly_held_is_not_found(deploy: Deploy, upstream: FakeUpstream) -> None:
    here = known(deploy, upstream, "tool-a", "tool-b")
    today = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    upstream.project("tool-new").release("1.0", upload_time=today)
    here.look("tool-new")
    assert find(here, "tool") == ["tool-a", "tool-b"]
    assert find(here, "tool", Names(frozenset({"tool-b"}))) == ["tool-b"]
    assert find(here, "tool", Names(frozenset())) == []


def test_what_comes_later_is_found_and_what_no_upstream_has_is_not(
    deploy: Deploy, upstream: FakeUpstream
) -> None:
    here = known(deploy, upstream, "tool-a")
    with pytest.raises(NotFound):
        here.page("tool-nowhere")
    assert find(here, "tool") == ["tool-a"]
    upstream.project("tool-b").release("1.0", upload_time="2020-01-01T00:00:00Z")
    here.look("tool-b")
    assert find(here, "tool") == ["tool-a", "tool-b"]


@pytest.mark.parametrize("typed", ["", "  ", "-._", "a/b", "%", "ä", "x" * 201])
def test_what_no_name_begins_with_is_refused(typed: str) -> None:
    with pytest.raises(RequestInvalid, match="beginning of a project's name"):
        beginning(typed)


def test_a_cursor_is_one_of_a_page_of_the_search(deploy: Deploy, upstream: FakeUpstream) -> None:
    here = known(deploy, upstream, "tool-a")
    with pytest.raises(RequestInvalid, match="not the end of a page"):
        here.koschey.search.find("main", "tool", ALL, after="nonsense")

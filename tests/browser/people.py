"""People who sign in, and the packages that they find held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from koschey.domain.names import normalize
from koschey.domain.permissions import Role
from koschey.web.current import Koschey
from tests.browser.browsing import Site, Visitor
from tests.fake_upstream import FakeUpstream

PASSWORD = "a horse that is correct 1"


def days_ago(days: float) -> str:
    """An upload time so many days ago, as pages have it."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


def add_people(koschey: Koschey) -> None:
    """``rena`` and ``ines`` review, ``otto`` audits, ``ada`` is an admin, ``dora`` a developer."""
    for name, role in {
        "rena": Role.REVIEWER,
        "ines": Role.REVIEWER,
        "otto": Role.AUDITOR,
        "ada": Role.ADMIN,
        "dora": Role.READER,
    }.items():
        koschey.accounts.create(name, password=PASSWORD, role=role, actor="test")


def log_in(visitor: Visitor, name: str) -> Visitor:
    """By the form, as people do; the second time with the cookie of the first."""
    kept = _cookies.get((visitor.site.url, name))
    if kept is not None:
        visitor.context.add_cookies(kept)
        return visitor
    page = visitor.go("/login")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out", include_hidden=True).wait_for(state="attached")
    _cookies[visitor.site.url, name] = [*visitor.context.cookies()]
    return visitor


_cookies: dict[tuple[str, str], list[Any]] = {}


def see(site: Site, upstream: FakeUpstream, *names: str) -> None:
    """Have the mirror look at projects, so that their new files are held."""
    [source] = site.services.configuration.upstreams()
    for name in names:
        site.services.catalog.refresh(source.id, normalize(name))

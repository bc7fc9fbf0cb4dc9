"""What happened in several indexes at once is one line."""

from __future__ import annotations

from koschey.services.audit import AuditEvent
from koschey.web.admin.history import happenings

MINUTE = 60_000_000


def event(index: str | None, *, at: int = 10 * MINUTE, reason: str = "too young") -> AuditEvent:
    return AuditEvent(
        id=1,
        at=at,
        actor="koschey",
        action="file.held",
        project="sample",
        index=index,
        subject="sample-1.0.tar.gz",
        before=None,
        after="held",
        reason=reason,
    )


def where(*events: AuditEvent) -> list[str]:
    return [happening.where for happening in happenings(events)]


def test_the_same_in_some_indexes_is_one_happening_with_their_names() -> None:
    assert where(event("team"), event("main"), event("main")) == ["main, team"]


def test_many_indexes_are_counted() -> None:
    assert where(*(event(f"index-{number}") for number in range(9))) == ["9 indexes"]


def test_what_differs_or_happened_before_stands_alone() -> None:
    assert where(event("main"), event("team", reason="a check failed")) == ["main", "team"]
    assert where(event("main"), event("team", at=8 * MINUTE)) == ["main", "team"]


def test_what_is_about_no_index_is_never_put_together() -> None:
    assert where(event(None), event(None)) == ["", ""]

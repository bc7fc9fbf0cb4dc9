"""Explanations from the database: decisions, checks, parts of large projects, and few queries for any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from koschey.domain.names import normalize
from koschey.domain.why import Explanation
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both

DAY = 86_400_000_000


@pytest.fixture
def held(deploy: Deploy, upstream: FakeUpstream) -> Deployment:
    """Holds for seven days; ``sample`` has 1.0 of long ago and an undated 2.0, both wheel and sdist."""
    here = deploy(quarantine_days=7.0, contact="#python")
    here.koschey.queue.close()  # no file is checked unless a test says so
    project = upstream.project("sample")
    project.release("1.0", sdist=True, upload_time="2015-01-01T00:00:00Z")
    project.release("2.0", sdist=True, upload_time=None)
    here.look("sample")
    return here


def version(here: Deployment, wanted: str, after: str | None = None) -> Explanation:
    return here.koschey.explanations.version("main", normalize("sample"), wanted, after=after)


def project(here: Deployment, after: str | None = None) -> Explanation:
    return here.koschey.explanations.project("main", normalize("sample"), after=after)


def answer(here: Deployment, filename: str, check: str, outcome: str, reason: str) -> None:
    """Record one answer, and the short form that verdicts go by."""
    file = here.file(filename)
    here.execute(
        'INSERT INTO check_result (file_id, "check", outcome, reason, at) '
        "VALUES (:file, :check, :out, :why, 1)",
        file=file["id"],
        check=check,
        out=outcome,
        why=reason,
    )
    kept = dict(entry.split("=") for entry in (file["checks"] or "").split()) | {check: outcome}
    short = " ".join(f"{name}={kept[name]}" for name in sorted(kept))
    here.execute("UPDATE file SET checks = :short WHERE id = :file", short=short, file=file["id"])


@contextmanager
def statements(here: Deployment) -> Iterator[list[str]]:
    asked: list[str] = []

    def look(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)

    event.listen(here.koschey.engine, "before_cursor_execute", look)
    try:
        yield asked
    finally:
        event.remove(here.koschey.engine, "before_cursor_execute", look)


@on_both
def test_the_latest_answer_of_each_check_is_shown_with_what_stands_against_the_file_first(
    held: Deployment,
) -> None:
    wheel = "sample-2.0-py3-none-any.whl"
    answer(held, wheel, "archive", "pass", "sound")
    answer(held, wheel, "metadata", "fail", "its first answer")
    answer(held, wheel, "metadata", "fail", "another name inside")
    answer(held, wheel, "extra", "warn", "of a plug-in that is gone")
    [shown] = version(held, "2.0").versions
    file = next(f for f in shown.files if f.filename == wheel)
    assert file.sentence == "held for review: failed check metadata"
    assert (file.review, file.clears_at, file.ends) == (True, None, "when a person decides")
    first, *others = file.checks
    assert (first.check, first.outcome, first.reason) == ("metadata", "fail", "another name inside")
    said = {check.check: (check.outcome, check.effect.value) for check in others}
    assert said["archive"] == ("pass", "required")
    assert said["extra"] == ("warn", "reported")
    assert said["record"] == (None, "required")
    assert "record" in file.waits_for
    assert "archive" not in file.waits_for


def test_a_file_that_was_old_when_it_was_first_seen_waits_for_no_check(held: Deployment) -> None:
    [shown] = version(held, "1.0").versions
    for file in shown.files:
        assert (file.state.value, file.checks, file.waits_for) == ("visible", (), ())


def test_what_waits_for_checks_only_says_for_which(held: Deployment) -> None:
    held.execute("UPDATE file SET first_seen = first_seen - :past", past=30 * DAY)
    [shown] = version(held, "2.0").versions
    file = shown.files[0]
    assert file.rule.value == "missing-check"
    assert file.clears_at is None
    assert file.ends == f"when it has passed the checks {', '.join(file.waits_for[:3])} and 10 more"
    assert file.sentence.startswith(f"held until it is checked: checks {', '.join(file.waits_for[:3])} and ")


@on_both
def test_decisions_are_told_with_their_standing(held: Deployment) -> None:
    review = held.koschey.review
    review.trust("sample", reason="their own", actor="anna")
    review.untrust("sample", reason="too early", actor="bert")
    review.extend("sample", "1.0", reason="a report", actor="carl", until=now() + DAY)
    sdist = "sample-2.0.tar.gz"
    review.approve("sample", "2.0", sdist, reason="needed", actor="dora", expires_at=now() + DAY)
    held.execute("UPDATE decision SET expires_at = :past WHERE kind = 'approve'", past=now() - 1)
    held.execute("UPDATE project SET serial = serial + 1")

    two = version(held, "2.0")
    assert [(d.kind.value, d.actor, d.standing) for d in two.decisions] == [
        ("approve", "dora", "expired"),
        ("trust", "anna", "reverted"),
    ]
    [trust] = project(held).decisions
    assert (trust.reverted_by, trust.revert_reason) == ("bert", "too early")
    one = version(held, "1.0")
    assert one.sentence.endswith("by carl: a report")
    assert one.versions[0].files[0].ends.startswith("by itself on ")
    hold, _trust = one.decisions
    assert (hold.kind.value, hold.version, hold.standing) == ("hold", "1.0", "in force")


def test_a_decision_for_another_index_is_not_told(held: Deployment) -> None:
    held.koschey.indexes.add_index("team", ["upstream"], hold_days=7.0, actor="anna")
    held.koschey.review.reject("sample", "2.0", index="team", reason="theirs alone", actor="anna")
    assert version(held, "2.0").decisions == ()
    team = held.koschey.explanations.version("team", normalize("sample"), "2.0")
    assert team.sentence == "rejected by anna: theirs alone"


def test_a_baseline_of_the_source_is_told(held: Deployment) -> None:
    held.koschey.review.baseline(source="upstream", reason="what we had before", actor="anna")
    explained = project(held)
    assert [(d.kind.value, d.reason) for d in explained.decisions] == [("baseline", "what we had before")]
    assert explained.visible == 2


def fill(here: Deployment, versions: int, files: int) -> None:
    """So many further versions of so many undated files each."""
    found = here.project("sample")["id"]
    rows = [(f"3.{v}", f"sample-3.{v}-{n:04}.whl") for v in range(versions) for n in range(files)]
    with here.koschey.database.transaction() as tx:
        for spelling, filename in rows:
            tx.connection.exec_driver_sql(
                "INSERT INTO file (project_id, filename, version, path, first_seen, yanked, "
                "metadata_advertised, metadata_stored, attempts) "
                f"VALUES ({found}, '{filename}', '{spelling}', '{filename}', {now()}, false, false, false, 0)"
            )


def test_a_page_takes_the_same_few_queries_however_many_files_a_project_has(held: Deployment) -> None:
    with statements(held) as few:
        project(held)
        version(held, "2.0")
    fill(held, 150, 10)
    with statements(held) as many:
        project(held)
        version(held, "3.7")
    assert len(few) == 2 * 4
    assert len(many) <= 2 * 5  # hidden files by the hundred are asked about in two parts


def test_a_large_project_comes_in_parts(held: Deployment) -> None:
    fill(held, 230, 8)
    seen: list[str | None] = []
    after = None
    while True:
        part = project(held, after)
        assert len(part.versions) <= 100
        assert max(len(one.files) for one in part.versions) <= 5
        assert (part.held, part.visible) == (231, 1)
        seen += [one.version for one in part.versions]
        after = part.next_version
        if after is None:
            break
    assert seen == [f"3.{n}" for n in range(229, -1, -1)] + ["2.0", "1.0"]


def test_a_large_version_comes_in_parts(held: Deployment) -> None:
    fill(held, 1, 250)
    seen: list[str] = []
    after = None
    while True:
        [part] = version(held, "3.0", after).versions
        assert part.held == 250
        seen += [file.filename for file in part.files]
        after = part.next_file
        if after is None:
            break
    assert seen == [f"sample-3.0-{n:04}.whl" for n in range(250)]
    assert version(held, "3.0", seen[-1]).versions[0].files == ()


def test_a_file_without_a_version_is_with_its_like(held: Deployment) -> None:
    fill(held, 1, 2)
    held.execute("UPDATE file SET version = NULL WHERE filename LIKE 'sample-3.0%'")
    last = project(held).versions[-1]
    assert (last.version, last.held, last.visible) == (None, 2, 0)


def test_near_versions_stand_on_both_sides_of_an_unknown_one(held: Deployment) -> None:
    fill(held, 9, 1)
    assert version(held, "3.4.1").near == ("3.7", "3.6", "3.5", "3.4", "3.3", "3.2")
    assert version(held, "99").near == ("3.8", "3.7", "3.6")
    assert version(held, "0.1").near == ("3.0", "2.0", "1.0")
    assert version(held, "no version").near == ("3.0", "2.0", "1.0")


def test_whom_to_ask_is_told(held: Deployment) -> None:
    assert project(held).contact == "#python"

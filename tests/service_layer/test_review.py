"""What people decide: what it does to what is visible, what is refused, and what it leaves on record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from koschey.domain.names import NormalizedName
from koschey.domain.policy import Effect
from koschey.errors import Conflict, KoscheyError, NotFound, RequestInvalid
from koschey.services.review import Review
from koschey.services.sitting import Outcome
from koschey.services.upstream_spec import UpstreamSpec
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.upstream_pages import Project

DAY = 86_400 * 10**6
HOW = {"reason": "looked at it", "actor": "anna"}
WHEEL, SECOND = "sample-1.0-py3-none-any.whl", "sample-2.0-py3-none-any.whl"


REJECTION = text(
    "INSERT INTO decision (kind, name, reason, actor, at) VALUES ('reject', 'sample', 'no', 'anna', :at)"
)


def fresh(days: float = 1) -> str:
    """An upload time so many days ago."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


def quiet(deployment: Deployment) -> Deployment:
    """Nothing is stored and checked behind the test."""
    tasks = deployment.koschey.tasks
    assert isinstance(tasks, dict)
    tasks["derive_work"] = tasks["check_file"] = lambda *_: None
    return deployment


@pytest.fixture
def here(deploy: Deploy) -> Deployment:
    return quiet(deploy(quarantine_days=7.0))


@pytest.fixture
def project(upstream: FakeUpstream) -> Project:
    """Two releases of yesterday; the first has an sdist, too."""
    project = upstream.project("sample")
    project.release("1.0", sdist=True, upload_time=fresh())
    project.release("2.0", upload_time=fresh())
    return project


@pytest.fixture
def held(here: Deployment, project: Project) -> Deployment:
    """It has looked at the project, of which all is held."""
    here.look("sample")
    return here


def decisions(here: Deployment) -> list[tuple[Any, ...]]:
    rows = here.rows('SELECT kind, name, version, filename, "index" FROM decision ORDER BY id')
    return [tuple(row.values()) for row in rows]


def in_step(here: Deployment) -> None:
    """What is recorded of every file is what the pages show, and the counters are right."""
    for index in here.koschey.configuration.indexes():
        hidden = here.rows(
            "SELECT f.filename FROM hold h JOIN file f ON f.id = h.file_id WHERE h.index_id = :id",
            id=index.id,
        )
        counted = here.rows("SELECT value FROM counter WHERE name = :name", name=f"held:{index.id}")
        assert (counted[0]["value"] if counted else 0) == len(hidden)
        names = {row["filename"] for row in here.rows("SELECT filename FROM file")}
        assert here.listed("sample", index.name) == names - {row["filename"] for row in hidden}


@on_both
def test_an_approved_version_is_visible_and_each_file_has_its_decision_and_its_event(
    held: Deployment,
) -> None:
    outcome = held.koschey.review.approve("Sample", "1.0.0", **HOW)

    assert held.listed("sample") == {WHEEL, "sample-1.0.tar.gz"}
    assert {(made.filename, made.version) for made in outcome.decisions} == {
        (WHEEL, "1"),
        ("sample-1.0.tar.gz", "1"),
    }
    assert {made.sha256 for made in outcome.decisions} == {
        held.file(name)["sha256"] for name in (WHEEL, "sample-1.0.tar.gz")
    }
    assert outcome.settled.released == 2
    events = held.events("decision.approve")
    assert [(e["actor"], e["project"], e["reason"]) for e in events] == [
        ("anna", "sample", "looked at it")
    ] * 2
    assert {event["before"] for event in events} == {"main: held (time)"}
    assert len(held.events("file.released")) == 2
    in_step(held)


def test_the_record_spells_a_version_as_its_project_does(held: Deployment) -> None:
    review = held.koschey.review
    review.recheck("sample", version="2", actor="anna")
    review.reject("Sample", version="2.0.0", **HOW)
    why = held.koschey.explanations.version("main", NormalizedName("sample"), "2")
    assert [decision.version for decision in why.decisions] == ["2.0"]
    review.revert("Sample", version="2", **HOW)
    said = held.events("check.requested", "decision.reject", "decision.revert")
    assert [event["subject"] for event in said] == ["sample==2.0"] * 3


@on_both
def test_an_approval_in_one_index_counts_in_that_one_only(held: Deployment) -> None:
    held.koschey.indexes.add_index("team", ["upstream"], hold_days=7, actor="anna")

    held.koschey.review.approve("sample", "1.0", index="team", **HOW)

    assert held.listed("sample") == set()
    assert held.listed("sample", "team") == {WHEEL, "sample-1.0.tar.gz"}


def test_a_file_can_be_approved_alone(held: Deployment) -> None:
    held.koschey.review.approve("sample", filename=WHEEL, **HOW)

    assert held.listed("sample") == {WHEEL}


def test_a_whole_project_is_approved_file_by_file_and_reverted_as_one(held: Deployment) -> None:
    held.koschey.review.approve("sample", "2.0", **HOW)

    outcome = held.koschey.review.approve("sample", **HOW)
    everything = held.listed("sample")
    held.koschey.review.revert("sample", **HOW)

    assert {made.filename for made in outcome.decisions} == {WHEEL, "sample-1.0.tar.gz"}
    assert len(everything) == 3
    assert held.listed("sample") == {SECOND}, "what was approved by itself stays"


@on_both
def test_what_is_approved_is_the_bytes_and_not_the_name(held: Deployment, project: Project) -> None:
    held.koschey.review.approve("sample", "1.0", **HOW)

    held.execute("UPDATE file SET sha256 = :other WHERE filename = :name", other="0" * 64, name=WHEEL)
    held.execute("UPDATE project SET serial = serial + 1")

    assert held.listed("sample") == {"sample-1.0.tar.gz"}


@on_both
def test_a_rejected_project_is_hidden_with_what_comes_and_what_was_visible(
    held: Deployment, project: Project
) -> None:
    project.release("0.1", upload_time="2020-01-01T00:00:00Z")
    held.koschey.review.approve("sample", "1.0", **HOW)

    held.koschey.review.reject("sample", **HOW)
    project.release("3.0", upload_time="2020-01-01T00:00:00Z")
    held.look("sample")

    assert held.listed("sample") == set()
    assert decisions(held)[-1] == ("reject", "sample", None, None, None)
    in_step(held)


def test_a_rejected_version_covers_its_files_that_come_later(held: Deployment, project: Project) -> None:
    held.koschey.review.reject("sample", "2.0", **HOW)
    held.koschey.review.trust("sample", **HOW)
    project.release("2.0", sdist=True, upload_time=fresh())
    held.look("sample")

    hidden = held.rows("SELECT state FROM hold h JOIN file f ON f.id = h.file_id WHERE f.version = '2.0'")
    assert [row["state"] for row in hidden] == ["rejected", "rejected"]


@on_both
def test_what_is_rejected_cannot_be_approved_until_the_rejection_is_reverted(held: Deployment) -> None:
    review = held.koschey.review
    review.reject("sample", "1.0", reason="it steals keys", actor="boris")
    before = decisions(held)

    with pytest.raises(Conflict, match=r"rejected in index main by boris: it steals keys \(decision 1\)"):
        review.approve("sample", "1.0", **HOW)
    assert decisions(held) == before
    review.revert("sample", "1.0", **HOW)
    review.approve("sample", "1.0", **HOW)

    assert WHEEL in held.listed("sample")


def test_what_is_withdrawn_upstream_cannot_be_approved(held: Deployment, project: Project) -> None:
    project.vanish(WHEEL)
    held.look("sample")

    with pytest.raises(Conflict, match="withdrawn upstream, an approval would have no effect"):
        held.koschey.review.approve("sample", filename=WHEEL, **HOW)
    outcome = held.koschey.review.approve("sample", "1.0", **HOW)

    assert held.listed("sample") == {"sample-1.0.tar.gz"}
    assert outcome.notes == (f"{WHEEL} is left out: it was withdrawn upstream",)


def test_a_file_without_a_sha256_is_to_be_stored_before_it_is_approved(
    here: Deployment, project: Project
) -> None:
    for file in project.files.values():
        file.listed = {"hashes": {}}
    here.look("sample")

    with pytest.raises(Conflict, match=r"has no sha256 yet.* is to be stored first"):
        here.koschey.review.approve("sample", "2.0", **HOW)

    assert decisions(here) == []


def test_an_approval_of_what_is_visible_says_so_and_holds_against_later_checks(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("sample").release("1.0", upload_time="2020-01-01T00:00:00Z")
    here.look("sample")

    outcome = here.koschey.review.approve("sample", "1.0", **HOW)
    again = here.koschey.review.approve("sample", "1.0", **HOW)
    here.execute("UPDATE file SET checks = 'archive=fail'")
    here.execute("UPDATE project SET serial = serial + 1")

    assert outcome.notes == (f"{WHEEL} was visible already; now it stays so whatever checks say",)
    assert (again.decisions, again.notes) == ((), (f"{WHEEL} is approved already",))
    assert here.listed("sample") == {WHEEL}


@on_both
def test_a_hold_ends_by_itself_or_waits_for_review(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.project("sample").release("1.0", upload_time="2020-01-01T00:00:00Z")
    here.look("sample")

    here.koschey.review.extend("sample", "1.0", until=now() + 3 * DAY, **HOW)
    [timed] = here.rows("SELECT state, rule, until, review FROM hold")
    here.koschey.review.extend("sample", **HOW)
    [endless] = here.rows("SELECT state, rule, until, review FROM hold")
    here.koschey.review.approve("sample", "1.0", **HOW)

    assert (timed["state"], timed["rule"], bool(timed["review"])) == ("held", "hold", False)
    assert timed["until"] > now() + 2 * DAY
    assert (endless["until"], bool(endless["review"])) == (None, True)
    assert here.listed("sample") == {WHEEL}, "of a hold and an approval the later counts"


@on_both
def test_trust_skips_the_hold_for_what_is_there_and_what_comes_until_it_is_taken_back(
    held: Deployment, project: Project
) -> None:
    checks = sorted(held.koschey.configuration.index("main").checks)
    answers = " ".join(f"{check}=pass" for check in checks)
    held.execute("UPDATE file SET checks = :answers WHERE filename != :name", answers=answers, name=SECOND)

    held.koschey.review.trust("SAMPLE", **HOW)
    trusted = held.listed("sample")
    held.koschey.review.untrust("sample", **HOW)

    expected = {WHEEL, "sample-1.0.tar.gz"} | (set() if checks else {SECOND})
    assert trusted == expected, "checks that have not passed still hold"
    assert held.listed("sample") == set()
    assert [kind for kind, *_ in decisions(held)] == ["trust", "revert"]


@on_both
def test_trust_does_not_follow_a_name_to_another_source(deploy: Deploy, upstream: FakeUpstream) -> None:
    """Or who publishes the name of a trusted project where it is looked for first would be trusted."""
    here = quiet(deploy(quarantine_days=7.0))
    with FakeUpstream() as second:
        spec = UpstreamSpec(url=second.simple_url)
        here.koschey.indexes.add_upstream("second", spec, indexes=["main"], actor="anna")
        off = dict.fromkeys(here.koschey.configuration.index("main").checks, Effect.OFF)
        here.koschey.policies.set("main", "*", checks=off, actor="anna")
        second.project("sample").release("1.0", upload_time=fresh())
        assert here.listed("sample") == set()
        here.koschey.review.trust("sample", **HOW)
        assert here.listed("sample") == {WHEEL}

        upstream.project("sample").release("2.0", upload_time=fresh(0))
        here.look("sample")

        assert here.listed("sample") == set()


@on_both
@pytest.mark.parametrize("same_files", [True, False])
def test_trust_ends_when_a_deleted_name_comes_back_as_somebody_elses(
    held: Deployment, upstream: FakeUpstream, project: Project, same_files: bool
) -> None:
    held.koschey.review.trust("sample", **HOW)
    upstream.forget("sample")
    held.look("sample")
    held.execute("UPDATE project SET missing_since = missing_since - 11000000")
    held.look("sample")
    assert held.project("sample")["state"] == "deleted"

    again = upstream.project("sample")
    again.release("2.0" if same_files else "3.0", upload_time=fresh())
    held.look("sample")

    ended = held.events("decision.revert")
    assert [event["actor"] for event in ended] == ([] if same_files else ["upstream:upstream"])
    standing = [kind for kind, *_ in decisions(held)]
    assert standing == (["trust"] if same_files else ["trust", "revert"])


def test_untrust_of_one_index_does_not_take_back_what_was_said_of_all(held: Deployment) -> None:
    held.koschey.review.trust("sample", **HOW)

    with pytest.raises(NotFound, match=r"there is decision 1 \(trust of sample\)"):
        held.koschey.review.untrust("sample", index="main", **HOW)
    held.koschey.review.untrust("sample", **HOW)
    with pytest.raises(NotFound, match="no trust in 'sample' here"):
        held.koschey.review.untrust("sample", **HOW)


@on_both
def test_a_baseline_accepts_what_is_there_and_nothing_later(held: Deployment, project: Project) -> None:
    held.koschey.review.baseline(project="sample", **HOW)
    project.release("3.0", upload_time=fresh(0))
    held.look("sample")

    assert held.listed("sample") == {WHEEL, "sample-1.0.tar.gz", SECOND}
    held.koschey.review.revert("sample", **HOW)
    assert held.listed("sample") == set()


@on_both
def test_the_baseline_of_an_upstream_is_seen_by_every_process_and_can_be_reverted(
    deploy: Deploy, project: Project
) -> None:
    one, other = quiet(deploy(quarantine_days=7.0)), quiet(deploy(quarantine_days=7.0))
    other.look("sample")
    assert other.listed("sample") == set()

    outcome = one.koschey.review.baseline(source="upstream", **HOW)
    accepted = other.listed("sample")
    one.koschey.review.revert(decision_id=outcome.decisions[0].id, **HOW)

    assert len(accepted) == 3
    assert other.listed("sample") == set()
    assert [event["subject"] for event in one.events("decision.baseline", "decision.revert")] == [
        "upstream"
    ] * 2
    with pytest.raises(Conflict, match="counts no more"):
        one.koschey.review.revert(decision_id=outcome.decisions[0].id, **HOW)


def test_a_revert_takes_back_exactly_its_scope(held: Deployment) -> None:
    review = held.koschey.review
    review.reject("sample", "1.0", **HOW)
    review.reject("sample", "1.0", index="main", **HOW)
    review.reject("sample", filename=WHEEL, **HOW)

    review.revert("sample", "1.0", **HOW)

    reverted = [row["reverts"] for row in held.rows("SELECT reverts FROM decision WHERE kind = 'revert'")]
    assert reverted == [1]
    with pytest.raises(NotFound, match=r"there is decision 2 .*in index main.*decision 3"):
        review.revert("sample", "1.0", **HOW)


def test_a_decision_is_taken_back_by_its_id_once(held: Deployment) -> None:
    review = held.koschey.review
    [made] = review.approve("sample", "2.0", **HOW).decisions

    outcome = review.revert(decision_id=made.id, **HOW)

    assert [(m.reverts, m.filename) for m in outcome.decisions] == [(made.id, SECOND)]
    assert held.listed("sample") == set()
    with pytest.raises(Conflict, match="counts no more"):
        review.revert(decision_id=made.id, **HOW)
    with pytest.raises(NotFound, match="no decision '99' here"):
        review.revert(decision_id=99, **HOW)
    with pytest.raises(NotFound, match="no decision '1 about other' here"):
        review.revert("other", decision_id=made.id, **HOW)


@on_both
@pytest.mark.parametrize("verb", ["reject", "extend", "trust"])
def test_what_was_never_seen_can_be_decided_about_and_that_is_said(
    here: Deployment, project: Project, verb: str
) -> None:
    outcome: Outcome = getattr(here.koschey.review, verb)("Sample", **HOW)
    here.look("sample")

    assert outcome.notes == ("no files of project 'sample' here; this covers what comes",)
    assert here.project("sample")["decided"]
    rules = {row["rule"] for row in here.rows("SELECT rule FROM hold")}
    assert rules == {"reject": {"reject"}, "extend": {"hold"}, "trust": {"missing-check"}}[verb] or (
        verb == "trust" and not rules
    )


@on_both
def test_a_name_is_rejected_while_it_is_first_pulled(here: Deployment, project: Project) -> None:
    """Whoever comes second knows of the first, though neither has a row that the other could lock."""
    with here.koschey.database.transaction() as tx:
        tx.lock_name("sample")
        looking = threading.Thread(target=here.look, args=("sample",))
        looking.start()
        looking.join(0.5)
        tx.session.execute(REJECTION, {"at": now()})
    looking.join(60)

    assert here.project("sample")["decided"]
    assert {row["state"] for row in here.rows("SELECT state FROM hold")} == {"rejected"}


@on_both
def test_an_approval_and_a_rejection_at_once_are_made_one_after_the_other(held: Deployment) -> None:
    """Either the rejection comes second and wins, or the approval does and is told of it."""
    start = threading.Barrier(2)
    failed: dict[str, KoscheyError] = {}

    def run(verb: str, act: Callable[..., Outcome]) -> None:
        start.wait()
        try:
            act("sample", "1.0", **HOW)
        except KoscheyError as error:
            failed[verb] = error

    review = held.koschey.review
    threads = [
        threading.Thread(target=run, args=("approve", review.approve)),
        threading.Thread(target=run, args=("reject", review.reject)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert set(failed) <= {"approve"}
    assert all(isinstance(error, Conflict) for error in failed.values())
    kinds = [kind for kind, *_ in decisions(held)]
    assert kinds == (["reject"] if failed else ["approve", "approve", "reject"])
    assert held.listed("sample") == set()
    in_step(held)


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda r: r.approve("other", **HOW), NotFound, "no files of project 'other' here"),
        (lambda r: r.approve("sample", "1.5", **HOW), NotFound, "'sample==1.5' here; there is 1.0, 2.0"),
        (lambda r: r.approve("sample", filename="sample-1.0.whl", **HOW), NotFound, f"there is .*{WHEEL}"),
        (
            lambda r: r.approve("sample", "2.0", WHEEL, **HOW),
            RequestInvalid,
            "of version 1.0, not of 2",
        ),
        (lambda r: r.approve("sample", "1.0", index="team", **HOW), NotFound, "no index 'team' here"),
        (lambda r: r.approve("../x", **HOW), RequestInvalid, "a project's name has"),
        (lambda r: r.reject("sample", "", **HOW), RequestInvalid, "not a version"),
        (lambda r: r.reject("sample", filename="a/b.whl", **HOW), RequestInvalid, "not a filename"),
        (lambda r: r.reject("sample", actor="anna", reason=" \n "), RequestInvalid, "a reason is needed"),
        (lambda r: r.reject("sample", actor="anna", reason="x" * 2001), RequestInvalid, "at most 2,000"),
        (
            lambda r: r.reject("sample", actor="anna", reason="a\x1b[2Jb"),
            RequestInvalid,
            "no control characters",
        ),
        (
            lambda r: r.reject("sample", actor="anna", reason="a\u202eb"),
            RequestInvalid,
            "no control characters",
        ),
        (lambda r: r.reject("sample", expires_at=now() - 1, **HOW), RequestInvalid, "lies in the future"),
        (lambda r: r.extend("sample", until=10**18, **HOW), RequestInvalid, "before the year 10000"),
        (lambda r: r.revert("sample", **HOW), NotFound, "no decision 'sample' here"),
        (lambda r: r.baseline(project="other", **HOW), NotFound, "no files of project 'other' here"),
        (lambda r: r.baseline(source="hosted", **HOW), NotFound, "no upstream 'hosted' here"),
    ],
)
def test_what_cannot_be_is_one_clear_sentence_and_leaves_nothing(
    held: Deployment, act: Callable[[Review], Outcome], error: type[Exception], words: str
) -> None:
    before = held.events()

    with pytest.raises(error, match=words):
        act(held.koschey.review)

    assert (decisions(held), held.events()) == ([], before)


def test_a_reason_of_several_lines_becomes_one(held: Deployment) -> None:
    held.koschey.review.reject("sample", reason="line one\r\n  line two\u2028three", actor="anna")

    [row] = held.rows("SELECT reason FROM decision")
    assert row["reason"] == "line one line two three"


@on_both
def test_a_new_index_inherits_nothing_from_a_removed_one_of_its_name(held: Deployment) -> None:
    indexes, review = held.koschey.indexes, held.koschey.review
    indexes.add_index("team", ["upstream"], hold_days=7, actor="anna")
    review.approve("sample", "1.0", index="team", **HOW)
    review.baseline(source="upstream", index="team", **HOW)
    visible = held.listed("sample", "team")

    indexes.remove_index("team", actor="anna")
    indexes.add_index("team", ["upstream"], hold_days=7, actor="anna")

    assert len(visible) == 3
    assert held.listed("sample", "team") == set()
    assert [kind for kind, *_ in decisions(held)].count("revert") == 3


@on_both
def test_counts_follow_an_upstream_that_is_removed(held: Deployment, upstream: FakeUpstream) -> None:
    [main] = held.koschey.configuration.indexes()
    counted = held.rows("SELECT value FROM counter WHERE name = :name", name=f"held:{main.id}")

    held.koschey.indexes.remove_upstream("upstream", actor="anna", forget=True)

    assert counted == [{"value": 3}]
    assert held.rows("SELECT value FROM counter WHERE name = :name", name=f"held:{main.id}") == [{"value": 0}]
    assert held.rows("SELECT file_id FROM hold") == []


def test_a_recheck_makes_files_due_again(held: Deployment) -> None:
    held.execute("UPDATE file SET due_at = NULL, attempts = 3, checks = 'archive=pass'")

    count = held.koschey.review.recheck("Sample", "1", actor="anna")

    due = held.rows("SELECT attempts FROM file WHERE due_at <= :now", now=now())
    assert (count, [row["attempts"] for row in due]) == (2, [0, 0])
    assert [(e["actor"], e["subject"]) for e in held.events("check.requested")] == [("anna", "sample==1.0")]

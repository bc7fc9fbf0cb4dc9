"""Policies and what is shown before they are saved; the queue, the journal, and closures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from koschey.domain.policy import Clock, Effect
from koschey.errors import Conflict, NotFound, RequestInvalid
from koschey.services.policies import Policies, PolicyChange
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.service_layer.test_review import DAY, HOW, fresh, quiet

OLD = "2020-01-01T00:00:00Z"
PROJECT = text(
    "INSERT INTO project (source_id, name, state, status, serial, first_seen, decided) "
    "VALUES (:source, :name, 'present', 'active', 0, :at, false)"
)


@pytest.fixture
def here(deploy: Deploy, upstream: FakeUpstream) -> Deployment:
    """Two projects with an old release and one of three days ago; seven days of hold; nothing is checked."""
    deployment = quiet(deploy(quarantine_days=7.0))
    for name in ("sample", "torch-vision"):
        project = upstream.project(name)
        project.release("1.0", upload_time=OLD)
        project.release("2.0", upload_time=fresh(3))
        deployment.look(name)
    for check in deployment.koschey.configuration.index("main").checks:
        deployment.koschey.policies.set("main", "*", checks={check: Effect.OFF}, actor="test")
    deployment.execute("DELETE FROM event")
    return deployment


def count(here: Deployment, name: str) -> int:
    return len(here.listed(name))


def used(here: Deployment, filename: str, days_ago: int) -> None:
    here.execute(
        "INSERT INTO download (day, index_id, file_id, actor, count, last_at) "
        'SELECT :day, i.id, f.id, :actor, 2, 0 FROM file f, "index" i '
        "WHERE f.filename = :filename AND i.name = 'main'",
        day=now() // DAY - days_ago,
        filename=filename,
        actor="203.0.113.1",
    )


@on_both
def test_a_rule_counts_at_once_for_the_names_that_it_matches_in_every_process(
    here: Deployment, deploy: Deploy
) -> None:
    other = quiet(deploy(quarantine_days=7.0))
    before = (count(other, "sample"), count(other, "torch-vision"))

    assert here.koschey.policies.set("main", "Torch_*", 2.0, actor="anna", reason="we test it ourselves")

    assert before == (1, 1)
    assert (count(other, "sample"), count(other, "torch-vision")) == (1, 2)
    [event] = here.events()
    assert (event["action"], event["index"], event["subject"]) == ("policy.set", "main", "torch-*")
    assert (event["before"], event["after"], event["reason"]) == (None, "2 days", "we test it ourselves")


def test_a_rule_is_changed_part_by_part_and_removed(here: Deployment) -> None:
    policies = here.koschey.policies
    check = next(iter(here.koschey.configuration.index("main").checks))
    policies.set("main", "sample", 2.0, actor="anna")
    policies.set("main", "sample", clock=Clock.FIRST_SEEN, checks={check: Effect.REPORTED}, actor="anna")
    [own, rule] = policies.list("main")

    assert own[1].pattern == "*"
    assert (rule[1].hold_days, rule[1].clock, rule[1].checks) == (2.0, "first-seen", {check: "reported"})
    assert not policies.set("main", "sample", 2.0, actor="anna"), "it is so already"
    policies.set("main", "sample", checks={check: None}, actor="anna")
    assert policies.list("main")[1][1].checks == {}
    policies.remove("main", "Sample", actor="anna")
    assert [rule.pattern for _, rule in policies.list()] == ["*"]
    assert [event["action"] for event in here.events()] == ["policy.set"] * 3 + ["policy.remove"]


@on_both
def test_the_effect_is_what_then_happens(here: Deployment) -> None:
    used(here, "sample-1.0-py3-none-any.whl", 3)
    used(here, "torch_vision-1.0-py3-none-any.whl", 40)
    used(here, "sample-2.0-py3-none-any.whl", 1)

    shorter = here.koschey.policies.preview(PolicyChange(index="main", pattern="*", hold_days=1.0))
    strict = here.koschey.policies.preview(PolicyChange(index="main", pattern="*", clock=Clock.FIRST_SEEN))
    named = here.koschey.policies.preview(PolicyChange(index="main", pattern="sample", hold_days=0))
    same = here.koschey.policies.preview(PolicyChange(index="main", pattern="*", hold_days=8.0))

    assert (shorter.appear, shorter.vanish, shorter.appear_downloaded) == (2, 0, 1)
    assert [(e.project, e.version, e.appears, e.downloads) for e in shorter.examples] == [
        ("sample", "2.0", True, 2),
        ("torch-vision", "2.0", True, 0),
    ]
    assert (strict.appear, strict.vanish, strict.vanish_downloaded) == (0, 2, 1)
    assert (named.appear, named.projects) == (1, 1)
    assert (same.appear, same.vanish, same.complete) == (0, 0, True)
    assert here.events() == [], "nothing was saved"
    here.koschey.policies.set("main", "*", clock=Clock.FIRST_SEEN, actor="anna")
    assert (count(here, "sample"), count(here, "torch-vision")) == (0, 0)


def test_the_effect_counts_decisions_and_checks_and_removed_rules(here: Deployment) -> None:
    check = next(iter(here.koschey.configuration.index("main").checks))
    here.koschey.review.reject("sample", **HOW)
    here.execute("UPDATE file SET checks = :said WHERE filename LIKE 'torch%'", said=f"{check}=fail")
    here.koschey.policies.set("main", "torch-vision", 0.0, actor="anna")

    required = {check: Effect.REQUIRED}
    effect = here.koschey.policies.preview(PolicyChange(index="main", pattern="*", checks=required))
    back = here.koschey.policies.preview(PolicyChange(index="main", pattern="torch-vision", removed=True))

    assert (effect.appear, effect.vanish) == (0, 2), "what is rejected does not vanish"
    assert {example.reason for example in effect.examples} == {f"held for review: failed check {check}"}
    assert (back.appear, back.vanish) == (0, 1)


def test_a_count_that_takes_too_long_says_so(here: Deployment, upstream: FakeUpstream) -> None:
    effect = here.koschey.policies.preview(PolicyChange(index="main", pattern="*", hold_days=0), seconds=0.0)
    source = here.koschey.configuration.upstreams()[0].id
    with here.koschey.database.transaction() as tx:
        for number in range(150):
            tx.session.execute(PROJECT, {"source": source, "name": f"aa-{number:03}", "at": now()})
    partial = here.koschey.policies.preview(PolicyChange(index="main", pattern="*", hold_days=0), seconds=0.0)

    assert (effect.complete, effect.appear) == (True, 2)
    assert (partial.complete, partial.projects, partial.appear) == (False, 100, 0)


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda p: p.set("team", "*", 1.0, actor="a"), NotFound, "no index 'team' here"),
        (lambda p: p.set("main", "a b", 1.0, actor="a"), RequestInvalid, "a glob of letters"),
        (lambda p: p.set("main", "[", 1.0, actor="a"), RequestInvalid, "a glob of letters"),
        (lambda p: p.set("main", "x" * 201, 1.0, actor="a"), RequestInvalid, "a glob of letters"),
        (lambda p: p.set("main", "*", -1.0, actor="a"), RequestInvalid, "a number from 0 to 36500"),
        (lambda p: p.set("main", "*", float("nan"), actor="a"), RequestInvalid, "a number from 0"),
        (lambda p: p.set("main", "x", checks={"no": Effect.OFF}, actor="a"), RequestInvalid, "no check 'no'"),
        (lambda p: p.set("main", "x", actor="a"), RequestInvalid, "would say nothing"),
        (lambda p: p.remove("main", "*", actor="a"), RequestInvalid, "the index's own and stays"),
        (lambda p: p.remove("main", "x", actor="a"), NotFound, r"no policy for 'x' here; there is \*"),
        (
            lambda p: p.preview(PolicyChange(index="main", pattern="x", removed=True)),
            NotFound,
            "no policy for 'x'",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_sentence_and_changes_nothing(
    here: Deployment, act: Callable[[Policies], Any], error: type[Exception], words: str
) -> None:
    before = here.rows('SELECT policy_version FROM "index"')

    with pytest.raises(error, match=words):
        act(here.koschey.policies)

    assert (here.rows('SELECT policy_version FROM "index"'), here.events()) == (before, [])


@on_both
def test_the_queue_is_read_part_by_part_in_either_order_over_all_indexes(
    here: Deployment, upstream: FakeUpstream
) -> None:
    here.koschey.indexes.add_index("team", ["upstream"], hold_days=30, actor="anna")
    for number in range(5):
        upstream.project("many").release(f"{number}.0", upload_time=fresh(1))
    here.look("many")
    read = here.koschey.waiting.page

    whole = [(file.filename, file.index) for file in read(limit=1000).files]
    for oldest_first in (False, True):
        seen, cursor = [], None
        while True:
            page = read(limit=3, after=cursor, oldest_first=oldest_first)
            seen += [(file.filename, file.index) for file in page.files]
            if (cursor := page.next) is None:
                break
        assert seen == (whole[::-1] if oldest_first else whole)
    assert len(whole) == len(set(whole)) == 12
    assert {file.index for file in read(index="team").files} == {"team"}
    assert {file.project for file in read(project="torch*").files} == {"torch-vision"}
    assert {file.project for file in read(project="Sample").files} == {"sample"}


def test_the_queue_says_why_and_what_waits_for_a_person(here: Deployment) -> None:
    check = next(iter(here.koschey.configuration.index("main").checks))
    here.koschey.policies.set("main", "*", checks={check: Effect.REQUIRED}, actor="anna")
    here.execute(
        "UPDATE file SET checks = :said WHERE filename = :name",
        said=f"{check}=fail",
        name="sample-2.0-py3-none-any.whl",
    )
    here.koschey.review.extend("torch-vision", **HOW)

    files = {file.filename: file for file in here.koschey.waiting.page().files}
    waiting = here.koschey.waiting.page(review=True).files

    failed = files["sample-2.0-py3-none-any.whl"]
    assert (failed.state, failed.rule, failed.failed_checks) == ("held", "failed-check", (check,))
    assert failed.reason == f"held for review: failed check {check}"
    assert {file.filename for file in waiting} == {
        "torch_vision-1.0-py3-none-any.whl",
        "torch_vision-2.0-py3-none-any.whl",
    }
    for wrong in ({"after": "x"}, {"limit": 0}, {"project": "a b"}):
        with pytest.raises(RequestInvalid):
            here.koschey.waiting.page(**wrong)  # type: ignore[arg-type]


@on_both
def test_the_journal_is_filtered_and_read_on(here: Deployment) -> None:
    for name in ("one", "two"):
        here.koschey.review.reject(name, **HOW)
    here.koschey.review.trust("one", index="main", **HOW)
    read = here.koschey.audit.events

    assert [(e.action, e.project) for e in read(action="decision.*")] == [
        ("decision.trust", "one"),
        ("decision.reject", "two"),
        ("decision.reject", "one"),
    ]
    assert [e.action for e in read(project="One")] == ["decision.trust", "decision.reject"]
    assert [e.action for e in read(index="main")] == ["decision.trust"]
    assert read(actor="boris") == read(since=now()) == read(action="decision_reject") == []
    [last] = read(limit=1)
    assert [e.project for e in read(after=last.id)] == ["two", "one"]


@on_both
def test_an_approval_with_what_it_needs_takes_the_held_part_of_the_closure(
    here: Deployment, upstream: FakeUpstream
) -> None:
    publish_closure(upstream)
    for name in ("app", "base", "cycle", "extra-part", "seen", "evil"):
        here.look(name)
        keep_metadata(here, upstream, name)
    here.koschey.review.reject("evil", "2.0", **HOW)

    plan = here.koschey.closure.plan("App", "1.0.0")
    outcome = here.koschey.review.approve_plan(plan, **HOW)

    assert {(needed.name, needed.version): needed.why for needed in plan.versions} == {
        ("app", "1.0"): ("cycle 1.0 requires app",),
        ("base", "1.5"): ("app 1.0 requires base[fast]<2",),
        ("cycle", "1.0"): ("app 1.0 requires cycle",),
        ("extra-part", "1.0"): ('base 1.5 requires extra-part; extra == "fast"',),
    }
    assert {missing.requirement: missing.problem.partition(":")[0] for missing in plan.unsatisfied} == {
        "absent>=1": "no files of absent are known in index main",
        'evil>=2; sys_platform == "plan9"': "evil-2.0-py3-none-any.whl",
    }
    assert len(outcome.decisions) == 4
    assert here.listed("app") and here.listed("base") and here.listed("cycle")
    assert here.listed("base") == {"base-1.5-py3-none-any.whl"}, "not the newest: it does not fit"
    assert here.listed("seen") == {"seen-1.0-py3-none-any.whl"}, "a visible version does, the new one is held"


def publish_closure(upstream: FakeUpstream) -> None:
    young = {"upload_time": fresh(1)}
    app = upstream.project("app")
    needs = ["base[fast]<2", "cycle", "seen", "absent>=1", "evil>=2; sys_platform == 'plan9'"]
    app.release("1.0", requires=needs, extras={"other": ["never"]}, **young)
    base = upstream.project("base")
    base.release("1.4", **young)
    base.release("1.5", extras={"fast": ["extra-part"], "slow": ["never"]}, **young)
    base.release("2.0", **young)
    upstream.project("cycle").release("1.0", requires=["app"], **young)
    upstream.project("extra-part").release("1.0", **young)
    upstream.project("seen").release("1.0", upload_time=OLD)
    upstream.project("seen").release("2.0", **young)
    upstream.project("evil").release("2.0", **young)


def keep_metadata(here: Deployment, upstream: FakeUpstream, name: str) -> None:
    """As if the worker had stored each wheel and its METADATA."""
    store = here.koschey.store
    for file in upstream.project(name).files.values():
        assert file.metadata is not None
        digest = file.entry()["core-metadata"]["sha256"]
        spooled = store.spool_dir / digest
        spooled.write_bytes(file.metadata)
        store.publish(spooled, digest, len(file.metadata))
        here.execute(
            "UPDATE file SET metadata_stored = :yes, metadata_sha256 = :digest WHERE filename = :name",
            yes=True,
            digest=digest,
            name=file.filename,
        )


def test_a_plan_has_no_version_in_whose_place_another_of_it_does(
    here: Deployment, upstream: FakeUpstream
) -> None:
    """``app`` takes the newest of ``deep`` first, and then ``lib`` needs an older one."""
    young = {"upload_time": fresh(1)}
    upstream.project("app").release("1.0", requires=["deep", "lib"], **young)
    upstream.project("lib").release("2.0", requires=["deep==3.0"], **young)
    upstream.project("deep").release("3.0", **young)
    upstream.project("deep").release("4.0", requires=["lib"], **young)
    for name in ("app", "lib", "deep"):
        here.look(name)
        keep_metadata(here, upstream, name)

    plan = here.koschey.closure.plan("app", "1.0")

    assert {(needed.name, needed.version): needed.why for needed in plan.versions} == {
        ("app", "1.0"): (),
        ("deep", "3.0"): ("app 1.0 requires deep", "lib 2.0 requires deep==3.0"),
        ("lib", "2.0"): ("app 1.0 requires lib",),
    }


def test_a_plan_leaves_out_what_failed_a_check_unless_that_is_said(
    here: Deployment, upstream: FakeUpstream
) -> None:
    check = next(iter(here.koschey.configuration.index("main").checks))
    here.koschey.policies.set("main", "*", checks={check: Effect.REQUIRED}, actor="anna")
    upstream.project("app").release("1.0", requires=["base"], upload_time=fresh(1))
    upstream.project("base").release("1.0", upload_time=fresh(1))
    for name in ("app", "base"):
        here.look(name)
        keep_metadata(here, upstream, name)
    here.execute("UPDATE file SET checks = :said WHERE filename LIKE 'base%'", said=f"{check}=fail")

    careful = here.koschey.closure.plan("app", "1.0")
    bold = here.koschey.closure.plan("app", "1.0", include_failed=True)

    assert [needed.name for needed in careful.versions] == ["app"]
    assert careful.unsatisfied[0].problem.endswith(f"held for review: failed check {check}")
    assert [needed.name for needed in bold.versions] == ["app", "base"]


def test_a_plan_says_what_it_does_not_know_and_is_void_when_files_changed(
    here: Deployment, upstream: FakeUpstream
) -> None:
    plan = here.koschey.closure.plan("sample", "2.0")
    here.execute("UPDATE file SET sha256 = :other WHERE version = '2.0'", other="0" * 64)

    assert plan.unknown == ("sample 2.0",)
    with pytest.raises(Conflict, match="is not as it was shown any more"):
        here.koschey.review.approve_plan(plan, **HOW)
    with pytest.raises(NotFound, match=r"there is 1\.0, 2\.0"):
        here.koschey.closure.plan("sample", "3.0")
    here.koschey.review.reject("sample", "2.0", **HOW)
    with pytest.raises(Conflict, match="revert that first"):
        here.koschey.closure.plan("sample", "2.0")

"""Pulls, answers, decisions, policies and time in any order: what is shown is what the model says."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import sqlalchemy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from koschey.domain.checks import Outcome, summary
from koschey.domain.decisions import Kind
from koschey.domain.names import NormalizedName
from koschey.domain.negotiation import Representation
from koschey.domain.page import UpstreamFile, UpstreamPage
from koschey.domain.policy import Clock, Effect
from koschey.errors import Conflict, FileHidden, NotFound
from koschey.services.arrivals import Arrivals
from koschey.services.flights import Flights
from koschey.services.holds import Holds
from koschey.services.mirror import Mirror
from koschey.upstream.client import PageFetched, PageMissing, PageOutcome
from tests.service_layer.conftest import Deploy, Deployment
from tests.service_layer.quarantine_machine import HOUR, Model, ModelFile, ModelPolicy

DAY = 24 * HOUR
INDEXES = {"main": 7 * DAY, "strict": 30 * DAY}
REQUIRED = ("archive", "record")
FILES = {
    "sample-1.0.tar.gz": "1.0",
    "sample-1.0-py3-none-any.whl": "1.0",
    "sample-2.0-py3-none-any.whl": "2.0",
    "sample-3.0.tar.gz": "3.0",
}
CLAIMS = (None, -60 * DAY, -3 * DAY, -12 * HOUR, -HOUR, 0, DAY)
EXAMPLES = 20
numbers = itertools.count(1)
filenames = st.sampled_from(list(FILES))
indexes = st.sampled_from([None, *INDEXES])
scopes = st.sampled_from(
    [{}, {"version": "1.0"}, {"version": "2.0"}, *({"version": v, "filename": f} for f, v in FILES.items())]
)
ends = st.sampled_from([None, HOUR, 2 * DAY, 40 * DAY])


class ClockInHand:
    """Stands for ``time.time_ns``: time goes by when a test says so."""

    def __init__(self) -> None:
        self.now = time.time_ns() // 1000

    def __call__(self) -> int:
        return self.now * 1000


class ScriptedPages:
    """Stands for the upstream's client: gives the page that comes next."""

    next: PageOutcome

    def project_page(self, *_: Any, **__: Any) -> PageOutcome:
        return self.next


class Quarantine(RuleBasedStateMachine):
    here: ClassVar[Deployment]
    clock: ClassVar[ClockInHand]

    @initialize()
    def begin(self) -> None:
        koschey = self.here.koschey
        self.name = NormalizedName(f"sample-{next(numbers)}")
        required = frozenset(REQUIRED)
        self.model = Model({name: ModelPolicy(hold, required=required) for name, hold in INDEXES.items()})
        self.upstream = ScriptedPages()
        self.holds = Holds(koschey.configuration)
        self.mirror = Mirror(
            koschey.database,
            koschey.lookup,
            self.upstream,  # type: ignore[arg-type]
            Flights(koschey.locks),
            koschey.configuration,
            Arrivals(koschey.configuration, self.holds),
            lambda: None,
            page_deadline=30.0,
            negative_names=1000,
        )
        self.recorded: dict[tuple[str, str], tuple[str, str]] = {}
        self.seen: set[tuple[str, str]] = set()
        self.events = self._newest_event()
        self.etags: dict[str, tuple[str, Any]] = {}
        self.settled = True

    def teardown(self) -> None:
        for statement in (
            "DELETE FROM project WHERE name = :name",
            "DELETE FROM decision WHERE name = :name",
            "DELETE FROM policy WHERE pattern = :name",
            "UPDATE counter SET value = 0 WHERE name LIKE 'held:%'",
            "UPDATE counter SET value = value + 1 WHERE name = 'configuration'",
        ):
            self.here.execute(statement, **({"name": self.name} if ":name" in statement else {}))

    @rule(
        listed=st.sets(filenames),
        claims=st.lists(st.sampled_from(CLAIMS), min_size=4, max_size=4),
        other_bytes=st.none() | st.none() | st.none() | filenames,
        status=st.sampled_from(["active", "active", "active", "quarantined"]),
    )
    def upstream_publishes(
        self, listed: set[str], claims: list[int | None], other_bytes: str | None, status: str
    ) -> None:
        """New files, changed ones, withdrawn ones and ones that returned, as the page has them now."""
        self._moment_later()
        page = {}
        for (filename, version), claim in zip(FILES.items(), claims, strict=True):
            sha256 = ("b" if filename == other_bytes else "a") * 64
            if filename in listed and status == "active":
                page[filename] = (version, sha256, None if claim is None else self.clock.now + claim)
        self._publish(page, status)

    @precondition(lambda self: self.model.files)
    @rule(claim=st.sampled_from(CLAIMS))
    def upstream_gives_other_times(self, claim: int | None) -> None:
        """For everything that was ever listed, also what had none."""
        self._moment_later()
        claimed = None if claim is None else self.clock.now + claim
        page = {file.filename: (file.version, file.sha256, claimed) for file in self.model.files.values()}
        self._publish(page, "active")

    def _publish(self, page: dict[str, tuple[str, str, int | None]], status: str) -> None:
        files = tuple(
            UpstreamFile(
                filename=filename,
                url=f"https://upstream.example/{self.name}/{filename}",
                version=version,
                sha256=sha256,
                upload_time=claimed,
            )
            for filename, (version, sha256, claimed) in page.items()
        )
        self._look(PageFetched(UpstreamPage(name=self.name, files=files, status=status), None))
        self.model.page(self.clock.now, page, quarantined=status == "quarantined")

    @precondition(lambda self: self.model.looked_at is not None)
    @rule()
    def upstream_says_404(self) -> None:
        self._moment_later()
        self._look(PageMissing())
        self.model.missing(self.clock.now)

    @precondition(lambda self: self.model.files)
    @rule(filename=filenames, check=st.sampled_from(REQUIRED), outcome=st.sampled_from(Outcome))
    def a_check_answers(self, filename: str, check: str, outcome: Outcome) -> None:
        file = self.model.files.get(filename)
        if file is None:
            return
        self._moment_later()
        file.answers[check] = outcome
        with self.here.koschey.database.transaction() as tx:
            project_id, file_id = self._ids(filename)
            tx.lock_project(project_id)
            tx.connection.exec_driver_sql(
                "UPDATE file SET checks = ? WHERE id = ?", (summary(file.answers), file_id)
            )
            self.holds.settle(tx, [project_id], actor="koschey", at=self.clock.now, file_ids=[file_id])

    @precondition(lambda self: self.model.files)
    @rule(which=st.integers(0, 3), index=indexes, end=ends)
    def somebody_approves_a_file(self, which: int, index: str | None, end: int | None) -> None:
        files = list(self.model.files)
        filename = files[which % len(files)]
        self._say("approve", filename=filename, index=index, expires_at=self._in(end))

    @rule(verb=st.sampled_from(["approve", "reject", "extend"]), scope=scopes, index=indexes, end=ends)
    def somebody_decides(self, verb: str, scope: dict[str, str], index: str | None, end: int | None) -> None:
        self._say(
            verb, **scope, index=index, **{"until" if verb == "extend" else "expires_at": self._in(end)}
        )

    @rule(index=indexes, end=ends)
    def somebody_trusts(self, index: str | None, end: int | None) -> None:
        self._say("trust", index=index, expires_at=self._in(end))

    @precondition(lambda self: self.model.files)
    @rule(index=indexes)
    def somebody_accepts_what_is_there(self, index: str | None) -> None:
        self._moment_later()
        with_project = {"project": str(self.name), "index": index, "reason": "as it is", "actor": "rena"}
        try:
            outcome = self.here.koschey.review.baseline(**with_project)  # type: ignore[arg-type]
        except (Conflict, NotFound):
            return
        self.model.said += [(made, self.clock.now) for made in outcome.decisions]

    @precondition(lambda self: any(made.kind is not Kind.REVERT for made, _ in self.model.said))
    @rule(which=st.integers(0, 30))
    def somebody_takes_it_back(self, which: int) -> None:
        made = [made for made, _ in self.model.said if made.kind is not Kind.REVERT]
        self._say("revert", decision_id=made[which % len(made)].id)

    @rule(
        index=st.sampled_from(list(INDEXES)),
        days=st.sampled_from([0, 1, 7, 30]),
        clock=st.sampled_from(Clock),
        required=st.sets(st.sampled_from(REQUIRED)),
    )
    def the_policy_changes(self, index: str, days: int, clock: Clock, required: set[str]) -> None:
        self._moment_later()
        effects = {check: Effect.REQUIRED if check in required else Effect.REPORTED for check in REQUIRED}
        self.here.koschey.policies.set(index, self.name, days, clock, effects, actor="rena", reason="so")
        self.model.policies[index] = ModelPolicy(days * DAY, clock, frozenset(required))
        self.settled = False

    @rule(span=st.sampled_from([HOUR, 11_000_000, DAY, 4 * DAY, 20 * DAY]))
    def time_goes_by(self, span: int) -> None:
        self.clock.now += span
        self.settled = False

    @precondition(lambda self: self.model.looked_at is not None)
    @rule()
    def time_goes_by_to_the_very_end_of_a_hold(self) -> None:
        rows = self._holds()
        untils = [row["until"] for row in rows if row["until"] is not None and row["until"] > self.clock.now]
        if untils:
            self.clock.now = min(untils)
            self.settled = False

    @rule()
    def time_goes_by_until_a_decision_runs_out_and_the_sweeps_run(self) -> None:
        expiries = [made.expires_at for made, _ in self.model.said if made.expires_at is not None]
        if coming := [at for at in expiries if at > self.clock.now]:
            self.clock.now = min(coming)
        self.the_sweeps_run()

    @rule()
    def the_sweeps_run(self) -> None:
        self.here.koschey.tasks["settle_policies"]()
        self.here.koschey.tasks["release_due"]()
        self.settled = True

    @invariant()
    def pages_list_what_the_model_says(self) -> None:
        if getattr(self, "model", None) is None or self.model.looked_at is None:
            return
        for index in INDEXES:
            visible = {f.filename for f in self._files(index, "visible")}
            ready = self.here.koschey.catalog.project_page(
                index, self.name, Representation.JSON, "identity", "http://index.example"
            )
            page = json.loads(ready.body)
            assert {file["filename"] for file in page["files"]} == visible
            assert set(page["versions"]) == {FILES[filename] for filename in visible}
            for file in self.model.files.values():
                assert self._served(index, file) is (file.filename in visible), (index, file.filename)
            known = self.etags.get(index)
            if known is not None and known[1] != visible:
                assert known[0] != ready.etag, "a page that lists other files is another page"
            self.etags[index] = (ready.etag, visible)

    @invariant()
    def what_is_recorded_is_complete_and_each_change_has_one_event(self) -> None:
        if getattr(self, "model", None) is None or self.model.looked_at is None:
            return
        rows = self._holds()
        recorded = {(row["index"], row["filename"]): (row["state"], row["rule"]) for row in rows}
        if self.settled:
            hidden = {
                (index, file.filename): state
                for index in INDEXES
                for state in ("held", "rejected")
                for file in self._files(index, state)
            }
            assert {key: state for key, (state, _) in recorded.items()} == hidden
        counted = Counter(row["index"] for row in rows)
        for index in INDEXES:
            assert self._counter(index) == counted[index]
        self._compare_events(recorded)

    def _compare_events(self, recorded: dict[tuple[str, str], tuple[str, str]]) -> None:
        """Whatever changed in the records since the last step has its one event, and nothing else has."""
        events = self.here.rows(
            'SELECT id, "index", subject, before, after, actor, reason FROM event '
            "WHERE id > :after AND action IN ('file.held', 'file.released', 'file.rejected') ORDER BY id",
            after=self.events,
        )
        changed = {
            key for key in recorded.keys() | self.recorded if recorded.get(key) != self.recorded.get(key)
        }
        assert Counter((e["index"], e["subject"]) for e in events) == Counter(changed)
        for event in events:
            key = (event["index"], event["subject"])
            state, cause = recorded.get(key, ("visible", None))
            assert event["after"].startswith(state if cause is None else f"{state} ({cause})")
            if key in self.recorded:
                assert event["before"] == "{} ({})".format(*self.recorded[key])
            else:
                assert event["before"] == ("new" if key not in self.seen else "visible")
            assert event["actor"] and event["reason"]
        self.recorded, self.events = recorded, self._newest_event()
        self.seen = {(index, filename) for index in INDEXES for filename in self.model.files}

    def _in(self, span: int | None) -> int | None:
        return None if span is None else self.clock.now + span

    def _moment_later(self) -> None:
        """No two things happen at once; and what ends meanwhile is not recorded yet."""
        before = self.clock.now
        self.clock.now += 1_000_000
        ends = [row["until"] for row in self._holds()]
        ends += [end for made, _ in self.model.said for end in (made.expires_at, made.until)]
        if any(end is not None and before < end <= self.clock.now for end in ends):
            self.settled = False

    def _look(self, outcome: PageOutcome) -> None:
        self.upstream.next = outcome
        source = next(s for s in self.here.koschey.configuration.upstreams() if s.name == "upstream")
        self.mirror.look(source, self.name, seen=self.model.looked_at)

    def _say(self, verb: str, **values: Any) -> None:
        self._moment_later()
        review = self.here.koschey.review
        try:
            outcome = getattr(review, verb)(self.name, **values, reason="so", actor="rena")
        except (Conflict, NotFound):
            return
        self.model.said += [(made, self.clock.now) for made in outcome.decisions]

    def _files(self, index: str, state: str) -> list[ModelFile]:
        now = self.clock.now
        return [f for f in self.model.files.values() if self.model.state(index, f, now) == state]

    def _served(self, index: str, file: ModelFile) -> bool:
        found = self.here.koschey.lookup.files_named(self.name, file.filename)
        try:
            self.here.koschey.files.find(index, found[0].path)
        except FileHidden:
            return False
        return True

    def _holds(self) -> list[dict[str, Any]]:
        return self.here.rows(
            'SELECT i.name AS "index", f.filename, h.state, h.rule, h.until FROM hold h '
            'JOIN "index" i ON i.id = h.index_id JOIN file f ON f.id = h.file_id '
            "JOIN project p ON p.id = f.project_id WHERE p.name = :name",
            name=self.name,
        )

    def _counter(self, index: str) -> int:
        rows = self.here.rows(
            "SELECT value FROM counter WHERE name = 'held:' || (SELECT id FROM \"index\" WHERE name = :name)",
            name=index,
        )
        return rows[0]["value"] if rows else 0

    def _ids(self, filename: str) -> tuple[int, int]:
        [look] = self.here.koschey.lookup.files_named(self.name, filename)
        return look.project_id, look.file_id

    def _newest_event(self) -> int:
        return self.here.rows("SELECT COALESCE(max(id), 0) AS newest FROM event")[0]["newest"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClockInHand]:
    """In the place of the one clock, in every module that asks for the time."""
    clock = ClockInHand()
    monkeypatch.setattr(time, "time_ns", clock)
    yield clock


def _patient(connection: Any, _record: Any) -> None:
    """Thousands of small transactions: none waits for the disk, nor fails on a machine that stood still."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA busy_timeout=120000")


def test_whatever_happens_the_quarantine_is_as_its_rules_say(deploy: Deploy, clock: ClockInHand) -> None:
    here = deploy(
        upstream_url="https://upstream.example/simple/",
        refresh_seconds=1e9,
        stale_seconds=1e9,
        quarantine_days=INDEXES["main"] / DAY,
    )
    sqlalchemy.event.listen(here.koschey.engine, "connect", _patient)
    here.koschey.engine.dispose()
    here.koschey.indexes.add_index("strict", ["upstream"], hold_days=INDEXES["strict"] / DAY, actor="test")
    for index in here.koschey.configuration.indexes():
        others = {check: Effect.REPORTED for check in index.checks if check not in REQUIRED}
        here.koschey.policies.set(index.name, "*", checks=others, actor="test", reason="two will do")
    Quarantine.here, Quarantine.clock = here, clock

    run_state_machine_as_test(
        Quarantine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

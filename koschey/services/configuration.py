"""The indexes and their sources, as a process last read them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from koschey.domain.decisions import Decision, Kind
from koschey.domain.filters import EVERYTHING, Filters, Mode
from koschey.domain.ownership import UNOWNED, NameRule, Outside, Ownership, RuleKind
from koschey.domain.policy import UNHELD, Clock, Effect, Policy, PolicyRule, policy_for
from koschey.errors import NotFound, UploadForbidden
from koschey.stores.database import CONFIGURATION, Database
from koschey.stores.models import IndexRow, IndexSource, NameRuleRow, PolicyRow, Source, SourceKind
from koschey.stores.quarantine_rows import DecisionRow
from koschey.upstream.endpoint import Endpoint

MAIN = "main"
#: Policies of names, per index; they are made again when there are more.
_REMEMBERED = 10_000


@dataclass(frozen=True)
class SourceConfig:
    """A source as an index uses it. ``endpoint`` is None for a hosted one."""

    id: int
    name: str
    kind: SourceKind
    refresh_seconds: float
    endpoint: Endpoint | None
    mode: Mode = Mode.KNOWN
    filters: Filters = EVERYTHING
    sync_seconds: float = 0.0
    connections: int = 1

    @property
    def paused(self) -> bool:
        """Whether a person has it left alone: what is stored is served, and nothing is asked of it."""
        return self.endpoint is not None and self.endpoint.paused is not None


@dataclass(frozen=True)
class IndexConfig:
    """An index: its sources in order, hosted ones first, and its policy."""

    id: int
    name: str
    sources: tuple[SourceConfig, ...]
    rules: tuple[PolicyRule, ...] = ()
    policy_version: int = 1
    tolerance: int = 0
    """Microseconds that a file's time may lie before our previous look."""
    checks: Mapping[str, Effect] = field(default_factory=dict)
    """Each check that there is, with its effect where no rule says one."""
    baselines: Mapping[int, tuple[Decision, ...]] = field(default_factory=dict)
    """By source id: what was accepted of a whole source."""
    ownership: Ownership = UNOWNED
    hosted: frozenset[int] = frozenset()
    """Ids of every hosted source that there is, in this index or not."""
    _policies: dict[str, Policy] = field(default_factory=dict, compare=False, repr=False)

    @property
    def hold_days(self) -> float:
        """Days of hold where no rule for a name says otherwise."""
        return next((rule.hold_days or 0.0 for rule in self.rules if rule.pattern == "*"), 0.0)

    def policy(self, source: SourceConfig, name: str) -> Policy:
        """What holds for a normalised name of that source; the company's own packages are not held."""
        if source.kind is SourceKind.HOSTED:
            return UNHELD
        policy = self._policies.get(name)
        if policy is None:
            if len(self._policies) >= _REMEMBERED:
                self._policies.clear()
            policy = policy_for(self.rules, name, tolerance=self.tolerance, checks=self.checks)
            self._policies[name] = policy
        return policy

    @property
    def concerned(self) -> frozenset[int]:
        """Ids of the sources that say whose a name is here: its own, and every hosted one."""
        return self.hosted.union([source.id for source in self.sources])

    def outside(self, name: str, having: Collection[int]) -> Outside:
        """What this index's upstreams are to a normalised name.

        Args:
            having: ids of the sources that have the name, or ever had it.
        """
        hosted = self.hosted.intersection(having)
        here = any(source.id in hosted for source in self.sources)
        return self.ownership.outside(name, hosted_here=here, hosted=bool(hosted))

    @property
    def uploads_to(self) -> SourceConfig:
        """Where uploads go, and what its publishers look after: the first hosted source.

        Raises:
            UploadForbidden: it has none.
        """
        for source in self.sources:
            if source.kind is SourceKind.HOSTED:
                return source
        raise UploadForbidden(
            "index-without-hosted-source",
            f"the index {self.name} takes no uploads: it has no hosted source; "
            f"an admin can give it one (koschey index edit {self.name} --source ...)",
        )

    @property
    def prefix(self) -> str:
        """Path prefix of the index: empty for ``main``."""
        return "" if self.name == MAIN else f"/{self.name}"


class Configuration:
    """The indexes as this process last read them; read again when the configuration number moved."""

    def __init__(
        self, database: Database, *, checks: Mapping[str, Effect] | None = None, tolerance: int = 0
    ) -> None:
        """``checks``: every check with its default effect. ``tolerance``: see IndexConfig."""
        self._database = database
        self._checks = dict(checks or {})
        self._tolerance = tolerance
        self._lock = threading.Lock()
        self._number = -1
        self._indexes: dict[str, IndexConfig] = {}
        self._sources: dict[int, SourceConfig] = {}
        self._nowhere = UNOWNED

    def index(self, name: str, number: int | None = None) -> IndexConfig:
        """The index of that name. ``number``: the configuration number just read, if the caller has it.

        Raises:
            NotFound: there is no such index.
        """
        self._refresh(number)
        try:
            return self._indexes[name]
        except KeyError:
            raise NotFound("index", name) from None

    def number(self, given: Session | None = None) -> int:
        """The configuration number, read now: it rises with each change, of rights too.

        Args:
            given: the session of an open transaction, to need no second connection beside it.
        """
        with contextlib.ExitStack() as stack:
            session = given or stack.enter_context(self._database.reading())
            return _number(session)

    def indexes(self, session: Session | None = None, *, number: int | None = None) -> list[IndexConfig]:
        """All indexes, main first, then by name; the arguments are as for ``indexes_of`` and ``index``."""
        self._refresh(number, session)
        return self._by_name()

    def _by_name(self) -> list[IndexConfig]:
        return sorted(self._indexes.values(), key=lambda index: (index.name != MAIN, index.name))

    def indexes_of(self, source_id: int, session: Session | None = None) -> list[IndexConfig]:
        """The indexes that have that source, main first, then by name.

        Args:
            session: that of an open transaction, which must not have touched the configuration itself: to
                need no second connection beside it.
        """
        self._refresh(None, session)
        return [index for index in self._by_name() if any(s.id == source_id for s in index.sources)]

    def source(self, source_id: int) -> SourceConfig:
        """One source by its id, as of the last look at an index or file. Raises: NotFound."""
        if source_id not in self._sources:
            self._refresh(None)
        try:
            return self._sources[source_id]
        except KeyError:
            raise NotFound("source", str(source_id)) from None

    def may_ask(
        self,
        source_id: int,
        name: str,
        having: Collection[int],
        *,
        number: int | None = None,
        session: Session | None = None,
    ) -> bool:
        """Whether an upstream may be asked for a normalised name: some index that has it asks for that.

        Args:
            having: ids of the sources that have the name, or ever had it.
            number: the configuration number just read, if the caller has it.
            session: as for ``indexes_of``.
        """
        self._refresh(number, session)
        indexes = [index for index in self._indexes.values() if any(s.id == source_id for s in index.sources)]
        if indexes:
            return any(index.outside(name, having).asked for index in indexes)
        hosted = any(
            source.kind is SourceKind.HOSTED and source.id in having for source in self._sources.values()
        )
        return self._nowhere.outside(name, hosted_here=False, hosted=hosted).asked

    def upstreams(self, number: int | None = None) -> list[SourceConfig]:
        """All upstreams by name. ``number``: the configuration number just read, if the caller has it."""
        self._refresh(number)
        return sorted((s for s in self._sources.values() if s.endpoint), key=lambda source: source.name)

    def _refresh(self, number: int | None, given: Session | None = None) -> None:
        if number is not None and number == self._number:
            return
        with contextlib.ExitStack() as stack:
            session = given or stack.enter_context(self._database.reading())
            # First a connection, then the lock: who had the lock and waited for a connection would wait for
            # transactions that have one and wait for the lock.
            session.connection()
            stack.enter_context(self._lock)
            stored = _number(session)
            if stored == self._number:
                return
            sources = {row.id: _source_config(row) for row in session.scalars(select(Source))}
            members = session.execute(
                select(IndexSource.index_id, IndexSource.source_id).order_by(IndexSource.position)
            ).all()
            rules = session.scalars(select(PolicyRow)).all()
            baselines = _baselines(session.scalars(_BASELINES), sources.values())
            names = [
                NameRule(RuleKind(kind), pattern, index)
                for kind, pattern, index in session.execute(_NAME_RULES)
            ]
            hosted = frozenset(s.id for s in sources.values() if s.kind is SourceKind.HOSTED)
            self._indexes = {
                row.name: IndexConfig(
                    id=row.id,
                    name=row.name,
                    sources=_in_order([sources[s] for i, s in members if i == row.id]),
                    rules=tuple(policy_rule(rule) for rule in rules if rule.index_id == row.id),
                    policy_version=row.policy_version,
                    tolerance=self._tolerance,
                    checks=self._checks,
                    baselines={
                        source: tuple(d for d in made if d.index in (None, row.name))
                        for source, made in baselines.items()
                    },
                    ownership=Ownership.of(names, row.name),
                    hosted=hosted,
                )
                for row in session.scalars(select(IndexRow))
            }
            self._sources = sources
            self._nowhere = Ownership.of(names, None)
            self._number = stored


def _in_order(sources: Sequence[SourceConfig]) -> tuple[SourceConfig, ...]:
    return tuple(sorted(sources, key=lambda source: source.kind != SourceKind.HOSTED))


def _source_config(row: Source) -> SourceConfig:
    endpoint = None
    if row.kind == SourceKind.UPSTREAM:
        assert row.url is not None
        endpoint = Endpoint(
            name=row.name,
            url=row.url,
            username=row.username,
            password=row.password,
            token=row.token,
            ca_file=row.ca_file,
            proxy=row.proxy,
            internal=row.internal,
            requests_per_second=row.requests_per_second,
            paused=None if row.paused_at is None else row.paused_reason or "",
        )
    return SourceConfig(
        id=row.id,
        name=row.name,
        kind=SourceKind(row.kind),
        refresh_seconds=row.refresh_seconds,
        endpoint=endpoint,
        mode=Mode(row.mode),
        filters=msgspec.json.decode(row.filters, type=Filters),
        sync_seconds=row.sync_seconds,
        connections=row.connections,
    )


_NAME_RULES = select(NameRuleRow.kind, NameRuleRow.pattern, IndexRow.name).outerjoin(
    IndexRow, IndexRow.id == NameRuleRow.index_id
)
_BASELINES = (
    select(DecisionRow)
    .where(DecisionRow.name == "", DecisionRow.kind.in_((Kind.BASELINE, Kind.REVERT)))
    .order_by(DecisionRow.id)
)


def _baselines(
    rows: Iterable[DecisionRow], sources: Iterable[SourceConfig]
) -> dict[int, tuple[Decision, ...]]:
    """Decisions about whole sources that nobody took back, by the source's id."""
    made = list(rows)
    reverted = {row.reverts for row in made}
    return {
        source.id: tuple(
            Decision(
                id=row.id,
                kind=Kind(row.kind),
                at=row.at,
                actor=row.actor,
                reason=row.reason,
                index=row.index,
                expires_at=row.expires_at,
            )
            for row in made
            if row.source == source.name and row.kind == Kind.BASELINE and row.id not in reverted
        )
        for source in sources
    }


def policy_rule(row: PolicyRow) -> PolicyRule:
    """A stored rule."""
    effects = msgspec.json.decode(row.checks, type=dict[str, Effect])
    clock = None if row.clock is None else Clock(row.clock)
    return PolicyRule(pattern=row.pattern, hold_days=row.hold_days, clock=clock, checks=effects)


#: Asked with each look at an upstream: SQLAlchemy would take longer to build it than the database to answer.
_NUMBER = text("SELECT value FROM counter WHERE name = :name").bindparams(name=CONFIGURATION)


def _number(session: Session) -> int:
    number: int = session.connection().execute(_NUMBER).scalar_one()
    return number

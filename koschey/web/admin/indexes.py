"""``/admin/indexes``: sources in order, baselines, history; and the hosted sources."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.domain.policy import specificity
from koschey.errors import Forbidden, KoscheyError, RequestInvalid
from koschey.services.configuration import IndexConfig
from koschey.web.access import requires
from koschey.web.admin.forms import given, number, submit, who
from koschey.web.admin.history import happenings
from koschey.web.admin.scope import everywhere, whole_indexes_with
from koschey.web.current import koschey
from koschey.web.people import html_page

if TYPE_CHECKING:
    from koschey.services.audit import AuditEvent

bp = Blueprint("admin_indexes", __name__)

HOME = "admin/indexes"
_EVENTS = 10
#: Or whoever looks after one index could have it show the packages of every other.
_ANOTHER_SOURCE = "another source is put into an index by those who administer all indexes"


@bp.get("/admin/indexes")
@requires(Permission.AUDIT, some=True, browser=True)
def indexes() -> Response:
    """Those that one may look into; for who may look into all, the hosted sources as well."""
    return _listed()


@bp.post("/admin/indexes")
@requires(Permission.ADMIN, browser=True)
def add() -> Response:
    """Add an index."""
    name = given("name") or ""

    def act() -> str:
        days, sources = number("hold_days", "days of hold"), _sources_in_order()
        if not sources:
            raise RequestInvalid("an index needs a source: give one a place")
        koschey().indexes.add_index(name, sources, hold_days=days, actor=who())
        return f"Index {name} is added, at /{name}/simple/."

    return submit(act, _listed, f"{HOME}/{name}")


@bp.get("/admin/hosted")
@bp.get("/admin/hosted/<source>/remove")
@requires(Permission.AUDIT, browser=True)
def hosted(source: str | None = None) -> Response:
    """The address of a form that was sent, loaded again."""
    return _listed()


@bp.post("/admin/hosted")
@requires(Permission.ADMIN, browser=True)
def add_hosted() -> Response:
    """Add a hosted source."""
    name = given("hosted") or ""

    def act() -> str:
        koschey().hosted.add(name, indexes=request.form.getlist("index"), actor=who())
        return f"Hosted source {name} is added."

    return submit(act, _listed, HOME)


@bp.post("/admin/hosted/<source>/remove")
@requires(Permission.ADMIN, browser=True)
def remove_hosted(source: str) -> Response:
    """Delete a hosted source that was never used."""

    def act() -> str:
        koschey().hosted.remove(source, actor=who())
        return f"Hosted source {source} is removed."

    return submit(act, _listed, HOME)


@bp.get("/admin/indexes/<index>")
@bp.get("/admin/indexes/<index>/remove")
@bp.get("/admin/indexes/<index>/baseline")
@requires(Permission.AUDIT, browser=True)
def index(index: str) -> Response:
    """One of them, with its forms for those who may change it."""
    return _shown(index)


@bp.post("/admin/indexes/<index>")
@requires(Permission.ADMIN, browser=True)
def edit(index: str) -> Response:
    """Put its sources into another order."""

    def act() -> str:
        sources = _sources_in_order()
        known = [source.name for source in koschey().configuration.index(index).sources]
        if sources == known:
            raise RequestInvalid("nothing is changed")
        if not (everywhere(Permission.ADMIN) or set(sources) <= set(known)):
            raise Forbidden(Permission.ADMIN, _ANOTHER_SOURCE)
        koschey().indexes.edit_index(index, sources=sources, hold_days=None, actor=who())
        return f"Index {index} has its sources in another order."

    return submit(act, lambda problem, status: _shown(index, problem, status), f"{HOME}/{index}")


@bp.post("/admin/indexes/<index>/remove")
@requires(Permission.ADMIN, browser=True)
def remove(index: str) -> Response:
    """Delete it; its sources and their files stay."""

    def act() -> str:
        koschey().indexes.remove_index(index, actor=who())
        return f"Index {index} is removed; its sources and their files stay."

    others = len(whole_indexes_with(Permission.AUDIT)) > 1  # without one, they may not see the list
    return submit(act, lambda problem, status: _shown(index, problem, status), HOME if others else "")


@bp.post("/admin/indexes/<index>/baseline")
@requires(Permission.ADMIN, browser=True)
def baseline(index: str) -> Response:
    """Accept what an upstream has now, or take that back."""

    def act() -> str:
        reason, decision = given("reason") or "", given("decision")
        if decision is not None:
            _baseline_of(index, decision)
            outcome = koschey().review.revert(decision_id=int(decision), reason=reason, actor=who())
        else:
            source = given("source") or ""
            outcome = koschey().review.baseline(source=source, index=index, reason=reason, actor=who())
        return "; ".join(outcome.notes) or "It is so now."

    return submit(act, lambda problem, status: _shown(index, problem, status), f"{HOME}/{index}")


def _listed(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    services = koschey()
    shown = whole_indexes_with(Permission.AUDIT)
    if not shown:
        raise Forbidden(Permission.AUDIT, "you look after some names of an index, not after an index")
    return html_page(
        "admin/indexes.html",
        status=int(status),
        indexes=[index for index in services.configuration.indexes() if index.name in shown],
        hosted=services.hosted.describe(),
        sources=_all_sources(),
        problem=problem,
        form=request.form,
    )


def _shown(name: str, problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    config = koschey().configuration.index(name)
    own = [source.name for source in config.sources]
    return html_page(
        "admin/index.html",
        status=int(status),
        index=config,
        administers=name in whole_indexes_with(Permission.ADMIN),
        rules=sorted(config.rules, key=specificity),
        sources=_all_sources() if everywhere(Permission.ADMIN) else own,
        baselines=_baselines(config),
        problem=problem,
        events=happenings(_history(name)),
    )


def _all_sources() -> list[str]:
    """Names of hosted sources and upstreams, as a form offers them."""
    services = koschey()
    hosted = [row["name"] for row in services.hosted.describe()]
    return [*hosted, *(source.name for source in services.configuration.upstreams())]


def _sources_in_order() -> list[str]:
    """Sources by the places that the form gives them. Raises: RequestInvalid."""
    placed = []
    for source in _all_sources():
        place = given(f"place-{source}")
        if place is None:
            continue
        if not (place.isascii() and place.isdigit() and len(place) < 4):
            raise RequestInvalid(f"the place of {source}: a number, or nothing to leave it out")
        placed.append((int(place), source))
    if len({place for place, _ in placed}) != len(placed):
        raise RequestInvalid("two sources have the same place")
    return [source for _, source in sorted(placed)]


def _baselines(config: IndexConfig) -> list[tuple[str, object]]:
    """Name of the source and decision, for each baseline that counts in an index."""
    names = {source.id: source.name for source in config.sources}
    return [
        (names[source], made)
        for source, decisions in config.baselines.items()
        if source in names
        for made in decisions
    ]


def _baseline_of(index: str, decision: str) -> None:
    """See that a decision is the baseline of just this index. Raises: RequestInvalid."""
    config = koschey().configuration.index(index)
    mine = {made.id for decisions in config.baselines.values() for made in decisions if made.index == index}
    if not decision.isdigit() or int(decision) not in mine:
        raise RequestInvalid("that baseline is not this index's own; koschey quarantine revert takes it back")


def _history(name: str) -> list[AuditEvent]:
    """What was changed about an index and its rules."""
    from koschey.services.audit import EventFilter

    audit = koschey().audit
    own = audit.page(EventFilter(action="index.*", subject=name), limit=_EVENTS).page.rows
    rules = audit.page(EventFilter(action="policy.*", index=name), limit=_EVENTS).page.rows
    return sorted((*own, *rules), key=lambda event: -event.id)[:_EVENTS]

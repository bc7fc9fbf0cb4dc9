"""``/admin/indexes/INDEX/policy``: a rule of an index, with the effect of a change before it is made."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from koschey.domain.permissions import Permission
from koschey.domain.policy import Clock, Effect, PolicyRule
from koschey.errors import KoscheyError, RequestInvalid
from koschey.web.access import requires
from koschey.web.admin.forms import asked, given, number, submit, who
from koschey.web.current import koschey
from koschey.web.people import html_page

if TYPE_CHECKING:
    from koschey.services.policies import PolicyChange

bp = Blueprint("admin_policies", __name__)

#: Seconds that the preview of a policy may count.
_PREVIEW = 5.0


@bp.get("/admin/indexes/<index>/policy")
@requires(Permission.ADMIN, browser=True)
def policy(index: str) -> Response:
    """The form of a rule: an existing one by ``pattern``, or another one."""
    return _policy(index)


@bp.post("/admin/indexes/<index>/policy")
@requires(Permission.ADMIN, browser=True)
def set_policy(index: str) -> Response:
    """Show what the rule would do, and save it when the form says so."""
    if request.form.get("do") != "save":
        return _preview(index)

    def act() -> str:
        change = _change(index)
        if change.removed:
            koschey().policies.remove(index, change.pattern, actor=who(), reason=given("reason"))
            return f"The rule for {change.pattern} is gone."
        changed = koschey().policies.set(
            index,
            change.pattern,
            change.hold_days,
            change.clock,
            change.checks,
            actor=who(),
            reason=given("reason"),
        )
        return f"The rule for {change.pattern} is saved." if changed else "It is so already."

    return submit(act, lambda problem, status: _policy(index, problem, status), f"admin/indexes/{index}")


def _preview(index: str) -> Response:
    try:
        impact = koschey().policies.preview(_change(index), seconds=_PREVIEW)
    except KoscheyError as error:
        return _policy(index, error, HTTPStatus.UNPROCESSABLE_ENTITY)
    return _policy(index, impact=impact)


def _change(index: str) -> PolicyChange:
    """What the form says otherwise than the rule does. Raises: RequestInvalid."""
    from koschey.services.policies import PolicyChange, checked_pattern

    pattern = checked_pattern(given("pattern") or "")
    if request.form.get("removed") == "1":
        return PolicyChange(index=index, pattern=pattern, removed=True)
    config = koschey().configuration.index(index)
    known = next((rule for rule in config.rules if rule.pattern == pattern), PolicyRule(pattern=pattern))
    clock = given("clock")
    checks: dict[str, Effect | None] = {}
    for check in {*config.checks, *known.checks}:
        if (effect := given(f"check-{check}")) is None:
            continue
        said = None if effect == "inherit" else _effect(effect)
        if said != known.checks.get(check):
            checks[check] = said
    if clock is not None and clock not in set(Clock):
        raise RequestInvalid("clock: upload-time or first-seen")
    return PolicyChange(
        index=index,
        pattern=pattern,
        hold_days=number("hold_days", "days of hold"),
        clock=None if clock is None else Clock(clock),
        checks=checks,
    )


def _effect(word: str) -> Effect:
    if word not in set(Effect):
        raise RequestInvalid("a check is required, reported, off, or as a less specific rule has it")
    return Effect(word)


def _policy(
    index: str,
    problem: KoscheyError | None = None,
    status: int = HTTPStatus.OK,
    *,
    impact: object = None,
) -> Response:
    from koschey.services.policies import OWN

    config = koschey().configuration.index(index)
    pattern = given("pattern") or asked("pattern") or ""
    known = next((rule for rule in config.rules if rule.pattern == pattern), None)
    return html_page(
        "admin/policy.html",
        status=int(status),
        index=index,
        pattern=pattern,
        known=known,
        removed=request.values.get("removed") == "1",
        checks=sorted({*config.checks, *(known.checks if known else ())}),
        defaults=config.checks,
        form=request.form,
        problem=problem,
        impact=impact,
        own=OWN,
    )

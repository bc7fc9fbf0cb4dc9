"""What can be done with a hosted project, by the fields of a form: for administrators and for publishers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import request

from koschey.domain.names import NormalizedName
from koschey.domain.permissions import Permission
from koschey.errors import NotFound, RequestInvalid
from koschey.web import htmx
from koschey.web.access import current_actor
from koschey.web.current import koschey
from koschey.web.people import prefers_html

if TYPE_CHECKING:
    from koschey.services.hosted_project import ProjectOutcome

_DONE = {"yank": "yanked", "unyank": "yanked no more", "delete": "deleted", "restore": "restored"}
VERBS = (*_DONE, "status")


def carry_out(verb: str, name: NormalizedName, source: str | None) -> ProjectOutcome:
    """Do what the form, or JSON object, of the current request says.

    Its fields: ``reason``; of ``status`` the word; of the others ``version`` and ``filename``; of ``delete``
    also ``whole``, which is 1 where it is about all of the project.

    Args:
        source: the hosted source; None: the only one that has the project.

    Raises:
        Forbidden: only an administrator does that.
        NotFound: no such verb, project, version or file.
        RequestInvalid: a field is missing or wrong.
        Conflict: it is so already, cannot be, or several sources have the project.
    """
    projects, actor = koschey().projects, current_actor()
    administers = koschey().access.answer(actor, Permission.ADMIN).allowed
    by: dict[str, Any] = {"source": source, "actor": actor.audit_name}
    reason, version, filename = _field("reason") or "", _field("version"), _field("filename")
    if verb == "status":
        from koschey.services.projects import status_of  # as in koschey.web.admin

        status = status_of(_field("status") or "")
        return projects.set_status(name, status, administers=administers, reason=reason, **by)
    verbs: dict[str, Callable[..., ProjectOutcome]] = {
        "yank": projects.yank,
        "unyank": projects.unyank,
        "delete": partial(projects.delete, administers=administers),
        "restore": partial(projects.restore, administers=administers),
    }
    if verb not in verbs:
        raise NotFound("verb", verb, VERBS)
    if verb == "delete" and version is None and filename is None and _field("whole") != "1":
        hint = "" if htmx.asks() or prefers_html() else " (whole=1)"
        raise RequestInvalid(f"say which version, or that the whole project is meant{hint}")
    return verbs[verb](name, version, filename, reason=reason, **by)


def told(outcome: ProjectOutcome) -> str:
    """What a verb came to, in a sentence."""
    if outcome.action == "status":
        return f"{outcome.project} is {_field('status')} now."
    if not outcome.files:
        return "; ".join(outcome.notes) + "."
    return "; ".join([f"{outcome.scope}: {_DONE[outcome.action]}", *outcome.notes]) + "."


def _field(name: str) -> str | None:
    """A field of the form, or of the JSON object that a program sends. Raises: RequestInvalid."""
    said = request.get_json() if request.is_json else request.form
    value = said.get(name, "") if isinstance(said, Mapping) else None
    if not isinstance(value, str):
        raise RequestInvalid(f"{name}: a text, in a form or in a JSON object")
    return value.strip() or None

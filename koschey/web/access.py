"""Who asks, and what each route wants of them: declared beside the view, enforced before it runs.

The body of a request is not read before its sender was found to have the right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, current_app, g, request

from koschey.domain.names import is_valid_name, normalize
from koschey.domain.permissions import ANONYMOUS, Actor, Permission
from koschey.errors import Forbidden, Unauthenticated
from koschey.services.access import Access
from koschey.web.current import koschey

_DECLARED = "koschey_access"


@dataclass(frozen=True)
class Required:
    """What a route asks for."""

    permission: Permission
    some: bool = False
    """For some names of the index: the view narrows down what it shows."""


@dataclass(frozen=True)
class Public:
    """A route that asks for nothing; ``reason`` says why it may."""

    reason: str


Declaration = Required | Public


def requires[V: Callable[..., Any]](permission: Permission, *, some: bool = False) -> Callable[[V], V]:
    """Declare that a view needs a permission.

    It is asked for the view's argument ``index`` (without one: in every index) and for its argument ``name``
    or ``project`` in whatever spelling (without one: for every name). Below the blueprint's decorator.

    Args:
        some: it is enough to have it for some names of the index; the view asks for each that it shows.
    """

    def declare(view: V) -> V:
        setattr(view, _DECLARED, Required(permission, some))
        return view

    return declare


def public[V: Callable[..., Any]](reason: str) -> Callable[[V], V]:
    """Declare that a view needs nobody, and why."""

    def declare(view: V) -> V:
        setattr(view, _DECLARED, Public(reason))
        return view

    return declare


def declaration(app: Flask, endpoint: str) -> Declaration | None:
    """What the view of an endpoint was declared to need; None: nobody said."""
    found = getattr(app.view_functions[endpoint], _DECLARED, None)
    assert found is None or isinstance(found, (Required, Public))
    return found


def current_actor() -> Actor:
    """Who makes the current request.

    Raises:
        Unauthenticated: there are credentials, and they are wrong.
    """
    actor = g.get("actor")
    if actor is None:
        actor = g.actor = _authenticated()
    assert isinstance(actor, Actor)
    return actor


def admitted(permission: Permission, index: str, name: str) -> bool:
    """Whether the one who asks has a permission for a normalised name in an index."""
    return koschey().access.answer(current_actor(), permission, index=index, name=name).allowed


def may(permission: Permission) -> bool:
    """Whether the one who asks has a permission for some name of some index: what pages offer goes by it."""
    access = koschey().access
    try:
        actor = current_actor()
    except Unauthenticated:  # on the page that says so
        return False
    indexes = koschey().configuration.indexes()
    return any(bool(access.names(actor, permission, index=index.name)) for index in indexes)


def depends_on_actor(answer: Response) -> Response:
    """The answer, marked as one that others may not get: it was given because of who asked."""
    vary = [part.strip() for part in answer.headers.get("Vary", "").split(",") if part.strip()]
    answer.headers["Vary"] = ", ".join([*vary, "Authorization", "Cookie"])
    answer.headers.setdefault("Cache-Control", "private, no-cache")
    return answer


def init_app(app: Flask) -> None:
    """Ask before every view."""
    app.before_request(_guard)
    app.after_request(_mark)


def _authenticated() -> Actor:
    authorization = request.headers.get("Authorization")
    if authorization:
        return koschey().access.authenticate(authorization)
    return ANONYMOUS


def _guard() -> None:
    if request.endpoint is None:
        return  # no route: 404
    declared = declaration(current_app, request.endpoint)
    if isinstance(declared, Public):
        return
    if declared is None:
        raise Forbidden("nobody", f"the route {request.endpoint} does not say who may use it")
    arguments = request.view_args or {}
    index = arguments.get("index")
    raw = arguments.get("name", arguments.get("project"))
    name = normalize(raw) if raw is not None and is_valid_name(raw) else None
    actor = current_actor()
    access: Access = koschey().access
    some = declared.some or (raw is not None and name is None)
    access.require(actor, declared.permission, index=index, name=name, some=some)
    if declared.permission is Permission.READ:
        everybody = access.names(ANONYMOUS, Permission.READ, index=index)
        g.depends_on_actor = not (everybody.everything or (name is not None and name in everybody))


def _mark(answer: Response) -> Response:
    return depends_on_actor(answer) if g.get("depends_on_actor") else answer

"""What the forms of administrators share: reading fields, doing what they say, saying what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from math import isfinite

from flask import Response, request

from koschey.errors import Busy, Conflict, KoscheyError, NotFound, RequestInvalid, UpstreamError
from koschey.web.access import current_actor
from koschey.web.people import say, see

#: What a person can put right, or has to know; whatever else is raised is no answer to a form.
TOLD = (RequestInvalid, NotFound, Conflict, UpstreamError, Busy)


def submit(act: Callable[[], str], again: Callable[[KoscheyError, int], Response], to: str) -> Response:
    """Do what a form says, and see another page.

    Args:
        act: does it, and returns the words that are announced.
        again: the form once more, for what was wrong and a status.
        to: the page to see, below ours.
    """
    try:
        words = act()
    except TOLD as error:
        conflict = isinstance(error, (Conflict, Busy))
        return again(error, HTTPStatus.CONFLICT if conflict else HTTPStatus.UNPROCESSABLE_ENTITY)
    say(words)
    return see(to)


def given(name: str) -> str | None:
    """A field of the form without blanks at its ends; None when it is empty or missing."""
    return request.form.get(name, "").strip() or None


def asked(name: str) -> str | None:
    """The same of the address's query."""
    return request.args.get(name, "").strip()[:200] or None


def number(name: str, what: str) -> float | None:
    """A number in a field, None for an empty one. Raises: RequestInvalid."""
    text = given(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise RequestInvalid(f"{what}: a number")
    return value


def one_of[T](kind: Callable[[str], T], name: str, what: str) -> T:
    """A field's value as one of the words that there are. Raises: RequestInvalid."""
    try:
        return kind(request.form.get(name, "").strip())
    except ValueError:
        raise RequestInvalid(f"{what}: choose one") from None


def who() -> str:
    """Who sends the form, for the audit."""
    return current_actor().audit_name

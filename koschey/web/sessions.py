"""Sessions of people with browsers: a signed cookie that is worthless once its user is signed out.

flask-login knows the user, Flask signs the cookie.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from flask import Flask, current_app, request, session
from flask.sessions import SecureCookieSessionInterface

from koschey.domain.permissions import Actor
from koschey.settings import Settings
from koschey.web.current import koschey

_BEGAN = "began"
#: Where flask-login keeps what ``session_key`` gave.
_KEY = "_user_id"
#: The cookie of a session that has ended is good for one thing: it says whose session it was.
_KNOWN_AFTERWARDS = timedelta(days=7)


class _Cookies(SecureCookieSessionInterface):
    """Secure wherever the client speaks HTTPS, by itself or to the proxy in front."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure or koschey().settings.public_url.startswith("https://")


def init_app(app: Flask, settings: Settings, secret_key: str) -> None:
    """Set up sessions, with the cookie of ``koschey.web.protection``."""
    app.secret_key = secret_key
    app.session_interface = _Cookies()
    lifetime = timedelta(hours=settings.session_hours) + _KNOWN_AFTERWARDS  # the session's own: ``_load``
    app.config.update(PERMANENT_SESSION_LIFETIME=lifetime, SESSION_REFRESH_EACH_REQUEST=False)


def begin(actor: Actor) -> None:
    """Let the browser that asks be that user, in a session that has nothing of the one before.

    Raises:
        Unauthenticated: the user is gone or disabled.
    """
    key = koschey().authentication.session_key(actor)
    login = _flask_login()
    session.clear()
    session.permanent = True
    session[_BEGAN] = int(time.time())
    login.login_user(_user(key, actor))


def end() -> None:
    """Let the browser be nobody."""
    _flask_login().logout_user()
    session.clear()


def session_actor() -> Actor | None:
    """Who the browser that asks is; None: it has no session, or one that has ended."""
    if current_app.config["SESSION_COOKIE_NAME"] not in request.cookies:
        return None
    actor = getattr(_flask_login().current_user, "actor", None)
    return actor if isinstance(actor, Actor) else None


def ended_name() -> str:
    """Name of the user whose session the browser has, or had until it ended; empty: nobody knows."""
    key = session.get(_KEY)
    return koschey().authentication.session_name(key) if isinstance(key, str) else ""


def _flask_login() -> Any:
    # Loaded with the first browser that logs in: an index for installers alone need not carry it.
    import flask_login

    if not hasattr(current_app, "login_manager"):
        manager = flask_login.LoginManager()
        manager.session_protection = None  # an address changes, and a browser's name can be copied
        manager.user_loader(_load)
        # Not by init_app: for a cookie that we do not use it would look into the session with every request.
        current_app.login_manager = manager  # type: ignore[attr-defined]
    return flask_login


def _user(key: str, actor: Actor) -> Any:
    from flask_login import UserMixin

    user = UserMixin()
    user.id, user.actor = key, actor
    return user


def _load(key: str) -> Any:
    began = session.get(_BEGAN)
    if not isinstance(began, int) or time.time() - began > koschey().settings.session_hours * 3600:
        return None
    from koschey.web.access import configuration_number  # it imports this module

    actor = koschey().authentication.by_session(key, configuration_number())
    return None if actor is None else _user(key, actor)

"""``/admin/system``: what runs here, by which settings, and what takes how much room."""

from __future__ import annotations

import platform
from importlib.metadata import version

from flask import Blueprint, Response

from koschey import __version__
from koschey import settings as settings_module
from koschey.domain.permissions import Permission
from koschey.services.upstream_spec import without_userinfo
from koschey.settings import Settings
from koschey.stores.revision import HEAD
from koschey.web.access import requires
from koschey.web.admin.forms import asked
from koschey.web.current import koschey
from koschey.web.people import html_page

bp = Blueprint("admin_system", __name__)

_PARTS = ("Flask", "SQLAlchemy", "Werkzeug")


@bp.get("/admin/system")
@requires(Permission.INSPECT, browser=True)
def system() -> Response:
    """Settings without their secrets, versions, storage; on demand also what the doctor says."""
    services = koschey()
    looked = asked("look") is not None
    return html_page(
        "admin/system.html",
        settings=_settings(services.settings),
        versions={"Koschey": __version__, "Python": platform.python_version()}
        | {part: version(part) for part in _PARTS},
        database=services.database_words(),
        schema=HEAD,
        report=services.storage_report.report(),
        lines=list(services.doctor.lines(ask_upstreams=False)) if looked else None,
    )


def _settings(settings: Settings) -> list[tuple[str, str, bool, str]]:
    """Variable, value, whether it is another one than by default, and what it means. No secrets."""
    rows = []
    for name, _type, default, help_text, secret in settings_module.described():
        value = getattr(settings, name)
        shown = (
            "***" if secret and value else without_userinfo(text) if "://" in (text := str(value)) else text
        )
        rows.append((settings_module.PREFIX + name.upper(), shown, value != default, help_text))
    return rows

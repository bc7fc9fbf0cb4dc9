"""``/admin/access/tokens``: everybody's tokens, to be revoked."""

from __future__ import annotations

from flask import Blueprint, Response

from koschey.domain.permissions import Permission
from koschey.web.access import requires
from koschey.web.admin.forms import asked, who
from koschey.web.current import koschey
from koschey.web.people import html_page, say, see

bp = Blueprint("admin_access_tokens", __name__)

HOME = "admin/access/tokens"


@bp.get("/admin/access/tokens")
@requires(Permission.INSPECT, browser=True)
def tokens() -> Response:
    """Tokens, the newest first; their secrets are nowhere."""
    services, owner = koschey(), asked("user")
    return html_page(
        "admin/access_tokens.html",
        part="admin/access_tokens_list.html",
        page=services.directory.tokens(user=owner, at=asked("at")),
        query={} if owner is None else {"user": owner},
        owner=owner or "",
    )


@bp.post("/admin/access/tokens/<int:token_id>/revoke")
@requires(Permission.ADMIN, browser=True)
def revoke(token_id: int) -> Response:
    """Make a token worthless."""
    if koschey().tokens.revoke(token_id, actor=who()):
        say(f"Token {token_id} is revoked: it is worthless from now on.")
    return see(HOME)

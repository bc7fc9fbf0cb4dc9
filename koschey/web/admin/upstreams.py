"""``/admin/upstreams``: outside indexes, how to reach them, and whether they can be reached."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from koschey.domain.filters import Mode
from koschey.domain.permissions import Permission
from koschey.errors import KoscheyError, RequestInvalid, UpstreamError
from koschey.services.configuration import MAIN
from koschey.services.upstream_spec import UpstreamSpec
from koschey.stores.database import now
from koschey.web.access import requires
from koschey.web.admin.forms import asked, given, number, one_of, submit, who
from koschey.web.admin.history import happenings
from koschey.web.current import koschey
from koschey.web.people import html_page

if TYPE_CHECKING:
    from koschey.services.keeping import KeepSpec

bp = Blueprint("admin_upstreams", __name__)

HOME = "admin/upstreams"
_TEXTS = ("url", "username", "ca_file", "proxy")
_EVENTS = 10
#: Microseconds for which a page waits for a sync that is to begin.
_PATIENCE = 60_000_000
#: Seconds that a preview may take.
_PREVIEW = 10.0


@bp.get("/admin/upstreams")
@requires(Permission.AUDIT, browser=True)
def upstreams() -> Response:
    """All upstreams."""
    return html_page("admin/upstreams.html", upstreams=koschey().upstreams.list())


@bp.get("/admin/upstreams/+new")
@requires(Permission.ADMIN, browser=True)
def new() -> Response:
    """The form for another one."""
    return _new()


@bp.post("/admin/upstreams/+new")
@requires(Permission.ADMIN, browser=True)
def add() -> Response:
    """Add it."""
    name = given("name") or ""

    def act() -> str:
        spec = _spec({})
        indexes = request.form.getlist("index")
        koschey().indexes.add_upstream(name, spec, indexes=indexes, actor=who())
        return f"Upstream {name} is added; test it before you count on it."

    return submit(act, _new, f"{HOME}/{name}")


@bp.get("/admin/upstreams/<upstream>")
@requires(Permission.AUDIT, browser=True)
def upstream(upstream: str) -> Response:
    """One of them, with its forms for those who may change it."""
    return _shown(upstream)


@bp.post("/admin/upstreams/<upstream>")
@requires(Permission.ADMIN, browser=True)
def edit(upstream: str) -> Response:
    """Change what the form says otherwise."""
    known = koschey().upstreams.get(upstream)

    def act() -> str:
        before = {name: getattr(known, name) for name in (*_TEXTS, "internal", "refresh_seconds")}
        spec = _spec(before)
        if spec == UpstreamSpec():
            raise RequestInvalid("nothing is changed")
        koschey().indexes.edit_upstream(upstream, spec, actor=who())
        return f"Upstream {upstream} is changed."

    return submit(act, lambda problem, status: _shown(upstream, problem, status), f"{HOME}/{upstream}")


@bp.get("/admin/upstreams/<upstream>/test")
@bp.get("/admin/upstreams/<upstream>/reset")
@bp.get("/admin/upstreams/<upstream>/keep")
@bp.get("/admin/upstreams/<upstream>/preview")
@bp.get("/admin/upstreams/<upstream>/pause")
@bp.get("/admin/upstreams/<upstream>/resume")
@bp.get("/admin/upstreams/<upstream>/remove")
@requires(Permission.AUDIT, browser=True)
def again(upstream: str) -> Response:
    """The address of a form that was sent, loaded again."""
    return _shown(upstream)


@bp.post("/admin/upstreams/<upstream>/test")
@requires(Permission.ADMIN, browser=True)
def test(upstream: str) -> Response:
    """Ask it for one page, and show what came; nothing is stored."""
    try:
        tried = koschey().probe.try_out(upstream, given("project") or "pip")
    except RequestInvalid as error:
        return _shown(upstream, error, HTTPStatus.UNPROCESSABLE_ENTITY)
    return _shown(upstream, tried=tried)


@bp.get("/admin/upstreams/<upstream>/sync")
@requires(Permission.AUDIT, browser=True)
def progress(upstream: str) -> Response:
    """How its sync stands; the page asks again while one runs, or is to begin."""
    return _shown(upstream)


@bp.post("/admin/upstreams/<upstream>/sync")
@requires(Permission.ADMIN, browser=True)
def sync(upstream: str) -> Response:
    """Have a worker sync it now."""

    def act() -> str:
        koschey().sync.start(upstream)
        return f"The sync of {upstream} begins as soon as a worker has time."

    onward = f"{HOME}/{upstream}/sync?asked={now()}"
    return submit(act, lambda problem, status: _shown(upstream, problem, status), onward)


@bp.post("/admin/upstreams/<upstream>/pause")
@requires(Permission.ADMIN, browser=True)
def pause(upstream: str) -> Response:
    """Ask nothing of it until it is resumed."""
    return _done(
        upstream,
        lambda: koschey().indexes.pause_upstream(upstream, reason=given("reason") or "", actor=who()),
        f"Upstream {upstream} is paused: what is stored is served, nothing is asked of it.",
    )


@bp.post("/admin/upstreams/<upstream>/resume")
@requires(Permission.ADMIN, browser=True)
def resume(upstream: str) -> Response:
    """Ask it again."""
    return _done(
        upstream,
        lambda: koschey().indexes.resume_upstream(upstream, actor=who()),
        f"Upstream {upstream} is asked again.",
    )


@bp.post("/admin/upstreams/<upstream>/keep")
@requires(Permission.ADMIN, browser=True)
def keep(upstream: str) -> Response:
    """Say what is kept of it, and how gently."""
    return _done(
        upstream,
        lambda: koschey().keeping.edit(upstream, _keep_spec(), actor=who()),
        f"What is kept of {upstream} is changed; the next sync goes by it.",
    )


@bp.post("/admin/upstreams/<upstream>/preview")
@requires(Permission.ADMIN, browser=True)
def preview(upstream: str) -> Response:
    """What syncs would keep by what the form says; nothing is changed."""
    try:
        found = koschey().sync_preview.of(upstream, _keep_spec(), seconds=_PREVIEW)
    except (RequestInvalid, UpstreamError) as error:
        return _shown(upstream, error, HTTPStatus.UNPROCESSABLE_ENTITY)
    return _shown(upstream, preview=found)


@bp.post("/admin/upstreams/<upstream>/reset")
@requires(Permission.ADMIN, browser=True)
def reset(upstream: str) -> Response:
    """Forget its serials, ETags, alarm and what is due; files stay."""
    return _done(
        upstream,
        lambda: koschey().sync.reset(upstream, actor=who()),
        f"Upstream {upstream} is reset: its pages are looked at again by the next sync, or when they are "
        "next asked for.",
    )


@bp.post("/admin/upstreams/<upstream>/remove")
@requires(Permission.ADMIN, browser=True)
def remove(upstream: str) -> Response:
    """Delete it, with its files when the form says so."""
    forget = request.form.get("forget") == "1"

    def act() -> str:
        koschey().indexes.remove_upstream(upstream, actor=who(), forget=forget)
        return f"Upstream {upstream} is removed."

    return submit(act, lambda problem, status: _shown(upstream, problem, status), HOME)


def _done(upstream: str, act: Callable[[], object], words: str) -> Response:
    """Do something with an upstream, and see its page with these words, or with what was wrong."""

    def told() -> str:
        act()
        return words

    return submit(told, lambda problem, status: _shown(upstream, problem, status), f"{HOME}/{upstream}")


def _spec(known: dict[str, Any]) -> UpstreamSpec:
    """What the form says otherwise than it is. An empty secret stays; a box takes it away."""
    changed: dict[str, Any] = {}
    for name in _TEXTS:
        said = given(name) or ""
        if name in request.form and said != (known.get(name) or ""):
            changed[name] = said
    for name in ("password", "token"):
        if request.form.get(f"drop_{name}") == "1":
            changed[name] = ""
        elif request.form.get(name):
            changed[name] = request.form[name]
    internal = request.form.get("internal") == "1"
    if internal != known.get("internal", False):
        changed["internal"] = internal
    seconds = number("refresh_seconds", "refresh seconds")
    if seconds is not None and seconds != known.get("refresh_seconds"):
        changed["refresh_seconds"] = seconds
    return UpstreamSpec(**changed)


def _keep_spec() -> KeepSpec:
    """All that the form says, as it has every field. Raises: RequestInvalid."""
    from koschey.services.keeping import KeepSpec

    newest, size = number("newest", "newest versions"), number("max_size", "largest file")
    seconds, connections = number("sync_seconds", "seconds between syncs"), number("connections", "at once")
    if any(value is not None and value != int(value) for value in (newest, connections)):
        raise RequestInvalid("newest versions, and at once: whole numbers")
    return KeepSpec(
        mode=one_of(Mode, "mode", "mode"),
        include=_words("include"),
        exclude=_words("exclude"),
        newest=int(newest or 0),
        prereleases=request.form.get("prereleases") == "1",
        platforms=_words("platforms"),
        pythons=_words("pythons"),
        max_size=round((size or 0) * 1_000_000),
        kinds=_words("kinds"),
        sync_seconds=seconds,
        requests_per_second=number("requests_per_second", "requests a second") or 0,
        connections=None if connections is None else int(connections),
    )


def _words(name: str) -> tuple[str, ...]:
    return tuple((given(name) or "").replace(",", " ").split())


def _new(problem: KoscheyError | None = None, status: int = HTTPStatus.OK) -> Response:
    return html_page(
        "admin/upstream_new.html",
        status=int(status),
        problem=problem,
        form=request.form,
        chosen=request.form.getlist("index") if request.form else [MAIN],
        indexes=[index.name for index in koschey().configuration.indexes()],
        refresh_seconds=koschey().settings.refresh_seconds,
    )


def _shown(
    name: str,
    problem: KoscheyError | None = None,
    status: int = HTTPStatus.OK,
    *,
    tried: dict[str, Any] | None = None,
    preview: dict[str, Any] | None = None,
) -> Response:
    from koschey.services.audit import EventFilter

    services = koschey()
    [sync] = services.sync.status(name)
    told = services.audit.page(EventFilter(action="upstream.*", subject=name), limit=_EVENTS)
    asked_at = int(text) if (text := asked("asked") or "").isdigit() and len(text) < 18 else 0
    return html_page(
        "admin/upstream.html",
        part="admin/upstream_sync.html",
        sync=sync,
        awaited=asked_at if asked_at > (sync["ended_at"] or 0) and now() - asked_at < _PATIENCE else None,
        modes=list(Mode),
        status=int(status),
        upstream=services.upstreams.get(name),
        loss=services.upstreams.loss(name),
        problem=problem,
        tried=tried,
        preview=preview,
        project=request.form.get("project", ""),
        events=happenings(told.page.rows),
    )

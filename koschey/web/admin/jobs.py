"""``/admin/jobs``: what is to be done, who does it, and what does not get done."""

from __future__ import annotations

from flask import Blueprint, Response

from koschey.domain.permissions import Permission
from koschey.stores.database import now
from koschey.web.access import requires
from koschey.web.admin.decisions import opened
from koschey.web.admin.forms import asked, given, submit, who
from koschey.web.current import koschey
from koschey.web.people import html_page

bp = Blueprint("admin_jobs", __name__)

HOME = "admin/jobs"


@bp.get("/admin/jobs")
@bp.get("/admin/jobs/retry")
@requires(Permission.AUDIT, browser=True)
def jobs() -> Response:
    """Queues, what is due, running syncs, the schedule, and the files that fail."""
    return _shown()


@bp.post("/admin/jobs/retry")
@requires(Permission.ADMIN, browser=True)
def retry() -> Response:
    """Have a file stored and checked again as soon as somebody can."""
    project, filename = given("project") or "", given("filename") or ""

    def act() -> str:
        koschey().review.recheck(project, filename=filename, actor=who(), opened=opened())
        return f"{filename} is tried again as soon as a worker has time."

    return submit(act, lambda problem, status: _shown(str(problem), status), HOME)


def _shown(problem: str = "", status: int = 200) -> Response:
    services = koschey()
    standing = services.queue_standing()
    return html_page(
        "admin/jobs.html",
        part="admin/jobs_list.html",
        status=int(status),
        page=services.backlog.failing(at=asked("at")),
        numbers=services.metrics.numbers(),
        syncs=[upstream.name for upstream in services.upstreams.list() if upstream.running],
        standing=standing,
        problem=problem,
        opened=now(),
    )

"""Where one can go: the places in the layout's navigation, each for those who may open it."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from koschey.domain.permissions import Permission
from koschey.web.access import may, may_everywhere


class Place(NamedTuple):
    """An entry. ``path`` is below ours, without the slash at its beginning."""

    group: str
    label: str
    path: str
    permission: Permission | None = None
    """What somebody must have, in some index, to see it; None: nothing."""
    everywhere: bool = False
    """Whether they must have it for every name in every index."""
    also: tuple[str, ...] = ()
    """Beginnings of other paths whose pages belong to it."""


#: In their order, by group. A page that is not linked from here is linked from one that is.
PLACES: tuple[Place, ...] = (
    Place("Packages", "Indexes", ""),
    Place("Packages", "Projects", "search", also=("projects", "why")),
    Place("Packages", "Set up your tools", "setup"),
    Place("Packages", "Your requests", "requests"),
    Place("Review", "Overview", "admin/", Permission.AUDIT),
    Place(
        "Review",
        "Quarantine",
        "admin/quarantine",
        Permission.AUDIT,
        also=("admin/decide", "admin/bulk", "admin/approve-plan", "admin/revert"),
    ),
    Place("Review", "Requests", "admin/requests", Permission.AUDIT),
    Place(
        "Review",
        "All projects",
        "admin/projects",
        Permission.AUDIT,
        everywhere=True,
        also=("admin/trusted", "admin/names"),
    ),
    Place("Administration", "Indexes and policies", "admin/indexes", Permission.AUDIT, everywhere=True),
    Place("Administration", "Upstreams", "admin/upstreams", Permission.AUDIT, everywhere=True),
    Place("Administration", "Access", "admin/access", Permission.INSPECT, everywhere=True),
    Place("Administration", "Jobs", "admin/jobs", Permission.AUDIT, everywhere=True),
    Place("Administration", "Audit", "admin/audit", Permission.AUDIT, everywhere=True),
    Place("Administration", "System", "admin/system", Permission.INSPECT, everywhere=True),
)


class Shown(NamedTuple):
    """An entry in a page."""

    label: str
    path: str
    current: str
    """As ``aria-current`` has it: ``page`` for the page itself, ``true`` for one below it, else empty."""


def _open(place: Place) -> bool:
    if place.permission is None:
        return True
    return may_everywhere(place.permission) if place.everywhere else may(place.permission)


def places(path: str) -> list[tuple[str, list[Shown]]]:
    """The places by group, for whoever asks for the page at ``path``."""
    open_to = [place for place in PLACES if _open(place)]
    above = [
        p
        for p in open_to
        if any(path == f"/{way}" or path.startswith(f"/{way}/") for way in (p.path, *p.also))
    ]
    nearest = max(above, key=lambda place: len(place.path), default=None)

    def shown(place: Place) -> Shown:
        exactly = path.strip("/") == place.path.strip("/")
        return Shown(place.label, place.path, "" if place is not nearest else "page" if exactly else "true")

    return [
        (group, [shown(place) for place in members])
        for group, members in groupby(open_to, key=lambda place: place.group)
    ]

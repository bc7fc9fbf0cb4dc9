"""Where one can go: the places in the layout's navigation, each for those who may open it."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from koschey.domain.permissions import Permission
from koschey.web.access import may, may_everywhere, may_of_an_index


class Place(NamedTuple):
    """An entry. ``path`` is below ours, without the slash at its beginning."""

    group: str
    label: str
    path: str
    permission: Permission | None = None
    """What somebody must have, in some index, to see it; None: nothing."""
    everywhere: bool = False
    """Whether they must have it for every name in every index."""
    of_an_index: bool = False
    """Whether they must have it for every name in some index."""
    also: tuple[str, ...] = ()
    """Beginnings of other paths whose pages belong to it."""
    alone: bool = False
    """Whether what lies below its path belongs to something else."""


#: In their order, by group. A page that is not linked from here is linked from one that is.
PLACES: tuple[Place, ...] = (
    Place("Packages", "Indexes", ""),
    Place("Packages", "Projects", "search", also=("projects", "why")),
    Place("Packages", "Set up your tools", "setup", alone=True),  # below it: the link for the first admin
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
    Place("Administration", "Indexes and policies", "admin/indexes", Permission.AUDIT, of_an_index=True),
    Place("Administration", "Upstreams", "admin/upstreams", Permission.AUDIT, everywhere=True),
    Place("Administration", "Access", "admin/access", Permission.INSPECT, everywhere=True),
    Place("Administration", "Jobs", "admin/jobs", Permission.AUDIT, everywhere=True),
    Place("Administration", "Audit", "admin/audit", Permission.AUDIT, everywhere=True),
    Place("Administration", "System", "admin/system", Permission.INSPECT, everywhere=True),
)

#: Beginnings of paths whose pages every index has, below its name.
_PREFIXED = ("search", "setup", "projects", "why")


class Shown(NamedTuple):
    """An entry in a page."""

    label: str
    path: str
    current: str
    """As ``aria-current`` has it: ``page`` for the page itself, ``true`` for one below it, else empty."""


def _open(place: Place) -> bool:
    if place.permission is None:
        return True
    if place.of_an_index:
        return may_of_an_index(place.permission)
    return may_everywhere(place.permission) if place.everywhere else may(place.permission)


def _as_in_main(path: str) -> str:
    """The path of an index's page without the index, so that it is the same place in each."""
    first, _, rest = path.removeprefix("/").partition("/")
    of_an_index = rest.partition("/")[0] in _PREFIXED and first not in ("admin", *_PREFIXED)
    return f"/{rest}" if of_an_index else path


def _has(place: Place, path: str) -> bool:
    """Whether the page at the path is the place's, or lies below it."""
    return any(
        path == f"/{way}" or (path.startswith(f"/{way}/") and not place.alone)
        for way in (place.path, *place.also)
    )


def places(path: str) -> list[tuple[str, list[Shown]]]:
    """The places by group, for whoever asks for the page at ``path``."""
    path = _as_in_main(path)
    open_to = [place for place in PLACES if _open(place)]
    above = [place for place in open_to if _has(place, path)]
    nearest = max(above, key=lambda place: len(place.path), default=None)

    def shown(place: Place) -> Shown:
        exactly = path.strip("/") == place.path.strip("/")
        return Shown(place.label, place.path, "" if place is not nearest else "page" if exactly else "true")

    return [
        (group, [shown(place) for place in members])
        for group, members in groupby(open_to, key=lambda place: place.group)
    ]

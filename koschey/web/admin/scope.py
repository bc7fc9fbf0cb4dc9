"""In which indexes and for which names the one who asks may see or decide."""

from __future__ import annotations

from koschey.domain.permissions import Permission
from koschey.errors import Forbidden
from koschey.web.access import admitted, configuration_number, current_actor
from koschey.web.current import koschey


def indexes_with(permission: Permission) -> list[str]:
    """Names of the indexes in which the one who asks has the permission, for some names at the least."""
    access, actor, number = koschey().access, current_actor(), configuration_number()
    names = [index.name for index in koschey().configuration.indexes(number=number)]
    return [name for name in names if access.names(actor, permission, index=name, number=number)]


def whole_indexes_with(permission: Permission) -> list[str]:
    """Names of the indexes in which they have it for every name."""
    access, actor, number = koschey().access, current_actor(), configuration_number()
    names = [index.name for index in koschey().configuration.indexes(number=number)]
    return [name for name in names if access.answer(actor, permission, index=name, number=number).allowed]


def everywhere(permission: Permission) -> bool:
    """Whether they have it for every name in every index."""
    return koschey().access.answer(current_actor(), permission, number=configuration_number()).allowed


def index_to_show(wanted: str | None) -> str | None:
    """The index of which a list shows something; None: all of them.

    Who may look into some indexes only looks into one of them at a time.

    Raises:
        Forbidden: they may not look into that one. NotFound: there is none of that name.
    """
    if wanted:
        koschey().configuration.index(wanted, configuration_number())
        if wanted not in indexes_with(Permission.AUDIT):
            raise Forbidden(Permission.AUDIT, f"you may not look into the queue of index {wanted}")
        return wanted
    allowed = indexes_with(Permission.AUDIT)
    known = koschey().configuration.indexes(number=configuration_number())
    return None if len(allowed) == len(known) else allowed[0]


def shown_to_me(index: str | None, names: set[str]) -> set[str]:
    """Those of some normalised names that the one who asks may see in an index, or in any of theirs."""
    indexes = [index] if index is not None else indexes_with(Permission.AUDIT)
    return {name for name in names if any(admitted(Permission.AUDIT, one, name) for one in indexes)}


def require_sight(name: str, index: str) -> None:
    """See that the one who asks may look into a name in an index. Raises: as ``Access.require``."""
    _require(Permission.AUDIT, name, index)


def require_review(name: str, index: str | None) -> None:
    """See that the one who asks may decide about a normalised name. Raises: Forbidden, Unauthenticated."""
    _require(Permission.REVIEW, name, index)


def _require(permission: Permission, name: str, index: str | None) -> None:
    number = configuration_number()
    koschey().access.require(current_actor(), permission, index=index, name=name, number=number)

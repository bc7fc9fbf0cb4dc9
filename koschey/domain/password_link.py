"""A link by which somebody chooses a new password: signed, with an end, and worthless once it was used."""

from __future__ import annotations

import hmac
import re

SECONDS = 24 * 3600
_LINK = re.compile(r"([0-9]{1,18})-([0-9]{1,12})-([0-9a-f]{64})")


def make(key: str, user_id: int, epoch: int, expires: int) -> str:
    """The last segment of the link's path.

    Args:
        key: the installation's secret key.
        epoch: the user's; it rises with a new password, so that the links before it are worthless.
        expires: seconds since 1970.
    """
    return f"{user_id}-{expires}-{_signature(key, user_id, epoch, str(expires))}"


def user_of(link: str) -> int | None:
    """The id of the user whom a link says that it is for, whether it is right or not; None: it is no link."""
    matched = _LINK.fullmatch(link)
    return None if matched is None else int(matched[1])


def is_valid(link: str, key: str, epoch: int, at: float) -> bool:
    """Whether a link was made by us for a user of that epoch, for now (``at``: seconds since 1970)."""
    matched = _LINK.fullmatch(link)
    if matched is None or int(matched[2]) <= at:
        return False
    return hmac.compare_digest(matched[3], _signature(key, int(matched[1]), epoch, matched[2]))


def _signature(key: str, user_id: int, epoch: int, expires: str) -> str:
    return hmac.digest(key.encode(), f"password\0{user_id}\0{epoch}\0{expires}".encode(), "sha256").hex()

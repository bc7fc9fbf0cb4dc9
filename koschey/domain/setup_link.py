"""The link by which the first admin is set up: signed, with an end, and worthless once it was used."""

from __future__ import annotations

import hmac
import re

SECONDS = 24 * 3600
_LINK = re.compile(r"([0-9]{1,12})-([0-9a-f]{64})")


def make(key: str, nonce: str, expires: int) -> str:
    """The last segment of the link's path.

    Args:
        key: the installation's secret key.
        nonce: replaced when an admin was set up, so that links from before are worthless.
        expires: seconds since 1970.
    """
    return f"{expires}-{_signature(key, nonce, str(expires))}"


def is_valid(link: str, key: str, nonce: str, at: float) -> bool:
    """Whether a link was made by us for now (``at``: seconds since 1970)."""
    matched = _LINK.fullmatch(link)
    if matched is None or int(matched[1]) <= at:
        return False
    return hmac.compare_digest(matched[2], _signature(key, nonce, matched[1]))


def _signature(key: str, nonce: str, expires: str) -> str:
    return hmac.digest(key.encode(), f"setup\0{nonce}\0{expires}".encode(), "sha256").hex()

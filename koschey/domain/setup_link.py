"""The link by which the first admin is set up: signed, with an end, and worthless once it was used."""

from __future__ import annotations

import hmac
import re

SECONDS = 24 * 3600
#: What links are made of: names of ``instance_value``. A new nonce makes the links before it worthless.
SECRET_KEY = "secret-key"  # noqa: S105 - the name of a row
SETUP_NONCE = "setup-nonce"
_LINK = re.compile(r"([0-9]{1,12})-([0-9a-f]{64})")


def make(key: str, nonce: str, expires: int) -> str:
    """The last segment of the link's path.

    Args:
        key: the installation's secret key.
        nonce: replaced when an admin was set up, so that links from before are worthless.
        expires: seconds since 1970.
    """
    return f"{expires}-{_signature(key, nonce, str(expires))}"


def path(key: str, nonce: str, at: int) -> str:
    """The path of a link that is good for a day from ``at``, in seconds since 1970."""
    return f"/setup/{make(key, nonce, at + SECONDS)}"


def is_valid(link: str, key: str, nonce: str, at: float) -> bool:
    """Whether a link was made by us for now (``at``: seconds since 1970)."""
    matched = _LINK.fullmatch(link)
    if matched is None or int(matched[1]) <= at:
        return False
    return hmac.compare_digest(matched[2], _signature(key, nonce, matched[1]))


def _signature(key: str, nonce: str, expires: str) -> str:
    return hmac.digest(key.encode(), f"setup\0{nonce}\0{expires}".encode(), "sha256").hex()

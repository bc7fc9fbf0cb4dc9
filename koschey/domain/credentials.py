"""What a client presents to say who it is (RFC 7617, RFC 6750), and the form of Koschey's tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from typing import NamedTuple

TOKEN_PREFIX = "koschey_"  # noqa: S105 - what secret scanners look for
TOKEN_USER = "__token__"  # noqa: S105 - the user name that says that the password is a token
#: Whatever looks like one of our tokens, whole or cut, or like a link that sets up the first admin.
_SECRETS = re.compile(r"(koschey_)[0-9A-Za-z]{8,}|(/setup/|/account/password/)[0-9A-Za-z-]{8,}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: 256 bits, and 32 of a checksum, in that many digits of base 62.
_SECRET_DIGITS, _CHECK_DIGITS = 43, 6
_TOKEN = re.compile(rf"{TOKEN_PREFIX}([0-9A-Za-z]{{{_SECRET_DIGITS}}})([0-9A-Za-z]{{{_CHECK_DIGITS}}})")
#: No longer header can be right.
_LONGEST = 4096


class Basic(NamedTuple):
    """A user name and password."""

    username: str
    password: str


class Bearer(NamedTuple):
    """A token that stands for itself."""

    token: str


def parse_authorization(header: str) -> Basic | Bearer | None:
    """What an Authorization header presents; None for what is malformed or of another scheme."""
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if len(value) > _LONGEST or not value:
        return None
    if scheme.lower() == "bearer":
        return Bearer(value)
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    username, colon, password = text.partition(":")
    return Basic(username, password) if colon else None


def presented_token(presented: Basic | Bearer) -> str | None:
    """The one of our tokens that is presented; None for a password, or somebody else's token."""
    if isinstance(presented, Bearer):
        return presented.token if presented.token.startswith(TOKEN_PREFIX) else None
    if presented.username == TOKEN_USER or presented.password.startswith(TOKEN_PREFIX):
        return presented.password
    return None


def make_token(random: bytes) -> str:
    """A token of 32 random bytes. Its last six digits are a checksum by which scanners tell a real one."""
    assert len(random) == 32
    secret = _base62(int.from_bytes(random), _SECRET_DIGITS)
    return f"{TOKEN_PREFIX}{secret}{_checksum(secret)}"


def is_token(text: str) -> bool:
    """Whether a text is a token by its form and checksum."""
    matched = _TOKEN.fullmatch(text)
    return matched is not None and _checksum(matched[1]) == matched[2]


def token_digest(token: str) -> str:
    """What is kept of a token: the SHA-256 of it, in hexadecimal. Its 256 bits need no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def without_secrets(text: str) -> str:
    """A text with everything masked that looks like one of our own secrets."""
    if not any(sign in text for sign in (TOKEN_PREFIX, "/setup/", "/account/password/")):
        return text
    return _SECRETS.sub(lambda found: f"{found[1] or found[2]}***", text)


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), _CHECK_DIGITS)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, rest = divmod(number, 62)
        text = _DIGITS[rest] + text
    return text

"""Single fields of an upstream's page: what is believed, what is left out, what refuses its file.

A field that only informs is left out when it cannot be read. One that decides which bytes a client
gets (filename, URL, digest) raises :class:`FieldInvalid`, and the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import NormalizedName

from koschey.domain.names import belongs_to, safe_filename
from koschey.domain.page import Microseconds


class FieldInvalid(ValueError):
    """A field because of which its file is not believed; the text says what is wrong with it."""


#: Digests whose length settles what they are, the strongest first; PEP 503 wants one that hashlib guarantees.
_OTHER_DIGESTS = (
    ("sha512", 128), ("sha3_512", 128), ("blake2b", 128), ("sha384", 96), ("sha3_384", 96), ("sha3_256", 64),
    ("blake2s", 64), ("sha224", 56), ("sha3_224", 56), ("sha1", 40), ("md5", 32),
)  # fmt: skip
_HEX = re.compile(r"[0-9a-fA-F]+").fullmatch
_LOWER_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
#: An absolute URL that nothing needs to be done about but to cut its fragment: nearly every one is.
_PLAIN_URL = re.compile(
    r"(https?://[A-Za-z0-9][A-Za-z0-9.-]*(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}))?"
    r"/[A-Za-z0-9/._~%+!,;=&?-]*)(?:#[!-~]*)?"
).fullmatch
#: A relative URL as plain: steps up, or from the top, and then straight down.
_PLAIN_PATH = re.compile(r"(/|(?:\.\./)*)([A-Za-z0-9_][A-Za-z0-9/._~%+!,;=&-]*)(?:#[!-~]*)?").fullmatch
_BAD_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH
#: Of free text, in characters: what is longer helps nobody, and would be kept for each of many files.
_LONGEST_TEXT = 4096
_STATUSES = frozenset({"active", "archived", "quarantined", "deprecated"})


def check_filename(project: NormalizedName, filename: str) -> None:
    """Raises: FieldInvalid: no file of ``project`` is called ``filename``."""
    if not safe_filename(filename):
        raise FieldInvalid("its name has characters, or a length, that no file here may have")
    if not belongs_to(project, filename):
        raise FieldInvalid("its name says that it is a file of another project")


def resolved_url(page_url: str, url: str) -> str:
    """``url`` made absolute against ``page_url``, without its fragment.

    Raises:
        FieldInvalid: it is not http or https, names a user, or is malformed.
    """
    if plain := _PLAIN_URL(url):
        return plain[1]
    relative = _PLAIN_PATH(url)
    if relative and "/." not in relative[2] and (base := _folders(page_url)):
        if relative[1] == "/":
            return base[0] + relative[2]
        up = len(relative[1]) // 3
        if up < len(base):
            return base[-1 - up] + relative[2]
    if _BAD_IN_URL.search(url):
        raise FieldInvalid("its URL has characters that no URL has")
    try:
        absolute = urljoin(page_url, url)
        parts = urlsplit(absolute)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise FieldInvalid("its URL is malformed") from None
    if parts.scheme not in ("http", "https"):
        raise FieldInvalid("its URL is neither http nor https")
    if not host or port == 0:
        raise FieldInvalid("its URL is malformed")
    if "@" in parts.netloc:
        raise FieldInvalid("its URL carries a user name")
    return absolute.partition("#")[0]


@lru_cache(maxsize=64)
def _folders(page_url: str) -> tuple[str, ...]:
    """The folders above a plain page URL, from its origin down, each with a slash at its end."""
    plain = _PLAIN_URL(page_url.partition("?")[0])
    if plain is None or "/." in plain[1]:
        return ()
    scheme, _, rest = plain[1].partition("://")
    segments = rest.split("/")[:-1]
    return tuple(f"{scheme}://{'/'.join(segments[: n + 1])}/" for n in range(len(segments)))


def filename_in_url(url: str) -> str:
    """The last segment of a URL's path, decoded once."""
    return unquote(url.partition("#")[0].partition("?")[0].rpartition("/")[2])


def digests(hashes: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The sha256 as lower-case hex; else the strongest other digest as ``algorithm:hex``.

    Raises:
        FieldInvalid: there is a sha256 and it is not one.
    """
    if "sha256" in hashes:
        sha256 = _sha256(hashes["sha256"])
        if sha256 is None:
            raise FieldInvalid("its sha256 is not one")
        return sha256, None
    for algorithm, length in _OTHER_DIGESTS:
        digest = hashes.get(algorithm)
        if digest is not None and len(digest) == length and _HEX(digest):
            return None, f"{algorithm}:{digest.lower()}"
    return None, None


def core_metadata(hashes: bool | Mapping[str, str] | None) -> bool | str:  # noqa: FBT001 - PEP 714's type
    """Of a sidecar (PEP 658): False, True when its digest is unknown, or its sha256.

    A sha256 that is none makes it False: nobody could check what would be fetched.
    """
    if hashes is None or isinstance(hashes, bool):
        return bool(hashes)
    if "sha256" not in hashes:
        return True
    return _sha256(hashes["sha256"]) or False


def yanked(value: bool | str | None) -> bool | str:  # noqa: FBT001 - PEP 691's type
    """PEP 691: a boolean, or the reason; an empty one counts as no yank."""
    return (clean(value) or True) if isinstance(value, str) and value else bool(value)


def requires_python(text: str | None) -> str | None:
    """PEP 345's specifier as free text; None when it is too long: half of it means something else."""
    return None if text is None or len(text) > _LONGEST_TEXT else clean(text)


def upload_time(text: str | None) -> Microseconds | None:
    """PEP 700's time; one without a zone is UTC; None when it cannot be read or is not of 1970 to 9999."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        time_since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return time_since // _MICROSECOND if timedelta(0) <= time_since <= _LATEST else None


def size(value: int | None) -> int | None:
    """PEP 700's size in bytes; None when it cannot be one."""
    return value if value is not None and 0 <= value < 2**63 else None


def provenance(url: str | None) -> str | None:
    """PEP 740: a fully qualified URL, or None."""
    if not url or not url.startswith(("http://", "https://")):
        return None
    try:
        return resolved_url("", url)
    except FieldInvalid:
        return None


def serial(value: object) -> int | None:
    """``_last-serial`` as an integer, however it is written; None when it is absent or makes no sense."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**63 else None


def status(value: object) -> str:
    """PEP 792; a status that is not known here counts as active."""
    return value if isinstance(value, str) and value in _STATUSES else "active"


def clean(text: object) -> str | None:
    """Free text as it is but for control characters (a blank for each), its first 4,096 characters.

    None when nothing is left.
    """
    if not isinstance(text, str):
        return None
    text = text[:_LONGEST_TEXT]
    cleaned = text if text.isprintable() else _CONTROL.sub(" ", text)
    return cleaned if cleaned.strip() else None


def _sha256(text: str) -> str | None:
    if _LOWER_SHA256(text):
        return text
    return text.lower() if len(text) == 64 and _HEX(text) else None

"""What names mean: projects, files, and the version that a filename states.

A page may list many thousand files, so each rule tries plain string work first and asks ``packaging``
only where spelling matters. No rule here raises on hostile input, except :func:`normalize`, and none
takes more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from itertools import islice
from types import MappingProxyType

from packaging.utils import NormalizedName, canonicalize_name, canonicalize_version
from packaging.version import Version

from koschey.errors import RequestInvalid

__all__ = [
    "FILE_EXTENSIONS",
    "NormalizedName",
    "Spellings",
    "belongs_to",
    "content_type",
    "is_valid_name",
    "normalize",
    "safe_filename",
    "version_of",
]

MAX_NAME = 200
MAX_FILENAME = 255

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: Extensions of distributions, of today and of the past; a longer one stands before its own ending.
FILE_EXTENSIONS = (
    ".whl", ".tar.gz", ".zip", ".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg", ".tgz",
    ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.z", ".tar.lz", ".tlz", ".tar.lzma", ".tar",
)  # fmt: skip

_CONTENT_TYPES = {
    ".whl": "application/zip",
    ".zip": "application/zip",
    ".egg": "application/zip",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".tar": "application/x-tar",
    ".metadata": "text/plain; charset=utf-8",
}

#: What distutils appended to the version of a binary archive: ``.linux-x86_64``, ``.win32-py2.7``.
_PLATFORM = re.compile(r"\.(?:win32|(?:aix|cygwin|darwin|linux|macosx|solaris|sunos|win)-)")
_DASHED_WHEEL = re.compile(r"(.+?)-(\d[^-]*)")
_BOUNDARY = re.compile(r"[^A-Za-z0-9]|\Z")
#: More separators than this has no version; it bounds the search in a hostile name.
_MAX_BOUNDARIES = 16


def is_valid_name(name: str) -> bool:
    """Whether a project can have this name (PEP 508; ASCII; at most 200 characters)."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def normalize(name: str) -> NormalizedName:
    """The normalised form of a project's name (PEP 503).

    Raises:
        RequestInvalid: ``name`` is not a project's name.
    """
    if not is_valid_name(name):
        raise RequestInvalid(
            "a project's name has 1 to 200 letters, digits, '.', '_' or '-', "
            "and begins and ends with a letter or digit"
        )
    return canonicalize_name(name)


def safe_filename(filename: str) -> bool:
    """Whether ``filename`` can be stored, listed and put into a URL, whatever kind of file it is.

    Printable ASCII only, which shuts out homoglyphs and control characters; at most 255 bytes; no
    slash or backslash; no leading ``.`` or ``-``; no space at either end.
    """
    return (
        0 < len(filename) <= MAX_FILENAME
        and filename.isascii()
        and filename.isprintable()
        and filename[0] not in ".- "
        and filename[-1] != " "
        and "/" not in filename
        and "\\" not in filename
    )


def belongs_to(project: NormalizedName, filename: str) -> bool:
    """Whether the name of a wheel or sdist says that it is one of ``project``; legacy kinds always are.

    ``foo_bar-1.0.tar.gz`` is no file of ``foo``. ``foo-bar-1.0.tar.gz`` may be: in old names the
    version, ``bar-1.0`` here, was free text.
    """
    if filename.endswith(".whl"):
        if _normalized(filename.partition("-")[0]) == project:
            return True
        # Wheels from before PEP 427 was enforced carry dashes in their name: the version starts at a digit.
        dashed = _DASHED_WHEEL.match(filename)
        return dashed is not None and canonicalize_name(dashed[1]) == project
    if filename.endswith((".tar.gz", ".zip")):
        stem = _split_extension(filename)[0]
        return _plain_prefix(project, stem) > 0 or _prefixes(project)[0].match(stem) is not None
    return True


class Spellings(dict[str, str]):
    """A project's versions as its upstream spells them (PEP 700), each a key to itself."""

    def __init__(self, versions: Iterable[str] = ()) -> None:
        super().__init__((version, version) for version in versions)

    @cached_property
    def folded(self) -> dict[str, str]:
        """Canonical and loose forms to spellings; of two spellings of one release the first counts."""
        # Costly for a long list, and nearly always every file spells its version as the list does.
        folded: dict[str, str] = {}
        for version in self:
            folded.setdefault(_canonical(version), version)
            folded.setdefault(_loose(version), version)
        return folded


def version_of(
    project: NormalizedName, filename: str, known_versions: Mapping[str, str] = MappingProxyType({})
) -> str | None:
    """The version that a file of ``project`` is of, or None when its name does not say.

    Arguments:
        known_versions: canonical version to the upstream's spelling, as :class:`Spellings` is. It settles
            the spelling, and where in a legacy name the version ends; without it the filename's own
            spelling is the answer.
    """
    if filename.endswith(".whl"):
        rest = stated = _wheel_version(project, filename)
    else:
        stem, extension = _split_extension(filename)
        rest = _after_name(project, stem)
        stated = _stated(rest, extension)
    if not stated or not known_versions:
        return stated or None
    if known := known_versions.get(stated):
        return known
    folded = known_versions.folded if isinstance(known_versions, Spellings) else known_versions
    known = folded.get(_canonical(stated)) or folded.get(_loose(stated))
    if known or _parsed(stated):
        return known or stated
    return next((folded[form] for form in _beginnings(rest) if _loose(folded.get(form, "")) == form), stated)


def content_type(filename: str) -> str:
    """The media type to serve a file under: nothing that a browser would run or render as a page."""
    dot = filename.rfind(".")
    return _CONTENT_TYPES.get(filename[dot:].lower() if dot >= 0 else "", "application/octet-stream")


#: The wheels of one project begin alike, so its page asks this for few different names.
_normalized = lru_cache(maxsize=1024)(canonicalize_name)


def _split_extension(filename: str) -> tuple[str, str]:
    if filename.endswith(".tar.gz"):
        return filename[:-7], ".tar.gz"
    lowered = filename.lower()
    for extension in FILE_EXTENSIONS:
        if lowered.endswith(extension):
            return filename[: -len(extension)], extension
    return filename, ""


@lru_cache(maxsize=1024)
def _prefixes(project: NormalizedName) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """How a filename of ``project`` begins, by the rule of sdists; and where its name stands in any other."""
    name = "[-_.]+".join(map(re.escape, project.split("-")))
    # A name ends at a dash; at another separator only when no dash follows that could end a longer name.
    sdist = re.compile(rf"{name}[-_.]*?(?:-|[_.](?=[^-]*\Z))", re.ASCII | re.IGNORECASE)
    anywhere = re.compile(rf"(?<![A-Za-z0-9]){name}[-_.]+", re.ASCII | re.IGNORECASE)
    return sdist, anywhere


def _plain_prefix(project: NormalizedName, stem: str) -> int:
    """Length of the project's name and a dash at the start of ``stem``; 0 when that needs a closer look.

    Nearly every name is so plain; a pattern for each project would cost more than all else about a page.
    """
    end = len(project)
    if stem[end : end + 1] != "-":
        return 0
    return end + 1 if stem[:end].lower().replace("_", "-").replace(".", "-") == project else 0


def _after_name(project: NormalizedName, stem: str) -> str:
    if plain := _plain_prefix(project, stem):
        return stem[plain:]
    beginning, anywhere = _prefixes(project)
    found = beginning.match(stem) or anywhere.search(stem)
    return stem[found.end() :] if found else ""


def _wheel_version(project: NormalizedName, stem: str) -> str:
    name, _, rest = stem.partition("-")
    version = rest.partition("-")[0]
    if not version[:1].isdigit() and _normalized(name) != project:
        dashed = _DASHED_WHEEL.match(stem)
        return dashed[2] if dashed else ""
    return version


def _stated(rest: str, extension: str) -> str:
    """The version in ``rest``, a filename without its project and extension."""
    if extension == ".egg":
        return rest.partition("-")[0]
    if extension == ".rpm":
        return rest.rpartition("-")[0]
    if extension == ".deb":
        version = rest.partition("_")[0]
        return version.rpartition("-")[0] or version
    platform = _PLATFORM.search(rest)
    return rest[: platform.start()] if platform else rest


def _beginnings(rest: str) -> list[str]:
    """What could be a version at the start of ``rest``, the longest first, in loose form."""
    ends = [found.start() for found in islice(_BOUNDARY.finditer(rest), _MAX_BOUNDARIES)]
    return [_loose(rest[:end]) for end in reversed(ends) if end]


@lru_cache(maxsize=8192)
def _parsed(version: str) -> Version | None:
    try:
        return Version(version)
    except ValueError:  # not of PEP 440, or a number with more digits than int() takes
        return None


def _canonical(version: str) -> str:
    parsed = _parsed(version)
    return canonicalize_version(parsed) if parsed else version


def _loose(version: str) -> str:
    """A version without the difference between ``-`` and ``_`` (wheels and eggs write the latter)."""
    return version.lower().replace("_", "-")

"""What an upload says of itself: the fields of its form, and the name of its file.

Source: the upload API as warehouse documents it, PEP 427 (wheel names), PEP 625 (sdist names), PEP 440.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from packaging.metadata import RawMetadata
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    canonicalize_version,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from koschey.domain.core_metadata import metadata_problem
from koschey.domain.names import MAX_FILENAME, NormalizedName, is_valid_name
from koschey.errors import UploadInvalid

Fields = Mapping[str, Sequence[str]]
"""Values of a form by the name of their field, in order."""

#: Form field to algorithm, as ``hashlib`` calls it, and hexadecimal digits.
DIGESTS = {
    "md5_digest": ("md5", 32),
    "sha256_digest": ("sha256", 64),
    "blake2_256_digest": ("blake2b", 64),
}
#: Form field to field of the metadata, for those that may be given once.
_SINGLE = {
    name: name
    for name in (
        "metadata_version", "name", "version", "summary", "description", "description_content_type",
        "home_page", "download_url", "author", "author_email", "maintainer", "maintainer_email", "license",
        "license_expression", "requires_python", "keywords",
    )
}  # fmt: skip
#: The same for those that may be repeated; some tools write the plural.
_REPEATED = {
    "platform": "platforms",
    "platforms": "platforms",
    "supported_platform": "supported_platforms",
    "supported_platforms": "supported_platforms",
    "license_file": "license_files",
    "license_files": "license_files",
    "classifiers": "classifiers",
    "requires": "requires",
    "provides": "provides",
    "obsoletes": "obsoletes",
    "requires_dist": "requires_dist",
    "provides_dist": "provides_dist",
    "obsoletes_dist": "obsoletes_dist",
    "requires_external": "requires_external",
    "provides_extra": "provides_extra",
    "provides_extras": "provides_extra",
    "dynamic": "dynamic",
    "import_names": "import_names",
    "import_namespaces": "import_namespaces",
}
_CONTROL = (":action", "protocol_version", "filetype", "pyversion", "comment", *DIGESTS, "attestations")
_ABSENT = "UNKNOWN"
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
_HEX = re.compile(r"[0-9a-f]+")
#: How tags of platforms begin (PEP 425): those of the public index, and of systems that companies build for.
_PLATFORM = re.compile(
    r"any|win32|(?:win|linux|manylinux|manylinux1|manylinux2010|manylinux2014|musllinux|macosx|ios|android|pyodide|"
    r"emscripten|wasi|freebsd|netbsd|openbsd|dragonfly|solaris|sunos|aix|cygwin|mingw|msys|haiku)_[a-z0-9_]+"
)
_FILETYPES = {"bdist_wheel": ".whl", "sdist": ".tar.gz"}


@dataclass(frozen=True)
class Submission:
    """An upload's word about itself, valid in itself."""

    filename: str
    filetype: str
    """``bdist_wheel`` or ``sdist``."""
    project: str
    """The project's name as the upload spells it."""
    name: NormalizedName
    version: str
    """Normalised (PEP 440), zeros at its end kept."""
    release: str
    """The form of the version in which 1.0 and 1.0.0 are one."""
    requires_python: str | None
    digests: Mapping[str, str]
    """By algorithm as ``hashlib`` calls it, in lower case."""
    attestations: str | None
    """A JSON array (PEP 740), not looked into yet."""


def submission(fields: Fields, filename: str | None) -> Submission:
    """What a form says.

    Args:
        filename: of the part ``content``; None when it had none.

    Raises:
        UploadInvalid: something is missing, malformed, or contradicts something else.
    """
    _check_control(fields)
    digests = dict(_digests(fields))
    if not digests:
        raise UploadInvalid("digest-missing", f"there is no digest: send one of {', '.join(DIGESTS)}")
    filetype = check_filename(filename, _one(fields, "filetype"))
    raw = _raw(fields)
    problem = metadata_problem(raw)
    if problem is not None:
        raise UploadInvalid("metadata-invalid", f"the metadata is not valid: {problem}")
    project, version = raw["name"], Version(raw["version"])
    if not is_valid_name(project):
        raise UploadInvalid("name-invalid", f"{_cut(project)!r} is no name for a project")
    assert filename is not None
    _check_agreement(filename, project, version)
    return Submission(
        filename=filename,
        filetype=filetype,
        project=project,
        name=canonicalize_name(project),
        version=str(version),
        release=canonicalize_version(version),
        requires_python=raw.get("requires_python"),
        digests=digests,
        attestations=_one(fields, "attestations") or None,
    )


def check_embedded(said: Submission, name: str, version: str, requires_python: str | None) -> None:
    """What a file's own metadata says against the form. Raises: UploadInvalid."""
    if canonicalize_name(name) != said.name:
        raise UploadInvalid(
            "metadata-disagrees",
            f"the metadata in the file is {_cut(name)}'s, the form is {_cut(said.project)}'s",
        )
    if Version(version) != Version(said.version):
        raise UploadInvalid(
            "metadata-disagrees", f"the metadata in the file says version {version}, the form {said.version}"
        )
    if (
        said.requires_python
        and requires_python
        and SpecifierSet(said.requires_python) != SpecifierSet(requires_python)
    ):
        raise UploadInvalid(
            "metadata-disagrees",
            f"the metadata in the file requires Python {_cut(requires_python)!r}, "
            f"the form {_cut(said.requires_python)!r}",
        )


def name_of(fields: Fields, filename: str | None) -> NormalizedName | None:
    """The project that an upload is about, by what came of it so far; None: that cannot be told yet."""
    given = fields.get("name") or [(filename or "").partition("-")[0]]
    return canonicalize_name(given[0]) if is_valid_name(given[0]) else None


def check_filename(filename: str | None, filetype: str | None) -> str:
    """The file's type, if a file of that type can have that name here. Raises: UploadInvalid."""
    if not filename:
        raise UploadInvalid("content-missing", "the part named content has no filename")
    if len(filename.encode("utf-8", "surrogateescape")) > MAX_FILENAME:
        raise UploadInvalid("filename-invalid", f"the filename is longer than {MAX_FILENAME} bytes")
    if not _FILENAME.fullmatch(filename):
        raise UploadInvalid(
            "filename-invalid",
            f"the filename {_cut(filename)!a} may have letters, digits and . _ + ! - only, "
            "and begins with a letter or digit",
        )
    if filetype not in _FILETYPES:
        raise UploadInvalid(
            "filetype-invalid", f"filetype is {_cut(filetype or '')!r}; it can be {' or '.join(_FILETYPES)}"
        )
    if not filename.endswith(_FILETYPES[filetype]):
        raise UploadInvalid(
            "filename-invalid",
            f"the filename of a {filetype} ends in {_FILETYPES[filetype]}: {_cut(filename)}",
        )
    return filetype


def _check_control(fields: Fields) -> None:
    for name in (*_CONTROL, *_SINGLE):
        if len(fields.get(name, ())) > 1:
            raise UploadInvalid("field-repeated", f"the field {name} is given {len(fields[name])} times")
    action = _one(fields, ":action")
    if action != "file_upload":
        raise UploadInvalid(
            "action-unknown", f"the field :action is {_cut(action or '')!r}, not 'file_upload'"
        )
    protocol = _one(fields, "protocol_version")
    if protocol not in (None, "1"):
        raise UploadInvalid(
            "protocol-unknown", f"protocol_version is {_cut(protocol)!r}; only 1 is spoken here"
        )
    filetype, python = _one(fields, "filetype"), _one(fields, "pyversion")
    if filetype == "sdist" and python not in (None, "", "source"):
        raise UploadInvalid("pyversion-invalid", f"the pyversion of an sdist is source, not {_cut(python)!r}")


def _digests(fields: Fields) -> Iterator[tuple[str, str]]:
    for field, (algorithm, length) in DIGESTS.items():
        given = (_one(fields, field) or "").strip().lower()
        if not given:
            continue
        if len(given) != length or not _HEX.fullmatch(given):
            raise UploadInvalid("digest-malformed", f"{field} is not {length} hexadecimal digits")
        yield algorithm, given


def _raw(fields: Fields) -> RawMetadata:
    """The form's metadata as ``packaging.metadata`` takes it; ``UNKNOWN`` and empty values are absent."""
    raw: dict[str, Any] = {}
    for field, name in _SINGLE.items():
        value = _one(fields, field)
        if value and value != _ABSENT:
            raw[name] = value
    if "keywords" in raw:
        raw["keywords"] = [word.strip() for word in raw["keywords"].split(",")]
    for field, name in _REPEATED.items():
        values = [value for value in fields.get(field, ()) if value and value != _ABSENT]
        if values:
            raw[name] = raw.get(name, []) + values
    urls = [value for value in fields.get("project_urls", ()) if value and value != _ABSENT]
    if urls:
        raw["project_urls"] = dict(_labelled(url) for url in urls)
    return cast("RawMetadata", raw)


def _labelled(text: str) -> tuple[str, str]:
    label, comma, url = text.partition(",")
    if not comma or not url.strip():
        raise UploadInvalid("metadata-invalid", f"project_urls: {_cut(text)!r} is not 'label, URL'")
    return label.strip(), url.strip()


def _check_agreement(filename: str, project: str, version: Version) -> None:
    """The filename against the metadata of the form."""
    name = canonicalize_name(project)
    if filename.endswith(".tar.gz"):
        expected = f"{name.replace('-', '_')}-{version}.tar.gz"
        if filename != expected:
            raise UploadInvalid(
                "filename-disagrees",
                f"the sdist of {_cut(project)} {version} is {expected} (PEP 625), not {_cut(filename)}",
            )
        return
    try:
        stated, stated_version, _, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion, ValueError) as error:
        problem = " ".join(str(error).split())
        raise UploadInvalid("filename-invalid", f"the filename is no wheel's: {_cut(problem)}") from None
    _check_platforms(tags)
    if stated != name:
        raise UploadInvalid(
            "filename-disagrees", f"the filename is of {_cut(stated)}, the field name says {_cut(project)}"
        )
    if stated_version != version:
        raise UploadInvalid(
            "filename-disagrees",
            f"the filename says version {stated_version}, the field version says {version}",
        )


def _check_platforms(tags: Iterable[Tag]) -> None:
    for tag in tags:
        if not _PLATFORM.fullmatch(tag.platform):
            raise UploadInvalid(
                "filename-invalid", f"the filename is for a platform that is none: {_cut(tag.platform)}"
            )


def _one(fields: Fields, name: str) -> str | None:
    values = fields.get(name)
    return values[0] if values else None


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."

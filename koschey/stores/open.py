"""The store that a URL asks for; boto3 is imported only when it asks for S3."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from koschey.errors import SettingsInvalid
from koschey.stores.blobs import BlobStore
from koschey.stores.folder import FolderStore

_SETTING = "storage_url"
_OPTIONS = ("endpoint", "region", "access_key", "secret_key", "path_style", "public_endpoint")


def open_store(url: str, spool_dir: Path) -> BlobStore:
    """The store behind ``url``.

    Args:
        url: ``file:///folder`` or ``s3://bucket/prefix?endpoint=URL&region=NAME``, also with
            ``access_key`` and ``secret_key`` (else boto3 looks where it always does), ``path_style=1``,
            and ``public_endpoint=URL`` (what presigned links name instead of the endpoint).
        spool_dir: where files for a remote store wait; a folder store has its own.

    Raises:
        SettingsInvalid: the URL cannot be used; the message repeats none of its values.
        StoreUnavailable: a folder cannot be made.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsInvalid(_SETTING, "is not a URL") from None
    if parts.fragment or "#" in url:
        raise _invalid("has a fragment; write a # inside a value as %23")
    if parts.scheme == "file":
        return FolderStore(_folder(parts))
    if parts.scheme == "s3":
        return _s3(parts, spool_dir)
    raise _invalid("starts with neither file:/// nor s3://")


def _folder(parts: SplitResult) -> Path:
    if parts.netloc not in ("", "localhost"):
        raise _invalid("names a host; a folder is written file:///folder, with three slashes")
    if parts.query:
        raise _invalid("has options after a question mark; a folder has none")
    path = unquote(parts.path)
    if not path.startswith("/") or "\0" in path:
        raise _invalid("names no absolute folder; write file:///folder")
    return Path(path)


def _s3(parts: SplitResult, spool_dir: Path) -> BlobStore:
    bucket, prefix, options = parts.netloc, unquote(parts.path).strip("/"), _options(parts.query)
    if "@" in bucket or ":" in bucket:
        raise _invalid("has more than a bucket's name after s3://; credentials and endpoint are options")
    if not bucket:
        raise _invalid("names no bucket; write s3://bucket/prefix")
    if any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise _invalid("has an empty part, '.' or '..' in the prefix")
    if ("access_key" in options) != ("secret_key" in options):
        raise _invalid("has one of access_key and secret_key without the other")

    from koschey.stores.s3 import S3Store

    return S3Store(
        bucket,
        prefix,
        spool_dir=spool_dir,
        endpoint_url=_endpoint(options, "endpoint"),
        public_endpoint=_endpoint(options, "public_endpoint"),
        region=options.get("region"),
        access_key=options.get("access_key"),
        secret_key=options.get("secret_key"),
        path_style=_path_style(options),
    )


def _options(query: str) -> dict[str, str]:
    """Options by name. Not ``parse_qsl``: it would read the + that secret keys contain as a space."""
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _OPTIONS:
            raise _invalid(f"has an unknown option; the options are {', '.join(_OPTIONS)}")
        if name in options:
            raise _invalid(f"has the option {name} twice")
        if not value:
            raise _invalid(f"has no value for the option {name}")
        options[name] = unquote(value)
    return options


def _endpoint(options: dict[str, str], name: str) -> str | None:
    if (value := options.get(name)) is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable:
        raise _invalid(f"has an option {name} that is not http://host or https://host")
    if parts.username or parts.password or parts.query:
        raise _invalid(f"has an option {name} with more than scheme, host and path")
    return value.rstrip("/")


def _path_style(options: dict[str, str]) -> bool:
    switch = options.get("path_style", "0")
    if switch not in ("0", "1"):
        raise _invalid("has a path_style that is neither 0 nor 1")
    return switch == "1"


def _invalid(problem: str) -> SettingsInvalid:
    return SettingsInvalid(_SETTING, problem)

"""Every setting, once: name, type, default, help, and whether it is a secret.

A value comes from ``KOSCHEY_<NAME>`` in the environment, else from the TOML file that
``KOSCHEY_CONFIG`` names, else from the default. A key that nobody declared stops the start, so that a
misspelt one is never silently ignored; ``KOSCHEY_PLUGIN_*`` belongs to plug-ins and passes.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from koschey.errors import SettingsInvalid

PREFIX = "KOSCHEY_"
PUBLIC_INDEX = "public"
"""Stands for the public index's address, which only a new database needs and a library knows."""
#: Read elsewhere, and no setting of the running service.
_FOREIGN = ("KOSCHEY_CONFIG", "KOSCHEY_FAIL")


_SHORTEST_SECONDS = 0.05
_DATABASES = ("postgresql://", "postgres://", "postgresql+psycopg2://", "sqlite:///")
#: Stands in a header whose parts are set apart by blanks, commas and semicolons.
_SCRIPT_URL = re.compile(r"https?://[^\s,;?#'\"]+")
_INTEGRITY = re.compile(r"sha(?:256|384|512)-[A-Za-z0-9+/]+={0,2}")
_SHORTEST_GRACE = 600.0


def _setting(default: Any, help: str, *, secret: bool = False) -> Any:  # noqa: A002 - click's word for it
    return field(default=default, repr=not secret, metadata={"help": help, "secret": secret})


@dataclass(frozen=True)
class Settings:
    """What Koschey was told, already converted and checked."""

    data_dir: Path = _setting(Path("koschey-data"), "Folder of the embedded database, files and locks.")
    database_url: str = _setting(
        "", "SQLAlchemy URL of the database; empty: SQLite in the data folder.", secret=True
    )
    storage_url: str = _setting(
        "",
        "Where files are kept: file:///folder or s3://bucket/prefix?endpoint=URL&region=NAME; "
        "empty: a folder in the data folder.",
        secret=True,
    )
    redis_url: str = _setting(
        "",
        "Redis for worker processes (koschey worker), in a database of its own; empty: the web processes do "
        "the jobs in threads.",
        secret=True,
    )
    upstream_url: str = _setting(
        PUBLIC_INDEX,
        "First upstream of the index main; public: the public Python package index; empty: none; "
        "read when the database is new.",
    )
    quarantine_days: float = _setting(
        7.0, "Days of hold in the policy of the index main; read when the database is new."
    )
    backdate_tolerance_seconds: float = _setting(
        21_600.0,
        "How much older than the previous look at its project a file may say it is and still have its hold "
        "counted from the time that its upstream gives, in seconds.",
    )
    refresh_seconds: float = _setting(
        600.0,
        "How old an upstream's page may get before Koschey looks again, in seconds; "
        "read when the database is new.",
    )
    stale_seconds: float = _setting(
        3600.0,
        "Age from which a page is refreshed before it is served, not behind the answer, in seconds.",
    )
    negative_seconds: float = _setting(
        60.0, "How long an upstream's 404 for a name is remembered, in seconds."
    )
    negative_names: int = _setting(20_000, "How many unknown names are remembered at the most.")
    deleted_days: float = _setting(
        30.0, "How many days the bytes of deleted files are kept, so that they can be restored."
    )
    public_url: str = _setting(
        "", "Scheme, host and path prefix that clients use; empty: taken from each request."
    )
    contact: str = _setting("", "Whom to ask about the quarantine, a text or URL; explanations show it.")
    smtp_url: str = _setting(
        "",
        "Mail server for answers to requests: smtp://[user:password@]host[:port], which turns to TLS by "
        "STARTTLS (?tls=no: it has none), or smtps://; empty: no mail.",
        secret=True,
    )
    mail_from: str = _setting("", "Sender of mails; needed with a mail server.")
    review_mail: str = _setting("", "Address that is told of each new request for a hidden version.")
    webhook_url: str = _setting(
        "",
        "Where new requests for hidden versions and their answers are posted as JSON; empty: nowhere.",
        secret=True,
    )
    webhook_secret: str = _setting(
        "",
        "Key of the HMAC-SHA256 in X-Koschey-Signature, by which a webhook's receiver knows us.",
        secret=True,
    )
    trusted_proxies: int = _setting(
        0, "How many reverse proxies stand in front; X-Forwarded-* of so many hops is believed."
    )
    proxy_addresses: str = _setting(
        "",
        "Comma-separated addresses or networks of the reverse proxies, and unix for one on a Unix socket; "
        "a plug-in may believe what a header says of the user from these alone.",
    )
    secret_key: str = _setting(
        "",
        "What sessions are signed with; empty: a key that is made once and kept in the database.",
        secret=True,
    )
    session_hours: float = _setting(12.0, "Hours after which somebody who logged in has to do so again.")
    page_cache_bytes: int = _setting(32 * 2**20, "Memory for ready-made pages in each web process, in bytes.")
    hot_path: bool = _setting(
        True,  # noqa: FBT003 - the default of a switch
        "Answer ready-made pages and small files in front of Flask.",
    )
    htmx_url: str = _setting(
        "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js",
        "Where browsers get htmx; a sealed network names a copy of its own; empty: pages do without it.",
    )
    htmx_integrity: str = _setting(
        "sha384-2OatzQy1H+Zd/IIrjr1TcuDGqLXeHhbooAyJY1KdQMKnr4LZ22k31GBLdYKHmVjg",
        "The digest that htmx must have (Subresource Integrity); empty: none is asked for.",
    )
    accel_redirect: str = _setting(
        "",
        "Location prefix for X-Accel-Redirect, such as /_blobs/, by which nginx sends stored files "
        "(whole ones of 512 KiB or less come from Koschey, in one exchange); empty: Koschey sends all.",
    )
    presigned_seconds: int = _setting(
        300, "Lifetime of presigned download links of an S3 store, in seconds; 0: stream through Koschey."
    )
    connect_timeout: float = _setting(5.0, "Seconds to wait for a connection to an upstream.")
    read_timeout: float = _setting(15.0, "Seconds to wait for the next bytes from an upstream.")
    page_deadline: float = _setting(30.0, "Seconds within which an upstream's page must have arrived whole.")
    refresh_deadline: float = _setting(
        8.0, "Seconds that a request waits for a refresh when a stored page could be served instead."
    )
    file_deadline: float = _setting(
        1800.0, "Seconds within which an upstream's file must have arrived whole."
    )
    upstream_retries: int = _setting(2, "How often a failed request to an upstream is repeated.")
    max_page_bytes: int = _setting(64 * 2**20, "Size limit of an upstream's page, decompressed, in bytes.")
    max_root_bytes: int = _setting(
        256 * 2**20, "Size limit of an upstream's root list, decompressed, in bytes."
    )
    root_deadline: float = _setting(
        600.0, "Seconds within which an upstream's root list must have arrived and been read."
    )
    max_file_bytes: int = _setting(8 * 2**30, "Size limit of a file fetched from an upstream, in bytes.")
    max_metadata_bytes: int = _setting(16 * 2**20, "Size limit of a METADATA file or provenance document.")
    max_upload_bytes: int = _setting(2 * 2**30, "Size limit of an upload, in bytes.")
    storage_unused_days: float = _setting(
        0.0, "Days without a download after which the bytes of a mirrored file are given up; 0: never."
    )
    storage_max_bytes: int = _setting(
        0,
        "Size of all stored mirrored files above which those unused for longest are given up, in bytes; "
        "0: no limit.",
    )
    orphan_grace_seconds: float = _setting(
        86_400.0,
        "Seconds that bytes are left alone to which nothing in the database refers, before they are deleted.",
    )
    plugins: str = _setting("", "Comma-separated modules to load as plug-ins, besides installed ones.")
    log_format: str = _setting("auto", "json, console, or auto: console on a terminal.")
    log_level: str = _setting("info", "debug, info, warning or error.")

    @cached_property
    def resolved_database_url(self) -> str:
        """The database URL, with the driver named (SQLAlchemy 2.1 would take psycopg 3 for PostgreSQL)."""
        url = self.database_url or f"sqlite:///{self.sqlite_path}"
        for scheme in ("postgresql://", "postgres://"):
            if url.startswith(scheme):
                return "postgresql+psycopg2://" + url.removeprefix(scheme)
        return url

    @property
    def sqlite_path(self) -> Path:
        """The embedded database, when no other is named."""
        return self.data_dir.absolute() / "koschey.sqlite"

    @cached_property
    def resolved_storage_url(self) -> str:
        """The storage URL, with the default folder filled in."""
        return self.storage_url or (self.data_dir.absolute() / "files").as_uri()

    @property
    def resolved_upstream_url(self) -> str:
        """The first upstream's URL; empty for none."""
        if self.upstream_url != PUBLIC_INDEX:
            return self.upstream_url
        from pypi_simple import PYPI_SIMPLE_ENDPOINT  # 10 MB of parser, for one constant

        return PYPI_SIMPLE_ENDPOINT

    @property
    def embedded(self) -> bool:
        """Whether the database is SQLite."""
        return self.resolved_database_url.startswith("sqlite")


def described() -> list[tuple[str, str, Any, str, bool]]:
    """(name, type, default, help, secret) of every setting, in order of declaration."""
    return [
        (f.name, str(f.type), f.default, f.metadata["help"], f.metadata["secret"]) for f in fields(Settings)
    ]


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from ``environ`` (the process's by default), its TOML file, and ``overrides``.

    Raises:
        SettingsInvalid: an unknown key, or a value that is not of its setting's type.
    """
    environ = os.environ if environ is None else environ
    declared = {f.name: f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for name, raw in _from_file(environ.get("KOSCHEY_CONFIG")).items():
        if name not in declared:
            raise SettingsInvalid(name, "is not known; `koschey config show` lists the settings")
        values[name] = _converted(declared[name], name, raw)
    for key, text in environ.items():
        if not key.startswith(PREFIX) or key in _FOREIGN or key.startswith("KOSCHEY_PLUGIN_"):
            continue
        name = key.removeprefix(PREFIX).lower()
        if name not in declared:
            raise SettingsInvalid(key, "is not known; `koschey config show` lists the settings")
        values[name] = _converted(declared[name], key, text)
    values.update({k: v for k, v in overrides.items() if v is not None})
    settings = Settings(**values)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Values that are of their type and still make no sense."""
    for name in (
        "connect_timeout",
        "read_timeout",
        "page_deadline",
        "refresh_deadline",
        "root_deadline",
        "file_deadline",
    ):
        if getattr(settings, name) < _SHORTEST_SECONDS:
            raise SettingsInvalid(PREFIX + name.upper(), f"is in seconds, {_SHORTEST_SECONDS:g} at the least")
    if settings.orphan_grace_seconds < _SHORTEST_GRACE:
        raise SettingsInvalid(
            PREFIX + "ORPHAN_GRACE_SECONDS",
            f"is {_SHORTEST_GRACE:g} at the least: a file may be on its way in",
        )
    if settings.database_url and not settings.database_url.startswith(_DATABASES):
        # Not shown: it may have a password.
        raise SettingsInvalid(PREFIX + "DATABASE_URL", "begins with postgresql:// or sqlite:///")
    if settings.public_url and not settings.public_url.startswith(("http://", "https://")):
        raise SettingsInvalid(PREFIX + "PUBLIC_URL", "begins with http:// or https://")
    if settings.htmx_url and not _SCRIPT_URL.fullmatch(settings.htmx_url):
        raise SettingsInvalid(PREFIX + "HTMX_URL", "is https://… or http://…, without a query")
    if settings.htmx_integrity and not _INTEGRITY.fullmatch(settings.htmx_integrity):
        raise SettingsInvalid(PREFIX + "HTMX_INTEGRITY", "is sha384- (or 256, 512) and a digest in base64")


def _from_file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    import tomllib  # few have such a file

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid("KOSCHEY_CONFIG", f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid("KOSCHEY_CONFIG", f"{path} is not TOML: {error}") from error


def _converted(declared: dataclasses.Field[Any], key: str, raw: Any) -> Any:
    kind = str(declared.type)
    text = str(raw).strip()
    try:
        if kind == "bool":
            return {"1": True, "true": True, "yes": True, "on": True,
                    "0": False, "false": False, "no": False, "off": False}[text.lower()]  # fmt: skip
        if kind in ("int", "float"):
            number = int(text) if kind == "int" else float(text)
            if not 0 <= number < float("inf"):
                raise ValueError
            return number
    except (KeyError, ValueError):
        wanted = {"bool": "on or off", "int": "a whole number, 0 or more", "float": "a number, 0 or more"}
        raise SettingsInvalid(key, f"{text!r} is not {wanted[kind]}") from None
    return Path(text) if kind == "Path" else text

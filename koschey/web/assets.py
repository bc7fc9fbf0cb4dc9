"""Static files under names that carry a digest of their content, so that browsers keep them for good.

WhiteNoise sends them. There is no build step: ``koschey.css`` on disk is ``koschey.0f3a….css`` in a page, and
under its own name for a minute at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from whitenoise import WhiteNoise

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PREFIX = "/static/"
_DIGITS = 12


class Assets:
    """The files of a folder. They are read at the start: a change of them needs another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named: Mapping[str, str] = {
            path.name: _with_digest(path) for path in sorted(folder.iterdir()) if path.is_file()
        }

    def name(self, file: str) -> str:
        """The name with its digest, relative to ``/static/``. Raises: KeyError: there is no such file."""
        return self._named[file]

    def middleware(self, application: WSGIApplication) -> WSGIApplication:
        """An application that answers for the files, and leaves everything else to the one given."""
        lasting = {PREFIX + named for named in self._named.values()}
        server = WhiteNoise(
            application,
            allow_all_origins=False,
            immutable_file_test=lambda _path, url: url in lasting,
            add_headers_function=lambda headers, _path, _url: headers.add_header(
                "X-Content-Type-Options", "nosniff"
            ),
        )
        for file, named in self._named.items():
            for url in (PREFIX + file, PREFIX + named):
                server.add_file_to_dictionary(url, str(self._folder / file))
        middleware: WSGIApplication = server
        return middleware


def _with_digest(path: Path) -> str:
    name = PurePosixPath(path.name)
    return f"{name.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]}{name.suffix}"

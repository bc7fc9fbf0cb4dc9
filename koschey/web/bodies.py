"""Files of this machine as bodies of answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flask import request

_CHUNK = 256 * 1024


def file_body(path: Path, start: int, length: int) -> Iterable[bytes]:
    """So many bytes of a file, sent by the kernel where the server can. Raises: FileNotFoundError."""
    file = path.open("rb")
    file.seek(start)
    wrapper = request.environ.get("wsgi.file_wrapper")
    if wrapper is not None:
        wrapped: Iterable[bytes] = wrapper(file, _CHUNK)  # sendfile of Content-Length bytes from here
        return wrapped
    return _Blocks(file, length)


class _Blocks:
    """So many bytes of an open file, for servers without ``wsgi.file_wrapper``."""

    def __init__(self, file: Any, length: int) -> None:
        self._file = file
        self._left = length

    def __iter__(self) -> Iterator[bytes]:
        while self._left and (block := self._file.read(min(_CHUNK, self._left))):
            self._left -= len(block)
            yield block

    def close(self) -> None:
        self._file.close()

"""``wsgi.input``: the request's body, read by a thread while the event loop receives it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import IO

from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest


class BodyBroken(OSError):
    """The client went away, sent nonsense, or sent nothing for too long, before its body was whole."""


def request_body(request: BaseRequest, *, before_read: Callable[[], None], stall: float) -> IO[bytes]:
    """A binary file over the body; what it holds in memory is bounded by the connection's read buffer.

    ``before_read`` is called on the event loop before bytes are waited for. A read that waits longer
    than ``stall`` seconds for the next bytes, or whose client is gone, raises BodyBroken.
    """
    content = request.content
    if content.is_eof():
        # Arrived with its head: small, and there is nothing to wait for.
        return io.BytesIO(content.read_nowait())
    return io.BufferedReader(_Receiving(content, before_read, stall), 64 * 1024)


class _Receiving(io.RawIOBase):
    def __init__(self, content: StreamReader, before_read: Callable[[], None], stall: float) -> None:
        self._content = content
        self._before_read = before_read
        self._stall = stall
        self._loop = asyncio.get_running_loop()
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        # typeshed's WriteableBuffer is wider than what io.BufferedReader passes
        if not self._left:
            self._left = memoryview(asyncio.run_coroutine_threadsafe(self._receive(), self._loop).result())
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    async def _receive(self) -> bytes:
        self._before_read()
        try:
            async with asyncio.timeout(self._stall):
                return await self._content.readany()
        except TimeoutError:
            raise BodyBroken(f"the client sent nothing for {self._stall:g} seconds") from None
        except (HttpProcessingError, RequestPayloadError, ClientPayloadError, OSError, RuntimeError) as error:
            # RuntimeError is aiohttp's "Connection closed."
            raise BodyBroken(f"the client's body ended early: {error}") from error

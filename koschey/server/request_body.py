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

from koschey.server.forms import FORM_BYTES, FORM_TYPES

#: RuntimeError is aiohttp's "Connection closed."
_BROKEN = (HttpProcessingError, RequestPayloadError, ClientPayloadError, OSError, RuntimeError)


class BodyBroken(OSError):
    """The client went away, sent nonsense, or sent nothing for too long, before its body was whole."""


async def received_form(
    request: BaseRequest, *, before_read: Callable[[], None], seconds: float
) -> IO[bytes] | None:
    """The whole body of a form, for which no thread has to wait; None: it is none, or may be longer.

    Args:
        before_read: called on the event loop before bytes are waited for.
        seconds: within which it must have arrived.

    Raises:
        BodyBroken: the client went away or sent nonsense. TimeoutError: it was too slow.
    """
    length = request.content_length
    if request.content_type not in FORM_TYPES or length is None or length > FORM_BYTES:
        return None
    if not request.content.is_eof():
        before_read()
    try:
        async with asyncio.timeout(seconds):
            return io.BytesIO(await request.content.read())
    except TimeoutError:
        raise
    except _BROKEN as error:
        raise BodyBroken(f"the client's form ended early: {error}") from error


def request_body(
    request: BaseRequest, *, before_read: Callable[[], None], stall: float, slowest: float
) -> IO[bytes]:
    """A binary file over the body; what it holds in memory is bounded by the connection's read buffer.

    ``before_read`` is called on the event loop before bytes are waited for. A read that waits longer
    than ``stall`` seconds for the next bytes, or whose client is gone, raises BodyBroken. Each wait takes
    from these seconds, and ``slowest`` bytes give one back: who drips is not waited for without end.
    """
    content = request.content
    if content.is_eof():
        # Arrived with its head: small, and there is nothing to wait for.
        return io.BytesIO(content.read_nowait())
    return io.BufferedReader(_Receiving(content, before_read, stall, slowest), 64 * 1024)


class _Receiving(io.RawIOBase):
    def __init__(
        self, content: StreamReader, before_read: Callable[[], None], stall: float, slowest: float
    ) -> None:
        self._content = content
        self._before_read = before_read
        self._stall = self._patience = stall
        self._slowest = slowest
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
        began = self._loop.time()
        try:
            async with asyncio.timeout(self._patience):
                block = await self._content.readany()
        except TimeoutError:
            raise BodyBroken(f"the client sent too slowly, or nothing for {self._stall:g} seconds") from None
        except _BROKEN as error:
            raise BodyBroken(f"the client's body ended early: {error}") from error
        waited = self._loop.time() - began
        self._patience = min(self._stall, self._patience - waited + len(block) / self._slowest)
        return block

"""``wsgi.file_wrapper`` (PEP 3333), and sending a real file without copying it through Python."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import IO, Any

#: Bytes per turn of the event loop: large enough for throughput, small enough that others get theirs.
_TURN = 1 << 20
#: Linux holds back a short packet until the file's bytes follow; elsewhere the head goes alone.
_MORE_FOLLOWS = getattr(socket, "MSG_MORE", 0)


class BodyTooShort(Exception):
    """The application, or its file, has fewer bytes than its Content-Length promised."""


class FileWrapper:
    """An open binary file as a response body: from its position, sent by the kernel where possible."""

    def __init__(self, file: IO[bytes], block_size: int = 256 * 1024) -> None:
        self.file = file
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.file.read(self.block_size):
            yield block

    def close(self) -> None:
        """Close the file, if it can be closed."""
        if hasattr(self.file, "close"):
            self.file.close()

    def region(self) -> tuple[int, int, int] | None:
        """(descriptor, offset, bytes from there to the end) of a regular file; None for anything else."""
        try:
            descriptor = self.file.fileno()
            offset = self.file.tell()
            status = os.fstat(descriptor)
        except (AttributeError, OSError, ValueError):
            return None
        if not os.path.isfile(descriptor):  # noqa: PTH113 - pathlib cannot ask a descriptor
            return None
        return descriptor, offset, max(0, status.st_size - offset)


async def send_file(
    transport: asyncio.Transport, head: bytes, descriptor: int, offset: int, count: int, *, stall: float
) -> None:
    """Send ``head`` and then ``count`` bytes of the file, past the transport, whose buffer must be empty.

    uvloop has no ``loop.sendfile``, and refuses to watch a descriptor that its transport owns: hence
    the duplicate.

    Raises:
        TimeoutError: the client took nothing for ``stall`` seconds. OSError: it is gone.
        BodyTooShort: the file is shorter than ``offset + count``.
    """
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as client:
        client.settimeout(0)
        while head:
            try:
                head = head[client.send(head, _MORE_FOLLOWS if count else 0) :]
            except BlockingIOError:
                await _writable(client, stall)
        while count:
            try:
                sent = os.sendfile(client.fileno(), descriptor, offset, min(count, _TURN))
            except BlockingIOError:
                await _writable(client, stall)
                continue
            if not sent:
                raise BodyTooShort(f"the file ends {count} bytes early")
            offset += sent
            count -= sent
            await asyncio.sleep(0)


async def _writable(client: socket.socket, stall: float) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[Any] = loop.create_future()
    loop.add_writer(client, _wake, ready)
    try:
        async with asyncio.timeout(stall):
            await ready
    finally:
        loop.remove_writer(client)


def _wake(ready: asyncio.Future[Any]) -> None:
    if not ready.done():
        ready.set_result(None)

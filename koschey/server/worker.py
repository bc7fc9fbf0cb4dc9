"""One worker process: an event loop that accepts, answers, and drains when it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import uvloop

from koschey.server.application_call import WsgiApp
from koschey.server.bridge import Bridge, Limits
from koschey.server.protocol import Server

log = logging.getLogger(__name__)

HEAD_SECONDS = 15.0
KEEPALIVE_SECONDS = 75.0
#: How long requests in flight may take after the order to stop.
DRAIN_SECONDS = 10.0

#: Linux's; elsewhere a client that reads nothing is only noticed while its answer is being made.
_TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
#: Parameters of mallopt(3).
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def serve(
    app: WsgiApp,
    listener: socket.socket,
    *,
    threads: int,
    lifeline: int,
    on_ready: Callable[[], None],
    limits: Limits | None = None,
    head_seconds: float = HEAD_SECONDS,
) -> None:
    """Serve ``app`` on ``listener`` until SIGTERM, or until the descriptor ``lifeline`` reaches its end.

    Returns when requests in flight have finished and ``app.extensions["koschey"].close()``, where
    there is one, has run. Threads that still work then are not waited for.
    """
    _give_memory_back()
    extension = getattr(app, "extensions", {}).get("koschey")
    # What was imported lives for ever: the collector need not look at it again and again.
    gc.freeze()
    worker = _Worker(app, getattr(extension, "hot_path", None), listener, threads, limits, head_seconds)
    uvloop.run(worker.run(lifeline, on_ready))
    if close := getattr(extension, "close", None):
        close()


def _give_memory_back() -> None:
    """Have glibc keep two arenas and not one for each thread, and return large blocks as they are freed."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has other ways
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, 256 * 1024)


class _Worker:
    def __init__(
        self,
        app: WsgiApp,
        hot_path: Any,
        listener: socket.socket,
        threads: int,
        limits: Limits | None,
        head_seconds: float,
    ) -> None:
        self._bridge = Bridge(app, threads=threads, limits=limits)
        self._hot_path = hot_path
        self._listener = listener
        self._head_seconds = head_seconds
        self._stall = (limits or Limits()).stall_seconds
        self._greetings: set[asyncio.Task[Any]] = set()

    async def run(self, lifeline: int, on_ready: Callable[[], None]) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._server = Server(
            self._bridge.handle,
            hot_path=self._hot_path,
            head_timeout=self._head_seconds,
            keepalive_timeout=KEEPALIVE_SECONDS,
        )
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(lifeline, stop.set)
        loop.add_reader(self._listener, self._accept)
        on_ready()
        await stop.wait()
        loop.remove_reader(lifeline)
        loop.remove_reader(self._listener)
        await self._drain()
        self._bridge.close()

    def _accept(self) -> None:
        """Take one connection per turn: the idler process comes round sooner, so both get their share."""
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was quicker, or the client left
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            log.error("cannot accept connections for a second: %s", error)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(1.0, self._accept_again)
            return
        client.settimeout(0)
        if _TCP_USER_TIMEOUT is not None and client.family != socket.AF_UNIX:
            # A finished answer waits in buffers, and nobody awaits it: the kernel must give up on it, or a
            # client that reads nothing keeps memory and descriptor for ever, even after close().
            client.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(self._stall * 1000))
        greeting = self._loop.create_task(self._greet(client))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    async def _greet(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._server, client)
        except OSError:
            client.close()  # the client left already

    def _accept_again(self) -> None:
        if not self._server.draining:
            self._loop.add_reader(self._listener, self._accept)

    async def _drain(self) -> None:
        self._server.drain()
        deadline = time.monotonic() + DRAIN_SECONDS
        while (self._server.open or self._greetings) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            self._server.drain()  # for those that were just being accepted
        for connection in list(self._server.open):
            log.warning("process %d cuts a request that did not finish", os.getpid())
            if connection.transport is not None:
                connection.transport.abort()

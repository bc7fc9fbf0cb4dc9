"""An upstream of hundreds of thousands of projects that takes its time: ``PORT PROJECTS CHANGED``."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from bench.pages import JSON

LATENCY = 0.05


def ideal_seconds(requests: int, connections: int) -> float:
    """So long so many requests take at least, over so many connections."""
    return -(-requests // connections) * LATENCY


def _root(projects: int, changed: int) -> bytes:
    step = projects // changed
    entries = [
        {"name": f"many-{number}", "_last-serial": projects + number if number % step == 0 else number}
        for number in range(projects)
    ]
    return msgspec.json.encode({"meta": {"api-version": "1.4"}, "projects": entries})


def _page(name: str, projects: int) -> bytes:
    serial = projects + int(name.rpartition("-")[2])
    url = f"/packages/{name}-1.0-py3-none-any.whl"
    file = {
        "filename": f"{name.replace('-', '_')}-1.0-py3-none-any.whl",
        "url": url,
        "hashes": {"sha256": "0" * 64},
        "size": 1,
        "upload-time": "2024-01-02T03:04:05Z",
    }
    meta = {"api-version": "1.4", "_last-serial": serial}
    return msgspec.json.encode({"meta": meta, "name": name, "versions": ["1.0"], "files": [file]})


async def _serve(port: int, projects: int, changed: int) -> None:
    root = _root(projects, changed)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                name = path.removeprefix("/simple/").strip("/")
                await asyncio.sleep(LATENCY)
                body = _page(name, projects) if name else root
                writer.write(
                    f'HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nETag: "{name}"\r\n'
                    f"Content-Length: {len(body)}\r\n\r\n".encode()
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(*map(int, sys.argv[1:4])))

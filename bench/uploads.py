"""Uploads: 100 small wheels beside other private indexes, and what a file of 2 GB takes in memory."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import archives, rivals
from bench.ground import Ground
from bench.processes import BenchError, environment, free_port, members, running, wait_for_port
from bench.report import Goal, Row
from bench.rivals import Target

_COUNT = 100
_AT_ONCE = 8
_LARGE = 2_000_000_000
_BOUNDARY = "bench-" + "0" * 26
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_COMMAND = [sys.executable, "-m", "koschey"]
_REPOSITORY = Path(__file__).parents[1]
_MIB = 2**20
_names = itertools.count()


@dataclass(frozen=True)
class _Upload:
    """A request for an upload: what comes before the file, and after it."""

    before: bytes
    content: bytes
    after: bytes = f"\r\n--{_BOUNDARY}--\r\n".encode()

    @property
    def body(self) -> bytes:
        return self.before + self.content + self.after


def small_uploads(ground: Ground) -> Iterator[Row]:
    """100 wheels of 2 kB, each of a new project: one after the other, and by eight clients."""
    programs = rivals.installed(ground.work)
    rounds = ground.effort.installs
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=ground.folder)))
        targets = {
            "devpi-server": stack.enter_context(rivals.devpi(programs, folder / "devpi")),
            "pypiserver": stack.enter_context(rivals.pypiserver(programs, folder / "pypiserver")),
            "": stack.enter_context(koschey(folder / "koschey")),
        }
        rates: dict[tuple[str, int], list[float]] = {}
        for number in range(rounds + 1):
            for (rival, target), clients in itertools.product(targets.items(), (1, _AT_ONCE)):
                rate = _rate(target, clients)
                if number:  # one warms up
                    rates.setdefault((rival, clients), []).append(rate)
        for clients, words in ((1, "one at a time"), (_AT_ONCE, "eight at a time")):
            ours = rates["", clients]
            for rival in ("devpi-server", "pypiserver"):
                theirs = statistics.median(rates[rival, clients])
                our = statistics.median(ours)
                goal = Goal("share", 1.0) if clients == 1 else None
                measure = f"100 small uploads, {words}, beside {rival}"
                yield Row(measure, "uploads/s", theirs, our, our / theirs, (min(ours), max(ours)), goal)


def large_upload(ground: Ground) -> Iterator[Row]:
    """A wheel of 2 GB: the rate, and the highest memory of any process."""
    with tempfile.TemporaryDirectory(dir=ground.folder) as name, koschey(Path(name, "koschey")) as target:
        folder = Path(name)
        wheel = _large_wheel(folder)
        start = _form("large", "1.0", wheel.name, _digest(wheel))
        begin = time.perf_counter()
        _send_file(target, start, wheel)
        seconds = time.perf_counter() - begin
        peak = max(_high_waters(target.pid))
        blobs = [path for path in (folder / "koschey" / "data" / "files").rglob("*") if path.is_file()]
        stored = sum(path.stat().st_blocks * 512 for path in blobs)
        yield Row("2 GB upload", "MB/s", None, _LARGE / 1e6 / seconds)
        limit = Goal("limit", 150)
        yield Row("2 GB upload, memory of the largest process", "MiB", None, peak / 1024, goal=limit)
        yield Row("2 GB upload, on the disk", "GB", None, stored / 1e9, goal=Goal("limit", 2.1))


@dataclass(frozen=True)
class Ours(Target):
    """Koschey as a target, and its process."""

    pid: int = 0


@contextmanager
def koschey(folder: Path) -> Iterator[Ours]:
    """``koschey serve --workers 2`` over new data, without an upstream; somebody may upload."""
    folder.mkdir(parents=True)
    data, log, port = folder / "data", folder / "koschey.log", free_port()
    env = environment(
        folder,
        KOSCHEY_UPSTREAM_URL="",
        KOSCHEY_DATA_DIR=str(data),
        KOSCHEY_LOG_LEVEL="warning",
        PYTHONPATH=str(_REPOSITORY),
    )
    for command in ("user create bench", "grant add publisher bench", "token create bench"):
        done = subprocess.run(
            [*_COMMAND, *command.split()], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise BenchError(f"koschey {command}: {done.stderr.strip()}")
    credentials = base64.b64encode(f"__token__:{done.stdout.strip()}".encode()).decode()
    command_line = [*_COMMAND, "serve", "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    with running(command_line, log, env) as process:
        wait_for_port(process, port, log)
        yield Ours(
            f"http://127.0.0.1:{port}", "/legacy/", {"Authorization": f"Basic {credentials}"}, process.pid
        )


def _rate(target: Target, clients: int) -> float:
    """Uploads per second of 100 new wheels, made beforehand."""
    uploads = [_small() for _ in range(_COUNT)]
    shares = [uploads[n::clients] for n in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda share: _send(target, share), shares))
        return _COUNT / (time.perf_counter() - begin)


def _send(target: Target, uploads: Sequence[_Upload]) -> None:
    """On one kept connection, as twine does it. Raises: BenchError."""
    connection = http.client.HTTPConnection(urlsplit(target.origin).netloc, timeout=120)
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}", **target.headers}
    try:
        for upload in uploads:
            connection.request("POST", target.path, upload.body, headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise BenchError(f"POST {target.origin}: {answer.status} {answer.reason} {body[:200]!r}")
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"POST {target.origin}: {error!r}") from error
    finally:
        connection.close()


def _send_file(target: Target, before: bytes, path: Path) -> None:
    connection = http.client.HTTPConnection(urlsplit(target.origin).netloc, timeout=600)
    after = f"\r\n--{_BOUNDARY}--\r\n".encode()
    try:
        connection.putrequest("POST", target.path)
        connection.putheader("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
        connection.putheader("Content-Length", str(len(before) + path.stat().st_size + len(after)))
        for name, value in target.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(before)
        with path.open("rb") as file:
            connection.sock.sendfile(file)
        connection.send(after)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"the large upload: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"the large upload: {answer.status} {answer.reason} {body[:200]!r}")


def _small() -> _Upload:
    name, version = f"bench-{next(_names)}", "1.0"
    content = archives.wheel(name, version, archives.metadata(name, version), payload=500)
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return _Upload(_form(name, version, filename, hashlib.sha256(content).hexdigest()), content)


def _form(name: str, version: str, filename: str, sha256: str) -> bytes:
    """A form up to where the file's bytes begin."""
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "metadata_version": "2.1",
        "name": name,
        "version": version,
        "sha256_digest": sha256,
    }
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    content = f'form-data; name="content"; filename="{filename}"'
    head = f"--{_BOUNDARY}\r\nContent-Disposition: {content}\r\n\r\n"
    return ("".join(parts) + head).encode()


def _large_wheel(folder: Path) -> Path:
    """A wheel of 2 GB, written once; most of it is one file."""
    path = folder / "large-1.0-py3-none-any.whl"
    info = "large-1.0.dist-info"
    small = {
        f"{info}/METADATA": archives.metadata("large", "1.0"),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    # Never the same block twice, and quick to make.
    block, digest = hashlib.shake_256(b"bench").digest(_MIB - 8), hashlib.sha256()
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("large.bin", "w") as out:
            for number in range((_LARGE - 2000) // _MIB):
                piece = number.to_bytes(8) + block
                digest.update(piece)
                out.write(piece)
        size = archive.getinfo("large.bin").file_size
        record = f"large.bin,sha256={_urlsafe(digest.digest())},{size}\n"
        for name, body in small.items():
            archive.writestr(name, body)
            record += f"{name},sha256={_urlsafe(hashlib.sha256(body).digest())},{len(body)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _urlsafe(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _high_waters(pid: int) -> Iterator[int]:
    """The most that each process of a family ever had in memory, in kB."""
    for member in members(pid):
        try:
            found = _HIGH_WATER.search(Path(f"/proc/{member}/status").read_text())
        except OSError:
            continue
        if found:
            yield int(found[1])

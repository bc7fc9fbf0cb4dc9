"""Uploads to real processes: refused without a look at the body, at once from many, cut off, too large."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from sqlalchemy import text

from tests import prepared, running
from tests.artifacts import Artifact, Release, sdist, wheel
from tests.people import add_token, database_of
from tests.running import Running, eventually
from tests.services import Services
from tests.uploads.posting import basic, encoded, form_of

MEGABYTE = 2**20
_numbers = itertools.count(1)


class Server:
    """Running processes, and somebody who may upload."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.database = database_of(process)
        self.token = add_token(self.database, "alice")

    def upload(self, file: Artifact, token: str | None = None, **fields: str | None) -> requests.Response:
        body, headers = encoded(form_of(file, **fields))
        headers |= basic(token or self.token)
        return requests.post(self.process.url + "/legacy/", data=body, headers=headers, timeout=60)

    def listed(self, name: str) -> list[str]:
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        answer = requests.get(f"{self.process.simple}{name}/", headers=accept, timeout=30)
        return [file["filename"] for file in answer.json()["files"]] if answer.status_code == 200 else []

    def count(self, statement: str, **values: str) -> int:
        with self.database.reading() as session:
            return int(session.execute(text(statement), values).scalar_one())

    def spooled(self) -> list[Path]:
        folders = (self.process.data_dir / "files" / "spool", self.process.data_dir / "spool")
        return [path for folder in folders if folder.is_dir() for path in folder.glob("upload-*")]

    def connect(self) -> socket.socket:
        host, _, port = self.process.url.removeprefix("http://").partition(":")
        connection = socket.create_connection((host, int(port)), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def head(self, token: str | None, *lines: str) -> bytes:
        """The head of a request for an upload."""
        said = ["POST /legacy/ HTTP/1.1", "Host: index.example", *lines]
        if token is not None:
            said.append(f"Authorization: {basic(token)['Authorization']}")
        return ("\r\n".join(said) + "\r\n\r\n").encode()


@contextlib.contextmanager
def serving(folder: Path, kind: str, services: Services) -> Iterator[Server]:
    settings = {"KOSCHEY_MAX_UPLOAD_BYTES": str(8 * MEGABYTE)}
    with contextlib.ExitStack() as stack:
        if kind == "postgres-s3":
            settings["KOSCHEY_DATABASE_URL"] = stack.enter_context(prepared.postgres())
            s3 = services.s3()
            settings["KOSCHEY_STORAGE_URL"] = s3.storage_url(s3.make_bucket(), "files")
            settings["KOSCHEY_PRESIGNED_SECONDS"] = "0"
        process = stack.enter_context(running.koschey(folder, "", settings, gunicorn=kind == "gunicorn"))
        yield Server(process)


@pytest.fixture(scope="module", params=["sqlite", "postgres-s3", "gunicorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, services: Services
) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp(request.param), request.param, services) as made:
        yield made


def new_name() -> str:
    return f"acme-{next(_numbers)}"


def read_answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Status line, and all that came with it until the server had no more to say."""
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        connection.settimeout(10)
        while b"\r\n\r\n" not in received and (piece := connection.recv(65536)):
            received += piece
    return received.partition(b"\r\n")[0], received


def test_a_wheel_and_an_sdist_are_taken_and_served(server: Server) -> None:
    name = new_name()
    for file in (wheel(Release(name, "1.0")), sdist(Release(name, "1.0"))):
        assert server.upload(file).status_code == 200
        assert file.filename in server.listed(name)
    assert len(server.listed(name)) == 2


@pytest.mark.parametrize(("kind", "status"), [("none", b"401"), ("unknown", b"401"), ("read", b"403")])
def test_who_may_not_upload_is_told_before_a_byte_of_the_body(
    server: Server, kind: str, status: bytes
) -> None:
    token = {
        "none": None,
        "unknown": server.token[:-7] + "0" * 7,
        "read": add_token(server.database, "alice", role=None, scope="read"),
    }[kind]
    with server.connect() as connection:
        connection.sendall(
            server.head(token, "Content-Type: multipart/form-data; boundary=x", "Content-Length: 5000000")
        )
        line, _ = read_answer(connection)
        assert line.split()[1] == status


def test_a_client_that_sends_all_the_same_sees_the_answer(server: Server) -> None:
    """As twine does: it reads the answer when it has sent everything."""
    file = wheel(Release(new_name(), "1.0", payload=b"x" * 6 * MEGABYTE))
    answer = server.upload(file, token=server.token[:-7] + "0" * 7)
    assert answer.status_code == 401
    assert "not valid" in answer.reason


def test_too_large_a_file_is_refused_by_what_it_says(server: Server) -> None:
    file = wheel(Release(new_name(), "1.0", payload=b"x" * 9 * MEGABYTE))
    answer = server.upload(file)
    assert answer.status_code == 413
    assert "8388608 at the most" in answer.reason


def test_too_large_a_file_is_refused_before_a_byte_of_it_came(server: Server) -> None:
    with server.connect() as connection:
        lines = (f"Content-Length: {200 * MEGABYTE}", "Content-Type: multipart/form-data; boundary=x")
        connection.sendall(server.head(server.token, *lines))
        line, _ = read_answer(connection)
    assert line.split()[1] == b"413", line


def test_too_large_a_file_is_refused_while_it_comes(server: Server) -> None:
    """In chunks: nobody says how much will come."""
    body, headers = encoded(form_of(wheel(Release(new_name(), "1.0")), content=None))
    start = body[: body.index(b"PK")]
    with server.connect() as connection:
        lines = ("Transfer-Encoding: chunked", f"Content-Type: {headers['Content-Type']}")
        connection.sendall(server.head(server.token, *lines))
        sent = 0
        with contextlib.suppress(OSError):
            for piece in itertools.chain([start], itertools.repeat(b"x" * 65536, 400)):
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                sent += len(piece)
        line, _ = read_answer(connection)
    assert line.split()[1] == b"413", (line, sent)
    eventually(lambda: not server.spooled())


def test_the_same_upload_from_many_at_once_is_taken_once(server: Server) -> None:
    name = new_name()
    file = wheel(Release(name, "1.0"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.upload, [file] * 8))
    assert [answer.status_code for answer in answers] == [200] * 8, [a.text for a in answers]
    assert server.listed(name) == [file.filename]
    assert server.count("SELECT count(*) FROM event WHERE project = :name", name=name) == 1


def test_of_different_files_under_one_name_at_once_one_is_taken(server: Server) -> None:
    name = new_name()
    files = [wheel(Release(name, "1.0", payload=b"%d" % n)) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.upload, files))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] + [409] * 7, [a.text for a in answers]
    winner = files[statuses.index(200)]
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    [entry] = requests.get(f"{server.process.simple}{name}/", headers=accept, timeout=30).json()["files"]
    assert entry["hashes"]["sha256"] == winner.sha256
    assert requests.get(entry["url"], timeout=30).content == winner.content


def test_different_versions_of_a_new_project_at_once_are_all_taken(server: Server) -> None:
    name = new_name()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.upload, [wheel(Release(name, f"1.{n}")) for n in range(8)]))
    assert [answer.status_code for answer in answers] == [200] * 8, [a.text for a in answers]
    assert len(server.listed(name)) == 8


def test_a_client_that_goes_away_leaves_nothing(server: Server) -> None:
    name = new_name()
    body, headers = encoded(form_of(wheel(Release(name, "1.0", payload=b"x" * 4 * MEGABYTE))))
    with server.connect() as connection:
        lines = (f"Content-Length: {len(body)}", f"Content-Type: {headers['Content-Type']}")
        connection.sendall(server.head(server.token, *lines) + body[: len(body) // 2])
        eventually(server.spooled)
    eventually(lambda: not server.spooled())
    assert server.listed(name) == []


def test_a_body_that_ends_too_early_is_no_upload(server: Server) -> None:
    """A Content-Length that is right, and a form that is not."""
    body, headers = encoded(form_of(wheel(Release(new_name(), "1.0"))))
    answer = requests.post(
        server.process.url + "/legacy/",
        data=body[:-40],
        headers=headers | basic(server.token),
        timeout=30,
    )
    assert answer.status_code == 400
    assert "cut off" in answer.reason


def test_a_token_that_is_revoked_does_not_upload_in_any_process(server: Server) -> None:
    token = add_token(server.database, "carol")
    assert server.upload(wheel(Release(new_name(), "1.0")), token=token).status_code == 200
    users = "(SELECT id FROM \"user\" WHERE name = 'carol')"
    with server.database.transaction() as tx:
        tx.session.execute(
            text(f"UPDATE token SET revoked_at = :at WHERE user_id = {users}"),
            {"at": time.time_ns() // 1000},
        )
        tx.touch_configuration()
    for _ in range(4):
        assert server.upload(wheel(Release(new_name(), "1.0")), token=token).status_code == 401

"""kill -9 at each point of an upload: what was acknowledged is there, and whole (invariants 1 and 2)."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from koschey.checks.child_process import ChildProcess
from koschey.failpoints import armed
from koschey.services import uploads
from koschey.stores import folder as folder_store
from koschey.stores.database import Database
from tests import running
from tests.artifacts import Artifact
from tests.uploads.conftest import House, data_of, reason
from tests.uploads.posting import basic, encoded, form_of

#: In the order in which an upload passes them; of those after the commit the file is there.
POINTS = [
    ("upload.spooled", False),
    ("upload.verified", False),
    ("blob.before-publish", False),
    ("blob.linked", False),
    ("blob.after-publish", False),
    ("upload.published", False),
    ("upload.committed", True),
]

#: Uploads the request in a file. Arguments: data folder, body, content type, authorization.
PROGRAM = """
import sys
from pathlib import Path
from koschey import settings
from koschey.application import create_app
own = settings.load({}, data_dir=Path(sys.argv[1]), upstream_url="", log_level="error")
app = create_app(own, periodic_jobs=False)
answer = app.test_client().post("/legacy/", data=Path(sys.argv[2]).read_bytes(),
    headers={"Content-Type": sys.argv[3], "Authorization": sys.argv[4]})
app.extensions["koschey"].close()
print(answer.status_code, answer.text)
"""


def upload_elsewhere(
    house: House, file: Artifact, folder: Path, fail: str
) -> subprocess.CompletedProcess[str]:
    """An upload by a process of its own over the same data."""
    body, headers = encoded(form_of(file))
    (folder / "body").write_bytes(body)
    arguments = [str(data_of(house)), str(folder / "body"), headers["Content-Type"]]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments, basic(house.token)["Authorization"]],
        env=running.clean_environment() | {"KOSCHEY_FAIL": fail},
        cwd=running.CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_rows_have_their_blobs(house: House) -> None:
    store = house.koschey.store
    for row in house.rows("SELECT * FROM file"):
        assert store.size(row["sha256"]) == row["size"]
        for digest in (row["sha256"], row["metadata_sha256"]):
            assert hashlib.sha256(b"".join(store.read(digest))).hexdigest() == digest


@pytest.mark.parametrize(("point", "there"), POINTS)
def test_killed_at(house: House, tmp_path: Path, point: str, there: bool) -> None:
    file = house.wheel(name := house.new_name())
    done = upload_elsewhere(house, file, tmp_path, f"{point}:kill")
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert_rows_have_their_blobs(house)
    assert (house.rows("SELECT 1 FROM project WHERE name = :name", name=name) != []) == there
    assert house.upload(file).status_code == 200
    assert house.listed(name) == [file.filename]
    assert len(house.events(name)) == 1
    assert_rows_have_their_blobs(house)


@pytest.mark.parametrize("point", [point for point, there in POINTS if not there])
def test_failed_at(house: House, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    for module in (uploads, folder_store):
        monkeypatch.setattr(module, "failpoint", armed(f"{point}:raise"))
    name = house.new_name()
    before = set(house.spooled())
    assert house.upload(house.wheel(name)).status_code == 500
    assert house.rows("SELECT 1 FROM project WHERE name = :name", name=name) == []
    assert set(house.spooled()) == before


def test_what_a_killed_upload_left_in_the_spool_is_swept(house: House, tmp_path: Path) -> None:
    upload_elsewhere(house, house.wheel(), tmp_path, "upload.verified:kill")
    assert house.spooled() != []
    house.koschey.store.sweep_spool(-1)
    assert house.spooled() == []


def test_a_child_that_dies_costs_one_upload(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file does to the process that looks into it is no matter of the one that serves."""
    begin = ChildProcess.begin

    def begin_and_die(child: ChildProcess, request: bytes) -> None:
        begin(child, b"{}")  # no request that it knows: it ends with an error
        assert child._process is not None
        child._process.wait(10)

    with monkeypatch.context() as patch:
        patch.setattr(ChildProcess, "begin", begin_and_die)
        answer = house.upload(house.wheel())
    assert answer.status_code == 400
    assert "its reading failed: it crashed" in reason(answer)
    assert house.upload(house.wheel()).status_code == 200


def test_the_transaction_of_an_upload_waits_for_the_disk_and_others_do_not(house: House) -> None:
    def level(*, durable: bool) -> int:
        with house.koschey.database.transaction(durable=durable) as tx:
            return int(tx.session.execute(text("PRAGMA synchronous")).scalar_one())

    assert [level(durable=d) for d in (False, True, False, True)] == [1, 2, 1, 2]


def test_an_upload_is_recorded_durably(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    transaction = Database.transaction

    def noted(database: Database, *, durable: bool = False) -> Any:
        asked.append(durable)
        return transaction(database, durable=durable)

    monkeypatch.setattr(Database, "transaction", noted)
    house.upload(house.wheel())
    assert True in asked

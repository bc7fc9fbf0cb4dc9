"""Koschey as an upstream: bandersnatch mirrors it, and so does another Koschey, with times and marks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.running import Running
from tests.upstream_pages import UpstreamFile

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
#: Looks at its upstream before every answer.
_EAGER = {"KOSCHEY_REFRESH_SECONDS": "0", "KOSCHEY_STALE_SECONDS": "0", "KOSCHEY_NEGATIVE_SECONDS": "0"}


@pytest.fixture(scope="module")
def origin() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        plain = fake.project("plain")
        plain.release("1.0", sdist=True, upload_time="2024-01-01T00:00:00.000000Z", requires_python=">=3.9")
        plain.release("1.1", upload_time="2024-02-01T00:00:00.654321Z", yanked="does not start")
        provenance = {"version": 1, "attestation_bundles": []}
        fake.project("Attested.One").release("1.0", provenance=provenance)
        fake.project("undated").release("1.0", upload_time=None)
        old = fake.project("old")
        old.release("1.0")
        old.status, old.status_reason = "archived", "use plain"
        fresh = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        fake.project("fresh").release("1.0", upload_time=fresh)
        yield fake


@pytest.fixture(scope="module")
def koschey(origin: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running.koschey(tmp_path_factory.mktemp("mirrored"), origin.simple_url, _EAGER, workers=1) as first:
        for name in ("plain", "attested-one", "undated", "old", "fresh"):
            assert _page(first, name)["files"]
        yield first


def _page(koschey: Running, name: str) -> Any:
    answer = requests.get(f"{koschey.simple}{name}/", headers=JSON, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _bandersnatch(koschey: Running, folder: Path) -> str:
    """One run of ``bandersnatch mirror``; returns its log."""
    folder.mkdir(exist_ok=True)
    config = folder / "bandersnatch.conf"
    config.write_text(
        f"[mirror]\ndirectory = {folder / 'mirror'}\nmaster = {koschey.url}\nallow-non-https = true\n"
        "json = true\nhash-index = false\nworkers = 2\ntimeout = 20\nstop-on-error = false\n"
        "cleanup = false\ncore-metadata = true\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "bandersnatch.main", "-c", str(config), "mirror"],
        env=running.clean_environment() | {"HOME": str(folder)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _mirrored(folder: Path) -> dict[str, str]:
    files = (folder / "mirror" / "web" / "packages").rglob("*")
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and not path.name.endswith(".metadata")
    }


def test_bandersnatch_mirrors_koschey_and_its_second_run_is_cheap(
    koschey: Running, origin: FakeUpstream, tmp_path: Path
) -> None:
    log = _bandersnatch(koschey, tmp_path)

    expected: dict[str, str] = {}
    for name in ("plain", "attested-one", "old", "fresh"):
        expected |= {file["filename"]: file["hashes"]["sha256"] for file in _page(koschey, name)["files"]}
    assert _mirrored(tmp_path) == expected, log
    serial = int((tmp_path / "mirror" / "status").read_text())
    assert serial <= requests.get(koschey.simple, headers=JSON, timeout=30).json()["meta"]["_last-serial"]

    again = _bandersnatch(koschey, tmp_path)
    assert "Fetching metadata" not in again and "0 packages to sync" in again

    origin.project("plain").release("1.2", upload_time="2024-03-01T00:00:00.000000Z")
    _page(koschey, "plain")
    third = _bandersnatch(koschey, tmp_path)
    assert third.count("Fetching metadata for package") == 1
    assert "plain-1.2-py3-none-any.whl" in _mirrored(tmp_path)


@pytest.fixture(scope="module")
def mirror(koschey: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Koschey behind ``koschey`` that holds what is younger than 30 days."""
    settings = _EAGER | {"KOSCHEY_QUARANTINE_DAYS": "30"}
    with running.koschey(tmp_path_factory.mktemp("mirror"), koschey.simple, settings, workers=1) as second:
        yield second


def test_a_koschey_behind_a_koschey_says_the_same_of_every_file(koschey: Running, mirror: Running) -> None:
    for name in ("plain", "attested-one", "old"):
        running.eventually(lambda name=name: _page(mirror, name)["files"], 30)  # its checks are done
        theirs, ours = _page(koschey, name), _page(mirror, name)
        for page in (theirs, ours):
            for file in page["files"]:
                if file.get("provenance"):
                    assert requests.get(file["provenance"], timeout=30).status_code == 200
                    file["provenance"] = "there"
                file["url"] = file["url"].partition("/packages/")[2]
        assert ours["files"] == theirs["files"]
        assert ours["versions"] == theirs["versions"]
        assert ours["project-status"] == theirs["project-status"]
    for url in _urls(mirror, "plain"):
        body = requests.get(url, timeout=30).content
        assert hashlib.sha256(body).hexdigest() in json.dumps(_page(koschey, "plain"))


def _urls(koschey: Running, name: str) -> list[str]:
    return [file["url"] for file in _page(koschey, name)["files"]]


def test_a_hold_is_counted_from_the_origins_time_through_both(mirror: Running, origin: FakeUpstream) -> None:
    assert _page(mirror, "fresh")["files"] == []
    [file] = origin.project("fresh").files.values()
    why = requests.get(f"{mirror.url}/why/fresh?format=json", timeout=30)
    assert _uploaded(file)[:19] in why.text


def test_an_undated_file_stays_one_and_is_no_older_for_the_detour(mirror: Running, koschey: Running) -> None:
    assert all("upload-time" not in file for file in _page(koschey, "undated")["files"])
    assert _page(mirror, "undated")["files"] == []


def test_withdrawals_go_through_both(koschey: Running, mirror: Running, origin: FakeUpstream) -> None:
    project = origin.project("recalled")
    project.release("1.0")
    project.release("2.0")
    running.eventually(lambda: len(_page(mirror, "recalled")["files"]) == 2, 30)
    project.set_yanked("2.0", "recalled")
    assert {f["yanked"] for f in _page(mirror, "recalled")["files"]} == {False, "recalled"}
    project.set_status("quarantined", "malware")
    page = _page(mirror, "recalled")
    assert (page["files"], page["project-status"]["status"]) == ([], "quarantined")


def _uploaded(file: UpstreamFile) -> str:
    assert file.upload_time is not None
    return file.upload_time

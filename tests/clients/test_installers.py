"""pip, uv and poetry as people run them: conformance list E of the protocol."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from tests import running
from tests.clients.conftest import RESOLVED, NewRoom, Room, publish_set
from tests.fake_upstream import FakeUpstream
from tests.running import Running


def test_pip_installs_a_resolved_set(room: Room) -> None:
    assert room.pip_install("app[fast]") == RESOLVED


def test_uv_installs_the_same_set(room: Room) -> None:
    assert room.uv_install("app[fast]") == RESOLVED


def test_pip_downloads(room: Room) -> None:
    room.pip("download", "--dest", "wheels", "app[fast]")

    names = {path.name for path in (room.folder / "wheels").iterdir()}
    assert "app-2.0-py3-none-any.whl" in names
    assert "srconly-1.0.tar.gz" in names
    assert len(names) == len(RESOLVED)


def test_pip_lists_versions(room: Room) -> None:
    listed = json.loads(room.pip("index", "versions", "--json", "app"))

    assert listed["versions"] == ["2.0", "1.0"]


def test_pip_only_final(room: Room) -> None:
    assert room.pip_install("--all-releases", "app", "app")["app"] == "3.0rc1"
    assert room.pip_install("--only-final", ":all:", "app")["app"] == "2.0"
    refused = room.pip("download", "--only-final", ":all:", "app>=3.0rc1", succeeds=False)
    assert "No matching distribution" in refused


def test_pip_uploaded_prior_to(room: Room) -> None:
    before = room.pip_install("--uploaded-prior-to", "2025-01-01T00:00:00Z", "app")

    assert before == {"app": "1.0", "base": "1.1"}


def test_uv_exclude_newer(room: Room) -> None:
    before = room.uv_install("--exclude-newer", "2025-01-01T00:00:00Z", "app")

    assert before == {"app": "1.0", "base": "1.1"}


def test_pip_requires_hashes(room: Room, upstream: FakeUpstream) -> None:
    wheel = upstream.project("base").files["base-1.1-py3-none-any.whl"]
    requirements = room.folder / "requirements.txt"
    requirements.write_text(f"base==1.1 --hash=sha256:{wheel.sha256}\n")
    assert room.pip_install("--require-hashes", "-r", str(requirements)) == {"base": "1.1"}

    requirements.write_text(f"base==1.1 --hash=sha256:{'0' * 64}\n")
    refused = room.pip("download", "--require-hashes", "-r", str(requirements), succeeds=False)
    assert "DO NOT MATCH" in refused


def test_pip_fast_deps_reads_a_wheel_by_ranges(room: Room) -> None:
    assert room.pip_install("--use-feature=fast-deps", "lazy") == {"lazy": "1.0", "base": "1.1"}


def test_a_yanked_version_installs_only_when_it_is_named(room: Room) -> None:
    assert room.pip_install("app==2.1") == {"app": "2.1"}
    assert room.uv_install("app==2.1") == {"app": "2.1"}
    assert "does not start" in room.pip("download", "app==2.1")
    room.pip("download", "app>=2.1,<3", succeeds=False)


def test_requires_python_is_honoured(room: Room) -> None:
    refused = room.pip("download", "base>=2", succeeds=False)

    assert "3.99" in refused


def test_an_sdist_builds(room: Room) -> None:
    assert room.pip_install("srconly") == room.uv_install("srconly") == {"srconly": "1.0"}
    assert room.pip_install("--no-binary", "base", "base") == {"base": "1.1"}


@pytest.mark.parametrize("requirement", ["app", "app[fast]>=1", "app==1.*", "base<1.1", "helper.lib", "lazy"])
def test_pip_and_uv_choose_the_same(room: Room, requirement: str) -> None:
    assert room.pip_install(requirement) == room.uv_install(requirement)


def test_pip_and_uv_see_the_same_versions(room: Room) -> None:
    for version in ("1.0", "2.0", "3.0rc1"):
        for install in (room.pip_install, room.uv_install):
            assert install("--no-deps", f"app=={version}") == {"app": version}
    for run in (
        lambda: room.pip("download", "app==9", succeeds=False),
        lambda: room.run(
            "uv", "pip", "install", "--index-url", room.index_url, "--target", "t", "app==9", succeeds=False
        ),
    ):
        assert "app==9" in run()


def test_uv_locks_and_syncs_frozen(room: Room) -> None:
    room.write_project("app[fast]")
    room.run("uv", "lock", "--default-index", room.index_url)

    lock = tomllib.loads((room.folder / "uv.lock").read_text())
    assert {p["name"]: p["version"] for p in lock["package"] if p["name"] in RESOLVED} == RESOLVED
    urls = [f["url"] for p in lock["package"] for f in (*p.get("wheels", ()), p.get("sdist", {})) if f]
    assert urls
    assert all(url.startswith(room.index_url.removesuffix("simple/") + "packages/") for url in urls)
    room.run("uv", "sync", "--frozen", "--no-cache", "--no-install-project")
    assert room.environment_of_project() == RESOLVED
    room.run("uv", "lock", "--check", "--no-cache", "--default-index", room.index_url)


def test_poetry_locks_and_installs(room: Room) -> None:
    room.write_poetry_project("app[fast]")
    room.run("poetry", "lock", "--no-interaction")

    lock = tomllib.loads((room.folder / "poetry.lock").read_text())
    assert {p["name"]: p["version"] for p in lock["package"] if p["name"] in RESOLVED} == RESOLVED
    assert all(f["hash"].startswith("sha256:") for p in lock["package"] for f in p["files"])
    room.run("poetry", "sync", "--no-interaction")
    there = room.environment_of_project()
    assert {name: there[name] for name in RESOLVED} == RESOLVED


def test_a_blocked_name_does_not_fall_through_to_a_second_index(
    room: Room, koschey: Running, upstream: FakeUpstream
) -> None:
    upstream.project("blocked").release("1.0")
    upstream.project("blocked").set_status("quarantined", "malware")
    with FakeUpstream() as second:
        second.project("blocked").release("6.6.6")
        second.project("elsewhere").release("1.0")
        install = ("uv", "pip", "install", "--target", "t")
        both = (*install, "--index", koschey.simple, "--default-index", second.simple_url)

        refused = room.run(*both, "blocked", succeeds=False)

        assert "blocked" in refused
        assert second.count("blocked-6.6.6-py3-none-any.whl") == 0
        # The second index does answer for a name that Koschey has never heard of.
        room.run(*both, "elsewhere")


@pytest.mark.timeout(600)  # nine runs of real tools
def test_everything_installs_again_after_the_outside_is_gone(tmp_path: Path, new_room: NewRoom) -> None:
    with FakeUpstream() as upstream:
        publish_set(upstream)
        settings = {"KOSCHEY_REFRESH_SECONDS": "1", "KOSCHEY_STALE_SECONDS": "1"}
        koschey = running.start_koschey(tmp_path / "koschey", upstream.simple_url, settings)
        try:
            _install_in_every_way(new_room(koschey))
            upstream.stop()
            koschey.stop()
            koschey.start_again()
            room = new_room(koschey)
            _install_in_every_way(room)
            # The outside is really gone: what nobody asked for is not there.
            room.pip("download", "--retries", "0", "--no-deps", "lazy", succeeds=False)
        finally:
            koschey.stop()


def _install_in_every_way(room: Room) -> None:
    assert room.pip_install("app[fast]") == RESOLVED
    assert room.uv_install("app[fast]") == RESOLVED
    room.write_poetry_project("app[fast]")
    room.run("poetry", "lock", "--no-interaction")
    room.run("poetry", "sync", "--no-interaction")
    assert RESOLVED.items() <= room.environment_of_project().items()
    (room.folder / "pyproject.toml").unlink()
    shutil.rmtree(room.folder / ".venv")  # poetry's may have a pip, which uv would leave there
    room.write_project("app[fast]")
    room.run("uv", "lock", "--default-index", room.index_url)
    room.run("uv", "sync", "--frozen", "--no-install-project")
    assert room.environment_of_project() == RESOLVED

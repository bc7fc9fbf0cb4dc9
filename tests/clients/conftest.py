"""Real installers, each in a clean room, against a real Koschey in front of a small scripted upstream."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.running import Running

#: What ``app[fast]`` resolves to; nothing else is allowed to be installed.
RESOLVED = {"app": "2.0", "base": "1.1", "helper-lib": "1.0", "srconly": "1.0"}
OLD, NEW = "2024-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z"


def publish_set(upstream: FakeUpstream) -> None:
    """A little world: extras, a marker, requires-python, a yank, pre-releases, an sdist without wheel."""
    base = upstream.project("base")
    base.release("1.0", upload_time=OLD)
    base.release("1.1", upload_time=OLD, sdist=True)
    base.release("2.0", upload_time=NEW, requires_python=">=3.99")
    upstream.project("helper-lib").release("1.0", upload_time=OLD)
    upstream.project("srconly").release("1.0", wheel=False, sdist=True, upload_time=OLD)
    app = upstream.project("app")
    marked = "not-for-us; sys_platform == 'plan9'"
    app.release("1.0", upload_time=OLD, requires=["base>=1"])
    app.release(
        "2.0",
        upload_time=NEW,
        requires=["base>=1.1", "srconly", marked],
        extras={"fast": ["Helper_Lib~=1.0"]},
        sdist=True,
    )
    app.release("2.1", upload_time=NEW, yanked="does not start")
    app.release("3.0rc1", upload_time=NEW, requires=["base"])
    upstream.project("not-for-us").release("1.0", upload_time=OLD)
    # Without a sidecar, so that installers have to look into the wheel by ranges.
    upstream.project("lazy").release("1.0", upload_time=OLD, requires=["base"], sidecar=False)


@dataclass(frozen=True)
class Room:
    """A folder with its own home, caches and configuration, where one installer works."""

    folder: Path
    index_url: str
    environment: Mapping[str, str] = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def run(self, *command: str, succeeds: bool = True) -> str:
        """``python -m command…``; returns what it printed, on both channels."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=170,
            check=False,
        )
        assert (done.returncode == 0) == succeeds, done.stdout
        return done.stdout

    def pip(self, command: str, *arguments: str, succeeds: bool = True) -> str:
        return self.run("pip", command, "--index-url", self.index_url, *arguments, succeeds=succeeds)

    def pip_install(self, *arguments: str) -> dict[str, str]:
        """Install into a new folder; returns name to version of what is there."""
        target = self.folder / f"target-{next(self._numbers)}"
        self.pip("install", "--target", str(target), *arguments)
        return installed(target)

    def uv_install(self, *arguments: str) -> dict[str, str]:
        """The same by uv."""
        target = self.folder / f"target-{next(self._numbers)}"
        options = ["--index-url", self.index_url, "--target", str(target), "--python", sys.executable]
        self.run("uv", "pip", "install", *options, *arguments)
        return installed(target)

    def write_project(self, *dependencies: str, tables: str = "") -> None:
        """A pyproject.toml that asks for these."""
        listed = ", ".join(f'"{dependency}"' for dependency in dependencies)
        (self.folder / "pyproject.toml").write_text(
            f'[project]\nname = "consumer"\nversion = "1"\nrequires-python = ">=3.12,<3.30"\n'
            f"dependencies = [{listed}]\n{tables}"
        )

    def write_poetry_project(self, *dependencies: str) -> None:
        source = f'[[tool.poetry.source]]\nname = "koschey"\nurl = "{self.index_url}"\npriority = "primary"\n'
        self.write_project(*dependencies, tables=f"[tool.poetry]\npackage-mode = false\n{source}")

    def environment_of_project(self) -> dict[str, str]:
        """What is installed in the project's ``.venv``."""
        return installed(next((self.folder / ".venv" / "lib").glob("python*/site-packages")))


def installed(folder: Path) -> dict[str, str]:
    return {d.metadata["Name"]: d.version for d in distributions(path=[str(folder)])}


NewRoom = Callable[[Running], Room]


@pytest.fixture
def new_room(tmp_path: Path) -> NewRoom:
    """Makes rooms: nothing cached, nothing configured, no other index known."""
    numbers = itertools.count()

    def make(koschey: Running) -> Room:
        folder = tmp_path / f"room-{next(numbers)}"
        folder.mkdir()
        environment = running.clean_environment() | {
            "HOME": str(folder / "home"),
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_CACHE_DIR": str(folder / "cache-pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": str(folder / "cache-uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PYTHON": sys.executable,
            "POETRY_CACHE_DIR": str(folder / "cache-poetry"),
            "POETRY_CONFIG_DIR": str(folder / "config-poetry"),
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
            "POETRY_KEYRING_ENABLED": "false",
        }
        return Room(folder, koschey.simple, environment)

    return make


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        publish_set(fake)
        yield fake


@pytest.fixture(scope="session")
def koschey(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("koschey")
    with running.koschey(folder, upstream.simple_url, {}, workers=2) as process:
        yield process


@pytest.fixture
def room(new_room: NewRoom, koschey: Running) -> Room:
    return new_room(koschey)

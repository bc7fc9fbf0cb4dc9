"""The six tools that publish, each against a real Koschey: what they send is taken, a refusal understood."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from tests import running
from tests.artifacts import Artifact, Release, sdist, wheel
from tests.people import add_token, database_of
from tests.running import Running
from tests.test_readme import blocks
from tests.uploads.posting import basic, encoded, form_of

_numbers = itertools.count(1)
TOKEN_USER = "__token__"


@dataclass(frozen=True)
class Workshop:
    """A folder with a project in it, and its distributions in ``dist``."""

    folder: Path
    koschey: Running
    release: Release
    environment: dict[str, str]

    @property
    def files(self) -> list[str]:
        return sorted(str(path) for path in (self.folder / "dist").iterdir())

    @property
    def url(self) -> str:
        return f"{self.koschey.url}/legacy/"

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``python -m command…``; both channels of what it printed are in ``stdout``."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=170,
            check=False,
        )

    def write(self, *files: Artifact) -> None:
        """Put distributions in place of those that are there."""
        dist = self.folder / "dist"
        for path in dist.iterdir():
            path.unlink()
        for file in files:
            (dist / file.filename).write_bytes(file.content)

    def upload(self, token: str) -> None:
        """Have the distributions there already, by none of the tools."""
        for file in (wheel(self.release), sdist(self.release)):
            body, headers = encoded(form_of(file))
            answer = requests.post(self.url, data=body, headers=headers | basic(token), timeout=30)
            assert answer.status_code == 200, answer.text

    def listed(self) -> set[str]:
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        answer = requests.get(f"{self.koschey.simple}{self.release.name}/", headers=accept, timeout=30)
        return {file["filename"] for file in answer.json()["files"]} if answer.status_code == 200 else set()


Published = subprocess.CompletedProcess[str]


def twine(at: Workshop, token: str, *more: str) -> Published:
    options = ["--repository-url", at.url, "-u", TOKEN_USER, "-p", token, "--disable-progress-bar"]
    return at.run("twine", "upload", "--non-interactive", *options, *more, *at.files)


def uv(at: Workshop, token: str, *more: str) -> Published:
    return at.run("uv", "publish", "--publish-url", at.url, "--token", token, *more, *at.files)


def poetry(at: Workshop, token: str, *more: str) -> Published:
    options = ["-r", "koschey", "-u", TOKEN_USER, "-p", token, "--no-interaction", *more]
    return at.run("poetry", "publish", *options, POETRY_REPOSITORIES_KOSCHEY_URL=at.url)


def flit(at: Workshop, token: str, *more: str) -> Published:
    """Builds what it publishes, from the same sources and with no other tool."""
    environment = {"FLIT_INDEX_URL": at.url, "FLIT_USERNAME": TOKEN_USER, "FLIT_PASSWORD": token}
    return at.run("flit", "publish", *more, **environment)


def hatch(at: Workshop, token: str, *more: str) -> Published:
    return at.run("hatch", "publish", "-n", "-r", at.url, "-u", TOKEN_USER, "-a", token, *more, *at.files)


def pdm(at: Workshop, token: str, *more: str) -> Published:
    options = ["--no-build", "-r", at.url, "-u", TOKEN_USER, "-P", token, *more]
    return at.run("pdm", "publish", *options, PDM_CHECK_UPDATE="0", PDM_USE_VENV="false")


Client = Callable[..., Published]
CLIENTS: list[Client] = [twine, uv, poetry, flit, hatch, pdm]
every_client = pytest.mark.parametrize("client", CLIENTS, ids=[client.__name__ for client in CLIENTS])


@pytest.fixture(scope="module")
def koschey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running.koschey(tmp_path_factory.mktemp("koschey"), "", {}, workers=1) as process:
        yield process


@pytest.fixture(scope="module")
def token(koschey: Running) -> str:
    """Of somebody who may upload everything, made as people make it."""
    koschey.cli("user", "create", "alice")
    koschey.cli("grant", "add", "publisher", "alice")
    return koschey.cli("token", "create", "alice").strip()


@pytest.fixture
def workshop(koschey: Running, tmp_path: Path) -> Workshop:
    """A project that each of the tools can read, with a wheel and an sdist."""
    release = Release(f"acme-{next(_numbers)}-{os.getpid()}", "1.0", requires_python=">=3.9", summary="Ours")
    home = tmp_path / "home"
    (tmp_path / "dist").mkdir()
    home.mkdir()
    (home / "hatch.toml").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
        f'[project]\nname = "{release.name}"\nversion = "1.0"\ndescription = "Ours"\n'
        'requires-python = ">=3.9"\n'
    )
    (tmp_path / f"{release.module}.py").write_bytes(release.source)
    environment = running.clean_environment() | {
        "HOME": str(home),
        "COLUMNS": "400",  # what people are told must not be broken into lines of a test's terminal
        "NO_COLOR": "1",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "POETRY_CONFIG_DIR": str(home / "poetry"),
        "POETRY_CACHE_DIR": str(home / "poetry-cache"),
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(home / "uv"),
        "HATCH_CONFIG": str(home / "hatch.toml"),
        "HATCH_DATA_DIR": str(home / "hatch"),
        "HATCH_CACHE_DIR": str(home / "hatch-cache"),
    }
    made = Workshop(tmp_path, koschey, release, environment)
    made.write(wheel(release), sdist(release))
    return made


@every_client
def test_a_wheel_and_an_sdist_are_published_and_again_are_no_error(
    client: Client, workshop: Workshop, token: str
) -> None:
    for _ in range(2):
        done = client(workshop, token)
        assert done.returncode == 0, done.stdout
        stem = workshop.release.stem
        assert workshop.listed() == {f"{stem}.tar.gz", *(n for n in workshop.listed() if n.endswith(".whl"))}
        assert len(workshop.listed()) == 2


#: Every tool with a wrong token; what else a token may lack is told in the same way, and shown by one.
TOKENS: list[tuple[Client, str]] = [(client, "wrong") for client in CLIENTS]
TOKENS += [(twine, "expired"), (twine, "foreign"), (twine, "read-only")]


@pytest.mark.parametrize(("client", "kind"), TOKENS, ids=[f"{c.__name__}-{kind}" for c, kind in TOKENS])
def test_a_token_that_does_not_do(client: Client, kind: str, workshop: Workshop, token: str) -> None:
    database = database_of(workshop.koschey)
    secret, words = {
        "wrong": (token[:-7] + "0" * 7, "is not valid here"),
        "expired": (lambda: add_token(database, "alice", role=None, expires_in=-1), "is not valid here"),
        "foreign": (lambda: add_token(database, "alice", role=None, globs="other-*"), "token is for other-*"),
        "read-only": (lambda: add_token(database, "alice", role=None, scope="read"), "403"),
    }[kind]
    done = client(workshop, secret if isinstance(secret, str) else secret())
    assert done.returncode != 0, done.stdout
    assert words in done.stdout, done.stdout
    assert workshop.listed() == set()


@every_client
def test_other_bytes_under_a_name_that_is_taken(client: Client, workshop: Workshop, token: str) -> None:
    """hatch looks at the page before, and sends nothing."""
    workshop.upload(token)
    before = workshop.listed()
    other = Release(**(vars(workshop.release) | {"payload": b"other"}))
    workshop.write(wheel(other))
    (workshop.folder / f"{other.module}.py").write_text('"""Ours"""\n__version__ = "1.0"\nOTHER = 1\n')
    done = client(workshop, token)
    if client is hatch:
        assert "already exists" in done.stdout
    else:
        assert done.returncode != 0, done.stdout
        assert "File already exists" in done.stdout, done.stdout
    assert workshop.listed() == before


@pytest.mark.parametrize("client", [poetry, pdm], ids=["poetry", "pdm"])
def test_what_exists_is_skipped_when_the_tool_is_told_so(
    client: Client, workshop: Workshop, token: str
) -> None:
    workshop.upload(token)
    workshop.write(wheel(Release(**(vars(workshop.release) | {"payload": b"other"}))))
    done = client(workshop, token, "--skip-existing")
    assert done.returncode == 0, done.stdout


def test_uv_skips_what_a_look_at_the_index_shows(workshop: Workshop, token: str) -> None:
    check = ("--check-url", workshop.koschey.simple)
    assert uv(workshop, token, *check).returncode == 0
    done = uv(workshop, token, *check)
    assert done.returncode == 0, done.stdout
    assert "already exists" in done.stdout
    workshop.write(wheel(Release(**(vars(workshop.release) | {"payload": b"other"}))))
    done = uv(workshop, token, *check)
    assert done.returncode != 0, done.stdout


@pytest.mark.parametrize("client", [twine, uv], ids=["twine", "uv"])
def test_the_reason_for_a_refusal_is_shown(client: Client, workshop: Workshop, token: str) -> None:
    """Without --verbose: twine has the reason phrase only, uv the document."""
    file = wheel(workshop.release)
    # Sound for those who look at METADATA only, as clients do.
    workshop.write(replace(file, content=file.content.replace(b"VERSION = '1.0'", b"VERSION = '6.6'")))
    done = client(workshop, token)
    assert done.returncode != 0
    assert "has another CRC than it says" in done.stdout


TOOLS = ("twine ", "uv ", "poetry ", "FLIT_", "hatch ", "pdm ")
DOCUMENTED = [
    block
    for block in blocks((running.CHECKOUT / "docs" / "uploading.rst").read_text(encoding="utf-8"), "shell")
    if block.startswith(TOOLS)
]


def test_each_tool_is_documented() -> None:
    assert [next(t for t in TOOLS if block.startswith(t)) for block in DOCUMENTED] == list(TOOLS)


@pytest.mark.parametrize("block", DOCUMENTED, ids=[tool.strip(" _").lower() for tool in TOOLS])
def test_the_lines_of_the_documentation_publish(block: str, workshop: Workshop, token: str) -> None:
    lines = block.replace("https://index.example", workshop.koschey.url).replace("TOKEN", token)
    done = subprocess.run(
        ["sh", "-ec", lines],
        cwd=workshop.folder,
        env=workshop.environment
        | {
            "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
            "PDM_CHECK_UPDATE": "0",
            "PDM_USE_VENV": "false",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert len(workshop.listed()) == 2

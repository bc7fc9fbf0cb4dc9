"""The wheel works far from the checkout, the checkout's entries work, and what is imported is declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.running import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it; ``folder`` is somewhere outside of the checkout."""

    python: Path
    folder: Path

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=running.clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built and installed. Its dependencies are this environment's: tests fetch nothing."""
    folder = tmp_path_factory.mktemp("installed")
    wheels, environment, elsewhere = folder / "wheels", folder / "venv", folder / "elsewhere"
    elsewhere.mkdir()
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels))
    _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    python = environment / "bin" / "python"
    (wheel,) = wheels.glob("koschey-*.whl")
    uv = [sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps", "--quiet"]
    _run(*uv, "--python", str(python), str(wheel))
    # A bare path: the .pth files there, by which this environment may know the checkout, do not count.
    packages = next((environment / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return Installed(python, elsewhere)


def _run(*command: str) -> None:
    environment = running.clean_environment() | {"UV_NO_CONFIG": "1"}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def serving(command: Sequence[str], folder: Path, cwd: Path, port: int) -> Iterator[str]:
    """Start a server in front of an upstream with one project; yields its URL once it is ready."""
    with FakeUpstream() as upstream:
        upstream.project("sample").release("1.0")
        environment = running.clean_environment() | {
            "KOSCHEY_DATA_DIR": str(folder / "data"),
            "KOSCHEY_UPSTREAM_URL": upstream.simple_url,
        }
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            running.eventually(lambda: _is_ready(process, url, folder / "log"), running.START_SECONDS)
            yield url
        finally:
            process.terminate()
            process.wait(running.STOP_SECONDS)


def _is_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return requests.get(url + "/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def assert_serves(url: str) -> None:
    """The front page with its style, and a page and a file of the upstream."""
    assert "Koschey" in requests.get(url, timeout=60).text
    assert requests.get(url + "/static/koschey.css", timeout=60).status_code == 200
    page = requests.get(url + "/simple/sample/", timeout=60).text
    link = re.search(r'href="([^"#]+)', page)
    assert link is not None
    file = requests.get(requests.compat.urljoin(url + "/simple/sample/", link[1]), timeout=60)
    assert file.content.startswith(b"PK")


def test_the_wheel_brings_its_own_package_and_nothing_beside_it(installed: Installed) -> None:
    found = installed.run("-c", "import koschey; print(koschey.__file__)").strip()
    assert Path(found).is_relative_to(installed.python.parent.parent)
    packages = Path(found).parent
    assert {"templates", "static", "migrations"} <= {path.name for path in packages.iterdir()}
    assert not {"app.py", "wsgi.py", "tests", "bench"} & {path.name for path in packages.parent.iterdir()}


def test_the_wheel_serves_by_itself(installed: Installed, tmp_path: Path) -> None:
    port = running.free_port()
    command = [str(installed.python.with_name("koschey")), "serve", "--bind", f"127.0.0.1:{port}"]
    with serving(command, tmp_path, installed.folder, port) as url:
        assert_serves(url)


def test_the_wheel_serves_under_gunicorn(installed: Installed, tmp_path: Path) -> None:
    port = running.free_port()
    options = ["--bind", f"127.0.0.1:{port}", "--workers", "2", "--worker-class", "gthread", "--threads", "8"]
    application = "koschey.application:create_app()"
    command = [str(installed.python), "-m", "gunicorn", *options, "--no-control-socket", application]
    with serving(command, tmp_path, installed.folder, port) as url:
        assert_serves(url)


@pytest.mark.parametrize(
    "arguments",
    [
        ["gunicorn", "--no-control-socket", "--threads", "4", "--bind", "127.0.0.1:{port}", "wsgi:app"],
        ["flask", "--app", "app", "run", "--port", "{port}"],
    ],
    ids=["wsgi.py", "app.py"],
)
def test_the_checkouts_entries_serve(arguments: list[str], tmp_path: Path) -> None:
    port = running.free_port()
    command = [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)]
    with serving(command, tmp_path, CHECKOUT, port) as url:
        assert_serves(url)


def declared(*extras: str) -> set[str]:
    """Names of the distributions that the package requires, with these extras."""
    requirements = [*PROJECT["dependencies"]]
    for extra in extras:
        requirements += PROJECT["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


def undeclared(folder: str, allowed: set[str], own: set[str]) -> set[str]:
    """Modules imported at run time below ``folder`` that no declared distribution provides."""
    providers = packages_distributions()
    modules = {
        name.partition(".")[0]
        for path in (CHECKOUT / folder).rglob("*.py")
        for name in _imported(ast.parse(path.read_text(encoding="utf-8")))
    }
    return {
        module
        for module in modules - set(sys.stdlib_module_names) - own
        if not {canonicalize_name(name) for name in providers.get(module, ())} & allowed
    }


def _imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports, except those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        yield from _imported(node)


def test_what_koschey_imports_is_declared() -> None:
    extras = undeclared("koschey", declared(), {"koschey"})
    assert extras == undeclared("koschey/contrib", declared(), {"koschey"}), "only plug-ins need extras"
    assert undeclared("koschey", declared("ldap", "oidc"), {"koschey"}) == set()


def test_what_the_tests_and_the_benchmark_import_is_declared() -> None:
    own = {"koschey", "tests", "bench"}
    assert undeclared("tests", declared("test"), own) == set()
    assert undeclared("bench", declared("test"), own) == set()

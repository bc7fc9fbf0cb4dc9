"""The README's commands, run as they stand there; only addresses, passwords and folders are a test's own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests import running
from tests.fake_upstream import FakeUpstream
from tests.running import CHECKOUT
from tests.services import S3Server

README = (CHECKOUT / "README.rst").read_text(encoding="utf-8")
OPERATING = (CHECKOUT / "docs" / "operating.rst").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:8080"
PRODUCTION_ADDRESS = "127.0.0.1:8000"


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, without their indentation."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:(?: {{4}}.*)?\n)+)", text, re.MULTILINE)
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip() for block in found]


COMMANDS = [line for block in blocks(README, "shell") for line in block.splitlines()]


def commands(start: str) -> list[str]:
    """The commands that begin so; there is at least one."""
    found = [command for command in COMMANDS if command.startswith(start)]
    assert found, f"the README has no command {start!r}"
    return found


def test_every_command_is_run_by_a_test_below() -> None:
    tried = ("make ", "pip install ", "uv pip install ", "koschey ", "gunicorn ")
    assert [command for command in COMMANDS if not command.startswith(tried)] == []


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A shell's environment where this Python's commands are found and nothing is cached or configured."""
    return running.clean_environment() | {
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "HOME": str(folder),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_CACHE_DIR": str(folder / "cache-pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(folder / "cache-uv"),
        "UV_PYTHON_DOWNLOADS": "never",
        **more,
    }


@contextmanager
def shell(command: str, cwd: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A command that keeps running, interrupted at the end as by Ctrl-C; it has to stop cleanly."""
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], cwd=cwd, env=dict(environ), text=True, start_new_session=True
    )
    try:
        yield process
        assert process.poll() is None, f"{command} ended with {process.returncode}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(running.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def wait_until_ready(url: str) -> None:
    def ready() -> bool:
        try:
            return requests.get(url + "/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    running.eventually(ready, seconds=running.START_SECONDS)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout. Its ``.venv`` borrows this environment's packages: tests fetch nothing."""
    copy = tmp_path_factory.mktemp("clone") / "koschey"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "koschey-data", "build", "dist")
    shutil.copytree(CHECKOUT, copy, ignore=ignored)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", copy / ".venv"], check=True, timeout=60)
    packages = next((copy / ".venv" / "lib").glob("python*/site-packages"))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (copy / ".make").mkdir()
    for stamp in ("run", "test", "dev"):
        (copy / ".make" / stamp).touch()
    return copy


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        fake.project("flask").release("3.1")
        yield fake


@pytest.fixture(scope="module")
def started(
    checkout: Path, upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """``make run`` in the copy, on a free port; host and port where it listens."""
    (command,) = commands("make run")
    bind = f"127.0.0.1:{running.free_port()}"
    home = tmp_path_factory.mktemp("home")
    environ = environment(home, BIND=bind, KOSCHEY_UPSTREAM_URL=upstream.simple_url)
    with shell(command, checkout, environ):
        wait_until_ready(f"http://{bind}")
        yield bind


def test_make_run_keeps_its_data_where_the_readme_says(started: str, checkout: Path) -> None:
    assert (checkout / "koschey-data" / "koschey.sqlite").is_file()


@pytest.mark.parametrize("command", [*commands("pip install --index-url"), *commands("uv pip install")])
def test_the_line_that_installs_does(command: str, started: str, tmp_path: Path) -> None:
    assert ADDRESS in command
    target = tmp_path / "target"
    line = f"{command.replace(ADDRESS, started)} --target {shlex.quote(str(target))}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (target / "flask-3.1.dist-info").is_dir()


@pytest.mark.parametrize("target", ["test", "lint", "bench"])
def test_the_other_targets_run_their_tool(target: str, checkout: Path) -> None:
    assert f"make {target}" in COMMANDS
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=checkout, capture_output=True, text=True, timeout=30, check=True
    )
    tool = {"test": "-m pytest", "lint": "-m mypy", "bench": "-m bench"}[target]
    assert tool in done.stdout
    assert "pip" not in done.stdout, "what is installed already is not installed again"


def test_the_examples_of_upstreams_indexes_and_syncs_work_in_their_order(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    (tmp_path / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "flask"\nversion = "3.1"\nsource = {registry = "https://a.example"}\n'
    )
    environ = environment(
        tmp_path, KOSCHEY_DATA_DIR=str(tmp_path / "data"), KOSCHEY_UPSTREAM_URL=upstream.simple_url
    )
    examples = {*commands("koschey upstream"), *commands("koschey index"), *commands("koschey sync")}
    printed = ""
    for example in (line for line in COMMANDS if line in examples):
        done = subprocess.run(
            ["sh", "-c", example], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{example}: {done.stderr}"
        printed += done.stdout
    assert "/team/simple/" in printed
    assert "upstream: ok; 1 projects looked at, 1 changed, 0 failed; 1 files stored" in printed


def test_the_lines_that_let_somebody_publish_print_a_token(tmp_path: Path) -> None:
    environ = environment(tmp_path, KOSCHEY_DATA_DIR=str(tmp_path / "data"))
    examples = commands("koschey user") + commands("koschey grant") + commands("koschey token")
    for example in examples:
        done = subprocess.run(
            ["sh", "-c", example], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{example}: {done.stderr}"
    assert done.stdout.startswith("koschey_")
    for example in commands("koschey acl"):
        done = subprocess.run(
            ["sh", "-c", example], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.startswith("yes: "), f"{example}: {done.stderr}"


@pytest.mark.parametrize("command", [*commands("koschey serve"), *commands("gunicorn")])
def test_the_production_sketch_serves(
    command: str, upstream: FakeUpstream, postgres_url: str, redis_url: str, s3: S3Server, tmp_path: Path
) -> None:
    own = {
        "KOSCHEY_REDIS_URL": redis_url,
        "KOSCHEY_DATABASE_URL": postgres_url,
        "KOSCHEY_STORAGE_URL": s3.storage_url(s3.make_bucket(), "koschey"),
        "KOSCHEY_DATA_DIR": str(tmp_path / "data"),
    }
    (block,) = blocks(README, "ini")
    settings = dict(line.split("=", 1) for line in block.splitlines())
    assert own.keys() < settings.keys()
    assert PRODUCTION_ADDRESS in command
    bind = f"127.0.0.1:{running.free_port()}"
    environ = environment(tmp_path, **(settings | own), KOSCHEY_UPSTREAM_URL=upstream.simple_url)
    (worker,) = commands("koschey worker")
    serving = command.replace(PRODUCTION_ADDRESS, bind)
    with shell(serving, tmp_path, environ), shell(worker, tmp_path, environ):
        wait_until_ready(f"http://{bind}")
        answer = requests.get(
            f"http://{bind}/simple/flask/",
            headers={
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "index.example",
                "Accept": "application/vnd.pypi.simple.v1+json",
            },
            timeout=10,
        )
        assert answer.json()["files"][0]["url"].startswith("https://index.example/packages/")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is no pip package; this machine has none")
@pytest.mark.parametrize("text", [README, OPERATING], ids=["README", "operating"])
def test_nginx_as_configured_there_sends_the_files(text: str, upstream: FakeUpstream, tmp_path: Path) -> None:
    (server,) = blocks(text, "nginx")
    settings = {"KOSCHEY_ACCEL_REDIRECT": "/_blobs/", "KOSCHEY_TRUSTED_PROXIES": "1"}
    with running.koschey(tmp_path / "koschey", upstream.simple_url, settings) as koschey:
        port = running.free_port()
        for mine, theirs in (
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            (f"http://{PRODUCTION_ADDRESS}", koschey.url),
            ("/var/lib/koschey/files/", f"{koschey.data_dir}/files/"),
        ):
            assert mine in server
            server = server.replace(mine, theirs)
        temporary = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = tmp_path / "nginx.conf"
        # As root nginx would change to a user who may not read the test's folders.
        user = "user root;" if os.geteuid() == 0 else ""
        configuration.write_text(
            f"daemon off; {user} pid {tmp_path}/pid; events {{}} "
            f"http {{ access_log off; {temporary}\n{server}\n}}"
        )
        with shell(f"nginx -e {tmp_path}/error.log -c {configuration}", tmp_path, os.environ):
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url)
            accept = {"Accept": "application/vnd.pypi.simple.v1+json", "X-Forwarded-Prefix": "/evil"}
            (file,) = requests.get(f"{url}/simple/flask/", headers=accept, timeout=60).json()["files"]
            assert file["url"].startswith(f"{url}/packages/")
            for _ in range(2):  # the first one is Koschey's, which fetches it; the second one nginx's
                answer = requests.get(file["url"], timeout=60)
                assert answer.content == upstream.project("flask").files[file["filename"]].content
            assert answer.headers["Server"].startswith("nginx")

"""``koschey serve`` around a small application."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.conftest import ROOT
from tests.server.test_bridge import wait_until

PROGRAM = """
import os, signal, sys, time, types
from pathlib import Path

module = types.ModuleType("koschey.application")
def prepare(settings):
    (settings.data_dir / "prepared").write_text("yes")
    if settings.quarantine_days == 98:
        os.kill(os.getpid(), signal.SIGKILL)
    if settings.quarantine_days == 99:
        from koschey.errors import StoreUnavailable
        raise StoreUnavailable("database", "it is locked")
def create_app():
    if waiting := os.environ.get("TEST_STARTS_SLOWLY"):
        Path(waiting).touch()
        time.sleep(60)
    from tests.server.small_app import SmallApp
    return SmallApp()
module.prepare, module.create_app = prepare, create_app
sys.modules["koschey.application"] = module
if os.environ.get("TEST_KILLED_ASKING"):
    import koschey.serving
    def asks_and_dies(request, *, bind, folder, workers, threads):
        os.write(request._answer, f"{bind}\\0{folder}\\0{workers}\\0{threads}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    koschey.serving.Request.serve = asks_and_dies

sys.argv[1:1] = ["serve"]
from koschey.__main__ import main
main()
"""


#: No file of this process may grow, which to it looks as a full disk does.
FULL_DISK = """
import resource, sys
from pathlib import Path
from koschey.serving import _locked

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with _locked(sys.argv[1]):
    print("taken")
"""


def environ(**more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"} | more


def refused(*arguments: str, **more: str) -> str:
    """What a start that fails says on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=environ(**more),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@contextmanager
def serving(*arguments: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running ``koschey serve`` and the three lines that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], env=environ(**more), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, [process.stdout.readline().strip() for _ in range(3)]
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()


def test_it_prepares_the_folder_prints_what_to_type_and_stops(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    with serving("--data", str(data), "--bind", "127.0.0.1:0") as (process, said):
        url = said[0].removeprefix("Koschey serves ")
        assert url.startswith("http://127.0.0.1:") and url.endswith("/simple/")
        assert said[1:] == [f"pip install --index-url {url} NAME", f"uv pip install --index-url {url} NAME"]
        assert (data / "prepared").exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_the_folder_may_come_from_the_environment(tmp_path: Path) -> None:
    with serving("--bind", "127.0.0.1:0", KOSCHEY_DATA_DIR=str(tmp_path / "data")):
        assert (tmp_path / "data" / "prepared").exists()


def test_a_second_start_on_the_same_folder_is_one_sentence(tmp_path: Path) -> None:
    with serving("--data", str(tmp_path), "--bind", "127.0.0.1:0") as (process, _):
        assert refused("--data", str(tmp_path), "--bind", "127.0.0.1:0") == (
            f"koschey: Koschey is running already on {tmp_path} (process {process.pid}); "
            "stop it first, or choose another --data\n"
        )
    with serving("--data", str(tmp_path), "--bind", "127.0.0.1:0") as (_, said):
        assert said[0].startswith("Koschey serves")


def test_a_busy_port_is_one_sentence_and_prepares_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        said = refused("--data", str(tmp_path), "--bind", bind)
    assert said.startswith(f"koschey: cannot listen on {bind}: it is in use already")
    assert said.count("\n") == 1
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("where", [{"KOSCHEY_QUARANTINE_DAYS": "98"}, {"TEST_KILLED_ASKING": "yes"}])
def test_a_preparation_that_is_killed_is_one_sentence(tmp_path: Path, where: dict[str, str]) -> None:
    said = refused("--data", str(tmp_path), "--bind", "127.0.0.1:0", **where)
    assert said == (
        "koschey: the process that prepares the database was killed (signal 9); what it had not finished is "
        "undone: start again\n"
    )


def test_a_stop_of_the_whole_group_while_workers_start_says_nothing(tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--data", str(tmp_path), "--bind", "127.0.0.1:0"],
        env=environ(TEST_STARTS_SLOWLY=str(waiting)),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(waiting.exists)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGSTOP)  # so that it hears of the signal and of the deaths at once
    os.killpg(process.pid, signal.SIGTERM)
    wait_until(lambda: all(") Z " in Path(f"/proc/{worker}/stat").read_text() for worker in workers))
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    said = refused("--data", str(tmp_path), KOSCHEY_QUARANTINE_DAYS="soon")
    assert said == "koschey: setting KOSCHEY_QUARANTINE_DAYS: 'soon' is not a number, 0 or more\n"


def test_a_database_that_cannot_be_prepared_is_one_sentence(tmp_path: Path) -> None:
    said = refused("--data", str(tmp_path), "--bind", "127.0.0.1:0", KOSCHEY_QUARANTINE_DAYS="99")
    assert said == "koschey: database: it is locked\n"


def test_a_full_disk_does_not_keep_it_from_taking_the_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        env=environ(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "taken\n", done.stderr


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused("--data", str(tmp_path / "file" / "data"), "--bind", "127.0.0.1:0")
    assert said == f"koschey: cannot use the data folder {tmp_path}/file/data: Not a directory\n"

"""``koschey sync`` as people and cron run it: killed at any point, it goes on; what it says."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from koschey.cli import main
from koschey.errors import StoreUnavailable
from koschey.services.sync import Sync
from koschey.services.sync_phases import Options
from tests.fake_upstream import FakeUpstream
from tests.running import CHECKOUT, clean_environment

PROGRAM = "import sys; from koschey.cli import main; sys.argv[0] = 'koschey'; main()"


def environment(folder: Path, upstream: FakeUpstream, database_url: str) -> dict[str, str]:
    return clean_environment() | {
        "KOSCHEY_DATA_DIR": str(folder / "data"),
        "KOSCHEY_DATABASE_URL": database_url,
        "KOSCHEY_UPSTREAM_URL": upstream.simple_url,
        "KOSCHEY_UPSTREAM_RETRIES": "0",
    }


def run(
    folder: Path, upstream: FakeUpstream, database_url: str, *arguments: str, fail: str = ""
) -> subprocess.CompletedProcess[str]:
    variables = environment(folder, upstream, database_url)
    if fail:
        variables["KOSCHEY_FAIL"] = fail
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=variables,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgresql" else ""


def test_a_sync_killed_at_any_point_goes_on_and_does_nothing_twice(tmp_path: Path, database_url: str) -> None:
    with FakeUpstream() as upstream:
        for number in range(6):
            upstream.project(f"project-{number}").release("1.0")
        spool = tmp_path / "data" / "files" / "spool"
        run(tmp_path, upstream, database_url, "upstream", "edit", "upstream", "--mode", "full")

        for point in (
            "sync.compared", "sync.chosen", "sync.before_record", "sync.after_record", "sync.before_files",
            "blobs.linked", "sync.after_files",
        ):  # fmt: skip
            killed = run(tmp_path, upstream, database_url, "sync", "upstream", fail=f"{point}:kill")
            assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
            if point == "blobs.linked":
                assert list(spool.glob("sync-*"))
        done = run(tmp_path, upstream, database_url, "sync", "upstream", "--json")
        assert list(spool.iterdir()) == []

        summary = json.loads(done.stdout)
        assert (done.returncode, summary["outcome"]) == (0, "ok"), done.stderr
        status = run(tmp_path, upstream, database_url, "sync", "--dry-run", "--json")
        [preview] = json.loads(status.stdout)
        assert (preview["projects"], preview["files"], preview["stored"]) == (6, 6, 6)
        for number in range(6):
            # Once, and once more for each death while it was on its way; two came in each phase.
            assert upstream.count(f"project-{number}") <= 3
            assert upstream.count(f"project_{number}-1.0-py3-none-any.whl") <= 3


def test_several_processes_share_the_pages_and_the_files(tmp_path: Path, postgres_url: str) -> None:
    limit = ("--requests-per-second", "1000")
    with FakeUpstream() as upstream:
        for number in range(410):
            upstream.project(f"project-{number}")
        for number in range(5):
            upstream.project(f"project-{number}").release("1.0")
        run(tmp_path, upstream, postgres_url, "upstream", "edit", "upstream", "--mode", "full", *limit)

        done = run(tmp_path, upstream, postgres_url, "sync", "upstream", "--json", "--processes", "3")

        summary = json.loads(done.stdout)
        assert (done.returncode, summary["outcome"]) == (0, "ok"), done.stderr
        assert (summary["projects"]["done"], summary["files"]["done"]) == (410, 5)
        assert summary["requests"] == len(upstream.requests) == 1 + 410 + 5
        assert list((tmp_path / "data" / "locks").glob("pace.*")), "and the requests in a second"

        for number in range(410):
            upstream.fail(f"project-{number}", status=503, retry_after=900)
        ended = run(
            tmp_path, upstream, postgres_url, "sync", "upstream", "--full", "--json", "--processes", "3"
        )

        summary = json.loads(ended.stdout)
        assert (ended.returncode, summary["outcome"]) == (2, "paused"), ended.stderr
        assert "answered 503" in summary["problem"], "what a process ended with is told by its parent"
        assert summary["paused_until"] > summary["ended_at"] + 600e6


def test_on_a_terminal_there_is_a_bar_that_ends_with_a_sentence(tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        for number in range(8):
            upstream.project(f"project-{number}").release("1.0")
        limits = ("--mode", "full", "--requests-per-second", "10")
        run(tmp_path, upstream, "", "upstream", "edit", "upstream", *limits)
        terminal, its_end = pty.openpty()
        shown: list[bytes] = []

        def read() -> None:  # a terminal that nobody reads from holds up who writes to it
            with suppress(OSError):
                while piece := os.read(terminal, 4096):
                    shown.append(piece)

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        begun = time.monotonic()
        try:
            with subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "sync", "upstream"],
                env=environment(tmp_path, upstream, "") | {"TERM": "xterm-256color", "COLUMNS": "120"},
                cwd=CHECKOUT,
                stdout=subprocess.PIPE,
                stderr=its_end,
                text=True,
            ) as process:
                said, _ = process.communicate(timeout=120)
        finally:
            os.close(its_end)
            reading.join(30)
            os.close(terminal)
        # Seventeen requests at ten in a second; the first one does not wait.
        assert time.monotonic() - begun >= 1.6
        text = b"".join(shown).decode()
        assert process.returncode == 0
        assert "upstream: projects" in text and "upstream: files" in text and "/8" in text
        assert said.startswith("upstream: ok; 8 projects looked at")


def test_what_is_said_and_exited_with(tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        upstream.project("one").release("1.0")
        upstream.project("two").release("1.0")
        seed = tmp_path / "uv.lock"
        seed.write_text(
            'version = 1\n[[package]]\nname = "one"\nversion = "1.0"\nsource = { registry = "x" }\n'
            '[[package]]\nname = "app"\nversion = "0"\nsource = { editable = "." }\n'
        )
        edit = ("upstream", "edit", "upstream", "--mode", "full")
        edited = run(tmp_path, upstream, "", *edit, "--seed", str(seed))
        assert edited.returncode == 0, edited.stderr
        assert "uv.lock: 1 name to keep" in edited.stdout
        of_names = tmp_path / "names.txt"
        of_names.write_text("one\n")
        edited = run(tmp_path, upstream, "", *edit, "--names-file", str(of_names))
        assert "the list of names: 1 name to keep" in edited.stdout
        of_names.write_text("")
        edited = run(tmp_path, upstream, "", *edit, "--names-file", str(of_names))
        assert "the list of names: 0 names to keep" in edited.stdout
        nothing = tmp_path / "requirements.txt"
        nothing.write_text("# nothing yet\n")
        refused = run(tmp_path, upstream, "", *edit, "--seed", str(nothing))
        assert (refused.returncode, "requirements.txt: no project" in refused.stderr) == (1, True)
        listed = json.loads(run(tmp_path, upstream, "", "upstream", "list", "--json").stdout)
        assert (listed[0]["mode"], listed[0]["names"]) == ("full", {"uv.lock": 1})

        done = run(tmp_path, upstream, "", "sync")
        assert (done.returncode, upstream.count("/")) == (0, 0), done.stderr
        assert "upstream: ok; 1 projects looked at" in done.stdout
        assert "1 files stored" in done.stdout

        upstream.fail("one", status=500)
        left = run(tmp_path, upstream, "", "sync", "upstream")
        assert left.returncode == 2
        assert "left: one" in left.stderr
        status = run(tmp_path, upstream, "", "sync", "--status")
        assert "in step" in status.stdout

        upstream.heal()
        reset = run(tmp_path, upstream, "", "sync", "upstream", "--reset")
        assert (reset.returncode, "if-none-match" in upstream.seen("one")[-1].headers) == (0, False)
        run(tmp_path, upstream, "", "upstream", "add", "asleep", "http://upstream.example/simple/")
        run(tmp_path, upstream, "", "upstream", "pause", "asleep", "--reason", "why not")
        both = run(tmp_path, upstream, "", "sync", "--json")
        outcomes = {summary["upstream"]: summary["outcome"] for summary in json.loads(both.stdout)}
        assert (both.returncode, outcomes) == (2, {"asleep": "skipped", "upstream": "ok"})

        upstream.stop()
        assert run(tmp_path, upstream, "", *edit, "--no-seeds").returncode == 0
        assert run(tmp_path, upstream, "", "sync", "upstream").returncode == 1
        unknown = run(tmp_path, upstream, "", "sync", "nobody")
        assert (unknown.returncode, "nobody" in unknown.stderr) == (1, True)


def test_a_sync_of_nothing_says_so_and_what_to_do(tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        run(tmp_path, upstream, "", "upstream", "edit", "upstream", "--mode", "proxy")
        for arguments in (("sync",), ("sync", "--dry-run"), ("sync", "--json")):
            said = run(tmp_path, upstream, "", *arguments)
            assert said.returncode == 0
            assert "nothing to do: the mode of upstream is proxy" in said.stderr, arguments
            assert "koschey upstream edit upstream --mode" in said.stderr
        assert upstream.requests == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreUnavailable("files", "no space is left"), "files: no space is left"),
        (RuntimeError("nobody knows"), "the sync of upstream crashed: RuntimeError"),
    ],
    ids=["store", "crash"],
)
def test_a_sync_that_breaks_keeps_no_other_upstream_from_being_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """Whatever breaks it: in this process, as not all of that can be had from outside."""
    really = Sync.run

    def run(self: Sync, upstream: str, options: Options | None = None) -> dict[str, Any]:
        if upstream == "upstream":
            raise error
        return really(self, upstream, options)

    monkeypatch.setattr(Sync, "run", run)
    with FakeUpstream() as fake:
        variables = environment(tmp_path, fake, "")
        koschey = CliRunner(env=variables)
        for name in ("a-first", "z-last"):
            assert koschey.invoke(main, ["upstream", "add", name, fake.simple_url]).exit_code == 0

        said = koschey.invoke(main, ["sync", "--json"])

    outcomes = {summary["upstream"]: summary["outcome"] for summary in json.loads(said.stdout)}
    assert (said.exit_code, outcomes) == (1, {"a-first": "ok", "upstream": "failed", "z-last": "ok"})
    assert f"koschey: {told}" in said.stderr

"""``koschey user``, ``group``, ``token``, ``grant``, ``acl``: as documented, and with mistakes."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from koschey.cli import main
from koschey.domain.credentials import is_token
from tests import running
from tests.test_readme import blocks

ACCESS = running.CHECKOUT / "docs" / "access.rst"


class Terminal:
    """Commands in this process, over one data folder."""

    def __init__(self, folder: Path) -> None:
        self._environment = {"KOSCHEY_DATA_DIR": str(folder), "KOSCHEY_UPSTREAM_URL": ""}

    def run(self, *arguments: str, typed: str | None = None) -> Result:
        return CliRunner(env=self._environment).invoke(main, arguments, input=typed)

    def says(self, line: str, typed: str | None = None) -> str:
        done = self.run(*shlex.split(line), typed=typed)
        assert done.exit_code == 0, f"{line}: {done.output} {done.exception!r}"
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("KOSCHEY_LOG_LEVEL", "warning")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Terminal(tmp_path / "data")
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_lines_of_the_documentation_work_in_their_order(terminal: Terminal) -> None:
    lines = [line for block in blocks(ACCESS.read_text("utf-8"), "shell") for line in block.splitlines()]
    assert len(lines) > 10
    said = {line: terminal.says(line.removeprefix("koschey ")) for line in lines}
    assert said["koschey acl explain anna upload acme-core --index main"] == (
        "yes: grant 3: publisher to group:build for acme-* in index main\n"
    )
    assert said["koschey token revoke 1"] == "revoked token 1\n"


def test_a_token_is_printed_and_nothing_else(terminal: Terminal) -> None:
    terminal.says("user create ci --role publisher")
    printed = terminal.says("token create ci --project 'acme-*' --expires 1")
    assert is_token(printed.removesuffix("\n"))
    made = json.loads(terminal.says("token create ci --scope read --json"))
    assert made["id"] == 2 and is_token(made["token"])
    [second, first] = json.loads(terminal.says("token list ci --json"))
    assert (first["scopes"], first["projects"], first["state"]) == (["upload"], ["acme-*"], "active")
    assert (second["scopes"], second["expires_at"], second["used_at"]) == (["read"], None, None)
    assert printed.strip()[:20] not in terminal.says("token list")
    assert terminal.says("token revoke ci") == "revoked 2 tokens of user ci\n"
    assert terminal.says("token revoke 1") == "already revoked: token 1\n"


def test_a_password_comes_from_standard_input_and_is_shown_nowhere(terminal: Terminal) -> None:
    said = terminal.says("user create anna --role admin --password-stdin", typed="canary password\n")
    said += terminal.says("user password anna --password-stdin", typed="canary another one\n")
    said += terminal.says("user list --json") + terminal.says("audit --json") + terminal.says("grant list")
    assert "canary" not in said and "argon2" not in said
    [anna] = json.loads(terminal.says("user list --json"))
    assert (anna["name"], anna["has_password"], anna["disabled"]) == ("anna", True, False)
    assert "somebody is an admin already" in terminal.run("user", "setup-link").stderr


def test_what_somebody_may_do_is_answered_with_an_exit_status(terminal: Terminal) -> None:
    terminal.says("user create anna")
    no = terminal.run("acl", "explain", "anna", "upload", "acme-core")
    assert (no.exit_code, no.stdout) == (1, "no: no grant gives anna upload for acme-core\n")
    yes = json.loads(terminal.says("acl explain everyone read --json"))
    assert yes == {"allowed": True, "reason": "grant 1: reader to everyone", "grant": 1, "plugin": None}
    assert {"method": "GET", "path": "/metrics"}.items() <= next(
        row for row in json.loads(terminal.says("acl routes --json")) if row["path"] == "/metrics"
    ).items()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("user create everyone", "is no name for a user or group"),
        ("user create 7", "not digits only"),
        ("user create anna", "a user named 'anna' exists already"),
        ("user create otto --password-stdin", "a password has 12 to 1024 characters"),
        ("user disable otto", "no user 'otto' here"),
        ("user remove otto", "no user 'otto' here"),
        ("group add build anna", "no group 'build' here"),
        ("grant add reader otto", "no user 'otto' here"),
        ("grant add reader role:x", "a subject is NAME, group:NAME"),
        ("grant add reader anna --index team", "no index 'team' here"),
        ("grant add reader anna --project '[a]'", "is no glob over project names"),
        ("grant remove admin anna", "no grant 'admin to user:anna' here"),
        ("token create otto", "no user 'otto' here"),
        ("token create anna --expires 40000", "at most 36500 days"),
        ("token revoke 7", "no token '7' here"),
        ("token revoke 99999999999999999999", "a number is larger than any here can be"),
        ("token revoke ²", "'²' is no name for a user or group"),
        ("acl explain group:build read ../x", "is no name of a project"),
        ("acl explain otto read", "no user 'otto' here"),
        ("acl explain anna read ../x", "is no name of a project"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(terminal: Terminal, line: str, problem: str) -> None:
    terminal.says("user create anna")
    before = terminal.says("audit --json")
    done = terminal.run(*shlex.split(line), typed="short\n")
    assert done.exit_code == 1
    assert problem in done.stderr and len(done.stderr.splitlines()) == 1
    assert terminal.says("audit --json") == before

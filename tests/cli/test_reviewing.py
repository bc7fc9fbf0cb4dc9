"""Deciding about many, and what changed, at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from koschey.cli import main
from tests.fake_upstream import FakeUpstream
from tests.service_layer.test_review import fresh


def test_many_are_decided_at_once_and_what_changed_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSCHEY_LOG_LEVEL", "error")
    with FakeUpstream() as upstream:
        environment = {"KOSCHEY_DATA_DIR": str(tmp_path), "KOSCHEY_UPSTREAM_URL": upstream.simple_url}

        def run(*arguments: str) -> Result:
            return CliRunner(env=environment).invoke(main, arguments)

        for name in ("part-a", "part-b", "other"):
            upstream.project(name).release("1.0", upload_time=fresh(60))
            upstream.project(name).release("2.0", upload_time=fresh(), requires=["new\u202e"])
            assert run("why", name).exit_code == 0

        printed = run("quarantine", "changes", "part-a==2.0", "--diff")
        assert printed.exit_code == 0, printed.output
        assert "part_a-2.0-py3-none-any.whl beside part_a-1.0-py3-none-any.whl" in printed.stdout
        assert "+ requires new\\u202e" in printed.stdout
        assert "+VERSION = '2.0'" in printed.stdout

        said = ("quarantine", "bulk", "reject", "--search", "part-", "--reason", "not ours")
        assert run(*said).exit_code == 1, "nobody has said yes"
        done = run(*said, "--yes", "--json")
        assert done.exit_code == 0, done.output
        assert [json.loads(done.stdout)[key] for key in ("state", "done", "left")] == ["done", 2, 0]
        listed = json.loads(run("quarantine", "list", "--json").stdout)["files"]
        assert {file["project"]: file["state"] for file in listed} == {
            "part-a": "rejected",
            "part-b": "rejected",
            "other": "held",
        }

"""Deciding at the command line while a server runs: effective at its next request, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import commands, running
from tests.cli.conftest import CommandLine
from tests.fake_upstream import JSON, FakeUpstream
from tests.running import Running
from tests.service_layer.test_review import fresh

WHEEL = "sample-2.0-py3-none-any.whl"


@dataclass
class Server:
    """A running Koschey with seven days of hold, and the upstream behind it."""

    koschey: Running
    upstream: FakeUpstream

    def listed(self, name: str, prefix: str = "") -> set[str]:
        answer = requests.get(
            f"{self.koschey.url}{prefix}/simple/{name}/", headers={"Accept": JSON}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        return {file["filename"] for file in answer.json()["files"]}

    def status(self, name: str, filename: str) -> int:
        """Of a GET of a file at its public path."""
        path = self.upstream.project(name).files[filename].path
        return requests.get(self.koschey.url + path, timeout=60).status_code

    def said(self, *arguments: str) -> Any:
        return json.loads(self.koschey.cli(*arguments, "--json"))


@contextmanager
def serving(folder: Path, settings: dict[str, str], requires: Sequence[str] = ()) -> Iterator[Server]:
    with FakeUpstream() as upstream:
        project = upstream.project("sample")
        project.release("1.0", upload_time=fresh(60))
        project.release("2.0", upload_time=fresh(), requires=requires)
        upstream.project("base").release("1.0", upload_time=fresh())
        settings = {"KOSCHEY_QUARANTINE_DAYS": "7", **settings}
        with running.koschey(folder, upstream.simple_url, settings) as koschey:
            yield Server(koschey, upstream)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_decisions_count_at_the_next_request_of_a_running_server(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = {}
    if backend == "postgres":
        settings["KOSCHEY_DATABASE_URL"] = request.getfixturevalue("migrated_postgres_url")
    with serving(tmp_path, settings) as server:
        assert server.listed("sample") == {"sample-1.0-py3-none-any.whl"}
        assert server.status("sample", WHEEL) == 403
        decide_and_look(server)


def decide_and_look(server: Server) -> None:
    both = {"sample-1.0-py3-none-any.whl", WHEEL}
    why = ("--reason", "looked at it")

    approved = server.said("quarantine", "approve", "Sample==2.0.0", *why)
    assert (approved["released"], [d["filename"] for d in approved["decisions"]]) == (1, [WHEEL])
    assert (server.listed("sample"), server.status("sample", WHEEL)) == (both, 200)

    server.koschey.cli("quarantine", "extend", "sample==2.0", "--days", "3", *why)
    assert server.status("sample", WHEEL) == 403
    server.koschey.cli("quarantine", "revert", "sample==2.0", *why)
    assert server.status("sample", WHEEL) == 403
    [hidden] = server.said("quarantine", "list", "--project", "sample")["files"]
    assert (hidden["filename"], hidden["rule"], hidden["index"]) == (WHEEL, "time", "main")

    server.koschey.cli(
        "policy", "set", "sample", "--hold-days", "0.5", "--check", "archive=reported", "--yes"
    )
    effect = server.said("policy", "remove", "sample", "--dry-run")
    assert (effect["saved"], effect["effect"]["appear"]) == (False, 0)
    server.koschey.cli("policy", "remove", "sample", "--yes")
    assert server.listed("sample") == {"sample-1.0-py3-none-any.whl"}

    server.koschey.cli("policy", "baseline", "--project", "sample", *why)
    assert server.listed("sample") == both
    server.koschey.cli("quarantine", "reject", "sample", "--expires", "1", *why)
    assert server.listed("sample") == set()
    assert server.status("sample", "sample-1.0-py3-none-any.whl") == 403

    actions = [
        event["action"] for event in server.said("audit", "--project", "sample", "--action", "decision.*")
    ]
    assert actions == [
        "decision.reject",
        "decision.baseline",
        "decision.revert",
        "decision.revert",
        "decision.hold",
        "decision.approve",
    ]


def test_an_approval_with_dependencies_shows_them_first(tmp_path: Path) -> None:
    with serving(tmp_path, {}, requires=["base"]) as server:
        server.listed("sample")
        server.listed("base")
        wanted = ("quarantine", "approve", "sample==2.0", "--with-dependencies", "--reason", "needed")

        def planned() -> dict[str, list[str]]:
            """The plan as soon as the wheel's metadata has been found, and the answer to the question: no."""
            asked = commands.koschey(*wanted, environment=server.koschey.environment, stdin="n\n")
            assert asked.returncode == 1, asked
            return {"lines": asked.stdout.splitlines()} if "not known" not in asked.stdout else {}

        plan = running.eventually(planned, seconds=60)
        assert server.listed("base") == set(), "the answer was no"
        done = server.said(*wanted, "--yes")

        assert plan["lines"][0] == "sample 2.0"
        assert "base 1.0; sample 2.0 requires base" in plan["lines"]
        assert {made["project"] for made in done["decisions"]} == {"sample", "base"}
        assert server.listed("base") == {"base-1.0-py3-none-any.whl"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("quarantine approve nobody==1 --reason x", "no files of project 'nobody' here"),
        ("quarantine reject a==1 --reason x --index team", "no index 'team' here"),
        ("quarantine reject a>=1 --reason x", "a project's name has"),
        ("quarantine extend a --until 2020-01-01 --reason x", "the end of a hold lies in the future"),
        ("quarantine revert a --reason x", "no decision 'a' here"),
        ("quarantine revert --decision 7 --reason x", "no decision '7' here"),
        ("quarantine recheck nobody", "no files of project 'nobody' here"),
        ("quarantine list --index team", "no index 'team' here"),
        ("quarantine list --after here", "not a place in the queue"),
        ("project untrust a --reason x", "no trust in 'a' here"),
        ("policy set a --check no=off --yes", "no check 'no' here; there are: "),
        ("policy set a --hold-days -1 --yes", "days of hold: a number from 0 to 36500"),
        ("policy remove a --yes", "no policy for 'a' here; there is *"),
        ("policy baseline --upstream hosted --reason x", "no upstream 'hosted' here"),
        ("index edit main --hold-days 99999", "days of hold: a number from 0 to 36500"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    empty: CommandLine, arguments: str, sentence: str
) -> None:
    assert sentence in empty.refuses(*arguments.split())
    assert empty.stored("SELECT count(*) FROM event WHERE reason != 'first start'") == [(0,)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("empty") / "data", KOSCHEY_LOG_LEVEL="warning")


@pytest.mark.parametrize(
    "arguments",
    [
        "quarantine approve a",
        "quarantine approve a --reason x --with-dependencies",
        "quarantine extend a --reason x --until soon",
        "quarantine extend a --reason x --until 2099-01-01 --days 3",
        "quarantine reject a --reason x --expires 0",
        "quarantine revert --reason x",
        "policy set a",
        "policy set a --check archive=maybe",
        "policy baseline --reason x",
        "audit --since yesterday",
    ],
)
def test_wrong_usage_is_told_with_the_status_of_usage(empty: CommandLine, arguments: str) -> None:
    said = empty(*arguments.split())
    assert (said.status, said.output) == (2, "")
    assert "Error: " in said.problem


def test_what_is_decided_before_anything_is_known_is_told(koschey: CommandLine) -> None:
    said = koschey.does("project", "trust", "Foo_Bar", "--reason", "ours", "--expires", "30")
    assert said.startswith("trusted foo-bar, which expires ")
    assert said.endswith("note: no files of project 'foo-bar' here; this covers what comes\n")


def test_a_policy_is_saved_only_when_somebody_says_so_and_a_script_may_still_edit_an_index(
    koschey: CommandLine,
) -> None:
    asked = koschey("policy", "set", "torch*", "--hold-days", "14")
    assert (asked.status, asked.output) == (1, "")
    assert "0 versions would vanish" in asked.problem
    assert koschey.listed("policy", "list")[1:] == []

    assert koschey.does("policy", "set", "torch*", "--hold-days", "14", stdin="y\n").startswith(
        "set the policy"
    )
    assert koschey.does("index", "edit", "main", "--hold-days", "3") == "changed index main\n"
    rules = [(rule["pattern"], rule["hold_days"]) for rule in koschey.listed("policy", "list")]
    assert rules == [("*", 3.0), ("torch*", 14.0)]

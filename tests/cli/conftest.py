"""The command line as a person at a terminal has it: real processes over a data folder of their own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import commands, prepared, running
from tests.fake_upstream import FakeUpstream


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    output: str
    problem: str
    """What it wrote to standard error."""


class CommandLine:
    """``koschey`` with its data in ``folder``; keeps everything that the commands ever wrote."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.written = ""
        self.environment = running.clean_environment() | {
            "KOSCHEY_DATA_DIR": str(folder),
            "KOSCHEY_UPSTREAM_URL": "",
            "KOSCHEY_LOG_LEVEL": "debug",
            **environment,
        }
        if "KOSCHEY_DATABASE_URL" not in environment:
            prepared.copy_schema(folder / "koschey.sqlite")

    def __call__(self, *arguments: str, stdin: str = "") -> Said:
        done = commands.koschey(*arguments, environment=self.environment, stdin=stdin)
        self.written += done.stdout + done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def does(self, *arguments: str, stdin: str = "") -> str:
        """What a command that succeeds printed."""
        said = self(*arguments, stdin=stdin)
        assert said.status == 0, said
        return said.output

    def refuses(self, *arguments: str) -> str:
        """The one sentence by which a command says that it cannot."""
        said = self(*arguments)
        assert said.status == 1, said
        assert said.output == ""
        told = [line for line in said.problem.splitlines() if line.startswith("koschey: ")]
        assert len(told) == 1, said
        assert "Traceback" not in said.problem
        return told[0].removeprefix("koschey: ")

    def listed(self, *arguments: str) -> Any:
        """What a listing says in JSON."""
        return json.loads(self.does(*arguments, "--json"))

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the database, past Koschey."""
        with closing(sqlite3.connect(self.folder / "koschey.sqlite")) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def koschey(tmp_path: Path) -> CommandLine:
    """The command line over an empty folder, with no upstream to begin with."""
    return CommandLine(tmp_path / "data")


@pytest.fixture
def new_upstream() -> Iterator[Callable[[], FakeUpstream]]:
    """Starts scripted upstreams."""
    started: list[FakeUpstream] = []

    def start() -> FakeUpstream:
        started.append(FakeUpstream())
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()

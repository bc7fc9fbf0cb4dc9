"""What the documents say of the command line and of jobs is so."""

import re
import shlex
from pathlib import Path

import click
import pytest

from koschey.cli import main
from koschey.jobs.tasks import IN_PROCESS, IN_WORKERS
from tests.cli.conftest import CommandLine
from tests.fake_upstream import FakeUpstream
from tests.running import CHECKOUT

DOCUMENTS = [CHECKOUT / "README.rst", *sorted((CHECKOUT / "docs").glob("*.rst"))]
OPERATING = (CHECKOUT / "docs" / "operating.rst").read_text(encoding="utf-8")
#: Of a synopsis: what may be left out is said.
_OPTIONAL = re.compile(r"\[([^\]]*)\]")


def commands(path: Path) -> list[str]:
    """The lines of a document's indented blocks that call ``koschey``."""
    lines = re.findall(r"^ {2,}koschey (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [line for line in lines if " ..." not in line]


def parse(line: str) -> None:
    """Have click parse a command with all its arguments, and run nothing. Raises: click.UsageError."""
    words = shlex.split(_OPTIONAL.sub(r"\1", line) if "'" not in line else line, comments=True)
    command: click.Command = main
    context = command.make_context("koschey", words)
    while isinstance(command, click.Group):
        left = [*context._protected_args, *context.args]
        if not left and command.invoke_without_command:
            return
        _, found, rest = command.resolve_command(context, left)
        assert found is not None
        command, context = found, found.make_context(found.name, rest, parent=context)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_are_understood(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("names.txt", "requirements.txt", "uv.lock"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for line in commands(path):
        try:
            parse(line)
        except click.UsageError as error:
            pytest.fail(f"koschey {line}: {error.format_message()}")


def test_the_examples_of_mirroring_work_in_their_order(tmp_path: Path) -> None:
    lock = 'version = 1\n[[package]]\nname = "flask"\nversion = "1.0"\nsource = {registry = "https://a.example"}\n'
    files = {"uv.lock": lock, "requirements.txt": "flask\n", "names.txt": "six  # and its tests\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    lines = [line for line in commands(CHECKOUT / "docs" / "mirroring.rst") if "NAME" not in line]
    options = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    with FakeUpstream() as upstream:
        for name in ("flask", "six", "django-tests"):
            upstream.project(name).release("1.0")
        koschey = CommandLine(tmp_path / "data", KOSCHEY_UPSTREAM_URL=upstream.simple_url)
        for line in lines:
            koschey.does(*(str(tmp_path / word) if word in files else word for word in shlex.split(line)))
        [kept] = koschey.listed("upstream", "list")
    missing = {option for command in ("upstream edit", "sync") for option in _options(command)} - options
    assert missing <= _ELSEWHERE, f"docs/mirroring.rst has no example of {missing - _ELSEWHERE}"
    assert {kept["filters"]["newest"], kept["mode"]} == {3, "full"}
    stored = koschey.stored("SELECT filename FROM file WHERE stored_at IS NOT NULL")
    assert {name for (name,) in stored} >= {"flask-1.0-py3-none-any.whl", "six-1.0-py3-none-any.whl"}


def _options(command: str) -> set[str]:
    """The long options of a command."""
    found: click.Command = main
    for word in command.split():
        assert isinstance(found, click.Group)
        following = found.get_command(click.Context(found), word)
        assert following is not None
        found = following
    return {option for parameter in found.params for option in parameter.opts if option.startswith("--")}


#: Of the route to an upstream, and what every command has; in words: the counterparts of others.
_ELSEWHERE = {
    "--url", "--refresh-seconds", "--internal", "--proxy", "--ca-file", "--token", "--token-stdin",
    "--password", "--password-stdin", "--username", "--data", "--help", "--prereleases", "--no-seeds",
}  # fmt: skip


@pytest.mark.parametrize("line", ["quarantine aprove x", "sync --dry-runn", "storage evict --max-bytes"])
def test_a_command_that_is_none_is_seen(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_every_job_is_in_the_table_with_its_times() -> None:
    rows = re.findall(r"^``(\w+)`` +(\d+) s +(\d+) s ", OPERATING, re.MULTILINE)
    workers = {entry.task: entry.seconds for entry in IN_WORKERS}
    told = {task: (float(here), float(there)) for task, here, there in rows}
    assert told == {entry.task: (entry.seconds, workers[entry.task]) for entry in IN_PROCESS}

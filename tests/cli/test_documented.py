"""What the documents say of the command line and of jobs is so."""

import re
import shlex
from pathlib import Path

import click
import pytest

from koschey.cli import main
from koschey.jobs.tasks import IN_PROCESS, IN_WORKERS
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


@pytest.mark.parametrize("line", ["quarantine aprove x", "sync --dry-runn", "storage evict --max-bytes"])
def test_a_command_that_is_none_is_seen(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_every_job_is_in_the_table_with_its_times() -> None:
    rows = re.findall(r"^``(\w+)`` +(\d+) s +(\d+) s ", OPERATING, re.MULTILINE)
    workers = {entry.task: entry.seconds for entry in IN_WORKERS}
    told = {task: (float(here), float(there)) for task, here, there in rows}
    assert told == {entry.task: (entry.seconds, workers[entry.task]) for entry in IN_PROCESS}

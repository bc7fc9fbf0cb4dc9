"""``make`` finds a Python that really runs, or says in one sentence that there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import CHECKOUT, clean_environment

OF_MAKE = frozenset({"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "BIND", "DATA", "ARGS", "PYTHON"})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a clone as the making of ``.venv`` needs; its path has a space in it."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, folder)
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder to stand alone in PATH, with what the Makefile needs besides Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "sed", "mkdir", "touch"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def _without_make(environment: dict[str, str]) -> dict[str, str]:
    """Without the word of a make that runs these tests: a make below another one answers differently."""
    return {key: value for key, value in environment.items() if key not in OF_MAKE}


def make(checkout: Path, tools: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("make")
    assert found is not None
    return subprocess.run(
        [found, *arguments],
        cwd=checkout,
        env=_without_make(clean_environment()) | {"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_help_is_the_default_and_lists_every_target(checkout: Path, tools: Path) -> None:
    done = make(checkout, tools)
    assert done.stdout == make(checkout, tools, "help").stdout
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["help", "run", "test", "lint", "bench"]


@pytest.mark.parametrize("arguments", [(), ("PYTHON=/nowhere/python",)], ids=["none", "a wrong one"])
def test_without_a_usable_python_it_says_so_in_one_sentence(
    checkout: Path, tools: Path, arguments: tuple[str, ...]
) -> None:
    script(tools / "python3.12", "echo shim: python3.12: command not found >&2; exit 127")
    script(tools / "python3", "exit 1")  # what an older one answers to the question for its version
    done = make(checkout, tools, "run", *arguments)
    assert done.returncode == 2
    sentence, _of_make = done.stderr.splitlines()
    assert sentence.startswith("Koschey needs Python 3.12 or newer with its venv module, and ")
    assert arguments == () or "/nowhere/python is not that" in sentence
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("name", ["python3.13", "python3"])
def test_a_shim_that_leads_nowhere_is_passed_over(checkout: Path, tools: Path, name: str) -> None:
    script(tools / "python3.12", "exit 127")
    # Without pip, whose installation is most of the time; the last test here has it.
    script(tools / name, f'[ "$2" != venv ] || set -- "$@" --without-pip; exec "{sys.executable}" "$@"')
    done = make(checkout, tools, ".venv/pyvenv.cfg")
    assert done.returncode == 0, done.stderr
    assert (checkout / ".venv" / "bin" / "python").exists()


def test_the_python_that_is_named_is_taken(checkout: Path, tools: Path) -> None:
    done = make(checkout, tools, ".venv/pyvenv.cfg", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert (checkout / ".venv" / "bin" / "python").exists()

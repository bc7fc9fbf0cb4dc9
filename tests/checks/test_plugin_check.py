"""Checks of plug-ins in the real child process: the documented example, and failing closed."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from koschey.checks.examiner import Examiner
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome
from koschey.domain.policy import Effect
from koschey.hookspecs import Check
from koschey.plugins import all_checks, load_plugins

DOCS = Path(__file__).parents[2] / "docs"
WHEEL = "acme-1.0-py3-none-any.whl"

#: One function of each kind that has not passed, and one that has.
MISBEHAVING = """
import os, sys, time
from koschey.domain.checks import Finding, Outcome
from koschey.hookspecs import Check, hookimpl

@hookimpl
def koschey_checks():
    for name in ("fine", "hangs", "raises", "leaves", "dies", "nonsense", "missing", "lies", "fine-again"):
        yield Check(name=name, summary=name, run=f"acme_misbehaving:{name.replace('-again', '')}")

def fine(subject):
    print("not an answer")
    return Finding("fine", Outcome.PASS, subject.filename)

def hangs(subject):
    time.sleep(600)

def raises(subject):
    raise RuntimeError("canary")

def leaves(subject):
    sys.exit(0)

def dies(subject):
    os._exit(0)

def nonsense(subject):
    return {"check": "nonsense", "outcome": "pass", "reason": ""}

def lies(subject):
    return Finding("integrity", "pass")
"""


def wheel(folder, *fields):
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        lines = ("Metadata-Version: 2.4", "Name: acme", "Version: 1.0", *fields, "", "text")
        archive.writestr("acme-1.0.dist-info/METADATA", "\n".join(lines))
    return path


def subject(path):
    return Subject(path=str(path), filename=path.name, project="acme", version="1.0")


@pytest.fixture
def examiner():
    """Make an Examiner for these plug-ins, and end its processes."""
    made = []

    def make(*plugins, **settings):
        made.append(Examiner(plugins, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_documented_example_tells_licences(tmp_path, monkeypatch, examiner):
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    monkeypatch.setenv("KOSCHEY_PLUGIN_LICENCES", "MIT, Apache-2.0")
    offered = [check for check in all_checks(load_plugins(["check_licence"])) if check.name == "licence"]
    assert offered[0].effect is Effect.REPORTED
    checking = examiner("check_licence")
    for fields, expected in (
        (["License-Expression: MIT OR Apache-2.0"], (Outcome.PASS, "MIT OR Apache-2.0")),
        (["License-Expression: MIT AND GPL-3.0-only"], (Outcome.FAIL, "not allowed here: GPL-3.0-only")),
        ([], (Outcome.WARN, "it does not say its licence in a form that can be compared")),
    ):
        found = checking.check(subject(wheel(tmp_path, *fields)), offered)
        assert found == [Finding("licence", *expected)]
    broken = tmp_path / "b" / WHEEL
    broken.parent.mkdir()
    broken.write_bytes(b"no archive")
    found = checking.check(subject(broken), offered)
    assert found == [Finding("licence", Outcome.ERROR, "it failed: BadZipFile")]


def test_the_examples_are_the_files_that_the_documentation_shows():
    text = (DOCS / "plugins.rst").read_text(encoding="utf-8")
    everywhere = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.rst"))
    shown = set(re.findall(r"literalinclude:: examples/(\w+\.py)", everywhere))
    assert shown == {path.name for path in (DOCS / "examples").glob("*.py")}
    for field in Check.__dataclass_fields__:
        assert f"\n``{field}``\n" in text
    for field in Subject.__struct_fields__:
        assert f"``{field}``" in text


def test_every_built_in_check_is_explained_to_reviewers():
    text = (DOCS / "checks.rst").read_text(encoding="utf-8")
    for check in all_checks(load_plugins()):
        assert f"\n``{check.name}``\n{'-' * (len(check.name) + 4)}\n" in text
        assert re.search(rf"^{check.name} +\S", text, re.MULTILINE)


def test_a_check_that_hangs_raises_dies_or_returns_nonsense_has_not_passed(tmp_path, monkeypatch, examiner):
    (tmp_path / "acme_misbehaving.py").write_text(MISBEHAVING)
    monkeypatch.syspath_prepend(str(tmp_path))
    offered = [c for c in all_checks(load_plugins(["acme_misbehaving"])) if "acme" in c.run]
    # A short limit for the one that hangs: the others would have to be slower than a process starts.
    found = examiner("acme_misbehaving", timeout_seconds=5.0).check(subject(wheel(tmp_path)), offered)
    assert [finding.check for finding in found] == [check.name for check in offered]
    said = {finding.check: finding for finding in found}
    for name in ("fine", "fine-again"):
        assert said.pop(name) == Finding(name, Outcome.PASS, WHEEL)
    assert {finding.outcome for finding in said.values()} == {Outcome.ERROR}
    assert "longer than" in said["hangs"].reason
    assert said["raises"].reason == "it failed: RuntimeError"
    assert "SystemExit" in said["leaves"].reason
    assert "crashed" in said["dies"].reason
    assert "no finding, but dict" in said["nonsense"].reason
    assert "AttributeError" in said["missing"].reason


def test_a_plug_in_that_cannot_be_imported_passes_nothing(tmp_path, examiner):
    check = Check(name="acme", summary="Something.", run="acme_nowhere:check")
    found = examiner("acme_nowhere").check(subject(wheel(tmp_path)), [check])
    assert found == [Finding("acme", Outcome.ERROR, "it cannot be loaded: ModuleNotFoundError")]


def test_the_built_in_checks_run_in_the_process_too(tmp_path, examiner):
    checks = all_checks(load_plugins())
    path = wheel(tmp_path)
    checking = examiner()
    file = subject(path)
    unread = checking.check(file, checks)
    assert [finding.check for finding in unread] == [check.name for check in checks]
    assert {f.check for f in unread if f.outcome is Outcome.ERROR} >= {"startup", "native", "dependencies"}

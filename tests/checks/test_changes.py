"""The checks that compare a release with what came before it."""

from __future__ import annotations

import importlib
import sys
import threading
import types

import msgspec
import pytest

from koschey.checks import (
    build_scripts,
    dependencies,
    entry_points,
    lookalike,
    native,
    provenance,
    silence,
    size,
    startup,
)
from koschey.checks.subject import Contents, Previous, Subject
from koschey.domain.checks import Outcome
from koschey.domain.policy import DAY, Effect
from koschey.errors import SettingsInvalid
from koschey.hookspecs import Check, hookimpl
from koschey.plugins import all_checks, load_plugins

WHEEL = "acme-{}-py3-none-any.whl"
SDIST = "acme-{}.tar.gz"
PASS, WARN, FAIL, ERROR = Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.ERROR
MIB = 2**20


def release(now=None, before=None, filename=WHEEL, **fields):
    """Version 2.0 of acme with these contents, after a version 1.0 with those (None: there is none)."""
    previous = fields.pop("previous", {})
    if before is not None or previous:
        previous = Previous(
            **{
                "filename": filename.format("1.0"),
                "version": "1.0",
                "contents": None if before is None else Contents(**before),
            }
            | previous
        )
    contents = Contents(**now) if now is not None else Contents()
    return Subject(
        **{
            "path": "",
            "filename": filename.format("2.0"),
            "project": "acme",
            "version": "2.0",
            "contents": contents,
        }
        | fields,
        previous=previous or None,
    )


def outcome(check, *args, **fields):
    found = check.check(release(*args, **fields))
    assert found.reason
    return found.outcome


@pytest.mark.parametrize(
    ("hooks", "before", "expected"),
    [
        ([], None, PASS),
        (["a.pth"], None, FAIL),
        (["a.pth"], [], FAIL),
        (["a.pth"], ["a.pth"], PASS),
        (["sitecustomize.py"], ["a.pth"], FAIL),
        (["a.pth"], [".data/purelib/a.pth"], PASS),
        (["acme-2.0-py3.12-nspkg.pth"], ["acme-1.0-py3.7-nspkg.pth"], PASS),
        (["acme-2.0-py3.12.pth"], ["acme-1.0-py3.7.pth"], FAIL),
        ([], ["a.pth"], PASS),
    ],
)
def test_new_start_up_hooks_fail(hooks, before, expected):
    before = None if before is None else {"startup": tuple(before)}
    assert outcome(startup, {"startup": tuple(hooks)}, before) is expected


@pytest.mark.parametrize(("namespaces", "expected"), [((), FAIL), (("acme-2.0-nspkg.pth",), PASS)])
def test_a_hook_with_another_body_fails_unless_it_only_sets_up_a_namespace(namespaces, expected):
    """Whatever it is called: a name promises nothing."""
    now, then = "acme-2.0-nspkg.pth", "acme-1.0-nspkg.pth"
    hooks = {"startup": (now,), "startup_digests": {now: "2" * 64}, "namespaces": namespaces}
    before = {"startup": (then,), "startup_digests": {then: "1" * 64}, "namespaces": (then,)}

    assert outcome(startup, hooks, before) is expected


def test_a_hook_is_new_when_the_version_before_could_not_be_read_or_is_of_another_kind():
    hooks = {"startup": ("a.pth",)}
    assert outcome(startup, hooks, previous={"contents": None}) is FAIL
    assert outcome(startup, hooks, hooks, previous={"filename": "acme-1.0.tar.gz"}) is FAIL


def test_a_reason_names_the_hook_and_the_version_that_lacked_it():
    reason = startup.check(release({"startup": ("a.pth", "b.pth")}, {})).reason
    assert reason == "Python would run a.pth and b.pth at every start; version 1.0 did not have that"


@pytest.mark.parametrize(
    ("scripts", "before", "expected"),
    [
        (["setup.py"], None, PASS),
        (["setup.py"], [], FAIL),
        (["setup.py"], ["setup.py"], PASS),
        (["setup.py", "_build/backend.py"], ["setup.py"], FAIL),
        ([], ["setup.py"], PASS),
    ],
)
def test_new_build_scripts_of_an_sdist_fail(scripts, before, expected):
    before = None if before is None else {"build_scripts": tuple(before)}
    assert outcome(build_scripts, {"build_scripts": tuple(scripts)}, before, SDIST) is expected


def test_a_build_script_is_compared_with_an_sdist_only():
    now = {"build_scripts": ("setup.py",)}
    assert outcome(build_scripts, now, {}, SDIST, previous={"filename": "acme-1.0.zip"}) is FAIL
    assert outcome(build_scripts, now, {}, SDIST, previous={"filename": WHEEL.format("1.0")}) is PASS
    assert outcome(build_scripts, now, {}, WHEEL) is PASS


@pytest.mark.parametrize(
    ("backend", "before", "expected"),
    [
        ("hatchling.build", "hatchling.build", PASS),
        ("hatchling.build", "setuptools.build_meta", WARN),
        ("setuptools.build_meta", None, PASS),
        ("setuptools.build_meta:__legacy__", "setuptools.build_meta", PASS),
        ("uv_build", None, WARN),
        ("acme_build", "setuptools.build_meta", FAIL),
        ("acme_build", "acme_build", PASS),
    ],
)
def test_another_build_backend_warns_and_one_that_few_know_fails(backend, before, expected):
    now, then = {"build_backend": backend}, {"build_backend": before}
    assert outcome(build_scripts, now, then, SDIST) is expected
    assert outcome(build_scripts, now, None, SDIST) is PASS


@pytest.mark.parametrize(
    ("points", "before", "expected"),
    [
        (["console_scripts:acme"], None, PASS),
        (["pytest11:acme"], None, PASS),
        (["console_scripts:acme"], ["console_scripts:acme"], PASS),
        (["console_scripts:acme"], [], FAIL),
        (["gui_scripts:acme"], [], FAIL),
        (["scripts:acme.sh"], [], FAIL),
        (["console_scripts:acme", "console_scripts:acme2"], ["console_scripts:acme"], FAIL),
        (["pytest11:acme"], [], FAIL),
        (["pytest11:a", "pytest11:b"], ["pytest11:a"], FAIL),
        (["acme.plugins:a"], [], FAIL),
        (["acme.plugins:a", "acme.plugins:b"], ["acme.plugins:a"], WARN),
        (["pkg_config:acme"], [], WARN),
        (["pkg_config:acme", "console_scripts:acme"], [], FAIL),
        ([], ["console_scripts:acme"], PASS),
    ],
)
def test_new_entry_points_fail(points, before, expected):
    before = None if before is None else {"entry_points": tuple(before)}
    assert outcome(entry_points, {"entry_points": tuple(points)}, before) is expected


@pytest.mark.parametrize(
    "point",
    [
        "console_scripts:python",
        "console_scripts:python3.12",
        "console_scripts:pip3",
        "gui_scripts:sudo",
        "scripts:ls",
        "scripts:ssh.exe",
        "console_scripts:KUBECTL",
        "scripts:aws.cmd",
        "console_scripts:pytest",
    ],
)
def test_a_command_in_place_of_a_well_known_one_fails_with_nothing_to_compare(point):
    assert outcome(entry_points, {"entry_points": (point,)}) is FAIL
    assert outcome(entry_points, {"entry_points": (point,)}, {"entry_points": (point,)}) is PASS


@pytest.mark.parametrize(
    ("project", "point"),
    [
        ("pip", "console_scripts:pip3"),
        ("uv", "scripts:uvx"),
        ("awscli", "scripts:aws.cmd"),
        ("django", "console_scripts:django-admin"),
        ("httpie", "console_scripts:http"),
        ("acme", "acme.plugins:python"),
    ],
)
def test_a_command_may_come_from_where_it_always_came(project, point):
    assert outcome(entry_points, {"entry_points": (point,)}, project=project) is PASS


@pytest.mark.parametrize(
    ("filename", "now", "before", "expected"),
    [
        (WHEEL, ["a.so"], None, WARN),
        (WHEEL, ["a.so"], [], FAIL),
        (WHEEL, ["a.so", "b.so"], ["a.so"], PASS),
        (WHEEL, [], ["a.so"], PASS),
        ("acme-{}-cp312-cp312-win_amd64.whl", ["a.pyd"], None, PASS),
        ("acme-{}-cp312-cp312-win_amd64.whl", ["a.pyd"], [], FAIL),
        (SDIST, ["tests/a.exe"], None, WARN),
        (SDIST, ["tests/a.exe"], [], FAIL),
    ],
)
def test_compiled_code_where_there_was_none_fails(filename, now, before, expected):
    before = None if before is None else {"native": tuple(before)}
    assert outcome(native, {"native": tuple(now)}, before, filename) is expected


def test_the_compiled_code_of_a_first_wheel_is_not_compared_with_an_sdist():
    wheel = "acme-{}-cp312-cp312-win_amd64.whl"
    assert outcome(native, {"native": ("a.pyd",)}, {}, wheel, previous={"filename": "acme-1.0.zip"}) is PASS


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (20 * MIB, MIB, FAIL),
        (20 * MIB - 1, MIB, WARN),
        (5 * MIB, MIB, WARN),
        (5 * MIB - 1, MIB, PASS),
        (MIB + 1000, 1000, FAIL),
        (MIB + 999, 1000, PASS),
        (MIB, 0, FAIL),
        (MIB // 20 - 1, MIB, WARN),
        (MIB // 20 + 1, MIB, PASS),
        (1, MIB - 1, PASS),
        (10 * MIB, None, PASS),
    ],
)
def test_a_file_many_times_as_large_fails(now, before, expected):
    assert outcome(size, size=now, previous={"size": before}) is expected


def test_sizes_are_compared_on_one_platform_only():
    linux = "acme-{}-cp312-cp312-manylinux_2_28_x86_64.whl"
    before = {"size": MIB}
    for other, expected in (
        ("acme-1.0-cp312-cp312-musllinux_1_2_aarch64.whl", FAIL),
        ("acme-1.0-cp312-cp312-macosx_11_0_arm64.whl", PASS),
        ("acme-1.0-cp312-cp312-win_amd64.whl", PASS),
        ("acme-1.0.tar.gz", PASS),
    ):
        assert outcome(size, size=99 * MIB, filename=linux, previous=before | {"filename": other}) is expected


def test_the_size_of_an_sdist_is_not_compared_with_that_of_a_wheel():
    wheel = {"size": MIB, "filename": WHEEL.format("1.0")}
    assert outcome(size, size=99 * MIB, filename=SDIST, previous=wheel) is PASS
    assert outcome(size, size=99 * MIB, filename=SDIST, previous={"size": MIB}) is FAIL


def test_a_size_that_nobody_promised_is_measured(tmp_path):
    path = tmp_path / "acme.whl"
    path.write_bytes(bytes(2 * MIB))
    assert outcome(size, path=str(path), previous={"size": 1000}) is FAIL


@pytest.mark.parametrize(
    ("needs", "before", "expected"),
    [
        (["a"], None, PASS),
        (["evil"], None, WARN),
        (["a>=2"], ["a"], PASS),
        (["a", "b"], ["a"], WARN),
        (["a", "E_vil>=1"], ["a"], FAIL),
        (["evil"], ["EVIL"], PASS),
        (["evil; extra == 'x'"], [], PASS),
        (["evil; 'x' == extra and python_version > '3'"], [], PASS),
        (["evil; extra == 'x' or extra == 'y'"], [], PASS),
        (["evil; extra == 'x' or platform_machine == 'aarch64'"], [], FAIL),
        (["evil; extra != 'x'"], [], FAIL),
        (["evil; extra == ''"], [], FAIL),
        (["evil; (extra == 'x' and os_name == 'nt') or (os_name == 'posix')"], [], FAIL),
        (["evil; sys_platform == 'win32'"], [], FAIL),
        (["evil; python_version < '3.0'"], [], PASS),
        (["evil; '3' < python_version"], [], FAIL),
        (["evil; python_version < '3.11'"], [], FAIL),
        (["evil; python_version == '2.7' or os_name == 'posix'"], [], FAIL),
        (["evil"], ["evil; python_version < '3.11'"], PASS),
        (["evil"], ["evil; python_version < '3'"], FAIL),
        (["evil"], ["evil; extra == 'x'"], FAIL),
        (["a @ https://files.example/a.whl"], None, FAIL),
        (["a @ https://files.example/a.whl"], ["a"], FAIL),
        (["a @ https://files.example/a.whl"], ["a @ https://files.example/a.whl"], PASS),
        (["a @ https://files.example/a.whl"], ["a @ https://files.example/b.whl"], FAIL),
        (["a @ https://files.example/a.whl ; extra == 'x'"], [], PASS),
        (["no ( requirement"], [], WARN),
        ([], ["a"], PASS),
    ],
)
def test_new_dependencies_warn_and_unknown_ones_fail(needs, before, expected):
    before = None if before is None else {"requires_dist": tuple(before)}
    now = {"requires_dist": tuple(needs)}
    assert outcome(dependencies, now, before, unknown_dependencies=("evil", "e.vil")) is expected


def test_an_sdist_that_leaves_its_dependencies_to_the_build_is_nothing_to_compare_with():
    now = {"requires_dist": ("evil",)}
    sdist = {"filename": "acme-1.0.tar.gz"}
    assert outcome(dependencies, now, {}, previous=sdist, unknown_dependencies=("evil",)) is WARN
    assert outcome(
        dependencies, now, {"requires_dist": ("a",)}, previous=sdist, unknown_dependencies=("evil",)
    ) is FAIL  # fmt: skip


def test_a_name_that_could_be_mistaken_fails():
    assert outcome(lookalike) is PASS
    found = lookalike.check(release(project="reqeusts", resembles="requests"))
    assert (found.check, found.outcome) == ("name", FAIL)
    assert found.reason == "reqeusts could be mistaken for requests"


@pytest.mark.parametrize(
    ("days", "expected"), [(-30, PASS), (10, PASS), (364, PASS), (365, WARN), (729, WARN), (730, FAIL)]
)
def test_a_release_after_years_of_silence_fails(days, expected):
    start = 20_000 * DAY
    at, before = start + days * DAY, {"upload_time": start}
    assert outcome(silence, upload_time=at, first_seen=at, previous=before) is expected
    assert outcome(silence, first_seen=at, previous=before) is expected
    # What its upstream dates into the future came now.
    assert outcome(silence, upload_time=at + 3650 * DAY, first_seen=at, previous=before) is expected
    assert outcome(silence, upload_time=at, first_seen=at, previous={"upload_time": None}) is PASS
    assert outcome(silence, upload_time=at, first_seen=at) is PASS


def test_provenance_that_was_lost_fails():
    had = {"provenance": True}
    assert outcome(provenance, previous=had) is FAIL
    assert outcome(provenance, previous=had, provenance=True) is PASS
    assert outcome(provenance, previous={"provenance": False}) is PASS
    assert outcome(provenance) is PASS


@pytest.mark.parametrize("check", [startup, build_scripts, entry_points, native, dependencies])
def test_a_file_that_could_not_be_read_has_passed_nothing(check):
    assert outcome(check, contents=None, filename=SDIST) is ERROR


def test_a_reason_is_short_and_prints_as_one_line():
    hooks = tuple(f"{number}\r\n\x1b[31m\u202e{'x' * 1000}.pth" for number in range(500))
    reason = startup.check(release({"startup": hooks})).reason
    assert reason.isprintable()
    assert len(reason) < 1000
    assert "and 495 more" in reason


def test_what_a_check_is_given_crosses_a_process_boundary():
    subject = release({"startup": ("a.pth",)}, {})
    assert msgspec.json.decode(msgspec.json.encode(subject), type=Subject) == subject


def test_every_built_in_check_is_required_and_has_a_function():
    checks = all_checks(load_plugins())
    assert [check.name for check in checks][:4] == ["integrity", "archive", "record", "metadata"]
    assert len(checks) == 13
    for check in checks:
        module, _, function = check.run.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert check.effect is Effect.REQUIRED


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (startup, "startup"),
        (build_scripts, "build-scripts"),
        (entry_points, "entry-points"),
        (native, "native"),
        (size, "size"),
        (dependencies, "dependencies"),
        (lookalike, "name"),
        (silence, "silence"),
        (provenance, "provenance"),
    ],
)
def test_a_finding_has_the_name_of_its_check(module, name):
    assert module.check(release()).check == name
    assert {c.name: c.run for c in all_checks(load_plugins())}[name] == f"{module.__name__}:check"


def offering(monkeypatch, offer):
    """A plug-in whose checks are what ``offer()`` returns, as ``acme_checks``."""

    @hookimpl
    def koschey_checks():
        return offer()

    module = types.ModuleType("acme_checks")
    module.koschey_checks = koschey_checks
    monkeypatch.setitem(sys.modules, "acme_checks", module)
    return load_plugins(["acme_checks"])


def acme(**fields):
    return Check(**{"name": "acme", "summary": "Something.", "run": "acme_checks:check"} | fields)


def test_a_plug_ins_checks_come_after_the_built_in_ones(monkeypatch):
    manager = offering(monkeypatch, lambda: (acme(name=name) for name in ("acme", "acme-2")))
    assert [check.name for check in all_checks(manager)][-3:] == ["provenance", "acme", "acme-2"]


def raising():
    yield acme()
    raise RuntimeError("canary")


@pytest.mark.parametrize(
    ("offer", "problem"),
    [
        (lambda: [acme(name="integrity")], "there is a check 'integrity' already"),
        (lambda: [acme(), acme()], "there is a check 'acme' already"),
        (lambda: ["acme"], "returned str among its checks"),
        (lambda: acme(), "koschey_checks failed: TypeError"),
        (lambda: None, "koschey_checks failed: TypeError"),
        (raising, "koschey_checks failed: RuntimeError: canary"),
        (lambda: sys.exit(1), "koschey_checks failed: SystemExit"),
        (lambda: [acme(name="Acme")], "a name has at most 40 lower-case"),
        (lambda: [acme(name="a=pass b")], "a name has at most 40 lower-case"),
        (lambda: [acme(name="acme\n")], "a name has at most 40 lower-case"),
        (lambda: [acme(name="a" * 41)], "a name has at most 40 lower-case"),
        (lambda: [acme(name=None)], "a name has at most 40 lower-case"),
        (lambda: [acme(summary=" ")], "the summary is one line"),
        (lambda: [acme(summary="a\nb")], "the summary is one line"),
        (lambda: [acme(effect="required")], "the effect is no"),
        (lambda: [acme(run="acme_checks")], "run is no package.module:function"),
        (lambda: [acme(run=print)], "run is no package.module:function"),
    ],
)
def test_checks_that_could_not_be_told_apart_or_called_stop_the_start(monkeypatch, offer, problem):
    manager = offering(monkeypatch, offer)
    with pytest.raises(SettingsInvalid, match=problem) as invalid:
        all_checks(manager)
    assert "acme_checks" in str(invalid.value)


def test_a_plug_in_that_never_says_its_checks_stops_the_start(monkeypatch):
    release_it = threading.Event()
    manager = offering(monkeypatch, release_it.wait)
    with pytest.raises(SettingsInvalid, match="acme_checks did not say its checks within"):
        all_checks(manager, patience=0.2)
    release_it.set()


def test_a_start_up_hook_with_another_body_than_before_fails() -> None:
    def contents(digest: str) -> dict[str, object]:
        return {"startup": ("a.pth",), "startup_digests": {"a.pth": digest}}

    assert outcome(startup, contents("1"), contents("1")) is PASS
    finding = startup.check(release(contents("2"), contents("1")))
    assert finding.outcome is FAIL
    assert "other code" in finding.reason

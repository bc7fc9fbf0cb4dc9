"""Files are read and checked in another process; what crashes, hangs or grows there costs one answer."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from koschey.checks.child import DEFAULT_MEMORY_BYTES, IDLE_SECONDS
from koschey.checks.examiner import Examiner, Unreadable
from koschey.checks.slots import Slots
from koschey.checks.subject import Contents, Subject
from koschey.domain.checks import Finding, Outcome
from koschey.errors import StoreUnavailable
from koschey.hookspecs import Check
from tests.artifacts import Artifact, Release, sdist, wheel
from tests.hostile_archives import RELEASE, Entry, wheel_with

#: A plug-in whose checks do what none should.
PLUGIN = """
import ctypes, os, resource, signal, subprocess, sys, time
from pathlib import Path
from koschey.domain.checks import Finding, Outcome

def passes(subject): return Finding("passes", Outcome.PASS, subject.filename)
def raises(subject): raise ValueError("a secret")
def leaves(subject): sys.exit(0)
def nothing(subject): return None
def nonsense(subject): return Finding("nonsense", "splendid", 5)
def chatty(subject):
    print("hello", flush=True)
    sys.stderr.write("oh")
    return Finding("?", Outcome.WARN, "a\\nb\\x00c")
def exits(subject): os._exit(3)
def segfaults(subject): ctypes.string_at(0)
def hangs(subject): time.sleep(3600)
def stubborn(subject):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(subject.path + ".pid").write_text(str(subprocess.Popen(["sleep", "3600"]).pid))
    while True: pass
def hungry(subject): return Finding("hungry", Outcome.PASS, str(len(bytearray(2**40))))
def holds(subject): return Finding("holds", Outcome.PASS, str(len(bytearray(2**29))))
def writes(subject):
    with open(subject.path + ".big", "wb") as out: out.truncate(2**40)
def escapes(subject):
    subprocess.Popen(["sleep", "45"], start_new_session=True, close_fds=False)
    return Finding("escapes", Outcome.PASS)
def limits(subject):
    kinds = resource.RLIMIT_AS, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE
    left = resource.getrlimit(resource.RLIMIT_CPU)[0] - resource.getrusage(resource.RUSAGE_SELF).ru_utime
    told = [str(resource.getrlimit(kind)[0]) for kind in kinds]
    told += [str(0 < left < 80), str(0 < signal.alarm(0) < 80)]
    return Finding("limits", Outcome.PASS, " ".join(told))
def where(subject): return Finding("where", Outcome.PASS, str(os.getpid()))
def plain(subject):
    fine = sys.flags.isolated and "" not in sys.path and os.nice(0) >= 10 and not sys.stdin.read()
    return Finding("plain", Outcome.PASS if fine else Outcome.FAIL)
"""


def checks(*names: str, module: str = "koschey_test_checks") -> list[Check]:
    return [Check(name=name, summary="", run=f"{module}:{name}") for name in names]


def built_in(*names: str) -> list[Check]:
    return [Check(name=name, summary="", run=f"koschey.checks.{name}:check") for name in names]


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return on_disk(tmp_path, wheel(RELEASE))


def on_disk(folder: Path, artifact: Artifact) -> Subject:
    path = folder / artifact.filename
    path.write_bytes(artifact.content)
    return Subject(
        path=str(path), filename=artifact.filename, project="acme", version="1.0", sha256=artifact.sha256
    )


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "plug-ins"
    folder.mkdir()
    (folder / "koschey_test_checks.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.syspath_prepend(folder)
    return "koschey_test_checks"


@pytest.fixture
def examiner(plugin: str) -> Iterator[Examiner]:
    examiner = Examiner([plugin], timeout_seconds=60)
    yield examiner
    examiner.close()


def outcomes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.outcome.value) for finding in findings]


def test_what_a_file_holds_is_told_and_its_metadata_written(examiner: Examiner, tmp_path: Path) -> None:
    for artifact in (wheel(RELEASE), sdist(RELEASE)):
        out = tmp_path / f"{artifact.filename}.metadata"
        contents = examiner.read(Path(on_disk(tmp_path, artifact).path), artifact.filename, out)
        assert isinstance(contents, Contents)
        assert (contents.name, contents.version, contents.requires_python) == ("acme", "1.0", ">=3.9")
        assert out.read_bytes() == artifact.metadata


def test_a_file_that_is_not_looked_into_is_empty(examiner: Examiner, tmp_path: Path) -> None:
    installer = tmp_path / "acme-1.0.exe"
    installer.write_bytes(b"MZ")
    assert examiner.read(installer, installer.name, tmp_path / "out") == Contents()
    assert not (tmp_path / "out").exists()


def test_a_broken_file_is_unreadable_and_the_next_one_is_read(examiner: Examiner, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"no wheel")
    with pytest.raises(Unreadable, match="cannot be read") as caught:
        examiner.read(broken, "acme-1.0-py3-none-any.whl", tmp_path / "out")
    assert not caught.value.crashed
    with pytest.raises(Unreadable):
        examiner.read(tmp_path / "gone", "acme-1.0-py3-none-any.whl", tmp_path / "out")
    subject = on_disk(tmp_path, wheel(RELEASE))
    assert examiner.read(Path(subject.path), subject.filename, tmp_path / "out").name == "acme"


def test_a_wheel_with_unbelievable_metadata_is_read_without_it(examiner: Examiner, tmp_path: Path) -> None:
    path = tmp_path / "wheel"
    path.write_bytes(wheel_with(Entry("acme-1.1.dist-info/METADATA", b"Name: acme\n")))
    assert examiner.read(path, "acme-1.0-py3-none-any.whl", tmp_path / "out").entries == 5
    assert not (tmp_path / "out").exists()


def test_reading_that_takes_too_long_is_a_crash(plugin: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # nobody writes into it, so it is read forever
    examiner = Examiner(timeout_seconds=0.5)
    with pytest.raises(Unreadable, match=r"took longer than 0\.5 s") as caught:
        examiner.read(pipe, "acme-1.0.tar.gz", tmp_path / "out")
    assert caught.value.crashed
    examiner.close()


def test_built_in_checks_pass_sound_files(examiner: Examiner, tmp_path: Path) -> None:
    for artifact in (wheel(RELEASE), sdist(RELEASE)):
        findings = examiner.check(
            on_disk(tmp_path, artifact), built_in("integrity", "archive", "record", "metadata")
        )
        assert [f.outcome for f in findings] == [Outcome.PASS] * 4, findings


def test_a_plug_in_runs_isolated_nice_and_without_input(examiner: Examiner, subject: Subject) -> None:
    assert outcomes(examiner.check(subject, checks("plain"))) == [("plain", "pass")]


def test_every_check_gets_one_answer_in_order_whatever_the_others_do(
    examiner: Examiner, subject: Subject
) -> None:
    names = (
        "passes",
        "raises",
        "leaves",
        "nothing",
        "nonsense",
        "chatty",
        "exits",
        "segfaults",
        "hungry",
        "writes",
    )
    findings = examiner.check(subject, [*checks(*names), *built_in("record"), *checks("passes")])
    assert outcomes(findings) == [
        ("passes", "pass"), ("raises", "error"), ("leaves", "error"), ("nothing", "error"),
        ("nonsense", "error"), ("chatty", "warn"), ("exits", "error"), ("segfaults", "error"),
        ("hungry", "error"), ("writes", "error"), ("record", "pass"), ("passes", "pass"),
    ]  # fmt: skip
    reasons = {finding.check: finding.reason for finding in findings}
    assert reasons["passes"] == subject.filename
    assert reasons["raises"] == "it failed: ValueError", "what an error says may be a secret"
    assert reasons["leaves"] == "it failed: SystemExit"
    assert reasons["nothing"] == "it returned no finding, but NoneType"
    assert reasons["chatty"] == "a b c"
    assert reasons["exits"] == "it crashed (exit status 3)"
    assert reasons["segfaults"] == f"it crashed (signal {signal.SIGSEGV.value})"
    assert reasons["hungry"] == "it failed: MemoryError"
    assert reasons["writes"] == "it failed: OSError"


@pytest.mark.parametrize(
    "run", ["koschey_no_such:check", "koschey.checks.archive:no_such", "nonsense", ":", ""]
)
def test_an_unknown_check_is_an_error(examiner: Examiner, subject: Subject, run: str) -> None:
    (finding,) = examiner.check(subject, [Check(name="odd", summary="", run=run)])
    assert finding.outcome is Outcome.ERROR and finding.reason.startswith("it cannot be loaded: ")


def test_a_plug_in_that_cannot_be_imported_fails_the_checks_of_plug_ins_only(
    plugin: str, subject: Subject
) -> None:
    examiner = Examiner(["koschey_no_such_plugin"])
    findings = examiner.check(subject, [*checks("passes"), *built_in("record")])
    assert outcomes(findings) == [("passes", "error"), ("record", "pass")]
    examiner.close()


def test_a_check_that_hangs_is_killed_with_all_it_started_and_the_rest_is_done(
    plugin: str, subject: Subject
) -> None:
    # The limit is for hangs; a slow machine must not reach it with what merely takes long.
    examiner = Examiner([plugin], timeout_seconds=5)
    findings = examiner.check(subject, [*checks("stubborn", "passes"), *built_in("archive")])
    assert outcomes(findings) == [("stubborn", "error"), ("passes", "pass"), ("archive", "pass")]
    assert findings[0].reason == "it took longer than 5 s"
    started = int(Path(subject.path + ".pid").read_text())
    wait_until(lambda: not running(started))
    examiner.close()


def test_a_child_that_is_killed_while_it_is_idle_is_replaced(examiner: Examiner, subject: Subject) -> None:
    seen = set()
    for _ in range(3):
        (finding,) = examiner.check(subject, checks("where"))
        seen.add(finding.reason)
        os.kill(int(finding.reason), signal.SIGKILL)
    assert len(seen) == 3


def test_one_child_does_many_requests(examiner: Examiner, subject: Subject) -> None:
    found = [examiner.check(subject, checks("where"))[0].reason for _ in range(3)]
    assert len(set(found)) == 1


def test_a_child_leaves_when_its_parent_lets_go(examiner: Examiner, subject: Subject) -> None:
    (finding,) = examiner.check(subject, checks("where"))
    assert running(int(finding.reason))
    examiner.close()
    assert not running(int(finding.reason))


def test_a_stop_cuts_off_a_check_and_says_nothing_of_the_file(plugin: str, subject: Subject) -> None:
    """Neither is the stop kept waiting, nor is the file's check taken for a crashed one."""
    examiner = Examiner([plugin], timeout_seconds=120)
    refused: list[Exception] = []

    def ask() -> None:
        try:
            examiner.check(subject, checks("stubborn", "passes"))
        except StoreUnavailable as error:
            refused.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(Path(subject.path + ".pid").exists)
    examiner.close()
    thread.join(60)

    assert [str(error) for error in refused] == [str(StoreUnavailable("checks", "they are being stopped"))]
    with pytest.raises(StoreUnavailable):
        examiner.check(subject, checks("passes"))


def test_a_child_that_ran_out_of_memory_is_not_used_again(examiner: Examiner, subject: Subject) -> None:
    before, _, after = (examiner.check(subject, checks(name))[0] for name in ("where", "hungry", "where"))
    assert before.reason != after.reason


def test_memory_is_limited_to_what_is_said(plugin: str, examiner: Examiner, subject: Subject) -> None:
    small = Examiner([plugin], memory_bytes=2**28)
    assert outcomes(small.check(subject, checks("holds", "passes"))) == [
        ("holds", "error"),
        ("passes", "pass"),
    ]
    assert outcomes(examiner.check(subject, checks("holds"))) == [("holds", "pass")]
    small.close()


def test_memory_files_and_time_of_a_check_end_by_themselves(examiner: Examiner, subject: Subject) -> None:
    """Also when nobody is left who would kill it: 60 s, and some grace, of computing and of waiting."""
    [found] = examiner.check(subject, checks("limits"))
    assert found.reason.split() == [str(DEFAULT_MEMORY_BYTES), "0", str(64 * 2**20), "64", "True", "True"]


def test_a_process_that_does_not_start_says_nothing_of_the_file(
    monkeypatch: pytest.MonkeyPatch, subject: Subject, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    examiner = Examiner()
    with pytest.raises(StoreUnavailable, match="does not start"):
        examiner.check(subject, built_in("integrity", "archive"))
    with pytest.raises(StoreUnavailable, match="does not start"):
        examiner.read(Path(subject.path), subject.filename, tmp_path / "out")


def test_several_threads_get_their_own_answers(plugin: str, tmp_path: Path) -> None:
    examiner = Examiner([plugin], children=2)
    subjects = [on_disk(tmp_path, wheel(Release("acme", f"1.{n}"))) for n in range(6)]
    answers: dict[str, list[Finding]] = {}

    def ask(subject: Subject) -> None:
        answers[subject.filename] = examiner.check(subject, checks("passes", "exits", "passes"))

    threads = [threading.Thread(target=ask, args=(subject,)) for subject in subjects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    for filename, findings in answers.items():
        assert [f.outcome for f in findings] == [Outcome.PASS, Outcome.ERROR, Outcome.PASS]
        assert findings[0].reason == filename
    examiner.close()


def test_a_large_file_gets_more_time(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as out:
        out.truncate(2 * 10**9)  # a hole: it takes no space
    assert Examiner(timeout_seconds=30)._limit(large) == 130
    assert Examiner(timeout_seconds=30)._limit(tmp_path / "gone") == 30


def test_an_idle_child_waits_less_than_a_minute() -> None:
    assert 0 < IDLE_SECONDS < 60


@pytest.mark.parametrize("name", ["where", "escapes"])
def test_processes_of_one_machine_share_its_slots(
    plugin: str, subject: Subject, tmp_path: Path, name: str
) -> None:
    first, second = (Examiner([plugin], slots=Slots(tmp_path / "locks", 1)) for _ in range(2))
    first.check(subject, checks(name))
    child = int(first.check(subject, checks("where"))[0].reason)
    found: list[Finding] = []
    waiting = threading.Thread(target=lambda: found.extend(second.check(subject, checks("where"))))
    waiting.start()
    waiting.join(1.0)
    assert not found, "the slot is taken"
    os.kill(child, signal.SIGKILL)  # nobody need tell the others
    waiting.join(30.0)
    assert found, "the slot is free as soon as the child is gone, whatever it has started"
    assert found[0].outcome is Outcome.PASS
    assert int(found[0].reason) != child
    first.close()
    second.close()


def test_a_child_that_has_its_slot_for_long_gives_way_to_others(
    plugin: str, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slots, "TENURE_SECONDS", 1.0)
    examiners = [Examiner([plugin], slots=Slots(tmp_path / "locks", 1)) for _ in range(2)]
    answered = [0, 0]
    end = time.monotonic() + 30.0

    def work(number: int) -> None:
        while not all(answered) and time.monotonic() < end:
            examiners[number].check(subject, checks("where"))
            answered[number] += 1

    threads = [threading.Thread(target=work, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() < end, "one was never idle, and the other had nothing"
    for examiner in examiners:
        examiner.close()


def test_a_stop_ends_the_wait_for_a_slot(plugin: str, subject: Subject, tmp_path: Path) -> None:
    first, second = (Examiner([plugin], slots=Slots(tmp_path / "locks", 1)) for _ in range(2))
    refused: list[StoreUnavailable] = []

    def wait() -> None:
        try:
            second.check(subject, checks("where"))
        except StoreUnavailable as error:
            refused.append(error)

    first.check(subject, checks("where"))
    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.5)
    second.close()
    waiting.join(60.0)
    assert refused
    first.close()


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look into /proc")

"""What commands print for people, without a server behind it."""

from __future__ import annotations

import pytest

from koschey.cli.running import print_table
from koschey.cli.why import _lines
from koschey.domain.decisions import NONE
from koschey.domain.explaining import file_words, policy_words, version_words
from koschey.domain.explanation import sentence
from koschey.domain.policy import DAY, Policy
from koschey.domain.quarantine import decide
from koschey.domain.why import Explanation
from koschey.services.cases import FileRow

CHECKS = "archive=fail dependencies=error name=error record=fail"
ANSWERS = {
    "archive": ("fail", "its archive ends early", 1),
    "dependencies": ("error", "not done: cut off", 1),
    "name": ("error", "not done: cut off", 1),
    "record": ("fail", "no RECORD", 1),
}


def explained(**facts: object) -> Explanation:
    """Of a release whose one file failed two checks; two more could not be done."""
    policy = Policy(hold=7 * DAY, required=frozenset(ANSWERS))
    values = dict.fromkeys(FileRow._fields) | {"id": 1, "filename": "acme-1.0.tar.gz", "first_seen": DAY}
    file = FileRow(**values | {"version": "1.0", "checks": CHECKS})
    verdict = decide(file, policy, file.checks, decisions=NONE, now=DAY)
    words = sentence(verdict, policy, DAY)
    version = version_words(
        "1.0", [verdict], words, [file_words(file, verdict, policy, DAY, ANSWERS)]
    )  # fmt: skip
    said = dict.fromkeys(Explanation.__struct_fields__) | {
        "project": "acme", "index": "main", "source": "upstream", "version": "1.0", "sentence": words,
        "versions": (version,), "decisions": (), "policy": policy_words(policy, hosted=False),
        "status": "active", "contact": "",
    }  # fmt: skip
    return Explanation(**said | facts)


def test_what_several_checks_say_in_the_same_words_is_said_once() -> None:
    lines = [line.strip() for line in _lines(explained()) if line.strip().startswith("check")]

    assert lines == [
        "check archive: fail: its archive ends early",
        "check record: fail: no RECORD",
        "checks dependencies, name: error: not done: cut off",
    ]


def test_the_reason_is_what_failed() -> None:
    assert next(_lines(explained())).endswith("held for review: failed checks archive, record")


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"status": "quarantined", "status_reason": "malware"}, "status at upstream: quarantined: malware"),
        ({"status": "archived"}, "status at upstream: archived"),
    ],
)
def test_what_the_upstream_says_of_a_project_is_printed(facts: dict[str, str], line: str) -> None:
    assert f"  {line}" in list(_lines(explained(**facts)))


def test_a_table_shows_no_empty_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"checks": ()}, {"checks": ("archive", "record")}], as_json=False, empty="")

    assert capsys.readouterr().out.split("\n") == ["checks", "-", "archive, record", ""]

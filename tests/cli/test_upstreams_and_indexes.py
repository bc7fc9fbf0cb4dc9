"""``koschey upstream``, ``koschey hosted`` and ``koschey index``: what they change, and how they refuse."""

from __future__ import annotations

import pytest

from tests.cli.conftest import CommandLine

URL = "http://packages.upstream.example/simple/"


def test_an_upstream_is_added_listed_changed_and_removed(koschey: CommandLine) -> None:
    assert koschey.does("upstream", "add", "inner", URL.rstrip("/"), "--username", "reader") == (
        "added upstream inner\n"
    )
    koschey.does("upstream", "edit", "inner", "--internal", "--refresh-seconds", "30")
    assert koschey.listed("upstream", "list") == [
        {
            "name": "inner",
            "url": URL,
            "indexes": ["main"],
            "username": "reader",
            "password": False,
            "token": False,
            "ca_file": None,
            "proxy": None,
            "internal": True,
            "refresh_seconds": 30.0,
            "paused": None,
            "mode": "known",
            "filters": {},
            "names": {},
            "sync_seconds": 3600.0,
            "requests_per_second": None,
            "connections": 16,
        }
    ]
    assert koschey.does("upstream", "remove", "inner") == "removed upstream inner\n"
    assert koschey.does("upstream", "list") == (
        "no upstreams; add one with `koschey upstream add NAME URL`\n"
    )


def test_an_index_is_added_listed_reordered_and_removed(koschey: CommandLine) -> None:
    for name in ("first", "second"):
        koschey.does("upstream", "add", name, f"http://{name}.upstream.example/simple/")
    koschey.does("index", "add", "team", "--source", "first", "--source", "second", "--hold-days", "3")
    koschey.does("index", "edit", "team", "--source", "second", "--source", "first")
    main, team = koschey.listed("index", "list")
    assert (main["name"], main["path"], main["sources"]) == (
        "main",
        "/simple/",
        ["hosted", "first", "second"],
    )
    assert team == {
        "name": "team",
        "path": "/team/simple/",
        "sources": ["second", "first"],
        "hold_days": 3.0,
    }
    assert koschey.does("index", "remove", "team") == "removed index team\n"
    assert [row["name"] for row in koschey.listed("index", "list")] == ["main"]


def test_a_hosted_source_is_added_listed_and_removed(koschey: CommandLine) -> None:
    koschey.does("hosted", "add", "team-packages")
    koschey.does("index", "add", "team", "--source", "team-packages", "--source", "hosted")
    koschey.does("hosted", "add", "more", "--index", "main")
    assert koschey.listed("index", "list")[0]["sources"] == ["hosted", "more"]
    assert koschey.listed("hosted", "list") == [
        {"name": "hosted", "indexes": ["main", "team"], "uploads": ["main"]},
        {"name": "more", "indexes": ["main"], "uploads": []},
        {"name": "team-packages", "indexes": ["team"], "uploads": ["team"]},
    ]
    koschey.does("index", "edit", "team", "--source", "hosted")
    koschey.does("hosted", "remove", "more")
    koschey.does("hosted", "remove", "team-packages")
    assert [row["name"] for row in koschey.listed("hosted", "list")] == ["hosted"]
    assert koschey.listed("index", "list")[0]["sources"] == ["hosted"]


def test_a_listing_for_people_has_columns(koschey: CommandLine) -> None:
    koschey.does("upstream", "add", "inner", URL, "--token", "t0ken")
    head, row = koschey.does("upstream", "list").splitlines()
    assert head.split()[:3] == ["name", "url", "indexes"]
    assert row[: row.index("http")].strip() == "inner"
    assert row[head.index("token") :].split()[0] == "yes"
    assert row[head.index("password") :].split()[0] == "no"


def test_each_change_is_one_event_with_its_actor(koschey: CommandLine) -> None:
    koschey.does("upstream", "add", "inner", URL)
    koschey.does("upstream", "edit", "inner", "--refresh-seconds", "5")
    koschey.does("index", "add", "team", "--source", "inner")
    koschey.does("index", "edit", "team", "--hold-days", "1")
    koschey.does("index", "remove", "team")
    koschey.does("upstream", "remove", "inner")
    events = koschey.stored("SELECT actor, action, subject FROM event ORDER BY id")[2:]
    assert [(action, subject) for _, action, subject in events] == [
        ("upstream.add", "inner"),
        ("upstream.edit", "inner"),
        ("index.add", "team"),
        ("index.edit", "team"),
        ("index.remove", "team"),
        ("upstream.remove", "inner"),
    ]
    assert all(actor.startswith("cli:") for actor, _, _ in events)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("upstream add Inner http://upstream.example/", "upstream name 'Inner': use lower-case letters"),
        ("upstream add inner ftp://upstream.example/", "begins with http:// or https:// and names a host"),
        ("upstream add inner http://upstream.example:x/", "not a URL"),
        ("upstream add inner http://upstream.example/?a=b", "has no query and no fragment"),
        ("upstream add known http://upstream.example/", "a source named 'known' exists already"),
        ("upstream add hosted http://upstream.example/", "a source named 'hosted' exists already"),
        ("upstream add inner http://upstream.example/ --index team", "no index 'team' here"),
        ("upstream add inner http://upstream.example/ --ca-file /nowhere.pem", "is not there or is no file"),
        ("upstream add inner http://upstream.example/ --proxy socks5://proxy.example", "a proxy is an http"),
        ("upstream add inner http://u:p@upstream.example/ --token t", "or a token, not both"),
        ("upstream edit nobody --internal", "no source 'nobody' here"),
        ("upstream edit hosted --internal", "no upstream 'hosted' here"),
        ("upstream remove nobody", "no source 'nobody' here"),
        ("hosted add Inner", "source name 'Inner': use lower-case letters"),
        ("hosted add known", "a source named 'known' exists already"),
        ("hosted add inner --index team", "no index 'team' here"),
        ("hosted remove nobody", "no source 'nobody' here"),
        ("hosted remove known", "no hosted source 'known' here"),
        ("upstream test nobody", "no upstream 'nobody' here"),
        ("index add simple --source known", "an index cannot be named 'simple'"),
        ("index add Team --source known", "index name 'Team': use lower-case letters"),
        ("index add main --source known", "an index named 'main' exists already"),
        ("index add team --source nobody", "no source 'nobody' here"),
        ("index add team --source known --source known", "stands twice"),
        ("index edit nobody --hold-days 1", "no index 'nobody' here"),
        ("index remove main", "the index main cannot be removed"),
        ("index remove nobody", "no index 'nobody' here"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    known: CommandLine, arguments: str, sentence: str
) -> None:
    before = known.stored("SELECT count(*) FROM event")
    assert sentence in known.refuses(*arguments.split())
    assert known.stored("SELECT count(*) FROM event") == before


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A command line whose Koschey knows one upstream."""
    command_line = CommandLine(tmp_path_factory.mktemp("known") / "data", KOSCHEY_LOG_LEVEL="warning")
    command_line.does("upstream", "add", "known", URL)
    return command_line


@pytest.mark.parametrize(
    "arguments",
    [
        "upstream add inner",
        "upstream add inner http://upstream.example/ --refresh-seconds=-1",
        "upstream add inner http://upstream.example/ --token-stdin --password-stdin",
        "index add team",
        "index edit main",
        "index edit main --hold-days soon",
        "nonsense",
    ],
)
def test_wrong_usage_is_told_with_the_status_of_usage(known: CommandLine, arguments: str) -> None:
    said = known(*arguments.split())
    assert (said.status, said.output) == (2, "")
    assert "Error: " in said.problem


def test_an_index_outlives_its_only_upstream(koschey: CommandLine) -> None:
    koschey.does("upstream", "add", "inner", URL)
    koschey.does("index", "add", "team", "--source", "inner")
    koschey.does("upstream", "remove", "inner")
    assert koschey.listed("index", "list")[1]["sources"] == []


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "KOSCHEY_UPSTREAM_URL",
            "ftp://upstream.example/simple/",
            "an upstream's URL begins with http:// or",
        ),
        ("KOSCHEY_QUARANTINE_DAYS", "1000000", "days of hold"),
    ],
)
def test_what_is_wrong_with_the_first_upstream_is_said_of_its_setting(
    koschey: CommandLine, name: str, value: str, problem: str
) -> None:
    koschey.environment[name] = value
    said = koschey.refuses("upstream", "list")
    assert said.startswith(f"setting {name}: ") and problem in said


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--include", "[", "letters, digits, - _ . * ? [...]"),
        ("--include", "a[b", "is no glob"),
        ("--exclude", "a/b", "such as django-*"),
        ("--platform", "li nux", "linux, macos, windows"),
        ("--platform", "win_[", "or a glob of tags"),
        ("--python", "3", "such as 3.12"),
        ("--kinds", "cake", "wheel, sdist, other"),
        ("--kinds", "wheel,cake", "wheel, sdist, other"),
        ("--max-size", "20X", "such as 20M"),
        ("--mode", "all", "'known', 'index', 'full'"),
        ("--sync-seconds", "nan", "x>=0"),
        ("--requests-per-second", "inf", "x>=0"),
        ("--refresh-seconds", "-1", "x>=0"),
        ("--newest", "-1", "x>=0"),
        ("--connections", "65", "1<=x<=64"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_named_with_what_it_can(
    koschey: CommandLine, option: str, value: str, allowed: str
) -> None:
    koschey.does("upstream", "add", "inner", URL)
    said = koschey("upstream", "edit", "inner", option, value)
    assert (said.status, said.output) == (2, "")
    error = " ".join(said.problem.partition("Error: ")[2].split())
    assert value.rpartition(",")[2] in error and option in error and allowed in error
    [listed] = koschey.listed("upstream", "list")
    assert listed["filters"] == {}


def test_an_empty_value_takes_a_filter_away(koschey: CommandLine) -> None:
    koschey.does("upstream", "add", "inner", URL)
    koschey.does("upstream", "edit", "inner", "--platform", "linux", "--include", "a[bc]", "--kinds", "wheel")
    koschey.does("upstream", "edit", "inner", "--platform", "", "--include", "", "--kinds", "")
    [listed] = koschey.listed("upstream", "list")
    assert listed["filters"] == {}

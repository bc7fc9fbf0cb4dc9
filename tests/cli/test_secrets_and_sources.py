"""Secrets stay secret, what an upstream asks for reaches it, the first source that owns a name wins."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests
import trustme

from koschey.settings import described
from tests import running
from tests.cli.conftest import CommandLine
from tests.fake_upstream import FakeUpstream
from tests.upstream.scripted import ScriptedServer, answer

CANARY = "c4nary-in-the-coal-mine"
PAGE = b'{"meta": {"api-version": "1.0"}, "name": "pip", "files": []}'
PAGE_TYPE = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
NewUpstream = Callable[[], FakeUpstream]


def assert_no_canary(koschey: CommandLine, log: str = "") -> None:
    """Nothing that was printed, logged or recorded has a secret in it; the row that keeps it does."""
    assert CANARY not in koschey.written
    assert CANARY not in log
    assert CANARY not in repr(koschey.stored("SELECT * FROM event"))
    assert CANARY in repr(koschey.stored("SELECT * FROM source"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--username", "reader", "--password", CANARY],
        ["--username", "reader", "--password-stdin"],
        ["--token", CANARY],
        ["--token-stdin"],
        ["--proxy", f"http://someone:{CANARY}@127.0.0.1:{{closed}}"],
    ],
    ids=["password", "password on stdin", "token", "token on stdin", "password of a proxy"],
)
def test_a_secret_is_never_shown_logged_or_recorded(
    koschey: CommandLine, new_upstream: NewUpstream, tmp_path: Path, arguments: list[str]
) -> None:
    upstream = new_upstream()
    upstream.fail("pip", status=403)
    options = [argument.format(closed=running.free_port()) for argument in arguments]
    koschey.does("upstream", "add", "inner", upstream.simple_url, *options, stdin=f"{CANARY}\n")
    koschey.does("upstream", "edit", "inner", "--refresh-seconds", "1")
    koschey.does("upstream", "list")
    koschey.does("upstream", "list", "--json")
    assert koschey("upstream", "test", "inner").status == 1
    settings = {"KOSCHEY_DATA_DIR": str(koschey.folder), "KOSCHEY_LOG_LEVEL": "debug"}
    with running.koschey(tmp_path, "", settings, workers=1) as process:
        assert CANARY not in requests.get(f"{process.simple}pip/", timeout=30).text
        log = process.log
    koschey.does("index", "edit", "main", "--source", "hosted")
    assert_no_canary(koschey, log)
    koschey.does("upstream", "remove", "inner")
    assert CANARY not in koschey.written + repr(koschey.stored("SELECT * FROM event"))


def test_a_password_in_an_upstreams_url_is_taken_out_of_it(koschey: CommandLine) -> None:
    koschey.does("upstream", "add", "inner", f"http://reader:{CANARY}@packages.upstream.example/simple/")
    (row,) = koschey.listed("upstream", "list")
    assert (row["url"], row["username"], row["password"]) == (
        "http://packages.upstream.example/simple/",
        "reader",
        True,
    )
    assert_no_canary(koschey)


def test_credentials_do_not_follow_an_upstream_to_another_host(koschey: CommandLine) -> None:
    koschey.does("upstream", "add", "inner", "http://one.upstream.example/simple/", "--token", CANARY)
    koschey.does("upstream", "edit", "inner", "--url", "http://two.upstream.example/simple/")
    (row,) = koschey.listed("upstream", "list")
    assert row["token"] is False
    assert CANARY not in repr(koschey.stored("SELECT * FROM source"))


def test_the_settings_are_shown_with_their_secrets_masked(tmp_path: Path) -> None:
    secrets = {f"KOSCHEY_{name.upper()}": CANARY for name, *_, secret in described() if secret}
    secrets["KOSCHEY_DATABASE_URL"] = f"postgresql://{CANARY}@127.0.0.1/koschey"  # others are refused
    koschey = CommandLine(tmp_path / "data", **secrets, KOSCHEY_QUARANTINE_DAYS="3")
    shown = {row["variable"]: row["value"] for row in koschey.listed("config", "show")}
    assert len(shown) == len(described())
    assert shown["KOSCHEY_QUARANTINE_DAYS"] == 3
    assert {shown[name] for name in secrets} == {"***"}
    koschey.does("config", "show")
    assert CANARY not in koschey.written


@pytest.mark.parametrize(
    "command", [("db", "upgrade"), ("upstream", "list"), ("serve", "--bind", "127.0.0.1:0")], ids=" ".join
)
def test_an_unreachable_database_is_one_sentence_without_its_password(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    url = f"postgresql://koschey:{CANARY}@127.0.0.1:{running.free_port()}/koschey"
    koschey = CommandLine(tmp_path / "data", KOSCHEY_DATABASE_URL=url)
    sentence = koschey.refuses(*command)
    assert sentence.startswith("database: ")
    assert "refused" in sentence
    assert CANARY not in koschey.written


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (
            ["--username", "reader", "--password-stdin"],
            "Basic " + b64encode(f"reader:{CANARY}".encode()).decode(),
        ),
        (["--token-stdin"], f"Bearer {CANARY}"),
        ([], None),
    ],
    ids=["password", "token", "nothing"],
)
def test_credentials_reach_the_upstream(
    koschey: CommandLine, new_upstream: NewUpstream, options: list[str], sent: str | None
) -> None:
    upstream = new_upstream()
    upstream.project("pip").release("1.0")
    koschey.does("upstream", "add", "inner", upstream.simple_url, *options, stdin=f"{CANARY}\n")
    assert "1 files, 0 entries refused" in koschey.does("upstream", "test", "inner")
    assert [seen.headers.get("authorization") for seen in upstream.seen("pip")] == [sent]


def test_an_upstreams_own_certificate_authority_is_accepted(koschey: CommandLine, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with closing(
        ScriptedServer(lambda _: answer(PAGE, **PAGE_TYPE), host="127.0.0.1", tls=context)
    ) as server:
        koschey.does("upstream", "add", "inner", server.url + "simple/")
        stranger = koschey("upstream", "test", "inner")
        assert stranger.status == 1
        assert "certificate" in stranger.output
        koschey.does("upstream", "edit", "inner", "--ca-file", str(tmp_path / "ca.pem"))
        assert "ok: True" in koschey.does("upstream", "test", "inner")


def test_the_first_source_that_owns_a_name_wins(
    koschey: CommandLine, new_upstream: NewUpstream, tmp_path: Path
) -> None:
    first, second = new_upstream(), new_upstream()
    first.project("shared").release("1.0")
    second.project("shared").release("9.9")
    second.project("lonely").release("2.0")
    koschey.does("upstream", "add", "first", first.simple_url)
    koschey.does("upstream", "add", "second", second.simple_url)
    koschey.does("index", "add", "reversed", "--source", "second", "--source", "first")
    settings = {"KOSCHEY_DATA_DIR": str(koschey.folder)}
    with running.koschey(tmp_path, "", settings, workers=1) as process:

        def versions(path: str) -> list[str]:
            accept = {"Accept": PAGE_TYPE["Content-Type"]}
            answered = requests.get(f"{process.url}{path}", headers=accept, timeout=30)
            found: list[str] = answered.json()["versions"]
            return found

        assert versions("/simple/shared/") == ["1.0"]
        assert versions("/reversed/simple/shared/") == ["9.9"]
        assert versions("/simple/lonely/") == ["2.0"]
        # A change from the command line is seen by the running server.
        koschey.does("index", "edit", "main", "--source", "second", "--source", "first")
        running.eventually(lambda: versions("/simple/shared/") == ["9.9"])

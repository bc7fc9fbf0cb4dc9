"""Who somebody is: tokens, passwords, sessions, the first admin; what is wrong is refused alike."""

from __future__ import annotations

import io
import logging
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from koschey.cli.serve import _known_link
from koschey.domain.credentials import is_token, make_token, without_secrets
from koschey.domain.permissions import Role, Scope
from koschey.errors import Busy, Conflict, NotFound, RequestInvalid, TooManyAttempts
from koschey.services.accounts import add_user
from koschey.services.attempts import (
    _LOST,
    FAMILIAR,
    MOST_FOR_NAME,
    MOST_FOR_NAME_ANYWHERE,
    MOST_FROM_ADDRESS,
    WINDOW,
)
from koschey.services.passwords import Passwords
from koschey.web.protection import SESSION_COOKIE
from koschey.web.sign_in import own_path
from tests.access.conftest import PASSWORD, Build, House, basic, bearer, by_token, on_both

WRONG_TOKEN = make_token(b"x" * 32)


@pytest.fixture
def private(house: House) -> House:
    """Only whoever is signed in may read."""
    house.make_private()
    house.grant(Role.READER, "signed-in")
    house.host("acme-core")
    return house


# Tokens


@on_both
def test_a_token_signs_in_as_basic_password_and_as_bearer(private: House) -> None:
    secret = private.token(private.user("anna"))
    assert is_token(secret)
    assert private.status("/simple/acme-core/") == 401
    for headers in (by_token(secret), bearer(secret), basic("anna", secret)):
        assert private.status("/simple/acme-core/", headers) == 200
        assert private.status("/simple/acme-core/", headers) == 200


@on_both
def test_a_revoked_token_is_worthless_at_the_next_request_in_every_process(
    private: House, build: Build
) -> None:
    other = build()
    secret = private.token(private.user("anna"))
    for house in (private, other, private, other):
        assert house.status("/simple/acme-core/", by_token(secret)) == 200
    assert private.koschey.tokens.revoke_all("anna", actor="test") == 1
    for house in (other, private):
        assert house.status("/simple/acme-core/", by_token(secret)) == 401
    assert private.koschey.tokens.revoke_all("anna", actor="test") == 0


def test_an_expired_token_is_worthless_from_that_moment(
    private: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = private.token(private.user("anna"), days=1.0)
    assert private.status("/simple/acme-core/", by_token(secret)) == 200
    later = time.time_ns() + 86_400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert private.status("/simple/acme-core/", by_token(secret)) == 401
    [row] = private.koschey.tokens.list("anna")
    assert row.state == "expired"


@on_both
@pytest.mark.parametrize("what", ["disabled", "removed", "demoted"])
def test_who_is_disabled_removed_or_demoted_is_out_at_the_next_request(
    house: House, build: Build, what: str
) -> None:
    house.make_private()
    house.host("acme-core")
    house.user("anna", Role.READER, PASSWORD)
    headers = [by_token(house.token("anna")), basic("anna", PASSWORD)]
    other = build()
    browser = other.client()
    other.log_in(browser, "anna")
    assert [other.status("/simple/acme-core/", h) for h in headers] == [200, 200]
    assert browser.get("/simple/acme-core/").status_code == 200
    if what == "disabled":
        house.koschey.accounts.set_disabled("anna", True, actor="test")
    elif what == "removed":
        house.koschey.accounts.remove("anna", actor="test")
    else:
        house.take(Role.READER, "anna")
    expected = 404 if what == "demoted" else 401
    assert [other.status("/simple/acme-core/", h) for h in headers] == [expected, expected]
    assert browser.get("/simple/acme-core/").status_code == expected


def test_whoever_gets_a_name_later_begins_with_nothing(house: House) -> None:
    house.make_private()
    house.host("acme-core")
    house.user("anna", Role.ADMIN)
    secret = house.token("anna")
    house.koschey.accounts.remove("anna", actor="test")
    house.user("anna")
    assert house.status("/simple/acme-core/", by_token(secret)) == 401
    assert house.status("/simple/acme-core/", by_token(house.token("anna"))) == 404
    assert house.koschey.grants.list() == []


def test_when_a_token_was_used_is_written_down_behind_the_answers(private: House) -> None:
    secret = private.token(private.user("anna"))
    assert private.koschey.tokens.list("anna")[0].used_at is None
    before = time.time_ns() // 1000
    for _ in range(3):
        private.status("/simple/acme-core/", by_token(secret))
    private.koschey.token_uses.flush()
    used = private.koschey.tokens.list("anna")[0].used_at
    assert used is not None and used >= before


@pytest.mark.parametrize(
    "more", [{"days": 0.0}, {"days": float("inf")}, {"projects": ["[a]"]}, {"description": "a\nb"}]
)
def test_a_token_that_cannot_be_is_not_made(house: House, more: dict[str, Any]) -> None:
    house.user("anna")
    with pytest.raises(RequestInvalid):
        house.token("anna", **more)
    with pytest.raises(RequestInvalid, match="has a scope"):
        house.koschey.tokens.create("anna", scopes=[], actor="test")
    assert house.koschey.tokens.list() == []


def test_one_user_cannot_revoke_anothers_token(house: House) -> None:
    house.token(house.user("anna"))
    house.user("otto")
    with pytest.raises(NotFound):
        house.koschey.tokens.revoke(1, user="otto", actor="user:otto")
    assert house.koschey.tokens.revoke(1, user="anna", actor="user:anna") is True
    assert house.koschey.tokens.revoke(1, actor="test") is False


@on_both
@pytest.mark.parametrize("number", [2, 2**31, 2**63, 10**30])
def test_a_number_that_no_token_has_is_none_of_ours(house: House, number: int) -> None:
    house.user("anna", Role.ADMIN, PASSWORD)
    with pytest.raises((NotFound, RequestInvalid)):
        house.koschey.tokens.revoke(number, actor="test")


# What is wrong


@pytest.mark.parametrize("everybody_reads", [True, False])
def test_wrong_credentials_are_refused_alike_whatever_is_wrong(house: House, everybody_reads: bool) -> None:
    """Also where nobody needs any: an installer with an old token shall learn of it."""
    house.host("acme-core")
    if not everybody_reads:
        house.make_private()
    house.user("anna", Role.ADMIN, PASSWORD)
    house.user("off", Role.ADMIN, PASSWORD)
    revoked, foreign = house.token("anna"), house.token("off")
    house.koschey.tokens.revoke_all("anna", actor="test")
    house.koschey.accounts.set_disabled("off", True, actor="test")
    wrong = [
        by_token(revoked),
        by_token(foreign),
        by_token(WRONG_TOKEN),
        by_token("koschey_"),
        by_token(""),
        bearer(revoked),
        bearer("eyJhbGciOiJub25lIn0.e30."),
        basic("anna", "wrong"),
        basic("off", PASSWORD),
        basic("unheard-of", PASSWORD),
        basic("__proto__", "x"),
        basic("anna", ""),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YW5uYQ=="},
        {"Authorization": "Negotiate abc"},
        {"Authorization": "x" * 10_000},
    ]
    answers = [house.get("/simple/acme-core/", headers) for headers in wrong]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Basic realm="Koschey"'}
    assert {answer.json["detail"] for answer in answers} == {
        "the user name, password or token is not valid here"
    }
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_an_unknown_user_takes_as_long_as_a_wrong_password(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koschey.services.attempts.MOST_FOR_NAME", 1000)
    house.user("anna", None, PASSWORD)
    house.user("tokens-only")
    house.user("off", None, PASSWORD)
    house.koschey.accounts.set_disabled("off", True, actor="test")
    times: dict[str, list[float]] = {"anna": [], "unheard-of": [], "tokens-only": [], "off": []}
    for number in range(8):
        for name, taken in times.items():
            before = time.thread_time() + time.process_time()
            assert house.status("/simple/", basic(name, f"wrong {number}")) == 401
            taken.append(time.thread_time() + time.process_time() - before)
    medians = [statistics.median(taken[1:]) for taken in times.values()]
    assert max(medians) < 2 * min(medians), times


def test_a_token_in_a_url_is_refused_and_in_no_log(
    house: House, capfd: pytest.CaptureFixture[str], build: Build
) -> None:
    house = build(log_level="debug", log_format="json")
    secret = house.token(house.user("anna"))
    for query in (f"?token={secret}", f"?access_token={secret}&a=b", f"?{secret}"):
        answer = house.get(f"/simple/{query}", by_token(secret))
        assert answer.status_code == 400
        assert secret not in answer.text
    house.get(f"/simple/{secret}/")
    house.get(f"/packages/{secret}")
    logging.getLogger("somewhere").error("failed with %s", secret)
    written = capfd.readouterr().err
    assert "koschey_***" in written
    assert secret[:20] not in written


def test_no_secret_is_in_logs_events_errors_or_listings(
    build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    house = build(log_level="debug", log_format="json", secret_key="canary-key")
    house.make_private()
    house.user("anna", Role.ADMIN, "canary password")
    secret = house.token("anna", description="for CI")
    wrong = "canary wrong password"
    said = [
        house.get(path, headers).text
        for path in ("/simple/", "/simple/x/", "/why/x", "/nowhere", "/metrics")
        for headers in (
            by_token(secret),
            basic("anna", wrong),
            basic("anna", "canary password"),
            bearer(secret[:30]),
        )
    ]
    browser = house.client()
    house.log_in(browser, "anna", wrong)
    said.append(house.log_in(browser, "anna", "canary password").text)
    made = house.koschey.tokens.create("anna", scopes=[Scope.READ], actor="test")
    said += [repr(made), repr(house.koschey), repr(house.koschey.tokens.list()), capfd.readouterr().err]
    said += [repr(house.koschey.accounts.list()), repr(house.koschey.audit.events(limit=1000))]
    link = house.koschey.setup.link() or ""
    assert "canary" not in "\n".join(said)
    assert secret[:24] not in "\n".join(said) and made.secret[:24] not in "\n".join(said)
    for path in ("/setup/", "/account/password/"):
        assert without_secrets(f"GET {path}{'9' * 10}-{'a' * 64}") == f"GET {path}***"
    assert link == ""  # there is an admin


def test_only_digests_of_tokens_and_passwords_are_kept(house: House) -> None:
    house.user("anna", None, PASSWORD)
    secret = house.token("anna")
    with house.koschey.database.reading() as session:
        kept = []
        for table in ("user", "token", "event"):
            kept += map(str, session.connection().exec_driver_sql(f'SELECT * FROM "{table}"'))
    assert not any(PASSWORD in row or secret in row or secret[8:30] in row for row in kept)
    assert any("$argon2id$" in row for row in kept)


# Passwords


def test_a_right_password_is_hashed_once_in_a_while(private: House, monkeypatch: pytest.MonkeyPatch) -> None:
    private.user("anna", None, PASSWORD)
    hashed = []
    verified = type(private.koschey.passwords)._verified
    monkeypatch.setattr(
        type(private.koschey.passwords),
        "_verified",
        lambda self, kept, password: hashed.append(password) or verified(self, kept, password),
    )
    for _ in range(5):
        assert private.status("/simple/", basic("Anna", PASSWORD)) == 200
    private.grant(Role.READER, "anna")  # the configuration's number moves, and what is recalled goes
    assert private.status("/simple/", basic("anna", PASSWORD)) == 200
    assert hashed == [PASSWORD]
    private.koschey.accounts.set_password("anna", "another long one", actor="test")
    assert private.status("/simple/", basic("anna", PASSWORD)) == 401
    assert private.status("/simple/", basic("anna", "another long one")) == 200


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_that_is_none_is_refused(house: House, password: str) -> None:
    with pytest.raises(RequestInvalid, match="12 to 1024"):
        house.user("anna", None, password)
    assert house.koschey.accounts.list() == []


@on_both
def test_eleven_wrong_passwords_are_too_many_in_every_process(private: House, build: Build) -> None:
    other = build()
    private.user("anna", None, PASSWORD)
    private.user("otto", None, PASSWORD)
    for number in range(MOST_FOR_NAME):
        house = (private, other)[number % 2]
        assert house.status("/simple/", basic("anna", f"wrong {number}")) == 401
    for house in (private, other):
        answer = house.get("/simple/", basic("anna", "wrong again"))
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= WINDOW / 1e6
        assert house.status("/simple/", basic("ANNA", PASSWORD)) == 429
    form = private.log_in(private.client(), "anna")
    assert form.status_code == 429 and "Retry-After" in form.headers
    # Another name, another address, and tokens are not concerned.
    assert private.status("/simple/", basic("otto", PASSWORD)) == 200
    elsewhere = private.get("/simple/", basic("anna", PASSWORD), environ_base={"REMOTE_ADDR": "192.0.2.9"})
    assert elsewhere.status_code == 200
    assert private.status("/simple/", by_token(private.token("anna"))) == 200


def test_many_names_from_one_address_are_too_many_as_well_and_time_heals(
    private: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = private.koschey.authentication._attempts
    for number in range(MOST_FROM_ADDRESS):
        fail(private, f"name-{number}", "192.0.2.1")
    private.user("anna", None, PASSWORD)
    ask = {"environ_base": {"REMOTE_ADDR": "192.0.2.1"}}
    assert private.get("/simple/", basic("anna", PASSWORD), **ask).status_code == 429
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + WINDOW * 1000 + 10**9)
    assert private.get("/simple/", basic("anna", PASSWORD), **ask).status_code == 200
    attempts.sweep()
    assert kept_attempts(private) == [0], "that anna was right from there"
    monkeypatch.setattr(time, "time_ns", lambda: real() + FAMILIAR * 1000 + WINDOW * 2000)
    attempts.sweep()
    assert kept_attempts(private) == []


def kept_attempts(house: House) -> list[int]:
    with house.koschey.database.reading() as session:
        return list(session.connection().exec_driver_sql("SELECT count FROM sign_in_failure").scalars())


@on_both
def test_one_name_is_not_guessed_from_many_addresses_and_not_locked_where_it_is_at_home(
    private: House,
) -> None:
    private.user("anna", None, PASSWORD)
    private.user("otto", None, PASSWORD)
    home, elsewhere = ({"environ_base": {"REMOTE_ADDR": a}} for a in ("192.0.2.1", "192.0.2.2"))
    assert private.get("/simple/", basic("anna", PASSWORD), **home).status_code == 200
    private.grant(Role.READER, "anna")  # the configuration's number moves, and what is recalled goes
    for number in range(MOST_FOR_NAME_ANYWHERE):
        fail(private, "anna", f"198.51.100.{number % 250}")
    assert private.get("/simple/", basic("anna", "wrong"), **elsewhere).status_code == 429
    assert private.get("/simple/", basic("anna", "wrong"), **home).status_code == 401
    assert private.get("/simple/", basic("otto", PASSWORD), **elsewhere).status_code == 200


@pytest.mark.parametrize("spelling", ["ANNA", " anna ", "an\u00adna", "\uff41nna", "\u00e1nna", "an na"])
def test_a_name_is_one_however_a_directory_lets_it_be_spelled(house: House, spelling: str) -> None:
    for _ in range(MOST_FOR_NAME):
        fail(house, "anna", "192.0.2.1")
    with pytest.raises(TooManyAttempts):
        fail(house, spelling, "192.0.2.1")
    fail(house, "annabel", "192.0.2.1")


@on_both
def test_attempts_at_once_are_together_no_more_than_may_fail(
    private: House, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    private.user("anna", None, PASSWORD)
    houses, tried, most = (private, build()), 3 * MOST_FOR_NAME, MOST_FOR_NAME
    together, looked = threading.Barrier(most), []

    def looks(self: Passwords, kept: str | None, password: str) -> bool:
        looked.append(password)
        together.wait(timeout=60)  # as many are under way at once as may be
        return False

    monkeypatch.setattr(Passwords, "matches", looks)
    with ThreadPoolExecutor(tried) as threads:
        statuses = list(
            threads.map(lambda n: houses[n % 2].status("/simple/", basic("anna", f"wrong {n}")), range(tried))
        )
    assert Counter(statuses) == {401: most, 429: tried - most}
    assert len(looked) == most


@on_both
def test_right_ones_at_once_are_all_let_in_and_wait_for_each_other(
    private: House, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    private.user("anna", None, PASSWORD)
    for number in range(MOST_FOR_NAME - 1):
        assert private.status("/simple/", basic("anna", f"wrong {number}")) == 401
    houses = (private, build())
    monkeypatch.setattr(Passwords, "remembers", lambda self, kept, password: False)
    with ThreadPoolExecutor(12) as threads:
        statuses = list(
            threads.map(lambda n: houses[n % 2].status("/simple/", basic("anna", PASSWORD)), range(24))
        )
    assert Counter(statuses) == {200: 24}
    assert kept_attempts(private).count(0) == 1, "that anna was right from there"


def test_an_attempt_whose_process_died_is_forgotten_and_a_check_that_broke_off_counts_for_nothing(
    private: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    private.user("anna", None, PASSWORD)
    attempts = private.koschey.authentication._attempts
    for _ in range(MOST_FOR_NAME + 1):
        with pytest.raises(ZeroDivisionError), attempts.attempt("anna", "127.0.0.1"):
            raise ZeroDivisionError
    assert kept_attempts(private) == []
    monkeypatch.setattr("koschey.services.attempts._PATIENCE", 0.2)
    for _ in range(MOST_FOR_NAME):
        attempts._begin(attempts._keys("anna", "127.0.0.1"))
    with pytest.raises(Busy):
        fail(private, "anna", "127.0.0.1")
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + _LOST * 1000 + 10**9)
    fail(private, "anna", "127.0.0.1")
    assert private.status("/simple/", basic("anna", PASSWORD)) == 200


def fail(house: House, name: str, address: str) -> None:
    """A wrong password for a name from an address."""
    with house.koschey.authentication._attempts.attempt(name, address):
        pass


def test_the_addresses_of_one_ipv6_site_are_one(private: House) -> None:
    private.user("anna", None, PASSWORD)

    def status(address: str) -> int:
        ask = {"environ_base": {"REMOTE_ADDR": address}}
        return private.get("/simple/", basic("anna", "wrong"), **ask).status_code

    assert {status(f"2001:db8::{number:x}") for number in range(MOST_FOR_NAME)} == {401}
    assert [status(address) for address in ("2001:db8::ffff", "2001:db8:0:1::1")] == [429, 401]
    assert {status("::ffff:192.0.2.1") for _ in range(MOST_FOR_NAME)} == {401}
    assert [status("192.0.2.1"), status("::ffff:192.0.2.2")] == [429, 401]


def test_only_the_password_itself_changes_the_password(private: House) -> None:
    """A token proves no more than the session does, and somebody may have found either."""
    private.user("anna", Role.READER, PASSWORD)
    private.user("otto", Role.READER, "another long one")
    browser = private.client()
    private.log_in(browser, "anna")
    new = {"new": "a new password", "again": "a new password"}
    own, foreign = private.token("anna", Scope.ADMIN), private.token("otto", Scope.ADMIN)
    for current in ("", "wrong", own, foreign, "another long one"):
        assert (
            private.form(browser, "/account", to="/account/password", current=current, **new).status_code
            == 422
        )
    assert private.status("/simple/", basic("anna", PASSWORD)) == 200
    assert (
        private.form(browser, "/account", to="/account/password", current=PASSWORD, **new).status_code == 303
    )
    assert browser.get("/simple/").status_code == 401
    assert private.status("/simple/", basic("anna", "a new password")) == 200


# Sessions


def test_a_session_begins_anew_and_ends_on_the_server(private: House) -> None:
    private.user("anna", Role.READER, PASSWORD)
    browser = private.client()
    browser.get("/login")
    before = browser.get_cookie(SESSION_COOKIE)
    assert before is not None and before.http_only and before.same_site == "Lax" and not before.secure
    answer = private.log_in(browser, "Anna", next="/why/acme-core?a=b")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/why/acme-core?a=b")
    stolen = browser.get_cookie(SESSION_COOKIE)
    assert stolen is not None and stolen.value != before.value
    assert browser.get("/simple/acme-core/").status_code == 200
    assert "anna" in browser.get("/login").text
    assert private.form(browser, "/login").status_code == 401  # an empty form logs nobody in
    token = browser.get("/login").text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert browser.post("/logout").status_code == 403
    assert browser.post("/logout", data={"csrf_token": token}).status_code == 303
    assert browser.get("/simple/acme-core/").status_code == 401
    thief = private.client()
    thief.set_cookie(SESSION_COOKIE, stolen.value)
    assert thief.get("/simple/acme-core/").status_code == 401
    assert private.events()[-1] == ("user.sign-out", "user:anna", "anna")


def test_a_session_ends_by_itself(private: House, monkeypatch: pytest.MonkeyPatch) -> None:
    private.user("anna", Role.READER, PASSWORD)
    browser = private.client()
    private.log_in(browser, "anna")
    real = time.time
    monkeypatch.setattr("koschey.web.sessions.time.time", lambda: real() + 12 * 3600 + 1)
    assert browser.get("/simple/acme-core/").status_code == 401


def test_a_session_made_with_another_key_is_none(private: House, build: Build) -> None:
    private.user("anna", Role.READER, PASSWORD)
    browser = private.client()
    private.log_in(browser, "anna")
    cookie = browser.get_cookie(SESSION_COOKIE)
    assert cookie is not None
    same, other = build(), build(secret_key="another")
    for house, expected in ((same, 200), (other, 401)):
        client = house.client()
        client.set_cookie(SESSION_COOKIE, cookie.value)
        assert client.get("/simple/acme-core/").status_code == expected


def test_the_cookie_travels_by_https_only_where_people_come_by_https(private: House) -> None:
    browser = private.client()
    answer = browser.get("/login", base_url="https://localhost")
    assert "; Secure" in answer.headers["Set-Cookie"]


def test_an_index_for_installers_sets_no_cookie_and_looks_at_none(private: House) -> None:
    answer = private.get("/simple/acme-core/", by_token(private.token(private.user("anna"))))
    assert "Set-Cookie" not in answer.headers


def test_a_log_in_form_without_its_token_logs_nobody_in(private: House) -> None:
    private.user("anna", Role.READER, PASSWORD)
    browser = private.client()
    browser.get("/login")
    answer = browser.post("/login", data={"username": "anna", "password": PASSWORD})
    assert answer.status_code == 403
    assert browser.get("/simple/acme-core/").status_code == 401


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/why/six", True),
        ("/why/six?after=1", True),
        ("", False),
        ("why/six", False),
        ("//evil.example/", False),
        ("/\\evil.example/", False),
        ("/\t/evil.example/", False),
        ("https://evil.example/", False),
        ("javascript:alert(1)", False),
        ("/a\r\nSet-Cookie: b=c", False),
    ],
)
def test_after_the_log_in_it_goes_on_to_a_path_of_ours(target: str, kept: bool) -> None:
    assert own_path(target) == (target if kept else None)


# The first admin


@on_both
def test_the_link_of_the_first_start_makes_one_admin_once(house: House, build: Build) -> None:
    link, other = house.koschey.setup.link(), build().koschey.setup.link()
    assert link is not None and other is not None
    browser = house.client()
    short = house.form(browser, link, username="Root", password="short", again="short")
    assert short.status_code == 400 and "12 to 1024" in short.text
    twice = house.form(browser, link, username="Root", password=PASSWORD, again="another long one")
    assert twice.status_code == 400 and "not the same" in twice.text
    assert house.koschey.accounts.list() == []
    made = house.form(browser, link, username="Root", password=PASSWORD, again=PASSWORD)
    assert made.status_code == 303
    assert "Root".lower() in browser.get("/login").text
    assert [(grant.role, grant.subject) for grant in house.koschey.grants.list()][1:] == [
        ("admin", "user:root")
    ]
    for used in (link, other):
        assert browser.get(used).status_code == 404
        with pytest.raises(NotFound):
            house.koschey.setup.redeem(used.removeprefix("/setup/"), "mallory", PASSWORD)
    assert house.koschey.setup.link() is None
    # Not even when there is none again: a new link is needed then.
    house.koschey.accounts.remove("root", actor="test")
    assert browser.get(link).status_code == 404
    assert house.koschey.setup.link() is not None


def test_a_set_up_link_ends_and_cannot_be_made_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    link = house.koschey.setup.link()
    assert link is not None
    expires, _, signature = link.rpartition("/")[2].partition("-")
    longer = f"/setup/{int(expires) + 1}-{signature}"
    for wrong in (longer, "/setup/1", f"/setup/{expires}-{'0' * 64}"):
        answer = house.get(wrong)
        assert answer.status_code == 404 and "koschey user setup-link" in answer.text
    assert house.get(link, {"Accept": "text/html"}).status_code == 200
    later = time.time_ns() + 86_401 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert house.get(link).status_code == 404


def test_of_two_that_use_the_link_at_once_one_is_the_admin(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = (house.koschey.setup.link() or "").removeprefix("/setup/")
    checked = type(house.koschey.setup).check
    rivals = ["otto"]

    def check(self: Any, said: str) -> None:
        checked(self, said)
        if rivals:
            house.koschey.setup.redeem(link, rivals.pop(), PASSWORD)

    monkeypatch.setattr(type(house.koschey.setup), "check", check)
    with pytest.raises(Conflict):
        house.koschey.setup.redeem(link, "anna", PASSWORD)
    assert [account.name for account in house.koschey.accounts.list()] == ["otto"]


# Links to choose a password


def _link(house: House, name: str) -> str:
    return house.koschey.password_links.make(name, actor="test")


@on_both
def test_a_password_link_works_once_and_ends_what_was_before(house: House) -> None:
    house.user("anna", Role.READER, PASSWORD)
    before, browser = house.client(), house.client()
    house.log_in(before, "anna")
    link, other = _link(house, "anna"), _link(house, "anna")
    for wrong in ({"password": "short", "again": "short"}, {"password": PASSWORD, "again": "not that one"}):
        assert house.form(browser, link, **wrong).status_code == 422
    assert house.form(browser, link, password="another long one", again="another long one").status_code == 303
    assert "anna" in browser.get("/login").text and "anna" not in before.get("/login").text
    assert {browser.get(used).status_code for used in (link, other)} == {404}
    with pytest.raises(NotFound):
        house.koschey.password_links.redeem(link.rpartition("/")[2], PASSWORD)


def test_of_two_that_use_a_password_link_at_once_one_chooses(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.user("anna", None, PASSWORD)
    link = _link(house, "anna").rpartition("/")[2]
    links = house.koschey.password_links
    checked = type(links).check
    rivals = ["the quicker one's"]

    def check(self: Any, said: str) -> str:
        name = checked(self, said)
        if rivals:
            links.redeem(link, rivals.pop())
        return name

    monkeypatch.setattr(type(links), "check", check)
    with pytest.raises(NotFound):
        links.redeem(link, "the slower one's")
    assert house.status("/simple/", basic("anna", "the quicker one's")) == 200


def test_a_password_link_ends_and_cannot_be_made_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.user("anna", None, PASSWORD)
    house.user("otto", None, PASSWORD)
    link = _link(house, "anna")
    user, expires, signature = link.rpartition("/")[2].split("-")
    start = link.rpartition("/")[0]
    assert house.status(link, {"Accept": "text/html"}) == 200
    for wrong in (f"{int(user) + 1}-{expires}", f"{user}-{int(expires) + 1}", f"{'9' * 18}-{expires}"):
        assert house.status(f"{start}/{wrong}-{signature}") == 404
    house.koschey.accounts.end_sessions("anna", actor="test")
    assert house.status(link) == 404
    link = _link(house, "anna")
    later = time.time_ns() + 86_401 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert house.status(link) == 404


def test_who_is_locked_out_by_strangers_gets_in_by_a_password_link(house: House) -> None:
    house.user("anna", None, PASSWORD)
    for number in range(MOST_FOR_NAME_ANYWHERE):
        fail(house, "anna", f"198.51.100.{number % 250}")
    browser = house.client()
    assert house.log_in(browser, "anna").status_code == 429
    answer = house.form(browser, _link(house, "anna"), password="another long one", again="another long one")
    assert answer.status_code == 303
    assert house.log_in(house.client(), "anna", "another long one").status_code == 303


def test_who_signs_in_by_a_plug_in_or_is_disabled_gets_no_password_link(house: House) -> None:
    with house.koschey.database.transaction() as tx:
        add_user(tx, "leo", None, actor="test", origin="ldap")
    house.user("anna", None, PASSWORD)
    house.koschey.accounts.set_disabled("anna", True, actor="test")
    for name, problem in (("leo", "signs in by ldap"), ("anna", "is disabled")):
        with pytest.raises(Conflict, match=problem):
            _link(house, name)


# Forms, before anybody is known


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Transfer-Encoding": "chunked"}, b"a=b", 411),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=" + b"b" * 200_000, 413),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
    ],
    ids=["unknown length", "large", "no form"],
)
def test_a_form_that_a_thread_would_have_to_wait_for_is_not_read(
    house: House, headers: dict[str, str], body: bytes, status: int
) -> None:
    unread = _Unread(body)
    answer = house.client().post(
        "/login", headers={"Origin": "http://localhost"} | headers, input_stream=unread,
        content_length=None if status == 411 else len(body),
    )  # fmt: skip
    assert (answer.status_code, unread.reads) == (status, 0)


class _Unread(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def test_a_start_knows_the_first_admins_link_without_preparing_the_database(house: House) -> None:
    settings = house.koschey.settings
    house.koschey.setup.link()  # the first start's
    path = _known_link(settings)
    assert path is not None
    assert house.client().get(path).status_code == 200
    house.koschey.setup.redeem(path.rpartition("/")[2], "anna", PASSWORD)
    assert _known_link(settings) == ""

"""The plug-in ``koschey.contrib.oidc`` with a provider that signs real tokens: who gets in, who does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from joserfc.jwk import OctKey, RSAKey
from werkzeug.test import TestResponse

from koschey.contrib import oidc
from koschey.domain.permissions import Role
from koschey.errors import SettingsInvalid
from tests.access.conftest import PASSWORD, Build, House
from tests.access.provider import Provider


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(running: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    running.script.__init__()  # type: ignore[misc]
    running.asked.clear()
    monkeypatch.setenv("KOSCHEY_PLUGIN_OIDC_ISSUER", running.issuer)
    monkeypatch.setenv("KOSCHEY_PLUGIN_OIDC_CLIENT_ID", "koschey")
    monkeypatch.setenv("KOSCHEY_PLUGIN_OIDC_CLIENT_SECRET", "hush")
    oidc._provider.cache_clear()
    yield running
    oidc._provider.cache_clear()


@pytest.fixture
def house(build: Build, provider: Provider) -> House:
    house = build(plugins="koschey.contrib.oidc")
    house.make_private()
    house.koschey.groups.create("build", actor="test")
    house.grant(Role.READER, "group:build")
    return house


def leave(client: FlaskClient, onward: str = "") -> str:
    answer = client.get("/login/oidc/", query_string={"next": onward})
    assert answer.status_code == 303
    return answer.headers["Location"]


def log_in(client: FlaskClient, provider: Provider, onward: str = "", **query: str) -> TestResponse:
    return client.get("/login/oidc/back", query_string=provider.authorize(leave(client, onward)) | query)


def test_people_log_in_and_have_the_roles_of_their_groups(house: House, provider: Provider) -> None:
    client = house.client()
    assert "Log in with the company&#39;s account" in client.get("/login").text
    answer = log_in(client, provider, "/simple/")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/simple/")
    assert client.get("/simple/").status_code == 200
    [anna] = house.koschey.accounts.list()
    assert (anna.name, anna.origin, anna.groups) == ("anna", "koschey.contrib.oidc", ["build"])


def test_what_it_is_sent_with(house: House, provider: Provider) -> None:
    asked = {k: v[0] for k, v in parse_qs(urlsplit(leave(house.client())).query).items()}
    assert asked["client_id"] == "koschey"
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == "http://localhost/login/oidc/back"
    assert "openid" in asked["scope"].split()
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"aud": ["koschey", "another"], "azp": "another"},
        {"exp": 1},
        {"exp": None},
        {"iat": 4_000_000_000},  # in the year 2096
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this_log_in_is_refused(
    house: House, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.script.claims = claims
    client = house.client()
    assert log_in(client, provider).status_code == 401
    assert client.get("/simple/").status_code == 401
    assert house.koschey.accounts.list() == []


def test_a_token_of_another_key_or_a_symmetric_one_is_refused(house: House, provider: Provider) -> None:
    provider.script.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert log_in(house.client(), provider).status_code == 401
    provider.script.key, provider.script.algorithm = OctKey.import_key("hush" * 8), "HS256"
    assert log_in(house.client(), provider).status_code == 401


def test_a_new_key_of_the_provider_is_asked_for(
    house: House, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert log_in(house.client(), provider).status_code == 303
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    monkeypatch.setattr(oidc, "_KEYS_AGAIN", 0.0)
    assert log_in(house.client(), provider).status_code == 303


def test_an_answer_that_belongs_to_another_browser_or_log_in_is_refused(
    house: House, provider: Provider
) -> None:
    client = house.client()
    assert log_in(client, provider, state="another").status_code == 400
    stolen = provider.authorize(leave(client))
    assert house.client().get("/login/oidc/back", query_string=stolen).status_code == 400
    assert client.get("/login/oidc/back", query_string=stolen).status_code == 303
    assert client.get("/login/oidc/back", query_string=stolen).status_code == 400, "once only"


def test_the_code_of_another_log_in_fails_by_its_verifier(house: House, provider: Provider) -> None:
    """Injected into the victim's own log-in: RFC 7636."""
    attacker = provider.authorize(leave(house.client()))
    victim = house.client()
    state = provider.authorize(leave(victim))["state"]
    answer = victim.get("/login/oidc/back", query_string={"code": attacker["code"], "state": state})
    assert answer.status_code == 401


def test_a_user_who_says_no_is_told_so(house: House, provider: Provider) -> None:
    client = house.client()
    state = provider.authorize(leave(client))["state"]
    back = client.get("/login/oidc/back", query_string={"error": "access_denied", "state": state})
    assert back.status_code == 401


def test_nobody_is_sent_to_another_site(house: House, provider: Provider) -> None:
    answer = log_in(house.client(), provider, "//evil.example/")
    assert answer.headers["Location"] == "/"


def test_an_account_with_a_password_here_is_not_taken_over(house: House, provider: Provider) -> None:
    house.user("anna", Role.ADMIN, PASSWORD)
    assert log_in(house.client(), provider).status_code == 401


def test_groups_may_be_nested_or_come_from_userinfo(
    house: House, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script.claims = {"groups": None}
    provider.script.userinfo = {"sub": "1234", "groups": ["/build"]}
    client = house.client()
    assert log_in(client, provider).status_code == 303
    assert client.get("/simple/").status_code == 200
    provider.script.userinfo = {"sub": "5678", "groups": ["build"]}
    assert log_in(house.client(), provider).status_code == 503
    monkeypatch.setitem(oidc._provider().said, "groups_claim", "realm_access.roles")
    provider.script.claims = {"realm_access": {"roles": ["build"]}}
    assert log_in(client, provider).status_code == 303
    assert client.get("/simple/").status_code == 200


def test_a_provider_that_fails_lets_nobody_in(house: House, provider: Provider) -> None:
    client = house.client()
    query = provider.authorize(leave(client))
    provider.script.down = True
    assert client.get("/login/oidc/back", query_string=query).status_code in (401, 503)
    oidc._provider.cache_clear()
    assert client.get("/login/oidc/").status_code == 503
    provider.script.down, provider.script.issuer = False, "https://elsewhere.example"
    assert client.get("/login/oidc/").status_code == 503
    assert client.get("/simple/").status_code == 401


@pytest.mark.parametrize("issuer", ["", "http://provider.example"])
def test_what_cannot_be_used_stops_the_start(
    build: Build, provider: Provider, monkeypatch: pytest.MonkeyPatch, issuer: str
) -> None:
    monkeypatch.setenv("KOSCHEY_PLUGIN_OIDC_ISSUER", issuer)
    oidc._provider.cache_clear()
    with pytest.raises(SettingsInvalid, match="OIDC_ISSUER"):
        build(plugins="koschey.contrib.oidc")

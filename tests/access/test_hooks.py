"""Plug-ins that sign people in and decide who may do what: the documented examples, and failing closed."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

from koschey import hookspecs, plugins
from koschey.domain.permissions import Permission, Role, Scope
from koschey.errors import SettingsInvalid, Unauthenticated
from koschey.hookspecs import Identity, LogInPage, Opinion, Refusal, SignInRequest, hookimpl
from tests.access.conftest import PASSWORD, Build, House, basic, bearer, by_token

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "examples"))


def with_plugin(monkeypatch: pytest.MonkeyPatch, build: Build, **functions: Any) -> House:
    """A process with a plug-in that has these functions."""
    plugin = SimpleNamespace()
    for name, function in functions.items():
        function.__name__ = name
        setattr(plugin, name, hookimpl(function))
    load = plugins.load_plugins

    def loaded(modules: Any = ()) -> Any:
        manager = load(modules)
        manager.register(plugin, "script")
        return manager

    monkeypatch.setattr("koschey.application.plugins.load_plugins", loaded)
    return build()


def test_every_field_of_what_hooks_take_and_return_is_documented() -> None:
    text = (DOCS / "plugins.rst").read_text(encoding="utf-8")
    for shape in (SignInRequest, Identity, Refusal, Opinion, LogInPage):
        for field in shape.__dataclass_fields__:
            assert f"``{field}``" in text, (shape, field)
    assert {name for name in vars(hookspecs) if name.startswith("koschey_")} >= {
        "koschey_authenticate",
        "koschey_authorise",
        "koschey_log_in_pages",
    }


def test_a_hook_that_hangs_is_waited_for_once_in_a_request(
    monkeypatch: pytest.MonkeyPatch, build: Build
) -> None:
    monkeypatch.setattr("koschey.services.identities.Identities.__init__.__kwdefaults__", {"patience": 0.1})
    asked = []

    def hanging() -> None:
        asked.append(1)
        time.sleep(0.5)

    house = with_plugin(monkeypatch, build, koschey_authenticate=hanging)
    assert house.get("/why/six", {"Accept": "text/html"}).status_code == 503
    assert asked == [1]


# A header of the company's proxy


def test_the_header_example_signs_in_through_a_declared_proxy_only(build: Build) -> None:
    house = build(plugins="header_sign_in", proxy_addresses="127.0.0.1,10.0.0.0/8", trusted_proxies=1)
    house.make_private()
    house.koschey.groups.create("build", actor="test")
    house.grant(Role.READER, "group:build")
    house.host("acme-core")
    sent = {"X-Remote-User": "Anna", "X-Remote-Groups": "build, unheard-of", "X-Forwarded-For": "192.0.2.7"}

    def status(peer: str, headers: dict[str, str]) -> int:
        return house.get("/simple/acme-core/", headers, environ_base={"REMOTE_ADDR": peer}).status_code

    assert status("127.0.0.1", sent) == 200
    assert status("::ffff:10.1.2.3", sent) == 200
    assert status("192.0.2.1", sent) == 401
    # The client's own word on where it comes from is none.
    assert status("192.0.2.1", sent | {"X-Forwarded-For": "127.0.0.1"}) == 401
    assert status("127.0.0.1", {}) == 401
    assert status("127.0.0.1", sent | {"X-Remote-Groups": "other"}) == 404
    [anna] = house.koschey.accounts.list()
    assert (anna.name, anna.origin, anna.groups) == ("anna", "header_sign_in", [])
    assert [action for action, actor, _ in house.events() if actor == "plugin:header_sign_in"] == [
        "user.add",
        "user.groups",
        "user.groups",
    ]


def test_no_proxy_is_believed_that_nobody_declared(build: Build) -> None:
    house = build(plugins="header_sign_in", trusted_proxies=1)
    house.make_private()
    house.grant(Role.READER, "signed-in")
    assert house.status("/simple/", {"X-Remote-User": "anna"}) == 401


def test_a_user_whom_a_plugin_vouches_for_can_be_disabled_and_is_not_one_with_a_password(
    build: Build,
) -> None:
    house = build(plugins="header_sign_in", proxy_addresses="127.0.0.1")
    house.make_private()
    house.grant(Role.READER, "signed-in")
    house.user("root", Role.ADMIN, PASSWORD)
    assert house.status("/simple/", {"X-Remote-User": "root"}) == 401
    assert house.status("/simple/", {"X-Remote-User": "anna"}) == 200
    house.koschey.accounts.set_disabled("anna", True, actor="test")
    assert house.status("/simple/", {"X-Remote-User": "anna"}) == 401


def test_what_is_written_for_a_header_is_written_once(build: Build) -> None:
    house = build(plugins="header_sign_in", proxy_addresses="127.0.0.1")
    for _ in range(3):
        assert house.status("/simple/", {"X-Remote-User": "anna"}) == 200
    assert house.events() == [("user.add", "plugin:header_sign_in", "anna")]


# Names, passwords and tokens of somewhere else


def test_a_plugin_checks_passwords_of_users_who_have_none_here(
    monkeypatch: pytest.MonkeyPatch, build: Build
) -> None:
    asked = []

    def bind(request: SignInRequest) -> Identity | Refusal | None:
        if request.username is None:
            return None
        asked.append((request.username, request.password))
        if (request.username, request.password) == ("anna", "of the directory"):
            return Identity(name="anna")
        return Refusal(reason="the directory said no")

    house = with_plugin(monkeypatch, build, koschey_authenticate=bind)
    house.make_private()
    house.grant(Role.READER, "signed-in")
    house.user("root", Role.ADMIN, PASSWORD)
    for _ in range(3):
        assert house.status("/simple/", basic("anna", "of the directory")) == 200
    assert len(asked) <= 2  # once more after the user was made; then it is remembered
    assert house.status("/simple/", basic("anna", "wrong")) == 401
    asked.clear()
    assert house.status("/simple/", basic("root", PASSWORD)) == 200
    assert house.status("/simple/", basic("root", "wrong")) == 401
    assert asked == []
    browser = house.client()
    assert house.log_in(browser, "anna", "of the directory").status_code == 303
    assert browser.get("/simple/").status_code == 200
    assert house.log_in(house.client(), "anna", "wrong").status_code == 401


def test_a_plugins_bearer_token_has_the_limits_that_it_says(
    monkeypatch: pytest.MonkeyPatch, build: Build
) -> None:
    def job(request: SignInRequest) -> Identity | None:
        if request.bearer != "job-7":
            return None
        return Identity(name="ci", scopes=frozenset({Scope.READ}), projects=frozenset({"Acme_*"}))

    house = with_plugin(monkeypatch, build, koschey_authenticate=job)
    house.make_private()
    house.grant(Role.PUBLISHER, "signed-in")
    house.host("acme-core", "six")
    assert house.status("/simple/acme-core/", bearer("job-7")) == 200
    assert house.status("/simple/six/", bearer("job-7")) == 403
    assert house.names(bearer("job-7")) == ["acme-core"]
    assert house.status("/simple/acme-core/", bearer("job-8")) == 401


def test_somebody_of_a_directory_gets_no_password_here_by_themselves(
    monkeypatch: pytest.MonkeyPatch, build: Build
) -> None:
    """It would outlive them over there, and the plug-in could vouch for them no more."""

    def directory(request: SignInRequest) -> Identity | None:
        return Identity(name="ada") if request.password == "lovelace" else None

    house = with_plugin(monkeypatch, build, koschey_authenticate=directory)
    browser = house.client()
    house.log_in(browser, "ada", "lovelace")
    assert "You have none here" in browser.get("/account").text
    for current in ("lovelace", house.token("ada", Scope.ADMIN)):
        new = {"current": current, "new": PASSWORD, "again": PASSWORD}
        assert house.form(browser, "/account", to="/account/password", **new).status_code == 422
    assert house.koschey.accounts.list()[0].has_password is False


def test_credentials_with_limits_begin_no_session(monkeypatch: pytest.MonkeyPatch, build: Build) -> None:
    """A session would have all that the user may."""

    def job(request: SignInRequest) -> Identity | None:
        limits = {"read": {"scopes": frozenset({Scope.READ})}, "acme": {"projects": frozenset({"acme-*"})}}
        if request.password not in {*limits, "all"}:
            return None
        return Identity(name="ci", **limits.get(request.password, {}))

    house = with_plugin(monkeypatch, build, koschey_authenticate=job)
    house.make_private()
    house.grant(Role.PUBLISHER, "signed-in")
    for password, status in (("read", 403), ("acme", 403), ("all", 303)):
        browser = house.client()
        assert house.log_in(browser, "ci", password).status_code == status
        assert browser.get("/simple/").status_code == (200 if status == 303 else 401)


def test_our_own_tokens_are_shown_to_no_plugin(monkeypatch: pytest.MonkeyPatch, build: Build) -> None:
    seen = []

    def nosy(request: SignInRequest) -> None:
        seen.append(str(request) + str(dict(request.headers)) + str(request.bearer) + str(request.password))

    house = with_plugin(monkeypatch, build, koschey_authenticate=nosy)
    secret = house.token(house.user("anna"))
    for headers in (by_token(secret), bearer(secret), bearer("koschey_x"), basic("anna", secret)):
        house.status("/simple/", headers)
    house.client().get("/simple/", headers={"Cookie": "a=canary", "Accept": JSON_})
    assert seen and not any(secret in said or "canary" in said for said in seen)


JSON_ = "application/vnd.pypi.simple.v1+json"


# Failing closed


def crash(*_: Any) -> None:
    raise ValueError("canary")


def hang(*_: Any) -> None:
    time.sleep(5)


@pytest.mark.parametrize("broken", [crash, hang, lambda: "root", lambda: Identity(name="everyone")])
def test_an_authenticate_hook_that_fails_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch, build: Build, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("koschey.services.identities.PATIENCE", 0.2)
    monkeypatch.setattr("koschey.services.identities.Identities.__init__.__kwdefaults__", {"patience": 0.2})
    house = with_plugin(monkeypatch, build, koschey_authenticate=lambda: broken())
    house.grant(Role.READER, "signed-in")
    answer = house.get("/why/six")
    assert answer.status_code == 503
    assert "canary" not in answer.text
    assert "plug-in script" in answer.text
    page = house.get("/why/six", {"Accept": "text/html"})
    assert page.status_code == 503 and "plug-in script" in page.text


@pytest.mark.parametrize("broken", [crash, hang, lambda: True, lambda: Opinion(allowed=1, reason="")])  # type: ignore[arg-type]
def test_an_authorise_hook_that_fails_opens_nothing(
    monkeypatch: pytest.MonkeyPatch, build: Build, broken: Any
) -> None:
    monkeypatch.setattr("koschey.services.opinions.Opinions.__init__.__kwdefaults__", {"patience": 0.2})
    house = with_plugin(monkeypatch, build, koschey_authorise=lambda: broken())
    house.host("six")
    for path in ("/simple/", "/simple/six/", "/why/six", "/metrics"):
        answer = house.get(path)
        assert answer.status_code == 503, path
        assert "canary" not in answer.text
    page = house.get("/why/six", {"Accept": "text/html"})
    assert page.status_code == 503 and "plug-in script" in page.text


def test_a_refusal_is_a_401_and_nobody_else_is_asked(monkeypatch: pytest.MonkeyPatch, build: Build) -> None:
    house = with_plugin(
        monkeypatch, build, koschey_authenticate=lambda: Refusal(reason="blocked by the directory")
    )
    answer = house.get("/simple/")
    assert answer.status_code == 401
    assert "directory" not in answer.text


# Who may do what


def test_the_teams_example_decides_before_the_grants(build: Build) -> None:
    house = build(plugins="teams_own_names")
    house.user("anna")
    house.user("root", Role.ADMIN)
    house.koschey.groups.create("data", actor="test")
    house.koschey.groups.join("data", "anna", actor="test")

    def asked(who: str, name: str) -> tuple[bool, str]:
        answer = house.koschey.access.explain(who, Permission.UPLOAD, index="main", name=name)
        return answer.allowed, answer.reason

    assert asked("anna", "Acme_Data.Lake") == (
        True,
        "plug-in teams_own_names: acme-data-lake is the team's own",
    )
    assert asked("root", "acme-data-lake")[0] is False
    assert asked("root", "acme-data-lake")[1].endswith("is published by the team data only")
    assert asked("root", "six") == (True, "grant 2: admin to user:root")


def test_an_opinion_about_every_name_narrows_down_the_list(
    monkeypatch: pytest.MonkeyPatch, build: Build
) -> None:
    def by_name(permission: Permission, name: str | None) -> Opinion | None:
        if permission is not Permission.READ:
            return None
        if name is None:
            return Opinion(allowed=True, reason="some", names=frozenset({"acme-*"}))
        return Opinion(allowed=name.startswith("acme-"), reason="by name")

    house = with_plugin(monkeypatch, build, koschey_authorise=by_name)
    house.host("acme-core", "six")
    assert house.names() == ["acme-core"]
    assert house.status("/simple/acme-core/") == 200
    assert house.status("/simple/six/") == 401
    secret = house.token(house.user("anna"), Scope.READ, projects=["six"])
    assert house.status("/simple/acme-core/", by_token(secret)) == 403
    assert house.status("/metrics") == 401  # that is for those who may read everything


# Log-in pages


def test_the_intranet_example_logs_in_with_a_button_of_its_own(
    monkeypatch: pytest.MonkeyPatch, build: Build
) -> None:
    monkeypatch.setenv("KOSCHEY_PLUGIN_INTRANET_URL", "https://intranet.example/sign")
    monkeypatch.setenv("KOSCHEY_PLUGIN_INTRANET_KEY", "shared")
    house = build(plugins="intranet_log_in")
    house.make_private()
    house.grant(Role.READER, "signed-in")
    browser = house.client()
    assert 'href="./login/intranet/">Log in by the intranet</a>' in browser.get("/login").text
    assert browser.get("/login/intranet/").headers["Location"] == "https://intranet.example/sign"

    def back(key: str) -> int:
        said = URLSafeTimedSerializer(key).dumps({"user": "anna", "groups": []})
        return browser.get("/login/intranet/back", query_string={"said": said}).status_code

    assert back("guessed") == 401
    assert browser.get("/simple/").status_code == 401
    assert back("shared") == 303
    assert browser.get("/simple/").status_code == 200
    house.user("root", Role.ADMIN, PASSWORD)
    with house.app.test_request_context(), pytest.raises(Unauthenticated):
        house.koschey.authentication.vouched("intranet_log_in", Identity(name="root"))


@pytest.mark.parametrize("offer", [["text"], [LogInPage(name="Not A Name", label="x", blueprint=None)]])  # type: ignore[arg-type]
def test_what_is_no_log_in_page_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, build: Build, offer: Any
) -> None:
    with pytest.raises(SettingsInvalid, match="script offers what is no log-in page"):
        with_plugin(monkeypatch, build, koschey_log_in_pages=lambda: offer)


def test_proxy_addresses_that_are_none_stop_the_start(build: Build) -> None:
    with pytest.raises(SettingsInvalid, match="proxy_addresses"):
        build(proxy_addresses="the proxy")

"""The plug-in ``koschey.contrib.ldap`` against a real OpenLDAP server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koschey.contrib import ldap
from koschey.domain.permissions import Role
from koschey.errors import SettingsInvalid
from tests.access.conftest import PASSWORD, Build, House, basic
from tests.access.directory import BASE, READER, Directory, slapd

pytestmark = [
    pytest.mark.skipif(slapd() is None, reason="no slapd here; Debian's package has it"),
    # ldap3 2.9 uses names of pyasn1 that have newer ones.
    pytest.mark.filterwarnings("ignore:(tagMap|typeMap) is deprecated:DeprecationWarning"),
]
ANNA, BOB = basic("anna", "open sesame"), basic("bob", "bob's own")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    program = slapd()
    assert program is not None
    directory = Directory(tmp_path_factory.mktemp("slapd"), program)
    yield directory
    directory.close()


@pytest.fixture
def directory(running: Directory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Directory]:
    variables = {
        "URL": f"ldaps://localhost:{running.tls_port}",
        "CA_FILE": str(running.ca_file),
        "BIND_DN": READER,
        "BIND_PASSWORD": "hush",
        "USER_BASE": f"ou=people,{BASE}",
        "GROUP_BASE": f"ou=groups,{BASE}",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"KOSCHEY_PLUGIN_LDAP_{name}", value)
    ldap._said.cache_clear()
    yield running
    ldap._said.cache_clear()


def build_private(build: Build) -> House:
    house = build(plugins="koschey.contrib.ldap")
    house.make_private()
    house.koschey.groups.create("build", actor="test")
    house.grant(Role.READER, "group:build")
    house.host("acme-core")
    return house


@pytest.mark.usefixtures("directory")
def test_people_sign_in_by_password_with_the_roles_of_their_groups(build: Build) -> None:
    house = build_private(build)
    assert house.status("/simple/acme-core/", ANNA) == 200
    assert house.status("/simple/acme-core/", BOB) == 404, "in no group that may"
    [anna, bob] = house.koschey.accounts.list()
    assert (anna.name, anna.groups, bob.groups) == ("anna", ["build"], [])
    assert house.log_in(house.client(), "anna", "open sesame").status_code == 303


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", "wrong"),
        ("anna", ""),
        ("nobody", "open sesame"),
        ("*", "open sesame"),
        ("anna)(uid=*", "open sesame"),
        ("a*", "open sesame"),
        ("anna\0", "open sesame"),
        (f"uid=anna,ou=people,{BASE}", "open sesame"),
        ("", ""),
    ],
)
def test_who_is_refused(build: Build, name: str, password: str) -> None:
    house = build_private(build)
    assert house.status("/simple/", basic(name, password)) == 401
    assert house.koschey.accounts.list() == []


def test_an_account_with_a_password_here_is_not_the_directorys(build: Build, directory: Directory) -> None:
    house = build_private(build)
    house.user("anna", Role.ADMIN, PASSWORD)
    assert house.status("/simple/", ANNA) == 401


def test_starttls_keeps_passwords_off_the_wire(
    build: Build, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSCHEY_PLUGIN_LDAP_URL", f"ldap://localhost:{directory.port}")
    house = build_private(build)
    assert house.status("/simple/acme-core/", ANNA) == 200


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CA_FILE", ""),  # the certificate is nobody's whom this machine knows
        ("BIND_PASSWORD", "wrong"),
        ("URL", "ldaps://localhost:1"),
        ("USER_FILTER", "(|(uid={name})(uid=bob))"),
    ],
)
def test_what_is_wrong_with_the_directory_lets_nobody_in(
    build: Build, directory: Directory, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"KOSCHEY_PLUGIN_LDAP_{variable}", value)
    house = build_private(build)
    assert house.status("/simple/acme-core/", ANNA) == 503
    assert house.koschey.accounts.list() == []


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("variable", "value"),
    [("URL", "http://x"), ("URL", ""), ("TLS", "maybe"), ("USER_FILTER", "(uid=anna)"), ("BASE", "x")],
)
def test_what_cannot_be_used_stops_the_start(
    build: Build, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"KOSCHEY_PLUGIN_LDAP_{variable}", value)
    with pytest.raises(SettingsInvalid, match=f"LDAP_{variable}"):
        build_private(build)

"""The complete example of the documentation: a company's header sign-in, and rights from a YAML file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from koschey.domain.permissions import Permission
from koschey.hookspecs import SignInRequest
from tests.access.conftest import Build, House, by_token

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
ANNA, BOB = {"X-Acme-Staff": "4711"}, {"X-Acme-Staff": "4712"}


@pytest.fixture
def acl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    path = tmp_path / "acl.yaml"
    shutil.copy(EXAMPLES / "company_acl.yaml", path)
    monkeypatch.setenv("KOSCHEY_PLUGIN_ACL_FILE", str(path))
    return path


@pytest.fixture
def house(build: Build, acl: Path) -> House:
    house = build(plugins="company_acl", proxy_addresses="127.0.0.1")
    house.make_private()
    house.host("acme-rocket", "acme-rocket-fuel", "acme-payroll")
    return house


def allowed(house: House, name: str, permission: Permission, project: str) -> bool:
    actor = house.koschey.authentication.authenticate(
        by_token(house.token(name))["Authorization"], SignInRequest(method="GET", path="/")
    )
    return house.koschey.access.answer(actor, permission, index="main", name=project).allowed


def test_everybody_sees_what_the_file_says(house: House) -> None:
    assert house.names(ANNA) == ["acme-rocket", "acme-rocket-fuel"]
    assert house.names(BOB) == ["acme-payroll", "acme-rocket", "acme-rocket-fuel"]
    assert house.status("/simple/acme-payroll/", ANNA) == 404
    assert house.status("/simple/acme-payroll/", BOB) == 200
    assert allowed(house, "anna", Permission.UPLOAD, "acme-rocket")
    assert not allowed(house, "anna", Permission.UPLOAD, "acme-payroll")
    assert not allowed(house, "bob", Permission.UPLOAD, "acme-rocket")


def test_the_header_counts_from_the_proxy_only_and_names_somebody(house: House) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    assert house.get("/simple/", ANNA, environ_base=elsewhere).status_code == 401
    assert house.status("/simple/", {"X-Acme-Staff": "1"}) == 401
    assert house.status("/simple/") == 401


def test_a_change_of_the_file_counts_from_the_next_request_on(house: House, acl: Path) -> None:
    assert house.status("/simple/acme-payroll/", ANNA) == 404
    acl.write_text(acl.read_text() + '  - {who: anna, role: reader, projects: "acme-payroll"}\n')
    assert house.status("/simple/acme-payroll/", ANNA) == 200


@pytest.mark.parametrize(
    "text",
    ["", "rules: [", "staff: {}\nrules: [{who: '@nobody', role: reader}]",
     "staff: {}\nrules: [{who: bob, role: king}]", "staff: {}\nrules: [{who: bob, role: reader, prject: x}]"],
)  # fmt: skip
def test_a_file_that_is_wrong_lets_nobody_in(house: House, acl: Path, text: str) -> None:
    assert house.status("/simple/acme-payroll/", BOB) == 200
    acl.write_text(text)
    assert house.status("/simple/acme-payroll/", BOB) == 503
    acl.unlink()
    assert house.status("/simple/acme-payroll/", BOB) == 503

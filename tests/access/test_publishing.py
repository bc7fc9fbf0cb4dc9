"""Those who publish a project yank, delete, restore and archive it: by program and on its page."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from koschey.domain.permissions import Role, Scope
from koschey.services.projects import Status
from tests.access.conftest import PASSWORD, House, bearer, on_both
from tests.hosting import host

WHY = {"reason": "it broke"}
HTML = {"Accept": "text/html"}


@pytest.fixture
def published(house: House) -> House:
    """acme-tool 1.0 and 1.1, and paula, who publishes acme-*."""
    house.user("paula", password=PASSWORD)
    house.user("anna", Role.ADMIN)
    house.grant(Role.PUBLISHER, "paula", index="main", pattern="acme-*")
    for version in ("1.0", "1.1"):
        host(house.koschey, "acme-tool", version)
    host(house.koschey, "other-tool", "1.0")
    return house


def do(
    house: House, verb: str, token: str, name: str = "acme-tool", index: str = "", **fields: str
) -> TestResponse:
    path = f"{index}/projects/{name}/manage/{verb}"
    return house.client().post(path, data=WHY | fields, headers=bearer(token))


def listed(house: House, name: str = "acme-tool") -> dict[str, Any]:
    files = house.get(f"/simple/{name}/").json["files"]
    return {file["filename"].split("-")[1]: file["yanked"] for file in files}


def test_a_program_does_all_of_it(published: House) -> None:
    token = published.token("paula", Scope.ADMIN)
    answer = do(published, "yank", token, name="Acme_Tool", version="1.0.0")
    assert answer.content_type == "application/json"
    assert {
        "action": "yank",
        "project": "acme-tool",
        "source": "hosted",
        "files": 1,
    }.items() <= answer.json.items()
    assert listed(published) == {"1.0": "it broke", "1.1": False}
    assert do(published, "unyank", token, version="1.0").status_code == 200
    assert do(published, "delete", token, filename="acme_tool-1.1-py3-none-any.whl").status_code == 200
    assert listed(published) == {"1.0": False}
    assert do(published, "restore", token, version="1.1").status_code == 200
    assert do(published, "status", token, status="archived").json["action"] == "status"
    assert published.get("/simple/acme-tool/").json["project-status"]["status"] == "archived"
    assert do(published, "delete", token, whole="1").status_code == 200
    assert listed(published) == {}
    actions = [(action, actor) for action, actor, _ in published.events() if action.startswith("project.")]
    verbs = ("yank", "unyank", "delete", "restore", "status", "delete")
    assert actions == [(f"project.{verb}", "user:paula (token 1)") for verb in verbs]


def test_a_quarantine_begins_and_ends_with_an_administrator(published: House) -> None:
    token = published.token("paula", Scope.ADMIN)
    assert do(published, "status", token, status="quarantined").status_code == 403
    published.koschey.projects.set_status("acme-tool", Status.QUARANTINED, reason="stolen", actor="rena")

    answer = do(published, "status", token, status="active")

    assert answer.status_code == 403 and "an administrator quarantines" in answer.json["detail"]
    assert listed(published) == {}


@on_both
def test_what_an_administrator_deleted_an_administrator_restores(published: House) -> None:
    token, admin = published.token("paula", Scope.ADMIN), published.token("anna", Scope.ADMIN)
    assert do(published, "delete", token, version="1.0").status_code == 200
    assert do(published, "delete", admin, version="1.1").status_code == 200
    refused = do(published, "restore", token, version="1.1")
    assert refused.status_code == 403 and "only an administrator" in refused.json["detail"]
    restored = do(published, "restore", token)
    assert restored.json["files"] == 1
    assert restored.json["notes"] == ["an administrator deleted 1 more, and only one restores them"]
    assert set(listed(published)) == {"1.0"}

    # Of the whole project: what its publisher had deleted before is part of that.
    assert do(published, "delete", token, version="1.0").status_code == 200
    assert do(published, "restore", admin, version="1.1").status_code == 200
    published.koschey.projects.delete("acme-tool", reason="retired", actor="operator")
    assert do(published, "restore", token, version="1.0").status_code == 403
    assert listed(published) == {}
    assert do(published, "restore", admin).status_code == 200
    assert set(listed(published)) == {"1.0", "1.1"}
    assert do(published, "delete", token, version="1.1").status_code == 200
    assert do(published, "restore", token, version="1.1").status_code == 200, "its own once more"


@pytest.mark.parametrize(
    ("verb", "fields", "status", "words"),
    [
        ("yank", {"version": "9"}, 404, "there is 1.0, 1.1"),
        ("yank", {"filename": "nope.whl"}, 404, "nope.whl"),
        ("yank", {"reason": ""}, 400, "reason"),
        ("delete", {}, 400, "whole=1"),
        ("restore", {"version": "1.0"}, 404, "deleted"),
        ("status", {"status": "gone"}, 400, "not a status"),
        ("status", {"status": "active"}, 409, "is active already"),
        ("burn", {}, 404, "there is yank"),
    ],
)
def test_what_is_wrong_changes_nothing(
    published: House, verb: str, fields: dict[str, str], status: int, words: str
) -> None:
    before = published.events()
    answer = do(published, verb, published.token("paula", Scope.ADMIN), **fields)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert words in answer.json["detail"]
    assert published.events() == [*before, ("token.add", "test", "paula (token 1)")]


def test_a_person_who_did_not_say_what_to_delete_is_told_so_in_words_of_the_page(published: House) -> None:
    published.user("ada", Role.ADMIN, PASSWORD)
    browser = published.client()
    published.log_in(browser, "ada")
    page = {"headers": {"Accept": "text/html"}, "reason": "x"}
    answer = published.form(
        browser, "/admin/projects/acme-tool", to="/admin/projects/acme-tool/delete", **page
    )
    assert answer.status_code == 422
    assert "Say which version, or that the whole project is meant</bdi>" in answer.text


def test_a_program_may_send_json(published: House) -> None:
    client, headers = published.client(), bearer(published.token("paula", Scope.ADMIN))
    path = "/projects/acme-tool/manage/yank"
    assert client.post(path, json=WHY | {"version": "1.0"}, headers=headers).status_code == 200
    for wrong in ([], "text", WHY | {"version": 1.1}, None):
        answer = client.post(path, json=wrong, headers=headers)
        assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    broken = headers | {"Content-Type": "application/json"}
    assert client.post(path, data="{", headers=broken).status_code == 400
    assert listed(published) == {"1.0": "it broke", "1.1": False}


def test_who_does_not_publish_it_may_not(published: House) -> None:
    published.user("rolf", Role.READER)
    published.user("rita", Role.REVIEWER)
    admin = {"version": "1.0"}
    for token, name in (
        (published.token("rolf", Scope.ADMIN), "acme-tool"),
        (published.token("rita", Scope.ADMIN), "acme-tool"),
        (published.token("paula", Scope.UPLOAD), "acme-tool"),
        (published.token("paula", Scope.ADMIN, projects=["acme-x*"]), "acme-tool"),
        (published.token("paula", Scope.ADMIN), "other-tool"),
        (published.token("paula", Scope.ADMIN), "unheard-of"),
    ):
        assert do(published, "yank", token, name=name, **admin).status_code == 403
    assert published.client().post("/projects/acme-tool/manage/yank", data=WHY).status_code == 401
    assert listed(published) == {"1.0": False, "1.1": False}


def test_a_publisher_of_one_index_leaves_another_ones_source_alone(published: House) -> None:
    """``team`` shows what is in ``hosted``, and its uploads go elsewhere."""
    published.koschey.hosted.add("team-packages", indexes=[], actor="test")
    published.koschey.indexes.add_index("team", ["team-packages", "hosted"], hold_days=None, actor="test")
    published.user("tina")
    published.grant(Role.PUBLISHER, "tina", index="team")
    token = published.token("tina", Scope.ADMIN)
    assert do(published, "delete", token, whole="1").status_code == 403
    assert do(published, "delete", token, index="/team", whole="1").status_code == 404
    host(published.koschey, "acme-tool", "5.0", source="team-packages")
    assert do(published, "delete", token, index="/team", whole="1").json["source"] == "team-packages"
    assert set(listed(published)) == {"1.0", "1.1"}


def test_the_page_offers_it_to_those_who_may(published: House) -> None:
    browser = published.client()
    assert "Look after it" not in browser.get("/projects/acme-tool/", headers=HTML).text
    published.log_in(browser, "paula")
    assert "Look after it" not in browser.get("/projects/other-tool/", headers=HTML).text
    page = "/projects/acme-tool/"
    assert "Look after it" in browser.get(page, headers=HTML).text

    done = published.form(browser, page, to=f"{page}manage/yank", headers=HTML, version="1.0", **WHY)
    assert (done.status_code, done.headers["Location"]) == (303, "../../../projects/acme-tool/")
    assert "acme-tool==1.0: yanked." in browser.get(page, headers=HTML).text
    wrong = published.form(browser, page, to=f"{page}manage/delete", headers=HTML, **WHY)
    assert wrong.status_code == 422 and "the whole project is meant" in wrong.text
    assert browser.post(f"{page}manage/yank", data=WHY, headers=HTML).status_code == 403, "no token of a form"
    assert browser.get(f"{page}manage/yank").headers["Location"] == "../"
    assert listed(published) == {"1.0": "it broke", "1.1": False}

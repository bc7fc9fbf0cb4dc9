"""Reading as a grant: for everybody, some names, nobody; what may not be read seems not to be there."""

from __future__ import annotations

import pytest

from koschey.domain.permissions import Permission, Role, Scope
from koschey.errors import NotFound, RequestInvalid
from koschey.services.upstream_spec import UpstreamSpec
from koschey.web import problems
from tests.access.conftest import PASSWORD, Build, House, basic, by_token, file_path, on_both
from tests.fake_upstream import FakeUpstream

READING = ("/simple/", "/simple/acme-core/", "/why/acme-core", "/metrics", file_path("acme-core"))


@pytest.fixture
def hosting(house: House) -> House:
    house.host("acme-core", "public-tools", "six")
    house.user("anna", None, PASSWORD)
    return house


@on_both
def test_reading_is_everybodys_until_it_is_taken_away(hosting: House) -> None:
    opened = {path: hosting.status(path) for path in READING}
    assert all(status in (200, 503) for status in opened.values()), opened  # no file lies in the store
    hosting.make_private()
    for path in READING:
        answer = hosting.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Koschey"'
        assert "acme" not in answer.text
    assert hosting.status("/simple/acme-core") == 401
    assert hosting.status("/healthz") == 200
    assert "/simple/" not in hosting.get("/", {"Accept": "text/html"}).text
    hosting.grant(Role.READER, "everyone")
    assert {path: hosting.status(path) for path in READING} == opened


def test_a_browser_is_led_to_the_log_in_page_only_from_pages_for_people(hosting: House) -> None:
    hosting.make_private()
    html = {"Accept": "text/html,application/xhtml+xml"}
    assert hosting.status("/simple/", html) == 401  # an old installer asks so
    answer = hosting.get("/why/acme-core?after=1", html)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login?next=/why/acme-core%3Fafter%3D1"
    assert hosting.status("/why/acme-core", html | basic("anna", "wrong")) == 401
    part = hosting.get("/why/acme-core", html | {"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/login")


@on_both
def test_a_glob_opens_its_names_and_nothing_tells_whether_others_are_there(hosting: House) -> None:
    hosting.make_private()
    hosting.grant(Role.READER, "everyone", pattern="public-*")
    hosting.grant(Role.READER, "anna", pattern="acme-*")
    anna = basic("anna", PASSWORD)
    assert hosting.names() == ["public-tools"]
    assert hosting.names(anna) == ["acme-core", "public-tools"]
    assert hosting.status("/simple/Public_Tools/") == 301
    assert hosting.status("/simple/acme-core/", anna) == 200

    def told(path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        answer = hosting.get(path, headers)
        text = answer.text.replace(answer.headers["X-Request-ID"], "").replace("six", "").replace("gone", "")
        return answer.status_code, text.partition("/packages/")[0]

    for there, missing in (
        ("/simple/six/", "/simple/gone/"),
        ("/why/six", "/why/gone"),
        ("/why/six/1.0", "/why/gone/1.0"),
        ("/pypi/six/json", "/pypi/gone/json"),
        (file_path("six"), file_path("gone")),
        (file_path("six") + ".metadata", file_path("gone") + ".metadata"),
        (file_path("six") + ".record.json", file_path("gone") + ".record.json"),
        ("/integrity/six/1.0/six-1.0.tar.gz/provenance", "/integrity/gone/1.0/gone-1.0.tar.gz/provenance"),
    ):
        assert told(there) == told(missing) and told(there)[0] == 401, there
        assert told(there, anna) == told(missing, anna) and told(there, anna)[0] == 404, there


def test_an_index_that_one_may_not_read_seems_not_to_be_there(hosting: House) -> None:
    hosting.koschey.indexes.add_index("team", ["hosted"], hold_days=0, actor="test")
    hosting.make_private()
    hosting.grant(Role.READER, "signed-in", index="main")
    hosting.grant(Role.READER, "anna", index="team", pattern="six")
    hosting.user("otto", None, PASSWORD)
    anna, otto = basic("anna", PASSWORD), basic("otto", PASSWORD)
    assert hosting.names(anna, "/team") == ["six"]
    assert hosting.names(otto) == ["acme-core", "public-tools", "six"]
    for path in ("/team/simple/", "/team/simple/six/", "/team/simple/gone/", f"/team{file_path('six')}"):
        missing = path.replace("team", "nowhere")
        assert hosting.status(path) == hosting.status(missing) == 401
        team, nowhere = hosting.get(path, otto), hosting.get(missing, otto)
        assert team.status_code == nowhere.status_code == 404
        assert team.json["detail"] == "no index 'team' here"
        assert nowhere.json["detail"] == "no index 'nowhere' here"


def test_the_root_list_follows_grants_and_names_at_once(hosting: House) -> None:
    hosting.make_private()
    hosting.grant(Role.READER, "anna", pattern="acme-*")
    anna = basic("anna", PASSWORD)
    assert hosting.names(anna) == ["acme-core"]
    hosting.host("acme-new")
    assert hosting.names(anna) == ["acme-core", "acme-new"]
    hosting.grant(Role.READER, "anna", pattern="s?x")
    assert hosting.names(anna) == ["acme-core", "acme-new", "six"]
    hosting.take(Role.READER, "anna", pattern="acme-*")
    assert hosting.names(anna) == ["six"]


def test_a_conditional_request_does_not_show_what_one_may_no_longer_read(hosting: House) -> None:
    etag = hosting.get("/simple/acme-core/").headers["ETag"]
    assert hosting.status("/simple/acme-core/", {"If-None-Match": etag}) == 304
    hosting.make_private()
    assert hosting.status("/simple/acme-core/", {"If-None-Match": etag}) == 401
    assert hosting.status("/simple/acme-core/", {"If-None-Match": "*"}) == 401


def test_what_depends_on_who_asks_says_so_to_caches(hosting: House) -> None:
    anna = basic("anna", PASSWORD)

    def varies(path: str, headers: dict[str, str] | None = None) -> bool:
        answer = hosting.get(path, headers)
        assert "private" in answer.headers["Cache-Control"] or "no-store" in answer.headers["Cache-Control"]
        return "Authorization" in answer.headers.get("Vary", "")

    assert not any(varies(path, anna) for path in READING[:3])
    hosting.make_private()
    hosting.grant(Role.READER, "signed-in")
    hosting.grant(Role.READER, "everyone", pattern="public-*")
    for _ in range(2):  # the view, and then the page that is ready
        assert all(varies(path, anna) for path in (*READING[:3], "/simple/"))
        assert not varies("/simple/public-tools/", anna)
    assert varies("/simple/") and varies("/simple/acme-core/")


@pytest.mark.parametrize("hot_path", [True, False])
def test_a_token_for_some_projects_is_good_for_these_alone(build: Build, hot_path: bool) -> None:
    house = build(hot_path=hot_path)
    house.host("acme-core", "six")
    house.user("anna", Role.PUBLISHER)
    limited = by_token(house.token("anna", Scope.READ, projects=["Acme_*"]))
    for _ in range(2):
        assert house.status("/simple/acme-core/", limited) == 200
        # Everybody may read it, and this token may not: an installer that was given the wrong one shall know.
        assert house.status("/simple/six/", limited) == 403
    assert "this token is for acme-* only" in house.get("/simple/six/", limited).text
    assert house.names(limited) == ["acme-core"]


@pytest.mark.parametrize("hot_path", [True, False])
def test_a_ready_page_is_not_given_to_who_may_not_read_it(build: Build, hot_path: bool) -> None:
    house = build(hot_path=hot_path)
    house.make_private()
    house.host("acme-core")
    house.user("anna", Role.READER)
    house.user("otto")
    anna, otto = by_token(house.token("anna")), by_token(house.token("otto"))
    for _ in range(3):
        assert house.status("/simple/acme-core/", anna) == 200
        assert house.status("/simple/acme-core/", otto) == 404
        assert house.status("/simple/acme-core/") == 401


def test_what_decided_can_be_asked(hosting: House) -> None:
    explain = hosting.koschey.access.explain
    hosting.koschey.groups.create("build", actor="test")
    hosting.koschey.groups.join("build", "anna", actor="test")
    hosting.grant(Role.PUBLISHER, "group:build", "main", "acme-*")
    yes = explain("anna", Permission.UPLOAD, index="main", name="Acme.Core")
    assert (yes.allowed, yes.reason) == (True, "grant 2: publisher to group:build for acme-* in index main")
    assert explain("group:build", Permission.UPLOAD, index="main", name="acme-core").allowed
    no = explain("anna", Permission.UPLOAD, index=None, name="acme-core")
    assert (no.allowed, no.reason) == (False, "no grant gives anna upload for acme-core")
    assert explain("everyone", Permission.READ, index=None, name=None).allowed
    assert not explain("signed-in", Permission.ADMIN, index=None, name=None).allowed
    hosting.koschey.accounts.set_disabled("anna", True, actor="test")
    assert explain("anna", Permission.READ, index=None, name=None).reason == "anna is disabled"
    with pytest.raises(NotFound):
        explain("nobody", Permission.READ, index=None, name=None)
    with pytest.raises(RequestInvalid):
        explain("anna", Permission.READ, index=None, name="../x")


@on_both
def test_each_change_is_one_event_in_its_transaction(hosting: House) -> None:
    koschey = hosting.koschey
    koschey.groups.create("build", actor="a")
    koschey.groups.join("build", "anna", actor="a")
    koschey.groups.join("build", "anna", actor="a")
    koschey.groups.leave("build", "anna", actor="a")
    hosting.grant(Role.READER, "group:build")
    hosting.grant(Role.READER, "group:build")
    koschey.groups.remove("build", actor="a")
    koschey.accounts.set_password("anna", PASSWORD, actor="a")
    koschey.accounts.set_disabled("anna", True, actor="a")
    koschey.accounts.set_disabled("anna", True, actor="a")
    koschey.accounts.remove("anna", actor="a")
    for verb in (
        lambda: hosting.grant(Role.READER, "anna"),
        lambda: hosting.grant(Role.READER, "everyone", index="nowhere"),
        lambda: hosting.take(Role.ADMIN, "everyone"),
        lambda: hosting.token("anna"),
        lambda: koschey.groups.join("build", "anna", actor="a"),
        lambda: koschey.accounts.remove("anna", actor="a"),
    ):
        with pytest.raises(NotFound):
            verb()
    assert [(action, subject) for action, _, subject in hosting.events()] == [
        ("user.add", "anna"),
        ("group.add", "build"),
        ("group.join", "build"),
        ("group.leave", "build"),
        ("grant.add", "group:build"),
        ("group.remove", "build"),
        ("user.password", "anna"),
        ("user.disable", "anna"),
        ("user.remove", "anna"),
    ]
    assert [grant.subject for grant in koschey.grants.list()] == ["everyone"]


def test_where_an_upstream_is_is_said_to_those_alone_who_look_after_it(house: House) -> None:
    house.koschey.indexes.add_upstream(
        "inner", UpstreamSpec(url="http://127.0.0.1:1/hidden/simple/"), indexes=["main"], actor="test"
    )
    house.user("anna", Role.AUDITOR, PASSWORD)
    told = house.get("/simple/six/")
    assert told.status_code == 502
    assert "upstream inner: no connection to its address" in told.text
    assert "127.0.0.1" not in told.text + told.status
    assert "http://127.0.0.1:1/hidden/simple/six/" in house.get("/simple/six/", basic("anna", PASSWORD)).text


def test_where_an_upstream_leads_is_not_said_to_others(house: House) -> None:
    with FakeUpstream() as upstream:
        inside = "http://127.0.0.9:1/inside/"
        upstream.fail("six", redirect=inside)
        spec = UpstreamSpec(url=upstream.simple_url)
        house.koschey.indexes.add_upstream("inner", spec, indexes=["main"], actor="test")
        house.user("anna", Role.AUDITOR, PASSWORD)
        told = house.get("/simple/six/")
        assert told.status_code == 502
        assert "it leads to where Koschey does not go" in told.text
        assert "127.0.0" not in told.text + told.status and "loopback" not in told.text
        assert "127.0.0.9, a loopback address" in house.get("/simple/six/", basic("anna", PASSWORD)).text


@pytest.mark.parametrize(
    "said", ["no answer from ADDRESS.", "a page (ADDRESS) was silent", "[ADDRESS]: not here", "to 'ADDRESS'"]
)
def test_an_address_is_taken_out_of_a_sentence_and_no_more(said: str) -> None:
    address = "http://[::1]:8000/simple/six_(2)/?a=b"
    assert problems._ADDRESS.sub("ADDRESS", said.replace("ADDRESS", address)) == said


@on_both
@pytest.mark.parametrize(
    "path", [file_path("six") + "%00", file_path("six") + "%00.metadata", "/simple/six%00/", "/search?q=%00"]
)
def test_a_nul_in_an_address_finds_nothing(house: House, path: str) -> None:
    house.host("six")
    assert house.status(path) == (422 if "search" in path else 404)


@pytest.mark.parametrize(
    "path", ["/search?q=six", "/projects/six/", "/projects/six/1.0/", "/setup", "/requests", "/why/six"]
)
def test_a_browser_is_led_to_the_log_in_where_a_program_is_told_to_sign_in(house: House, path: str) -> None:
    house.make_private()
    house.host("six")
    program = house.get(path)
    assert (program.status_code, program.headers["WWW-Authenticate"]) == (401, 'Basic realm="Koschey"')
    browser = house.get(path, {"Accept": "text/html"})
    assert browser.status_code == 303
    assert browser.headers["Location"] == f"/login?next={path.replace('?', '%3F').replace('=', '%3D')}"

"""Whose names are: what is reserved, claimed or private is never asked outside, by any route or job."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from koschey.domain.names import normalize
from koschey.domain.negotiation import Representation
from koschey.domain.permissions import Names
from koschey.errors import (
    Conflict,
    KoscheyError,
    NameOwned,
    NameTaken,
    NameUnsettled,
    NameUnused,
    NotFound,
    RequestInvalid,
)
from koschey.services.name_views import Seen, ViewChange
from koschey.services.pages import ReadyPage
from koschey.services.upstream_spec import UpstreamSpec
from tests.fake_upstream import FakeUpstream
from tests.hosting import host
from tests.service_layer.conftest import BASE, Deploy, Deployment, on_both
from tests.service_layer.test_review import fresh, quiet

EVERYTHING = Names(frozenset("*"))
BY = {"reason": "test", "actor": "test"}


def never(_etag: str) -> bool:
    """Nobody knows a root list already."""
    return False


def reserve(here: Deployment) -> None:
    here.koschey.names.reserve("acme-*", index=None, **BY)


def claim(here: Deployment) -> None:
    here.koschey.names.claim("Acme_Tool", index=None, **BY)


def upload(here: Deployment) -> None:
    host(here.koschey, "acme-tool", "3.0")


OWNED = pytest.mark.parametrize("own", [reserve, claim, upload])


@pytest.mark.parametrize("own", [reserve, claim])
def test_why_says_of_a_name_without_files_that_it_is_reserved(
    here: Deployment, upstream: FakeUpstream, own: Callable[[Deployment], None]
) -> None:
    with pytest.raises(NotFound, match=r"no project 'acme-tool' here$"):
        here.koschey.explanations.project("main", normalize("acme-tool"))
    own(here)
    upstream.requests.clear()
    for name in ("acme-tool", "acme.TOOL"):
        with pytest.raises(NameUnused, match="reserved for the company's own packages"):
            here.koschey.explanations.project("main", normalize(name))
    assert upstream.requests == []


@OWNED
def test_a_name_of_the_companys_own_is_asked_outside_by_no_route_and_no_job(
    here: Deployment, upstream: FakeUpstream, own: Callable[[Deployment], None]
) -> None:
    file = upstream.project("acme-tool").release("1.0", provenance=True, requires=["other"])
    here.page("acme-tool")
    source = here.project("acme-tool")["source_id"]
    # Everything is as stale, as due and as wanted as can be.
    here.execute("UPDATE project SET looked_at = 1")
    here.execute("UPDATE file SET due_at = 1, stored_at = NULL, metadata_stored = false")
    own(here)
    upstream.requests.clear()
    koschey = here.koschey
    asks: list[Callable[[], object]] = [
        lambda: here.page("acme-tool"),
        lambda: koschey.catalog.ready_project_page(
            "main",
            normalize("acme-tool"),
            Representation.HTML,
            "identity",
            BASE,
            koschey.catalog.look("acme-tool"),
        ),
        lambda: koschey.root_list.page("main", Representation.JSON, "identity", EVERYTHING, never),
        lambda: koschey.files.find("main", file.path),
        lambda: koschey.files.find_named("main", "acme-tool", "1.0", file.filename),
        lambda: koschey.files.open(look),
        lambda: koschey.documents.metadata(look),
        lambda: koschey.documents.provenance(look),
        lambda: koschey.explanations.project("main", normalize("acme-tool")),
        lambda: koschey.closure.plan("acme-tool", "1.0"),
        lambda: koschey.probe.try_out("upstream", "acme-tool"),
        lambda: koschey.admission.admit(koschey.configuration.index("main"), normalize("acme-tool")),
        lambda: koschey.checking.check_file(look.file_id),
        lambda: koschey.review.recheck("acme-tool", actor="test"),
        lambda: koschey.tasks["refresh_page"](source, "acme-tool"),
        lambda: koschey.tasks["refresh_stale"](),
        lambda: koschey.tasks["derive_work"](),
        lambda: koschey.tasks["release_due"](),
        lambda: koschey.tasks["settle_policies"](),
    ]
    found = koschey.lookup.files_named("acme-tool", file.filename)
    look = next(one for one in found if one.source_id == source)
    for ask in asks:
        try:
            ask()
        except KoscheyError:
            continue  # most have nothing to show
    about = {
        "check_file": (look.file_id,),
        "refresh_page": (source, "acme-tool"),
        "sync_upstream": (source,),
        "sync_asked": (source,),
        "compare_files": (look.file_id, look.file_id),
        "decide_bulk": (1,),
    }
    for task, work in koschey.tasks.items():
        try:
            work(*about.get(task, ()))
        except KoscheyError:
            continue

    assert upstream.count("*") == 0
    assert here.listed("acme-tool") == ({"acme_tool-3.0-py3-none-any.whl"} if own is upload else set())
    with pytest.raises(NotFound):
        koschey.files.find("main", file.path)


@OWNED
def test_the_door_refuses_it_even_when_somebody_asks(
    here: Deployment, upstream: FakeUpstream, own: Callable[[Deployment], None]
) -> None:
    own(here)
    [source] = here.koschey.configuration.upstreams()
    assert source.endpoint is not None
    client, name = here.koschey.client, normalize("acme-tool")
    url = upstream.url + "/packages/x"

    with pytest.raises(NameOwned):
        client.project_page(source.endpoint, name, etag=None, deadline=5)
    with pytest.raises(NameOwned):
        client.document(source.endpoint, url, name=name, accept="*/*", sha256=None, deadline=5)
    with (
        pytest.raises(NameOwned),
        client.file(source.endpoint, url, name=name, start=0, validator=None, deadline=5),
    ):
        pass
    assert upstream.count("*") == 0


@OWNED
@on_both
def test_it_hides_the_namesake_in_every_process_from_its_commit_on(
    deploy: Deploy, upstream: FakeUpstream, own: Callable[[Deployment], None]
) -> None:
    here, other = deploy(), deploy()
    upstream.project("acme-tool").release("1.0")
    upstream.project("other").release("1.0")
    assert len(other.listed("acme-tool")) == len(other.listed("other")) == 1
    root = other.koschey.root_list.page("main", Representation.JSON, "identity", EVERYTHING, never)
    assert isinstance(root, ReadyPage)
    assert b"acme-tool" in root.body
    before = other.page("acme-tool")["meta"]["_last-serial"]

    own(here)

    page = other.page("acme-tool")
    assert [f["filename"] for f in page["files"]] == (
        ["acme_tool-3.0-py3-none-any.whl"] if own is upload else []
    )
    assert page["meta"]["_last-serial"] > before, "a mirror of this index must not take it for a stale page"
    root = other.koschey.root_list.page("main", Representation.JSON, "identity", EVERYTHING, never)
    assert isinstance(root, ReadyPage)
    assert (b"acme-tool" in root.body) is (own is upload)
    assert len(other.listed("other")) == 1


@pytest.mark.parametrize("undo", ["unreserve", "unclaim"])
def test_taking_it_back_shows_the_namesake_again_with_its_quarantine_intact(
    deploy: Deploy, upstream: FakeUpstream, undo: str
) -> None:
    here = quiet(deploy(quarantine_days=7.0))
    project = upstream.project("acme-tool")
    project.release("1.0")
    project.release("2.0", upload_time=fresh())
    assert here.listed("acme-tool") == {"acme_tool-1.0-py3-none-any.whl"}
    held = here.rows("SELECT * FROM hold ORDER BY file_id")
    here.koschey.review.reject("acme-tool", "1.0", reason="bad", actor="test")
    reserve(here) if undo == "unreserve" else claim(here)
    hidden = here.page("acme-tool")
    assert hidden["files"] == []
    assert here.koschey.waiting.page().files == (), "nobody can decide anything about it now"

    name = "acme-*" if undo == "unreserve" else "acme-tool"
    outcome = getattr(here.koschey.names, undo)(name, index=None, **BY)

    assert [(e.project, e.before, e.after) for e in outcome.effects] == [("acme-tool", "closed", "open")]
    page = here.page("acme-tool")
    assert page["files"] == []
    assert page["meta"]["_last-serial"] > hidden["meta"]["_last-serial"]
    why = here.koschey.explanations.project("main", normalize("acme-tool"))
    assert (why.held, why.rejected, why.visible) == (1, 1, 0)
    assert {file.state for file in here.koschey.waiting.page().files} == {"held", "rejected"}
    assert held[0] in here.rows("SELECT * FROM hold ORDER BY file_id")


def test_a_reserved_name_has_an_empty_page_and_no_404(here: Deployment) -> None:
    """A 404 would send an installer on to its next index."""
    reserve(here)
    page = here.page("acme-unborn")
    assert (page["files"], page["project-status"]) == ([], {"status": "active"})
    catalog, name = here.koschey.catalog, normalize("acme-unborn")
    ready = catalog.ready_project_page(
        "main", name, Representation.JSON, "identity", BASE, catalog.look(name)
    )
    assert ready is not None, "and it is remembered like any other"
    with pytest.raises(NotFound):
        here.page("unknown")


@pytest.mark.parametrize(
    ("pattern", "covered", "open_"),
    [
        ("acme-*", ["acme-tool", "acme-a-b"], ["acme", "acmetool", "my-acme-tool"]),
        ("Acme_*", ["acme-tool"], ["acme"]),
        ("acme", ["acme"], ["acme-tool"]),
        ("*-internal", ["x-internal"], ["internal", "x-internal-y"]),
        ("acme-?", ["acme-a"], ["acme-ab"]),
        ("acme-[!a]*", ["acme-tool"], ["acme-api"]),
    ],
)
def test_what_a_reservation_covers(
    here: Deployment, pattern: str, covered: list[str], open_: list[str]
) -> None:
    here.koschey.names.reserve(pattern, index=None, **BY)
    reserved = {name for name in covered + open_ if here.koschey.names.is_reserved(normalize(name), "main")}
    assert reserved == set(covered)


def test_a_reservation_can_count_in_one_index_only(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.project("acme-tool").release("1.0")
    here.koschey.indexes.add_index("team", ["hosted", "upstream"], hold_days=0, actor="test")
    here.koschey.names.reserve("acme-*", index="team", **BY)

    assert here.listed("acme-tool", "team") == set()
    assert len(here.listed("acme-tool")) == 1
    here.koschey.indexes.remove_index("team", actor="test")
    assert here.koschey.names.rules() == []


def test_a_private_name_is_not_asked_for_an_index_without_its_source_either(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("acme-tool").release("1.0")
    here.koschey.indexes.add_index("public", ["upstream"], hold_days=0, actor="test")
    upload(here)

    with pytest.raises(NotFound):  # as for a name that nobody has: nothing shows that it is there
        here.page("acme-tool", "public")
    assert upstream.count("acme-tool") == 0


def test_a_claim_for_one_index_leaves_the_name_to_its_upstream_elsewhere(
    here: Deployment, upstream: FakeUpstream
) -> None:
    """A patched build for one team takes nothing away from the others."""
    upstream.project("acme-tool").release("1.0")
    here.koschey.hosted.add("patches", indexes=[], actor="test")
    here.koschey.indexes.add_index("team", ["patches", "upstream"], hold_days=0, actor="test")
    here.koschey.names.claim("acme-tool", index="team", **BY)
    host(here.koschey, "acme-tool", "3.0", source="patches")

    assert here.listed("acme-tool", "team") == {"acme_tool-3.0-py3-none-any.whl"}
    assert here.listed("acme-tool") == {"acme_tool-1.0-py3-none-any.whl"}


def test_each_verb_is_one_event_with_its_reason(here: Deployment) -> None:
    names = here.koschey.names
    names.reserve("acme-*", index=None, reason="ours", actor="ann")
    names.claim("tool", index="main", reason="since 1999", actor="ann")
    names.merge("numpy", reason="patched", actor="ann")
    names.unmerge("numpy", reason="no more", actor="bob")
    names.unclaim("tool", index="main", reason="no more", actor="bob")
    names.unreserve("acme-*", index=None, reason="no more", actor="bob")

    told = [
        (e["action"], e["actor"], e["subject"], e["index"], e["before"], e["after"], e["reason"])
        for e in here.events()
    ]
    assert told == [
        ("name.reserve", "ann", "acme-*", None, None, "reserved", "ours"),
        ("name.claim", "ann", "tool", "main", None, "claimed", "since 1999"),
        ("name.merge", "ann", "numpy", None, None, "merged", "patched"),
        ("name.unmerge", "bob", "numpy", None, "merged", None, "no more"),
        ("name.unclaim", "bob", "tool", "main", "claimed", None, "no more"),
        ("name.unreserve", "bob", "acme-*", None, "reserved", None, "no more"),
    ]
    assert all(event["serial"] for event in here.events())


def test_a_preview_says_what_would_change_and_changes_nothing(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("acme-tool").release("1.0")
    here.page("acme-tool")
    outcome = here.koschey.names.reserve("acme-*", index=None, preview=True, **BY)

    assert not outcome.done
    assert [(e.project, e.index, e.after) for e in outcome.effects] == [("acme-tool", "main", "closed")]
    assert here.events("name.reserve") == []
    assert len(here.listed("acme-tool")) == 1


@on_both
def test_a_preview_says_what_would_disappear_and_from_whose_view(
    here: Deployment, upstream: FakeUpstream
) -> None:
    project = upstream.project("acme-tool")
    project.release("1.0", sdist=True)
    project.release("2.0")
    here.koschey.policies.set("main", "*", 7.0, None, {}, actor="test")
    project.release("3.0", upload_time=fresh())
    here.koschey.indexes.add_index("team", ["upstream"], hold_days=0, actor="test")
    here.page("acme-tool")
    [used] = here.rows("SELECT id FROM file WHERE filename = 'acme_tool-2.0-py3-none-any.whl'")
    for index, who in (("main", "ann"), ("main", "ann"), ("main", "bob"), ("team", "eve")):
        here.koschey.usage.add(index, used["id"], who)
    here.koschey.usage.flush()

    for say in (here.koschey.names.claim, here.koschey.names.reserve):
        claimed = say("acme-tool", index=None, preview=True, **BY)
        views = {effect.index: effect.view for effect in claimed.effects}
        assert views["main"] is not None and views["team"] is not None
        assert views["main"].vanish == Seen(files=3, versions=2, downloads=3, clients=2), (
            "held: seen by nobody"
        )
        assert views["team"].vanish == Seen(files=4, versions=3, downloads=1, clients=1)
        assert views["main"].appear == views["team"].appear == Seen(0, 0, 0, 0)
    claim(here)
    back = here.koschey.names.unclaim("acme-tool", index=None, preview=True, **BY)
    assert [(e.view.appear.files, e.view.vanish.files) for e in back.effects if e.view] == [(3, 0), (4, 0)]


def test_a_preview_of_a_merger_counts_what_the_company_does_not_have_itself(
    here: Deployment, upstream: FakeUpstream
) -> None:
    upstream.project("acme-tool").release("1.0")
    upstream.project("acme-tool").release("3.0")
    upload(here)
    here.koschey.names.merge("acme-tool", **BY)
    here.page("acme-tool")

    [effect] = here.koschey.names.unmerge("acme-tool", preview=True, **BY).effects

    assert effect.view == ViewChange(vanish=Seen(1, 1, 0, 0), appear=Seen(0, 0, 0, 0)), "3.0 is the company's"


@pytest.mark.parametrize(
    ("say", "error"),
    [
        (lambda n: n.reserve("*", index=None, **BY), RequestInvalid),
        (lambda n: n.reserve("acme-/*", index=None, **BY), RequestInvalid),
        (lambda n: n.reserve("acme-*", index=None, reason=" ", actor="x"), RequestInvalid),
        (lambda n: n.reserve("acme-*", index="nowhere", **BY), NotFound),
        (lambda n: n.claim("no name", index=None, **BY), RequestInvalid),
        (lambda n: n.unclaim("tool", index=None, **BY), NotFound),
        (lambda n: n.merge("taken-name", **BY), Conflict),
        (lambda n: n.reserve("taken-*", index=None, **BY), Conflict),
        (lambda n: n.claim("both", index=None, **BY), Conflict),
    ],
)
def test_what_cannot_be_is_refused(
    here: Deployment, say: Callable[..., object], error: type[Exception]
) -> None:
    here.koschey.names.reserve("taken-*", index=None, **BY)
    here.koschey.names.merge("both", **BY)
    count = len(here.events())
    with pytest.raises(error):
        say(here.koschey.names)
    assert len(here.events()) == count


def admit(here: Deployment, name: str) -> None:
    here.koschey.admission.admit(here.koschey.configuration.index("main"), normalize(name))


def test_a_new_name_that_nobody_has_outside_is_admitted(here: Deployment, upstream: FakeUpstream) -> None:
    admit(here, "brand-new")
    assert upstream.count("brand-new") == 1
    admit(here, "brand-new")
    assert upstream.count("brand-new") == 1, "a remembered 404 is believed for a while"


@pytest.mark.parametrize("known", [True, False])
def test_a_name_that_exists_outside_is_refused_until_it_is_claimed(
    here: Deployment, upstream: FakeUpstream, known: bool
) -> None:
    upstream.project("acme-tool").release("1.0")
    if known:
        here.page("acme-tool")
    with pytest.raises(NameTaken, match="koschey project claim acme-tool"):
        admit(here, "acme-tool")

    claim(here)

    admit(here, "acme-tool")


def test_a_name_that_was_deleted_outside_is_taken_as_well(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.project("acme-tool").release("1.0")
    here.page("acme-tool")
    here.execute("UPDATE project SET state = 'deleted'")
    with pytest.raises(NameTaken):
        admit(here, "acme-tool")


def test_a_name_that_another_indexs_upstream_has_is_taken_as_well(
    here: Deployment, upstream: FakeUpstream
) -> None:
    with FakeUpstream() as second:
        second.project("acme-tool").release("1.0")
        here.koschey.indexes.add_upstream(
            "second", UpstreamSpec(url=second.simple_url), indexes=[], actor="test"
        )
        here.koschey.indexes.add_index("other", ["second"], hold_days=0, actor="test")
        here.page("acme-tool", "other")
    with pytest.raises(NameTaken, match="in second"):
        admit(here, "acme-tool")
    assert upstream.count("acme-tool") == 0


def test_while_an_upstream_cannot_say_nobody_takes_a_name(here: Deployment, upstream: FakeUpstream) -> None:
    upstream.fail("acme-tool", status=503)
    with pytest.raises(NameUnsettled, match="upstream upstream"):
        admit(here, "acme-tool")
    reserve(here)
    admit(here, "acme-tool")


@on_both
@pytest.mark.parametrize("claimed", [True, False])
def test_the_race_of_first_upload_and_first_pull_ends_with_the_private_one(
    deploy: Deploy, upstream: FakeUpstream, claimed: bool
) -> None:
    """The pull has asked before the upload commits, and its answer arrives after that."""
    here, other = deploy(), deploy()
    upstream.project("acme-tool").release("9.0")
    upstream.fail("acme-tool", delay=1.0)
    if claimed:
        here.koschey.names.claim("acme-tool", index="main", **BY)
        here.koschey.names.unclaim("acme-tool", index="main", **BY)
    pulled: list[object] = []

    def pull() -> None:
        pulled.append(other.listed("acme-tool"))

    first = threading.Thread(target=pull)
    first.start()
    while not upstream.count("acme-tool"):
        first.join(0.01)
    upload(here)
    first.join(30)

    own = {"acme_tool-3.0-py3-none-any.whl"}
    assert pulled == [own], "who began to ask before it was private is answered with the private one"
    assert here.listed("acme-tool") == other.listed("acme-tool") == own
    assert here.rows("SELECT 1 FROM file WHERE filename LIKE '%9.0%'") == [], "and it was not recorded"

"""The root list: made at once while it is small, built from what changed when it is long."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import zstandard

from koschey.domain.negotiation import Representation
from koschey.domain.permissions import Names
from koschey.errors import Busy, StoreUnavailable
from koschey.services import root_build
from koschey.services.pages import ReadyPage
from koschey.services.root_build import RootBuilder
from koschey.services.root_files import RootFiles
from koschey.services.root_list import ReadyFile, RootList
from koschey.web.current import Koschey
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both


class Roots:
    """The root lists of a deployment, of which more than ``small`` projects are many."""

    def __init__(self, here: Deployment, small: int = 3) -> None:
        self.koschey: Koschey = here.koschey
        self.here = here
        k = here.koschey
        self.builder = RootBuilder(k.database, k.configuration, k.locks, small=small)
        self.folder = k.settings.data_dir / "cache" / "roots"
        self.lists = RootList(
            k.database, k.configuration, _cache(k), self.builder, RootFiles(k.database, self.folder)
        )

    def page(
        self,
        form: Representation = Representation.JSON,
        encoding: str = "identity",
        *,
        readable: list[str] | None = None,
        known: Callable[[str], bool] = lambda _etag: False,
    ) -> ReadyPage | ReadyFile:
        names = Names(frozenset(["*"] if readable is None else readable))
        return self.lists.page("main", form, encoding, names, known)

    def body(self, *given: Any, **named: Any) -> bytes:
        page = self.page(*given, **named)
        if isinstance(page, ReadyPage):
            body = page.body
        else:
            assert page.path is not None
            body = page.path.read_bytes()
        if page.encoding == "gzip":
            return gzip.decompress(body)
        if page.encoding == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        return body

    def names(self, **named: Any) -> list[str]:
        return [entry["name"] for entry in json.loads(self.body(**named))["projects"]]

    def add(self, *names: str) -> None:
        """Projects without files, as an upload's transaction would make them."""
        source = self.koschey.configuration.index("main").sources[-1].id
        for name in names:
            with self.koschey.database.transaction() as tx:
                serial = tx.next_serial()
                tx.connection.exec_driver_sql(
                    "INSERT INTO project (source_id, name, state, status, serial, first_seen, decided) "
                    f"VALUES ({source}, '{name}', 'present', 'active', {serial}, 1, false)"
                )

    def remove(self, name: str) -> None:
        with self.koschey.database.transaction() as tx:
            serial = tx.next_serial()
            tx.connection.exec_driver_sql(
                f"UPDATE project SET state = 'deleted', serial = {serial} WHERE name = '{name}'"
            )


def _cache(koschey: Koschey) -> Any:
    return koschey.root_list._cache


@pytest.fixture
def roots(deploy: Deploy) -> Roots:
    return Roots(deploy())


@on_both
def test_a_small_list_has_a_new_name_at_once(roots: Roots) -> None:
    assert roots.names() == []
    roots.add("zeta")
    assert roots.names() == ["zeta"]
    roots.add("alpha-b", "alpha")
    assert roots.names() == ["alpha", "alpha-b", "zeta"]
    roots.builder.build()
    assert isinstance(roots.page(), ReadyPage)


@on_both
def test_a_long_list_is_served_as_it_was_built_last(roots: Roots) -> None:
    roots.add("e", "d", "c", "b", "a-a", "a")
    with pytest.raises(Busy, match="the long list of projects"):
        roots.page()

    roots.builder.build()

    first = roots.page()
    assert isinstance(first, ReadyFile)
    assert roots.names() == ["a", "a-a", "b", "c", "d", "e"]
    assert json.loads(roots.body())["meta"]["_last-serial"] == first.serial
    roots.add("f")
    roots.remove("c")
    assert roots.page() == first
    roots.builder.build()
    assert roots.names() == ["a", "a-a", "b", "d", "e", "f"]
    assert roots.page().serial > first.serial


@on_both
def test_every_form_and_encoding_has_the_same_names_and_an_etag_of_its_own(roots: Roots) -> None:
    roots.add(*(f"name-{number:04}" for number in range(1200)))
    roots.builder.build()
    plain = {form: roots.body(form) for form in Representation}
    etags = set()
    for form in Representation:
        for encoding in ("identity", "gzip", "zstd"):
            assert roots.body(form, encoding) == plain[form]
            page = roots.page(form, encoding)
            assert isinstance(page, ReadyFile)
            assert roots.page(form, encoding, known=lambda etag: True).path is None  # type: ignore[union-attr]
            etags.add(page.etag)
    assert len(etags) == 9
    assert plain[Representation.HTML].count(b"<a href") == 1200


def test_the_bytes_are_those_of_a_list_made_at_once(deploy: Deploy) -> None:
    here = deploy()
    long, short = Roots(here, small=3), Roots(here, small=5000)
    long.add(*"abcdefgh")
    made = {form: short.body(form) for form in Representation}
    long.builder.build()
    assert {form: long.body(form) for form in Representation} == made


def test_changes_reach_the_chunks_in_which_they_lie(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koschey.services.root_build._NAMES", 10)
    chance = random.Random(1)
    names = {f"{chance.randrange(10**6):06}" for _ in range(300)}
    roots.add(*sorted(names))
    roots.builder.build()
    for _ in range(12):
        added = {f"{chance.randrange(10**6):06}" for _ in range(chance.randrange(30))} - names
        removed = set(chance.sample(sorted(names), chance.randrange(30)))
        roots.add(*sorted(added))
        for name in removed:
            roots.remove(name)
        names = (names | added) - removed
        roots.builder.build()
        assert roots.names() == sorted(names)
        [row] = roots.here.rows("SELECT names FROM root_list")
        assert row["names"] == len(names)


def test_a_build_with_nothing_new_changes_nothing(roots: Roots) -> None:
    roots.add(*"abcde")
    roots.builder.build()
    before = roots.here.rows("SELECT * FROM root_list")
    roots.builder.build()
    assert roots.here.rows("SELECT * FROM root_list") == before


def test_another_order_of_sources_builds_the_list_anew(roots: Roots) -> None:
    roots.add(*"abcde")
    roots.builder.build()
    roots.here.execute("UPDATE root_list SET sources = 'others'")
    roots.here.execute("DELETE FROM root_chunk")
    roots.builder.build()
    assert roots.names() == list("abcde")


def test_a_reader_of_some_names_gets_a_list_of_those(roots: Roots) -> None:
    roots.add("acme-core", "acme-web", "b", "c")
    roots.builder.build()
    assert roots.names(readable=["acme-*"]) == ["acme-core", "acme-web"]
    assert roots.names(readable=["acme-web", "c"]) == ["acme-web", "c"]
    assert roots.names(readable=[]) == []
    pages = [roots.page(readable=readable) for readable in (None, ["acme-*"], ["b"])]
    assert len({page.etag for page in pages}) == 3
    for encoding in ("gzip", "zstd"):
        assert b"acme-core" in roots.body(Representation.HTML, encoding, readable=["acme-*"])


def test_files_of_older_builds_are_removed(roots: Roots) -> None:
    roots.add(*"abcde")
    for number in range(5):
        roots.add(f"more-{number}")
        roots.builder.build()
        roots.page()
    assert len(list(roots.folder.glob("*.json.identity.*"))) == 2


def test_a_list_that_became_short_is_made_at_once_again(roots: Roots) -> None:
    roots.add(*"abcde")
    roots.builder.build()
    roots.here.execute("DELETE FROM project WHERE name > 'b'")
    roots.add("x")
    roots.builder.build()
    assert roots.names() == ["a", "b", "x"]
    assert isinstance(roots.page(), ReadyPage)


def test_two_builders_do_not_build_at_once(roots: Roots) -> None:
    roots.add(*"abcde")
    index = roots.koschey.configuration.index("main")
    with roots.koschey.locks.hold(f"root:{index.id}", 0.0):
        done = threading.Thread(target=roots.builder.build)
        done.start()
        done.join(30)
    assert roots.here.rows("SELECT * FROM root_list") == []


@on_both
def test_the_serial_never_steps_back_when_a_list_becomes_long(
    roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = root_build._whole
    served: list[int] = []

    def meanwhile(*given: Any) -> Any:
        """Somebody who found the list short makes it while it is built."""
        made = whole(*given)
        roots.add("e")
        with monkeypatch.context() as found_short:
            found_short.setattr(roots.builder, "is_small", lambda _: True)
            found_short.setattr(roots.lists, "_state", lambda _: (-1, None, 0))
            with suppress(Busy):
                served.append(roots.page().serial)
        return made

    roots.add(*"abc")
    served.append(roots.page().serial)
    roots.add("d")
    monkeypatch.setattr(root_build, "_whole", meanwhile)
    roots.builder.build()
    served.append(roots.page().serial)

    assert served == sorted(served)
    monkeypatch.undo()
    roots.builder.build()
    assert roots.names() == [*"abcde"]


def test_a_first_build_that_died_is_made_up_for(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any) -> Any:
        raise StoreUnavailable("database", "it was killed")

    roots.add(*"abcd")
    monkeypatch.setattr(root_build, "_whole", dies)
    with pytest.raises(StoreUnavailable):
        roots.builder.build()
    monkeypatch.undo()
    with pytest.raises(Busy):
        roots.page()

    roots.builder.build()

    assert roots.names() == [*"abcd"]


@on_both
def test_a_long_list_leaves_out_what_is_wholly_held(deploy: Deploy, upstream: FakeUpstream) -> None:
    here = deploy(quarantine_days=30)
    roots = Roots(here)
    for number in range(6):
        upstream.project(f"old-{number}").release("1.0")
        here.look(f"old-{number}")
    roots.builder.build()
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    upstream.project("fresh").release("1.0", upload_time=now)
    here.look("fresh")
    roots.builder.build()
    assert "fresh" not in roots.names() and len(roots.names()) == 6
    here.koschey.indexes.edit_index("main", sources=None, hold_days=0, actor="test")
    for _ in range(3):
        here.koschey.tasks["settle_policies"]()
    roots.builder.build()
    assert "fresh" in roots.names()


@on_both
def test_a_name_is_gone_from_list_and_search_when_its_approval_or_trust_runs_out(
    deploy: Deploy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any sweep has recorded it, and although the list was rendered while it was there."""
    here = deploy(quarantine_days=30)
    fresh = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    names = ("tool-approved", "tool-both", "tool-trusted", "tool-vain")
    upstream.project("tool-both").release("0.1")
    for name in names:
        file = upstream.project(name).release("1.0", upload_time=fresh)
        upstream.fail(file.filename, status=503, times=1000)  # whoever comes to check it gets nothing
        here.look(name)
    passed = " ".join(f"{check}=pass" for check in sorted(here.koschey.configuration.index("main").checks))
    here.execute("UPDATE file SET checks = :checks", checks=passed)
    ends = time.time_ns() // 1000 + 60 * 10**6
    review, by = here.koschey.review, {"index": None, "reason": "test", "actor": "ann", "expires_at": ends}
    for name in names[:2]:
        review.approve(name, "1.0", **by)
    review.trust("tool-trusted", **by)
    roots = Roots(here, small=100)

    def found() -> list[str]:
        return list(here.koschey.search.find("main", "tool", Names(frozenset({"*"}))).names)

    assert roots.names() == found() == list(names[:3])
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 61 * 10**9)
    assert roots.names() == found() == ["tool-both"]
    here.koschey.tasks["release_due"]()
    assert roots.names() == found() == ["tool-both"]


@on_both
@pytest.mark.parametrize("small", [0, 100], ids=["long", "short"])
def test_a_hold_that_ended_shows_a_name_only_when_its_checks_are_done(
    deploy: Deploy, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    """Before any sweep has recorded it: the page of the one has nothing, that of the other has its file."""
    here = deploy(quarantine_days=30)
    roots = Roots(here, small=small)
    fresh = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    for name in ("checked", "unchecked"):
        file = upstream.project(name).release("1.0", upload_time=fresh)
        upstream.fail(file.filename, status=503, times=1000)  # whoever comes to check it gets nothing
        here.look(name)
    passed = " ".join(f"{check}=pass" for check in sorted(here.koschey.configuration.index("main").checks))
    here.execute(
        "UPDATE file SET checks = :checks WHERE project_id = (SELECT id FROM project WHERE name = 'checked')",
        checks=passed,
    )
    roots.builder.build()
    assert roots.names() == []
    later = time.time_ns() + 31 * 86_400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    here.execute("UPDATE project SET serial = serial + 100")
    here.execute("UPDATE counter SET value = value + 100 WHERE name = 'serial'")
    roots.builder.build()

    assert roots.names() == ["checked"]

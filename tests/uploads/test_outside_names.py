"""Uploads under names that somebody has outside: refused until they are claimed, or that can be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from koschey import settings as settings_module
from koschey.application import create_app
from koschey.services.projects import Status
from tests.fake_upstream import FakeUpstream
from tests.uploads.conftest import House

BY = {"reason": "test", "actor": "test"}


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        fake.project("taken").release("9.0")
        yield fake


@pytest.fixture
def house(tmp_path: Path, upstream: FakeUpstream) -> Iterator[House]:
    settings = settings_module.load(
        {}, data_dir=tmp_path, upstream_url=upstream.simple_url, log_level="error", upstream_retries=0
    )
    house = House(create_app(settings, periodic_jobs=False))
    yield house
    house.koschey.close()


def test_a_taken_name_is_refused_until_it_is_claimed(house: House) -> None:
    refused = house.upload(house.wheel("Taken", "1.0"))
    assert refused.status_code == 403
    assert "koschey project claim taken" in refused.status
    assert refused.json["code"] == "name-taken"

    house.koschey.names.claim("taken", index=None, **BY)

    assert house.upload(house.wheel("Taken", "1.0")).status_code == 200
    assert [file["filename"] for file in house.page("taken")["files"]] == ["taken-1.0-py3-none-any.whl"]


def test_what_is_not_sound_is_refused_without_asking_whose_the_name_is(
    house: House, upstream: FakeUpstream
) -> None:
    for name in ("taken", "acme-new"):
        file = house.wheel(name, "1.0")
        cut = replace(file, content=file.content[:-1])
        refused = house.upload(cut)
        assert (refused.status_code, refused.json["code"]) == (400, "file-unsound")
    assert upstream.count("*") == 0


def test_a_merged_name_takes_uploads_beside_what_is_outside(house: House) -> None:
    house.koschey.names.merge("taken", **BY)
    assert house.upload(house.wheel("taken", "9.0+acme")).status_code == 200
    assert len(house.page("taken")["files"]) == 2


def test_while_the_upstream_cannot_say_it_is_503_and_a_reserved_name_needs_no_word(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.fail("*", status=503)
    file = house.wheel("acme-new", "1.0")
    refused = house.upload(file)
    assert (refused.status_code, refused.json["code"]) == (503, "name-unsettled")
    assert int(refused.headers["Retry-After"]) > 0
    house.koschey.names.reserve("acme-*", index=None, **BY)
    upstream.requests.clear()
    assert house.upload(file).status_code == 200
    assert upstream.count("*") == 0


def test_a_deleted_file_and_a_closed_project_take_no_upload(house: House, upstream: FakeUpstream) -> None:
    file = house.wheel("acme-new", "1.0")
    assert house.upload(file).status_code == 200
    house.koschey.projects.delete("acme-new", **BY)
    again = house.upload(file)
    assert (again.status_code, again.json["code"]) == (400, "filename-deleted")
    assert house.upload(house.wheel("acme-new", "2.0")).status_code == 200
    for status in (Status.ARCHIVED, Status.QUARANTINED):
        house.koschey.projects.set_status("acme-new", status, **BY)
        assert house.upload(house.wheel("acme-new", "3.0")).status_code == 403

"""What is taken in, and what everybody then sees of it."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from koschey.errors import StoreUnavailable
from tests.artifacts import Release, wheel
from tests.people import add_token
from tests.uploads.conftest import House, reason
from tests.uploads.posting import form_of


def test_a_wheel_and_an_sdist_are_listed_at_once_with_all_that_installers_want(house: House) -> None:
    name = house.new_name()
    binary, source = house.wheel(name, requires_python=">=3.9"), house.sdist(name, requires_python=">=3.9")
    assert [house.upload(file).status_code for file in (binary, source)] == [200, 200]
    page = house.page(name)
    assert page["versions"] == ["1.0"]
    listed = {file["filename"]: file for file in page["files"]}
    for file in (binary, source):
        entry = listed[file.filename]
        assert entry["hashes"] == {"sha256": file.sha256}
        assert entry["size"] == len(file.content)
        assert entry["requires-python"] == ">=3.9"
        assert entry["upload-time"].endswith("Z")
        assert entry["yanked"] is False
        answer = house.app.test_client().get(entry["url"].removeprefix("http://localhost"))
        assert answer.data == file.content


def test_the_wheels_metadata_is_offered_and_the_sdists_kept_for_its_description(house: House) -> None:
    name = house.new_name()
    binary, source = house.wheel(name), house.sdist(name)
    for file in (binary, source):
        house.upload(file)
    entries = {entry["filename"]: entry for entry in house.page(name)["files"]}
    offered = entries[binary.filename]
    assert offered["core-metadata"] == {"sha256": hashlib.sha256(binary.metadata).hexdigest()}
    client = house.app.test_client()
    path = offered["url"].removeprefix("http://localhost")
    assert client.get(path + ".metadata").data == binary.metadata
    assert not entries[source.filename].get("core-metadata")
    path = entries[source.filename]["url"].removeprefix("http://localhost")
    assert client.get(path + ".metadata").status_code == 404
    [row] = house.rows("SELECT * FROM file WHERE filename = :f", f=source.filename)
    assert b"".join(house.koschey.store.read(row["metadata_sha256"])) == source.metadata


def test_what_the_store_did_not_take_is_not_acknowledged_and_leaves_no_row(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = house.wheel(house.new_name())
    publish = house.koschey.store.publish

    def full(path: Path, sha256: str, size: int) -> None:
        if sha256 == file.sha256:
            raise StoreUnavailable("files", "no space left on device")
        publish(path, sha256, size)

    with monkeypatch.context() as patched:
        patched.setattr(house.koschey.store, "publish", full)
        assert house.upload(file).status_code == 503
    assert house.rows("SELECT 1 FROM file WHERE filename = :f", f=file.filename) == []
    assert house.spooled() == []
    assert house.upload(file).status_code == 200


@pytest.mark.parametrize("path", ["/legacy/", "/legacy", "/"])
def test_each_address_takes_uploads(house: House, path: str) -> None:
    file = house.wheel()
    assert house.upload(file, to=path).status_code == 200
    assert house.listed(file.filename.partition("-")[0].replace("_", "-")) == [file.filename]


@pytest.mark.parametrize("path", ["/team/legacy/", "/team/legacy"])
def test_an_index_takes_uploads_into_its_first_hosted_source(house: House, path: str) -> None:
    if not house.rows("SELECT 1 FROM source WHERE name = 'team-packages'"):
        house.koschey.hosted.add("team-packages", indexes=[], actor="test")
        house.koschey.indexes.add_index("team", ["team-packages", "hosted"], hold_days=None, actor="test")
    name = house.new_name()
    assert house.upload(house.wheel(name), to=path).status_code == 200
    assert len(house.page(name, "/team")["files"]) == 1
    assert house.app.test_client().get(f"/simple/{name}/").status_code == 404
    rows = house.rows(
        "SELECT s.name FROM source s JOIN project p ON p.source_id = s.id WHERE p.name = :name", name=name
    )
    assert rows == [{"name": "team-packages"}]


def test_an_upload_has_one_event_that_says_who(house: House) -> None:
    file = house.wheel(name := house.new_name())
    house.upload(file)
    house.upload(file)
    [event] = house.events(name)
    assert (event["action"], event["subject"], event["after"]) == ("file.upload", file.filename, file.sha256)
    assert event["actor"].startswith("user:alice")
    assert event["serial"] == house.page(name)["meta"]["_last-serial"]


def test_the_same_file_again_changes_nothing(house: House) -> None:
    file = house.wheel(name := house.new_name())
    house.upload(file)
    serial = house.page(name)["meta"]["_last-serial"]
    assert house.upload(file).status_code == 200
    assert house.page(name)["meta"]["_last-serial"] == serial


def test_another_process_serves_the_new_page_at_once(house: House) -> None:
    """Its cache is keyed by what the database says."""
    from tests.uploads.conftest import built, data_of

    file = house.wheel(name := house.new_name())
    with built({"data_dir": data_of(house), "upstream_url": "", "log_level": "error"}) as other:
        house.upload(file)
        assert other.listed(name) == [file.filename]
        newer = house.wheel(name, "1.1")
        house.upload(newer)
        assert other.listed(name) == [file.filename, newer.filename]


def test_versions_that_are_equal_are_one_release(house: House) -> None:
    name = house.new_name()
    first, second = house.wheel(name, "1.0"), house.sdist(name, "1.0.0")
    assert [house.upload(file).status_code for file in (first, second)] == [200, 200]
    assert house.page(name)["versions"] == ["1.0"]


def test_a_local_version_is_taken(house: House) -> None:
    name = house.new_name()
    for file in (house.wheel(name, "1.0+acme.1"), house.sdist(name, "1.0+acme.1")):
        assert house.upload(file).status_code == 200
    assert house.page(name)["versions"] == ["1.0+acme.1"]


def test_names_that_are_equal_are_one_project(house: House) -> None:
    assert house.upload(house.wheel("Same_Name")).status_code == 200
    assert house.upload(house.wheel("same.name", "1.1")).status_code == 200
    assert house.page("same-name")["versions"] == ["1.0", "1.1"]


def test_a_release_that_is_yanked_stays_so(house: House) -> None:
    name = house.new_name()
    house.upload(house.wheel(name))
    house.execute(
        "UPDATE file SET yanked = true, yanked_reason = 'bad' WHERE project_id = "
        "(SELECT id FROM project WHERE name = :name)",
        name=name,
    )
    house.upload(house.sdist(name))
    assert [file["yanked"] for file in house.page(name)["files"]] == ["bad", "bad"]


def test_a_long_description_and_thousands_of_parts_are_taken(house: House) -> None:
    file = house.wheel()
    parts = form_of(file, description="word " * 120_000)
    more = [("classifiers", f"Private :: Number {n}") for n in range(1200)]
    assert house.post([*more, *parts]).status_code == 200


@pytest.mark.parametrize("last", ["name", "sha256_digest", ":action"])
def test_the_order_of_fields_does_not_matter(house: House, last: str) -> None:
    parts = form_of(house.wheel())
    ordered = [part for part in parts if part[0] != last] + [part for part in parts if part[0] == last]
    assert house.post(ordered).status_code == 200


def test_unknown_is_absent_and_unknown_fields_are_passed_over(house: House) -> None:
    file = house.wheel()
    fields = {"home_page": "UNKNOWN", "license": "UNKNOWN", "gpg_signature": "x", "comment": "", "x-own": "y"}
    assert house.upload(file, **fields).status_code == 200


def test_fields_that_tools_write_before_their_time_are_passed_over(house: House) -> None:
    """setuptools wrote License-File under metadata 2.1 and 2.2, hatchling License-Expression under 2.3."""
    file = house.wheel()
    early = {"license_file": "../LICENSE", "license_expression": "nonsense of its own"}
    assert house.upload(file, **early).status_code == 200


def test_a_wheel_with_folders_and_compression_as_tools_write_it_is_taken(house: House) -> None:
    file = house.wheel(name := house.new_name())
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(file.content)) as old, zipfile.ZipFile(buffer, "w") as new:
        new.mkdir("folder/")
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry), zipfile.ZIP_DEFLATED)
    from dataclasses import replace

    assert house.upload(replace(file, content=buffer.getvalue())).status_code == 200
    assert house.listed(name) == [file.filename]


def test_only_the_names_of_a_grant_and_of_a_token_may_be_uploaded(house: House) -> None:
    database = house.koschey.database
    bob = add_token(database, "bob", pattern="bob-*")
    narrow = add_token(database, "bob", role=None, globs="bob-one")
    assert house.upload(house.wheel("bob-one"), token=bob).status_code == 200
    assert house.upload(house.wheel("bob-one", "1.1"), token=narrow).status_code == 200
    assert house.upload(house.wheel("Bob_Two"), token=narrow).status_code == 403
    refused = house.upload(house.wheel("acme-other"), token=bob)
    assert refused.status_code == 403
    assert "acme-other" in reason(refused)


def test_a_new_project_is_in_the_root_list(house: House) -> None:
    house.upload(wheel(Release(name := house.new_name(), "1")))
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    projects = house.app.test_client().get("/simple/", headers=accept).json["projects"]
    assert name in [project["name"] for project in projects]


def test_nothing_is_left_in_the_spool(house: House) -> None:
    house.upload(house.wheel())
    house.upload(house.wheel(), sha256_digest="0" * 64)
    assert house.spooled() == []

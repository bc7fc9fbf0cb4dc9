"""What is not taken in: the status, the words that say why, and that nothing of it is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from tests.artifacts import Release, sdist, wheel
from tests.people import add_token
from tests.uploads.conftest import MEGABYTE, House, reason
from tests.uploads.posting import ABSENT, Parts, basic, encoded, form_of

FILE = wheel(Release("acme", "1.0", requires_python=">=3.9"))
SOURCE = sdist(Release("acme", "1.0"))


def counts(house: House) -> list[dict[str, Any]]:
    return [house.rows(f"SELECT count(*) FROM {table}")[0] for table in ("file", "project", "event")]


def refused(house: House, answer: Any, status: int, words: str) -> None:
    """The answer says it in each of the places where clients look."""
    assert answer.status_code == status, answer.text
    assert words in reason(answer)
    assert answer.content_type == "application/problem+json"
    assert words in answer.json["detail"]
    assert house.spooled() == []


#: Fields that are put in place of the right ones; the status; words of the reason.
FIELDS: list[tuple[dict[str, str | None], int, str]] = [
    ({"action": "submit"}, 400, "the field :action is 'submit'"),
    ({"action": ABSENT}, 400, "the field :action is ''"),
    ({"protocol_version": "2"}, 400, "protocol_version is '2'"),
    ({"filetype": "bdist_egg"}, 400, "filetype is 'bdist_egg'"),
    ({"filetype": ABSENT}, 400, "filetype is ''"),
    ({"filetype": "sdist", "pyversion": ABSENT}, 400, "the filename of a sdist ends in .tar.gz"),
    ({"filetype": "sdist", "pyversion": "py3"}, 400, "the pyversion of an sdist is source"),
    ({"sha256_digest": ABSENT, "md5_digest": ABSENT, "blake2_256_digest": ABSENT}, 400, "there is no digest"),
    ({"sha256_digest": "0" * 64}, 400, "another sha256 than was promised"),
    ({"md5_digest": "0" * 32}, 400, "another md5 than was promised"),
    ({"blake2_256_digest": "0" * 64}, 400, "another blake2b than was promised"),
    ({"sha256_digest": "xyz"}, 400, "sha256_digest is not 64 hexadecimal digits"),
    ({"md5_digest": "0" * 33}, 400, "md5_digest is not 32 hexadecimal digits"),
    ({"metadata_version": ABSENT}, 400, "metadata-version is missing"),
    ({"metadata_version": "9.9"}, 400, "'9.9' is not a valid metadata version"),
    ({"metadata_version": "2.0"}, 400, "'2.0' is not a valid metadata version"),
    ({"name": ABSENT}, 400, "name is missing"),
    ({"name": "UNKNOWN"}, 400, "name is missing"),
    ({"name": "-acme"}, 400, "'-acme' is invalid for 'name'"),
    ({"name": "acmé"}, 400, "is invalid for 'name'"),
    ({"name": "other"}, 400, "the filename is of acme, the field name says other"),
    ({"version": ABSENT}, 400, "version is missing"),
    ({"version": "one"}, 400, "'one' is invalid for 'version'"),
    ({"version": "9" * 5000}, 400, "version has 5000 characters"),
    ({"version": "1.1"}, 400, "the filename says version 1.0, the field version says 1.1"),
    ({"requires_python": "three"}, 400, "'three' is invalid for 'requires-python'"),
    ({"requires_python": ">=3.12"}, 400, "the metadata in the file requires Python '>=3.9'"),
    ({"requires_dist": "a b c"}, 400, "'a b c' is invalid for 'requires-dist'"),
    ({"description_content_type": "text/html"}, 400, "description-content-type"),
    ({"summary": "two\nlines"}, 400, "summary"),
    ({"project_urls": "no comma"}, 400, "'no comma' is not 'label, URL'"),
    ({"provides_extra": "-"}, 400, "provides-extra"),
    ({"attestations": "nonsense"}, 400, "the attestations cannot be taken"),
    ({"attestations": "[]"}, 400, "there are 0 of them"),
    ({"attestations": '[{"version": 1}]'}, 400, "they are not of the form of PEP 740"),
]
#: The same for filenames of wheels and sdists.
NAMES: list[tuple[str, str]] = [
    ("../acme-1.0-py3-none-any.whl", "may have letters, digits"),
    ("/acme-1.0-py3-none-any.whl", "may have letters, digits"),
    ("acme-1.0-py3-none-any\\b.whl", "has a backslash"),
    ("acme\0-1.0-py3-none-any.whl", "may have letters, digits"),
    ("acme-1.0-py3-none-any\x7f.whl", "may have letters, digits"),
    ("%2e%2e%2facme-1.0-py3-none-any.whl", "may have letters, digits"),
    ("-acme-1.0-py3-none-any.whl", "may have letters, digits"),
    (".acme-1.0-py3-none-any.whl", "may have letters, digits"),
    ("acme-1.0-py3-none-any.whl ", "may have letters, digits"),
    ("аcme-1.0-py3-none-any.whl", "may have letters, digits"),  # noqa: RUF001 - a Cyrillic a
    ("acme-1.0-py3-none-" + "a" * 240 + ".whl", "longer than 255 bytes"),
    ("acme-1.0-py3-none-any.WHL", "ends in .whl"),
    ("acme-1.0-py3-none-any.zip", "ends in .whl"),
    ("acme-1.0.whl", "the filename is no wheel's"),
    ("acme-1.0-x-py3-none-any.whl", "the filename is no wheel's"),
    ("acme-one-py3-none-any.whl", "the filename is no wheel's"),
    ("acme__x-1.0-py3-none-any.whl", "the filename is no wheel's"),
    ("acme-1.0-py3-none-any.whl.whl", "a platform that is none: whl"),
    ("acme-1.0-py3-none-windows.whl", "a platform that is none: windows"),
    ("acme-1.0-py3-none-any-more-x.whl", "the filename is no wheel's"),
    ("acmes-1.0-py3-none-any.whl", "the filename is of acmes"),
    ("acme-1.1-py3-none-any.whl", "the filename says version 1.1"),
]
SDIST_NAMES = [
    ("Acme-1.0.tar.gz", "is acme-1.0.tar.gz (PEP 625), not Acme-1.0.tar.gz"),
    ("acme-1.0.0.tar.gz", "is acme-1.0.tar.gz (PEP 625)"),
    ("acme-1.1.tar.gz", "is acme-1.0.tar.gz (PEP 625)"),
    ("acme-1.0.zip", "ends in .tar.gz"),
    ("acme-1.0.tgz", "ends in .tar.gz"),
    ("acme-1.0.TAR.GZ", "ends in .tar.gz"),
]


@pytest.mark.parametrize(("fields", "status", "words"), FIELDS, ids=[f"{f}"[:60] for f, _, _ in FIELDS])
def test_a_form_that_is_wrong(house: House, fields: dict[str, str | None], status: int, words: str) -> None:
    before = counts(house)
    refused(house, house.upload(FILE, **fields), status, words)
    assert counts(house) == before


@pytest.mark.parametrize(("filename", "words"), NAMES, ids=[ascii(n)[:40] for n, _ in NAMES])
def test_a_filename_of_no_wheel(house: House, filename: str, words: str) -> None:
    refused(house, house.upload(FILE, filename=filename), 400, words)


@pytest.mark.parametrize(("filename", "words"), SDIST_NAMES)
def test_a_filename_of_no_sdist(house: House, filename: str, words: str) -> None:
    refused(house, house.upload(SOURCE, filename=filename), 400, words)


def test_an_sdist_under_a_name_that_is_not_normalised(house: House) -> None:
    source = sdist(Release("Foo.Bar", "1.0"))
    refused(
        house, house.upload(source, filename="Foo.Bar-1.0.tar.gz"), 400, "is foo_bar-1.0.tar.gz (PEP 625)"
    )


def test_line_breaks_in_a_filename_become_no_header_and_no_file(house: House) -> None:
    body, headers = encoded(form_of(FILE))
    body = body.replace(b'filename="acme', b'filename="x\r\n\r\nacme')
    answer = house.post_raw(body, headers)
    assert answer.status_code == 400
    assert house.spooled() == []


#: What is wrong with the parts of the form themselves.
BROKEN: list[tuple[str, Callable[[Parts], Parts], int, str]] = [
    ("no content", lambda parts: parts[:-1], 400, "the form has no file"),
    ("two files", lambda parts: [*parts, parts[-1]], 400, "the form has two files"),
    ("content as text", lambda parts: [*parts[:-1], ("content", "text")], 400, "has no filename"),
    ("no filename", lambda parts: [*parts[:-1], ("content", ("", b"x"))], 400, "has no filename"),
    ("two names", lambda parts: [("name", "acme"), *parts], 400, "the field name is given 2 times"),
    ("two digests", lambda parts: [("md5_digest", "0" * 32), *parts], 400, "md5_digest is given 2 times"),
    ("not UTF-8", lambda parts: [("summary", b"\xff\xfe"), *parts], 400, "is not UTF-8"),
    ("10,001 parts", lambda parts: [*[("classifiers", "x")] * 10_001, *parts], 413, "10000 at the most"),
    ("17 MB of text", lambda parts: [("description", "x" * 17 * MEGABYTE), *parts], 413, "fields of a form"),
    (
        "too large a file",
        lambda parts: [*parts[:-1], ("content", (FILE.filename, b"x" * (8 * MEGABYTE + 1)))],
        413,
        "bytes of a file: 8388608 at the most",
    ),
]


@pytest.mark.parametrize(
    ("change", "status", "words"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN]
)
def test_a_form_of_other_parts(
    house: House, change: Callable[[Parts], Parts], status: int, words: str
) -> None:
    before = counts(house)
    refused(house, house.post(change(form_of(FILE))), status, words)
    assert counts(house) == before


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--", "multipart/form-data; boundary=x"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"--x--", "multipart/form-data"),
        (b"--x--", "multipart/form-data; boundary=" + "x" * 201),
        (b"--x--", ""),
    ],
)
def test_a_body_that_is_no_form(house: House, body: bytes, content_type: str) -> None:
    answer = house.post_raw(body, {"Content-Type": content_type})
    assert answer.status_code == 400
    assert "form" in reason(answer)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_body_that_is_cut_off(house: House, share: float) -> None:
    body, headers = encoded(form_of(FILE))
    refused(house, house.post_raw(body[: int(len(body) * share)], headers), 400, "cut off")


def test_a_head_of_a_part_without_end(house: House) -> None:
    body = b"--x\r\nContent-Disposition: " + b"y" * MEGABYTE
    assert house.post_raw(body, {"Content-Type": "multipart/form-data; boundary=x"}).status_code == 413


def test_other_bytes_under_a_name_that_is_taken(house: House) -> None:
    name = house.new_name()
    house.upload(house.wheel(name))
    before = counts(house)
    answer = house.upload(house.wheel(name, payload=b"other"))
    refused(house, answer, 409, "File already exists")
    assert reason(answer).startswith("File already exists")
    assert answer.json["code"] == "file-exists"
    assert counts(house) == before


def test_the_same_bytes_under_another_name(house: House) -> None:
    file = house.wheel()
    house.upload(file)
    again = file.filename.replace("py3-none-any", "py2.py3-none-any")
    refused(house, house.upload(file, filename=again), 400, f"known here as {file.filename}")


def test_a_second_sdist_of_a_release(house: House) -> None:
    name = house.new_name()
    house.upload(house.sdist(name, "1.0"))
    refused(house, house.upload(house.sdist(name, "1.0.0")), 400, "the release 1.0 has an sdist")


@pytest.mark.parametrize("payload", [b"", b"other"])
def test_a_filename_that_was_deleted(house: House, payload: bytes) -> None:
    file = house.wheel(name := house.new_name())
    house.upload(file)
    house.execute("UPDATE file SET withdrawn_at = 1 WHERE filename = :f", f=file.filename)
    refused(house, house.upload(house.wheel(name, payload=payload)), 400, "no filename is used twice")


@pytest.mark.parametrize("status", ["archived", "quarantined"])
def test_a_project_that_takes_no_uploads(house: House, status: str) -> None:
    name = house.new_name()
    house.upload(house.wheel(name))
    house.execute("UPDATE project SET status = :status WHERE name = :name", status=status, name=name)
    refused(house, house.upload(house.wheel(name, "1.1")), 403, f"is {status} and takes no uploads")


def test_an_index_without_a_hosted_source(house: House) -> None:
    house.koschey.hosted.add("later-gone", indexes=[], actor="test")
    house.koschey.indexes.add_index("bare", ["later-gone"], hold_days=None, actor="test")
    house.koschey.indexes.edit_index("bare", sources=[], hold_days=None, actor="test")
    refused(house, house.upload(FILE, to="/bare/legacy/"), 403, "the index bare takes no uploads")


def test_an_index_that_is_not_there(house: House) -> None:
    assert house.upload(FILE, to="/nowhere/legacy/").status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [("/simple/", 405), ("/simple/acme/", 405), ("/legacy/acme", 404), ("/_/oidc/audience", 404)],
)
def test_addresses_that_take_no_uploads(house: House, path: str, status: int) -> None:
    assert house.upload(FILE, to=path).status_code == status
    if status == 404:
        assert house.app.test_client().get(path).status_code == 404


def test_hatch_finds_the_page_below_the_address_of_uploads(house: House) -> None:
    file = house.wheel(name := house.new_name())
    house.upload(file)
    for base in ("/legacy", ""):
        answer = house.app.test_client().get(f"{base}/+simple/{name}/")
        assert file.filename in answer.text
    assert house.app.test_client().get("/legacy/+simple/unheard-of/").status_code == 404


class Unread:
    """A body that nobody may read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")

    readline = readlines = __iter__ = read  # type: ignore[assignment]


def headers_of(kind: str, house: House) -> dict[str, str]:
    database = house.koschey.database
    match kind:
        case "none":
            return {}
        case "unknown token":
            return basic(house.token[:-7] + "0" * 7)
        case "wrong password":
            return basic("wrong", "alice")
        case "expired token":
            return basic(add_token(database, "alice", role=None, expires_in=-1))
        case "malformed":
            return {"Authorization": "Basic ???"}
        case "read-only token":
            return basic(add_token(database, "alice", role=None, scope="read"))
        case "reader":
            return basic(add_token(database, "reader", role="reader"))
        case "other index":
            return basic(add_token(database, "elsewhere", index="main"))
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "status", "to"),
    [
        ("none", 401, "/legacy/"),
        ("unknown token", 401, "/legacy/"),
        ("wrong password", 401, "/legacy/"),
        ("expired token", 401, "/legacy/"),
        ("malformed", 401, "/legacy/"),
        ("read-only token", 403, "/legacy/"),
        ("reader", 403, "/legacy/"),
        ("reader", 403, "/"),
        ("other index", 403, "/elsewhere/legacy/"),
    ],
)
def test_who_may_not_is_refused_before_the_body_is_read(
    house: House, kind: str, status: int, to: str
) -> None:
    if to == "/elsewhere/legacy/" and not house.rows("SELECT 1 FROM source WHERE name = 'elsewhere'"):
        house.koschey.hosted.add("elsewhere", indexes=[], actor="test")
        house.koschey.indexes.add_index("elsewhere", ["elsewhere"], hold_days=None, actor="test")
    _, headers = encoded(form_of(FILE))
    environ = {"wsgi.input": Unread(), "wsgi.input_terminated": True}
    answer = house.app.test_client().post(
        to, headers=headers | headers_of(kind, house), environ_overrides=environ
    )
    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_a_token_that_only_reads_is_told_so(house: House) -> None:
    answer = house.upload(FILE, token=add_token(house.koschey.database, "alice", role=None, scope="read"))
    assert "this token is for read, not for upload" in reason(answer)


def test_a_right_for_some_names_is_decided_before_the_file_is_read(house: House) -> None:
    """By the field name, which clients send before the file."""
    token = add_token(house.koschey.database, "narrow", pattern="narrow-*")
    body, headers = encoded(form_of(replace(FILE, content=b"x" * MEGABYTE)))
    cut = body[: body.index(b"xxx") + 10]
    answer = house.post_raw(cut, headers, token=token)
    assert answer.status_code == 403
    assert "acme" in reason(answer)


def test_a_right_that_is_revoked_while_the_file_comes(house: House) -> None:
    token = add_token(house.koschey.database, "brief", pattern="brief")
    file = house.wheel("brief")
    body, headers = encoded(form_of(file))

    class Slow:
        """Takes the right away between two reads."""

        def __init__(self) -> None:
            self.left = [body[:-30], body[-30:]]

        def read(self, _size: int = -1) -> bytes:
            if len(self.left) == 1:
                with house.koschey.database.transaction() as tx:
                    tx.session.execute(text("DELETE FROM \"grant\" WHERE subject = 'user:brief'"))
                    tx.touch_configuration()
            return self.left.pop(0) if self.left else b""

    environ = {"wsgi.input": Slow(), "wsgi.input_terminated": True, "CONTENT_TYPE": headers["Content-Type"]}
    answer = house.app.test_client().post("/legacy/", headers=basic(token), environ_overrides=environ)
    assert answer.status_code == 403
    assert "brief" in reason(answer)
    assert house.rows("SELECT 1 FROM file WHERE filename = :f", f=file.filename) == []


def test_text_outside_of_latin_1_in_a_reason_crashes_nothing(house: House) -> None:
    answer = house.upload(FILE, protocol_version="бета → 2")
    assert answer.status_code == 400
    assert reason(answer).isprintable()
    reason(answer).encode("latin-1")
    assert "бета → 2" in answer.json["detail"]


def test_a_browser_gets_a_page(house: House) -> None:
    body, headers = encoded(form_of(FILE, protocol_version="2"))
    answer = house.post_raw(body, headers | {"Accept": "text/html"})
    assert answer.content_type.startswith("text/html")
    assert "protocol_version is" in answer.text


def test_a_refusal_is_one_line_in_the_log(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from koschey.web import upload

    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(upload.log, "warning", lambda event, **said: lines.append({"event": event} | said))
    house.upload(FILE, protocol_version="2")
    [line] = lines
    assert line["event"] == "upload.refused"
    assert line["actor"].startswith("user:alice")
    assert "protocol_version" in line["reason"]
    assert house.token not in json.dumps(lines)

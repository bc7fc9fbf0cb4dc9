"""Installers in front of an index that is not everybody's: how they are asked, and what they do then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests import running
from tests.artifacts import Release, wheel
from tests.clients.conftest import NewRoom, Room, installed
from tests.fake_upstream import FakeUpstream
from tests.running import Running
from tests.uploads.posting import encoded, form_of

PRIVATE = "acme-secret"


class Private:
    """A Koschey in which only the signed in may read; ``token`` is a reader's of everything."""

    def __init__(self, koschey: Running) -> None:
        self.koschey = koschey
        koschey.cli("grant", "remove", "reader", "everyone")
        koschey.cli("grant", "add", "reader", "signed-in", "--index", "main")
        koschey.cli("index", "add", "team", "--source", "hosted")
        koschey.cli("user", "create", "ci", "--role", "publisher")
        koschey.cli("user", "create", "guest")
        self.token = koschey.cli("token", "create", "ci").strip()
        self.guest = koschey.cli("token", "create", "guest", "--scope", "read").strip()
        body, headers = encoded(form_of(wheel(Release(PRIVATE, "1.0"))))
        sent = requests.post(
            f"{koschey.url}/team/legacy/", body, headers=headers, auth=("__token__", self.token)
        )
        assert sent.status_code == 200, sent.text

    def index(self, token: str | None, path: str = "/simple/") -> str:
        """The URL of an index, with a token in it."""
        host = urlsplit(self.koschey.url).netloc
        user = "" if token is None else f"__token__:{token}@"
        return f"http://{user}{host}{path}"


@pytest.fixture(scope="module")
def private(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    with running.koschey(tmp_path_factory.mktemp("private"), upstream.simple_url, {}) as process:
        yield Private(process)


@pytest.fixture
def room(new_room: NewRoom, private: Private) -> Room:
    return new_room(private.koschey)


def pip(room: Room, index: str, *arguments: str, succeeds: bool = True) -> str:
    return room.run("pip", "install", "--no-input", "--index-url", index, *arguments, succeeds=succeeds)


def uv(room: Room, *arguments: str, succeeds: bool = True) -> str:
    return room.run("uv", "pip", "install", *arguments, succeeds=succeeds)


def test_pip_and_uv_install_with_a_token_in_the_url(room: Room, private: Private) -> None:
    pip(room, private.index(private.token), "--target", "p", "app")
    uv(room, "--index-url", private.index(private.token), "--target", "u", "app")
    assert installed(room.folder / "p") == installed(room.folder / "u") != {}


def test_pip_and_uv_find_the_token_in_netrc_once_they_are_asked(room: Room, private: Private) -> None:
    home = Path(room.environment["HOME"])
    home.mkdir()
    netrc = home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1\nlogin __token__\npassword {private.token}\n")
    netrc.chmod(0o600)
    pip(room, private.index(None), "--target", "p", "base")
    uv(room, "--index-url", private.index(None), "--target", "u", "base")
    assert installed(room.folder / "p") == installed(room.folder / "u") != {}


@pytest.mark.parametrize("token", [None, "koschey_wrong"])
def test_without_a_right_token_pip_and_uv_say_that_one_is_needed(
    room: Room, private: Private, token: str | None
) -> None:
    said = pip(room, private.index(token), "--target", "p", "base", succeeds=False)
    # pip would ask for a name and password, and may not.
    assert "401" in said or "User for 127.0.0.1" in said or "No matching distribution" in said
    said = uv(room, "--index-url", private.index(token), "--target", "u", "base", succeeds=False)
    assert "401" in said or "authenticat" in said.lower() or "credentials" in said.lower(), said
    assert installed(room.folder / "p") == installed(room.folder / "u") == {}


def test_uv_takes_a_private_name_from_the_private_index_and_the_rest_from_the_other(
    room: Room, private: Private
) -> None:
    both = (
        "--index",
        private.index(private.token, "/team/simple/"),
        "--default-index",
        private.index(private.token),
    )
    uv(room, *both, "--target", "u", PRIVATE, "base")
    assert installed(room.folder / "u").keys() >= {PRIVATE, "base"}


def test_uv_stops_at_a_private_index_that_does_not_know_it(
    room: Room, private: Private, upstream: FakeUpstream
) -> None:
    """Somebody else's package of the same name further down must not be taken instead."""
    upstream.project(PRIVATE).release("6.6.6")
    both = ("--index", private.index(None, "/team/simple/"), "--default-index", upstream.simple_url)
    said = uv(room, *both, "--target", "u", PRIVATE, succeeds=False)
    assert "401" in said or "authenticat" in said.lower() or "credentials" in said.lower(), said
    assert upstream.count(f"{PRIVATE.replace('-', '_')}-6.6.6-py3-none-any.whl") == 0

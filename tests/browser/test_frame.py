"""The frame that all pages share: htmx from the CDN as it was promised, colours, keys, narrow screens."""

from __future__ import annotations

import base64
import gc
import hashlib
import re
import socket
import struct
from urllib.parse import urlsplit

import pytest

from koschey.settings import Settings
from tests.browser.browsing import HTMX, NARROW, Site
from tests.browser.conftest import Visit
from tests.fake_upstream import FakeUpstream
from tests.running import CHECKOUT


def test_htmx_is_the_file_that_its_digest_promises(visit: Visit) -> None:
    digest = base64.b64encode(hashlib.sha384(HTMX.read_bytes()).digest()).decode()
    assert Settings().htmx_integrity == f"sha384-{digest}"

    page = visit().go("/")

    assert page.evaluate("htmx.version") == "2.0.11"
    assert page.evaluate("[htmx.config.allowEval, htmx.config.selfRequestsOnly]") == [False, True]


def test_another_file_in_its_place_is_not_run(visit: Visit) -> None:
    visitor = visit()
    visitor.expected = ("integrity",)
    url = visitor.site.services.settings.htmx_url
    visitor.context.route(
        url,
        lambda route: route.fulfill(
            body="window.evil = 1",
            content_type="text/javascript",
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    )

    page = visitor.go("/")

    assert page.evaluate("[typeof htmx, typeof evil]") == ["undefined", "undefined"]
    assert any("integrity" in trouble for trouble in visitor.troubles)


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_who_chooses_dark_gets_dark_from_then_on(visit: Visit, script: bool) -> None:
    visitor = visit(java_script_enabled=script, color_scheme="light")
    page = visitor.go("/why/nothing-of-that-name") if not script else visitor.go("/")
    visitor.expected = ("404",)
    there = page.url

    page.get_by_role("button", name="Dark").click()

    assert page.url == there
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    assert visitor.go("/").locator("html").get_attribute("data-theme") == "dark"


def test_the_menu_of_a_narrow_screen_opens_without_a_script(visit: Visit) -> None:
    page = visit(java_script_enabled=False, viewport=NARROW).go("/")
    link = page.get_by_role("navigation", name="Main").get_by_role("link", name="Indexes")
    assert not link.is_visible()

    page.get_by_role("button", name="Menu").click()

    assert link.is_visible()


def test_the_page_for_the_first_admin_is_accessible_and_no_place_for_tools(visit: Visit, site: Site) -> None:
    visitor = visit()
    link = site.services.setup.link()
    assert link is not None
    page = visitor.go(link)

    visitor.assert_fits()
    assert page.locator(".side [aria-current]").count() == 0


def test_an_error_says_what_to_do_next(visit: Visit) -> None:
    visitor = visit()
    visitor.expected = ("404",)
    page = visitor.go("/nothing/here")

    page.get_by_role("link", name="Find a project").click()

    page.get_by_label("Find a project").wait_for()


def test_a_page_of_another_index_stands_at_the_same_place(visit: Visit, site: Site) -> None:
    site.services.indexes.add_index("team", ["upstream"], hold_days=7, actor="test")
    for path, label in (("/team/setup", "Set up your tools"), ("/team/search", "Projects")):
        here = visit().go(path).locator(".side [aria-current]")
        assert here.all_inner_texts() == [label]


def test_single_keys_help_and_can_be_switched_off(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("/")
    page.keyboard.press("?")
    assert visitor.violations() == []
    assert page.get_by_role("heading", name="Keyboard").is_visible()
    assert page.evaluate("document.activeElement.innerText") == "Close"

    page.get_by_label("Single keys are shortcuts").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("?")
    assert not page.get_by_role("heading", name="Keyboard").is_visible()

    page.reload()
    page.keyboard.press("?")
    assert not page.get_by_role("heading", name="Keyboard").is_visible()


def test_a_line_is_copied_and_that_is_said(visit: Visit) -> None:
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    page = visitor.go("/")

    page.get_by_role("button", name="Copy").first.click()

    page.get_by_role("status").get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("pip install --index-url")


PAGES = ["/", "/why/sample", "/why/sample/1.0", "/why/sample/9", "/login", "/nothing/here", "/setup/no-link"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_accessible_and_fit(visit: Visit, upstream: FakeUpstream, path: str) -> None:
    upstream.project("sample").release("1.0")
    visitor = visit()
    visitor.expected = ("404",)
    visitor.go(path)

    visitor.assert_fits()


def test_static_files_are_kept_for_good_under_their_digests(site: Site) -> None:
    with site.app.test_client() as client:
        page = client.get("/").get_data(as_text=True)
        [name] = set(re.findall(r"koschey\.[0-9a-f]{12}\.css", page))
        with client.get(f"/static/{name}") as lasting, client.get("/static/koschey.css") as plain:
            assert "immutable" in lasting.headers["Cache-Control"]
            assert "immutable" not in plain.headers["Cache-Control"]
            assert lasting.data == plain.data == (CHECKOUT / "static" / "koschey.css").read_bytes()
            assert len(lasting.data) < 20_000
        assert client.get("/static/..%2fpyproject.toml").status_code == 404


def test_what_a_browser_leaves_behind_is_closed(site: Site) -> None:
    """A file that nobody closed is an error of whichever test is running when it is collected."""
    where = urlsplit(site.url)
    for _ in range(10):
        with socket.create_connection((where.hostname, where.port)) as connection:
            connection.sendall(b"GET /static/koschey.css HTTP/1.1\r\nHost: koschey\r\n\r\n")
            connection.recv(100)
            # A reset instead of a polite end, as of a tab that is closed.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gc.collect()

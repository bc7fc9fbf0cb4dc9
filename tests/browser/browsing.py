"""Chromium, and what it needs: for tests that see pages as people do."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from koschey.settings import Settings
from koschey.web.current import Koschey
from tests.running import CHECKOUT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: ``make test`` puts them there, out of the packages in ``packages.txt``.
SCRIPTS = CHECKOUT / ".make" / "browser"
HTMX, AXE = SCRIPTS / "dist" / "htmx.min.js", SCRIPTS / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run"]  # fmt: skip
#: WCAG 2.2 AA, and what axe calls good practice.
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: What a colour scheme can change of it.
_COLOURS = ["color-contrast", "link-in-text-block"]
NARROW = {"width": 320, "height": 640}
WIDE = {"width": 1280, "height": 800}


def missing() -> str:
    """Why there can be no browser here; empty when there can."""
    if CHROMIUM is None:
        return "no chromium on PATH (apt-get install chromium)"
    if not (HTMX.is_file() and AXE.is_file()):
        return "htmx and axe are not there (make .make/browser, which needs npm)"
    return ""


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Nothing: the application has a log of its own."""


def _whole(application: WSGIApplication) -> WSGIApplication:
    """Reads what is answered before it is sent, and closes it.

    Werkzeug's server asks a connection whether anything is left to read before it closes an answer, and where
    the browser has gone away that question raises: the file of the answer stays open.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = application(environ, start_response)
        try:
            return list(body)
        finally:
            if hasattr(body, "close"):
                body.close()

    return answer


@dataclass(frozen=True)
class Site:
    """An application that answers at ``url``, in threads of this process."""

    app: Flask
    url: str

    @property
    def services(self) -> Koschey:
        services: Koschey = self.app.extensions["koschey"]
        return services


@contextmanager
def served(app: Flask) -> Iterator[Site]:
    """An application behind a real socket."""
    server = make_server("127.0.0.1", 0, _whole(app), threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Site(app, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """Somebody with a browser: ``page`` is their tab, ``troubles`` what it complained about."""

    site: Site
    context: BrowserContext
    page: Page
    troubles: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Words of complaints that are no trouble: a 404 that was asked for is one to Chromium."""

    def go(self, path: str) -> Page:
        """Open a page, by its address below the site's."""
        self.page.goto(self.site.url + path, wait_until="load")
        return self.page

    def settle(self) -> None:
        """Wait until htmx has nothing under way."""
        self.page.wait_for_function(
            "!document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling')"
        )

    def violations(self, *, colours: bool = False) -> list[str]:
        """What axe finds against WCAG 2.2 AA in the page as it is now; ``colours``: of its colours only."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        rules = {"type": "rule", "values": _COLOURS} if colours else {"type": "tag", "values": _RULES}
        found = self.page.evaluate("rules => axe.run({runOnly: rules})", rules)["violations"]
        return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found for n in v["nodes"]]

    def overflows(self) -> bool:
        """Whether the page is wider than its window."""
        wider: bool = self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        return wider

    def assert_fits(self) -> None:
        """AssertionError when the page is not accessible, or too wide, in light, dark or narrow."""
        for scheme, size in (("light", WIDE), ("dark", WIDE), ("light", NARROW)):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            self.page.set_viewport_size(size)  # type: ignore[arg-type]
            assert self.violations(colours=scheme == "dark") == [], (self.page.url, scheme, size)
            assert not self.overflows(), (self.page.url, size)
        self.page.set_viewport_size(WIDE)  # type: ignore[arg-type]

    def check(self) -> None:
        """AssertionError when something was complained about: a script, the policy, a dialog, an address."""
        left = [t for t in self.troubles if not any(words in t for words in self.expected)]
        assert not left, left


@contextmanager
def visiting(browser: Browser, site: Site, **options: Any) -> Iterator[Visitor]:
    """A visitor with a clean browser. ``options``: playwright's, such as ``java_script_enabled``."""
    context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
    context.set_default_timeout(15_000)
    visitor = Visitor(site, context, context.new_page())
    settings: Settings = site.services.settings
    own = urlsplit(site.url).netloc

    def route(route: Route) -> None:
        url = route.request.url
        if url == settings.htmx_url:
            headers = {"Access-Control-Allow-Origin": "*"}  # as the CDN sends it
            route.fulfill(path=HTMX, content_type="text/javascript", headers=headers)
        elif urlsplit(url).netloc == own:
            route.continue_()
        else:
            visitor.troubles.append(f"asked for {url}")
            route.abort()

    context.route("**/*", route)
    page = visitor.page
    page.on("console", lambda m: visitor.troubles.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: visitor.troubles.append(str(error)))

    def dismiss(dialog: Any) -> None:
        visitor.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", dismiss)
    try:
        yield visitor
    finally:
        context.close()

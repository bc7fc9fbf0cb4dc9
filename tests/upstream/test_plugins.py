"""The outgoing-request hook: the documented example, and failing closed."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
import types
from contextlib import closing
from pathlib import Path

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from koschey import hookspecs
from koschey.errors import SettingsInvalid, UpstreamRefused, UpstreamUnavailable
from koschey.hookspecs import Route, hookimpl
from koschey.plugins import load_plugins
from koschey.upstream.endpoint import Endpoint
from tests.upstream.conftest import endpoint, get
from tests.upstream.proxy import Proxy
from tests.upstream.scripted import answer, redirect

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def plugin(monkeypatch):
    """Put a module with these functions where it can be imported, as ``acme_plugin``."""

    def make(name="acme_plugin", **functions):
        module = types.ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, name, module)
        return name

    return make


def deciding(decide):
    """A hook function that answers with ``decide(url)``."""

    @hookimpl
    def koschey_outgoing_request(url):
        return decide(url)

    return koschey_outgoing_request


@pytest.fixture
def session_with(make_session, plugin):
    def make(decide, **settings):
        return make_session(
            hooks=load_plugins([plugin(koschey_outgoing_request=deciding(decide))]), **settings
        )

    return make


def test_the_example_routes_one_upstream_through_a_proxy_with_a_header(serve, make_session, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    server = serve(lambda request: answer(b"page"))
    with closing(Proxy({"upstream.example": server.port})) as proxy:
        monkeypatch.setenv("KOSCHEY_PLUGIN_ROUTE_UPSTREAM", "outside")
        monkeypatch.setenv("KOSCHEY_PLUGIN_ROUTE_PROXY", proxy.url)
        monkeypatch.setenv("KOSCHEY_PLUGIN_ROUTE_COST_CENTRE", "4711")
        session = make_session(hooks=load_plugins(["route_through_proxy"]))
        assert get(session, Endpoint("outside", "http://upstream.example/simple/")) == b"page"
        assert [(seen[1], seen[2]["x-cost-centre"]) for seen in proxy.seen] == [
            ("http://upstream.example/simple/", "4711")
        ]
        assert get(session, Endpoint("another", server.url)) == b"page"
        assert len(proxy.seen) == 1
    assert [request.headers.get("x-cost-centre") for request in server.requests] == ["4711", None]


def test_every_hook_is_documented_with_its_arguments():
    text = (DOCS / "plugins.rst").read_text(encoding="utf-8")
    for name, function in vars(hookspecs).items():
        if hasattr(function, "koschey_spec"):
            arguments = ", ".join(function.__code__.co_varnames[: function.__code__.co_argcount])
            assert f"``{name}({arguments})``" in text
    for field in Route.__dataclass_fields__:
        assert f"\n``{field}``\n" in text


def test_the_hook_is_asked_at_every_hop_and_repetition(serve, session_with):
    asked = []
    said = iter([answer(status="503 Busy"), redirect("/b"), answer(b"end")])
    server = serve(lambda request: next(said))
    get(session_with(asked.append, retries=1), endpoint(server))
    assert asked == [server.url + "simple/", server.url + "simple/", server.url + "b"]


def test_a_routes_headers_go_to_the_own_origin_only(serve, session_with):
    elsewhere = serve(lambda request: answer(b"file"), host="127.0.0.2")
    home = serve(lambda request: redirect(elsewhere.url))
    session = session_with(lambda url: Route(headers={"X-Token": "canary", "authorization": "mine"}))
    assert get(session, endpoint(home, internal=True, token="stored")) == b"file"
    assert home.requests[0].headers["x-token"] == "canary"
    assert home.requests[0].headers["authorization"] == "mine"
    assert not {"x-token", "authorization"} & elsewhere.requests[0].headers.keys()


def test_an_adapter_of_a_plug_in_sends_the_request(serve, session_with):
    sent = []

    class Counting(HTTPAdapter):
        def send(self, request, *args, **kwargs):
            sent.append(request.url)
            return super().send(request, *args, **kwargs)

    server = serve(lambda request: answer(b"page"))
    with closing(Counting()) as adapter:
        assert get(session_with(lambda url: Route(adapter=adapter)), endpoint(server)) == b"page"
    assert sent == [server.url + "simple/"]


class _Failing(BaseAdapter):
    def send(self, *args, **kwargs):
        raise self.error

    def close(self):
        """Nothing is open."""


class _Raw(_Failing):
    def send(self, *args, **kwargs):
        return requests.Response()


def _failing_adapter(error):
    adapter = _Failing()
    adapter.error = error
    return Route(adapter=adapter)


def _fail(url):
    raise RuntimeError(f"canary {url}")


@pytest.mark.parametrize(
    ("decide", "reason"),
    [
        (_fail, "plug-in acme_plugin failed: RuntimeError"),
        (lambda url: sys.exit("canary"), "plug-in acme_plugin failed: SystemExit"),
        (lambda url: "http://proxy.example", "plug-in acme_plugin returned str"),
        (lambda url: Route(proxy=7), "returned a Route whose proxy or ca_file is no text"),
        (lambda url: Route(headers=["x"]), "returned a Route whose headers are no mapping"),
        (lambda url: Route(headers={"x": 1}), "returned a Route whose headers are no mapping"),
        (lambda url: Route(client_cert=3), "returned a Route whose client_cert is neither"),
        (lambda url: Route(adapter="x"), "returned a Route whose adapter has no send"),
        (lambda url: Route(proxy="socks5://proxy.example"), "proxy must be"),
        (lambda url: Route(headers={"X": "a\r\nY: b"}), "cannot be written as HTTP"),
        (lambda url: _failing_adapter(KeyError("canary")), "adapter of plug-in acme_plugin failed: KeyError"),
        (lambda url: Route(adapter=_Raw()), "returned no urllib3 response"),
    ],
)
def test_a_plug_in_that_fails_stops_the_request(serve, session_with, decide, reason):
    server = serve(lambda request: answer(b"page"))
    with pytest.raises(UpstreamRefused, match=reason) as refused:
        get(session_with(decide), endpoint(server))
    assert "canary" not in str(refused.value)
    assert not server.requests


def test_a_plug_in_that_hangs_stops_the_request(serve, session_with):
    release = threading.Event()
    server = serve(lambda request: answer(b"page"))
    started = time.monotonic()
    with pytest.raises(UpstreamRefused, match="plug-in acme_plugin did not answer within"):
        get(session_with(lambda url: release.wait(10), hook_patience=0.2), endpoint(server))
    assert time.monotonic() - started < 2
    assert not server.connections
    release.set()


def test_a_network_failure_of_an_adapter_is_the_upstreams(session_with, serve):
    server = serve(lambda request: answer(b"page"))
    session = session_with(lambda url: _failing_adapter(requests.ConnectionError("refused")))
    with pytest.raises(UpstreamUnavailable):
        get(session, endpoint(server))


def test_the_first_opinion_counts_and_later_modules_are_asked_first(serve, make_session, plugin):
    server = serve(lambda request: answer(b"page"))
    modules = [
        plugin(
            name, koschey_outgoing_request=deciding(lambda url, name=name: Route(headers={"X-From": name}))
        )
        for name in ("acme_one", "acme_two")
    ]
    modules.append(plugin("acme_silent", koschey_outgoing_request=deciding(lambda url: None)))
    get(make_session(hooks=load_plugins(modules)), endpoint(server))
    assert server.requests[0].headers["x-from"] == "acme_two"


@hookimpl
def _no_such_hook():
    """Marked, but no hook of that name is declared."""


@hookimpl
def _other_arguments(nonsense):
    """An argument that the hook does not have."""


@hookimpl(wrapper=True)
def _wrapping():
    return (yield)


@pytest.mark.parametrize(
    ("functions", "problem"),
    [
        ({"koschey_outgoing_reqest": _no_such_hook}, "koschey_outgoing_reqest"),
        ({"koschey_outgoing_request": _other_arguments}, "nonsense"),
        ({"koschey_outgoing_request": lambda url: None}, "lacks @hookimpl"),
        ({"koschey_outgoing_request": _wrapping}, "wrapper"),
    ],
)
def test_a_function_that_fits_no_hook_stops_the_start(plugin, functions, problem):
    with pytest.raises(SettingsInvalid, match=problem) as invalid:
        load_plugins([plugin(**functions)])
    assert "acme_plugin" in str(invalid.value)


def test_a_module_that_cannot_be_imported_stops_the_start(tmp_path, monkeypatch):
    (tmp_path / "acme_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, problem in (("acme_missing", "ModuleNotFoundError"), ("acme_broken", "ZeroDivisionError")):
        with pytest.raises(SettingsInvalid, match=f"{module} cannot be loaded: {problem}"):
            load_plugins([module])


def test_installed_plug_ins_are_found_by_their_entry_point(tmp_path, monkeypatch, serve, make_session):
    (tmp_path / "acme_installed.py").write_text(
        "from koschey.hookspecs import Route, hookimpl\n"
        "@hookimpl\n"
        "def koschey_outgoing_request():\n"
        "    return Route(headers={'X-From': 'installed'})\n"
    )
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[koschey]\nacme = acme_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    server = serve(lambda request: answer(b"page"))
    manager = load_plugins(["acme_installed"])  # named twice, loaded once
    get(make_session(hooks=manager), endpoint(server))
    assert server.requests[0].headers["x-from"] == "installed"
    assert [name for name, _ in manager.list_name_plugin()] == ["koschey.checks.builtin", "acme"]


def test_the_example_is_the_file_that_the_documentation_shows():
    assert "literalinclude:: examples/route_through_proxy.py" in (DOCS / "plugins.rst").read_text()
    assert importlib.util.find_spec("koschey.hookspecs")

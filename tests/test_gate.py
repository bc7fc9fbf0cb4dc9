"""No way round the gate: each route says whether it can show a file, and those that can ask the gate."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

import koschey
from koschey import settings as settings_module
from koschey.application import create_app
from koschey.domain.permissions import Permission
from koschey.server.heads import HotRequest
from koschey.services.gate import Gate, Judge
from koschey.web.access import Required, declaration
from koschey.web.current import Koschey
from tests.fake_upstream import FakeUpstream
from tests.upstream_pages import UpstreamFile

#: Routes that show no file and no name, and why that is so.
BLIND = {
    "/": "names of indexes",
    "/theme": "a redirect",
    "/legacy/": "takes uploads",
    "/+simple/<name>/": "the page of /simple/<name>/, by the same view",
    "/legacy/+simple/<name>/": "the page of /simple/<name>/, by the same view",
    "/simple": "a redirect",
    "/simple/<name>": "a redirect, whatever the name is",
    "/healthz": "a word",
    "/readyz": "words about this process",
    "/metrics": "numbers",
    "/login": "a form",
    "/logout": "a redirect",
    "/setup/<link>": "a form",
    "/setup": "lines for tools",
    "/requests": "what somebody asked for: names and answers that were for them",
    "/account": "one's own tokens",
    "/account/form": "a form that was sent, out of the cookie",
    "/account/tokens": "a redirect, or the token that was made",
    "/account/tokens/<int:token_id>/revoke": "a redirect",
    "/account/password": "a redirect",
    "/account/password/<link>": "a form",
    "/projects/<name>": "a redirect, whatever the name is",
    "/projects/<name>/<version>/ask": "a redirect, or its version's page by the same service",
    "/projects/<name>/<version>/take-back": "a redirect",
    "/projects/<name>/manage/<verb>": "a redirect, or names of the company's own files that were changed",
}
#: Routes that could show a file, with a request for a held one.
REVEALING = {
    "/simple/": "/simple/",
    "/simple/<name>/": "/simple/sample/",
    "/pypi/<name>/json": "/pypi/sample/json",
    "/pypi/<name>/<version>/json": "/pypi/sample/1.0/json",
    "/packages/<path:rest>": "{path}",
    "/packages/<path:rest> (metadata)": "{path}.metadata",
    "/packages/<path:rest> (PEP 710)": "{path}.provenance_url.json",
    "/packages/<path:rest> (record)": "{path}.record.json",
    "/integrity/<project>/<version>/<filename>/provenance": ("/integrity/sample/1.0/{filename}/provenance"),
    "/why/<project>": "/why/sample",
    "/why/<project>/<version>": "/why/sample/1.0",
    "/projects/<name>/": "/projects/sample/",
    "/projects/<name>/<version>/": "/projects/sample/1.0/",
    "/search": "/search?q=sample",
}
#: Take a form: nothing of what they say is a file.
FORMS_TAKEN = frozenset(
    {
        "/login",
        "/logout",
        "/setup/<link>",
        "/",
        "/theme",
        "/legacy/",
        "/account/tokens",
        "/account/tokens/<int:token_id>/revoke",
        "/account/password",
        "/account/password/<link>",
        "/projects/<name>/<version>/ask",
        "/projects/<name>/<version>/take-back",
        "/projects/<name>/manage/<verb>",
    }
)
#: For those who look after the quarantine: what is hidden is what they are there for.
FOR_REVIEWERS = "/admin"
REVIEWERS = frozenset({Permission.AUDIT, Permission.INSPECT, Permission.REVIEW, Permission.ADMIN})
#: Explains what is hidden, to whoever may see the project: names and reasons are its purpose, bytes are not.
EXPLAINING = frozenset(
    {"/why/<project>", "/why/<project>/<version>", "/projects/<name>/", "/projects/<name>/<version>/"}
)
#: Goes by the recorded holds: the gate would have to judge every file of the index.
BY_RECORD = frozenset({"/simple/", "/search"})
#: Asks when the page is made, and the page ends with the first of its verdicts.
READY_MADE = frozenset({"/simple/<name>/", "/pypi/<name>/json"})
#: Has one form, whatever the Accept header says.
ONE_FORM = frozenset({"/pypi/<name>/json"})
#: Has nothing of a version of which nothing is visible.
MISSING = frozenset({"/pypi/<name>/<version>/json"})
FORMS = ("application/vnd.pypi.simple.v1+json", "text/html", "application/json")


@dataclass(frozen=True)
class Held:
    """An application with one held file, stored, and how often its gate was asked."""

    app: Flask
    services: Koschey
    file: UpstreamFile
    asked: list[str]

    def target(self, route: str, prefix: str = "") -> str:
        return prefix + REVEALING[route].format(path=self.file.path, filename=self.file.filename)

    def get(self, target: str, method: str = "GET", **headers: str) -> TestResponse:
        self.asked.clear()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.app.test_client().open(target, method=method, headers=named) as answer:
            answer.get_data()
            return answer


@pytest.fixture(scope="module", params=[True, False], ids=["hot path", "views"])
def held(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    asked: list[str] = []
    judge = Gate.judge

    def counting(self: Gate, index: Any, name: str, project: Any, *, quarantined: bool = False) -> Judge:
        asked.append(name)
        return judge(self, index, name, project, quarantined=quarantined)

    with pytest.MonkeyPatch.context() as patch, FakeUpstream() as upstream:
        patch.setattr(Gate, "judge", counting)
        fresh = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        provenance = {"version": 1, "attestation_bundles": []}
        file = upstream.project("sample").release("1.0", upload_time=fresh, provenance=provenance)
        settings = settings_module.load(
            {},
            data_dir=tmp_path_factory.mktemp("gate"),
            upstream_url=upstream.simple_url,
            hot_path=request.param,
            log_level="error",
        )
        app = create_app(settings, periodic_jobs=False)
        services: Koschey = app.extensions["koschey"]
        services.indexes.add_index("team", ["upstream"], hold_days=30, actor="test")
        held = Held(app, services, file, asked)
        _store(held)
        yield held
        services.close()


def _store(held: Held) -> None:
    """Have the file and its documents in the store, as they are when its checks have passed."""
    held.services.indexes.edit_index("main", sources=None, hold_days=0, actor="test")
    assert held.get("/simple/sample/").status_code == 200
    for route in ("", " (metadata)"):
        assert held.get(held.target(f"/packages/<path:rest>{route}")).status_code == 200
    assert held.get(held.target("/integrity/<project>/<version>/<filename>/provenance")).status_code == 200
    held.services.indexes.edit_index("main", sources=None, hold_days=30, actor="test")
    held.services.tasks["settle_policies"]()


def test_every_route_is_declared_as_showing_files_or_not(held: Held) -> None:
    """A new route fails here until somebody has said what it shows, and a test below has seen that."""
    rules = {rule.rule.removeprefix("/<index>") for rule in held.app.url_map.iter_rules()}
    rules = {rule for rule in rules if not rule.startswith(FOR_REVIEWERS)}

    assert rules == BLIND.keys() | {route.partition(" (")[0] for route in REVEALING}


def test_no_route_takes_a_method_that_is_not_tried(held: Held) -> None:
    for rule in held.app.url_map.iter_rules():
        form = rule.rule.removeprefix("/<index>") in FORMS_TAKEN and "POST" in (rule.methods or ())
        if not rule.rule.startswith(FOR_REVIEWERS) and not form:
            assert rule.methods == {"GET", "HEAD", "OPTIONS"}, rule.rule


def test_what_is_for_reviewers_asks_for_their_permission(held: Held) -> None:
    for rule in held.app.url_map.iter_rules():
        if rule.rule.startswith(FOR_REVIEWERS):
            declared = declaration(held.app, rule.endpoint)
            assert isinstance(declared, Required), rule.rule
            assert declared.permission in REVIEWERS, rule.rule


@pytest.mark.parametrize("prefix", ["", "/team"])
@pytest.mark.parametrize("route", REVEALING)
def test_whatever_could_show_a_file_asks_the_gate_and_shows_nothing_of_a_held_one(
    held: Held, route: str, prefix: str
) -> None:
    for form in FORMS:
        for method in ("GET", "HEAD"):
            answer = held.get(held.target(route, prefix), method, Accept=form)

            made = route in READY_MADE and (method == "HEAD" or (route in ONE_FORM and form != FORMS[0]))
            if not (route in BY_RECORD or made):
                assert "sample" in held.asked or answer.status_code == 406, (form, method)
            _assert_nothing_shown(held, route, answer)
    etag = f'"{held.file.sha256}"'
    for condition in ({"Range": "bytes=0-9"}, {"If_None_Match": etag}, {"If_None_Match": "*"}):
        _assert_nothing_shown(held, route, held.get(held.target(route, prefix), **condition))


def _assert_nothing_shown(held: Held, route: str, answer: TestResponse) -> None:
    body, shown = answer.data, str(answer.headers)
    if route.startswith(("/packages", "/integrity")):
        assert answer.status_code in (403, 406)
        assert not {"Location", "X-Accel-Redirect", "Content-Range"} & set(answer.headers.keys())
    elif route in MISSING:
        assert answer.status_code == 404
    else:
        assert answer.status_code in (200, 304, 406)
    assert held.file.content[:8] not in body
    assert held.file.sha256.encode() not in body and held.file.sha256 not in shown
    if route == "/simple/":
        assert b"sample" not in body
    elif route not in EXPLAINING and not route.startswith(("/packages", "/integrity")):
        assert held.file.filename.encode() not in body
        assert b'"versions":[]' in body or b'"versions"' not in body


def test_the_hot_path_answers_only_what_a_declared_route_answers_and_asks_the_gate(held: Held) -> None:
    hot_path = held.services.hot_path
    if hot_path is None:
        return
    for prefix in ("", "/team"):
        for route in REVEALING:
            held.asked.clear()
            answer = hot_path.respond(_hot(held.target(route, prefix)))
            assert answer is None or held.file.filename.encode() not in answer.body, route
            assert answer is None or held.asked == [] or "sample" in held.asked, route
        for suffix in ("", ".metadata"):
            held.asked.clear()
            assert hot_path.respond(_hot(prefix + held.file.path + suffix)) is None
            assert held.asked == ["sample"]


def test_the_hot_path_shows_what_the_gate_lets_through(held: Held) -> None:
    """Or the test before would prove nothing."""
    held.services.indexes.edit_index("main", sources=None, hold_days=0, actor="test")
    try:
        for target in ("/simple/sample/", held.file.path, held.file.path + ".metadata"):
            assert held.get(target, Accept=FORMS[0]).status_code == 200
            if held.services.hot_path is not None:
                answer = held.services.hot_path.respond(_hot(target))
                assert answer is not None and answer.status == 200, target
    finally:
        held.services.indexes.edit_index("main", sources=None, hold_days=30, actor="test")


def _hot(target: str) -> HotRequest:
    return HotRequest("GET", target, "localhost", "application/vnd.pypi.simple.v1+json", "", "", {})


WEB = sorted((Path(koschey.__file__).parent / "web").rglob("*.py"))
#: What gives bytes or rows without asking the gate, and who in the web layer may hold it all the same.
UNJUDGED = frozenset({"store", "lookup", "database", "client", "engine", "checking", "queue", "tasks"})
MAY_HOLD = {
    # Declare them, and make services of them.
    "core.py": UNJUDGED,
    "deciding.py": UNJUDGED,
    "packages.py": UNJUDGED,
    "current.py": UNJUDGED,
    # Reads what ``Files.find`` let through; the client is who asks.
    "hot_path.py": frozenset({"store", "client"}),
}


@pytest.mark.parametrize("module", WEB, ids=lambda path: path.name)
def test_no_view_holds_what_gives_files_unjudged(module: Path) -> None:
    used = {
        node.attr.lstrip("_")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }

    assert used & UNJUDGED <= MAY_HOLD.get(module.name, frozenset())

"""Asking for a hidden version: one wish of many, one answer to all, and nobody is told twice or never."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from koschey.domain.asks import Ask, AskState, checked_email
from koschey.errors import Conflict, NotFound, RequestInvalid, SettingsInvalid
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both


def fresh(days: float = 1) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


class Mailbox:
    """What an SMTP server took. ``refusing``: it takes nothing."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], str]] = []
        self.refusing = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        if self.refusing:
            return "451 try again later"
        self.mails.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"

    def to(self, address: str) -> list[str]:
        return [content for receivers, content in self.mails if address in receivers]


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, str]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = Controller(
        box, hostname="127.0.0.1", port=port
    )  # it asks itself for a proof of life at that port
    server.start()
    yield box, f"smtp://127.0.0.1:{port}?tls=no"
    server.stop()


class Hook:
    """A webhook's receiver: bodies and signatures; ``status``: what it answers."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.status = 204
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((body, self.headers.get("X-Koschey-Signature", "")))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.got]


@pytest.fixture
def hook() -> Iterator[Hook]:
    receiver = Hook()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def make(deploy: Deploy, upstream: FakeUpstream) -> Callable[..., Deployment]:
    """A deployment that has looked at a project with a held 1.0 and 2.0 and a visible 0.9."""
    project = upstream.project("sample")
    project.release("0.9", upload_time=fresh(90))
    project.release("1.0", sdist=True, upload_time=fresh())
    project.release("2.0", upload_time=fresh())

    def deployed(**settings: Any) -> Deployment:
        here = deploy(quarantine_days=7.0, **settings)
        tasks = here.koschey.tasks
        assert isinstance(tasks, dict)
        for name in ("derive_work", "check_file", "tell"):  # what runs behind is called by the tests
            tasks[f"real_{name}"], tasks[name] = tasks[name], lambda *_: None
        here.look("sample")
        return here

    return deployed


def ask(here: Deployment, version: str = "1.0", actor: str = "anna", **further: Any) -> Ask:
    said = {"reason": "the build needs it", **further}
    return here.koschey.asks.ask("main", "Sample", version, actor=actor, **said)


def tell(here: Deployment) -> None:
    here.koschey.tasks["real_tell"]()


@on_both
def test_people_who_want_the_same_version_make_one_request(make: Callable[..., Deployment]) -> None:
    here = make()
    first = ask(here)
    second = ask(here, "1.0.0", "ben")
    assert (second.id, second.people) == (first.id, 2)
    assert ask(here, "1.0", "ben", reason="still").people == 2
    assert ask(here, "2.0").id != first.id
    assert [(one.actor, one.reason) for one in here.koschey.asks.people(first.id)] == [
        ("anna", "the build needs it"),
        ("ben", "still"),
    ]
    assert [each.version for each in here.koschey.asks.wanted()] == ["1.0", "2.0"]
    assert [each.version for each in here.koschey.asks.of("ben")] == ["1.0"]
    assert {event["subject"] for event in here.events("ask.made")} == {"sample==1.0", "sample==2.0"}
    assert [event["actor"] for event in here.events("ask.made")] == ["user:anna", "user:ben", "user:anna"]


@on_both
def test_what_becomes_of_the_version_answers_everybody(make: Callable[..., Deployment]) -> None:
    here = make()
    ask(here), ask(here, actor="ben"), ask(here, "2.0")
    how = {"reason": "looked at it", "actor": "rita"}
    here.koschey.review.approve("sample", "1.0", **how)
    here.koschey.review.reject("sample", "2.0", **how)
    here.koschey.asks.settle()
    by_version = here.koschey.asks.about("main", "sample")
    assert by_version["1"].state is AskState.RELEASED
    assert by_version["1"].answer == "visible: approved by rita: looked at it"
    assert by_version["2"].state is AskState.REJECTED
    assert not here.koschey.asks.page().asks
    assert [event["action"] for event in here.events("ask.released", "ask.rejected")] == [
        "ask.released",
        "ask.rejected",
    ]


def test_a_request_is_left_open_while_the_version_is_held(make: Callable[..., Deployment]) -> None:
    here = make()
    ask(here)
    here.koschey.review.extend("sample", "1.0", reason="not sure yet", actor="rita")
    here.koschey.asks.settle()
    assert [each.state for each in here.koschey.asks.page().asks] == [AskState.OPEN]
    here.koschey.review.approve("sample", "1.0", reason="sure now", actor="rita")
    here.koschey.asks.settle()
    assert not here.koschey.asks.page().asks


def test_a_refusal_is_told_once_and_leaves_the_version_held(make: Callable[..., Deployment]) -> None:
    here = make()
    made = ask(here)
    refused = here.koschey.asks.refuse(made.id, actor="rita", reason="use 0.9")
    assert (refused.state, refused.answer, refused.answered_by) == (AskState.REFUSED, "use 0.9", "rita")
    with pytest.raises(Conflict, match="has its answer: refused by rita"):
        here.koschey.asks.refuse(made.id, actor="otto", reason="no")
    assert here.listed("sample") == {"sample-0.9-py3-none-any.whl"}
    assert ask(here).id != made.id


def test_who_takes_a_request_back_is_not_counted(make: Callable[..., Deployment]) -> None:
    here = make()
    made = ask(here)
    ask(here, actor="ben")
    here.koschey.asks.take_back(made.id, actor="anna")
    assert here.koschey.asks.page().asks[0].people == 1
    with pytest.raises(NotFound):
        here.koschey.asks.take_back(made.id, actor="anna")
    here.koschey.asks.take_back(made.id, actor="ben")
    assert [each.state for each in here.koschey.asks.page(state=AskState.WITHDRAWN).asks]


@pytest.mark.parametrize(
    ("version", "reason", "error", "words"),
    [
        ("0.9", "please", Conflict, "can be installed"),
        ("3.0", "please", NotFound, r"no version 'sample==3.0' here; there is 2.0"),
        ("1.0", " ", RequestInvalid, "a reason is needed"),
    ],
)
def test_what_cannot_be_asked_for(
    make: Callable[..., Deployment], version: str, reason: str, error: type[Exception], words: str
) -> None:
    here = make()
    with pytest.raises(error, match=words):
        ask(here, version, reason=reason)
    assert not here.koschey.asks.page().asks


@pytest.mark.parametrize(
    "address",
    ["a b@c.example", "a@b@c", "@c.example", "a@", "a@c\r\nBcc: d@e.example", "a,b@c.example", "ä@c.example"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(RequestInvalid, match="not one e-mail address"):
        checked_email(address)


def test_reviewers_and_those_who_asked_get_mail(
    make: Callable[..., Deployment], mail: tuple[Mailbox, str]
) -> None:
    box, url = mail
    here = make(
        smtp_url=url,
        mail_from="koschey@corp.example",
        review_mail="review@corp.example",
        public_url="https://index.example",
    )
    ask(here, email="anna@corp.example")
    tell(here), tell(here)
    [new] = box.to("review@corp.example")
    assert "1 person asks for sample 1.0 in index main" in new
    assert "https://index.example/why/sample/1.0" in new
    here.koschey.review.approve("sample", "1.0", reason="fine", actor="rita")
    here.koschey.asks.settle()
    tell(here), tell(here)
    [answer] = box.to("anna@corp.example")
    assert "Subject: sample 1.0: can be installed now" in answer
    assert "approved by rita: fine" in answer.replace("=\r\n", "").replace("\r\n", " ")
    assert len(box.to("review@corp.example")) == 1


def test_mail_that_could_not_be_sent_is_sent_later(
    make: Callable[..., Deployment], mail: tuple[Mailbox, str]
) -> None:
    box, url = mail
    here = make(smtp_url=url, mail_from="koschey@corp.example")
    made = ask(here, email="anna@corp.example")
    here.koschey.asks.refuse(made.id, actor="rita", reason="no")
    box.refusing = True
    tell(here)
    box.refusing = False
    tell(here)
    assert not box.mails  # not yet: the next try waits
    here.execute("UPDATE asker SET due_at = 1")
    tell(here)
    assert len(box.to("anna@corp.example")) == 1


def test_a_webhook_gets_signed_json_and_again_when_it_failed(
    make: Callable[..., Deployment], hook: Hook
) -> None:
    here = make(webhook_url=hook.url, webhook_secret="s3cret-canary")
    made = ask(here)
    hook.status = 500
    tell(here)
    hook.status = 204
    tell(here), tell(here)
    assert [(notice["event"], notice["id"]) for notice in hook.notices] == [("ask.open", made.id)] * 2
    body, signed = hook.got[-1]
    assert signed == "sha256=" + hmac.new(b"s3cret-canary", body, hashlib.sha256).hexdigest()
    here.koschey.asks.refuse(made.id, actor="rita", reason="use 0.9")
    tell(here)
    assert hook.notices[-1]["text"] == "sample 1.0 in index main: refused by rita (use 0.9)"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"smtp_url": "http://mail.example", "mail_from": "a@b.example"}, "smtp_url"),
        ({"smtp_url": "smtp://mail.example"}, "mail_from"),
        ({"webhook_url": "mailto:a@b.example"}, "webhook_url"),
    ],
)
def test_what_cannot_be_told_by_stops_the_start(deploy: Deploy, settings: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsInvalid, match=words):
        deploy(**settings)

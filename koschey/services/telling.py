"""Telling people: reviewers that somebody asks, those who asked what the answer is.

What is to be told stands in the database, so that a crash or a lost job forgets nobody; a message that went
out just before a crash may go out twice.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from typing import Any, Protocol

import msgspec
import structlog
from sqlalchemy import select, update

from koschey.domain.asks import AskState
from koschey.errors import Busy, KoscheyError
from koschey.services.asks import ACTOR
from koschey.stores.ask_rows import AskerRow, AskRow
from koschey.stores.database import Database, now
from koschey.stores.locks import Locks

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_AT_ONCE = 200
#: Seconds until a message that could not be sent is tried again, doubled each time; then it is given up.
_PAUSE = 60
_TRIES = 8


class Post(Protocol):
    """Sends one mail. Raises: StoreUnavailable."""

    def __call__(self, message: EmailMessage) -> None: ...


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook gets as JSON."""

    event: str
    """``ask.open`` for a new request; else ``ask.`` and what became of it."""
    id: int
    index: str
    project: str
    version: str
    people: int
    url: str
    answer: str | None
    answered_by: str | None
    text: str
    """The same in one sentence, which chat systems show."""


class Telling:
    """Sends what is due.

    Args:
        post: sends a mail; None: there is no mail server.
        hook: posts the JSON of a ``Notice``; None: there is no webhook.
        reviewers: address that is told of new requests; empty: none.
        public_url: where people reach Koschey, for links; empty: messages have none.
    """

    def __init__(
        self,
        database: Database,
        locks: Locks,
        *,
        post: Post | None,
        hook: Callable[[bytes], None] | None,
        reviewers: str,
        public_url: str,
    ) -> None:
        self._database = database
        self._locks = locks
        self._post = post
        self._hook = hook
        self._reviewers = reviewers
        self._public_url = public_url.rstrip("/")

    def tell(self) -> None:
        """Send everything that is due now; what fails is tried again later."""
        with suppress(Busy), self._locks.hold("sweep:tell", 0.0):
            self._announce()
            self._answer()

    def _announce(self) -> None:
        """To reviewers and to the webhook."""
        due = select(AskRow).where(AskRow.announced_at == 0).order_by(AskRow.id).limit(_AT_ONCE)
        with self._database.reading() as session:
            rows = list(session.scalars(due))
        for row in rows:
            notice = self._notice(row)
            try:
                if self._hook is not None:
                    self._hook(msgspec.json.encode(notice))
                if self._post is not None and self._reviewers and row.state == AskState.OPEN:
                    self._post(_mail(self._reviewers, f"Request: {row.project} {row.spelled}", notice))
            except KoscheyError as error:
                log.warning("ask.not_announced", ask=row.id, problem=str(error))
                if now() - (row.answered_at or row.asked_at) < _PAUSE * 2**_TRIES * 1_000_000:
                    continue  # the next run tries again
            self._write(update(AskRow).where(AskRow.id == row.id), announced_at=now())

    def _answer(self) -> None:
        """To those who asked."""
        due = (
            select(AskerRow, AskRow)
            .join(AskRow, AskRow.id == AskerRow.ask_id)
            .where(AskerRow.due_at <= now())
            .order_by(AskerRow.due_at)
            .limit(_AT_ONCE)
        )
        with self._database.reading() as session:
            rows = session.execute(due).all()
        for asker, ask in rows:
            mine = update(AskerRow).where(AskerRow.ask_id == ask.id, AskerRow.actor == asker.actor)
            if self._post is None:
                self._write(mine, due_at=None)
                continue
            try:
                self._post(
                    _mail(
                        asker.email,
                        f"{ask.project} {ask.spelled}: {_WORDS[AskState(ask.state)]}",
                        self._notice(ask),
                    )
                )
            except KoscheyError as error:
                log.warning("ask.not_told", ask=ask.id, attempt=asker.attempts + 1, problem=str(error))
                given_up = asker.attempts + 1 >= _TRIES
                later = None if given_up else now() + _PAUSE * 2**asker.attempts * 1_000_000
                self._write(mine, due_at=later, attempts=asker.attempts + 1)
            else:
                self._write(mine, due_at=None)

    def _write(self, statement: Any, **values: Any) -> None:
        with self._database.transaction() as tx:
            tx.session.execute(statement.values(**values).execution_options(synchronize_session=False))

    def _notice(self, row: AskRow) -> Notice:
        prefix = "" if row.index == "main" else f"/{row.index}"
        url = f"{self._public_url}{prefix}/why/{row.project}/{row.spelled}" if self._public_url else ""
        what = f"{row.project} {row.spelled} in index {row.index}"
        if row.state == AskState.OPEN:
            people = "1 person asks" if row.people == 1 else f"{row.people} people ask"
            words = f"{people} for {what}"
        else:
            by = "" if row.answered_by in (None, ACTOR) else f" by {row.answered_by}"
            words = f"{what}: {_WORDS[AskState(row.state)]}{by}" + (f" ({row.answer})" if row.answer else "")
        return Notice(
            event=f"ask.{row.state}",
            id=row.id,
            index=row.index,
            project=row.project,
            version=row.spelled,
            people=row.people,
            url=url,
            answer=row.answer,
            answered_by=row.answered_by,
            text=words,
        )


_WORDS = {
    AskState.OPEN: "asked for",
    AskState.RELEASED: "can be installed now",
    AskState.REJECTED: "rejected",
    AskState.REFUSED: "refused",
    AskState.WITHDRAWN: "taken back",
}


def _mail(to: str | None, subject: str, notice: Notice) -> EmailMessage:
    message = EmailMessage()
    message["To"] = to or ""
    message["Subject"] = subject
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers a machine automatically
    message.set_content("\n".join(line for line in (notice.text + ".", notice.url) if line) + "\n")
    return message


def signature(secret: str, body: bytes) -> str:
    """Value of the header by which a webhook's receiver knows the sender: HMAC-SHA256 of the body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()

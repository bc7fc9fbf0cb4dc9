"""Messages to the company's own mail server and webhook; what settings say of them."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

from koschey.errors import SettingsInvalid, StoreUnavailable
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.session import OutgoingSession

_SECONDS = 15.0
_SIGNED = "X-Koschey-Signature"


@dataclass(frozen=True)
class MailServer:
    """``smtp://[user:password@]host[:port][?tls=no]``, or ``smtps://…`` for TLS from the first byte.

    ``smtp`` turns to TLS by STARTTLS before anything is said; ``?tls=no`` is for a server that has none.
    """

    host: str
    port: int
    username: str | None
    password: str | None
    tls: str
    """``starttls``, ``always`` or ``no``."""
    sender: str

    @classmethod
    def of(cls, url: str, sender: str) -> MailServer:
        """From the settings. Raises: SettingsInvalid."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SettingsInvalid("smtp_url", "is not a URL") from None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingsInvalid("smtp_url", "is smtp://[user:password@]host[:port] or smtps://…")
        if not sender:
            raise SettingsInvalid("mail_from", "is needed: mails have a sender")
        plain = parse_qs(parts.query).get("tls") == ["no"]
        tls = "always" if parts.scheme == "smtps" else "no" if plain else "starttls"
        return cls(
            parts.hostname,
            port or (465 if tls == "always" else 587),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password or ""),
            tls,
            sender,
        )

    def post(self, message: EmailMessage) -> None:
        """Send one mail. Raises: StoreUnavailable."""
        message["From"] = self.sender
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = make_msgid(domain="koschey.invalid")
        try:
            with self._connected() as server:
                if self.username is not None:
                    server.login(self.username, self.password or "")
                server.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            # Not the error's own text: a server may repeat what it was told.
            raise StoreUnavailable("mail server", f"{self.host}: {type(error).__name__}") from None

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.tls == "always":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=_SECONDS, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=_SECONDS)
        try:
            if self.tls == "starttls":
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server


def webhook(
    url: str, secret: str, session: Callable[[], OutgoingSession], sign: Callable[[str, bytes], str]
) -> Callable[[bytes], None]:
    """A function that posts JSON to ``url``, signed when there is a secret.

    Raises:
        SettingsInvalid: no URL that can be used. The function: UpstreamError, StoreUnavailable.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsInvalid("webhook_url", "begins with http:// or https:// and names a host")
    host = parts.netloc.rpartition("@")[2]
    endpoint = Endpoint(
        "webhook",
        f"{parts.scheme}://{host}/",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
    target = parts._replace(netloc=host).geturl()

    def post(body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        if secret:
            headers[_SIGNED] = sign(secret, body)
        status = session().post(endpoint, target, body, headers=headers, deadline=_SECONDS)
        if not 200 <= status < 300:
            raise StoreUnavailable("webhook", f"it answered {status}")

    return post

"""A scripted OpenID Connect provider: real HTTP, really signed tokens, and mistakes to order."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


@dataclass
class Script:
    """What it says next. ``claims`` are put over the right ones; one that is None is left out."""

    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    key: Any = None
    algorithm: str = "RS256"
    down: bool = False
    issuer: str | None = None


class Provider:
    """Listens on loopback until ``close``."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.script = Script()
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.provider = self  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/realm"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def authorize(self, location: str) -> dict[str, str]:
        """The user says yes to what the browser was sent here with; returns the query it goes back with."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert location.startswith(f"{self.issuer}/authorize?")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def tokens(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        right = "Basic " + base64.b64encode(b"koschey:hush").decode()
        if (
            asked is None
            or challenge != asked["code_challenge"]
            or form.get("redirect_uri") != asked["redirect_uri"]
            or authorization != right
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "koschey",
            "sub": "1234",
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
            "preferred_username": "anna",
            "groups": ["build", "unheard-of"],
        } | self.script.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.script.algorithm, "kid": "one"}
        algorithms = [self.script.algorithm]
        signed = jwt.encode(header, claims, self.script.key or self.key, algorithms=algorithms)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": signed}

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path.endswith("/openid-configuration"):
            base = self.issuer
            return 200, {
                "issuer": self.script.issuer or base,
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token",
                "jwks_uri": f"{base}/keys",
                "userinfo_endpoint": f"{base}/userinfo",
            }
        if path.endswith("/keys"):
            return 200, {"keys": [self.key.as_dict(private=False)]}
        return 200, self.script.userinfo or {"sub": "1234"}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._send(*self._provider.answer(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._send(*self._provider.tokens(form, self.headers.get("Authorization", "")))

    @property
    def _provider(self) -> Provider:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        return provider

    def _send(self, status: int, document: dict[str, Any]) -> None:
        self._provider.asked.append(self.path)
        status = 503 if self._provider.script.down else status
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name for it
        """Nothing is printed."""

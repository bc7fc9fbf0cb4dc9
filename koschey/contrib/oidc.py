"""A plug-in: people log in at the company's OpenID Connect provider (extra ``oidc``).

The authorisation code flow with PKCE, state and nonce (OpenID Connect Core 1.0 section 3.1, RFC 7636). What
the provider says of groups counts for the groups of the same names here, and grants give those their roles.
"""

from __future__ import annotations

import functools
import json
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog
from flask import Blueprint, Response, redirect, request, session

from koschey.contrib.variables import PREFIX, Variable, Variables
from koschey.errors import RequestInvalid, SettingsInvalid, Unauthenticated
from koschey.hookspecs import Identity, LogInPage, hookimpl
from koschey.plugins import PluginError
from koschey.web.access import public
from koschey.web.current import base_url
from koschey.web.sign_in import finish, own_path

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

VARIABLES = Variables(
    f"{PREFIX}OIDC_",
    (
        Variable("ISSUER", "The provider's issuer, an https:// URL.", None),
        Variable("CLIENT_ID", "Koschey's client id there.", None),
        Variable("CLIENT_SECRET", "Its secret; empty: a public client.", secret=True),
        Variable("SCOPE", "What is asked for.", "openid profile email groups"),
        Variable("NAME_CLAIM", "Claim with the name that the user has here.", "preferred_username"),
        Variable("GROUPS_CLAIM", "Claim with the groups; a dot leads into an object.", "groups"),
        Variable("LABEL", "Of the button on the log-in page.", "Log in with the company's account"),
        Variable("CA_FILE", "PEM file of the authorities to accept; empty: the usual ones."),
    ),
)
_NAME = "oidc"
_KEY = "oidc"  # in the session of a browser that is on its way
_SECONDS = 5.0
_MAX_BYTES = 2**20
#: How long the provider's description is believed, in seconds, and how often its keys are asked for at most.
_DESCRIBED_FOR, _KEYS_AGAIN = 3600.0, 10.0
#: A browser that was away for longer (seconds) begins again.
_ON_THE_WAY = 600
#: Asymmetric ones: anybody could sign with a client's secret that is known elsewhere, and with ``none``.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LEEWAY = 60

bp = Blueprint("oidc", __name__)


@functools.cache
def _provider() -> Provider:
    said = VARIABLES.read()
    parts = urlsplit(said["issuer"])
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise SettingsInvalid(f"{VARIABLES.prefix}ISSUER", "it begins with https://")
    return Provider(said)


@hookimpl
def koschey_log_in_pages() -> Iterable[LogInPage]:
    """The page that leads to the provider."""
    provider = _provider()
    return [LogInPage(name=_NAME, label=provider.said["label"], blueprint=bp)]


@bp.get("/")
@public("whoever logs in is nobody yet")
def leave() -> Response:
    """Send the browser to the provider, with what proves later that it is the one that left."""
    way = {
        "state": secrets.token_urlsafe(32),
        "nonce": secrets.token_urlsafe(32),
        "verifier": secrets.token_urlsafe(48),
        "onward": own_path(request.args.get("next", "")) or "",
        "at": int(time.time()),
    }
    session[_KEY] = way
    answer = redirect(_provider().authorization_url(way, _back_url()), 303)
    answer.headers["Cache-Control"] = "no-store"
    assert isinstance(answer, Response)
    return answer


@bp.get("/back")
@public("whoever logs in is nobody yet")
def back() -> Response:
    """The browser comes back: check that it left from here, and who the provider says it is."""
    way = session.pop(_KEY, None)
    if not isinstance(way, dict) or time.time() - way["at"] > _ON_THE_WAY:
        raise RequestInvalid("this log-in did not begin here, or took too long; begin again at /login")
    if not secrets.compare_digest(request.args.get("state", ""), way["state"]):
        raise RequestInvalid("the provider's answer belongs to another log-in; begin again at /login")
    if "error" in request.args or not request.args.get("code"):
        log.info("oidc.refused", error=request.args.get("error", "no code")[:100])
        raise Unauthenticated(presented=True)
    claims = _provider().claims(request.args["code"], way, _back_url())
    return finish(_NAME, identity(claims, _provider().said), way["onward"])


def identity(claims: dict[str, Any], said: dict[str, str]) -> Identity:
    """Whom verified claims speak of. Raises: PluginError: they name nobody."""
    name = claims.get(said["name_claim"])
    if not isinstance(name, str) or not name:
        raise PluginError(_NAME, f"got no claim {said['name_claim']!r}, see {VARIABLES.prefix}NAME_CLAIM")
    groups: Any = claims
    for part in said["groups_claim"].split("."):
        groups = groups.get(part) if isinstance(groups, dict) else None
    groups = [groups] if isinstance(groups, str) else groups
    if not isinstance(groups, list):
        groups = []
    # Some providers name groups by their path.
    return Identity(name=name, groups=frozenset(g.lstrip("/") for g in groups if isinstance(g, str)))


def _back_url() -> str:
    return f"{base_url('')}/login/{_NAME}/back"


@dataclass
class _Described:
    """What the provider says of itself, its keys, and when (monotonic seconds) it said so."""

    document: dict[str, Any]
    keys: Any
    at: float
    keys_at: float


class Provider:
    """The company's provider. ``said``: the variables' values."""

    def __init__(self, said: dict[str, str]) -> None:
        self.said = said
        self._issuer = said["issuer"].rstrip("/")
        self._verify = said["ca_file"] or True
        self._known: _Described | None = None
        self._guard = threading.Lock()

    def authorization_url(self, way: dict[str, Any], back_url: str) -> str:
        """Where the browser goes. Raises: PluginError."""
        with self._client(back_url) as client:
            url, _ = client.create_authorization_url(
                self._described().document["authorization_endpoint"],
                state=way["state"],
                nonce=way["nonce"],
                code_verifier=way["verifier"],
            )
        return str(url)

    def claims(self, code: str, way: dict[str, Any], back_url: str) -> dict[str, Any]:
        """The verified claims that a code is good for. Raises: PluginError, Unauthenticated."""
        from authlib.integrations.base_client import OAuthError

        document = self._described().document
        with self._client(back_url) as client:
            try:
                token = client.fetch_token(
                    document["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=way["verifier"],
                    timeout=_SECONDS,
                    allow_redirects=False,
                    verify=self._verify,
                )
            except OAuthError as error:
                log.warning("oidc.code_refused", error=str(error.error)[:100])
                raise Unauthenticated(presented=True) from None
            except (requests.RequestException, ValueError) as error:
                raise PluginError(_NAME, f"got no token: {type(error).__name__}") from error
        found = self._verified(token.get("id_token"), way["nonce"])
        if self.said["groups_claim"].partition(".")[0] not in found and "userinfo_endpoint" in document:
            found = self._asked(document["userinfo_endpoint"], token.get("access_token"), found) | found
        return found

    def _client(self, back_url: str) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        secret = self.said["client_secret"]
        return OAuth2Session(
            self.said["client_id"],
            secret or None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope=self.said["scope"],
            redirect_uri=back_url,
            code_challenge_method="S256",
        )

    def _verified(self, id_token: Any, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that the provider signed for this log-in (Core section 3.1.3.7)."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if not isinstance(id_token, str):
            raise PluginError(_NAME, "got no ID token; the scope needs openid")
        try:
            decoded = self._decoded(id_token)
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY,
                iss={"essential": True, "value": self._described().document["issuer"]},
                aud={"essential": True, "value": self.said["client_id"]},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(decoded)
        except (JoseError, ValueError) as error:
            log.warning("oidc.token_refused", problem=type(error).__name__)
            raise Unauthenticated(presented=True) from None
        if decoded.get("azp", self.said["client_id"]) != self.said["client_id"]:
            log.warning("oidc.token_refused", problem="it was made for another client")
            raise Unauthenticated(presented=True)
        return decoded

    def _decoded(self, id_token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import BadSignatureError

        described = self._described()
        try:
            return dict(jwt.decode(id_token, described.keys, algorithms=_ALGORITHMS).claims)
        except (BadSignatureError, ValueError):  # of a key that it made meanwhile, perhaps
            if time.monotonic() - described.keys_at < _KEYS_AGAIN:
                raise
            described.keys, described.keys_at = self._keys(described.document), time.monotonic()
            return dict(jwt.decode(id_token, described.keys, algorithms=_ALGORITHMS).claims)

    def _asked(self, url: str, access_token: Any, found: dict[str, Any]) -> dict[str, Any]:
        """What the provider says of the user besides; only of the same one (Core section 5.3.2)."""
        more = self._get(url, {"Authorization": f"Bearer {access_token}"})
        if more.get("sub") != found["sub"]:
            raise PluginError(_NAME, "was told of another user by the userinfo endpoint")
        return more

    def _described(self) -> _Described:
        with self._guard:
            known = self._known
            if known is None or time.monotonic() - known.at > _DESCRIBED_FOR:
                document = self._get(f"{self._issuer}/.well-known/openid-configuration")
                if str(document.get("issuer", "")).rstrip("/") != self._issuer:
                    raise PluginError(_NAME, "was told of another issuer than it was configured with")
                at = time.monotonic()
                known = self._known = _Described(document, self._keys(document), at, at)
            return known

    def _keys(self, document: dict[str, Any]) -> Any:
        from joserfc.jwk import KeySet

        try:
            return KeySet.import_key_set(self._get(document["jwks_uri"]))  # type: ignore[arg-type]
        except (KeyError, ValueError, TypeError) as error:
            raise PluginError(_NAME, f"got no usable keys: {type(error).__name__}") from error

    def _get(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = requests.get(
                url,
                headers=headers,
                timeout=_SECONDS,
                allow_redirects=False,
                verify=self._verify,
                stream=True,
            )
            with answer:
                body = answer.raw.read(_MAX_BYTES, decode_content=True)
                if answer.status_code != 200:
                    raise PluginError(_NAME, f"got {answer.status_code} from {urlsplit(url).path}")
            document = json.loads(body)
        except (requests.RequestException, ValueError, OSError) as error:
            raise PluginError(_NAME, f"cannot ask the provider: {type(error).__name__}") from error
        if not isinstance(document, dict):
            raise PluginError(_NAME, f"got no object from {urlsplit(url).path}")
        return document

"""Requests that travel through an adapter that a plug-in brought."""

from __future__ import annotations

from requests import PreparedRequest, RequestException, Response
from requests.structures import CaseInsensitiveDict
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from koschey.errors import UpstreamRefused
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.routes import Decision
from koschey.upstream.urls import Target


def sent_by_adapter(
    endpoint: Endpoint,
    decision: Decision,
    target: Target,
    headers: dict[str, str],
    body: bytes | None,
    *,
    timeout: tuple[float, float],
    cert: str | tuple[str, str] | None,
) -> BaseHTTPResponse:
    """Send GET, or POST with a body, through the adapter of a decision's route.

    Args:
        timeout: seconds for the connection, and for the next bytes.
        cert: the client's certificate, as requests takes it.

    Raises:
        RequestException, HTTPError, OSError: as the adapter raised them.
        UpstreamRefused: it raised something else, or returned no answer of urllib3.
    """
    adapter, proxy = decision.route.adapter, decision.route.proxy
    assert adapter is not None
    try:
        response: Response = adapter.send(
            _prepared(target, headers, body),
            stream=True,
            timeout=timeout,
            verify=decision.route.ca_file or True,
            cert=cert,
            proxies={"http": proxy, "https": proxy} if proxy else {},
        )
    except (RequestException, HTTPError, OSError):
        raise
    except Exception as error:  # foreign code may raise anything, and then nothing is sent
        problem = f"the adapter of plug-in {decision.plugin} failed: {type(error).__name__}"
        raise UpstreamRefused(endpoint.name, problem) from error
    if not isinstance(response.raw, BaseHTTPResponse):
        problem = f"the adapter of plug-in {decision.plugin} returned no urllib3 response"
        raise UpstreamRefused(endpoint.name, problem)
    return response.raw


def _prepared(target: Target, headers: dict[str, str], body: bytes | None) -> PreparedRequest:
    request = PreparedRequest()
    request.method = "GET" if body is None else "POST"
    request.url = target.url
    request.body = body
    request.headers = CaseInsensitiveDict(headers)
    if body is not None:
        request.headers["Content-Length"] = str(len(body))
    return request

"""How a request travels: the endpoint's settings, the environment's proxies, a plug-in's word."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import pluggy

from koschey.errors import UpstreamRefused
from koschey.hookspecs import Route
from koschey.plugins import PATIENCE, PluginError, first_answer
from koschey.upstream.endpoint import Endpoint
from koschey.upstream.urls import Origin, Target


class EnvironmentProxies:
    """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as they were when this was made."""

    def __init__(self) -> None:
        self._proxies: Mapping[str, str] = urllib.request.getproxies_environment()

    def proxy_for(self, origin: Origin) -> str | None:
        """Proxy URL for requests to ``origin``, or None."""
        proxy = self._proxies.get(origin.scheme) or self._proxies.get("all")
        if not proxy or self._bypassed(origin):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _bypassed(self, origin: Origin) -> bool:
        entries = (entry.strip().lower() for entry in self._proxies.get("no", "").split(","))
        return any(entry and _covers(entry, origin) for entry in entries)


def _covers(entry: str, origin: Origin) -> bool:
    """Whether an entry of NO_PROXY means ``origin``: ``*``, a domain, a host with a port, a network."""
    if "/" in entry:
        try:
            return ip_address(origin.host) in ip_network(entry, strict=False)
        except ValueError:
            return False
    if entry in ("*", origin.host, f"{origin.host}:{origin.port}"):
        return True
    return origin.host.endswith("." + entry.removeprefix("*").lstrip("."))


@dataclass(frozen=True)
class Decision:
    """A route with nothing left open, and the plug-in that had a say in it, if one had."""

    route: Route
    plugin: str | None = None


class Routes:
    """Decides about every request, each hop and repetition included."""

    def __init__(self, hooks: pluggy.PluginManager | None, *, hook_patience: float = PATIENCE) -> None:
        self._hook = None if hooks is None else hooks.hook.koschey_outgoing_request
        self._hook_patience = hook_patience
        self._environment = EnvironmentProxies()
        self._usual: dict[tuple[Endpoint, Origin], Decision] = {}

    def decide(self, endpoint: Endpoint, target: Target) -> Decision:
        """Raises: UpstreamRefused, a plug-in failed or the proxy is none that we can speak to."""
        key = (endpoint, target.origin)
        usual = self._usual.get(key)
        if usual is None:
            if len(self._usual) > 1024:  # a page may name as many origins as it likes
                self._usual.clear()
            usual = self._usual[key] = self._without_plugins(endpoint, target.origin)
        if self._hook is None or not self._hook.get_hookimpls():
            return usual
        return self._with_plugins(endpoint, target, usual)

    def _without_plugins(self, endpoint: Endpoint, origin: Origin) -> Decision:
        proxy = endpoint.proxy
        if proxy is None:
            proxy = self._environment.proxy_for(origin)
        return Decision(Route(proxy=_speakable(endpoint, proxy), ca_file=endpoint.ca_file))

    def _with_plugins(self, endpoint: Endpoint, target: Target, usual: Decision) -> Decision:
        assert self._hook is not None
        try:
            answer = first_answer(
                self._hook, self._hook_patience, endpoint_name=endpoint.name, url=target.url
            )
        except PluginError as failure:
            raise UpstreamRefused(endpoint.name, str(failure)) from failure
        if answer is None:
            return usual
        plugin, route = answer
        if not isinstance(route, Route):
            problem = f"plug-in {plugin} returned {type(route).__name__} and not a Route"
            raise UpstreamRefused(endpoint.name, problem)
        wrong = _wrong_field(route)
        if wrong is not None:
            raise UpstreamRefused(endpoint.name, f"plug-in {plugin} returned a Route whose {wrong}")
        proxy = usual.route.proxy if route.proxy is None else _speakable(endpoint, route.proxy)
        return Decision(
            replace(route, proxy=proxy, ca_file=route.ca_file or usual.route.ca_file), plugin=plugin
        )


def _wrong_field(route: Any) -> str | None:
    """What a plug-in's route has that no request can be made with; types are a promise that nobody checks."""
    if not isinstance(route.headers, Mapping) or not all(
        isinstance(part, str) for pair in route.headers.items() for part in pair
    ):
        return "headers are no mapping of text to text"
    if not isinstance(route.proxy, str | None) or not isinstance(route.ca_file, str | None):
        return "proxy or ca_file is no text"
    cert = route.client_cert
    pair = isinstance(cert, tuple) and len(cert) == 2 and all(isinstance(part, str) for part in cert)
    if not (cert is None or isinstance(cert, str) or pair):
        return "client_cert is neither a path nor a pair of them"
    if route.adapter is not None and not callable(getattr(route.adapter, "send", None)):
        return "adapter has no send()"
    return None


def _speakable(endpoint: Endpoint, proxy: str | None) -> str | None:
    if not proxy:
        return None
    if urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname:
        raise UpstreamRefused(endpoint.name, "its proxy must be an http:// or https:// URL")
    return proxy

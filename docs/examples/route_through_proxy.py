"""A plug-in: send the requests to one upstream through a proxy, with a header of our own.

It takes its settings from the environment, where every ``KOSCHEY_PLUGIN_*`` variable is left to plug-ins.
"""

from __future__ import annotations

import os

from koschey.hookspecs import Route, hookimpl


@hookimpl
def koschey_outgoing_request(endpoint_name: str, url: str) -> Route | None:
    if endpoint_name != os.environ.get("KOSCHEY_PLUGIN_ROUTE_UPSTREAM"):
        return None  # no opinion: the next plug-in, or else the upstream's own settings
    return Route(
        proxy=os.environ["KOSCHEY_PLUGIN_ROUTE_PROXY"],
        headers={"X-Cost-Centre": os.environ.get("KOSCHEY_PLUGIN_ROUTE_COST_CENTRE", "build")},
    )

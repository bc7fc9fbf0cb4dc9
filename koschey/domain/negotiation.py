"""Content negotiation of the Simple API (PEP 691, RFC 9110 section 12): pure functions of header texts.

Whatever a client sends, these answer; they never raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Literal

Encoding = Literal["zstd", "gzip", "identity"]

INTEGRITY_JSON = "application/vnd.pypi.integrity.v1+json"

#: RFC 9110, section 12.4.2: at most three digits there; more do no harm.
_WEIGHT = re.compile(r"0?\.\d+|0\.?|1(?:\.0*)?", re.ASCII)


class Representation(Enum):
    """A form of a page; the value is its exact media type, as clients compare it."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML_V1 = "application/vnd.pypi.simple.v1+html"
    HTML = "text/html"


#: What a client may call each form, in the order of preference among forms it likes equally.
_NAMES = {
    Representation.JSON: (Representation.JSON.value, "application/vnd.pypi.simple.latest+json"),
    Representation.HTML_V1: (Representation.HTML_V1.value, "application/vnd.pypi.simple.latest+html"),
    Representation.HTML: (Representation.HTML.value,),
}
#: The order for a client that takes anything: it may be a browser, or older than PEP 691.
_FOR_ANYTHING = (Representation.HTML, Representation.JSON, Representation.HTML_V1)
_BY_NAME = {name: representation for representation, names in _NAMES.items() for name in names}

OFFERED = tuple(_BY_NAME)
"""Every media type by which a form can be asked for."""


@lru_cache(maxsize=512)
def negotiate(accept: str | None, format: str | None = None) -> Representation | None:  # noqa: A002 - PEP 691's word
    """The form to answer with, or None when nothing on offer is acceptable (406).

    Arguments:
        accept: the Accept header, None when there is none.
        format: the ``format`` query parameter, one media type; it beats ``accept``. Its ``+`` may have
            been decoded as a space.
    """
    if format:
        return _BY_NAME.get(format.strip().replace(" ", "+").lower())
    if accept is None or not accept.strip():
        return Representation.HTML
    weights = _weights(accept)
    best: tuple[float, int, int] = (0.0, 0, 0)
    chosen = None
    for representation, names in _NAMES.items():
        weight, specificity = _quality(names, weights)
        order = list(_NAMES) if specificity else list(_FOR_ANYTHING)
        rank = (weight, specificity, -order.index(representation))
        if weight > 0 and (chosen is None or rank > best):
            best, chosen = rank, representation
    return chosen


@lru_cache(maxsize=512)
def choose_encoding(
    accept_encoding: str | None, offered: tuple[Literal["zstd", "gzip"], ...] = ("zstd", "gzip")
) -> Encoding:
    """The content coding to answer with: the client's favourite among ``offered``, else the earliest there.

    ``identity`` is the answer when nothing else is acceptable, or when the client says it likes that more.
    """
    weights = _weights(accept_encoding or "")
    best = (weights.get("identity", 0.0), False, -len(offered))
    chosen: Encoding = "identity"
    for position, encoding in enumerate(offered):
        named = encoding in weights
        weight = weights[encoding] if named else weights.get("*", 0.0)
        rank = (weight, named, -position)
        if weight > 0 and rank > best:
            best, chosen = rank, encoding
    return chosen


@lru_cache(maxsize=512)
def accepts_integrity(accept: str | None) -> bool:
    """Whether a provenance document (PEP 740) may be sent; ``application/json`` is not its media type."""
    if accept is None or not accept.strip():
        return True
    return _quality((INTEGRITY_JSON,), _weights(accept))[0] > 0


def _quality(names: tuple[str, ...], weights: dict[str, float]) -> tuple[float, int]:
    """Weight of a media type with these names, and how specific the range is that gives it: 2, 1 or 0."""
    exact = [weights[name] for name in names if name in weights]
    if exact:
        return max(exact), 2
    family = names[0].partition("/")[0] + "/*"
    if family in weights:
        return weights[family], 1
    return weights.get("*/*", 0.0), 0


def _weights(header: str) -> dict[str, float]:
    """The elements of an Accept or Accept-Encoding header, each with its q; of a repeated one the highest."""
    weights: dict[str, float] = {}
    for name, weight in _elements(header):
        weights[name] = max(weight, weights.get(name, 0.0))
    return weights


def _elements(header: str) -> Iterator[tuple[str, float]]:
    for element in header.split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        weight = "1"
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                weight = value.strip()
                break
        # An element whose weight cannot be read says nothing about what the client likes.
        if name and _WEIGHT.fullmatch(weight):
            yield name.lower(), float(weight)

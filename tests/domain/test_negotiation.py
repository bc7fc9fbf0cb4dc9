"""Which form and which coding a client gets (conformance list A, 1 to 15)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koschey.domain.negotiation import Representation, accepts_integrity, choose_encoding, negotiate

JSON, HTML_V1, HTML = Representation.JSON, Representation.HTML_V1, Representation.HTML
V1_JSON = "application/vnd.pypi.simple.v1+json"
V1_HTML = "application/vnd.pypi.simple.v1+html"
LATEST_JSON = "application/vnd.pypi.simple.latest+json"
LATEST_HTML = "application/vnd.pypi.simple.latest+html"
PIP = f"{V1_JSON}, {V1_HTML}; q=0.1, text/html; q=0.01"
UV = f"{V1_JSON}, {V1_HTML};q=0.2, text/html;q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(None, HTML, id="A1 none"),
        pytest.param("", HTML, id="empty"),
        pytest.param("*/*", HTML, id="A2"),
        pytest.param(V1_JSON, JSON, id="A3"),
        pytest.param(V1_HTML, HTML_V1, id="A4"),
        pytest.param(LATEST_JSON, JSON, id="A5"),
        pytest.param(LATEST_HTML, HTML_V1, id="A6"),
        pytest.param(PIP, JSON, id="A7 pip"),
        pytest.param(UV, JSON, id="A8 uv"),
        pytest.param(V1_JSON, JSON, id="A9 poetry"),
        pytest.param(f"{V1_JSON};q=0, text/html", HTML, id="A10"),
        pytest.param(f"{V1_JSON};q=0.2, {V1_HTML};q=0.3, text/html;q=0.1", HTML_V1, id="A11"),
        pytest.param(f"text/html;q=0.5, {V1_JSON};q=0.6", JSON, id="A11 reversed"),
        pytest.param("image/png", None, id="A12"),
        pytest.param(BROWSER, HTML, id="browser"),
        pytest.param("text/html; charset=utf-8", HTML, id="charset"),
        pytest.param("text/html;charset=utf-8;q=0.1, " + V1_JSON, JSON, id="charset, then q"),
        pytest.param("TEXT/HTML", HTML, id="case"),
        pytest.param("text/*", HTML, id="text family"),
        pytest.param("application/*", JSON, id="application family"),
        pytest.param(f"application/*, {V1_JSON};q=0", HTML_V1, id="exact zero beats family"),
        pytest.param(f"*/*, {V1_JSON};q=0.5", HTML, id="wildcard liked more"),
        pytest.param(f"*/*, {V1_JSON}", JSON, id="named beats wildcard"),
        pytest.param("*/*, text/html;q=0", JSON, id="anything but HTML"),
        pytest.param("*/*;q=0", None, id="nothing"),
        pytest.param(f"{V1_JSON};q=0", None, id="only a zero"),
        pytest.param(f"{V1_JSON};q=0, {LATEST_JSON}", JSON, id="an alias that is welcome"),
        pytest.param(f"{V1_JSON};q=banana, text/html;q=0.1", HTML, id="weight that is none"),
        pytest.param(f"{V1_JSON};q=nan, text/html;q=0.1", HTML, id="weight not a number"),
        pytest.param(f"{V1_JSON};Q=0.1, text/html;q=.5", HTML, id="weight spelled freely"),
        pytest.param(",,;;q=,/,=", None, id="nonsense"),
        pytest.param("application/vnd.pypi.simple.v2+json", None, id="a version to come"),
        pytest.param("application/json", None, id="other JSON"),
    ],
)
def test_the_form_follows_accept(accept: str | None, expected: Representation | None) -> None:
    assert negotiate(accept) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(V1_JSON, JSON, id="A14 decoded well"),
        pytest.param(V1_JSON.replace("+", " "), JSON, id="A13 plus read as a space"),
        pytest.param(LATEST_HTML.replace("+", " "), HTML_V1, id="alias"),
        pytest.param("text/html", HTML, id="text/html"),
        pytest.param("image/png", None, id="not on offer"),
        pytest.param("*/*", None, id="not one type"),
        pytest.param(f"{V1_JSON},text/html", None, id="two types"),
    ],
)
@pytest.mark.parametrize("accept", [None, PIP, "text/html", "image/png"])
def test_the_format_parameter_beats_accept(
    accept: str | None, wanted: str, expected: Representation | None
) -> None:  # A15
    assert negotiate(accept, wanted) is expected


def test_an_empty_format_parameter_says_nothing() -> None:
    assert negotiate(PIP, "") is JSON


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("gzip, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("zstd;q=0, gzip;q=0.1", "gzip"),
        ("gzip;q=0", "identity"),
        ("*", "zstd"),
        ("gzip, *", "gzip"),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0", "identity"),
        ("identity", "identity"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity, gzip", "gzip"),
        ("GZIP", "gzip"),
        ("br", "identity"),
        ("gzip;q=x", "identity"),
    ],
)
def test_the_coding_follows_accept_encoding(accept_encoding: str | None, expected: str) -> None:
    assert choose_encoding(accept_encoding) == expected


def test_a_coding_that_is_not_offered_is_not_chosen() -> None:
    assert choose_encoding("zstd, gzip;q=0.1", ("gzip",)) == "gzip"


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        (None, True),
        ("*/*", True),
        ("application/*", True),
        ("application/vnd.pypi.integrity.v1+json", True),
        ("application/vnd.pypi.integrity.v1+json;q=0, */*", False),
        ("application/json", False),
        ("text/html", False),
    ],
)
def test_a_provenance_document_has_one_media_type(accept: str | None, accepted: bool) -> None:  # A44
    assert accepts_integrity(accept) is accepted


@settings(deadline=None)  # a busy machine is no failure
@given(st.text())
def test_no_header_raises(header: str) -> None:
    negotiate(header), negotiate(None, header), choose_encoding(header), accepts_integrity(header)

"""What a project says of itself in its METADATA, made fit for a page; in the process that can be killed.

The description is rendered as the public index does it (readme-renderer, nh3). Then it loses what would act
in a page of ours: pictures, which other hosts would see asked for, become their texts; headings go below
the page's own; ids and classes go.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any
from urllib.parse import urlsplit

import msgspec

#: Longest description that is rendered, and longest page that may come of it, in signs.
_LONGEST = 400_000
_LONGEST_PAGE = 1_500_000
_LONGEST_FIELD = 1_000
_MOST = 200


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """Core metadata for people. Texts are foreign; ``html`` is the only one that may be shown unescaped."""

    summary: str = ""
    author: str = ""
    license: str = ""
    keywords: tuple[str, ...] = ()
    requires_python: str = ""
    requires_dist: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    """(label, http or https or mailto URL)."""
    html: str = ""
    """The rendered description; empty when there is none, or none that could be rendered."""
    plain: str = ""
    """The description as it was written, where it could not be rendered."""


def describe(metadata: bytes) -> Description:
    """The description of a METADATA or PKG-INFO (core metadata specification), whatever is wrong with it."""
    from packaging.metadata import parse_email

    raw: dict[str, Any] = dict(parse_email(metadata)[0])
    text = str(raw.get("description") or "")
    if text.strip() == "UNKNOWN":
        text = ""
    html = _rendered(text, str(raw.get("description_content_type") or "")) if len(text) <= _LONGEST else ""
    return Description(
        summary=_line(raw.get("summary")),
        author=_line(raw.get("author") or raw.get("author_email") or raw.get("maintainer")),
        license=_line(raw.get("license_expression") or raw.get("license"), 200),
        keywords=_lines(raw.get("keywords")),
        requires_python=_line(raw.get("requires_python")),
        requires_dist=_lines(raw.get("requires_dist")),
        classifiers=_lines(raw.get("classifiers")),
        urls=tuple(_urls(raw)),
        html=html,
        plain="" if html else text[:_LONGEST],
    )


def _rendered(text: str, content_type: str) -> str:
    """HTML of a description in its own markup; empty when that cannot be had."""
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    if not text.strip() or kind == "text/plain":
        return ""
    if kind == "text/markdown":
        from readme_renderer.markdown import render as render_markdown

        variant = "CommonMark" if "commonmark" in parameters else "GFM"
        html = render_markdown(text, variant=variant)
    elif kind in ("", "text/x-rst"):
        from readme_renderer.rst import render as render_rst

        html = render_rst(text)
    else:
        return ""
    tamed = _tamed(html or "")
    return tamed if len(tamed) <= _LONGEST_PAGE else ""


def _tamed(html: str) -> str:
    """What was rendered and cleaned, without what would act in a page of ours; then cleaned once more."""
    import nh3
    from readme_renderer.clean import ALLOWED_ATTRIBUTES, ALLOWED_TAGS

    html = _ANCHOR.sub("", _IMAGE.sub(_its_text, html))
    html = _HEADING.sub(lambda tag: f"{tag[1]}h{min(6, int(tag[2]) + 2)}", html)
    kept = {"href", "title", "align", "colspan", "rowspan", "start"}
    attributes = {tag: set(names) & kept for tag, names in ALLOWED_ATTRIBUTES.items()}
    attributes["*"] = set()  # not the language either: that of a program is none
    return nh3.clean(
        html,
        tags=set(ALLOWED_TAGS) - {"img", "input", "picture", "figure", "nav", "aside", "section"},
        attributes=attributes,
        set_tag_attribute_values=_REACHED_BY_KEYBOARD,
        link_rel="nofollow noopener noreferrer",
        url_schemes={"http", "https", "mailto"},
    )


#: What may be wider than the page is scrolled by the keyboard as well.
_REACHED_BY_KEYBOARD = {"pre": {"tabindex": "0"}, "table": {"tabindex": "0"}}
_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
#: A heading's link to itself, which nobody sees or hears.
_ANCHOR = re.compile(r'<a href="#[^"]*"[^>]*></a>')
_ALT = re.compile(r'\balt="([^"]*)"')
_HEADING = re.compile(r"(</?)h([1-6])\b", re.IGNORECASE)


def _its_text(image: re.Match[str]) -> str:
    found = _ALT.search(image[0])
    text = unescape(found[1]).strip() if found else ""
    return f"<em>{escape(text)}</em>" if text else ""


def _urls(raw: dict[str, Any]) -> list[tuple[str, str]]:
    project_urls: dict[str, Any] = raw.get("project_urls") or {}
    given = [("Homepage", raw.get("home_page")), *project_urls.items(), ("Download", raw.get("download_url"))]
    found: dict[str, str] = {}
    for label, url in given[:_MOST]:
        text = _line(url)
        try:
            usable = urlsplit(text).scheme in ("http", "https") and bool(urlsplit(text).hostname)
        except ValueError:
            usable = False
        if usable and text not in found:
            found[text] = _line(label, 60) or "Link"
    return [(label, url) for url, label in found.items()]


def _line(value: Any, longest: int = _LONGEST_FIELD) -> str:
    line = " ".join(str(value or "").split())
    return "" if line == "UNKNOWN" else line[:longest]


def _lines(values: Any) -> tuple[str, ...]:
    return tuple(filter(None, map(_line, list(values or ())[:_MOST])))

"""Filters of the templates: times, counts and foreign text, as people read them."""

from __future__ import annotations

import re
import unicodedata

from flask import Flask, request
from markupsafe import Markup, escape

from koschey.domain.explanation import age as age_words
from koschey.domain.explanation import instant, iso
from koschey.domain.page import Microseconds
from koschey.domain.policy import DAY
from koschey.stores.database import now

_UNITS = ("kB", "MB", "GB", "TB")
_HOUR = DAY // 24
_FIRST_WORD = re.compile(r"[a-z]+(?![\w.=/-])")


def init_app(app: Flask) -> None:
    """Register the filters."""
    for function in (moment, ago, ahead, days_since, span, size, counted, at_least, sentence, visible_signs):
        app.jinja_env.filters[function.__name__] = function


def moment(at: Microseconds | None) -> str | Markup:
    """A time as ``<time>``, in UTC; empty for none."""
    if at is None:
        return ""
    return Markup('<time datetime="{}">{}</time>').format(iso(at), instant(at)[:16] + " UTC")


def ago(at: Microseconds | None) -> str | Markup:
    """How long ago, with the exact time beside it for those who point at it or read the markup."""
    if at is None:
        return "never"
    words = age_words(max(0, now() - at))
    shown = "just now" if words.startswith("less") else f"{words} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at), instant(at), shown)


def days_since(at: Microseconds) -> int:
    """Whole days since then."""
    return max(0, now() - at) // DAY


def ahead(at: Microseconds | None) -> str | Markup:
    """When something is to come: ``in 3 days``; ``now`` when its time has come."""
    if at is None:
        return ""
    left = at - now()
    # A hold of 2 days and 20 hours clears in 3 days, as people count them.
    unit = DAY if left > 2 * DAY else _HOUR if left > 2 * _HOUR else 1
    shown = "now" if left <= 0 else f"in {age_words(-(-left // unit) * unit)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at), instant(at), shown)


def span(seconds: float) -> str:
    """How long, in the largest whole unit."""
    return age_words(round(seconds * 1e6)).replace("less than a minute", "< 1 minute")


def size(number: int | None) -> str:
    """Bytes in the largest fitting unit of 1,000."""
    if number is None:
        return "size unknown"
    if number < 1000:
        return f"{number} bytes"
    value = float(number)
    for unit in _UNITS:
        value /= 1000
        if value < 1000 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 file``, ``2,000 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def at_least(number: int) -> str:
    """A number of the metrics, where counting stops at a bound."""
    from koschey.services.metrics import COUNTED  # as in koschey.web.admin

    return f"{number:,}" + ("+" if number >= COUNTED else "")


def sentence(text: object) -> str:
    """What an error says, as a sentence that stands alone; a name at its beginning stays as it is spelled."""
    words = str(text)
    found = _FIRST_WORD.match(words)
    if found is None or found[0] in _named_in_request():
        return words
    return words[0].upper() + words[1:]


def _named_in_request() -> set[str]:
    """What the request is about: each of its values, and the project of a ``project==version``.

    A form that nobody has read yet is not read for this: it may be what the error is about.
    """
    form = request.form if "form" in vars(request) else {}
    values = [*request.args.values(), *form.values(), *map(str, (request.view_args or {}).values())]
    return {value.strip().partition("==")[0] for value in values}


def visible_signs(text: str) -> Markup:
    """Foreign text with the signs that nobody sees made visible: controls, direction marks, zero widths."""
    parts = []
    for sign in text:
        if sign in "\t\n" or (sign.isprintable() and unicodedata.category(sign) != "Cf"):
            parts.append(str(escape(sign)))
            continue
        name = unicodedata.name(sign, "control character").lower()
        parts.append(str(Markup('<mark title="{}">U+{:04X}</mark>').format(name, ord(sign))))
    return Markup("".join(parts))  # noqa: S704 - each part was escaped

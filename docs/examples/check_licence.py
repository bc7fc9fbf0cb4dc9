"""A plug-in: tell which wheels come under a licence that the company has not allowed.

``KOSCHEY_PLUGIN_LICENCES`` lists the allowed ones by their SPDX names, separated by commas. The names are
those of the field ``License-Expression`` (PEP 639); a wheel without it is for people to look at.
"""

from __future__ import annotations

import os
import re
import zipfile
from email.parser import HeaderParser

from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome
from koschey.domain.policy import Effect
from koschey.hookspecs import Check, hookimpl

_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_MAX_BYTES = 2**20
_OPERATORS = {"AND", "OR", "WITH"}


@hookimpl
def koschey_checks() -> list[Check]:
    return [
        Check(
            name="licence",
            summary="A wheel comes under licences that the company has allowed.",
            effect=Effect.REPORTED,  # until a policy asks for more
            run="check_licence:check",
        )
    ]


def check(subject: Subject) -> Finding:
    if not subject.filename.endswith(".whl"):
        return Finding("licence", Outcome.PASS, "only wheels are looked into")
    expression = _metadata(subject.path)["License-Expression"]
    if expression is None:
        return Finding("licence", Outcome.WARN, "it does not say its licence in a form that can be compared")
    allowed = {name.strip() for name in os.environ["KOSCHEY_PLUGIN_LICENCES"].split(",")}
    stated = set(re.findall(r"[A-Za-z0-9.+-]+", expression)) - _OPERATORS
    if others := sorted(stated - allowed):
        return Finding("licence", Outcome.FAIL, f"not allowed here: {', '.join(others)}")
    return Finding("licence", Outcome.PASS, expression)


def _metadata(path: str):
    """The fields of a wheel's METADATA, whose beginning has all that is wanted."""
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if _METADATA.fullmatch(name)]
        if len(names) != 1:  # what is raised here counts as an error: the file has not passed
            raise ValueError("no METADATA, or more than one")
        with wheel.open(names[0]) as file:
            return HeaderParser().parsestr(file.read(_MAX_BYTES).decode("utf-8", "replace"))

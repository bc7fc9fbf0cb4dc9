"""What the process of checks and its parent say to each other: JSON, one message a line."""

from __future__ import annotations

import msgspec

from koschey.checks.changes import Comparison
from koschey.checks.embedded import Embedded
from koschey.checks.subject import Contents, Subject

#: Of the child: a request was taken; it is ready for the first one.
TAKEN = b'{"taken":true}\n'
READY = b'{"ready":true}\n'


class Wanted(msgspec.Struct, frozen=True):
    """A check to do: its name, and the ``module:function`` that does it."""

    name: str
    run: str


class ReadRequest(msgspec.Struct, frozen=True, tag="read"):
    """Read what is in a file; its METADATA or PKG-INFO is written to ``out``."""

    path: str
    filename: str
    out: str
    seconds: float


class CheckRequest(msgspec.Struct, frozen=True, tag="check"):
    """Do some checks, one after the other, each within ``seconds``."""

    subject: Subject
    checks: tuple[Wanted, ...]
    seconds: float


class UploadRequest(msgspec.Struct, frozen=True, tag="upload"):
    """See whether an upload is sound; its METADATA or PKG-INFO is written to ``out``."""

    path: str
    filename: str
    out: str
    seconds: float


class UploadAnswer(msgspec.Struct, frozen=True):
    """What an upload says of itself, or why it is refused."""

    embedded: Embedded | None = None
    problem: str | None = None


class DescribeRequest(msgspec.Struct, frozen=True, tag="describe"):
    """Make what the METADATA or PKG-INFO at ``path`` says of its project fit for a page."""

    path: str
    filename: str
    seconds: float


class CompareRequest(msgspec.Struct, frozen=True, tag="compare"):
    """Compare two files, each a path and its published filename; ``before`` None: with nothing."""

    before: tuple[str, str] | None
    after: tuple[str, str]
    seconds: float


class CompareAnswer(msgspec.Struct, frozen=True):
    """What is different, or why that cannot be told."""

    comparison: Comparison | None = None
    problem: str | None = None


class ReadAnswer(msgspec.Struct, frozen=True):
    """What a file holds, or why it cannot be read."""

    contents: Contents | None = None
    problem: str | None = None

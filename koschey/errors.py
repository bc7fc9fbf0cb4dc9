"""Domain errors: typed attributes, the message derived from them, and no HTTP.

``koschey.web.problems`` holds the one table that turns them into statuses.
"""

from __future__ import annotations

from collections.abc import Sequence


class KoscheyError(Exception):
    """Base of every error that Koschey raises on purpose; its text is safe to show to a user."""

    logged: bool = False
    """Whether who found it has logged it: a body that breaks off because of it is not one more line."""


class SettingsInvalid(KoscheyError):
    """A setting cannot be used. ``name`` is the setting, ``problem`` says what is wrong and what to do."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"setting {name}: {problem}")


class RequestInvalid(KoscheyError):
    """The caller's input is not acceptable; ``problem`` says what is wrong and what to do."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class UploadInvalid(RequestInvalid):
    """An upload cannot be accepted: ``code`` is a short word for machines, ``problem`` says what is wrong."""

    def __init__(self, code: str, problem: str) -> None:
        self.code = code
        super().__init__(problem)


class TooLarge(KoscheyError):
    """A request has more than is taken here; ``what`` says of what, ``limit`` how much there may be."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(f"{what}: {limit} at the most")


class NotFound(KoscheyError):
    """Nothing of that name is here: ``kind`` is one word (project, file, index), ``name`` what was asked.

    ``known`` names what is here and comes near.
    """

    def __init__(self, kind: str, name: str, known: Sequence[str] = ()) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        super().__init__(f"no {kind} {name!r} here" + (f"; there is {', '.join(known)}" if known else ""))


class NameUnused(NotFound):
    """``name`` is kept for the company's own packages, and there is none of that name."""

    def __init__(self, name: str) -> None:
        super().__init__("project", name)
        self.args = (
            f"no project {name!r} here: the name is reserved for the company's own packages, nothing is "
            "uploaded under it, and no upstream is asked for it",
        )


class LinkWorthless(NotFound):
    """A one-time link was used, is too old, or was never made; which of these is not said."""

    def __init__(
        self,
        words: str = "this set-up link was used, is too old, or was never made; while nobody is an admin, "
        "koschey user setup-link prints another",
    ) -> None:
        super().__init__("link", "")
        self.args = (words,)


class Conflict(KoscheyError):
    """What was asked contradicts what is already so."""


class Overtaken(Conflict):
    """``subject`` is not as it was seen by who decides about it; ``news`` says what happened meanwhile."""

    def __init__(self, subject: str, news: str) -> None:
        self.subject = subject
        self.news = news
        super().__init__(f"{subject} has changed since you looked: {news}")


class Unauthenticated(KoscheyError):
    """Nobody, or nobody known, asks for what is not everybody's; the text says no more.

    ``presented``: whether there were credentials, which then were wrong, revoked, expired or disabled.
    """

    def __init__(self, *, presented: bool = False) -> None:
        self.presented = presented
        super().__init__(
            "the user name, password or token is not valid here"
            if presented
            else "this needs a user name and password, or a token"
        )


class Forbidden(KoscheyError):
    """The actor lacks a right; ``permission`` is its word, ``problem`` says why and whom it concerns."""

    def __init__(self, permission: str, problem: str) -> None:
        self.permission = permission
        self.problem = problem
        super().__init__(problem)


class TooManyAttempts(KoscheyError):
    """Too many failed attempts to sign in; again after ``retry_after`` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many failed attempts to sign in; try again in {retry_after:.0f} s")


class FileExists(Conflict):
    """An upload has other bytes than the file that has its name, for ever."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.code = "file-exists"
        # Clients look for these first words (poetry, pdm, uv).
        super().__init__(f"File already exists: {filename} has other bytes here; upload another version")


class UploadForbidden(KoscheyError):
    """Nobody may upload there now: ``reason`` says why, ``code`` is a short word for machines."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class Forgery(KoscheyError):
    """A browser's request that changes something did not come from a form of this session."""


class NameTaken(UploadForbidden):
    """A name exists outside, and nobody claimed it: the company's own project may not have it yet.

    ``name`` is normalised, ``where`` names the upstream that has it.
    """

    def __init__(self, name: str, where: str) -> None:
        self.name = name
        self.where = where
        super().__init__(
            "name-taken",
            f"{name} exists outside (in {where}); an administrator can claim the name: "
            f"koschey project claim {name} --reason ...",
        )


class FileHidden(KoscheyError):
    """A file exists and is not visible.

    ``reason`` is the verdict in one sentence, ``state`` and ``rule`` the same for machines; time alone
    shows it at ``clears_at`` (microseconds since 1970; None: an event is needed). ``index``, ``project``
    (normalised) and ``version`` say where to read more.
    """

    def __init__(
        self,
        filename: str,
        reason: str,
        *,
        index: str,
        project: str,
        version: str | None,
        state: str,
        rule: str,
        clears_at: int | None,
    ) -> None:
        self.filename = filename
        self.reason = reason
        self.index = index
        self.project = project
        self.version = version
        self.state = state
        self.rule = rule
        self.clears_at = clears_at
        super().__init__(f"{filename}: {reason}")


class NotAcceptable(KoscheyError):
    """No representation on offer is acceptable to the caller; ``offered`` lists the media types."""

    def __init__(self, offered: tuple[str, ...]) -> None:
        self.offered = offered
        super().__init__("none of the acceptable types is on offer here: " + ", ".join(offered))


class UpstreamError(KoscheyError):
    """An upstream could not be used. ``upstream`` is its name, ``problem`` one sentence without secrets."""

    def __init__(self, upstream: str, problem: str) -> None:
        self.upstream = upstream
        self.problem = problem
        super().__init__(f"upstream {upstream}: {problem}")


class UpstreamUnavailable(UpstreamError):
    """No usable answer: refused, reset, name not resolved, or a 5xx/429 after all retries.

    ``retry_after`` is what the upstream asked for, in seconds, if it did; ``whole`` whether that is for all
    that it has, and not for one page or file.
    """

    def __init__(
        self, upstream: str, problem: str, *, retry_after: float | None = None, whole: bool = False
    ) -> None:
        self.retry_after = retry_after
        self.whole = whole
        super().__init__(upstream, problem)


class UpstreamTimeout(UpstreamError):
    """The deadline passed before the answer was whole."""


class UpstreamRefused(UpstreamError):
    """Our own policy forbids this connection: scheme, address range, redirect, or a plug-in's word."""


class NameOwned(UpstreamRefused):
    """An upstream was about to be asked for a name that is the company's own (HARDENING invariant 4).

    It was not. ``name`` is normalised.
    """

    def __init__(self, upstream: str, name: str) -> None:
        self.name = name
        super().__init__(upstream, f"{name} is one of the company's own names, which are never asked outside")


class NameUnsettled(KoscheyError):
    """It cannot be told now whether a name exists outside, so that nobody may take it yet.

    ``name`` is normalised, ``problem`` says which upstream did not answer, ``retry_after`` is in seconds.
    """

    def __init__(self, name: str, problem: str, retry_after: float = 5.0) -> None:
        self.name = name
        self.problem = problem
        self.retry_after = retry_after
        self.code = "name-unsettled"
        super().__init__(
            f"whether {name} exists outside cannot be told now ({problem}); try again, or have an "
            f"administrator reserve or claim the name: koschey project claim {name} --reason ..."
        )


class UpstreamInvalid(UpstreamError):
    """The upstream answered with what must not be believed: bad page, wrong digest, over a limit."""


class WrongSize(UpstreamInvalid):
    """A file has another size than the upstream's page promised. ``actual`` says which."""

    def __init__(self, upstream: str, filename: str, *, promised: int, size: int) -> None:
        self.actual = f"{size} bytes"
        super().__init__(upstream, f"{filename} has {size} bytes, the page promised {promised}")


class DigestMismatch(KoscheyError):
    """Bytes are not the ones that were promised."""

    def __init__(self, what: str, expected: str, actual: str) -> None:
        self.what = what
        self.expected = expected
        self.actual = actual
        super().__init__(f"{what}: expected {expected}, got {actual}")


class BlobMissing(KoscheyError):
    """The store holds no blob of that digest."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        super().__init__(f"no blob {sha256}")


class StoreUnavailable(KoscheyError):
    """Database, blob store or queue cannot be used now; ``store`` names which, ``problem`` says why."""

    def __init__(self, store: str, problem: str) -> None:
        self.store = store
        self.problem = problem
        super().__init__(f"{store}: {problem}")


class Busy(KoscheyError):
    """Somebody else does this work and did not finish in time; try again after ``retry_after`` seconds."""

    def __init__(self, what: str, retry_after: float = 2.0) -> None:
        self.what = what
        self.retry_after = retry_after
        super().__init__(f"{what} is being worked on; try again in {retry_after:g} s")

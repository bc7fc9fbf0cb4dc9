"""Has files read and checked in processes of their own, which cost one answer when they crash or hang."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from koschey.checks.changes import Comparison
from koschey.checks.child import DEFAULT_MEMORY_BYTES, DEFAULT_NICE
from koschey.checks.child_process import ChildLost, ChildProcess
from koschey.checks.description import Description
from koschey.checks.embedded import Embedded
from koschey.checks.messages import (
    CheckRequest,
    CompareAnswer,
    CompareRequest,
    DescribeRequest,
    ReadAnswer,
    ReadRequest,
    UploadAnswer,
    UploadRequest,
    Wanted,
)
from koschey.checks.slots import Slots
from koschey.checks.subject import Contents, Subject
from koschey.domain.checks import Finding, Outcome
from koschey.errors import KoscheyError, StoreUnavailable

if TYPE_CHECKING:
    from koschey.hookspecs import Check

#: What the slowest machine can be expected to read, in bytes a second; large files get that much more time.
_PACE = 20_000_000
#: Somebody waits for the page.
_DESCRIBING_SECONDS = 6.0
_NONSENSE = "it crashed (its answer made no sense)"


class Unreadable(KoscheyError):
    """What a file holds could not be told; ``problem`` says why.

    ``crashed``: its reading died or took too long; otherwise the file itself is broken.
    """

    def __init__(self, filename: str, problem: str, *, crashed: bool = False) -> None:
        self.filename = filename
        self.problem = problem
        self.crashed = crashed
        super().__init__(f"{filename}: {problem}")


class Examiner:
    """Reads and checks files. Safe to use from several threads; a call waits for a free child.

    Args:
        plugins: modules that the settings name as plug-ins; installed ones need not be named.
        timeout_seconds: for one step, to read a file or to do one check; large files get more.
        children: how many processes there may be at once. Each starts when it is needed and leaves when it
            has had nothing to do for a while.
        memory_bytes: of address space that each may have.
        nice: by how much they step back behind other processes.
        slots: each takes one of these, which other processes of ours share; a call waits for one, too.
    """

    def __init__(
        self,
        plugins: Sequence[str] = (),
        *,
        timeout_seconds: float = 30.0,
        children: int = 1,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        nice: int = DEFAULT_NICE,
        slots: Slots | None = None,
    ) -> None:
        self._timeout = timeout_seconds
        self._closing = False
        self._slots = slots
        self._children = [ChildProcess(plugins, memory_bytes, nice, slots) for _ in range(children)]
        # The last one in is the first one out, so that the others can leave.
        self._free: queue.LifoQueue[ChildProcess] = queue.LifoQueue()
        for child in self._children:
            self._free.put(child)

    def read(self, path: Path, filename: str, out: Path) -> Contents:
        """What the file at ``path`` holds, which is published as ``filename``.

        Its METADATA (of a wheel) or PKG-INFO (of an sdist or egg) is written to ``out``, byte for byte; when
        it has none, or none that could be believed, ``out`` is not made. It may be there when this raises.

        Raises:
            Unreadable: it cannot be told. StoreUnavailable: nothing can be read or checked now.
        """
        request = ReadRequest(str(path.absolute()), filename, str(out.absolute()), self._limit(path))
        answer = self._answer(request, ReadAnswer)
        if answer.contents is None:
            raise Unreadable(filename, answer.problem or "it cannot be read")
        return answer.contents

    def upload(self, path: Path, filename: str, out: Path) -> Embedded:
        """What the upload at ``path`` says of itself, once it has been seen to be a sound ``filename``.

        Its METADATA or PKG-INFO is written to ``out``, byte for byte.

        Raises:
            Unreadable: it is not sound, or that could not be told. StoreUnavailable: as ``read``.
        """
        request = UploadRequest(str(path.absolute()), filename, str(out.absolute()), self._limit(path))
        answer = self._answer(request, UploadAnswer)
        if answer.embedded is None:
            raise Unreadable(filename, answer.problem or "it cannot be read")
        return answer.embedded

    def describe(self, metadata: Path, filename: str) -> Description:
        """What the METADATA or PKG-INFO at a path says of its project, for a page.

        Args:
            filename: of the file that it is of, for errors.

        Raises:
            Unreadable: it could not be told in time. StoreUnavailable: as ``read``.
        """
        request = DescribeRequest(str(metadata.absolute()), filename, _DESCRIBING_SECONDS)
        return self._answer(request, Description)

    def _answer[T](self, request: ReadRequest | UploadRequest | DescribeRequest, answer_type: type[T]) -> T:
        with self._child() as child:
            try:
                child.begin(msgspec.json.encode(request))
                return msgspec.json.decode(child.answer(request.seconds), type=answer_type)
            except ChildLost as lost:
                self._refuse_if_closing()
                how = lost.how
            except msgspec.MsgspecError:
                child.kill()
                how = _NONSENSE
        raise Unreadable(request.filename, f"its reading failed: {how}", crashed=True)

    def compare(self, before: tuple[Path, str] | None, after: tuple[Path, str]) -> Comparison:
        """What is different between two files, each a path and the filename that it is published as.

        Raises:
            Unreadable: it cannot be told. StoreUnavailable: nothing can be compared now.
        """
        limit = self._limit(after[0]) + (0.0 if before is None else self._limit(before[0]))
        sides = [None if side is None else (str(side[0].absolute()), side[1]) for side in (before, after)]
        assert sides[1] is not None
        with self._child() as child:
            try:
                child.begin(msgspec.json.encode(CompareRequest(sides[0], sides[1], limit)))
                answer = msgspec.json.decode(child.answer(limit), type=CompareAnswer)
            except ChildLost as lost:
                raise Unreadable(after[1], f"its comparison failed: {lost.how}", crashed=True) from None
            except msgspec.MsgspecError:
                child.kill()
                raise Unreadable(after[1], f"its comparison failed: {_NONSENSE}", crashed=True) from None
        if answer.comparison is None:
            raise Unreadable(after[1], answer.problem or "it cannot be compared")
        return answer.comparison

    def check(self, subject: Subject, checks: Sequence[Check]) -> list[Finding]:
        """One finding of each check, in the same order.

        A check in which the process died, or that took too long, is an ERROR; the others are done.

        Raises:
            StoreUnavailable: nothing can be checked now.
        """
        path = Path(subject.path).absolute()
        subject = msgspec.structs.replace(subject, path=str(path))
        wanted = tuple(Wanted(check.name, check.run) for check in checks)
        findings: list[Finding] = []
        with self._child() as child:
            while len(findings) < len(wanted):
                findings += self._some(child, subject, wanted[len(findings) :], self._limit(path))
        return findings

    def _some(
        self, child: ChildProcess, subject: Subject, wanted: tuple[Wanted, ...], limit: float
    ) -> Iterator[Finding]:
        """Findings up to the first check that the child does not survive, that one included."""
        child.begin(msgspec.json.encode(CheckRequest(subject, wanted, limit)))
        for check in wanted:
            try:
                finding = msgspec.json.decode(child.answer(limit), type=Finding)
            except ChildLost as lost:
                self._refuse_if_closing()
                yield Finding(check.name, Outcome.ERROR, lost.how)
                return
            except msgspec.MsgspecError:
                finding = None
            if finding is None or finding.check != check.name:
                child.kill()
                yield Finding(check.name, Outcome.ERROR, _NONSENSE)
                return
            yield finding

    def close(self) -> None:
        """End the children, also those at work: what that cuts off, and what is asked later, is refused."""
        self._closing = True
        if self._slots is not None:
            self._slots.close()
        for child in self._children:
            child.interrupt()
        for child in [self._free.get() for _ in self._children]:
            child.kill()
            self._free.put(child)

    def _refuse_if_closing(self) -> None:
        """A child that was killed by us says nothing about the file."""
        if self._closing:
            raise StoreUnavailable("checks", "they are being stopped")

    @contextmanager
    def _child(self) -> Iterator[ChildProcess]:
        child = self._free.get()
        try:
            self._refuse_if_closing()
            yield child
        except BaseException:
            child.kill()  # half an answer may still be on its way
            raise
        finally:
            self._free.put(child)

    def _limit(self, path: Path) -> float:
        """Seconds for one step with this file."""
        try:
            size = path.stat().st_size
        except OSError:
            size = 0  # the child finds out, and says so
        return self._timeout + size / _PACE

"""The process in which files are read and checked; it can be killed, and what it costs is bounded.

Run as ``python -I -m koschey.checks.child [--memory=BYTES] [--nice=N] [--path=FOLDERS] [plug-in modules…]``,
it takes one JSON request a line and answers with JSON lines: one when it took the request, then one for each
thing that it was asked for, as soon as that is done. So its parent knows what it was at when it dies.
Nothing of the files is ever imported or run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from koschey.checks.description import Description
from koschey.checks.messages import (
    READY,
    TAKEN,
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
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome

#: Seconds without a request after which a child leaves: others may wait for its memory, and for its slot.
IDLE_SECONDS = 3.0
DEFAULT_MEMORY_BYTES = 2**30
#: Whoever waits for a file goes first.
DEFAULT_NICE = 10
#: Seconds beyond a step's own limit at which a child ends itself: its parent, who should have, may be dead.
_GRACE = 10
_MAX_WRITTEN_BYTES = 64 * 2**20
_MAX_OPEN_FILES = 64
_MAX_REASON = 2000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


_requests = msgspec.json.Decoder(
    ReadRequest | CheckRequest | UploadRequest | DescribeRequest | CompareRequest
)


def read(request: ReadRequest) -> ReadAnswer:
    """Do a request to read; metadata is written even if the rest of the file cannot be read."""
    from koschey.checks.archive_kinds import ArchiveUnsound
    from koschey.checks.core_metadata import read_core_metadata
    from koschey.checks.reading import read_contents

    path, out = Path(request.path), Path(request.out)
    try:
        body = read_core_metadata(path, request.filename)
    except ArchiveUnsound:
        body = None  # the check of metadata says what is wrong with it
    if body is not None:
        out.write_bytes(body)
    try:
        return ReadAnswer(contents=read_contents(path, request.filename))
    except ArchiveUnsound as error:
        return ReadAnswer(problem=str(error))


def examine_upload(request: UploadRequest) -> UploadAnswer:
    """Do a request about an upload."""
    from koschey.checks.archive_kinds import ArchiveUnsound
    from koschey.checks.upload import examine

    try:
        embedded, body = examine(Path(request.path), request.filename)
    except ArchiveUnsound as error:
        return UploadAnswer(problem=_CONTROL.sub(" ", str(error))[:_MAX_REASON])
    Path(request.out).write_bytes(body)
    return UploadAnswer(embedded=embedded)


def describe(request: DescribeRequest) -> Description:
    """Do a request to describe."""
    from koschey.checks.description import describe

    return describe(Path(request.path).read_bytes())


def _done(request: ReadRequest | UploadRequest | DescribeRequest | CompareRequest) -> msgspec.Struct:
    match request:
        case ReadRequest():
            return read(request)
        case UploadRequest():
            return examine_upload(request)
        case DescribeRequest():
            return describe(request)
        case CompareRequest():
            return compare(request)


def compare(request: CompareRequest) -> CompareAnswer:
    """Do a request to compare."""
    from koschey.checks import comparing
    from koschey.checks.archive_kinds import ArchiveUnsound

    before = None if request.before is None else (Path(request.before[0]), request.before[1])
    try:
        found = comparing.compare(before, (Path(request.after[0]), request.after[1]))
    except ArchiveUnsound as error:
        return CompareAnswer(problem=str(error))
    return CompareAnswer(comparison=found)


class Checking:
    """Does checks, and imports what they need when they first need it.

    Args:
        plugins: modules that are imported before the first check that is not Koschey's own.
    """

    def __init__(self, plugins: Sequence[str]) -> None:
        self._plugins = list(plugins)
        self.exhausted = False
        """Whether memory ran out: what is left of it is anybody's guess."""

    def finding(self, wanted: Wanted, subject: Subject) -> Finding:
        """What a check says; whatever else it does is an error, and so is not passed."""
        try:
            function = self._function(wanted.run)
        except BaseException as error:  # noqa: BLE001 - foreign code runs at its import
            return _error(wanted, f"it cannot be loaded: {_type(error)}")
        try:
            finding = function(subject)
        except BaseException as error:  # noqa: BLE001 - foreign code may even raise SystemExit
            self.exhausted |= isinstance(error, MemoryError)
            return _error(wanted, f"it failed: {_type(error)}")
        match finding:
            case Finding(outcome=Outcome() as outcome, reason=str() as reason):
                return Finding(wanted.name, outcome, _CONTROL.sub(" ", reason)[:_MAX_REASON])
        return _error(wanted, f"it returned no finding, but {type(finding).__name__}")

    def _function(self, run: str) -> Callable[[Subject], object]:
        module, _, name = run.partition(":")
        if not module.startswith("koschey."):
            while self._plugins:
                importlib.import_module(self._plugins[0])
                del self._plugins[0]
        function: Callable[[Subject], object] = getattr(importlib.import_module(module), name)
        return function


def _error(wanted: Wanted, reason: str) -> Finding:
    return Finding(wanted.name, Outcome.ERROR, reason)


def _type(error: BaseException) -> str:
    """Its type only: what a plug-in says in an error may be a secret."""
    return _CONTROL.sub(" ", type(error).__name__)[:100]


def answers(line: bytes, checking: Checking) -> Iterator[msgspec.Struct]:
    """What is answered to one request."""
    request = _requests.decode(line)
    if not isinstance(request, CheckRequest):
        _limit_time(request.seconds)
        yield _done(request)
        return
    for wanted in request.checks:
        _limit_time(request.seconds)
        yield checking.finding(wanted, request.subject)


def serve(requests: IO[bytes], out: IO[bytes], checking: Checking) -> None:
    """Answer requests until there are no more, or none came for a while."""
    out.write(READY)
    while _something_comes(requests):
        line = requests.readline()
        if not line:
            return
        out.write(TAKEN)
        for answer in answers(line, checking):
            out.write(msgspec.json.encode(answer) + b"\n")
        signal.alarm(0)
        if checking.exhausted:
            return


def _something_comes(requests: IO[bytes]) -> bool:
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    return bool(poll.poll(IDLE_SECONDS * 1000))


def _limit_time(seconds: float) -> None:
    """End this process when the next step takes far too long, be it by computing or by waiting."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    whole = int(seconds) + 1 + _GRACE
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + whole, hard))
    signal.alarm(whole)


def _limit_resources(memory: int, nice: int) -> None:
    os.nice(nice)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_WRITTEN_BYTES, _MAX_WRITTEN_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN_FILES, _MAX_OPEN_FILES))


def _keep_from_children() -> None:
    """Whatever a check starts inherits nothing that this process has inherited: not its slot either."""
    for entry in list(Path("/dev/fd").iterdir()):
        if int(entry.name) > 2:
            with contextlib.suppress(OSError):  # that of the list itself
                os.set_inheritable(int(entry.name), False)  # noqa: FBT003 - it takes no names


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output, moved to where a check that prints or reads does not find them."""
    requests, out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return os.fdopen(requests, "rb"), os.fdopen(out, "wb", buffering=0)


def main(arguments: Sequence[str]) -> None:
    """Serve the parent process."""
    memory, nice, plugins = DEFAULT_MEMORY_BYTES, DEFAULT_NICE, []
    for argument in arguments:
        if argument.startswith("--memory="):
            memory = int(argument.removeprefix("--memory="))
        elif argument.startswith("--nice="):
            nice = int(argument.removeprefix("--nice="))
        elif argument.startswith("--path="):
            folders = argument.removeprefix("--path=").split(os.pathsep)
            sys.path += [folder for folder in folders if folder and folder not in sys.path]
        else:
            plugins.append(argument)
    _limit_resources(memory, nice)
    _keep_from_children()
    serve(*_own_pipes(), Checking(plugins))


if __name__ == "__main__":
    main(sys.argv[1:])

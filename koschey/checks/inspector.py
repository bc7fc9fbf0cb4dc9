"""The parent's side of a killable check process: started when needed, killed when it hangs."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import threading
from pathlib import Path

from koschey.errors import KoscheyError


class InspectionFailed(KoscheyError):
    """A file could not be inspected, or is not sound; ``problem`` says why."""

    def __init__(self, filename: str, problem: str) -> None:
        self.filename = filename
        self.problem = problem
        super().__init__(f"{filename}: {problem}")


class Inspector:
    """Asks one child process at a time; a child that crashes, hangs or grows too large costs one answer.

    Args:
        module: what the child runs: one JSON request a line in, one JSON answer a line out.
        timeout: seconds for one request.
    """

    def __init__(self, module: str, *, timeout: float) -> None:
        self._module = module
        self._timeout = timeout
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, path: Path, filename: str, out: Path) -> None:
        """Have the child inspect ``path`` and write to ``out``.

        Raises:
            InspectionFailed: the file is not sound, or the child did not answer.
        """
        request = json.dumps({"path": str(path), "filename": filename, "out": str(out)}) + "\n"
        with self._lock:
            answer = self._exchange(request)
            if answer is None:
                # A child that had nothing to do may leave between two looks: a second one is asked.
                answer = self._exchange(request)
        if not answer:
            raise InspectionFailed(filename, "its inspection crashed or took too long")
        problem = json.loads(answer)["problem"]
        if problem is not None:
            raise InspectionFailed(filename, problem)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._kill()

    def _exchange(self, request: str) -> str | None:
        """The child's answer; empty when it took too long, None when it died."""
        child = self._running()
        assert child.stdin is not None and child.stdout is not None
        answer: str | None = None
        try:
            child.stdin.write(request)
            child.stdin.flush()
            answer = ""
            if select.select([child.stdout], [], [], self._timeout)[0]:
                answer = child.stdout.readline() or None
        except OSError:
            answer = None
        if not answer:
            self._kill()
        return answer

    def _running(self) -> subprocess.Popen[str]:
        """The child, a new one when the last has gone: it leaves by itself when there is nothing to do."""
        if self._child is not None and self._child.poll() is not None:
            self._kill()
        if self._child is None:
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-I", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._child

    def _kill(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # an unsent request to a dead child
                    pipe.close()
        self._child.wait()
        self._child = None

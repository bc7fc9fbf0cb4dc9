"""What is told of an upstream's syncs: how far it is in step, and how the last one went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koschey.domain.filters import Mode
from koschey.services.configuration import SourceConfig
from koschey.services.sync_due import DueProjects
from koschey.services.sync_due_files import DueFiles
from koschey.services.sync_progress import Progress
from koschey.services.sync_schedule import runs
from koschey.stores.database import now
from koschey.stores.locks import Locks


class Summaries:
    """Reads them."""

    def __init__(self, progress: Progress, projects: DueProjects, files: DueFiles, locks: Locks) -> None:
        self._progress = progress
        self._projects = projects
        self._files = files
        self._locks = locks

    def of(self, source: SourceConfig) -> dict[str, Any]:
        """How far an upstream is in step, and what its last sync came to, or has come to by now."""
        state = self._progress.state(source.id)
        lowest = self._projects.lowest_serial(source.id)
        root = state["root_serial"]
        at = now()
        alive = runs(self._locks, source.id, state["phase"], state["seen_at"])
        lag = 0 if lowest is None or root is None else max(0, root - lowest + 1)
        return {
            "upstream": source.name,
            "mode": str(source.mode),
            "running": alive,
            "phase": state["phase"] if alive else None,
            "outcome": state["outcome"],
            "problem": state["problem"],
            "alarm": state["alarm"],
            "begun_at": state["begun_at"],
            "ended_at": state["ended_at"],
            "seconds": _seconds(state, at, alive=alive),
            "in_step_at": state["in_step_at"],
            "lag_seconds": None if state["in_step_at"] is None else round((at - state["in_step_at"]) / 1e6),
            "lag_serials": lag,
            "serial": root,
            "projects": {
                "due": state["projects_due"],
                "done": state["projects_done"],
                "changed": state["projects_changed"],
                "failed": state["projects_failed"],
            },
            "files": {
                "due": state["files_due"],
                "done": state["files_done"],
                "failed": state["files_failed"],
            },
            "requests": state["run_requests"],
            "unchanged": state["run_unchanged"],
            "bytes": state["run_bytes"],
            "total": {name: state[name] for name in ("requests", "unchanged", "bytes", "failures")},
            "left": self._left(source, state, alive=alive),
            "paused_until": state["paused_until"] if (state["paused_until"] or 0) > at else None,
        }

    def _left(self, source: SourceConfig, state: Mapping[str, Any], *, alive: bool) -> list[dict[str, Any]]:
        """What could not be had and is left for the next sync, some of each; a page has no filename."""
        pages = [(name, None, *rest) for name, *rest in self._projects.failed(source.id)]
        ended = state["outcome"] == "partial" and not alive
        # Those that another mode had due stay on record, and no sync asks for them.
        files = self._files.failed(source.id) if ended and source.mode is Mode.FULL else []
        return [
            {"project": name, "filename": filename, "attempts": attempts, "problem": problem}
            for name, filename, attempts, problem in (*pages, *files)
        ]


def running(source: SourceConfig, state: Mapping[str, Any]) -> str:
    """A sentence for who would begin another one."""
    done, due = state["projects_done"], state["projects_due"]
    return (
        f"a sync of {source.name} runs already ({state['phase'] or 'begins'}: "
        f"{done} of {due} projects, {state['files_done']} of {state['files_due']} files)"
    )


def _seconds(state: Mapping[str, Any], at: int, *, alive: bool) -> float | None:
    if state["begun_at"] is None:
        return None
    end = at if alive else max(state["ended_at"] or 0, state["begun_at"])
    return float(round((end - state["begun_at"]) / 1e6, 1))

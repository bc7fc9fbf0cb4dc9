"""Storing and checking one file: what is recorded, what is compared, and what is tried again."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from koschey.errors import UpstreamUnavailable
from koschey.stores.database import now
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deploy, Deployment, on_both
from tests.upstream_pages import Project, UpstreamFile


def recently(days: float = 1.0) -> str:
    """An upload time that many days ago."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")


def check(here: Deployment, file: UpstreamFile, attempt: int | None = None) -> dict[str, Any]:
    """Do for a file what is due; returns its row."""
    here.koschey.checking.check_file(here.file(file.filename)["id"], attempt)
    return here.file(file.filename)


def outcomes(row: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=") for entry in (row["checks"] or "").split())


def answers(here: Deployment, file: UpstreamFile) -> dict[str, dict[str, Any]]:
    """The latest answer of each check about a file."""
    rows = here.rows(
        "SELECT r.* FROM check_result r JOIN file f ON f.id = r.file_id WHERE f.filename = :name ORDER BY r.id",
        name=file.filename,
    )
    return {row["check"]: row for row in rows}


def hold(here: Deployment, file: UpstreamFile) -> dict[str, Any] | None:
    rows = here.rows(
        "SELECT h.* FROM hold h JOIN file f ON f.id = h.file_id WHERE f.filename = :name", name=file.filename
    )
    return rows[0] if rows else None


@pytest.fixture
def here(deploy: Deploy) -> Deployment:
    """A process in which nothing is done that the test does not do."""
    deployment = deploy()
    deployment.koschey.queue.close()
    return deployment


@pytest.fixture
def sample(upstream: FakeUpstream) -> Project:
    """A project with an old release that everybody sees."""
    project = upstream.project("sample")
    project.release("1.0", upload_time=recently(200))
    return project


@on_both
def test_a_new_file_is_stored_and_checked_although_nobody_asked_for_it(
    here: Deployment, sample: Project
) -> None:
    fresh = sample.release("1.1", upload_time=recently())
    here.look("sample")
    assert here.file(fresh.filename)["due_at"] is not None

    row = check(here, fresh)

    assert (row["due_at"], row["attempts"]) == (None, 0)
    assert row["stored_at"] is not None
    assert set(outcomes(row).values()) == {"pass"}, row["checks"]
    assert outcomes(row).keys() == answers(here, fresh).keys() >= {"integrity", "archive", "startup"}
    assert {answer["sha256"] for answer in answers(here, fresh).values()} == {fresh.sha256}
    kept = hold(here, fresh)
    assert kept is not None
    assert kept["rule"] == "time"
    assert here.listed("sample") == {"sample-1.0-py3-none-any.whl"}

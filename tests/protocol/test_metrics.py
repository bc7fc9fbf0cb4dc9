"""``/metrics``: text that Prometheus reads, every metric documented, and no project's name in it."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.protocol.asking import get, page
from tests.protocol.conftest import SQLITE
from tests.running import CHECKOUT, Running
from tests.upstream_pages import Project


def scraped(body: str) -> dict[tuple[str, str], float]:
    """Name and index (or nothing) to value."""
    return {
        (sample.name, sample.labels.get("index", "")): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


@pytest.mark.backends(SQLITE)
def test_a_scrape_is_prometheus_text_that_nobody_keeps(koschey: Running, project: Project) -> None:
    project.release("1.0")
    page(koschey, project.name)
    answer = get(f"{koschey.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    values = scraped(answer.text)
    assert values["koschey_build_info", ""] == 1
    assert values["koschey_quarantine_held", "main"] >= 0
    assert project.name not in answer.text
    labels = {key for f in text_string_to_metric_families(answer.text) for s in f.samples for key in s.labels}
    assert labels == {"version", "python", "index", "upstream"}


@pytest.mark.backends(SQLITE)
def test_every_metric_that_there_is_has_a_line_in_the_documentation(koschey: Running) -> None:
    document = (CHECKOUT / "docs" / "metrics.rst").read_text(encoding="utf-8")
    documented = set(re.findall(r"^``(koschey_\w+)", document, re.MULTILINE))
    assert {name for name, _ in scraped(get(f"{koschey.url}/metrics").text)} == documented

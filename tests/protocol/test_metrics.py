"""``/metrics``: text that Prometheus reads, every metric documented, and no project's name in it."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from koschey.services.metrics import StorageNumbers
from koschey.services.tallies import Tally
from koschey.web.metrics import _of_storage
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
    # Of what is stored there is nothing to say before it was counted.
    assert labels - {"source", "kind", "state"} == {"version", "python", "index", "upstream"}


def test_what_is_not_stored_is_not_told_as_stored() -> None:
    tallies = (
        Tally("upstream", "upstream", "wheel", "held", 2, 20),
        Tally("upstream", "upstream", "wheel", "listed", 9, 90),
    )
    families = _of_storage(StorageNumbers(tallies, 5.0, 1, 2, 3, 4))
    told = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert told["koschey_storage_files", "upstream", "wheel", "held"] == 2
    assert told["koschey_storage_bytes", "upstream", "wheel", "held"] == 20
    assert told["koschey_storage_evicted_bytes_total",] == 4
    assert not [key for key in told if "listed" in key]


@pytest.mark.backends(SQLITE)
def test_every_metric_that_there_is_has_a_line_in_the_documentation(koschey: Running) -> None:
    document = (CHECKOUT / "docs" / "metrics.rst").read_text(encoding="utf-8")
    documented = set(re.findall(r"^``(koschey_\w+)", document, re.MULTILINE))
    told = get(f"{koschey.url}/metrics").text
    assert set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE)) == documented

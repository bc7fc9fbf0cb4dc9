"""``GET /metrics``: numbers about the queue in the text format of Prometheus."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flask import Blueprint, Response

from koschey import __version__
from koschey.domain.permissions import Permission
from koschey.web.access import requires
from koschey.web.current import koschey

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from koschey.services.metrics import Numbers, StorageNumbers

bp = Blueprint("metrics", __name__)

#: Name to help; the sample of an index is the attribute of IndexNumbers beside it.
_PER_INDEX = {
    "koschey_quarantine_held": ("hidden", "Files that are not visible, held or rejected."),
    "koschey_quarantine_review": ("review", "Files that wait for a person's decision."),
    "koschey_quarantine_failed_checks": ("failed_checks", "Files that are held because a check failed."),
    "koschey_quarantine_oldest_seconds": ("oldest", "Age of the longest hold."),
    "koschey_quarantine_oldest_review_seconds": ("oldest_review", "Longest wait for a person's decision."),
    "koschey_quarantine_sweep_lag_seconds": (
        "sweep_lag",
        "How overdue the oldest release is that the sweep has not recorded.",
    ),
}

#: The same of an upstream, in SyncNumbers.
_PER_UPSTREAM = {
    "koschey_sync_requests_total": ("requests", "Requests of syncs."),
    "koschey_sync_unchanged_total": ("unchanged", "Those of them that were answered by 304."),
    "koschey_sync_bytes_total": ("bytes", "Bytes of bodies that syncs received."),
    "koschey_sync_failures_total": ("failures", "Projects and files that a sync could not have."),
    "koschey_sync_left": ("left", "Projects that are due."),
    "koschey_sync_serials_behind": ("serials_behind", "Serials from the first project that is due on."),
    "koschey_sync_behind_seconds": ("seconds_behind", "Since the last sync that left nothing undone."),
    "koschey_sync_alarm": ("alarm", "1 when a person should look at the upstream."),
}

#: Of what is stored, by source, kind and state: the attribute of a Tally.
_PER_TALLY = {
    "koschey_storage_files": ("files", "Files that are stored."),
    "koschey_storage_bytes": ("bytes", "Bytes of files that are stored."),
}

#: The same of the whole, in StorageNumbers.
_STORAGE = {
    "koschey_storage_counted_seconds": ("age", "Since the oldest of these numbers was counted."),
    "koschey_storage_blobs": ("blobs", "Blobs in the store, as the last whole sweep found them."),
    "koschey_storage_blob_bytes": ("blob_bytes", "Their bytes."),
    "koschey_storage_evicted_files_total": ("evicted_files", "Files that were given up."),
    "koschey_storage_evicted_bytes_total": ("evicted_bytes", "Their bytes."),
}


@bp.get("/metrics")
@requires(Permission.READ)
def metrics() -> Response:
    """What is so now, by the database: any process of any machine says the same."""
    # Loaded with the first scrape: not every worker is asked.
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector, CollectorRegistry

    numbers, storage = koschey().metrics.numbers(), koschey().metrics.storage()

    class Now(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _families(numbers)
            yield from _of_storage(storage)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Now())
    answer = Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _families(numbers: Numbers) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    build = {"version": __version__, "python": platform.python_version()}
    yield InfoMetricFamily("koschey_build", "What runs here.", build)
    for name, (attribute, help_text) in _PER_INDEX.items():
        family = GaugeMetricFamily(name, help_text, labels=["index"])
        for index in numbers.indexes:
            family.add_metric([index.name], getattr(index, attribute))
        yield family
    yield GaugeMetricFamily(
        "koschey_checks_due", "Files that are to be stored and checked now.", numbers.checks_due
    )
    yield GaugeMetricFamily(
        "koschey_checks_lag_seconds", "How overdue the oldest of them is.", numbers.checks_lag
    )
    for name, (attribute, help_text) in _PER_UPSTREAM.items():
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        of_upstreams = kind(name, help_text, labels=["upstream"])
        for sync in numbers.syncs:
            of_upstreams.add_metric([sync.name], float(getattr(sync, attribute)))
        yield of_upstreams


def _of_storage(storage: StorageNumbers) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, (attribute, help_text) in _PER_TALLY.items():
        family = GaugeMetricFamily(name, help_text, labels=["source", "kind", "state"])
        for tally in storage.tallies:
            if tally.state != "listed":
                family.add_metric([tally.source, tally.kind, tally.state], getattr(tally, attribute))
        yield family
    for name, (attribute, help_text) in _STORAGE.items():
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        yield kind(name, help_text, value=getattr(storage, attribute))

"""What the gate remembers of decisions is that of one project, in one index, at one time."""

from __future__ import annotations

from koschey.services.gate import Gate
from koschey.services.upstream_spec import UpstreamSpec
from tests.fake_upstream import FakeUpstream
from tests.service_layer.conftest import Deployment


def test_a_baseline_of_one_upstream_says_nothing_of_a_namesake_in_another(
    here: Deployment, upstream: FakeUpstream
) -> None:
    """Also when both pages changed together, and so have the same serial."""
    koschey = here.koschey
    spec = UpstreamSpec(url=upstream.simple_url)
    koschey.indexes.add_upstream("second", spec, indexes=["main"], actor="test")
    for number in range(1, 3):
        upstream.project("sample").release(f"{number}.0", upload_time=None)
        here.look("sample", "upstream")
        here.look("sample", "second")
    koschey.review.reject("sample", "9.9", reason="to come", actor="rena")
    here.execute("UPDATE project SET serial = 7")
    koschey.review.baseline(source="second", reason="as it is", actor="rena")
    gate = Gate(koschey.lookup, koschey.configuration)
    index = koschey.configuration.index("main")

    judged = {}
    for source in koschey.configuration.upstreams():
        [look] = [f for f in koschey.lookup.files_named("sample", "sample-1.0-py3-none-any.whl")
                  if f.source_id == source.id]  # fmt: skip
        assert look.serial == 7
        judge = gate.judge(index, "sample", look)
        judged[source.name] = judge.verdict(look, look.first_seen).visible

    assert judged == {"second": True, "upstream": False}

"""Which decisions are about a file: what is found quickly is what going through all of them finds."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from koschey.domain.decisions import NOTHING, Decision, Decisions, Kind, Weighed, canonical

ONE, TWO = "1" * 64, "2" * 64


@dataclass(frozen=True)
class File:
    filename: str
    version: str | None
    sha256: str | None


FILES = [
    File("sample-1.0.tar.gz", "1.0", ONE),
    File("sample-1.0-py3-none-any.whl", "1.0.0", TWO),
    File("sample-2.0.tar.gz", "2.0", ONE),
    File("sample-2004d.zip", "2004d", None),
    File("nonsense", None, TWO),
]
_SCOPES = (
    {},
    {"version": "1"},
    {"version": "2"},
    {"version": "2004d"},
    *({"filename": file.filename, "version": canonical(file.version or "0")} for file in FILES),
)
_made = st.sampled_from(
    [
        {"kind": kind, "at": at, "expires_at": expires, "until": until, "sha256": sha256, **scope}
        for kind in Kind
        for scope in _SCOPES
        for sha256 in (None, ONE, TWO)
        for expires in (None, 5, 6)
        for until in ((None, 4, 7) if kind is Kind.HOLD else (None,))
        for at in (1, 2)
    ]
)
decisions = st.lists(_made, max_size=8).map(
    lambda some: [
        Decision(id=number, actor="rena", reason="said so", **values) for number, values in enumerate(some, 1)
    ]
)


def covers(decision: Decision, file: File, now: int) -> bool:
    """The scope of a decision, in plain words."""
    if decision.expires_at is not None and now >= decision.expires_at:
        return False
    if decision.sha256 is not None and decision.sha256 != file.sha256:
        return False
    if decision.filename is not None:
        return decision.filename == file.filename
    return decision.version is None or (
        file.version is not None and canonical(file.version) == decision.version
    )


@settings(max_examples=200, deadline=None)
@given(decisions, st.sampled_from(FILES), st.integers(3, 8))
def test_those_about_a_file_are_those_that_going_through_all_of_them_finds(
    said: list[Decision], file: File, now: int
) -> None:
    found = list(Decisions(said).about(file.filename, file.version, file.sha256, now))

    assert sorted(d.id for d in found) == [d.id for d in said if covers(d, file, now)]


@settings(max_examples=200, deadline=None)
@given(decisions, st.lists(st.tuples(st.sampled_from(FILES), st.integers(3, 8)), max_size=6))
def test_what_counts_of_each_kind_is_the_same_whenever_and_in_whatever_order_it_is_asked(
    said: list[Decision], questions: list[tuple[File, int]]
) -> None:
    remembering = Decisions(said)

    for file, now in questions:
        covering = [d for d in said if covers(d, file, now)]
        weighed = remembering.weigh(file, now)

        assert weighed == Decisions(covering).weigh(file, now)
        for kind, chosen in zip(_KINDS, msgspec.structs.astuple(weighed), strict=True):
            assert (chosen is not None) is bool(_counting(covering, kind, now)), kind
        approves, holds = (_counting(covering, kind, now) for kind in (Kind.APPROVE, Kind.HOLD))
        assert weighed.approve is max(approves, key=lambda d: d.id, default=None)
        assert weighed.hold is max(holds, key=lambda d: d.id, default=None)
        if weighed.baseline is not None:
            assert weighed.baseline.at == max(d.at for d in covering if d.kind is Kind.BASELINE)


_KINDS = (Kind.REJECT, Kind.APPROVE, Kind.HOLD, Kind.TRUST, Kind.BASELINE)


def _counting(covering: list[Decision], kind: Kind, now: int) -> list[Decision]:
    found = [d for d in covering if d.kind is kind]
    if kind is Kind.APPROVE:
        return [d for d in found if d.sha256 is not None]
    return [d for d in found if d.until is None or d.until > now]


def test_nothing_said_comes_to_nothing() -> None:
    assert not Decisions()
    assert Decisions().weigh(FILES[0], 0) == NOTHING == Weighed()


def test_two_spellings_of_a_version_are_one_release() -> None:
    assert canonical("1.0") == canonical("1.0.0") == canonical("v1") == "1"
    assert canonical("2004d") == "2004d"

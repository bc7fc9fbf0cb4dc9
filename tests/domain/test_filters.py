"""Which files and names filters keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from koschey.domain.filters import Filters, Kind, checked, chosen, wanted
from koschey.errors import RequestInvalid


@dataclass(frozen=True)
class File:
    filename: str
    version: str | None
    size: int | None = 10
    requires_python: str | None = None
    yanked: bool = False


def wheel(version: str, tags: str = "py3-none-any", **said: Any) -> File:
    return File(f"pkg-{version}-{tags}.whl", version, **said)


def kept(filters: Filters, *files: File, specifiers: list[str] | None = None) -> list[str]:
    return [file.filename.removeprefix("pkg-") for file in wanted(filters, files, specifiers)]


@pytest.mark.parametrize(
    ("tags", "platforms", "pythons", "fits"),
    [
        ("py3-none-any", ("linux",), ("3.12",), True),
        ("cp312-cp312-manylinux_2_28_x86_64", ("linux",), ("3.12",), True),
        ("cp312-cp312-musllinux_1_2_x86_64", ("manylinux*",), (), False),
        ("cp312-cp312-macosx_14_0_arm64", ("linux", "windows"), (), False),
        ("cp312-cp312-win_amd64", ("windows",), ("3.13",), False),
        ("cp38-abi3-win32", ("windows",), ("3.12",), True),
        ("cp313-abi3-win32", (), ("3.12",), False),
        ("py2.py3-none-any", (), ("3.12",), True),
        ("py2-none-any", (), ("3.12",), False),
        ("pp310-pypy310_pp73-win_amd64", (), ("3.12",), False),
    ],
)
def test_tags(tags: str, platforms: tuple[str, ...], pythons: tuple[str, ...], fits: bool) -> None:
    filters = Filters(platforms=platforms, pythons=pythons)
    assert bool(kept(filters, wheel("1.0", tags))) is fits


def test_sdists_fit_every_platform_and_requires_python_counts_for_all() -> None:
    sdist = File("pkg-1.0.tar.gz", "1.0", requires_python=">=3.13")
    assert kept(Filters(platforms=("linux",)), sdist) == ["1.0.tar.gz"]
    assert kept(Filters(pythons=("3.12",)), sdist) == []
    assert kept(Filters(pythons=("3.12", "3.13")), sdist) == ["1.0.tar.gz"]
    assert kept(Filters(pythons=("3.12",)), wheel("1", requires_python="~= nonsense")) != []


def test_the_newest_versions_count_neither_yanked_ones_nor_pre_releases_that_are_left_out() -> None:
    files = [wheel("1.0"), wheel("1.10"), wheel("1.9"), wheel("2.0", yanked=True), wheel("3.0rc1")]
    newest = Filters(newest=2, prereleases=False)
    assert kept(newest, *files) == ["1.10-py3-none-any.whl", "1.9-py3-none-any.whl"]
    assert kept(Filters(newest=1), *files) == ["3.0rc1-py3-none-any.whl"]


def test_what_a_seed_pins_is_kept_whatever_the_version_is_like() -> None:
    files = [wheel("1.0"), wheel("2.0", yanked=True), wheel("3.0rc1")]
    for version in ("1.0", "2.0", "3.0rc1"):
        only = kept(Filters(newest=1, prereleases=False), *files, specifiers=[f"=={version}"])
        assert only == [f"{version}-py3-none-any.whl"]
    assert len(kept(Filters(), *files, specifiers=["[extra]>=2", "==1.0"])) == 3


def test_sizes_and_kinds() -> None:
    wheels = [wheel("1.0", size=5), wheel("2.0", size=50)]
    files = [*wheels, File("pkg-1.0.tar.gz", "1.0"), File("pkg-1.0.exe", None)]
    assert kept(Filters(max_size=20, kinds=(Kind.WHEEL,)), *files) == ["1.0-py3-none-any.whl"]
    assert kept(Filters(kinds=(Kind.OTHER,)), *files) == ["1.0.exe"]


@pytest.mark.parametrize(
    ("filters", "name", "named", "names_given", "expected"),
    [
        (Filters(), "anything", False, False, True),
        (Filters(), "anything", False, True, False),
        (Filters(), "anything", True, True, True),
        (Filters(include=("any*",)), "anything", False, True, True),
        (Filters(include=("other",)), "anything", False, False, False),
        (Filters(exclude=("any*",)), "anything", True, True, False),
    ],
)
def test_names(filters: Filters, name: str, named: bool, names_given: bool, expected: bool) -> None:
    assert chosen(filters, name, named=named, names_given=names_given) is expected


@pytest.mark.parametrize(
    "filters",
    [Filters(include=("a/b",)), Filters(pythons=("3",)), Filters(newest=-1), Filters(max_size=-5)],
    ids=["glob", "python", "newest", "size"],
)
def test_filters_that_cannot_be_meant_are_refused(filters: Filters) -> None:
    with pytest.raises(RequestInvalid):
        checked(filters)

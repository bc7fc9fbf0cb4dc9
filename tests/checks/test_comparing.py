"""What changed between two files: what to look at comes first, what nobody sees is named, nothing is run."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from koschey.checks.archive_kinds import ArchiveUnsound
from koschey.checks.changes import Change, Comparison
from koschey.checks.comparing import MAX_TEXT, compare
from koschey.checks.examiner import Examiner, Unreadable

METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: {}\n"


def wheel(path: Path, version: str, files: dict[str, bytes], metadata: str = "") -> tuple[Path, str]:
    info = f"demo-{version}.dist-info"
    entries = {
        **files,
        f"{info}/METADATA": (METADATA.format(version) + metadata).encode(),
        f"{info}/RECORD": version.encode(),
    }
    with zipfile.ZipFile(path / f"{version}.whl", "w") as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return path / f"{version}.whl", f"demo-{version}-py3-none-any.whl"


def both(tmp_path: Path, old: dict[str, bytes], new: dict[str, bytes], **metadata: str) -> Comparison:
    before = wheel(tmp_path, "1.0", old, metadata.get("before", ""))
    return compare(before, wheel(tmp_path, "2.0", new, metadata.get("after", "")))


def one(found: Comparison, path: str) -> Change:
    return next(change for change in found.files if change.path == path)


def test_files_are_told_apart_by_their_contents_and_versions_in_names_do_not_count(tmp_path: Path) -> None:
    found = both(
        tmp_path,
        {"a.py": b"a\n", "b.py": b"b\n", "c.py": b"c\n"},
        {"a.py": b"a\n", "b.py": b"B\n", "d.py": b""},
    )

    assert {change.path: change.kind for change in found.files} == {
        "b.py": "changed",
        "c.py": "removed",
        "d.py": "added",
        ".dist-info/METADATA": "changed",
    }
    assert (found.added, found.changed, found.removed, found.unchanged) == (1, 2, 1, 2)
    assert one(found, "b.py").diff == "@@ -1 +1 @@\n-b\n+B"
    assert found.fields == ()


def test_metadata_dependencies_and_entry_points_are_compared(tmp_path: Path) -> None:
    found = both(
        tmp_path,
        {"demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\nold = demo:main\n"},
        {"demo-2.0.dist-info/entry_points.txt": b"[console_scripts]\nnew = demo:main\n"},
        before="Requires-Dist: left>=1\nAuthor: Ann\n",
        after="Requires-Dist: right>=1\nAuthor: Bob\n",
    )

    assert (found.dependencies_added, found.dependencies_removed) == (("right>=1",), ("left>=1",))
    assert found.entry_points_added == ("console_scripts: new",)
    assert found.entry_points_removed == ("console_scripts: old",)
    assert [(field.name, field.before, field.after) for field in found.fields] == [("author", "Ann", "Bob")]


@pytest.mark.parametrize(
    ("path", "body", "risk"),
    [
        ("demo.pth", b"import demo\n", "runs when Python starts"),
        ("demo/x.so", b"\x7fELF\x02\x01\x01" + b"\0" * 60, "compiled code"),
        ("demo/run.sh", b"echo\n", "a program of its own"),
        ("demo/x.py", "x = 1 # \u202egnp\n".encode(), "hidden or direction-changing signs"),
        ("demo/x.py", b"exec(code)\n", "runs or unpacks what it is given"),
        ("demo/x.py", b"x = '" + b"a" * 3000 + b"'\n", "very long lines"),
        ("demo/x.py", b"import subprocess\n", "talks to the network or starts programs"),
        ("demo/__init__.py", b"x = 1\n", "runs when it is imported"),
    ],
)
def test_what_somebody_should_look_at_comes_first_and_says_why(
    tmp_path: Path, path: str, body: bytes, risk: str
) -> None:
    found = both(tmp_path, {"a.txt": b"a"}, {"a.txt": b"b", "aa.txt": b"", path: body})

    assert found.files[0].path == path
    assert risk in found.files[0].risks


def test_without_an_earlier_file_everything_is_new(tmp_path: Path) -> None:
    found = compare(None, wheel(tmp_path, "1.0", {"demo/__init__.py": b"x = 1\n"}))

    assert {change.kind for change in found.files} == {"added"}
    assert one(found, "demo/__init__.py").diff == "@@ -0,0 +1 @@\n+x = 1"


def test_large_and_binary_files_are_compared_without_their_lines(tmp_path: Path) -> None:
    big = b"x\n" * MAX_TEXT
    found = both(tmp_path, {"big.txt": big, "b.dat": b"\0a"}, {"big.txt": big + b"y", "b.dat": b"\0b"})

    assert one(found, "big.txt").diff is None
    assert one(found, "b.dat").diff is None


def test_the_top_folder_of_an_sdist_does_not_count(tmp_path: Path) -> None:
    sides = []
    for version in ("1.0", "2.0"):
        path = tmp_path / f"{version}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, body in {"PKG-INFO": METADATA.format(version), "setup.py": f"v = {version}\n"}.items():
                member = tarfile.TarInfo(f"demo-{version}/{name}")
                member.size = len(body)
                archive.addfile(member, io.BytesIO(body.encode()))
        sides.append((path, f"demo-{version}.tar.gz"))

    found = compare(sides[0], sides[1])

    assert found.files[0].path == "setup.py"
    assert found.files[0].risks == ("runs when it is installed",)
    assert found.removed == found.added == 0


def test_what_is_no_archive_is_said_to_be_none_also_by_the_process_that_reads(tmp_path: Path) -> None:
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"not a zip")
    good = wheel(tmp_path, "1.0", {})
    with pytest.raises(ArchiveUnsound):
        compare(None, (broken, "demo-2.0-py3-none-any.whl"))
    examiner = Examiner(timeout_seconds=30.0)
    try:
        with pytest.raises(Unreadable, match="cannot be read"):
            examiner.compare(good, (broken, "demo-2.0-py3-none-any.whl"))
        assert examiner.compare(good, good).files == ()
    finally:
        examiner.close()

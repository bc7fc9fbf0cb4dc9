"""Source archives: what no honest tool writes fails its check, and what an honest one writes passes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path

import pytest

from koschey.checks import archive, metadata
from koschey.checks.archive_kinds import ArchiveUnsound
from koschey.checks.reading import read_contents
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome
from tests.artifacts import Release, sdist
from tests.hostile_archives import (
    DEFLATED,
    RELEASE,
    SDIST_NAME,
    Entry,
    Member,
    pax,
    sdist_members,
    sdist_of,
    sdist_with,
    tar_of,
    tarfile_sdist,
    zip_of,
)

MIB = 2**20
TOP = "acme-1.0"
CHECKS = {"archive": archive, "metadata": metadata}
NEGATIVE = b"\xff" * 12
ESCAPE = (Member(f"{TOP}/d/up", type=b"2", link=".."), Member(f"{TOP}/out", type=b"2", link="d/up/../x"))
OTHER = Release("other", "2.0").metadata


def found(tmp_path: Path, check: str, content: bytes, filename: str = SDIST_NAME) -> Finding:
    path = tmp_path / "file"
    path.write_bytes(content)
    subject = Subject(path=str(path), filename=filename, project="acme", version="1.0")
    finding = CHECKS[check].check(subject)
    assert isinstance(finding, Finding) and finding.check == check
    return finding


def _link(target: str, kind: bytes = b"2", name: str = "link") -> Member:
    return Member(f"{TOP}/{name}", type=kind, link=target)


def _info(text: bytes) -> bytes:
    return sdist_of([Member(f"{TOP}/PKG-INFO", text)])


HOSTILE = {
    "symbolic link outside": (
        "archive", lambda: sdist_with(_link("../../etc/passwd")), "link to the outside"
    ),
    "symbolic link beside the top folder": ("archive", lambda: sdist_with(_link("../x")), "to the outside"),
    "absolute symbolic link": ("archive", lambda: sdist_with(_link("/etc/passwd")), "link to the outside"),
    "symbolic link to a drive": ("archive", lambda: sdist_with(_link("C:/x")), "link to the outside"),
    "symbolic link outside by way of another": (
        "archive", lambda: sdist_with(*ESCAPE), "link to the outside"
    ),
    "symbolic links in a circle": (
        "archive", lambda: sdist_with(_link("b", name="a"), _link("a", name="b")), "link to the outside"
    ),
    "symbolic link to nothing": ("archive", lambda: sdist_with(_link("")), "link to nothing"),
    "member through a symbolic link": (
        "archive", lambda: sdist_with(_link("."), Member(f"{TOP}/link/x")), "through the symbolic link"
    ),
    "hard link outside": ("archive", lambda: sdist_with(_link("../x", b"1")), "hard link to what leads out"),
    "absolute hard link": ("archive", lambda: sdist_with(_link("/etc/passwd", b"1")), "absolute path"),
    "hard link to a symbolic link": (
        "archive", lambda: sdist_with(_link("x"), _link(f"{TOP}/link", b"1", "hard")), "to a symbolic link"
    ),
    "hard link with data": (
        "archive",
        lambda: sdist_with(Member(f"{TOP}/x", b"x", type=b"1", link=f"{TOP}/acme.py")),
        "bytes of data",
    ),
    "absolute path": ("archive", lambda: sdist_with(Member("/etc/passwd")), "absolute path"),
    "parent folder": ("archive", lambda: sdist_with(Member(f"{TOP}/../../x")), "leads out of its folder"),
    "parent folder in the prefix": ("archive", lambda: sdist_with(Member("x", prefix="..")), "leads out"),
    "parent folder in a pax header": (
        "archive", lambda: sdist_with(pax({"path": "../x"}), Member(f"{TOP}/x")), "leads out of its folder"
    ),
    "parent folder in a GNU long name": (
        "archive", lambda: sdist_with(Member("l", b"../x\0", type=b"L"), Member(f"{TOP}/x")), "leads out"
    ),
    "hard link outside in a GNU long name": (
        "archive", lambda: sdist_with(Member("l", b"../x\0", type=b"K"), _link("a", b"1")), "leads out"
    ),
    "hard link outside in a pax header": (
        "archive", lambda: sdist_with(pax({"linkpath": "../x"}), _link("a", b"1")), "leads out"
    ),
    "NUL in a pax path": ("archive", lambda: sdist_with(pax({"path": "a\0b"}), Member("x")), "NUL in a name"),
    "device": ("archive", lambda: sdist_with(Member(f"{TOP}/null", type=b"3")), "is a device"),
    "FIFO": ("archive", lambda: sdist_with(Member(f"{TOP}/pipe", type=b"6")), "is a FIFO"),
    "sparse": ("archive", lambda: sdist_with(Member(f"{TOP}/x", type=b"S")), "is sparse"),
    "sparse by a pax header": (
        "archive", lambda: sdist_with(pax({"GNU.sparse.size": "99"}), Member(f"{TOP}/x")), "is sparse"
    ),
    "unknown type": ("archive", lambda: sdist_with(Member(f"{TOP}/x", type=b"M")), "unknown type"),
    "folder with data": ("archive", lambda: sdist_with(Member(f"{TOP}/x", b"x", type=b"5")), "bytes of data"),
    "gzip bomb": (
        "archive", lambda: sdist_with(Member(f"{TOP}/x", bytes(70 * MIB))), "over 50 times its size"
    ),
    "negative size": (
        "archive", lambda: sdist_with(Member(f"{TOP}/x", size_field=NEGATIVE)), "negative or absurd number"
    ),
    "size that is no number": (
        "archive", lambda: sdist_with(Member(f"{TOP}/x", size_field=b"-0000000010\0")), "number that is none"
    ),
    "size beyond the end": (
        "archive", lambda: sdist_with(Member(f"{TOP}/x", size_field=b"77777777777\0")), "is cut off"
    ),
    "cut off in the padding": (
        "archive", lambda: gzip.compress(tar_of(sdist_members(), end=b"")[:-8]), "is cut off"
    ),
    "cut off in a header": ("archive", lambda: sdist_with(end=bytes(100)), "cut off in a header"),
    "cut off in an extended header": (
        "archive",
        lambda: sdist_of([*sdist_members(), Member("x", b"9 a=b\n", type=b"x", with_data=False)], end=b""),
        "cut off in an extended header",
    ),
    "PAX size trick": (
        "archive",
        lambda: sdist_with(pax({"size": "512"}), Member(f"{TOP}/x", b"x")),
        "one size in its header",
    ),
    "size for all in a global pax header": (
        "archive", lambda: sdist_with(pax({"size": "512"}, b"g")), "sets 'size' for all members"
    ),
    "two paths in a pax header": (
        "archive",
        lambda: sdist_with(Member("p", b"9 path=a\n9 path=b\n", type=b"x"), Member(f"{TOP}/x")),
        "two pax records of its path",
    ),
    "malformed pax header": (
        "archive",
        lambda: sdist_with(Member("p", b"99 path=a\n", type=b"x"), Member(f"{TOP}/x")),
        "is malformed",
    ),
    "pax record of no length": (
        "archive",
        lambda: sdist_with(Member("p", b"0 path=a\n", type=b"x"), Member(f"{TOP}/x")),
        "is malformed",
    ),
    "two pax headers for one member": (
        "archive",
        lambda: sdist_with(pax({"a": "b"}), pax({"path": "x"}), Member("y")),
        "two extended headers",
    ),
    "pax header for no member": ("archive", lambda: sdist_with(pax({"a": "b"})), "belongs to no member"),
    "huge pax header": (
        "archive",
        lambda: sdist_with(Member("p", type=b"x", size_field=b"00200000000\0")),
        "extended header is of 33554432 bytes",
    ),
    "wrong checksum": ("archive", lambda: sdist_with(Member(f"{TOP}/x", checksum=1)), "checksum is wrong"),
    "something after the end": (
        "archive",
        lambda: sdist_with(end=bytes(1024) + Member(f"{TOP}/x").blocks()),
        "after the end of the tar",
    ),
    "bytes after the gzip stream": (
        "archive", lambda: sdist_with(after=b"more"), "after the end of its compressed"
    ),
    "zip after the gzip stream": (
        "archive", lambda: sdist_with(after=zip_of([Entry("x", b"x")])), "after the end of its compressed"
    ),
    "second gzip member": (
        "archive", lambda: sdist_with(after=sdist_with()), "after the end of its compressed"
    ),
    "cut off gzip stream": ("archive", lambda: sdist_with()[:-20], "compressed data is cut off"),
    "damaged gzip stream": (
        "archive", lambda: sdist_with()[:10] + b"\xff" * 40, "compressed data is damaged"
    ),
    "no gzip": ("archive", lambda: tar_of(sdist_members()), "compressed data is damaged"),
    "empty": ("archive", lambda: sdist_of([]), "it is empty"),
    "two top folders": ("archive", lambda: sdist_with(Member("other/x")), "2 top folders, not one"),
    "no PKG-INFO": ("archive", lambda: sdist_of([Member(f"{TOP}/acme.py")]), "no PKG-INFO"),
    "two different members of one name": (
        "archive", lambda: sdist_with(Member(f"{TOP}/PKG-INFO", OTHER)), "there twice, and not the same"
    ),
    "more than 100,000 members": (
        "archive", lambda: gzip.compress(Member(f"{TOP}/x").blocks() * 100_001, 1), "it has 100001 entries"
    ),
    "PKG-INFO of another project": ("metadata", lambda: _info(OTHER), "metadata is other's"),
    "PKG-INFO of another version": (
        "metadata", lambda: _info(Release("acme", "1.1").metadata), "version 1.1, its file name 1.0"
    ),
    "no PKG-INFO to read": ("metadata", lambda: sdist_of([Member(f"{TOP}/acme.py")]), "no PKG-INFO"),
    "PKG-INFO of 17 MiB": ("metadata", lambda: _info(bytes(17 * MIB)), "over 16777216 bytes"),
}  # fmt: skip

HOSTILE_ZIPS = {
    "two top folders": (lambda: [Entry("other/x", b"x")], "2 top folders"),
    "bomb": (lambda: [Entry(f"{TOP}/x", bytes(70 * MIB), DEFLATED)], "over 50 times"),
    "symbolic link": (lambda: [Entry(f"{TOP}/x", b"/etc", mode=0o120777)], "symbolic link"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_sdist_fails(tmp_path: Path, name: str) -> None:
    check, build, said = HOSTILE[name]
    finding = found(tmp_path, check, build())
    assert (finding.outcome, said in finding.reason) == (Outcome.FAIL, True), finding.reason


@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_a_hostile_zip_sdist_fails(tmp_path: Path, name: str) -> None:
    more, said = HOSTILE_ZIPS[name]
    finding = found(tmp_path, "archive", zip_of([Entry(f"{TOP}/PKG-INFO"), *more()]), "acme-1.0.zip")
    assert (finding.outcome, said in finding.reason) == (Outcome.FAIL, True), finding.reason


NAMES = {f"{TOP}/PKG-INFO": RELEASE.metadata, f"{TOP}/{'long/' * 60}x.py": b"x", f"{TOP}/\u00e9.py": b""}
APPLE_DOUBLE = Member(f"._{TOP}", b"\0\5\x16\7" + bytes(60))

HONEST = {
    "plain": lambda: sdist_with(),
    "of today": lambda: sdist(RELEASE).content,
    "pax headers": lambda: tarfile_sdist(NAMES),
    "GNU headers": lambda: tarfile_sdist(NAMES, layout=tarfile.GNU_FORMAT),
    "git's global header": lambda: sdist_of([pax({"comment": "c0ffee"}, b"g"), *sdist_members()]),
    "symbolic link inside": lambda: sdist_with(_link("acme.py"), _link("../acme.py", name="d/up")),
    "symbolic link by way of another": lambda: sdist_with(_link("d"), _link("link/x", name="b")),
    "hard link inside": lambda: sdist_with(_link(f"{TOP}/acme.py", b"1")),
    "names from the current folder on": (
        lambda: sdist_of([Member(f"./{m.name}", m.data) for m in sdist_members()[1:]])
    ),
    "what macOS adds": lambda: sdist_of([APPLE_DOUBLE, *sdist_members()]),
    "zeros after the gzip stream": lambda: sdist_with(after=bytes(700)),
    "no end-of-archive blocks": lambda: sdist_with(end=b""),
    "full last block": lambda: sdist_with(end=bytes(10240)),
    "same member twice": lambda: sdist_with(Member(f"{TOP}/acme.py", RELEASE.source)),
    "folder of old tar": lambda: sdist_with(Member(f"{TOP}/d/", type=b"\0", magic=bytes(8))),
    "GNU magic": lambda: sdist_with(Member(f"{TOP}/x", magic=b"ustar  \0", prefix="12345")),
    "prefix": lambda: sdist_with(Member("x", prefix=f"{TOP}/d")),
    "megabytes of zeros": lambda: sdist_with(Member(f"{TOP}/x", bytes(20 * MIB))),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_what_an_honest_tool_writes_passes(tmp_path: Path, name: str) -> None:
    content = HONEST[name]()
    for check in ("archive", "metadata"):
        finding = found(tmp_path, check, content)
        assert finding.outcome is Outcome.PASS, finding.reason


def test_a_checksum_of_signed_bytes_passes(tmp_path: Path) -> None:
    member = Member(f"{TOP}/\u00e9")
    unsigned = int(member.blocks()[148:154], 8)
    old = Member(member.name, checksum=unsigned - 256 * sum(byte > 127 for byte in member.name.encode()))
    assert found(tmp_path, "archive", sdist_with(old)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("extension", "packed"),
    [
        (".tar", lambda tar: tar),
        (".tgz", gzip.compress),
        (".tar.bz2", bz2.compress),
        (".tar.bz2", lambda tar: bz2.compress(tar[:700]) + bz2.compress(tar[700:])),
        (".tar.xz", lzma.compress),
    ],
)
def test_other_compressions_are_read_and_their_damage_is_seen(
    tmp_path: Path, extension: str, packed: object
) -> None:
    content, filename = packed(tar_of(sdist_members())), f"{TOP}{extension}"
    for check in ("archive", "metadata"):
        assert found(tmp_path, check, content, filename).outcome is Outcome.PASS
    for damaged in (content[:-600], content[: len(content) // 2], content + b"more"):
        assert found(tmp_path, "archive", damaged, filename).outcome is Outcome.FAIL


def test_a_zip_sdist_passes(tmp_path: Path) -> None:
    entries = [Entry(f"{TOP}/", mode=0o040755), Entry(f"{TOP}/PKG-INFO", RELEASE.metadata)]
    for check in ("archive", "metadata"):
        assert found(tmp_path, check, zip_of(entries), "acme-1.0.zip").outcome is Outcome.PASS


def test_the_file_name_must_be_of_the_project_that_pkg_info_names(tmp_path: Path) -> None:
    finding = found(tmp_path, "metadata", sdist_with(), "other-1.0.tar.gz")
    assert finding.outcome is Outcome.FAIL and "its file name is not" in finding.reason


def test_a_legacy_version_is_compared_as_text(tmp_path: Path) -> None:
    legacy = Release("acme", "1.0").metadata.replace(b"1.0", b"1.0-dev-r12x")
    content = sdist_of([Member("x/PKG-INFO", legacy)])
    path = tmp_path / "file"
    path.write_bytes(content)
    subject = Subject(
        path=str(path), filename="acme-1.0-dev-r12x.tar.gz", project="acme", version="1.0_dev-r12x"
    )
    assert metadata.check(subject).outcome is Outcome.PASS


def test_contents_say_what_an_installation_would_run(tmp_path: Path) -> None:
    pyproject = b"""\
[build-system]
build-backend = "_build.backend:api"
backend-path = [".", "tools"]
[project.scripts]
acme = "acme:main"
[project.entry-points.pytest11]
plug = "acme.plug"
"""
    more = {
        "pyproject.toml": pyproject,
        "setup.py": b"",
        "tools/_build/backend.py": b"",
        "docs/setup.py": b"",
        "src/evil.pth": b"import os\n",
        "tests/data/harmless.pth": b"import os\n",
        "src/acme.egg-info/entry_points.txt": b"[console_scripts]\nacme-too = acme:main\n",
        "acme.so": b"\x7fELF" + bytes(100),
    }
    path = tmp_path / "file"
    path.write_bytes(sdist_with(*(Member(f"{TOP}/{name}", data) for name, data in more.items())))
    contents = read_contents(path, SDIST_NAME)
    assert contents.build_scripts == ("setup.py", "tools/_build/backend.py")
    assert contents.build_backend == "_build.backend:api"
    assert contents.startup == ("src/evil.pth",)
    assert contents.entry_points == ("console_scripts:acme", "console_scripts:acme-too", "pytest11:plug")
    assert contents.native == ("acme.so",)
    assert (contents.name, contents.version) == ("acme", "1.0")


def test_nonsense_in_pyproject_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in (b"\xff", b"[build-system", b"project = 1\nbuild-system = []", b"[project]\nscripts = 5"):
        path.write_bytes(sdist_with(Member(f"{TOP}/pyproject.toml", text)))
        assert read_contents(path, SDIST_NAME).name == "acme"


def test_contents_of_a_bomb_are_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(sdist_with(Member(f"{TOP}/x", bytes(70 * MIB))))
    with pytest.raises(ArchiveUnsound, match="over 50 times"):
        read_contents(path, SDIST_NAME)


def test_no_byte_that_is_flipped_makes_a_check_crash(tmp_path: Path) -> None:
    """Whatever is wrong, the answer is a finding with a reason; a crash would be one without."""
    tar = tar_of(sdist_members(pax({"path": f"{TOP}/y"}), Member(f"{TOP}/x", b"x")))
    zipped = zip_of([Entry(f"{TOP}/PKG-INFO", RELEASE.metadata, DEFLATED), Entry(f"{TOP}/x", b"x")])
    for content, filename in ((tar, f"{TOP}.tar"), (zipped, f"{TOP}.zip")):
        for place in range(0, len(content), 11):
            damaged = bytearray(content)
            damaged[place] ^= 0xFF
            for check in ("archive", "metadata"):
                assert found(tmp_path, check, bytes(damaged), filename).outcome in (
                    Outcome.PASS,
                    Outcome.FAIL,
                )


def test_python_reads_the_archives_that_these_tests_call_sound() -> None:
    with tarfile.open(fileobj=io.BytesIO(sdist_with())) as archive:
        assert archive.getnames() == [m.name.rstrip("/") for m in sdist_members()]

"""Wheels (and eggs): what no honest tool writes fails its check, and what an honest one writes passes."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from pathlib import Path

import pytest

from koschey.checks import archive, integrity, metadata, record
from koschey.checks.reading import read_contents
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome
from tests.artifacts import Release, wheel
from tests.hostile_archives import (
    DEFLATED,
    INFO,
    MAX32,
    RELEASE,
    WHEEL_NAME,
    Entry,
    deflated,
    record_of,
    streamed,
    wheel_contents,
    wheel_entries,
    wheel_with,
    zip_of,
    zip_that_is_a_tar,
)

MIB = 2**20
X = b"x" * 100
CHECKS = {"archive": archive, "record": record, "metadata": metadata, "integrity": integrity}
END = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)


def found(
    tmp_path: Path, check: str, content: bytes, filename: str = WHEEL_NAME, **fields: object
) -> Finding:
    path = tmp_path / "file"
    path.write_bytes(content)
    fields = {"project": "acme", "version": "1.0"} | fields
    finding = CHECKS[check].check(Subject(path=str(path), filename=filename, **fields))
    assert isinstance(finding, Finding) and finding.check == check
    return finding


def _replaced(name: str, data: bytes) -> bytes:
    """A sound wheel with one file's text replaced (RECORD knows it)."""
    return zip_of(wheel_entries(contents=wheel_contents() | {f"{INFO}/{name}": data}))


def _recorded(text: bytes) -> bytes:
    return zip_of([*(Entry(n, d) for n, d in wheel_contents().items()), Entry(f"{INFO}/RECORD", text)])


def _overlapping() -> bytes:
    """Two entries that share their packed bytes: a directory can list a million of them."""
    kernel = Entry("kernel", X)
    quoted = kernel.local_header() + X
    return zip_of(
        [*wheel_entries(), Entry("outer", quoted), Entry("kernel", X, present=False, offset=_at(quoted))]
    )


def _at(quoted: bytes) -> int:
    return zip_of([*wheel_entries(), Entry("outer", quoted)]).index(quoted)


def _other_crc_later() -> bytes:
    entry = streamed("a", X)
    return wheel_with(Entry("a", X, flags=8, local=entry.local, after=entry.after[:4] + bytes(12)))


def _without(name: str) -> bytes:
    return zip_of([entry for entry in wheel_entries() if entry.name != f"{INFO}/{name}"])


_WIDE_LIE = struct.pack("<2H2Q", 1, 16, 5, 100)
_SHORT_WIDE = struct.pack("<2HQ", 1, 8, 100)

HOSTILE = {
    "duplicate central entry": ("archive", lambda: wheel_with(Entry("a", X), Entry("a", X)), "there twice"),
    "duplicate but for a dot": (
        "archive", lambda: wheel_with(Entry("a/b", X), Entry("a/./b", X)), "there twice"
    ),
    "duplicate local header": (
        "archive",
        lambda: wheel_with(Entry("acme.py", X, listed=False), Entry("b", X)),
        "that its directory does not list",
    ),
    "duplicate local header at the end": (
        "archive",
        lambda: zip_of([*wheel_entries(), Entry("acme.py", X, listed=False)]),
        "that its directory does not list",
    ),
    "other name in the local header": (
        "archive", lambda: wheel_with(Entry("a", X, local={"name": "b"})), "is called 'b' in its local header"
    ),
    "other size in the local header": (
        "archive", lambda: wheel_with(Entry("a", X, local={"size": 5})), "another size or CRC in its local"
    ),
    "other method in the local header": (
        "archive",
        lambda: wheel_with(Entry("a", X, local={"method": DEFLATED, "packed": X})),
        "another method"
    ),
    "other flags in the local header": (
        "archive", lambda: wheel_with(Entry("a", X, local={"flags": 0x800})), "other flags"
    ),
    "no local header": (
        "archive", lambda: wheel_with().replace(b"PK\3\4", b"PK\3\5", 1), "no local header"
    ),
    "size mismatch": ("archive", lambda: wheel_with(Entry("a", X, DEFLATED, size=99)), "not of 99 bytes"),
    "size mismatch of a stored entry": (
        "archive", lambda: wheel_with(Entry("a", X, size=101)), "not of 101 bytes"
    ),
    "CRC mismatch": ("archive", lambda: wheel_with(Entry("a", X, crc=1)), "another CRC"),
    "other sizes in the descriptor": ("archive", _other_crc_later, "in its data descriptor"),
    "other size in a streamed local header": (
        "archive",
        lambda: wheel_with(Entry("a", X, flags=8, local={"size": 7}, after=streamed("a", X).after)),
        "another size or CRC in its local header",
    ),
    "bytes after the packed data": (
        "archive",
        lambda: wheel_with(Entry("a", X, DEFLATED, packed=deflated(X) + b"hidden")),
        "bytes after the end of its packed data",
    ),
    "packed data without an end": (
        "archive", lambda: wheel_with(Entry("a", X, DEFLATED, packed=deflated(X)[:-2])), "cut off"
    ),
    "damaged packed data": (
        "archive", lambda: wheel_with(Entry("a", X, DEFLATED, packed=b"\xff" * 50)), "cannot be unpacked"
    ),
    "unknown method": ("archive", lambda: wheel_with(Entry("a", X, 99)), "packed with method 99"),
    "two end records": ("archive", lambda: wheel_with(comment=X + END), "two end records"),
    "trailing data": ("archive", lambda: wheel_with() + b"more", "bytes after its end record"),
    "leading data": ("archive", lambda: b"#!/bin/sh\n" + wheel_with(), "put before the archive"),
    "leading data that is accounted for": (
        "archive",
        lambda: zip_of([Entry("a", X, before=b"MZ junk"), *wheel_entries()]),
        "before its first entry"
    ),
    "bytes between entries": (
        "archive", lambda: wheel_with(Entry("a", X, before=b"between")), "that belong to no entry"
    ),
    "bytes in the directory": (
        "archive", lambda: wheel_with(directory_after=b"hidden"), "more in it than the entries"
    ),
    "directory with fewer entries": ("archive", lambda: wheel_with(count=9), "fewer entries"),
    "malformed directory": (
        "archive", lambda: wheel_with(directory_after=bytes(60), count=5), "directory is malformed"
    ),
    "part of several": ("archive", lambda: wheel_with(end={"disk": 2}), "one part of several"),
    "ZIP64 locator to elsewhere": ("archive", lambda: wheel_with(wide={"locator": 0}), "points elsewhere"),
    "malformed ZIP64 end record": ("archive", lambda: wheel_with(wide={"length": 45}), "is malformed"),
    "entry in another part": ("archive", lambda: wheel_with(Entry("a", X, disk=1)), "in another part"),
    "ZIP64 end record against the plain one": (
        "archive", lambda: wheel_with(wide={}, end={"count": 3}), "contradict each other"
    ),
    "ZIP64 end record with another offset": (
        "archive", lambda: wheel_with(wide={"offset": 1}), "does not end where its end record begins"
    ),
    "ZIP64 sizes against the header": (
        "archive", lambda: wheel_with(Entry("a", X, extra=_WIDE_LIE)), "ZIP64 field that contradicts"
    ),
    "ZIP64 without the sizes": (
        "archive",
        lambda: wheel_with(Entry("a", X, size=MAX32, packed_size=MAX32, extra=_SHORT_WIDE)),
        "without the sizes",
    ),
    "two ZIP64 fields": (
        "archive", lambda: wheel_with(Entry("a", X, extra=_SHORT_WIDE * 2)), "two ZIP64 fields"
    ),
    "malformed extra field": (
        "archive", lambda: wheel_with(Entry("a", X, extra=b"\x09\x00\xff\x00x")), "malformed extra field"
    ),
    "second name": (
        "archive",
        lambda: wheel_with(Entry("a", X, extra=struct.pack("<2HBL", 0x7075, 8, 1, 0) + b"b.p")),
        "second name",
    ),
    "empty": ("archive", lambda: zip_of([]), "it is empty"),
    "no zip": ("archive", lambda: b"not a zip archive at all", "no end record"),
    "truncated": ("archive", lambda: wheel_with()[:-30], "no end record"),
    "bomb": ("archive", lambda: wheel_with(Entry("a", bytes(70 * MIB), DEFLATED)), "over 50 times"),
    "overlapping entries": ("archive", _overlapping, "overlaps another one"),
    "entry that overlaps the directory": (
        "archive",
        lambda: zip_of([*wheel_entries(), Entry("z", X, packed_size=105, size=105, local={})]),
        "overlaps its directory",
    ),
    "more than 100,000 entries": ("archive", lambda: wheel_with(wide={"count": 100_001}), "100001 entries"),
    "parent folder": ("archive", lambda: wheel_with(Entry("a/../../b", X)), "leads out of its folder"),
    "parent folder with backslashes": ("archive", lambda: wheel_with(Entry("..\\b", X)), "leads out"),
    "absolute path": ("archive", lambda: wheel_with(Entry("/etc/passwd", X)), "absolute path"),
    "drive": ("archive", lambda: wheel_with(Entry("C:evil", X)), "absolute path"),
    "backslash": ("archive", lambda: wheel_with(Entry("a\\b", X)), "has a backslash"),
    "control character": ("archive", lambda: wheel_with(Entry("a\0b", X)), "control characters"),
    "empty name": ("archive", lambda: wheel_with(Entry("", X)), "empty name"),
    "very long name": ("archive", lambda: wheel_with(Entry("a" * 5000, X)), "name of 5000 characters"),
    "name that is no UTF-8": (
        "archive",
        lambda: wheel_with(Entry("q\u00e9", X, flags=0x800)).replace("q\u00e9".encode(), b"q\xff\xff"),
        "not the UTF-8",
    ),
    "symbolic link": ("archive", lambda: wheel_with(Entry("a", X, mode=0o120777)), "symbolic link"),
    "device": ("archive", lambda: wheel_with(Entry("a", X, mode=0o020666)), "neither file nor folder"),
    "encrypted": ("archive", lambda: wheel_with(Entry("a", X, flags=1)), "encrypted"),
    "folder with data": ("archive", lambda: wheel_with(Entry("a/", X)), "is a folder and has 100 bytes"),
    "two dist-info folders": (
        "archive", lambda: wheel_with(Entry("other-2.0.dist-info/METADATA", X)), "2 dist-info folders"
    ),
    "no dist-info folder": ("archive", lambda: zip_of([Entry("acme.py", X)]), "0 dist-info folders"),
    "no WHEEL": ("archive", lambda: _without("WHEEL"), "no WHEEL"),
    "entry point that leads out": (
        "archive",
        lambda: _replaced("entry_points.txt", b"[console_scripts]\n../x = acme:main\n"),
        "'../x' leads out of the folder of scripts",
    ),
    "huge entry points": (
        "archive", lambda: _replaced("entry_points.txt", b"#" * (17 * MIB)), "entry_points.txt is over"
    ),
    "zip that is also a tar": ("archive", zip_that_is_a_tar, "a tar archive too"),
    "RECORD missing": ("record", lambda: _without("RECORD"), "no RECORD"),
    "two RECORDs": ("record", lambda: wheel_with(Entry("b-1.dist-info/RECORD", X)), "2 RECORDs"),
    "file that RECORD does not list": (
        "record", lambda: zip_of([*wheel_entries(), Entry("evil.py", X)]), "'evil.py' is not in its RECORD"
    ),
    "RECORD lists what is not there": (
        "record", lambda: _recorded(record_of(wheel_contents(gone=X))), "'gone', which is not there"
    ),
    "wrong hash": (
        "record",
        lambda: _recorded(record_of(wheel_contents() | {"acme.py": b"VERSION = '2.0'\n"})),
        "sha256 is in"
    ),
    "wrong size": (
        "record", lambda: _recorded(record_of(wheel_contents()).replace(b",16\n", b",17\n")), "RECORD says 17"
    ),
    "weak hash": (
        "record", lambda: _recorded(record_of(wheel_contents()).replace(b"sha256=", b"md5=")), "no good hash"
    ),
    "two different lines for one file": (
        "record", lambda: _recorded(b"acme.py,sha256=x,5\n" + record_of(wheel_contents())), "twice, and not"
    ),
    "huge RECORD": ("record", lambda: _recorded(b"\n" * (17 * MIB)), "RECORD is over"),
    "RECORD that is no text": ("record", lambda: _recorded(b"\xff\xfe"), "cannot be read"),
    "RECORD of a damaged archive": ("record", lambda: b"nothing", "no end record"),
    "1 GB METADATA": (
        "metadata", lambda: _replaced("METADATA", bytes(17 * MIB)), "METADATA' is over 16777216"
    ),
    "METADATA missing": ("metadata", lambda: _without("METADATA"), "no METADATA"),
    "two METADATA": (
        "metadata", lambda: wheel_with(Entry("acme-1.1.dist-info/METADATA", X)), "more than one METADATA"
    ),
    "dist-info of another project": (
        "metadata",
        lambda: zip_of([Entry("other-1.0.dist-info/METADATA", RELEASE.metadata)]),
        "dist-info folder is other-1.0's",
    ),
    "METADATA of another project": (
        "metadata",
        lambda: _replaced("METADATA", Release("other", "1.0").metadata),
        "is other's, its page is acme"
    ),
    "METADATA of another version": (
        "metadata",
        lambda: _replaced("METADATA", Release("acme", "1.1").metadata),
        "version 1.1, its file name 1.0"
    ),
    "METADATA without a name": (
        "metadata", lambda: _replaced("METADATA", b"Version: 1.0\n\n"), "has no name"
    ),
    "METADATA without a version": (
        "metadata", lambda: _replaced("METADATA", b"Name: acme\n\n"), "has no version"
    ),
    "METADATA with two names": (
        "metadata", lambda: _replaced("METADATA", b"Name: other\n" + RELEASE.metadata), "more than one name"
    ),
    "METADATA of a damaged archive": ("metadata", lambda: wheel_with()[:-30], "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_wheel_fails(tmp_path: Path, name: str) -> None:
    check, build, said = HOSTILE[name]
    finding = found(tmp_path, check, build())
    assert (finding.outcome, said in finding.reason) == (Outcome.FAIL, True), finding.reason


def _zipfile_wheel(
    compression: int = zipfile.ZIP_DEFLATED, *, force_zip64: bool = False, unseekable: bool = False
) -> bytes:
    """A sound wheel as Python's own zipfile writes it."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *where: int) -> int:
            raise OSError

    buffer = Pipe() if unseekable else io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for entry in wheel_entries():
            with made.open(zipfile.ZipInfo(entry.name), "w", force_zip64=force_zip64) as member:
                member.write(entry.data)
    return buffer.getvalue()


HONEST = {
    "plain": wheel_with,
    "as zipfile writes it": _zipfile_wheel,
    "as zipfile writes it with ZIP64": lambda: _zipfile_wheel(force_zip64=True),
    "as zipfile writes it into a pipe": lambda: _zipfile_wheel(unseekable=True),
    "as zipfile writes it into a pipe with ZIP64": lambda: _zipfile_wheel(unseekable=True, force_zip64=True),
    "end-of-archive signature inside a member": lambda: wheel_with(Entry("a", X + END + X)),
    "whole archive inside a member": lambda: wheel_with(Entry("a.zip", wheel_with())),
    "folders": lambda: wheel_with(Entry("a/", mode=0o040755), Entry("a/b", X)),
    "folder that says it is deflated": lambda: wheel_with(Entry("a/", method=DEFLATED, packed=b"")),
    "no mode": lambda: wheel_with(Entry("a", X, mode=0)),
    "data descriptors": lambda: wheel_with(streamed("a", X), streamed("b", X)),
    "data descriptor without signature": lambda: wheel_with(streamed("a", X, signature=False)),
    "data descriptor of 8 bytes a size": lambda: wheel_with(streamed("a", X, wide=True)),
    "comment": lambda: wheel_with(comment=b"made by hand"),
    "ZIP64 end record": lambda: wheel_with(wide={}),
    "ZIP64 sizes that would have fitted": lambda: wheel_with(
        Entry("a", X, extra=struct.pack("<2H2Q", 1, 16, 100, 100))
    ),
    "extra area padded with zeros": lambda: wheel_with(Entry("a", X, extra=b"\0\0\0\0\0")),
    "small archive with megabytes of zeros": lambda: wheel_with(Entry("a", bytes(20 * MIB), DEFLATED)),
    "UTF-8 names": lambda: wheel_with(Entry("q\u00e9", X, flags=0x800)),
    "plug-in entry points with slashes": lambda: _replaced(
        "entry_points.txt", b"[acme.plug]\na/b = acme:x\n"
    ),
    "hex in RECORD": lambda: _recorded(
        "".join(
            f"{name},sha256={hashlib.sha256(data).hexdigest()},{len(data)}\n"
            for name, data in wheel_contents().items()
        ).encode()
    ),
    "RECORD without sizes": lambda: _recorded(record_of(wheel_contents()).replace(b",16\n", b",\n")),
    "signed RECORD": lambda: zip_of([*wheel_entries(), Entry(f"{INFO}/RECORD.jws", X)]),
    "RECORD that lists what an installation compiled": lambda: _recorded(
        record_of(wheel_contents()) + b"__pycache__/acme.cpython-312.pyc,,\n"
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_an_honest_tool_writes_passes(tmp_path: Path, name: str) -> None:
    content = HONEST[name]()
    for check in ("archive", "record", "metadata"):
        finding = found(tmp_path, check, content)
        assert finding.outcome is Outcome.PASS, finding.reason


def test_an_egg_that_is_a_shell_script_too_passes(tmp_path: Path) -> None:
    info = Entry("EGG-INFO/PKG-INFO", RELEASE.metadata, before=b"#!/bin/sh\nexit 0\n")
    egg = zip_of([info, Entry("acme.py", X)])
    for check in ("archive", "record", "metadata"):
        assert found(tmp_path, check, egg, "acme-1.0-py2.7.egg").outcome is Outcome.PASS
    assert found(tmp_path, "archive", egg).outcome is Outcome.FAIL, "a wheel must not"


@pytest.mark.parametrize(
    "filename", ["acme-1.0.win32-py2.7.exe", "acme-1.0-1.noarch.rpm", "acme-1.0.linux-x86_64.tar.gz"]
)
def test_what_is_not_looked_into_is_said(tmp_path: Path, filename: str) -> None:
    for check in ("archive", "metadata"):
        finding = found(tmp_path, check, b"anything", filename)
        assert finding.outcome is Outcome.WARN and "not looked into" in finding.reason


@pytest.mark.parametrize(
    ("page", "outcome"),
    [
        (">=3.9", Outcome.PASS),
        (" >= 3.9 ", Outcome.PASS),
        (None, Outcome.PASS),
        (">=3.8", Outcome.FAIL),
        ("3.9", Outcome.FAIL),
    ],
)
def test_the_page_must_require_the_python_that_the_wheel_requires(
    tmp_path: Path, page: str | None, outcome: Outcome
) -> None:
    assert found(tmp_path, "metadata", wheel_with(), requires_python=page).outcome is outcome


@pytest.mark.parametrize(("version", "outcome"), [("1.0.0", Outcome.PASS), ("1.0.1", Outcome.FAIL)])
def test_the_page_must_say_the_version_of_the_wheel(tmp_path: Path, version: str, outcome: Outcome) -> None:
    assert found(tmp_path, "metadata", wheel_with(), version=version).outcome is outcome


def test_the_sidecar_must_be_the_metadata_of_the_wheel(tmp_path: Path) -> None:
    true = hashlib.sha256(RELEASE.metadata).hexdigest()
    assert found(tmp_path, "metadata", wheel_with(), metadata_sha256=true).outcome is Outcome.PASS
    finding = found(tmp_path, "metadata", wheel_with(), metadata_sha256=true[::-1])
    assert finding.outcome is Outcome.FAIL and "beside it" in finding.reason


def test_the_bytes_must_be_the_promised_ones(tmp_path: Path) -> None:
    content = wheel(RELEASE).content
    sha256, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()
    true = {"size": len(content), "sha256": sha256, "digest": f"md5:{md5}"}
    assert found(tmp_path, "integrity", content, **true).outcome is Outcome.PASS
    assert found(tmp_path, "integrity", content).outcome is Outcome.WARN
    for lie in ({"size": 5}, {"sha256": "0" * 64}, {"digest": f"md5:{'0' * 32}"}, {"digest": "crc:0"}):
        assert found(tmp_path, "integrity", content, **true | lie).outcome is Outcome.FAIL


ELF, PE = b"\x7fELF" + X, b"MZ" + bytes(58) + struct.pack("<L", 64) + b"PE\0\0"
MACH_O, UNIVERSAL, JAVA = (
    b"\xcf\xfa\xed\xfe" + X,
    b"\xca\xfe\xba\xbe\0\0\0\2" + X,
    b"\xca\xfe\xba\xbe\0\0\0\x34" + X,
)


def contents(tmp_path: Path, **files: bytes) -> object:
    path = tmp_path / "file"
    path.write_bytes(zip_of(wheel_entries(contents=wheel_contents(**files))))
    return read_contents(path, WHEEL_NAME)


def test_contents_say_what_python_would_run_at_its_start(tmp_path: Path) -> None:
    hooks = {
        "evil.pth": b"import os; os.system('x')\n",
        "bom.pth": b"\xef\xbb\xbfimport os\n",
        "feed.pth": b"folder\x0cimport os\n",
        "nel.pth": b"folder\x85import os\n",
        "long.pth": b"#" * (MIB + 1),
        "evil.start": b"# calls\nevil:main\n",
        "sitecustomize.py": b"",
        "usercustomize/__init__.py": b"",
        "sitecustomize.cpython-312-x86_64-linux-gnu.so": b"",
        "acme-1.0.data/purelib/deep.pth": b"import os",
        "acme-1.0.data/data/lib/python3.12/site-packages/far.pth": b"import\tos",
    }
    harmless = {
        "paths.pth": b"folder\nimportant\n#import x\n",
        "acme/weights.pth": b"import os",
        "empty.start": b"# nothing\n",
        "acme/sitecustomize.py": b"",
    }
    startup = contents(tmp_path, **hooks, **harmless).startup
    assert set(startup) == {name.replace("acme-1.0.data", ".data") for name in hooks}


def test_contents_say_what_is_compiled_and_what_becomes_a_command(tmp_path: Path) -> None:
    points = b"[console_scripts]\nacme = acme:main\n; a comment = no\n[pytest11]\nacme=acme.plug\n"
    found = contents(
        tmp_path,
        **{
            "a.so": ELF, "b": PE, "c.dylib": MACH_O, "d": UNIVERSAL, "e.wasm": b"\0asm" + X,
            "f.class": JAVA, "g.txt": b"MZ is not enough",
            f"{INFO}/entry_points.txt": points, "acme-1.0.data/scripts/run": b"#!python\n",
        },
    )  # fmt: skip
    assert found.native == ("a.so", "b", "c.dylib", "d", "e.wasm")
    assert found.entry_points == ("console_scripts:acme", "pytest11:acme", "scripts:run")
    assert (found.name, found.version, found.requires_python) == ("acme", "1.0", ">=3.9")
    assert found.entries == 13


def test_lists_in_contents_are_bounded(tmp_path: Path) -> None:
    points = "".join(f"p{n} = a:b\n" for n in range(2000)).encode()
    found = contents(tmp_path, **{f"{INFO}/entry_points.txt": b"[" + b"g" * 5000 + b"]\n" + points})
    assert len(found.entry_points) <= 500 and max(map(len, found.entry_points)) <= 1000

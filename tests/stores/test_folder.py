"""The folder store: the contract, and what only a disk can do wrong."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from koschey.errors import BlobMissing, StoreUnavailable
from koschey.failpoints import VARIABLE
from koschey.stores import spool
from koschey.stores.blobs import Spooled
from koschey.stores.folder import FolderStore
from tests.stores.contract import BlobStoreContract, put, spooled


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "files")


class TestFolderStore(BlobStoreContract):
    pass


def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


PUBLISH = """
import sys
from pathlib import Path
from koschey.stores.folder import FolderStore
root, path, digest, size = sys.argv[1:]
FolderStore(Path(root)).publish(Path(path), digest, int(size))
"""


PUBLISH_ALL = """
import sys
from pathlib import Path
from koschey.stores.blobs import Spooled
from koschey.stores.folder import FolderStore
root, path, digest, size = sys.argv[1:]
FolderStore(Path(root)).publish_all([Spooled(Path(path), digest, int(size))])
"""


@pytest.mark.parametrize(
    ("point", "there"),
    [("blobs.before-publish", False), ("blobs.linked", True), ("blobs.after-publish", True)],
    ids=["before", "linked", "after"],
)
def test_a_kill_among_many_leaves_whole_blobs_or_none(store: FolderStore, point: str, there: bool) -> None:
    path, digest, size = spooled(store, b"wheel" * 1000)
    killed = run(PUBLISH_ALL, store.spool_dir.parent, path, digest, size, **{VARIABLE: f"{point}:kill"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert store.size(digest) == (size if there else None)
    store.publish_all([Spooled(path, digest, size)])
    assert b"".join(store.read(digest)) == b"wheel" * 1000
    assert not path.exists()


@pytest.mark.parametrize("has_the_call", [True, False], ids=["syncfs", "fsync"])
def test_many_are_on_the_disk_before_it_returns(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, has_the_call: bool
) -> None:
    waited: list[str] = []
    fsync = os.fsync

    def flush(descriptor: int) -> bool:
        waited.append(f"all, {len(list(store.blobs()))} named")
        return has_the_call

    def one(descriptor: int) -> None:
        waited.append("one")
        fsync(descriptor)

    monkeypatch.setattr("koschey.stores.folder.flush_file_system", flush)
    monkeypatch.setattr(os, "fsync", one)
    many = [Spooled(*spooled(store, content, content.decode())) for content in (b"a", b"b")]

    store.publish_all(many)

    if has_the_call:
        assert waited == ["all, 0 named", "all, 2 named"]
    else:
        assert waited.count("one") >= 2 * 2  # each file and each folder


def test_a_name_leads_to_bytes_that_are_on_the_disk_and_is_there_itself_when_publish_returns(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, link = os.fsync, os.link

    def flushed(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def linked(*arguments: Any, **named: Any) -> None:
        done.append("link")
        link(*arguments, **named)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "link", linked)
    put(store, b"bytes")
    assert done.count("link") == done.count("file") == 1
    assert done.index("file") < done.index("link") < len(done) - 1
    assert done[-1] == "folder"


def test_what_does_not_read_back_whole_is_not_published(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def losing(source: Path, *arguments: Any, **named: Any) -> None:
        link(source, *arguments, **named)
        source.chmod(0o600)
        os.truncate(source, 2)

    monkeypatch.setattr(os, "link", losing)
    with pytest.raises(StoreUnavailable, match="does not read back with 5 bytes"):
        put(store, b"bytes")


def test_a_disk_that_fails_is_said_to(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> bool:
        raise OSError(errno.EIO, "x")

    monkeypatch.setattr("koschey.stores.folder.flush_file_system", fail)
    with pytest.raises(StoreUnavailable, match="input/output error"):
        store.publish_all([Spooled(*spooled(store, b"wheel"))])
    assert list(store.blobs()) == []


@pytest.mark.parametrize(
    ("point", "there"),
    [("blob.before-publish", False), ("blob.after-publish", True)],
    ids=["before", "after"],
)
def test_a_kill_leaves_a_whole_blob_or_none(store: FolderStore, point: str, there: bool) -> None:
    path, digest, size = spooled(store, b"wheel" * 1000)
    killed = run(PUBLISH, store.spool_dir.parent, path, digest, size, **{VARIABLE: f"{point}:kill"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert store.size(digest) == (size if there else None)
    assert path.read_bytes() == b"wheel" * 1000
    # Whoever comes next finishes the work.
    store.publish(path, digest, size)
    assert b"".join(store.read(digest)) == b"wheel" * 1000
    assert list(store.spool_dir.iterdir()) == []


def test_a_blob_cannot_be_written_to_and_lies_at_its_path(store: FolderStore) -> None:
    path = store.local_path(put(store, b"wheel"))
    assert path.read_bytes() == b"wheel"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert path.stat().st_nlink == 1


def test_a_blob_is_moved_and_not_copied(store: FolderStore) -> None:
    path, digest, size = spooled(store, b"wheel")
    inode = path.stat().st_ino
    store.publish(path, digest, size)
    assert store.local_path(digest).stat().st_ino == inode


@pytest.mark.parametrize("damage", [b"", b"whe", b"wheels"])
def test_a_blob_of_the_wrong_size_is_replaced(store: FolderStore, damage: bytes) -> None:
    digest = put(store, b"wheel")
    path = store.local_path(digest)
    path.chmod(0o644)
    path.write_bytes(damage)
    assert put(store, b"wheel") == digest
    assert b"".join(store.read(digest)) == b"wheel"
    assert list(store.spool_dir.iterdir()) == []


def test_a_link_at_a_blobs_place_is_not_followed_but_replaced(store: FolderStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345")
    digest = put(store, b"wheel")
    path = store.local_path(digest)
    path.unlink()
    path.symlink_to(secret)
    assert store.size(digest) is None
    assert list(store.blobs()) == []
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        store.read(digest)
    put(store, b"wheel")
    assert not path.is_symlink()
    assert secret.read_bytes() == b"12345"


def test_a_link_at_a_folders_place_is_not_followed(store: FolderStore, tmp_path: Path) -> None:
    digest = put(store, b"wheel")
    folder = store.local_path(digest).parent
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    assert list(store.blobs()) == []
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        put(store, b"wheel")
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        store.read(digest)


def test_a_spooled_link_is_not_published(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"12345")
    link = store.spool_dir / "arriving"
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        store.publish(link, "a" * 64, 5)
    assert store.size("a" * 64) is None


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "files").symlink_to(tmp_path / "disk")
    store = FolderStore(tmp_path / "files")
    assert [blob.sha256 for blob in store.blobs()] == []
    digest = put(store, b"wheel")
    assert [blob.sha256 for blob in store.blobs()] == [digest]


def test_what_is_no_blob_is_not_listed(store: FolderStore) -> None:
    digest = put(store, b"wheel")
    path = store.local_path(digest)
    (path.parent / "notes.txt").write_text("by hand")
    (path.parent / ("f" * 64)).mkdir()
    (store.spool_dir.parent / "lost+found").mkdir()
    (store.spool_dir.parent / "ff").write_text("a file where a folder could be")
    assert [blob.sha256 for blob in store.blobs()] == [digest]


def test_a_file_cut_while_it_is_read_is_an_error_and_no_short_answer(store: FolderStore) -> None:
    digest = put(store, bytes(3 * 2**20))
    chunks = store.read(digest)
    path = store.local_path(digest)
    path.chmod(0o644)
    os.truncate(path, 2**20)
    with pytest.raises(StoreUnavailable, match="2097152 bytes early"):
        list(chunks)


def test_a_failed_publication_keeps_the_spooled_file(store: FolderStore) -> None:
    path, digest, size = spooled(store, b"wheel")
    store.local_path(digest).parent.parent.write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailable, match="cannot publish a blob"):
        store.publish(path, digest, size)
    assert path.read_bytes() == b"wheel"


def test_a_full_disk_is_named() -> None:
    # /dev/full is the kernel's own full disk.
    with (
        pytest.raises(StoreUnavailable, match="cannot spool: the disk is full"),
        spool.reported("cannot spool"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "input/output"),
    ],
)
def test_an_error_of_the_disk_is_a_sentence_without_a_path(number: int, sentence: str) -> None:
    error = spool.unavailable("cannot publish a blob", OSError(number, os.strerror(number), "/secret/path"))
    assert sentence in str(error)
    assert "/secret" not in str(error)


CHECK_LIMITED = """
import resource, sys
from pathlib import Path
from koschey.errors import StoreUnavailable
from koschey.stores.folder import FolderStore
store = FolderStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    store.check()
except StoreUnavailable as error:
    print(error)
"""


def test_a_store_that_cannot_be_written_to_fails_its_check(store: FolderStore) -> None:
    checked = run(CHECK_LIMITED, store.spool_dir.parent)
    assert "would exceed the size limit" in checked.stdout, checked.stderr
    assert list(store.spool_dir.iterdir()) == []


def test_a_store_without_its_folder_fails_its_check(store: FolderStore) -> None:
    store.spool_dir.rmdir()
    with pytest.raises(StoreUnavailable, match="cannot write in the folder"):
        store.check()


def test_a_root_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot make the folder"):
        FolderStore(tmp_path / "file")


def test_a_missing_blob_is_named(store: FolderStore) -> None:
    with pytest.raises(BlobMissing, match="c" * 64):
        store.read("c" * 64)

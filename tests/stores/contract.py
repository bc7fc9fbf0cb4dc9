"""What every ``BlobStore`` has to do: subclass ``BlobStoreContract`` and give it a ``store`` fixture.

class TestMyStore(BlobStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return MyStore(tmp_path)
"""

from __future__ import annotations

import os
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest

from koschey.errors import BlobMissing, StoreUnavailable
from koschey.stores.blobs import BlobStore, Spooled

MIB = 2**20


def spooled(store: BlobStore, content: bytes, name: str = "arriving") -> tuple[Path, str, int]:
    """The arguments of ``publish`` for ``content``, which now lies in the store's spool folder."""
    path = store.spool_dir / name
    path.write_bytes(content)
    return path, sha256(content).hexdigest(), len(content)


def put(store: BlobStore, content: bytes) -> str:
    """Publish ``content``; its digest."""
    path, digest, size = spooled(store, content)
    store.publish(path, digest, size)
    return digest


class BlobStoreContract:
    """The tests; an empty store is given by the subclass's fixture ``store``."""

    @pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 17 * MIB])
    def test_what_was_published_is_read_back_in_chunks(self, store: BlobStore, size: int) -> None:
        content = os.urandom(size)
        digest = put(store, content)
        assert store.size(digest) == size
        chunks = list(store.read(digest))
        assert b"".join(chunks) == content
        assert all(0 < len(chunk) <= MIB for chunk in chunks)

    def test_the_spooled_file_is_taken_over(self, store: BlobStore) -> None:
        path, digest, size = spooled(store, b"wheel")
        store.publish(path, digest, size)
        assert not path.exists()

    def test_publishing_again_is_no_error_and_takes_the_file(self, store: BlobStore) -> None:
        put(store, b"wheel")
        path, digest, size = spooled(store, b"wheel")
        store.publish(path, digest, size)
        assert not path.exists()
        assert b"".join(store.read(digest)) == b"wheel"

    def test_a_blob_that_is_there_is_not_written_again(self, store: BlobStore) -> None:
        digest = put(store, b"wheel")
        # Bytes that a careless caller did not verify must not get in over the good ones.
        path, _, size = spooled(store, b"WHEEL")
        store.publish(path, digest, size)
        assert b"".join(store.read(digest)) == b"wheel"

    def test_a_file_of_another_size_than_promised_is_not_published(self, store: BlobStore) -> None:
        path, digest, size = spooled(store, b"wheel")
        with pytest.raises(StoreUnavailable, match="5 bytes instead of 6"):
            store.publish(path, digest, size + 1)
        assert store.size(digest) is None
        assert path.exists()

    def test_many_are_published_at_once(self, store: BlobStore) -> None:
        put(store, b"there already")
        contents = [f"wheel {number}".encode() for number in range(40)] + [b"there already", b""]
        many = [Spooled(*spooled(store, content, f"arriving-{n}")) for n, content in enumerate(contents)]
        store.publish_all(many)
        assert [b"".join(store.read(blob.sha256)) for blob in many] == contents
        assert list(store.spool_dir.iterdir()) == []

    def test_one_bad_of_many_is_not_published(self, store: BlobStore) -> None:
        good, bad = spooled(store, b"good", "good"), spooled(store, b"bad", "bad")
        with pytest.raises(StoreUnavailable, match="3 bytes instead of 4"):
            store.publish_all([Spooled(*good), Spooled(bad[0], bad[1], 4)])
        assert store.size(bad[1]) is None

    def test_a_spooled_file_that_vanished_is_an_error(self, store: BlobStore) -> None:
        with pytest.raises(StoreUnavailable):
            store.publish(store.spool_dir / "gone", "a" * 64, 5)

    def test_many_may_publish_the_same_blob_at_once(self, store: BlobStore) -> None:
        content = os.urandom(MIB)
        failures: list[Exception] = []

        def publish(number: int) -> None:
            try:
                store.publish(*spooled(store, content, f"arriving-{number}"))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
                failures.append(error)

        threads = [threading.Thread(target=publish, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert b"".join(store.read(sha256(content).hexdigest())) == content
        assert [blob.size for blob in store.blobs()] == [MIB]

    @pytest.mark.parametrize(
        ("start", "length"),
        [
            (0, 1),
            (0, 10),
            (3, 4),
            (9, 1),
            (5, None),
            (5, 99),
            (10, None),
            (10, 5),
            (11, 5),
            (0, 0),
            (4, 0),
            (0, None),
        ],
    )
    def test_a_range_is_read(self, store: BlobStore, start: int, length: int | None) -> None:
        digest = put(store, b"0123456789")
        wanted = b"0123456789"[start : None if length is None else start + length]
        assert b"".join(store.read(digest, start, length)) == wanted

    def test_a_range_across_chunks_is_read(self, store: BlobStore) -> None:
        content = os.urandom(4 * MIB)
        digest = put(store, content)
        assert b"".join(store.read(digest, MIB - 7, 2 * MIB + 14)) == content[MIB - 7 : 3 * MIB + 7]

    def test_an_empty_blob_has_no_bytes_in_any_range(self, store: BlobStore) -> None:
        digest = put(store, b"")
        assert list(store.read(digest, 0, 5)) == []
        assert list(store.read(digest)) == []

    @pytest.mark.parametrize("length", [None, 0, 5])
    def test_a_missing_blob_shows_before_the_first_chunk(self, store: BlobStore, length: int | None) -> None:
        with pytest.raises(BlobMissing):
            store.read("b" * 64, 0, length)
        assert store.size("b" * 64) is None

    def test_reading_may_be_given_up(self, store: BlobStore) -> None:
        chunks = store.read(put(store, os.urandom(3 * MIB)))
        next(iter(chunks))
        del chunks  # warnings are errors: a file or connection left open would fail the test

    def test_a_reader_keeps_its_bytes_when_the_same_blob_is_published(self, store: BlobStore) -> None:
        content = os.urandom(3 * MIB)
        chunks = store.read(put(store, content))
        first = next(iter(chunks))
        put(store, content)
        assert first + b"".join(chunks) == content

    def test_a_deleted_blob_is_gone_and_may_come_back(self, store: BlobStore) -> None:
        digest = put(store, b"wheel")
        store.delete(digest)
        assert store.size(digest) is None
        with pytest.raises(BlobMissing):
            store.read(digest)
        store.delete(digest)
        assert put(store, b"wheel") == digest
        assert store.size(digest) == 5

    def test_blobs_are_listed_in_order(self, store: BlobStore) -> None:
        before = time.time() - 2  # stores may keep whole seconds
        digests = sorted(put(store, b"%d" % n) for n in range(12))
        listed = list(store.blobs())
        assert [blob.sha256 for blob in listed] == digests
        assert {blob.size for blob in listed} == {1, 2}
        assert all(before <= blob.modified <= time.time() + 2 for blob in listed)

    def test_a_listing_goes_on_after_a_digest(self, store: BlobStore) -> None:
        digests = sorted(put(store, b"%d" % n) for n in range(12))
        for after in [*digests, "", digests[5][:1], digests[5][:3], digests[5][:20], "f" * 64]:
            assert [blob.sha256 for blob in store.blobs(after)] == [d for d in digests if d > after], after

    @pytest.mark.parametrize("text", ["", "a" * 63, "A" * 64, "../../etc/passwd", "g" * 64, "a" * 64 + "\n"])
    def test_text_that_is_no_digest_never_becomes_a_path(self, store: BlobStore, text: str) -> None:
        path, _, size = spooled(store, b"wheel")
        for act in (
            lambda: store.size(text),
            lambda: store.read(text),
            lambda: store.delete(text),
            lambda: store.publish(path, text, size),
            lambda: store.local_path(text) or store.size(text),
        ):
            with pytest.raises(ValueError, match="not a SHA-256"):
                act()

    def test_a_usable_store_passes_its_check_and_is_left_as_it_was(self, store: BlobStore) -> None:
        store.check()
        assert list(store.blobs()) == []
        assert list(store.spool_dir.iterdir()) == []

    def test_only_old_leftovers_are_swept(self, store: BlobStore) -> None:
        digest = put(store, b"wheel")
        old, _, _ = spooled(store, b"old", "old")
        new, _, _ = spooled(store, b"new", "new")
        os.utime(old, (time.time() - 7200, time.time() - 7200))
        assert store.sweep_spool(3600) == 1
        assert not old.exists()
        assert new.exists()
        assert store.size(digest) == 5

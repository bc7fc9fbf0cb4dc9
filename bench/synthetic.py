"""The synthetic upstream: a tree of files that nginx serves as an index, built once.

``simple/<name>/index.v1_json`` and ``index.html`` are the pages, each with a ``.gz`` sibling;
``packages/<2>/<2>/<60 hex>/<filename>`` are the files, wheels with their PEP 658 sidecar. Links are
relative to the host, so that the tree is good for every port.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import archives, pages

#: Counted up when the tree below changes, so that an old one is built again.
RECIPE = 1

SMALL = tuple(f"small-{number:04}" for number in range(2000))
HUGE = "huge-history"
HUGE_VERSIONS = 2000
LARGE = "large-wheel"
LARGE_BYTES = 100 * 2**20
GRAPH = tuple(f"graph-{number:02}" for number in range(60))
#: Asking for these installs the whole of GRAPH.
GRAPH_ROOTS = GRAPH[:3]
_HUGE_TAGS = ("cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-macosx_14_0_arm64")
#: 2024-01-02T03:04:05.123456Z; each file is a minute younger than the one before.
_FIRST_UPLOAD = 1_704_164_645_123_456
_MINUTE = 60 * 1_000_000


@dataclass(frozen=True)
class Distribution:
    """A file to be published; ``core`` is its METADATA when it is a wheel."""

    filename: str
    version: str
    content: bytes
    core: bytes | None


def build(work: Path) -> Path:
    """The tree's root below ``work``; it is built when it is not there or of another recipe."""
    root = work / "upstream"
    stamp = root / "recipe"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == str(RECIPE):
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for serial, (name, distributions) in enumerate(_projects(), start=1000):
        listed = [
            _publish(root, distribution, _FIRST_UPLOAD + order * _MINUTE)
            for order, distribution in enumerate(distributions)
        ]
        pages.write_project(root, name, serial, listed)
    pages.write_root(root, sorted((*SMALL, HUGE, LARGE, *GRAPH)))
    stamp.write_text(str(RECIPE), encoding="ascii")
    return root


def _projects() -> Iterator[tuple[str, Iterator[Distribution]]]:
    for name in SMALL:
        yield name, _small(name)
    yield HUGE, _huge()
    yield LARGE, iter((_wheel(LARGE, "1.0", payload=LARGE_BYTES),))
    for number, name in enumerate(GRAPH):
        yield name, _graph(number, name)


def _small(name: str) -> Iterator[Distribution]:
    size = random.Random(name).randrange(2_000, 20_000)
    yield _wheel(name, "1.0", payload=size)
    yield _wheel(name, "1.1", payload=size)
    yield _sdist(name, "1.1")


def _huge() -> Iterator[Distribution]:
    for number in range(HUGE_VERSIONS):
        version = f"{number // 100}.{number // 10 % 10}.{number % 10}"
        for tag in _HUGE_TAGS:
            yield _wheel(HUGE, version, payload=500, tag=tag)
        yield _sdist(HUGE, version)


def _graph(number: int, name: str) -> Iterator[Distribution]:
    """Three versions; every fourth package is wanted below 2, so that a resolver has to step back."""
    draw = random.Random(name)
    later = [3 * number + step for step in (3, 4, 5)] + [number + 7, number + 13]
    wanted = sorted({other for other in later if other < len(GRAPH)})
    requires = tuple(f"{GRAPH[other]}>=1.0" + (",<2" if other % 4 == 0 else "") for other in wanted)
    for version in ("1.0", "1.1", "2.0"):
        yield _wheel(name, version, payload=int(10_000 * 50 ** draw.random()), requires=requires)


def _wheel(
    name: str, version: str, *, payload: int, requires: tuple[str, ...] = (), tag: str = "py3-none-any"
) -> Distribution:
    core = archives.metadata(name, version, requires)
    content = archives.wheel(name, version, core, payload=payload, tag=tag)
    return Distribution(f"{name.replace('-', '_')}-{version}-{tag}.whl", version, content, core)


def _sdist(name: str, version: str) -> Distribution:
    content = archives.sdist(name, version, archives.metadata(name, version))
    return Distribution(f"{name.replace('-', '_')}-{version}.tar.gz", version, content, None)


def _publish(root: Path, distribution: Distribution, upload_time: int) -> pages.Listed:
    """Write the file and its sidecar; ``upload_time`` in microseconds since 1970."""
    key = hashlib.blake2b(distribution.content, digest_size=32).hexdigest()
    path = f"/packages/{key[:2]}/{key[2:4]}/{key[4:]}/{distribution.filename}"
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True)
    target.write_bytes(distribution.content)
    if distribution.core is not None:
        target.with_name(f"{target.name}.metadata").write_bytes(distribution.core)
    return pages.Listed(
        filename=distribution.filename,
        path=path,
        version=distribution.version,
        sha256=hashlib.sha256(distribution.content).hexdigest(),
        size=len(distribution.content),
        upload_time=upload_time,
        core_metadata=hashlib.sha256(distribution.core).hexdigest() if distribution.core else None,
    )

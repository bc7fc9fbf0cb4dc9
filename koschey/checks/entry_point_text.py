"""The text of ``entry_points.txt``: an INI file (entry points specification, "File format")."""

from __future__ import annotations

from collections.abc import Iterator


def entry_points_in(text: bytes) -> Iterator[tuple[str, str]]:
    """Group and name of each entry point; lines that are none are passed over."""
    group = ""
    for raw_line in text.decode("utf-8", "replace").splitlines():
        line = raw_line.strip()
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and line[0] not in "#;" and "=" in line and group:
            yield group, line.partition("=")[0].strip()

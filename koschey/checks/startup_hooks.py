"""Files that Python runs by itself at its start, once they are installed: nobody needs to import anything."""

from __future__ import annotations

import re

from koschey.checks.archive_kinds import Kind

#: Longer ones are startup hooks whatever is in them: an honest path file has a few lines.
MAX_HOOK_BYTES = 2**20

#: Where wheels put files into a folder that Python looks at: the archive's top, ``.data/purelib`` and
#: ``.data/platlib``; ``.data/data`` may reach it through the path below the environment's root.
_SITE = r"(?:|\.data/(?:purelib|platlib)/|\.data/data/(?:.*/)?(?:site|dist)-packages/)"
#: Sdists: where a build takes modules from.
_SOURCE = r"(?:|src/|lib/)"
_HOOK = r"(?:[^/]+\.(?:pth|start)|(?:site|user)customize(?:\.(?:[^/]*\.)?(?:py|pyc|so|pyd)|/__init__\.[^/]+))"
_WHEEL_HOOK = re.compile(_SITE + _HOOK)
_SDIST_HOOK = re.compile(_SOURCE + _HOOK)


def may_be_startup_hook(name: str, kind: Kind) -> bool:
    """Whether a file of that name (as ``reading.comparable`` gives it) is looked at when Python starts."""
    pattern = _SDIST_HOOK if kind in (Kind.TAR_SDIST, Kind.ZIP_SDIST) else _WHEEL_HOOK
    return pattern.fullmatch(name) is not None


def is_startup_hook(name: str, head: bytes, size: int) -> bool:
    """Whether it makes Python run something.

    A ``.pth`` does so with lines that begin with ``import`` (``site``, "execsitecustomize"); one that only
    lists folders does not. A ``.start`` names functions to call (PEP 829).

    Args:
        head: its first megabyte.
    """
    if not name.endswith((".pth", ".start")):
        return True
    if size > MAX_HOOK_BYTES:
        return True
    # Python takes what is no UTF-8 for text of the locale, and more characters than a newline end a line.
    body = head.removeprefix(b"\xef\xbb\xbf")
    lines = [*body.decode("utf-8", "replace").splitlines(), *body.decode("latin-1").splitlines()]
    if name.endswith(".start"):
        return any(line.strip() and not line.strip().startswith("#") for line in lines)
    return any(line.startswith(("import ", "import\t")) for line in lines)

"""The checks that come with Koschey, offered through the same hook as anybody's. ``docs/checks.rst``."""

from __future__ import annotations

from koschey.hookspecs import Check, hookimpl

#: Name, module below ``koschey.checks``, what it looks for. No module is imported here: the web needs the
#: names only, and the checks run elsewhere.
_CHECKS = (
    ("integrity", "integrity", "The bytes are those that the upstream promised: size and digests."),
    ("archive", "archive", "The archive is sound: no trick that makes two tools unpack different files."),
    ("record", "record", "A wheel's RECORD lists each of its files, with the right digest and size."),
    ("metadata", "metadata", "The metadata inside agree with the file's name and with the upstream's page."),
    ("startup", "startup", "Hooks that run at every start of Python and that are new."),
    ("build-scripts", "build_scripts", "Code that runs when a source archive is installed and that is new."),
    ("entry-points", "entry_points", "New commands and plug-ins, and commands in place of well-known ones."),
    ("native", "native", "Compiled code in a package that had none."),
    ("size", "size", "A file many times as large as the version before."),
    ("dependencies", "dependencies", "New dependencies, above all unknown ones and those by URL."),
    ("name", "lookalike", "A young project whose name could be mistaken for a private or widely used one."),
    ("silence", "silence", "The first release after years."),
    ("provenance", "provenance", "Provenance that the version before had and this one lost."),
)


@hookimpl
def koschey_checks() -> tuple[Check, ...]:
    """All required unless a policy says otherwise."""
    return tuple(
        Check(name=name, summary=summary, run=f"koschey.checks.{module}:check")
        for name, module, summary in _CHECKS
    )

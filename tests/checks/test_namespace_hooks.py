"""A hook of a namespace package is told by what it does: another statement in it, and it is any hook."""

from __future__ import annotations

import pytest

from koschey.checks.namespace_hooks import sets_up_a_namespace_only

#: As setuptools of different years write it, for a package in a namespace.
_ROOT = "sys._getframe(1).f_locals['sitedir']"
_FIRST = f"import sys, types, os;p = os.path.join({_ROOT}, *('acme', 'tools'));"
_LAST = "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)"
OLD = (
    _FIRST + "ie = os.path.exists(os.path.join(p,'__init__.py'));"
    "m = not ie and sys.modules.setdefault('acme.tools', types.ModuleType('acme.tools'));"
    + _LAST + ";m and setattr(sys.modules['acme'], 'tools', m)\n"
)  # fmt: skip
NEW = (
    _FIRST + "importlib = __import__('importlib.util');__import__('importlib.machinery');"
    "m = sys.modules.setdefault('acme', importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec('acme', [os.path.dirname(p)])));"
    "m = m or sys.modules.setdefault('acme', types.ModuleType('acme'));" + _LAST + "\n"
)


@pytest.mark.parametrize("body", [OLD, NEW, OLD + NEW, "# a comment\n\n" + NEW, ""])
def test_what_setuptools_writes_is_known(body: str) -> None:
    assert sets_up_a_namespace_only(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        NEW + "import evil\n",
        NEW.replace("import sys, types, os", "import sys, types, os, evil"),
        NEW.replace("\n", ";exec('x')\n"),
        NEW.replace("importlib.util'", "evil'"),
        NEW.replace("__path__", "__class__"),
        NEW.replace("'sitedir'", "'line'"),
        OLD.replace("types.ModuleType(", "exec("),
        OLD.replace("'acme'", "f'{exec(1)}'"),
        OLD.replace("'acme'", "evil('acme')"),
        OLD.replace("\n", "\x0cimport evil\n"),
        OLD.replace("\n", "\n/a/folder\n"),
        NEW.replace("acme", "acm\u00e9"),
        "import sys, types, os; 'x",
        NEW * 200,
    ],
)
def test_anything_more_is_not(body: str) -> None:
    assert not sets_up_a_namespace_only(body.encode())

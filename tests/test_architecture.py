"""Imports point inward: each module knows its own layer and the ones below, and the domain is pure."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import koschey

PACKAGE = Path(koschey.__file__).parent

#: From the innermost outward; layers that stand side by side do not know each other. A layer is a
#: package or module below ``koschey``; of ``jobs`` and ``jobs.tasks`` the longer name counts.
LAYERS = (
    ("errors", "time_limit"),
    ("domain", "failpoints", "settings", "server"),
    ("hookspecs", "logs"),
    ("plugins",),
    ("stores", "upstream", "checks"),
    ("jobs",),
    ("services",),
    ("web", "jobs.tasks"),
    ("contrib",),
    ("deployment", "work"),
    ("assembly",),
    ("opening",),
    ("application",),
    ("serving",),
    ("cli",),
    ("__main__",),
)
RANK = {layer: rank for rank, layers in enumerate(LAYERS) for layer in layers}
#: What the pure domain may use besides the standard library and Koschey's errors.
DOMAIN_MAY_USE = frozenset({"packaging", "msgspec"})
#: Doors to the outside that the standard library has; clocks are told by their calls.
DOORS = frozenset(
    [
        "asyncio",
        "http",
        "io",
        "logging",
        "os",
        "pathlib",
        "shutil",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    ]
)
CLOCKS = frozenset({"now", "utcnow", "today"})
DIRECT_DOORS = frozenset({"open", "print", "input"})

MODULES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})
DOMAIN = sorted((PACKAGE / "domain").rglob("*.py"))


def layer_of(module: str) -> str | None:
    """The layer of a dotted name below ``koschey``, None when the table has none for it."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in RANK), None)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imported(source: str) -> Iterator[str]:
    """Dotted names of everything that ``source`` imports, wherever in it; ``a.b`` for ``from a import b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outward_imports(module: str, source: str) -> list[str]:
    """Imports of ``module`` from layers outside of it, beside it, or unknown to the table."""
    own = layer_of(module)
    assert own is not None, f"koschey.{module} is in no layer: put it into the table"
    outward = []
    for name in imported(source):
        head, _, inner = name.partition(".")
        if head != "koschey" or inner == "__version__":
            continue
        other = layer_of(inner)
        if other != own and (other is None or RANK[other] >= RANK[own]):
            outward.append(name)
    return outward


def impurities(source: str) -> list[str]:
    """What a module of the domain must not use: other packages, doors to the outside, clocks."""
    allowed = (sys.stdlib_module_names - DOORS) | DOMAIN_MAY_USE
    own = ("koschey.domain", "koschey.errors")
    names = [name for name in imported(source) if not name.startswith(own)]
    found = [name for name in names if name.partition(".")[0] not in allowed]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            found.append(node.func.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DIRECT_DOORS:
            found.append(node.func.id)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_inward(path: Path) -> None:
    assert outward_imports(name_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", DOMAIN, ids=name_of)
def test_the_domain_is_pure(path: Path) -> None:
    assert impurities(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("domain.names", "from koschey.services import mirror"),
        ("domain.names", "from koschey.settings import Settings"),
        ("stores.models", "def f():\n    import koschey.web.simple"),
        ("stores.models", "from koschey.upstream.session import Session"),
        ("services.mirror", "from koschey import application"),
        ("jobs.queue", "from koschey.jobs.tasks import TASKS"),
        ("web.simple", "from koschey.unheard_of import x"),
    ],
)
def test_an_import_that_points_outward_is_seen(module: str, source: str) -> None:
    assert outward_imports(module, source) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("domain.names", "from koschey.errors import RequestInvalid"),
        ("jobs.tasks", "from koschey.jobs.queue import Job\nfrom koschey.services import mirror"),
        ("application", "from koschey import __version__, settings\nimport flask"),
    ],
)
def test_an_import_that_points_inward_is_fine(module: str, source: str) -> None:
    assert outward_imports(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import flask",
        "from requests import get",
        "import os.path",
        "from koschey.stores import blobs",
        "from datetime import datetime\ndatetime.now()",
        "open('x')",
    ],
)
def test_an_impure_module_is_seen(source: str) -> None:
    assert impurities(source) != []

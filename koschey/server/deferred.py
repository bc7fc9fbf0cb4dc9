"""Packages that import far more than is wanted of them."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def defer(package: str) -> None:
    """Let submodules of ``package`` be imported without running its ``__init__``.

    That runs as soon as somebody uses a name that only the package itself has, so nobody misses anything.
    Does nothing when the package is loaded already, or is none. (``importlib.util.LazyLoader`` would run
    ``__init__`` with the first submodule.)
    """
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.submodule_search_locations is not None:
        sys.modules[package] = _Deferred(spec, spec.submodule_search_locations)


def import_without(package: str, *unwanted: str) -> None:
    """Import ``package`` as if some packages, that it takes along where they are, were not installed.

    They can be imported as ever afterwards. Does nothing about those that are loaded already.
    """
    absent = [name for name in unwanted if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: importing it fails
    try:
        importlib.import_module(package)
    finally:
        for name in absent:
            del sys.modules[name]


class _Deferred(ModuleType):
    """A package that knows where its submodules are, and has nothing else yet."""

    def __init__(self, spec: ModuleSpec, path: list[str]) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__loader__ = spec.loader
        self.__file__ = spec.origin
        self.__path__ = path
        self.__package__ = spec.name
        # Submodules ask for it, and that alone should not load everything.
        self.__version__ = importlib.metadata.version(spec.name)
        self._lock = threading.RLock()
        self._begun = False

    def __getattr__(self, name: str) -> Any:
        """A submodule, or else a name that ``__init__`` makes. Asked only for what is not there yet."""
        if not name.startswith("__") and importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        with self._lock:
            if not self._begun:
                self._begun = True
                assert self.__spec__ is not None and self.__spec__.loader is not None
                self.__spec__.loader.exec_module(self)
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

"""Build scripts: code of a source archive that runs on the machine that installs from it."""

from __future__ import annotations

from koschey.checks.comparison import earlier_contents, earlier_version, is_sdist, named, unread
from koschey.checks.subject import Subject
from koschey.domain.checks import Finding, Outcome

_NAME = "build-scripts"

#: What pyproject.toml may name and many do (PEP 517).
_WELL_KNOWN_BACKENDS = frozenset(
    [
        "enscons.api",
        "flit.buildapi",
        "flit_core.buildapi",
        "flit_scm:buildapi",
        "hatchling.build",
        "jupyter_packaging.build_api",
        "maturin",
        "mesonpep517.buildapi",
        "mesonpy",
        "pdm.backend",
        "pdm.pep517.api",
        "poetry.core.masonry.api",
        "poetry.masonry.api",
        "poetry_dynamic_versioning.backend",
        "py_build_cmake.build",
        "scikit_build_core.build",
        "scikit_build_core.setuptools.build_meta",
        "setuptools.build_meta",
        "sipbuild.api",
        "uv_build",
        "whey",
    ]
)
_DEFAULT_BACKEND = "setuptools.build_meta"


def check(subject: Subject) -> Finding:
    """Fails on a build script, or a build backend few know, that the previous sdist had not."""
    if not is_sdist(subject.filename):
        return Finding(_NAME, Outcome.PASS, "an installation of this kind of file runs no build script")
    if subject.contents is None:
        return unread(_NAME)
    before = earlier_contents(subject)
    if before is None:
        return Finding(_NAME, Outcome.PASS, "no earlier source archive to compare with")
    version = earlier_version(subject)
    new = [script for script in subject.contents.build_scripts if script not in before.build_scripts]
    if new:
        return Finding(
            _NAME,
            Outcome.FAIL,
            f"an installation would run {named(new)}, which {version} did not have",
        )
    backend, earlier = _backend(subject.contents.build_backend), _backend(before.build_backend)
    if backend == earlier:
        return Finding(_NAME, Outcome.PASS, f"build scripts and backend are those of {version}")
    changed = f"it is built by {named([backend])}; {version} was by {named([earlier])}"
    if backend in _WELL_KNOWN_BACKENDS:
        return Finding(_NAME, Outcome.WARN, changed)
    return Finding(_NAME, Outcome.FAIL, f"{changed}, and few know the new one")


def _backend(name: str | None) -> str:
    """The backend's name; archives that name none are built by setuptools (PEP 517)."""
    plain = (name or "").strip() or _DEFAULT_BACKEND
    return _DEFAULT_BACKEND if plain == f"{_DEFAULT_BACKEND}:__legacy__" else plain

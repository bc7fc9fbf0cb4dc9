"""Entry points: commands that an installation adds to the path, and code that other tools load."""

from __future__ import annotations

import re

from koschey.checks.comparison import earlier_contents, earlier_version, named, unread
from koschey.checks.subject import Contents, Subject
from koschey.checks.well_known_commands import owners
from koschey.domain.checks import Finding, Outcome

_NAME = "entry-points"
_COMMANDS = frozenset(["console_scripts", "gui_scripts", "scripts"])

#: Groups whose entries a tool loads because they are installed, without anybody naming them.
_LOADED_UNASKED = frozenset(
    [
        "airflow.plugins",
        "apache_airflow_provider",
        "celery.fixups",
        "conda",
        "datasette",
        "devpi_client",
        "devpi_server",
        "distutils.commands",
        "distutils.setup_keywords",
        "egg_info.writers",
        "flake8.extension",
        "flask.commands",
        "hatch",
        "hypothesis",
        "jupyter_serverproxy_servers",
        "keyring.backends",
        "koschey",
        "llm",
        "napari.manifest",
        "opentelemetry_configurator",
        "opentelemetry_distro",
        "opentelemetry_instrumentor",
        "opentelemetry_pre_instrument",
        "pdm",
        "poetry.application.plugin",
        "poetry.plugin",
        "pylama.linter",
        "pytest11",
        "setuptools.file_finders",
        "setuptools.finalize_distribution_options",
        "tox",
        "twine.registered_commands",
        "virtualenv.activate",
        "virtualenv.create",
        "virtualenv.discovery",
        "virtualenv.seed",
        "xarray.backends",
        "xonsh.xontribs",
    ]
)
#: Groups whose entries only say where files are, for whoever asks for them by name.
_HARMLESS = frozenset(
    [
        "cmake.module",
        "cmake.prefix",
        "cmake.root",
        "pkg_config",
        "sphinx.html_themes",
        "validate_pyproject.multi_schema",
        "validate_pyproject.tool_schema",
    ]
)
_WINDOWS_ENDING = re.compile(r"\.(?:exe|cmd|bat|com|ps1|pyw?)\Z")
#: ``python3.12`` and ``pip3`` are run in place of ``python`` and ``pip``.
_NUMBERED = re.compile(r"(python|pythonw|pip|pypy)\d+(?:\.\d+)*t?")


def check(subject: Subject) -> Finding:
    """Fails on commands in the place of well-known ones, and on what the previous version had not."""
    contents = subject.contents
    if contents is None:
        return unread(_NAME)
    before = earlier_contents(subject)
    had = frozenset() if before is None else frozenset(before.entry_points)
    new = [entry for entry in contents.entry_points if entry not in had]
    shadows = [_label(entry) for entry in new if _shadows(entry, subject.project)]
    if shadows:
        return Finding(
            _NAME,
            Outcome.FAIL,
            f"an installation would put its own {named(shadows)} in place of the known one",
        )
    if before is None:
        return Finding(_NAME, Outcome.PASS, "no earlier version to compare with; no well-known command")
    return _compared(new, before, earlier_version(subject))


def _compared(new: list[str], before: Contents, version: str) -> Finding:
    """One more plug-in for a tool that it had one for already is news; all else new is for a reviewer."""
    groups = {entry.partition(":")[0] for entry in before.entry_points} - _COMMANDS - _LOADED_UNASKED
    further = [entry for entry in new if entry.partition(":")[0] in groups | _HARMLESS]
    grave = [_label(entry) for entry in new if entry not in further]
    if grave:
        return Finding(_NAME, Outcome.FAIL, f"{named(grave)}: new, {version} did not have that")
    if further:
        return Finding(_NAME, Outcome.WARN, f"{named(map(_label, further))}: new since {version}")
    return Finding(_NAME, Outcome.PASS, f"nothing new since {version}")


def _label(entry: str) -> str:
    group, _, name = entry.partition(":")
    if group in _COMMANDS:
        return f"command {name}"
    loaded = ", loaded without being asked for" if group in _LOADED_UNASKED else ""
    return f"plug-in {name} ({group}{loaded})"


def _shadows(entry: str, project: str) -> bool:
    """Whether a command would run in place of a well-known one that is not this project's to install."""
    group, _, name = entry.partition(":")
    if group not in _COMMANDS:
        return False
    command = _WINDOWS_ENDING.sub("", name.rpartition("/")[2].lower())
    if numbered := _NUMBERED.fullmatch(command):
        command = numbered[1]
    allowed = owners().get(command)
    return allowed is not None and project not in allowed

"""What every plug-in that comes along has in common: its variables are declared once, and documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from koschey.contrib import ldap, oidc, proxy_header
from koschey.contrib.variables import Variable, Variables
from koschey.errors import SettingsInvalid

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "sign-in.rst").read_text(encoding="utf-8")


@pytest.mark.parametrize("plugin", [ldap, oidc, proxy_header], ids=lambda plugin: plugin.__name__)
def test_the_module_and_each_variable_are_documented_with_help_and_default(plugin: object) -> None:
    variables: Variables = plugin.VARIABLES  # type: ignore[attr-defined]
    assert f"``{plugin.__name__}``" in TEXT  # type: ignore[attr-defined]
    words = " ".join(TEXT.split())
    for variable in variables.known:
        usual = "" if not variable.default else f" Default: ``{variable.default}``."
        secret = " Secret." if variable.secret else ""
        needed = " Needed." if variable.default is None else ""
        entry = f"``{variables.prefix}{variable.name}`` {variable.help}{secret}{needed}{usual}"
        assert entry in words


def test_what_is_needed_or_unknown_is_said_by_its_name() -> None:
    variables = Variables("KOSCHEY_PLUGIN_X_", (Variable("A", "What it is.", None), Variable("B", "That.")))
    assert variables.read({"KOSCHEY_PLUGIN_X_A": "1"}) == {"a": "1", "b": ""}
    with pytest.raises(SettingsInvalid, match="KOSCHEY_PLUGIN_X_A: it is needed: What it is"):
        variables.read({"KOSCHEY_PLUGIN_X_A": " "})
    with pytest.raises(SettingsInvalid, match="KOSCHEY_PLUGIN_X_C"):
        variables.read({"KOSCHEY_PLUGIN_X_A": "1", "KOSCHEY_PLUGIN_X_C": "1"})

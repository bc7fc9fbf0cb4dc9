"""Settings: each is documented as it is, and what cannot be used stops the start in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from koschey import settings as settings_module
from koschey.errors import SettingsInvalid
from koschey.settings import Settings, described, load
from tests.running import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "settings.rst").read_text(encoding="utf-8")
#: Variable to its text with single spaces.
DOCUMENTED = {
    variable: " ".join(text.split())
    for variable, text in re.findall(r"^``(KOSCHEY_\w+)``\n((?:    .+\n)+)", DOCUMENT, re.MULTILINE)
}


def expected(default: Any, help_text: str, *, secret: bool) -> str:
    """What the documentation has to say of a setting."""
    if isinstance(default, bool):
        shown = "``on``" if default else "``off``"
    elif isinstance(default, float):
        shown = f"``{default:g}``"
    else:
        shown = f"``{default}``" if str(default) else "empty"
    return f"{help_text}{' Secret.' if secret else ''} Default: {shown}."


def test_the_documentation_lists_the_settings_that_there_are() -> None:
    assert sorted(DOCUMENTED) == sorted(f"KOSCHEY_{name.upper()}" for name, *_ in described())


@pytest.mark.parametrize("setting", described(), ids=lambda setting: setting[0])
def test_a_setting_is_documented_with_its_meaning_and_default(
    setting: tuple[str, str, Any, str, bool],
) -> None:
    name, _type, default, help_text, secret = setting
    assert DOCUMENTED.get(f"KOSCHEY_{name.upper()}") == expected(default, help_text, secret=secret)


def test_without_anything_said_the_defaults_hold() -> None:
    assert load({}) == Settings()


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    file = tmp_path / "koschey.toml"
    file.write_text('quarantine_days = 3\nread_timeout = 4.5\nhot_path = false\ndata_dir = "/srv/k"\n')
    settings = load({"KOSCHEY_CONFIG": str(file), "KOSCHEY_READ_TIMEOUT": "9"})
    assert settings == Settings(
        quarantine_days=3.0, read_timeout=9.0, hot_path=False, data_dir=Path("/srv/k")
    )


@pytest.mark.parametrize("spelling", ["1", "true", "YES", " on "])
def test_a_switch_is_on_in_many_spellings(spelling: str) -> None:
    assert load({"KOSCHEY_HOT_PATH": spelling}).hot_path is True


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("KOSCHEY_QUARANTEEN_DAYS", "7", "is not known"),
        ("KOSCHEY_DATABASE_URL", "mysql://u:p@db.example/k", "begins with postgresql:// or sqlite:///"),
        ("KOSCHEY_QUARANTINE_DAYS", "a week", "is not a number, 0 or more"),
        ("KOSCHEY_QUARANTINE_DAYS", "nan", "is not a number, 0 or more"),
        ("KOSCHEY_QUARANTINE_DAYS", "inf", "is not a number, 0 or more"),
        ("KOSCHEY_TRUSTED_PROXIES", "-1", "is not a whole number, 0 or more"),
        ("KOSCHEY_TRUSTED_PROXIES", "1.5", "is not a whole number, 0 or more"),
        ("KOSCHEY_HOT_PATH", "perhaps", "is not on or off"),
        ("KOSCHEY_CONFIG", "/nowhere/koschey.toml", "cannot read /nowhere/koschey.toml"),
    ],
)
def test_what_cannot_be_used_is_named(variable: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsInvalid, match=re.escape(problem)) as caught:
        load({variable: value})
    assert caught.value.name == variable


@pytest.mark.parametrize(
    ("content", "problem"),
    [("colour = 1", "is not known"), ("= 1", "is not TOML"), ("hot_path = 2", "is not on or off")],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "koschey.toml"
    file.write_text(content)
    with pytest.raises(SettingsInvalid, match=problem):
        load({"KOSCHEY_CONFIG": str(file)})


def test_plug_ins_have_variables_of_their_own() -> None:
    assert load({"KOSCHEY_PLUGIN_ROUTE_PROXY": "http://proxy.example"}) == Settings()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@db.example/k", "postgresql+psycopg2://u:p@db.example/k"),
        ("postgresql://db.example/k", "postgresql+psycopg2://db.example/k"),
        ("sqlite:////srv/k.sqlite", "sqlite:////srv/k.sqlite"),
    ],
)
def test_a_database_url_names_the_driver_that_is_installed(given: str, used: str) -> None:
    assert Settings(database_url=given).resolved_database_url == used


def test_the_embedded_database_and_files_lie_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/koschey.sqlite"
    assert settings.resolved_storage_url == f"file://{tmp_path}/files"
    assert settings.embedded


def test_every_url_that_may_carry_a_password_is_a_secret() -> None:
    secrets = {name for name, _type, _default, _help, secret in settings_module.described() if secret}
    assert secrets == {
        "database_url",
        "storage_url",
        "redis_url",
        "secret_key",
        "smtp_url",
        "webhook_url",
        "webhook_secret",
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KOSCHEY_READ_TIMEOUT", "0"),
        ("KOSCHEY_CONNECT_TIMEOUT", "0.001"),
        ("KOSCHEY_PUBLIC_URL", "index.example"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_sentence_that_names_it(variable: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=variable):
        load({variable: value})

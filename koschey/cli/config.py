"""``koschey config``: the settings as this process would take them."""

from __future__ import annotations

import click

from koschey import settings as settings_module
from koschey.cli.running import data_option, json_option, print_table
from koschey.services.upstream_spec import without_userinfo


@click.group()
def config() -> None:
    """Settings."""


@config.command()
@json_option
@data_option
def show(as_json: bool) -> None:  # noqa: FBT001 - click's
    """Every setting, its value (secrets masked), and what it means."""
    current = settings_module.load()
    rows = [
        {
            "variable": settings_module.PREFIX + name.upper(),
            "value": "***" if secret and getattr(current, name) else _plain(getattr(current, name)),
            "help": help_text,
        }
        for name, _type, _default, help_text, secret in settings_module.described()
    ]
    print_table(rows, as_json=as_json, empty="")


def _plain(value: object) -> str | float | bool:
    if isinstance(value, (int, float, bool)):
        return value
    text = str(value)
    return without_userinfo(text) if "://" in text else text  # an upstream's URL may carry a password

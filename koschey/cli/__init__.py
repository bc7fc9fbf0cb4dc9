"""The command line. Commands are loaded when they are called: ``serve`` must not carry the others' weight."""

from __future__ import annotations

import importlib

import click

#: Command to module below ``koschey.cli``; the command is the module's attribute of the same name.
_COMMANDS = {
    "acl": "grants",
    "ask": "asks",
    "audit": "audit",
    "config": "config",
    "db": "database",
    "grant": "grants",
    "group": "groups",
    "doctor": "doctor",
    "fsck": "fsck",
    "hosted": "hosted",
    "index": "indexes",
    "policy": "policies",
    "project": "projects",
    "quarantine": "quarantine",
    "search": "search",
    "serve": "serve",
    "token": "tokens",
    "storage": "storage",
    "sync": "sync",
    "upstream": "upstreams",
    "user": "users",
    "worker": "worker",
    "why": "why",
}


class _Lazy(click.Group):
    """Finds a command by its name and imports it then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"koschey.cli.{_COMMANDS[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="koschey")
def main() -> None:
    """Koschey: a company's own Python package index, immortal and quarantined."""

"""``koschey upstream``: outside indexes, how to reach them, and whether they can be reached."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from koschey.cli.running import actor, data_option, json_option, print_table, services


@click.group()
def upstream() -> None:
    """Outside indexes that Koschey pulls from."""


def _spec_options[F: Callable[..., Any]](command: F) -> F:
    for option in (
        click.option("--username", help="User name for the upstream; '' takes it away."),
        click.option("--password", help="Its password; better --password-stdin."),
        click.option("--password-stdin", is_flag=True, help="Read the password from standard input."),
        click.option("--token", help="Bearer token instead of a password; better --token-stdin."),
        click.option("--token-stdin", is_flag=True, help="Read the token from standard input."),
        click.option("--ca-file", help="CA certificates (PEM) to trust for this upstream."),
        click.option("--proxy", help="HTTP proxy for this upstream: http://[user:password@]host:port."),
        click.option(
            "--internal/--no-internal",
            default=None,
            help="Its pages may point to private and loopback addresses.",
        ),
        click.option(
            "--refresh-seconds", type=click.FloatRange(0), help="Age at which a page is looked at again."
        ),
    ):
        command = option(command)
    return command


def _spec(url: str | None, password_stdin: bool, token_stdin: bool, **values: Any) -> Any:  # noqa: FBT001 - click's
    from koschey.services.indexes import UpstreamSpec

    if password_stdin and token_stdin:
        raise click.UsageError("only one secret can be read from standard input")
    if password_stdin:
        values["password"] = sys.stdin.readline().rstrip("\n")
    if token_stdin:
        values["token"] = sys.stdin.readline().rstrip("\n")
    return UpstreamSpec(url=url, **values)


@upstream.command()
@click.argument("name")
@click.argument("url")
@click.option("--index", "indexes", multiple=True, help="Index that uses it, last in order; default: main.")
@_spec_options
@data_option
def add(name: str, url: str, indexes: tuple[str, ...], **options: Any) -> None:
    """Add the upstream NAME at URL (where project pages are at URL + project + '/')."""
    with services() as koschey:
        koschey.indexes.add_upstream(name, _spec(url, **options), indexes=indexes or ("main",), actor=actor())
    click.echo(f"added upstream {name}")


@upstream.command()
@click.argument("name")
@click.option("--url", help="New address. Credentials for another host must be given again.")
@_spec_options
@data_option
def edit(name: str, url: str | None, **options: Any) -> None:
    """Change the upstream NAME; what is not said stays."""
    from koschey.services.indexes import UpstreamSpec

    spec = _spec(url, **options)
    if spec == UpstreamSpec():
        raise click.UsageError("nothing to change: say --url or another option")
    with services() as koschey:
        koschey.indexes.edit_upstream(name, spec, actor=actor())
    click.echo(f"changed upstream {name}")


@upstream.command(name="list")
@json_option
@data_option
def list_(as_json: bool) -> None:  # noqa: FBT001 - click's
    """All upstreams; secrets show only as whether they are set."""
    with services() as koschey:
        rows = koschey.indexes.describe_upstreams()
    print_table(rows, as_json=as_json, empty="no upstreams; add one with `koschey upstream add NAME URL`")


@upstream.command()
@click.argument("name")
@click.option("--forget", is_flag=True, help="Also when files of it are known: they are lost to users.")
@data_option
def remove(name: str, forget: bool) -> None:  # noqa: FBT001 - click's
    """Delete the upstream NAME."""
    with services() as koschey:
        koschey.indexes.remove_upstream(name, actor=actor(), forget=forget)
    click.echo(f"removed upstream {name}")


@upstream.command()
@click.argument("name")
@data_option
def reset(name: str) -> None:
    """Forget serials and ETags of the upstream NAME, whose serials went backwards; files stay."""
    with services() as koschey:
        koschey.indexes.reset_upstream(name, actor=actor())
    click.echo(f"reset upstream {name}; its pages are looked at again when they are next asked for")


@upstream.command()
@click.argument("name")
@click.option("--project", default="pip", show_default=True, help="Project whose page is asked for.")
@json_option
@data_option
def test(name: str, project: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Ask the upstream NAME for one project's page and say what came; nothing is stored."""
    with services() as koschey:
        result = koschey.probe.try_out(name, project)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        for key, value in result.items():
            click.echo(f"{key}: {value}")
    if not result["ok"]:
        sys.exit(1)

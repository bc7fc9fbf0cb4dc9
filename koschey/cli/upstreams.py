"""``koschey upstream``: outside indexes, how to reach them, and whether they can be reached."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from koschey.cli.running import actor, data_option, json_option, print_table, services

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Number(click.FloatRange):
    """A number that is one: neither without end nor ``nan``, which is in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number of this range: {self._describe_range()}", param, ctx)
        return number


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
        click.option("--refresh-seconds", type=_Number(0), help="Age at which a page is looked at again."),
    ):
        command = option(command)
    return command


def _keep_options[F: Callable[..., Any]](command: F) -> F:
    for option in reversed((
        click.option(
            "--mode",
            type=click.Choice(["proxy", "known", "index", "full"]),
            help="What is kept in step: nothing, what was ever asked for, all pages, all pages and files.",
        ),
        click.option("--include", multiple=True, help="Glob of names to keep; '' takes all of them away."),
        click.option("--exclude", multiple=True, help="Glob of names to leave; '' takes all of them away."),
        click.option(
            "--names-file", type=_FILE, help="Names to keep, one a line; replaces earlier ones."
        ),
        click.option(
            "--seed",
            "seeds",
            type=_FILE,
            multiple=True,
            help="requirements.txt, pylock.toml or uv.lock to keep, with dependencies; replaces others.",
        ),
        click.option("--no-seeds", is_flag=True, help="Keep for no seed any more."),
        click.option("--newest", type=click.IntRange(0), help="Only so many newest versions; 0: all."),
        click.option("--prereleases/--no-prereleases", default=None, help="Whether to keep pre-releases."),
        click.option(
            "--platform",
            "platforms",
            multiple=True,
            help="Wheels for linux, macos, windows, or a glob of platform tags; '': for all.",
        ),
        click.option("--python", "pythons", multiple=True, help="Files for that version; '': for all."),
        click.option("--max-size", help="No files larger than that: 500K, 20M, 2G; 0: any."),
        click.option("--kinds", help="Kinds of files, by commas: wheel, sdist, other; '': all."),
        click.option(
            "--sync-seconds", type=_Number(0), help="Time between two syncs; 0: only by command."
        ),
        click.option(
            "--requests-per-second", type=_Number(0), help="No more than that; 0: no limit."
        ),
        click.option("--connections", type=click.IntRange(1, 64), help="So many at once in a sync."),
    )):  # fmt: skip
        command = option(command)
    return command


#: Options whose values are looked at before anything is opened, and the filters that they are.
_FILTERS = {
    "--include": "include",
    "--exclude": "exclude",
    "--platform": "platforms",
    "--python": "pythons",
    "--kinds": "kinds",
}
_KEEP = (
    "mode", "include", "exclude", "names_file", "seeds", "no_seeds", "newest", "prereleases", "platforms",
    "pythons", "max_size", "kinds", "sync_seconds", "requests_per_second", "connections",
)  # fmt: skip


def _keep_spec(options: dict[str, Any]) -> Any:
    """Takes the options of ``_keep_options`` out of ``options``; None when nothing was said."""
    from koschey.domain.filters import Mode
    from koschey.services.keeping import KeepSpec, SeedFile

    said = {name: options.pop(name) for name in _KEEP}
    several: dict[str, Any] = {
        name: _several(said[name]) for name in ("include", "exclude", "platforms", "pythons")
    }
    kinds = None if said["kinds"] is None else tuple(filter(None, said["kinds"].split(",")))
    for option, name in _FILTERS.items():
        _usable(option, name, kinds if name == "kinds" else several[name])
    seeds = tuple(SeedFile(path.name, _text(path), _beside(path)) for path in said["seeds"])
    spec = KeepSpec(
        mode=None if said["mode"] is None else Mode(said["mode"]),
        names=None if said["names_file"] is None else _text(said["names_file"]),
        seeds=seeds if seeds or said["no_seeds"] else None,
        max_size=None if said["max_size"] is None else _bytes(said["max_size"]),
        kinds=kinds,
        **several,
        **{name: said[name] for name in ("newest", "prereleases", *_KEEP[-3:])},
    )
    return None if spec == KeepSpec() else spec


def _usable(option: str, name: str, values: tuple[str, ...] | None) -> None:
    """Whether those are values that a filter can have. Raises: click.BadParameter, what is allowed."""
    from koschey.domain.filters import filters_of
    from koschey.errors import RequestInvalid

    try:
        filters_of({name: values or ()})
    except RequestInvalid as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _several(values: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(filter(None, values)) if values else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {path}: {error}") from None


def _beside(seed: Path) -> dict[str, str]:
    """The files that a requirements file names, and that those name; by their paths from its folder."""
    from koschey.domain.seeds import mentioned

    found: dict[str, str] = {}
    todo = [] if seed.suffix in (".lock", ".toml") else mentioned(seed.name, _text(seed))
    while todo:
        name = todo.pop()
        if name not in found and name != seed.name:
            found[name] = _text(seed.parent / name)
            todo += mentioned(name, found[name])
    return found


_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def _bytes(text: str) -> int:
    number, unit = (text[:-1], _UNITS[text[-1].upper()]) if text[-1:].upper() in _UNITS else (text, 1)
    if not number.isdecimal():
        raise click.UsageError(f"--max-size: {text!r} is no size, such as 20M")
    return int(number) * unit


def _spec(url: str | None, password_stdin: bool, token_stdin: bool, **values: Any) -> Any:  # noqa: FBT001 - click's
    from koschey.services.upstream_spec import UpstreamSpec

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
@_keep_options
@data_option
def edit(name: str, url: str | None, **options: Any) -> None:
    """Change the upstream NAME; what is not said stays."""
    from koschey.services.upstream_spec import UpstreamSpec

    keep = _keep_spec(options)
    spec = _spec(url, **options)
    if spec == UpstreamSpec() and keep is None:
        raise click.UsageError("nothing to change: say --url or another option")
    found: dict[str, int] = {}
    with services() as koschey:
        if spec != UpstreamSpec():
            koschey.indexes.edit_upstream(name, spec, actor=actor())
        if keep is not None:
            found = koschey.keeping.edit(name, keep, actor=actor())
    click.echo(f"changed upstream {name}")
    for filename, count in found.items():
        click.echo(f"{filename}: {count:,} {'name' if count == 1 else 'names'} to keep")


@upstream.command(name="list")
@json_option
@data_option
def list_(as_json: bool) -> None:  # noqa: FBT001 - click's
    """All upstreams; secrets show only as whether they are set."""
    with services() as koschey:
        kept = koschey.keeping.describe()
        rows = [row | kept[row["name"]] for row in koschey.indexes.describe_upstreams()]
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
    """Forget serials, ETags, the alarm and what is due of NAME, which counts anew; files stay."""
    with services() as koschey:
        koschey.sync.reset(name, actor=actor())
    when = "by the next sync, or when they are next asked for"
    click.echo(f"reset upstream {name}; its pages are looked at again {when}")


@upstream.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is what people are told.")
@data_option
def pause(name: str, reason: str) -> None:
    """Ask nothing of the upstream NAME until it is resumed; what is stored of it is served."""
    with services() as koschey:
        koschey.indexes.pause_upstream(name, reason=reason, actor=actor())
    click.echo(f"paused upstream {name}: what is stored is served, nothing is asked of it")


@upstream.command()
@click.argument("name")
@data_option
def resume(name: str) -> None:
    """Ask the paused upstream NAME again."""
    with services() as koschey:
        koschey.indexes.resume_upstream(name, actor=actor())
    click.echo(f"resumed upstream {name}")


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

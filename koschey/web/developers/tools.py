"""Lines that make tools use an index, with its real address."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

TOKEN_USER = "__token__"  # noqa: S105 - the user name that goes with a token


class Lines(NamedTuple):
    """What to put where, for one tool."""

    tool: str
    where: str
    """A file, or empty for the command line."""
    text: str


def install_lines(index_url: str, project: str, version: str | None) -> list[Lines]:
    """How each tool installs a project, in the version that is shown."""
    pinned = project if version is None else f"{project}=={version}"
    return [
        Lines("pip", "", f"pip install --index-url {index_url} {pinned}"),
        Lines("uv", "", f"uv add --default-index {index_url} {pinned}"),
        Lines("poetry", "", f"poetry add {project}" + ("" if version is None else f"@{version}")),
        Lines("pdm", "", f"pdm add {pinned}"),
    ]


def setup_lines(index_url: str, upload_url: str, *, name: str, private: bool) -> list[Lines]:
    """How each tool is told of an index for good.

    Args:
        name: of the index, as the tools are to call it.
        private: whether reading needs a token.
    """
    host = urlsplit(index_url).hostname or ""
    plain = index_url.startswith("http://") and host not in ("localhost", "127.0.0.1", "::1")
    pip = f"[global]\nindex-url = {index_url}\n" + (f"trusted-host = {host}\n" if plain else "")
    uv = f'[[index]]\nname = "{name}"\nurl = "{index_url}"\ndefault = true\npublish-url = "{upload_url}"\n'
    if private:
        uv += 'authenticate = "always"\n'
    poetry = f'[[tool.poetry.source]]\nname = "{name}"\nurl = "{index_url}"\npriority = "primary"\n'
    verify = "false" if plain else "true"
    pdm = f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{index_url}"\nverify_ssl = {verify}\n'
    lines = [
        Lines("pip", "~/.config/pip/pip.conf", pip),
        Lines("uv", "pyproject.toml or ~/.config/uv/uv.toml", uv),
        Lines("poetry", "pyproject.toml", poetry),
        Lines("pdm", "pyproject.toml", pdm),
    ]
    if private:
        lines += [
            Lines(
                "netrc (pip, uv, poetry)",
                "~/.netrc, readable by you alone",
                f"machine {host}\nlogin {TOKEN_USER}\npassword YOUR-TOKEN\n",
            ),
            Lines("poetry, sign in", "", f"poetry config http-basic.{name} {TOKEN_USER} YOUR-TOKEN"),
        ]
    ci = f"UV_DEFAULT_INDEX={index_url}\nPIP_INDEX_URL={index_url}\n"
    if private:
        secret = f"{urlsplit(index_url).scheme}://{TOKEN_USER}:$KOSCHEY_TOKEN@{index_url.partition('://')[2]}"
        ci = f"UV_DEFAULT_INDEX={secret}\nPIP_INDEX_URL={secret}\n"
    lines += [
        Lines("CI", "environment of the job", ci),
        Lines(
            "twine",
            "~/.pypirc, readable by you alone",
            f"[distutils]\nindex-servers = {name}\n\n[{name}]\nrepository = {upload_url}\n"
            f"username = {TOKEN_USER}\npassword = YOUR-TOKEN\n",
        ),
        Lines("twine, publish", "", f"twine upload --repository {name} dist/*"),
        Lines(
            "uv, publish",
            "",
            f"uv publish --publish-url {upload_url} --check-url {index_url} --token YOUR-TOKEN",
        ),
        Lines(
            "poetry, publish",
            "",
            f"poetry config repositories.{name} {upload_url}\npoetry config http-basic.{name} "
            f"{TOKEN_USER} YOUR-TOKEN\npoetry publish --build --repository {name}",
        ),
        Lines(
            "CI, publish",
            "environment of the job",
            f"UV_PUBLISH_URL={upload_url}\n"
            f"UV_PUBLISH_TOKEN=$KOSCHEY_TOKEN\nTWINE_REPOSITORY_URL={upload_url}\n"
            f"TWINE_USERNAME={TOKEN_USER}\nTWINE_PASSWORD=$KOSCHEY_TOKEN\n",
        ),
    ]
    return lines

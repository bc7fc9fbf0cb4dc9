"""What requirements and lock files ask for."""

from __future__ import annotations

import pytest

from koschey.domain.seeds import named, required, seeded
from koschey.errors import RequestInvalid

PYLOCK = """
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "one"
version = "1.0"
[[packages.wheels]]
name = "one-1.0-py3-none-any.whl"
url = "https://files.example/one-1.0-py3-none-any.whl"
hashes = {sha256 = "00"}
[[packages]]
name = "local"
[packages.directory]
path = "."
"""
UV = """
version = 1
[[package]]
name = "One"
version = "1.0"
source = { registry = "https://upstream.example/simple" }
[[package]]
name = "app"
version = "0"
source = { virtual = "." }
"""
REQUIREMENTS = r"""
--index-url https://upstream.example/simple
One[b,A]==1.0 \
    --hash=sha256:00 \
    --hash=sha256:11  # two
two>=2,<3 ; python_version > "3.8"
three @ https://upstream.example/three.whl
two
"""


def test_each_kind_of_file() -> None:
    assert seeded("some/uv.lock", UV) == ({"one": ["==1.0"]}, True)
    assert seeded("pylock.toml", PYLOCK) == ({"one": ["==1.0"]}, True)
    assert seeded("pylock.dev.toml", PYLOCK) == ({"one": ["==1.0"]}, True)
    assert seeded("requirements.txt", REQUIREMENTS) == (
        {"one": ["[a,b]==1.0"], "two": ["<3,>=2", ""]},
        False,
    )


@pytest.mark.parametrize(
    ("filename", "text", "words"),
    [
        ("uv.lock", "version = 2", "version 1"),
        ("uv.lock", "no toml", "not TOML"),
        ("uv.lock", UV.replace('"One"', '"../evil"'), "no project's name"),
        ("uv.lock", UV.replace('"1.0"', '"one"'), "no version"),
        ("pylock.toml", 'lock-version = "9.0"', "PEP 751"),
        ("requirements.txt", "fine\n-r other.txt", "line 2"),
        ("requirements.txt", "==1", "line 1"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_place(filename: str, text: str, words: str) -> None:
    with pytest.raises(RequestInvalid, match=words):
        seeded(filename, text)


def test_a_list_of_names() -> None:
    assert named("One\n\n# nothing\ntwo.x # why\n") == {"one": [""], "two-x": [""]}
    with pytest.raises(RequestInvalid, match="line 2"):
        named("one\n../two")


def test_what_metadata_requires() -> None:
    lines = [
        "plain>=1",
        "old; python_version < '3.9'",
        "windows; sys_platform == 'win32'",
        "more[x]; extra == 'more'",
        "other; extra == 'other'",
        "from-url @ https://upstream.example/x.whl",
        "not a requirement!",
    ]
    assert required(lines, ["more"], ["3.12"]) == {"plain": [">=1"], "windows": [""], "more": ["[x]"]}
    assert "old" in required(lines, [], [])

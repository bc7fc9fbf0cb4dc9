"""What requirements and lock files ask for."""

from __future__ import annotations

import pytest

from koschey.domain.seeds import mentioned, named, required, seeded
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


def test_files_that_a_requirements_file_names_are_read_with_it_and_constraints_narrow_it() -> None:
    beside = {
        "in/base.txt": "\ufeffone[a]>=1\n-c ../limits.txt\n-r base.txt\n",
        "more.txt": "two\n",
        "limits.txt": "one<2\nunused==1\ntwo<3; python_version < '3.9'\n",
    }
    text = "-r in/base.txt\n-rmore.txt\nthree\n"

    assert mentioned("requirements.txt", text) == ["in/base.txt", "more.txt"]
    assert mentioned("in/base.txt", beside["in/base.txt"]) == ["limits.txt", "in/base.txt"]
    assert seeded("requirements.txt", text, beside)[0] == {"one": ["[a]>=1,<2"], "two": [""], "three": [""]}


@pytest.mark.parametrize("line", ["-r other.txt", "-rother.txt", "--requirement=other.txt", "-c other.txt"])
def test_a_file_that_is_not_there_is_no_file_without_names(line: str) -> None:
    with pytest.raises(RequestInvalid, match=r"line 2.*not there"):
        seeded("requirements.txt", f"one\n{line}\n")


def test_what_comes_from_an_address_or_a_path_is_no_name_of_an_index() -> None:
    lines = [
        "https://upstream.example/two-1.0-py3-none-any.whl",
        "git+https://upstream.example/three.git#egg=three",
        "./four",
        "wheels/five-1.0-py3-none-any.whl ; python_version > '3'",
        "-e .",
        "one",
    ]
    assert seeded("requirements.txt", "\ufeff" + "\n".join(lines)) == ({"one": [""]}, False)


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


def test_what_is_required_somewhere_does_not_hang_on_this_machine() -> None:
    lines = [
        "windows; extra == 'More' and sys_platform == 'win32'",
        "old; python_version < '3.9' and extra == 'more'",
        "pypy; implementation_name == 'pypy' and extra == 'more'",
        "late; python_full_version >= '3.12.4'",
        "nowhere; sys_platform == 'win32' and os_name == 'posix'",
    ]
    assert required(lines, ["more"], []).keys() == {"windows", "old", "pypy", "late"}
    assert required(lines, ["more"], ["3.12"]).keys() == {"windows", "pypy", "late"}
    assert required(lines, [], ["3.8"]) == {}

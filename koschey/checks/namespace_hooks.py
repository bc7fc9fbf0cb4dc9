"""The start-up hooks that setuptools writes for namespace packages, told by their code and not their name."""

from __future__ import annotations

import hashlib
import io
import re
import tokenize
from collections.abc import Iterator

_LONGEST = 64 * 1024
#: Strings that decide what a statement does; all others name packages.
_KEPT = frozenset(["sitedir", "__path__", "__init__.py", "importlib.util", "importlib.machinery"])
_PLAIN = re.compile(r"(['\"])([A-Za-z0-9_.]*)\1")
_PATH = re.compile(r"\* \( PACKAGE(?: , PACKAGE)* (?:, )?\)")


def sets_up_a_namespace_only(body: bytes) -> bool:
    """Whether a ``.pth`` file, all of it, is made of the statements that setuptools writes there.

    They make a module without code and give it a folder. Names of packages may be any.
    """
    if len(body) > _LONGEST or not body.isascii():
        return False
    lines = [line.strip() for line in body.decode().splitlines()]  # ``site`` runs each by itself
    return all(
        _SHAPES.issuperset(map(_digest, _statements(line)))
        for line in lines
        if line and not line.startswith("#")
    )


def _statements(line: str) -> Iterator[str]:
    """The shape of each statement of a line; of what is no Python, one that is not known."""
    words: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER) or token.string == ";":
                yield _PATH.sub("* PATH", " ".join(words))
                words = []
            else:
                words.append(_word(token.string))
    except (tokenize.TokenError, SyntaxError):
        yield "?"


def _word(text: str) -> str:
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return text
    return repr(plain[2]) if plain[2] in _KEPT else "PACKAGE"


def _digest(shape: str) -> str:
    return hashlib.sha256(shape.encode()).hexdigest()[:24]


#: Of every statement that setuptools 17 to 84 write, and of none.
_SHAPES = frozenset({
    "0801b8a0ea1f3010f8f4be23",
    "10b0fb9218fc4d993d646ae3",
    "235596e355603fd121ae444a",
    "3118608a158df8b1837ec1de",
    "4720a0001529c543d3ced9a5",
    "4fda842d28a0c9d54e39a531",
    "51e5ae4e7e12c618e3ff1b38",
    "56c4026cba806d2ce65d12a4",
    "6c1fc54ba24465ff02755abb",
    "82774c8cd872db0d5a2213e4",
    "88069af50dd92dc54565c584",
    "955c5da1feb0374662ade113",
    "9b707407ac393a1bcc7685f8",
    "9cce267f579738e5aedd1cd8",
    "9ea657b54efae2e7c19f8767",
    "b2c21d5dd7f4a4ba0c12f8a1",
    "c857ba6cb18636a77c495aac",
    "cc78f367b3fa5cf54824245f",
    "e3b0c44298fc1c149afbf4c8",
})  # fmt: skip

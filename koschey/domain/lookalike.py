"""Names that a person could take for another project's: what those who squat on names register.

Names are normalised (PEP 503). The names of one family, ``mypy-boto3-sqs`` beside ``mypy-boto3-sns``, are
honest neighbours: where words are shared, the words that differ decide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

#: Letters of the known name. Shorter ones have too many honest neighbours at so many edits.
_ONE_EDIT_FROM = 5
_TWO_EDITS_FROM = 12
#: Of the words that differ, when others are shared.
_TWO_EDITS_WITHIN = 8
_REPLACED_WITHIN = 4

#: Added to a name that others know, and left out of one. In order: longer before what they begin with.
_PREFIXES = ("python3-", "python2-", "python-", "py3-", "py-")
_SUFFIXES = ("-python3", "-python2", "-python", "-py3", "-py")
#: Letters of a name that something without a separator, or a number, was added to.
_GLUED_TO = 4
_NUMBERED_FROM = 3


class Lookalikes:
    """Finds which of many known names another one could be mistaken for.

    Edits are looked for among the names of about that length and those letters, told by one number each:
    an index of all their neighbours would take tens of megabytes for 5,000 names, and this finds one in
    about a millisecond with a few hundred kilobytes.

    Args:
        known: normalised names.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._alike: dict[str, str] = {}
        self._by_length: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
        names = sorted(self._known)
        for name in names:
            squashed = _squashed(name)
            self._by_length[len(squashed)].append((_letters(squashed), squashed, name))
        for forms in (_same_forms, _cores):  # a name itself before what one without its affix looks like
            for name in names:
                for form in forms(name):
                    self._alike.setdefault(form, name)

    def resembled_by(self, name: str) -> str | None:
        """The known name that ``name`` (normalised) could be mistaken for; None for a known name itself."""
        if name in self._known:
            return None
        for form in (*_same_forms(name), *_added_to(name)):
            if found := self._alike.get(form):
                return found
        return self._edited(name)

    def _edited(self, name: str) -> str | None:
        """The nearest name within the edits that its length allows; of several the first by alphabet."""
        squashed = _squashed(name)
        letters, length = _letters(squashed), len(squashed)
        near: list[tuple[int, str]] = []
        for edits in (1, 2):
            shortest = (_ONE_EDIT_FROM, _TWO_EDITS_FROM)[edits - 1]
            for other in range(max(shortest, length - edits), length + edits + 1):
                for known_letters, known_squashed, known in self._by_length.get(other, ()):
                    # An edit takes away one letter at most and brings in another one.
                    if (letters ^ known_letters).bit_count() > 2 * edits:
                        continue
                    if distance(squashed, known_squashed, edits) <= edits and _tells(name, known, edits):
                        near.append((edits, known))
            if near:
                return min(near)[1]
        return None


def resembles(name: str, known: Iterable[str]) -> str | None:
    """Which of ``known`` the name could be mistaken for; ``Lookalikes`` is for more than one question."""
    return Lookalikes(known).resembled_by(name)


def distance(one: str, other: str, limit: int) -> int:
    """Letters to lose, insert, replace or swap with their neighbour (Damerau-Levenshtein, each place once).

    More than ``limit`` is given as ``limit + 1``.
    """
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, beside in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != beside))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == beside:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) > limit and min(before) > limit:
            return limit + 1
    return min(row[-1], limit + 1)


def _tells(name: str, known: str, edits: int) -> bool:
    """Whether names so near are told apart badly, seeing which words they share."""
    ours, theirs = name.split("-"), known.split("-")
    shared = len(ours) + len(theirs)
    while ours and theirs and ours[0] == theirs[0]:
        del ours[0], theirs[0]
    while ours and theirs and ours[-1] == theirs[-1]:
        del ours[-1], theirs[-1]
    if shared == len(ours) + len(theirs):
        return True
    own, other = "".join(ours), "".join(theirs)
    if edits > 1:
        return min(len(own), len(other)) >= _TWO_EDITS_WITHIN
    replaced = [(a, b) for a, b in zip(own, other, strict=False) if a != b] if len(own) == len(other) else []
    if len(replaced) != 1:  # a letter lost, doubled or swapped
        return True
    # sns and sqs, cu12 and cu13 are different things, and everybody knows it.
    return len(own) >= _REPLACED_WITHIN and not (replaced[0][0].isdigit() and replaced[0][1].isdigit())


def _squashed(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(".", "")


def _letters(squashed: str) -> int:
    """Which letters and digits a name has, one bit for each."""
    found = 0
    for letter in squashed:
        found |= 1 << (ord(letter) & 63)  # some share a bit: a sieve only
    return found


_SIGHT = str.maketrans("01i", "oll")


def _seen(name: str) -> str:
    """What an eye makes of a name: 0 is o, 1 and i are l, rn is m, vv is w; separators do not count."""
    return _squashed(name).replace("rn", "m").replace("vv", "w").translate(_SIGHT)


def _same_forms(name: str) -> Iterator[str]:
    """Forms in which names that are hardly told apart are equal; separate kinds do not mix."""
    yield "seen " + _seen(name)
    words = name.split("-")
    if len(words) > 1:  # the same words in another order
        yield "words " + " ".join(sorted(words))


def _cores(name: str) -> Iterator[str]:
    """What is left of a known name when somebody leaves its affix out: ``dateutil``, ``yaml``."""
    bare = _without_affix(name)
    if bare != name:
        yield "seen " + _seen(bare)
    elif name.startswith("py") and len(_squashed(name)) >= 2 + _GLUED_TO:
        yield "seen " + _seen(name[2:])


def _added_to(name: str) -> Iterator[str]:
    """What a name adds to: ``python-requests``, ``requests-py``, ``pyrequests``, ``requests2``."""
    bare = _without_affix(name)
    if bare != name:
        yield "seen " + _seen(bare)
    for core in (name.removeprefix("python"), name.removeprefix("py"), name.removesuffix("py")):
        if core != name and len(_squashed(core)) >= _GLUED_TO:
            yield "seen " + _seen(core)
    if name.endswith(("2", "3")) and len(name) > _NUMBERED_FROM:
        yield "seen " + _seen(name[:-1])


def _without_affix(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix) and len(name) > len(prefix) + 2:
            return name[len(prefix) :]
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix) + 2:
            return name[: -len(suffix)]
    return name

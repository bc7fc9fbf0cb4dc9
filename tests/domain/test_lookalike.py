"""Names that could be mistaken for others: what squatters register is found, honest neighbours are not."""

import re
import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from koschey.domain.lookalike import Lookalikes, distance, resembles
from koschey.domain.widely_used import widely_used

KNOWN = Lookalikes(widely_used())
SIGNS = string.ascii_lowercase + string.digits

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name == canonicalize_name(name)
)
words = st.sampled_from(sorted(name for name in widely_used() if "-" not in name and len(name) >= 5))
long_names = st.sampled_from(sorted(name for name in widely_used() if len(name.replace("-", "")) >= 12))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("reqeusts", "requests"),  # swapped
        ("request", "requests"),  # lost
        ("djangoo", "django"),  # doubled
        ("numpi", "numpy"),  # replaced
        ("beautifullsuop4", "beautifulsoup4"),  # two edits
        ("cryptografy", "cryptography"),
        ("scikitlearn", "scikit-learn"),  # separators
        ("typing-extension", "typing-extensions"),
        ("learn-scikit", "scikit-learn"),  # order
        ("pi11ow", "pillow"),  # confusables
        ("b0t03", "boto3"),
        ("rnatplotlib", "matplotlib"),
        ("vvheel", "wheel"),
        ("s1x", "six"),
        ("python-requests", "requests"),  # affixes
        ("requests-python", "requests"),
        ("pyrequests", "requests"),
        ("requests-py", "requests"),
        ("python3-requests", "requests"),
        ("tqdm3", "tqdm"),
        ("boto4", "boto3"),
        ("dateutil", "python-dateutil"),  # what the import is called
        ("yaml", "pyyaml"),
        ("dateutil-python", "python-dateutil"),
        ("python-dateutl", "python-dateutil"),
        ("pytest-covv", "pytest-cov"),
    ],
)
def test_what_squatters_register_is_found(name, known):
    assert KNOWN.resembled_by(name) == known


@pytest.mark.parametrize(
    "name",
    [
        "mypy-boto3-sns",
        "nvidia-cublas-cu13",
        "azure-mgmt-dns",
        "google-cloud-run",
        "types-tqdm",
        "pytest-icdiff",
        "langchain-groq",
        "django-ninja",
        "flask-pydantic",
        "sphinx-design",
        "opentelemetry-instrumentation-django",
        "fastmcp",
        "pydantic-ai",
        "basedpyright",
        "dramatiq",
        "arq",
        "saq",
        "typer-slim",
        "niquests",
        "cupyx",
        "pymc",
        "pyinfra",
        "markitdown",
        "textual-dev",
        "taskiq",
        "rattler",
    ],
)
def test_honest_neighbours_are_left_alone(name):
    assert KNOWN.resembled_by(name) is None


def test_families_are_told_apart_by_the_words_that_differ():
    known = ["mypy-boto3-sqs", "azure-mgmt-cdn", "llama-index-llms-groq"]
    assert [resembles(n, known) for n in ("mypy-boto3-sns", "azure-mgmt-dns")] == [None, None]
    assert resembles("mypy-boto3-sqqs", known) == "mypy-boto3-sqs"
    assert resembles("mipy-boto3-sqs", known) == "mypy-boto3-sqs"


def test_widely_used_names_are_normalised_and_many():
    assert len(widely_used()) >= 500
    assert all(name == canonicalize_name(name) and re.fullmatch("[a-z0-9-]+", name) for name in widely_used())
    assert {"requests", "numpy", "urllib3", "boto3", "setuptools", "python-dateutil"} <= widely_used()


@settings(deadline=None)  # the machine may be busy
@given(known=st.sets(names, max_size=8), name=names)
def test_a_known_name_resembles_nothing_and_the_order_of_the_known_does_not_matter(known, name):
    assert resembles(name, {*known, name}) is None
    found = resembles(name, sorted(known))
    assert found == resembles(name, sorted(known, reverse=True))
    assert found is None or found in known


def _edited(name, edit, place, sign):
    """``name`` with one letter lost, inserted, replaced or swapped with the next."""
    place %= len(name)
    if edit == "lose":
        return name[:place] + name[place + 1 :]
    if edit == "insert":
        return name[:place] + sign + name[place:]
    if edit == "replace":
        return name[:place] + sign + name[place + 1 :]
    return name[:place] + name[place : place + 2][::-1] + name[place + 2 :]


edits = st.tuples(
    st.sampled_from(["lose", "insert", "replace", "swap"]), st.integers(0, 60), st.sampled_from(SIGNS)
)


@settings(deadline=None)
@given(name=words, edit=edits)
def test_one_edit_to_a_word_of_five_letters_is_found(name, edit):
    other = _edited(name, *edit)
    assume(other not in widely_used())
    assert KNOWN.resembled_by(other) is not None


@settings(deadline=None)
@given(name=long_names, one=edits, two=edits)
def test_two_edits_to_a_name_of_twelve_letters_are_found(name, one, two):
    other = _edited(_edited(name.replace("-", ""), *one), *two)
    # Two edits to the same place may count as three: no letter is edited twice.
    assume(other not in widely_used() and distance(other, name.replace("-", ""), 2) <= 2)
    assert KNOWN.resembled_by(other) is not None


@settings(deadline=None)
@given(name=long_names, gaps=st.sets(st.integers(1, 60)))
def test_separators_do_not_matter(name, gaps):
    squashed = name.replace("-", "")
    other = "".join("-" + sign if place in gaps else sign for place, sign in enumerate(squashed))
    assert KNOWN.resembled_by(other) is not None or other in widely_used()


def _plainly(one, other):
    """Damerau-Levenshtein by its definition: optimal string alignment, without a limit."""
    costs = {(-1, -1): 0} | {(i, -1): i + 1 for i in range(len(one))}
    costs |= {(-1, j): j + 1 for j in range(len(other))}
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            cost = min(costs[i - 1, j] + 1, costs[i, j - 1] + 1, costs[i - 1, j - 1] + (a != b))
            if i and j and a == other[j - 1] and b == one[i - 1]:
                cost = min(cost, costs[i - 2, j - 2] + 1)
            costs[i, j] = cost
    return costs[len(one) - 1, len(other) - 1]


@settings(deadline=None)
@given(one=st.text("abc", max_size=8), other=st.text("abc", max_size=8), limit=st.integers(1, 3))
def test_the_distance_is_the_one_of_the_definition(one, other, limit):
    assert distance(one, other, limit) == min(_plainly(one, other), limit + 1)
    assert distance(one, other, limit) == distance(other, one, limit)


@settings(deadline=None)
@given(name=st.text("abcde", min_size=11, max_size=13), known=st.text("abcde", min_size=12, max_size=13))
def test_the_sieve_loses_no_neighbour(name, known):
    if 0 < distance(name, known, 2) <= 2:
        assert resembles(name, [known]) == known


def test_a_name_of_200_letters_among_thousands_is_answered():
    known = Lookalikes(f"project-{number:05}-{'x' * (number % 180)}" for number in range(5000))
    assert known.resembled_by("project-00017-" + "x" * 186) is None
    assert known.resembled_by("project-00017-" + "x" * 18) == "project-00017-" + "x" * 17

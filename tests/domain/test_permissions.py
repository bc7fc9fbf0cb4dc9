"""The one question: who may do what, and by which grant."""

from __future__ import annotations

import pytest

from koschey.domain.permissions import (
    ANONYMOUS,
    ROLES,
    Actor,
    GrantRule,
    Kind,
    Permission,
    Role,
    Scope,
    account_name,
    authorise,
    name_glob,
    names_allowed,
    subject_of,
)
from koschey.errors import RequestInvalid

ANNA = Actor("anna", Kind.USER, frozenset({"build"}))
READ, UPLOAD, ADMIN = Permission.READ, Permission.UPLOAD, Permission.ADMIN


def token(*scopes: Scope, globs: frozenset[str] = frozenset()) -> Actor:
    return Actor("anna", Kind.TOKEN, frozenset({"build"}), frozenset(scopes), globs, 7)


@pytest.mark.parametrize(
    ("subject", "anonymous", "anna"),
    [
        ("everyone", True, True),
        ("signed-in", False, True),
        ("user:anna", False, True),
        ("user:anna2", False, False),
        ("user:anonymous", False, False),
        ("group:build", False, True),
        ("group:anna", False, False),
    ],
)
def test_a_grant_is_for_its_subject(subject: str, anonymous: bool, anna: bool) -> None:
    grants = [GrantRule(1, Role.READER, subject)]
    assert authorise(ANONYMOUS, READ, "six", "main", grants).allowed is anonymous
    assert authorise(ANNA, READ, "six", "main", grants).allowed is anna


@pytest.mark.parametrize(
    ("index", "pattern", "name", "asked", "allowed"),
    [
        (None, "*", "six", "main", True),
        (None, "*", None, None, True),
        ("main", "*", "six", "main", True),
        ("main", "*", "six", "other", False),
        ("main", "*", "six", None, False),
        (None, "acme-*", "acme-core", "main", True),
        (None, "acme-*", "six", "main", False),
        (None, "acme-*", None, "main", False),
        (None, "acme", "acme-core", "main", False),
    ],
)
def test_a_grant_covers_its_index_and_names(
    index: str | None, pattern: str, name: str | None, asked: str | None, allowed: bool
) -> None:
    grants = [GrantRule(1, Role.PUBLISHER, "user:anna", index, pattern)]
    answer = authorise(ANNA, UPLOAD, name, asked, grants)
    assert answer.allowed is allowed
    assert answer.grant == (grants[0] if allowed else None)


def test_the_answer_names_the_grant_that_decided() -> None:
    grants = [
        GrantRule(1, Role.READER, "everyone"),
        GrantRule(2, Role.PUBLISHER, "group:build", "main", "acme-*"),
    ]
    answer = authorise(ANNA, UPLOAD, "acme-core", "main", grants)
    assert answer.reason == "grant 2: publisher to group:build for acme-* in index main"
    assert authorise(ANNA, UPLOAD, "six", "main", grants).reason == (
        "no grant gives anna upload for six in index main"
    )


@pytest.mark.parametrize(
    ("actor", "permission", "name", "allowed"),
    [
        (token(Scope.READ), READ, "six", True),
        (token(Scope.READ), UPLOAD, "six", False),
        (token(Scope.UPLOAD), READ, "six", True),
        (token(Scope.UPLOAD), UPLOAD, "six", True),
        (token(Scope.UPLOAD), Permission.MANAGE, "six", False),
        (token(Scope.UPLOAD), ADMIN, None, False),
        (token(Scope.ADMIN), ADMIN, None, True),
        (token(), READ, "six", False),
        (token(Scope.UPLOAD, globs=frozenset({"acme-*"})), UPLOAD, "acme-core", True),
        (token(Scope.UPLOAD, globs=frozenset({"acme-*"})), UPLOAD, "six", False),
        (token(Scope.UPLOAD, globs=frozenset({"acme-*"})), UPLOAD, None, False),
        (token(Scope.ADMIN, globs=frozenset({"acme-*"})), ADMIN, None, False),
    ],
)
def test_a_token_only_takes_away(
    actor: Actor, permission: Permission, name: str | None, allowed: bool
) -> None:
    answer = authorise(actor, permission, name, "main", [GrantRule(1, Role.ADMIN, "user:anna")])
    assert answer.allowed is allowed
    assert answer.limited is not allowed
    assert not authorise(actor, permission, name, "main", []).limited


def test_which_names_somebody_may_read() -> None:
    grants = [
        GrantRule(1, Role.READER, "everyone", None, "public-*"),
        GrantRule(2, Role.READER, "user:anna", "main", "acme-*"),
        GrantRule(3, Role.AUDITOR, "group:all"),
    ]
    anybody, anna = (names_allowed(actor, READ, "main", grants) for actor in (ANONYMOUS, ANNA))
    assert "public-x" in anybody and "acme-x" not in anybody and anybody
    assert "public-x" in anna and "acme-x" in anna and "six" not in anna and not anna.everything
    assert "acme-x" not in names_allowed(ANNA, READ, "other", grants)
    limited = names_allowed(token(Scope.READ, globs=frozenset({"acme-a*"})), READ, "main", grants)
    assert "acme-ab" in limited and "acme-x" not in limited and "public-x" not in limited
    assert not names_allowed(token(Scope.READ), UPLOAD, "main", grants)
    everything = names_allowed(ANNA, READ, "main", [*grants, GrantRule(4, Role.READER, "signed-in")])
    assert everything.everything and "six" in everything


def test_every_role_may_read_and_only_the_admin_may_all() -> None:
    assert set(ROLES) == set(Role)
    assert all(READ in permissions for permissions in ROLES.values())
    assert [role for role, permissions in ROLES.items() if ADMIN in permissions] == [Role.ADMIN]
    assert ROLES[Role.ADMIN] == set(Permission)


@pytest.mark.parametrize("text", ["Anna", " anna ", "a.b@corp.example", "ci-bot", "x" * 100])
def test_names_of_people(text: str) -> None:
    assert account_name(text) == text.strip().lower()


@pytest.mark.parametrize("text", ["", "__token__", "a b", "a:b", "everyone", "Signed-In", "ä", "x" * 101])
def test_what_is_no_name_of_people(text: str) -> None:
    with pytest.raises(RequestInvalid, match="no name for a user"):
        account_name(text)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("anna", "user:anna"),
        ("user:Anna", "user:anna"),
        ("group:Build", "group:build"),
        ("everyone", "everyone"),
        ("signed-in", "signed-in"),
    ],
)
def test_subjects_as_people_write_them(text: str, subject: str) -> None:
    assert subject_of(text) == subject


@pytest.mark.parametrize("text", ["", "role:x", "group:", "user:everyone", "user:a:b"])
def test_what_is_no_subject(text: str) -> None:
    with pytest.raises(RequestInvalid):
        subject_of(text)


@pytest.mark.parametrize(("text", "glob"), [("Foo_Bar.*", "foo-bar-*"), ("*", "*"), ("a__b", "a-b")])
def test_globs_are_normalised_as_names_are(text: str, glob: str) -> None:
    assert name_glob(text) == glob


@pytest.mark.parametrize("text", ["", "[a-z]", "a b", "../x", "x" * 201, "-a"])
def test_what_is_no_glob(text: str) -> None:
    with pytest.raises(RequestInvalid, match="no glob"):
        name_glob(text)

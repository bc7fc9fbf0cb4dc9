"""``koschey project reserve``, ``claim``, ``merge`` and their opposites at the command line."""

from __future__ import annotations

import json

from tests.cli.conftest import CommandLine


def test_names_are_reserved_claimed_and_merged_and_that_is_taken_back(koschey: CommandLine) -> None:
    dry = koschey.does("project", "reserve", "Acme-*", "--reason", "ours", "--dry-run")
    assert dry == "would reserve acme-*\n"
    assert koschey.listed("project", "rules") == []

    assert koschey.does("project", "reserve", "Acme-*", "--reason", "ours") == "reserved acme-*\n"
    said = json.loads(
        koschey.does("project", "claim", "My_Tool", "--index", "main", "--reason", "ours", "--json")
    )
    assert said == {
        "action": "claim",
        "pattern": "my-tool",
        "index": "main",
        "done": True,
        "changes": 0,
        "effects": [],
        "notes": [],
    }
    koschey.does("project", "merge", "numpy", "--reason", "patched")
    rules = koschey.listed("project", "rules")
    assert [(rule["rule"], rule["pattern"], rule["index"], rule["reason"]) for rule in rules] == [
        ("reserve", "acme-*", None, "ours"),
        ("claim", "my-tool", "main", "ours"),
        ("merge", "numpy", None, "patched"),
    ]
    assert "is reserved by acme-*" in koschey.refuses("project", "merge", "acme-x", "--reason", "x")
    assert "my-tool in index main" in koschey.refuses("project", "unclaim", "my-tool", "--reason", "x")
    assert "would reserve every name" in koschey.refuses("project", "reserve", "*", "--reason", "x")
    koschey.does("project", "unreserve", "acme-*", "--reason", "x")
    koschey.does("project", "unclaim", "my-tool", "--index", "main", "--reason", "x")
    koschey.does("project", "unmerge", "numpy", "--reason", "x")
    assert koschey.listed("project", "rules") == []
    assert koschey.does("project", "rules") == "nothing is reserved, claimed or merged\n"


def test_the_life_of_a_project_has_commands(koschey: CommandLine) -> None:
    assert koschey.does("project", "list") == "nothing was uploaded yet\n"
    for command in ("yank", "unyank", "restore", "delete"):
        said = koschey.refuses("project", command, "tool==1.0", "--reason", "x")
        assert said == "no project of the company's own 'tool' here"
    assert koschey.refuses("project", "show", "tool") == "no project 'tool' here"
    refused = koschey.refuses("project", "status", "tool", "archived", "--reason", "x")
    assert "no project of the company's own" in refused

"""Numbers as people read them."""

from __future__ import annotations

import pytest
from flask import Flask

from koschey.services.metrics import COUNTED
from koschey.web.filters import at_least, sentence


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (COUNTED - 1, "9,999"), (COUNTED, "10,000+"), (25_000, "25,000+")]
)
def test_where_counting_stopped_a_number_says_so(number: int, shown: str) -> None:
    assert at_least(number) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("say which version", "Say which version"),
        ("days: a whole number", "Days: a whole number"),
        ("six 1.0 is rejected", "six 1.0 is rejected"),
        ("acme is nobody's", "acme is nobody's"),
        ("team has no such source", "team has no such source"),
        ("six-one is rejected", "six-one is rejected"),
        ("'x' is no name", "'x' is no name"),
        ("hold_days: a number", "hold_days: a number"),
        ("", ""),
    ],
)
def test_an_error_begins_as_a_sentence_does_and_a_name_as_it_is_spelled(said: str, shown: str) -> None:
    app = Flask("any")
    with app.test_request_context("/?case=six==1.0@9", method="POST", data={"name": " acme "}) as context:
        context.request.view_args = {"index": "team"}
        assert context.request.form
        assert sentence(said) == shown


def test_a_form_that_nobody_has_read_is_not_read_for_a_sentence() -> None:
    with Flask("any").test_request_context("/", method="POST", data={"name": "acme"}) as context:
        assert sentence("too large") == "Too large"
        assert "form" not in vars(context.request)

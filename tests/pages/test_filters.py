"""Numbers as people read them."""

from __future__ import annotations

import pytest

from koschey.services.metrics import COUNTED
from koschey.web.filters import at_least


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (COUNTED - 1, "9,999"), (COUNTED, "10,000+"), (25_000, "25,000+")]
)
def test_where_counting_stopped_a_number_says_so(number: int, shown: str) -> None:
    assert at_least(number) == shown

"""What counts as a form: a small body that is received before the application is asked.

A file that is uploaded is none. It comes as multipart, and the application sees first who sends it.
"""

from __future__ import annotations

from typing import Final

FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "application/json"})
FORM_BYTES: Final = 128 * 1024

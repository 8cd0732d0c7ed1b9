"""The one exception a user is meant to read.

`InputError` says what was given, what would be valid and what to do next, in one line. The command line prints its text
and exits with code 2; from Python it is a `ValueError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class InputError(ValueError):
    """Something the user gave cannot be used.

    Args:
        message: one line.
        detail: lines to show below it as they stand, such as a tree of modules.
    """

    def __init__(self, message: str = "", *, detail: str = "") -> None:
        super().__init__(f"{message}\n{detail}" if detail else message)
        self.detail = detail


def faults(error: ValidationError) -> str:
    """All that pydantic found wrong, in one line: field, reason, and the value given."""
    found = []
    for fault in error.errors():
        given = "" if fault["type"] == "missing" else f", given {fault['input']!r:.60}"
        found.append(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}{given}")
    return "; ".join(found)

"""The one exception a user is meant to read.

`InputError` says what was given, what would be valid and what to do next, in one line. The command line prints its text
and exits with code 2; from Python it is a `ValueError`.
"""


class InputError(ValueError):
    """Something the user gave cannot be used."""

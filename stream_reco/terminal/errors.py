"""The errors that end a command with a message for its user and no traceback."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - a failure of the command, not an error of the program
    """Ends the command; the message says what to do. `status` is the exit status: 1, or 2 for wrong usage."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Misuse(Failure):
    """Wrong usage: options, arguments or settings that are invalid or contradict each other."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=2)

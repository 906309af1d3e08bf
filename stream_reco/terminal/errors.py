"""Why a command could not do what it was asked."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - it is one, not an error of the program
    """Ends the command; its text is for people and says what to do. `status` is the exit status: 1, or 2 for usage."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Misuse(Failure):
    """The command was called with what makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=2)

"""The list of what is being built beside the files of deploy does not outlive its reason."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from tests.deploy import the_code


@pytest.mark.parametrize("command", sorted(the_code.AWAITED_COMMANDS))
def test_awaited_commands_are_not_there_yet(command: str) -> None:
    arguments = [*command.split(), *(["redis://127.0.0.1:6379/0"] if command.endswith("--redis") else [])]
    with patch.object(the_code, "AWAITED_COMMANDS", set()):
        assert list(the_code.command_problems(arguments)), f"{command!r} is there now: take it off AWAITED_COMMANDS"


@pytest.mark.parametrize("variable", sorted(the_code.AWAITED_VARIABLES))
def test_awaited_variables_are_not_there_yet(variable: str) -> None:
    assert variable not in the_code.variables(), f"{variable} is there now: take it off AWAITED_VARIABLES"

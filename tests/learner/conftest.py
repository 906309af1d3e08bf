"""What all tests of the learner need."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """As the wirings have it: two threads that wait for each other on a busy machine take a hundred times as long."""
    torch.set_num_threads(1)

"""The release of a broker, from what it can do."""

from __future__ import annotations

import pytest

from topologies.client.broker_release import release_of


@pytest.mark.parametrize(("newest", "release"), [(20, "4.1"), (13, "4.1"), (11, "3.8"), (8, "2.4"), (7, None)])
def test_the_newest_request_tells(newest: int, release: str | None) -> None:
    assert release_of({0: (3, newest), 1: (4, 18)}) == release


def test_what_says_nothing_is_too_old() -> None:
    assert release_of({}) is None

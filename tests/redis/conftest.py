"""What the tests of this room share with those of publications."""

from tests.sync.conftest import toy

__all__ = ["toy"]

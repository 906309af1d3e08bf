"""Which kind of action has which head: the first ones seen, in that order."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stream_reco.model.heads import MOST_KINDS

_LOGGER = logging.getLogger(__name__)
_MOST_NAMED = 1_000
"""Kinds without a head that are named in the log; a field of free text would fill it."""
NO_SLOT = -1


class KindSlots:
    """Numbers kinds of actions from 0; those beyond `MOST_KINDS` have no number, and are named once in the log."""

    def __init__(self, kinds: Sequence[str] = ()) -> None:
        self.kinds = list(kinds)
        self._named: set[str] = set()

    def slot_of(self, kind: str) -> int:
        """The number of a kind, a new one where it is seen first; `NO_SLOT` where none is left."""
        if kind in self.kinds:
            return self.kinds.index(kind)
        if len(self.kinds) < MOST_KINDS:
            self.kinds.append(kind)
            return len(self.kinds) - 1
        if kind not in self._named and len(self._named) < _MOST_NAMED:
            self._named.add(kind)
            _LOGGER.warning(
                "there is no head for actions of the kind %r: %d kinds have one, the first that came (%s), and answers"
                ' say nothing of others; set labels.kinds.NAME.sign to "ignored" for kinds that say nothing',
                kind,
                MOST_KINDS,
                ", ".join(self.kinds),
            )
        return NO_SLOT

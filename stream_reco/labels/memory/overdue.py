"""Impressions in a store that came too late for the timeline."""

from __future__ import annotations

from stream_reco.labels.label.pending import PendingImpression


class Overdue:
    """Each with the number of its entries in the calendar of what is unsettled."""

    def __init__(self) -> None:
        self._owed: dict[int, tuple[PendingImpression, int]] = {}

    def owe(self, shown: PendingImpression) -> None:
        """One more entry is still to fall due."""
        self._owed[shown.seq] = (shown, self._owed.get(shown.seq, (shown, 0))[1] + 1)

    def paid(self, seq: int) -> PendingImpression | None:
        """One entry has fallen due; the impression, if there are more."""
        shown, owed = self._owed.pop(seq)
        if owed == 1:
            return None
        self._owed[seq] = (shown, owed - 1)
        return shown

    def get(self, seq: int) -> PendingImpression | None:
        """The impression, if it is one of these."""
        owed = self._owed.get(seq)
        return None if owed is None else owed[0]

    def __contains__(self, seq: int) -> bool:
        return seq in self._owed

"""A channel over a folder: one process publishes files, the other processes of the same machine map them."""

from __future__ import annotations

import logging
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from stream_reco import metrics
from stream_reco.sync.channel import ChannelRefused, ChannelUnreachable, Delivery
from stream_reco.sync.publication import BadPublication, Publication
from stream_reco.sync.wire import decode_mapped, pieces_of

_LOGGER = logging.getLogger(__name__)
_PUBLICATION = re.compile(r"(\d{20})-(\d{20})\.(snapshot|delta)", re.ASCII)
"""Epoch and version, each as wide as any 64-bit number, so that the order of names is the order of publications."""
_UNFINISHED = ".unfinished"
_WANTED = "snapshot-wanted"
_PUBLICATIONS = 64
_NBYTES = 1 << 30
_SNAPSHOT_DELTAS = 8
"""A snapshot goes once more deltas than this follow it: as large as the catalogue, it is kept only until each reader
that waited for it has had several polls to map it. Whoever comes later asks for one of its own."""


class _Kept(NamedTuple):
    """A publication's file."""

    name: str
    nbytes: int


class FolderChannel:
    """A Channel over a folder of a local file system, for one publishing process and any number of readers.

    Each process makes an object of its own; at most one of them may `send`. A publication is written under another
    name and renamed, so that readers see it whole or not at all. Nothing is synced: no file need survive a power cut,
    since all of them can be published again. Arrays that were read look into the mapped file, whose memory all readers
    share, and stay when it is deleted; nobody may change a file in its place.

    Kept are the newest publications within the bounds, nothing before the newest snapshot, and that one until more
    than eight deltas follow it; the newest always stays. A slow reader sees a gap. While a snapshot is written the one
    before it is still there: the file system needs room for two.
    """

    def __init__(self, folder: Path, *, publications: int = _PUBLICATIONS, nbytes: int = _NBYTES) -> None:
        """publications: most that are kept. nbytes: most bytes of deltas; a snapshot is as large as it must be.

        Touches nothing on disk.
        """
        for name, value in (("publications", publications), ("nbytes", nbytes)):
            if value < 1:
                raise ValueError(f"channel bound {name} is {value}: must be at least 1")
        self._folder = folder
        self._publications = publications
        self._nbytes = nbytes
        self._sent = ""

    @classmethod
    def cleared(cls, folder: Path, *, publications: int = _PUBLICATIONS, nbytes: int = _NBYTES) -> Self:
        """The publisher's channel: makes the folder, deletes what a process before it left. Raises OSError.

        A request for a snapshot stays: the publisher's first publication, a snapshot, fulfils it.
        """
        channel = cls(folder, publications=publications, nbytes=nbytes)
        folder.mkdir(parents=True, exist_ok=True)
        left = [name for name in _listed(folder) if _PUBLICATION.fullmatch(name.removesuffix(_UNFINISHED))]
        for name in sorted(left):
            (folder / name).unlink()
        if left:
            unfinished = sum(name.endswith(_UNFINISHED) for name in left)
            _LOGGER.info(
                "deleted %d publications, %d of them unfinished, that an earlier process left in %s",
                len(left),
                unfinished,
                folder,
            )
        return channel

    def send(self, publication: Publication) -> None:
        """Write the whole publication, or raise ChannelRefused; makes the folder where it is missing.

        Refused is also what is not above the newest in the folder or the newest that this object sent.
        """
        name = _name_of(publication)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            newest = max([self._sent, *_names(self._folder)])
            if newest and _number(newest) >= _number(name):
                raise ChannelRefused(
                    f"{_described(publication)} is not above {newest}, which is in {self._folder}: a trainer of a later"
                    " epoch has taken over. Let only one process publish there"
                )
            self._write(publication, name)
        except TypeError as error:
            raise ChannelRefused(f"{_described(publication)} was not sent: {error}") from error
        except OSError as error:
            raise ChannelRefused(
                f"{_described(publication)} ({publication.nbytes} bytes) was not written to {self._folder}:"
                f" {error.strerror or error}. Free room on that file system (it must hold two snapshots) and let the"
                " publisher write there; it tries again"
            ) from error
        self._sent = name
        self._trim()

    def _write(self, publication: Publication, name: str) -> None:
        unfinished = self._folder / (name + _UNFINISHED)
        try:
            with unfinished.open("wb") as file:
                for piece in pieces_of(publication):
                    file.write(piece)
            self._show(unfinished, name, snapshot=publication.snapshot)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise

    def _show(self, unfinished: Path, name: str, *, snapshot: bool) -> None:
        # The request is taken back first: one that comes between the two steps causes a snapshot too many; the other
        # way round it would be lost.
        answers = snapshot and self._take_back_request()
        try:
            unfinished.rename(self._folder / name)
        except BaseException:
            if answers:
                with suppress(ChannelUnreachable):
                    self.ask_for_snapshot()
            raise

    def _take_back_request(self) -> bool:
        try:
            (self._folder / _WANTED).unlink()
        except FileNotFoundError:
            return False
        return True

    def _trim(self) -> None:
        """Delete what is beyond the bounds, oldest first. What cannot be deleted is tried again at the next send."""
        try:
            kept = self._files()
            first = self._first_kept(kept)
            gone = kept[:first]
            kept = kept[first:]
            if kept and _is_snapshot(kept[0].name) and len(kept) > 1 + _SNAPSHOT_DELTAS:
                gone.append(kept.pop(0))
            for file in gone:
                (self._folder / file.name).unlink(missing_ok=True)
        except OSError as error:
            _LOGGER.warning("old publications in %s cannot be deleted: %s", self._folder, error)
            return
        metrics.CHANNEL_PUBLICATIONS.set(len(kept))
        metrics.CHANNEL_BYTES.set(sum(file.nbytes for file in kept))

    def _first_kept(self, files: list[_Kept]) -> int:
        first, nbytes = len(files) - 1, 0
        while first > 0 and not _is_snapshot(files[first].name) and len(files) - first < self._publications:
            nbytes += files[first].nbytes
            before = files[first - 1]
            if not _is_snapshot(before.name) and nbytes + before.nbytes > self._nbytes:
                break
            first -= 1
        return max(first, 0)

    def _files(self) -> list[_Kept]:
        with os.scandir(self._folder) as entries:
            return sorted(
                _Kept(entry.name, entry.stat().st_size) for entry in entries if _PUBLICATION.fullmatch(entry.name)
            )

    def read(self, after: str, limit: int) -> list[Delivery]:
        """At most `limit` entries after the cursor `after`; raises ChannelUnreachable where nothing could be read.

        It lists the folder each time. Its time of change would not do: two changes within one tick of the kernel's
        clock (milliseconds) have the same, and the second would be missed.
        """
        found: list[Delivery] = []
        try:
            for name in sorted(name for name in _names(self._folder) if name > after):
                if len(found) == limit:
                    break
                with suppress(FileNotFoundError):  # deleted since it was listed: a gap
                    found.append(Delivery(name, self._publication(name)))
        except OSError as error:
            if not found:
                raise ChannelUnreachable(f"publications in {self._folder} cannot be read: {error}") from error
        return found

    def _publication(self, name: str) -> Publication | BadPublication:
        with (self._folder / name).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return BadPublication("format", f"{name} in {self._folder} is empty")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        try:
            publication = decode_mapped(mapped)
            if _name_of(publication) != name:
                raise BadPublication("format", f"{name} holds {_described(publication)}")
        except BadPublication as error:
            _LOGGER.warning("publication %s in %s cannot be used: %s", name, self._folder, error)
            return error
        return publication

    def ask_for_snapshot(self) -> None:
        """Make `snapshot_wanted` true until the next snapshot is sent. Raises ChannelUnreachable."""
        try:
            (self._folder / _WANTED).touch()
        except OSError as error:
            raise ChannelUnreachable(f"no snapshot could be asked for in {self._folder}: {error}") from error

    def snapshot_wanted(self) -> bool:
        """Whether some reader has asked since the last snapshot, or what this object sent last was deleted."""
        return self._has(_WANTED) or (bool(self._sent) and not self._has(self._sent))

    def _has(self, name: str) -> bool:
        try:
            (self._folder / name).stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ChannelUnreachable(f"whether a snapshot is wanted in {self._folder} is unknown: {error}") from error
        return True


def _listed(folder: Path) -> list[str]:
    # Plain names: a Path of each would cost more than the listing.
    return os.listdir(folder)  # noqa: PTH208


def _names(folder: Path) -> Iterator[str]:
    return (name for name in _listed(folder) if _PUBLICATION.fullmatch(name))


def _name_of(publication: Publication) -> str:
    kind = "snapshot" if publication.snapshot else "delta"
    return f"{publication.epoch:020d}-{publication.version:020d}.{kind}"


def _number(name: str) -> str:
    return name.partition(".")[0]


def _is_snapshot(name: str) -> bool:
    return name.endswith(".snapshot")


def _described(publication: Publication) -> str:
    kind = "snapshot" if publication.snapshot else "delta"
    return f"{kind} {publication.version} of epoch {publication.epoch} of model {publication.model!r}"

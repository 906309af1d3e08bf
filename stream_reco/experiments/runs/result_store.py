"""Finished replays in a folder, so that hours of work resume where they stopped."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stream_reco.experiments.runs.plan import LOG, Run, Size, command_of, config_name, config_text
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.json_file import write_json
from stream_reco.terminal.machine import machine

SHOWN_LOG = f"$STREAM_RECO_DATA/{LOG}"


@dataclass(frozen=True)
class Result:
    """One finished replay: its command, the machine, how many ran in parallel, its report."""

    command: str
    machine: Mapping[str, str]
    jobs: int
    report: Mapping[str, Any]

    def published(self, names: Iterable[str]) -> dict[str, object]:
        """How it was run, and those of the named figures that its report has, for the file beside a page."""
        kept = {name: self.report[name] for name in names if name in self.report}
        return {"command": self.command, "machine": dict(self.machine), "jobs": self.jobs, **kept}


class RunStore(ABC):
    """Results by their inputs: the command, the settings and a digest of what the runs read."""

    def __init__(self, folder: Path, size: Size, digest: str) -> None:
        """Raises `Failure` where the folder cannot be created."""
        self.folder, self.size, self._digest = folder, size, digest
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}; check --work") from error

    @abstractmethod
    def command_line(self, run: Run, *, shown: bool) -> list[str]:
        """The arguments of `stream-reco` for a run, as they are `shown` on pages or as they are run."""

    def command(self, run: Run) -> str:
        """The command of a run, as it is shown on pages."""
        return " ".join(["stream-reco", *self.command_line(run, shown=True)])

    def file(self, run: Run, ending: str) -> Path:
        """The file of a run with this ending."""
        inputs = json.dumps([self.command(run), config_text(run), self._digest])
        return self.folder / f"{run.slug}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}.{ending}"

    def arguments(self, run: Run) -> list[str]:
        """The arguments of `stream-reco` for a run in this folder; writes its settings file."""
        if config_text(run):
            (self.folder / config_name(run)).write_text(config_text(run))
        return [*self.command_line(run, shown=False), "--json", self.part(run).name]

    def part(self, run: Run) -> Path:
        """Where a running replay writes its report; by process, so that two `reproduce` may share the folder."""
        return self.file(run, f"{os.getpid()}.part")

    def find(self, run: Run) -> Result | None:
        """The result of an earlier time; None if there is none or it cannot be read."""
        try:
            return Result(**json.loads(self.file(run, "json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def finished(self, run: Run) -> Result:
        """The result of a run that is known to be finished. Raises `Failure` if it can no longer be read."""
        result = self.find(run)
        if result is None:
            raise Failure(f"{self.file(run, 'json')} is missing or damaged; the same command runs that replay again")
        return result

    def keep(self, run: Run, jobs: int) -> Result:
        """Store the report that a run has just written, atomically. Raises `Failure` where nothing was evaluated."""
        part = self.part(run)
        result = Result(self.command(run), machine(), jobs, json.loads(part.read_bytes()))
        if not result.report["evaluated"]:
            events = result.report["events"]
            raise Failure(
                f"nothing was evaluated: the log has {events:,} events, and none of them is left after the warm-up;"
                " give a larger --limit or a smaller --warm-up"
            )
        write_json(part, asdict(result))
        part.replace(self.file(run, "json"))
        return result


class ResultStore(RunStore):
    """Results of runs that read one log, by its bytes."""

    def __init__(
        self, folder: Path, log: Path, size: Size, log_format: str = "globo", shown_log: str = SHOWN_LOG
    ) -> None:
        """Raises `Failure` where the log cannot be read or the folder not be created.

        `shown_log` is the log as it is named in commands on pages.
        """
        self.log, self._format, self._shown_log = log, log_format, shown_log
        try:
            with log.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}; check --data and --work") from error
        super().__init__(folder, size, digest)

    def command_line(self, run: Run, *, shown: bool) -> list[str]:
        """The command on the log, which pages show by another name."""
        return command_of(run, self._shown_log if shown else str(self.log.absolute()), self.size, self._format)

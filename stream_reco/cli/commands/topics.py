"""`stream-reco topics`: create and validate the topics of Kafka."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stream_reco.terminal.errors import Failure
from stream_reco.terminal.kafka import TIMEOUT_SECONDS, run, settings_with_kafka
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.printing import say


class TopicsAction(StrEnum):
    """What to do with the topics."""

    create = "create"
    check = "check"


def topics(
    action: Annotated[
        TopicsAction, typer.Argument(help="create: create missing topics, then validate; check: only validate.")
    ],
    config: ConfigOption = None,
) -> None:
    """Create missing Kafka topics and validate existing ones."""
    settings = settings_with_kafka(config)
    from topologies.topics.report import topic_report

    report = run(topic_report(settings, TIMEOUT_SECONDS, create=action is TopicsAction.create))
    for created in report.created:
        say(f"created {created}")
    for warning in report.warnings:
        say(f"warning: {warning}")
    if report.problems:
        count = "1 problem" if len(report.problems) == 1 else f"{len(report.problems)} problems"
        raise Failure("\n  ".join([count, *report.problems]))
    if not report.created:
        say("all topics exist" + ("" if report.warnings else ", as declared"))

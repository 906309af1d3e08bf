"""`stream-reco work`: one worker process of the loop over Kafka."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Annotated

import typer

from stream_reco.terminal.errors import Failure
from stream_reco.terminal.kafka import settings_with_kafka
from stream_reco.terminal.log_options import ConfigOption
from stream_reco.terminal.logs import log_to_stderr


class Name(StrEnum):
    """The kinds of workers."""

    labelling = "labelling"
    interests = "interests"
    training = "training"


def work(
    name: Annotated[
        Name,
        typer.Argument(
            help="labelling: events become examples; interests: users' copies in Redis; training: examples become"
            " publications in Redis, one leads and others stand by."
        ),
    ],
    config: ConfigOption = None,
    sync_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between model publications (training only).")
    ] = 60.0,
) -> None:
    """Run a Kafka worker until Ctrl-C; workers of one kind share the partitions."""
    settings = settings_with_kafka(config)
    log_to_stderr()
    for logger, level in (("aiokafka", logging.CRITICAL), ("faust", logging.WARNING), ("mode", logging.WARNING)):
        logging.getLogger(logger).setLevel(level)
    from topologies.partitions.state_folder import StateFolderError
    from topologies.run_partition_worker import run
    from topologies.topics.validation import TopicsError

    try:
        if name is Name.training:
            from topologies.run_trainer import run as train

            train(settings, sync_interval)
        else:
            run(name.value, settings)
    except (StateFolderError, TopicsError, ValueError) as error:
        raise Failure(str(error)) from error

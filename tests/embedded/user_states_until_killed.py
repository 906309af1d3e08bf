"""Run by test_user_states.py: an engine writes users' states as it learns, and kills itself.

Arguments: a folder, the first event of the stream and how many.
"""

import os
import signal
import sys
from pathlib import Path

from stream_reco.clock import ManualClock
from stream_reco.embedded import Engine
from stream_reco.embedded.user_states import UserStates
from stream_reco.signals.settings import DAY_MS
from stream_reco.storage.shared_users import SharedUsers
from tests.embedded.streams_of_users import SETTINGS, START, stream

folder, begin, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
engine = Engine(folder / "data", SETTINGS, clock=ManualClock(START + 90 * DAY_MS))
states = UserStates(engine.learner, SharedUsers(folder / "shared", writes=True))
states.write_all()
events = list(stream(3, 500))[begin : begin + count]
for at in range(0, len(events), 7):
    engine.ingest(events[at : at + 7])
    if at == 140:
        engine.checkpoint()
    while states.flush():
        pass
os.kill(os.getpid(), signal.SIGKILL)

"""The trainer does without what only scorers need."""

from __future__ import annotations

import subprocess
import sys

LIST = "import sys, topologies.run_trainer; print(*sys.modules)"
ONLY_SCORERS = {"hnswlib", "stream_reco.retrieve.vector_index", "stream_reco.serve.slate.scorer", "uvicorn"}


def test_the_trainer_imports_no_vector_index_and_no_web_server() -> None:
    printed = subprocess.run([sys.executable, "-c", LIST], check=True, capture_output=True, text=True).stdout.split()
    assert "topologies.trainer.leader" in printed
    assert not ONLY_SCORERS & set(printed)

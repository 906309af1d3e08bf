"""A scorer is warmed up, and makes slates, without anything that learns."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from stream_reco.model.registry import SERVED

_SCORES = """
import builtins, json, sys
importers, real = set(), builtins.__import__
def watched(name, globals=None, *rest, **more):
    if name.partition(".")[0] == "torch":
        importers.add((globals or {}).get("__name__", ""))
    return real(name, globals, *rest, **more)
builtins.__import__ = watched
import stream_reco.cli.server.replica
from stream_reco.cli.server.warm_up_content import warm_up_content
from stream_reco.model.settings import ModelSettings
from stream_reco.cli.server import warm_up
from stream_reco.serve.slate import scorer
from stream_reco.signals.settings import SignalSettings
sizes, made = [], scorer.Scorer.recommend_many
def recommend_many(*given):
    slates = made(*given)
    sizes.extend(len(slate.items) for slate in slates)
    return slates
scorer.Scorer.recommend_many = recommend_many
warm_up.warm_up(ModelSettings(sys.argv[1]), SignalSettings(), "float32")
warm_up_content()
ours = sorted(name for name in importers if name.partition(".")[0] in ("stream_reco", "topologies"))
print(json.dumps([sizes, ours, "torch" in sys.modules]))
"""


@pytest.mark.parametrize("name", list(SERVED))
def test_a_process_that_only_scores_imports_no_torch(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", _SCORES, name], check=True, capture_output=True, text=True)
    sizes, importers, loaded = json.loads(done.stdout)
    assert sizes == [10, 10, 5, 5], "slates were made"
    assert not importers
    assert not loaded

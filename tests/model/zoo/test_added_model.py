"""The model that docs/architecture.md adds: the page's own code, registered by the page's own line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_reco.config import load
from stream_reco.embedded import Engine
from stream_reco.events import Action
from stream_reco.model import registry
from tests.cli.test_commands import stream_reco
from tests.pages import page

START = 1_700_000_000_000


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Registers the page's model from a folder of its own; returns its name."""
    architecture = page("docs/architecture.md")
    (code,) = [block.text for block in architecture.blocks if block.language == "python"]
    found = re.search(r'`"(\w+)": "stream_reco\.model\.zoo\.(\w+):(\w+)"`', architecture.text)
    assert found is not None
    (tmp_path / f"{found[2]}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.MODELS, found[1], f"{found[2]}:{found[3]}")
    sys.modules.pop(found[2], None)
    return found[1]


def test_it_is_chosen_by_name_and_learns_what_is_popular(added: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(f'[model]\nname = "{added}"\n\n[model.{added}]\nscale = 2.0\n')
    settings = load(file).settings
    assert settings.model.settings.scale == 2.0
    rng = np.random.default_rng(0)
    with Engine(tmp_path / "data", settings) as engine:
        for number in range(1_500):
            item = int(min(rng.geometric(0.3), 12))
            engine.ingest([Action(user_id=number, item_id=item, action="click", timestamp=START + 1000 * number)])
        engine.sync()
        slate = engine.recommend("somebody", 12)
        assert [one.item_id for one in slate.items[:3]] == [1, 2, 3]
        assert engine.similar(1) == []
        engine.checkpoint()
    with Engine(tmp_path / "data", settings) as engine:
        assert [one.item_id for one in engine.recommend("somebody", 12).items[:3]] == [1, 2, 3]


def test_a_model_that_nobody_registered_is_named() -> None:
    code, _, complaint = stream_reco("replay", "nowhere.csv", "--format", "globo", "--model", "two_tower")
    assert code == 2
    assert "there is no model 'two_tower': did you mean 'two_tower_dcn'?" in complaint

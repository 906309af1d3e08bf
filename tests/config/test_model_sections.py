"""`[model] name` and the sections of the models; and settings under the names that they had before."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stream_reco.config import ConfigError, describe, load
from stream_reco.model.zoo.settings import BprSettings, TwoTowerDcnSettings


def written(folder: Path, text: str) -> Path:
    (folder / "shop.toml").write_text(text)
    return folder / "shop.toml"


def test_a_file_chooses_a_model_and_sets_it(tmp_path: Path) -> None:
    loaded = load(
        written(tmp_path, '[model]\nname = "bpr"\n[model.bpr]\ndim = 12\n[model.two_tower_dcn]\nhidden = 7\n')
    )
    assert loaded.settings.model.name == "bpr"
    assert loaded.settings.model.settings == BprSettings(dim=12)
    lines = {line.key: line for line in describe(loaded)}
    assert (lines["model.bpr.dim"].value, lines["model.bpr.dim"].origin.kind) == ("12", "file")
    assert lines["model.bpr.regularisation"].origin.kind == "default"
    assert lines["model.bpr.dim"].variable == "STREAM_RECO_MODEL_BPR_DIM"
    assert "model.two_tower_dcn.hidden" not in lines


def test_variables_go_before_the_file_and_flags_before_them(tmp_path: Path) -> None:
    file = written(tmp_path, "[model.bpr]\ndim = 12\nregularisation = 0.1\n")
    environ = {"STREAM_RECO_MODEL_NAME": "bpr", "STREAM_RECO_MODEL_BPR_DIM": "20"}
    assert load(file, environ).settings.model.settings == BprSettings(20, 0.1)
    assert load(file, environ, {"model.bpr.dim": 30}).settings.model.settings == BprSettings(30, 0.1)


def test_without_a_word_it_is_the_default_with_its_defaults() -> None:
    model = load().settings.model
    assert (model.name, model.settings, model.resolved) == ("two_tower_dcn", None, TwoTowerDcnSettings())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[model]\nname = "bpm"\n', "no model 'bpm': did you mean 'bpr'?"),
        ("[model.bpr]\ndims = 3\n", "no setting model.bpr.dims (file"),
        ("[model.bpr]\ndims = 3\n", "did you mean model.bpr.dim?"),
        ("[model.bpr]\ndim = 0\n", "dim is 0: vectors have at least one number"),
        ('[model.bpr]\ndim = "many"\n', "model.bpr.dim = 'many'"),
        ("[model.bpm]\ndim = 3\n", "no setting model.bpm"),
        ("[model.bpm]\ndim = 3\n", "did you mean model.bpr?"),
        ("[model.xyzzy]\ndim = 3\n", "choose from model.name, model.two_tower_dcn, model.glmix, model.bpr"),
        ("[model]\nbpr = 5\n", "model.bpr is 5 (file"),
        ("[model]\nbpr = 5\n", "write [model.bpr] and settings below it"),
    ],
)
def test_problems_are_named(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    assert problem in str(refused.value)


def test_what_settings_were_called_before_still_works_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path, "[model]\nitem_dim = 16\nwithout = ['age']\n[training]\nodds_weight = 0.5\n")
    with caplog.at_level(logging.WARNING):
        settings = load(file, {"STREAM_RECO_MODEL_TOWER_DIM": "8"}).settings.model.settings
    assert settings == TwoTowerDcnSettings(item_dim=16, tower_dim=8, without=("age",), odds_weight=0.5)
    assert len(caplog.messages) == 4
    assert "model.item_dim" in caplog.messages[0]
    assert "is called model.two_tower_dcn.item_dim now" in caplog.messages[0]


@pytest.mark.parametrize("old_last", [True, False])
def test_the_present_name_of_a_setting_counts_whichever_stands_last(old_last: bool, tmp_path: Path) -> None:
    old, new = "[model]\nhidden = 64\n", "[model.two_tower_dcn]\nhidden = 32\n"
    settings = load(written(tmp_path, new + old if old_last else old + new)).settings.model.settings
    assert settings == TwoTowerDcnSettings(hidden=32)

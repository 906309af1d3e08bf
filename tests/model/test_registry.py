"""Models by name: which there are, what a wrong name is told, whose settings they take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stream_reco.model.registry import MODELS, UnknownModelError, build_model, model_class
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import settings_digest
from stream_reco.model.zoo.settings import BprSettings


@pytest.mark.parametrize("name", MODELS)
def test_a_name_leads_to_the_model_of_that_name(name: str) -> None:
    model = build_model(name)
    assert (model.name, type(model)) == (name, model_class(name))
    assert {field.table for field in model.fields} == {table.name for table in model.tables}
    assert len({field.name for field in model.fields}) == len(model.fields)


def test_an_unknown_name_is_told_the_nearest_and_all() -> None:
    with pytest.raises(
        UnknownModelError, match=r"no model 'bpm': did you mean 'bpr'\? the models are bpr, glmix, two_"
    ):
        ModelSettings("bpm")
    with pytest.raises(UnknownModelError, match=r"no model 'xyzzy': the models are"):
        model_class("xyzzy")


def test_settings_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="'glmix' takes GlmixSettings, not BprSettings"):
        ModelSettings("glmix", BprSettings()).build()


def test_no_model_is_imported_before_it_is_used() -> None:
    code = "import sys; from stream_reco.config import load; load(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_digest_is_of_name_and_sizes() -> None:
    digests = {
        settings_digest(build_model(name, settings))
        for name, settings in (("bpr", None), ("bpr", BprSettings(dim=8)), ("glmix", None), ("two_tower_dcn", None))
    }
    assert len(digests) == 4
    assert settings_digest(build_model("bpr", BprSettings(regularisation=0.5))) in digests

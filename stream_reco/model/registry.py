"""The models by name. To add one, write a file in `zoo/` and a line here; a second file and line say how it serves."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_reco.model.served import ServedModel
    from stream_reco.model.spec import Model

DEFAULT = "two_tower_dcn"
MODELS = {
    "two_tower_dcn": "stream_reco.model.zoo.two_tower_dcn:TwoTowerDcn",
    "glmix": "stream_reco.model.zoo.glmix:Glmix",
    "bpr": "stream_reco.model.zoo.bpr:Bpr",
}
"""Name → `module:class`. Models bring PyTorch, so a module is imported only where its model is used."""
SERVED = {
    "two_tower_dcn": "stream_reco.model.zoo.two_tower_dcn_served:TwoTowerDcnServed",
    "glmix": "stream_reco.model.zoo.glmix_served:GlmixServed",
    "bpr": "stream_reco.model.zoo.bpr_served:BprServed",
}
"""Name → `module:class` of its serving form, which brings none. A model without one serves by its PyTorch module."""
FORMER_NAMES = {DEFAULT: frozenset({"stream-reco"})}
"""What publications of a model were called in releases that had only one."""


class UnknownModelError(ValueError):
    """There is no model of this name."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"there is no model {name!r}: {hint}the models are {', '.join(sorted(MODELS))}")


def model_class(name: str) -> type[Any]:
    """The class of a model. Raises UnknownModelError."""
    if name not in MODELS:
        raise UnknownModelError(name)
    return _named(MODELS[name])


def settings_class(name: str) -> type[Any]:
    """The type of a model's settings; PyTorch is imported only where the model has no serving form.

    Raises UnknownModelError.
    """
    found: type[Any] = (_named(SERVED[name]) if name in SERVED else model_class(name)).Settings
    return found


def build_model(name: str, settings: object | None = None) -> Model:
    """A model with these settings, its defaults where there are none. Raises UnknownModelError.

    Raises ValueError where the settings are another model's.
    """
    cls = model_class(name)
    model: Model = cls(_chosen(name, settings))
    return model


def build_served(name: str, settings: object | None = None) -> ServedModel:
    """The serving form of a model with these settings. Raises what `build_model` raises."""
    if name not in SERVED:
        from stream_reco.model.served_by_torch import served_by_torch

        return served_by_torch(build_model(name, settings))
    model: ServedModel = _named(SERVED[name])(_chosen(name, settings))
    return model


def _named(place: str) -> type[Any]:
    module, _, cls = place.partition(":")
    found: type[Any] = getattr(import_module(module), cls)
    return found


def _chosen(name: str, settings: object | None) -> Any:
    wanted = settings_class(name)
    chosen = wanted() if settings is None else settings
    if not isinstance(chosen, wanted):
        raise ValueError(f"the model {name!r} takes {wanted.__name__}, not {type(chosen).__name__}")
    return chosen

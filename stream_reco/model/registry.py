"""The models by name. To add one, write a file in `zoo/` and a line here."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_reco.model.spec import Model

DEFAULT = "two_tower_dcn"
MODELS = {
    "two_tower_dcn": "stream_reco.model.zoo.two_tower_dcn:TwoTowerDcn",
    "glmix": "stream_reco.model.zoo.glmix:Glmix",
    "bpr": "stream_reco.model.zoo.bpr:Bpr",
}
"""Name → `module:class`. Models bring PyTorch, so a module is imported only where its model is used."""
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
    module, _, cls = MODELS[name].partition(":")
    found: type[Any] = getattr(import_module(module), cls)
    return found


def build_model(name: str, settings: object | None = None) -> Model:
    """A model with these settings, its defaults where there are none. Raises UnknownModelError.

    Raises ValueError where the settings are another model's.
    """
    cls = model_class(name)
    chosen = cls.Settings() if settings is None else settings
    if not isinstance(chosen, cls.Settings):
        raise ValueError(f"the model {name!r} takes {cls.Settings.__name__}, not {type(chosen).__name__}")
    model: Model = cls(chosen)
    return model

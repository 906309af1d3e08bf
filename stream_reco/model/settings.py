"""Settings of the model room: which model, and what that model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.encoder.settings import EncoderSettings
from stream_reco.model.registry import DEFAULT, MODELS, UnknownModelError, build_model, build_served, settings_class

if TYPE_CHECKING:
    from stream_reco.model.served import ServedModel
    from stream_reco.model.spec import Model

BESIDE: Mapping[str, type[Any]] = {"content": ContentSettings, "encoder": EncoderSettings}
"""What stands beside any model: fields of `ModelSettings`, each a section `model.NAME`."""


@dataclass(frozen=True)
class ModelSettings:
    """The model that is trained and served, by its name in the registry."""

    name: str = DEFAULT
    """Which model; `stream-reco models` lists them."""
    settings: Any = None
    """Settings of that model, of its own type (`[model.NAME]`); None: its defaults."""
    content: ContentSettings = field(default_factory=ContentSettings)
    """What is said of users and items, beside any model (`[model.content]`)."""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    """Vectors of items from what is said of them, beside any model (`[model.encoder]`)."""

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise UnknownModelError(self.name)

    def build(self) -> Model:
        """The model, untrained. Raises ValueError where `settings` are another model's."""
        return build_model(self.name, self.settings)

    def build_served(self) -> ServedModel:
        """Its serving form, without weights. Raises ValueError where `settings` are another model's."""
        return build_served(self.name, self.settings)

    @property
    def resolved(self) -> Any:
        """The settings of the model, its defaults where none are given."""
        return settings_class(self.name)() if self.settings is None else self.settings


class ModelSections(Mapping[str, type[Any]]):
    """The settings types of the models by section, `model.NAME`; a model is imported when its type is asked for.

    Those of what stands beside any model are among them.
    """

    def __getitem__(self, section: str) -> type[Any]:
        room, _, name = section.partition(".")
        if room == "model" and name in BESIDE:
            return BESIDE[name]
        if room != "model" or name not in MODELS:
            raise KeyError(section)
        return settings_class(name)

    def __contains__(self, section: object) -> bool:
        return section in set(self)

    def __iter__(self) -> Iterator[str]:
        return (f"model.{name}" for name in (*MODELS, *BESIDE))

    def __len__(self) -> int:
        return len(MODELS) + len(BESIDE)

"""Settings of the model room: which model, and what that model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.registry import DEFAULT, MODELS, UnknownModelError, build_model, model_class

if TYPE_CHECKING:
    from stream_reco.model.spec import Model

CONTENT_SECTION = "model.content"


@dataclass(frozen=True)
class ModelSettings:
    """The model that is trained and served, by its name in the registry."""

    name: str = DEFAULT
    """Which model; `stream-reco models` lists them."""
    settings: Any = None
    """Settings of that model, of its own type (`[model.NAME]`); None: its defaults."""
    content: ContentSettings = field(default_factory=ContentSettings)
    """What is said of users and items, beside any model (`[model.content]`)."""

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise UnknownModelError(self.name)

    def build(self) -> Model:
        """The model, untrained. Raises ValueError where `settings` are another model's."""
        return build_model(self.name, self.settings)

    @property
    def resolved(self) -> Any:
        """The settings of the model, its defaults where none are given."""
        return model_class(self.name).Settings() if self.settings is None else self.settings


class ModelSections(Mapping[str, type[Any]]):
    """The settings types of the models by section, `model.NAME`; a model is imported when its type is asked for.

    `model.content` is one more, of what stands beside any model.
    """

    def __getitem__(self, section: str) -> type[Any]:
        room, _, name = section.partition(".")
        if section == CONTENT_SECTION:
            return ContentSettings
        if room != "model" or name not in MODELS:
            raise KeyError(section)
        settings: type[Any] = model_class(name).Settings
        return settings

    def __contains__(self, section: object) -> bool:
        return section in set(self)

    def __iter__(self) -> Iterator[str]:
        return iter([*(f"model.{name}" for name in MODELS), CONTENT_SECTION])

    def __len__(self) -> int:
        return len(MODELS) + 1

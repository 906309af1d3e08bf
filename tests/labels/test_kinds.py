"""What kinds of actions say, by name and by setting, and how they are set."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stream_reco.config import ConfigError, load
from stream_reco.events import Action
from stream_reco.labels import KindSettings, LabelJoiner, LabelSettings


def action(kind: str, value: float | None = None) -> Action:
    return Action(user_id=1, item_id=2, timestamp=0, action=kind, value=value)


def sign(kind: str, value: float | None = None, **labels: object) -> int:
    settings = LabelSettings(**labels)  # type: ignore[arg-type]
    joiner = LabelJoiner(**settings.of_joiner())
    event = action(kind, value)
    assert joiner.weight(event) == max(0.0, settings.action_kinds.signed_weight(event))
    assert joiner.sign(event) == settings.action_kinds.sign(event)
    return joiner.sign(event)


def test_kinds_known_by_name() -> None:
    positive = "click view play read open like save bookmark share follow cart add_to_cart apply buy purchase"
    for kind in [*positive.split(), "add-to-cart", "Add to cart", "BUY", "teleport"]:
        assert sign(kind) == 1, kind
    for kind in ["dislike", "hide", "skip", "report", "block", "unsubscribe", "return", "Dislike"]:
        assert sign(kind) == -1, kind


@pytest.mark.parametrize(
    ("value", "expected"), [(5, 1), (4, 1), (3.5, 0), (3, 0), (2.5, 0), (2, -1), (0, -1), (None, 0)]
)
def test_ratings(value: float | None, expected: int) -> None:
    assert sign("rating", value) == expected


def test_an_unknown_kind_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    joiner = LabelJoiner(action_weights={"hover": 0.5})
    with caplog.at_level(logging.WARNING):
        for kind in ("teleport", "click", "teleport", "hover", "rating", "skip"):
            assert joiner.sign(action(kind, 3.0)) == (-1 if kind == "skip" else kind != "rating")
    assert [record.getMessage().split("'")[1] for record in caplog.records] == ["teleport"]


def test_what_is_set_of_a_kind_goes_before_its_name_and_the_older_settings() -> None:
    assert sign("skip", kinds={"skip": KindSettings("positive")}) == 1
    assert sign("buy", kinds={"buy": KindSettings("negative")}) == -1
    assert sign("buy", kinds={"buy": KindSettings("ignored", weight=3.0)}) == 0
    assert sign("buy", kinds={"buy": KindSettings(weight=0.0)}) == 0
    kinds = LabelSettings(
        kinds={"buy": KindSettings(weight=3.0)}, action_weights={"buy": 0.0, "skip": 2.0}
    ).action_kinds
    assert kinds.signed_weight(action("buy")) == 3.0
    assert kinds.signed_weight(action("skip")) == -2.0
    assert kinds.weight(action("skip")) == 0.0


def test_older_settings_mean_what_they_meant() -> None:
    assert sign("dislike", action_weights={"dislike": 0.0}) == 0
    for value, expected in ((4.0, 1), (3.9, 0), (2.0, -1), (None, 0)):
        assert sign("rating", value, positive_from={"rating": 4.0}) == expected
    assert sign("rating", 3.0, positive_from={"rating": 3.0}) == 1
    assert sign("rating", 1.0, positive_from={"rating": 1.0}) == 1
    assert (sign("play", 29.0, positive_from={"play": 30.0}), sign("play", 30.0, positive_from={"play": 30.0})) == (
        0,
        1,
    )
    kinds = {"play": KindSettings("positive")}
    assert sign("play", 29.0, positive_from={"play": 30.0}, kinds=kinds) == 0
    watched = LabelSettings(
        value_units={"play": 60.0, "skip": 60.0}, kinds={"play": KindSettings(weight=2.0)}
    ).action_kinds
    assert watched.signed_weight(action("play", 90.0)) == 3.0
    assert watched.signed_weight(action("play", 0.0)) == 0.0
    assert watched.signed_weight(action("play", 1e9)) == 20.0
    assert watched.signed_weight(action("skip", 30.0)) == -0.5


def test_they_are_set_by_file_and_by_environment(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('[labels.kinds.buy]\nweight = 5\nwindow_days = 7\n[labels.kinds.wave]\nsign = "negative"\n')
    loaded = load(path)
    assert loaded.settings.labels.kinds == {"buy": KindSettings(None, 5.0, 7.0), "wave": KindSettings("negative")}
    assert loaded.origins["labels.kinds"].name == str(path)
    environ = {"STREAM_RECO_LABELS_KINDS": "buy.weight=3, hide.sign=ignored"}
    expected = {"buy": KindSettings(weight=3.0), "hide": KindSettings("ignored")}
    assert load(path, environ).settings.labels.kinds == expected
    environ = {"STREAM_RECO_LABELS_KINDS": '{"add to cart": {"weight": 3}}'}
    assert load(None, environ).settings.labels.kinds == {"add to cart": KindSettings(weight=3.0)}
    assert load(None, None, {"labels.kinds": expected}).settings.labels.kinds == expected


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[labels.kinds.buy]\nwieght = 5", r"there is no setting buy.wieght: did you mean buy.weight\?"),
        ("[labels.kinds.buy]\nwindow_days = 15", "the window of 'buy' is 15.0 days, and that of labels 14"),
        ("[labels.kinds.buy]\nwindow_days = 0", "window_days is 0.0: it must be finite and above 0"),
        ("[labels.kinds.buy]\nweight = -1", "weight is -1.0: it must be finite and at least 0"),
        ('[labels.kinds.buy]\nweight = "5"', "buy: Expected `float"),
        ('[labels.kinds.buy]\nsign = "good"', "buy: it must be one of 'positive', 'negative', 'ignored'"),
        ("[labels.kinds]\nbuy = 5", "buy is 5: it is a section; give the settings in it, such as buy.sign"),
        ("[labels]\nkinds = 5", "Expected `object`, got `int`"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, toml: str, expected: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError, match=expected) as caught:
        load(path)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("labels.kinds = ")
    assert str(path) in caught.value.problems[0]

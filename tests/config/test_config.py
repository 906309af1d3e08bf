"""The loader over a small tree of its own, so that rooms may change; the real tree only where it is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from stream_reco.config import ConfigError, Loaded, Origin, Settings, describe, load, load_tree


@dataclass(frozen=True)
class KitchenSettings:
    ovens: Annotated[int, Meta(ge=1, le=9)] = 2
    heat: float = 180.0
    gas: bool = False
    mode: Literal["bake", "grill"] = "bake"
    name: str | None = None
    limit: int | None = None
    dishes: tuple[str, ...] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    token: Annotated[str, Meta(min_length=4)] | None = field(default=None, metadata={"secret": True})


@dataclass(frozen=True)
class HallSettings:
    tables: int = 5
    seats: int = 20
    light: float = 1.0

    def __post_init__(self) -> None:
        if self.tables < 0:
            raise ValueError(f"tables is {self.tables}: it must be at least 0")
        if self.light < 0:
            raise ValueError(f"light is {self.light}: it must be at least 0")
        if self.seats < self.tables:
            raise ValueError(f"{self.seats} seats are too few for {self.tables} tables")


@dataclass(frozen=True)
class House:
    kitchen: KitchenSettings = field(default_factory=KitchenSettings)
    kitchen_hall: HallSettings = field(default_factory=HallSettings)


def house(
    tmp_path: Path,
    toml: str = "",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Loaded[House]:
    path = tmp_path / "house.toml"
    path.write_text(toml, encoding="utf-8")
    return load_tree(House, path, environ, overrides)


def problems(
    tmp_path: Path,
    toml: str = "",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        house(tmp_path, toml, environ, overrides)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_defaults_when_nothing_is_given() -> None:
    loaded = load_tree(House)
    assert loaded.settings == House()
    assert set(loaded.origins.values()) == {Origin("default")}


def test_later_sources_win_and_are_named(tmp_path: Path) -> None:
    toml = "[kitchen]\novens = 3\nheat = 90\nmode = 'grill'\ndishes = ['soup']\n[kitchen.prices]\nsoup = 4"
    environ = {"STREAM_RECO_KITCHEN_HEAT": "95.5", "STREAM_RECO_KITCHEN_MODE": "bake", "PATH": "/bin"}
    loaded = house(tmp_path, toml, environ, {"kitchen.mode": "grill", "kitchen.gas": True, "kitchen.name": None})
    kitchen = loaded.settings.kitchen
    assert kitchen == KitchenSettings(
        ovens=3, heat=95.5, gas=True, mode="grill", dishes=("soup",), prices={"soup": 4.0}
    )
    file = Origin("file", str(tmp_path / "house.toml"))
    assert loaded.origins["kitchen.ovens"] == loaded.origins["kitchen.prices"] == file
    assert loaded.origins["kitchen.heat"] == Origin("environment", "STREAM_RECO_KITCHEN_HEAT")
    assert loaded.origins["kitchen.mode"] == Origin("flag", "kitchen.mode")
    assert loaded.origins["kitchen.name"] == Origin("default")


def test_text_becomes_what_the_setting_is(tmp_path: Path) -> None:
    environ = {
        "STREAM_RECO_KITCHEN_OVENS": "4",
        "STREAM_RECO_KITCHEN_GAS": "true",
        "STREAM_RECO_KITCHEN_NAME": "5",
        "STREAM_RECO_KITCHEN_LIMIT": "7",
        "STREAM_RECO_KITCHEN_DISHES": "soup, pie,",
        "STREAM_RECO_KITCHEN_PRICES": "soup=4, pie=2.5",
        "STREAM_RECO_KITCHEN_MODE": "",
        "STREAM_RECO_KITCHEN_HALL_SEATS": "30",
    }
    loaded = house(tmp_path, "", environ)
    assert loaded.settings.kitchen == KitchenSettings(
        ovens=4, gas=True, name="5", limit=7, dishes=("soup", "pie"), prices={"soup": 4.0, "pie": 2.5}
    )
    assert loaded.settings.kitchen_hall.seats == 30
    as_json = {"STREAM_RECO_KITCHEN_DISHES": '["a,b"]', "STREAM_RECO_KITCHEN_PRICES": '{"a=b": 1}'}
    kitchen = house(tmp_path, "", as_json).settings.kitchen
    assert (kitchen.dishes, kitchen.prices) == (("a,b",), {"a=b": 1.0})


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    toml = """
        kitchen_hall = 3
        [kichen]
        [kitchen]
        oven = 3
        ovens = 10
        heat = "hot"
        gas = 1
        mode = "fry"
        dishes = "soup"
    """
    environ = {"STREAM_RECO_KITCHEN_LIMITS": "1", "STREAM_RECO_KITCHN_OVENS": "1", "STREAM_RECO_KITCHEN_HEAT": "nan"}
    found = problems(tmp_path, toml, environ, {"kitchen.ovens": "none", "cellar.x": 1, "kitchen.limit": 1.5})
    expected = [
        "kitchen_hall is 3 (file",
        "there is no section 'kichen' (file",
        "there is no setting kitchen.oven (file",
        "there is no environment variable STREAM_RECO_KITCHN_OVENS: did you mean STREAM_RECO_KITCHEN_OVENS?",
        "there is no setting kitchen.limits (environment STREAM_RECO_KITCHEN_LIMITS)",
        "there is no section 'cellar' (flag cellar.x)",
        "kitchen.ovens = 10 (file",
        "kitchen.heat = 'hot' (file",
        "kitchen.gas = 1 (file",
        "kitchen.mode = 'fry' (file",
        "kitchen.dishes = 'soup' (file",
        "kitchen.heat = 'nan' (environment STREAM_RECO_KITCHEN_HEAT)",
        "kitchen.ovens = 'none' (flag kitchen.ovens)",
        "kitchen.limit = 1.5 (flag kitchen.limit)",
    ]
    assert len(found) == len(expected)
    for start in expected:
        assert sum(problem.startswith(start) for problem in found) == 1, (start, found)
    assert any("did you mean kitchen?" in problem for problem in found)
    assert any("it must be one of 'bake', 'grill'" in problem for problem in found)
    assert any("did you mean kitchen.ovens?" in problem for problem in found)
    assert any("did you mean STREAM_RECO_KITCHEN_LIMIT?" in problem for problem in found)


def test_the_checks_of_a_room_are_all_told_with_the_origin(tmp_path: Path) -> None:
    toml = "[kitchen_hall]\ntables = -1\nlight = -2.0"
    found = problems(tmp_path, toml)
    assert [problem.split(" = ")[0] for problem in found] == ["kitchen_hall.tables", "kitchen_hall.light"]
    assert all("house.toml" in problem for problem in found)


def test_values_that_only_fit_together_are_taken_together(tmp_path: Path) -> None:
    toml = "[kitchen_hall]\ntables = 200\nseats = 300"
    assert house(tmp_path, toml).settings.kitchen_hall == HallSettings(200, 300)
    found = problems(tmp_path, toml + "\nlight = -1")
    assert len(found) == 1
    assert "light is -1" in found[0]
    assert "too few" in problems(tmp_path, "[kitchen_hall]\ntables = 200")[0]


def test_foreign_variables_are_left_alone(tmp_path: Path) -> None:
    foreign = {"STREAM_RECO_DATA": "/data", "STREAM_RECO_CELLAR_DOOR": "x", "KITCHEN_OVENS": "x"}
    assert house(tmp_path, "", foreign).settings == House()


@pytest.mark.parametrize(("content", "expected"), [(b"[kitchen", "not TOML"), (b"\xff\xfe", "not TOML")])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_tree(House, path)


def test_a_file_that_is_not_there_does_not_hide_other_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_tree(House, tmp_path / "none.toml", {"STREAM_RECO_KITCHEN_OVENS": "0"})
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tree(House, tmp_path)


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    loaded = house(tmp_path, "", {"STREAM_RECO_KITCHEN_TOKEN": "hush hush"})
    assert loaded.settings.kitchen.token == "hush hush"  # noqa: S105 - of this test alone
    lines = {line.key: line for line in describe(loaded)}
    assert lines["kitchen.token"].value == "(secret)"
    assert lines["kitchen.token"].origin == Origin("environment", "STREAM_RECO_KITCHEN_TOKEN")
    assert "psst" not in str(problems(tmp_path, "[kitchen]\ntoken = ['psst']", {"STREAM_RECO_KITCHEN_TOKEN": "pss"}))


def test_the_description_is_whole_and_leads_back(tmp_path: Path) -> None:
    loaded = house(tmp_path, "[kitchen]\novens = 3")
    lines = describe(loaded)
    assert [line.key for line in lines] == list(loaded.origins)
    assert [(line.value, str(line.origin)) for line in lines if line.key == "kitchen.ovens"] == [
        ("3", f"file {tmp_path / 'house.toml'}")
    ]
    assert {line.variable for line in lines} >= {"STREAM_RECO_KITCHEN_OVENS", "STREAM_RECO_KITCHEN_HALL_SEATS"}
    again = {line.variable: line.value for line in lines if line.key in ("kitchen.ovens", "kitchen_hall.seats")}
    assert house(tmp_path, "", again).settings == loaded.settings


@given(st.dictionaries(st.text(), st.text(), max_size=3))
def test_no_text_in_the_environment_breaks_it(given_texts: dict[str, str]) -> None:
    environ = {f"STREAM_RECO_KITCHEN_{name.upper()}": text for name, text in given_texts.items()}
    environ |= {
        f"STREAM_RECO_KITCHEN_{f.name.upper()}": next(iter(given_texts.values()), "") for f in fields(KitchenSettings)
    }
    try:
        load_tree(House, None, environ)
    except ConfigError as problem:
        assert problem.problems  # noqa: PT017 - either outcome is right, a crash is not


def test_the_real_tree_loads_and_its_public_variables_exist(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text("[labels]\nwindow_days = 7\n[labels.action_weights]\nview = 0\n[serve]\nport = 9000\n")
    environ = {"STREAM_RECO_LABELS_WINDOW_DAYS": "3", "STREAM_RECO_LABELS_LATENESS_SECONDS": "30"}
    settings = load(path, environ, {"serve.host": "::1"}).settings
    assert settings.labels.window_days == 3
    assert settings.labels.lateness_seconds == 30
    assert settings.labels.action_weights == {"view": 0.0}
    assert (settings.serve.port, settings.serve.host) == (9000, "::1")
    assert load().settings == Settings()


def test_a_precision_is_one_of_those_that_rows_are_kept_in(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text("[serve]\nrow_precision = 'int8'\n")
    assert Settings().serve.row_precision == "float32"
    loaded = load(path)
    assert loaded.settings.serve.row_precision == "int8"
    shown = {line.key: (line.value, str(line.origin)) for line in describe(loaded)}
    assert shown["serve.row_precision"] == ("'int8'", f"file {path}")
    with pytest.raises(ConfigError, match=r"serve.row_precision = 'half' \(environment .*'bfloat16', 'int8', 'tanh8'"):
        load(path, {"STREAM_RECO_SERVE_ROW_PRECISION": "half"})


@pytest.mark.parametrize(
    "variable", ["STREAM_RECO_SERVE_PORT=70000", "STREAM_RECO_SERVE_TOKEN=short", "STREAM_RECO_SERVE_TOKEN_HASHES=beef"]
)
def test_ranges_of_the_server_are_checked(variable: str) -> None:
    name, _, value = variable.partition("=")
    with pytest.raises(ConfigError, match=name):
        load(None, {name: value})
